import os
import subprocess
import sys

import pytest

from xnatferry.server.blob_store import BlobStore


@pytest.fixture
def blob_store(tmp_path):
    return BlobStore(tmp_path / "root")


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
def stage(blob_store):
    def stage(data):
        with blob_store.receive() as receiver:
            receiver.write(data)
            return receiver.finish()

    return stage


@pytest.fixture
def incoming(blob_store):
    """Names of what waits in the vault's incoming folder."""
    folder = blob_store.archive.parent / "incoming"
    return lambda: sorted(path.name for path in folder.iterdir())
