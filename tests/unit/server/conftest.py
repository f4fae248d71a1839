import os
import subprocess
import sys

import pytest

from xnatferry.server.vault import Vault


@pytest.fixture
def vault(tmp_path):
    return Vault(tmp_path / "root")


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of 1 MiB and 200 files."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root on Linux")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=200", "tmpfs", folder],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small file system here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def stage(vault):
    def stage(data):
        with vault.receive() as receiver:
            receiver.write(data)
            return receiver.finish()

    return stage


@pytest.fixture
def incoming(vault):
    """Names of what waits in the vault's incoming folder."""
    folder = vault.archive.parent / "incoming"
    return lambda: sorted(path.name for path in folder.iterdir())
