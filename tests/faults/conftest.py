"""Makes the scripted peer importable, and hands out a running one."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from peer import NEW, OLD, PASSWORD, USER, running_peer

from xnatferry.client.http import Timeouts
from xnatferry.client.remote import Remote
from xnatferry.client.settings import Connection, Secret


@pytest.fixture(params=[OLD, NEW])
def era(request):
    """Tests that ask for it run against both."""
    return request.param


@pytest.fixture
def peer(request):
    chosen = request.getfixturevalue("era") if "era" in request.fixturenames else NEW
    with running_peer(chosen) as running:
        yield running


@pytest.fixture
def pauses():
    """Seconds the client wanted to wait; it does not wait."""
    return []


@pytest.fixture
def open_remote(peer, pauses):
    opened = []

    def open_one(*, user=USER, password=PASSWORD, timeouts=None, url=None):
        connection = Connection(url or peer.url, user, Secret(password), source="from the test")
        remote = Remote(
            connection, timeouts or Timeouts(connect_s=5, read_s=5, write_s=5, stored_s=5), pause=pauses.append
        )
        opened.append(remote)
        return remote

    yield open_one
    for remote in opened:
        remote.close()


@pytest.fixture
def remote(open_remote):
    return open_remote()
