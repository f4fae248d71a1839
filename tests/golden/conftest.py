"""Makes the player importable, and starts the archive that is compared with the recordings."""

import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from xnatferry.server.archive import running_archive
from xnatferry.server.settings import ServerSettings

sys.path.insert(0, str(Path(__file__).parent))

from comparing import ADMIN, SECOND
from playing import Player, Step


@contextmanager
def golden_archive(root, *, strict=False):
    """An archive with the two accounts of the recordings, and a project of others as that site had."""
    settings = ServerSettings(root=root, strict=strict)
    with running_archive(root, admin_password=ADMIN[1], settings=settings) as running:
        running.archive.accounts.create(
            *SECOND, admin=False, firstname="Plain", lastname="User", email="plain@example.org"
        )
        player = Player(running.url, ADMIN, SECOND, {})
        for target in ("/data/projects/OTHERS", f"/data/projects/OTHERS/users/Members/{SECOND[0]}"):
            assert player.play(Step(target, "PUT", target)).status == 200
        player.close()
        yield running


@pytest.fixture(scope="session", params=["default", "strict"])
def archive(request, tmp_path_factory):
    with golden_archive(tmp_path_factory.mktemp("golden"), strict=request.param == "strict") as running:
        yield running
