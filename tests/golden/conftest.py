"""Makes the player importable, and starts the archive that is compared with the recordings."""

import sys
from pathlib import Path

import pytest

from xnatferry.server.archive import running_archive

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    with running_archive(tmp_path_factory.mktemp("golden"), admin_password="admin-secret") as running:
        yield running
