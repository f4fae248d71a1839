"""Client and strict archive: parts of uploads that stay, and deletions that take neighbours along."""

import pytest
from proxy import cut_in_body, running_proxy

from xnatferry import api, retry
from xnatferry.client.http import Timeouts
from xnatferry.client.remote import Remote
from xnatferry.client.settings import Connection, Secret
from xnatferry.errors import ConflictError
from xnatferry.planning.mapping import MappingRules
from xnatferry.testing import local_archive
from xnatferry.transfer.earlier_runs import EarlierRuns
from xnatferry.transfer.engine import carry_out
from xnatferry.transfer.journal import Journal
from xnatferry.xnat.model import Address, Level

NIFTI = Address("P", "s1", "s1_MR1", "1", resource="NIFTI")


@pytest.fixture
def archive():
    with local_archive(strict=True) as archive:
        yield archive


@pytest.fixture
def proxy(archive):
    with running_proxy(archive.url) as proxy:
        yield proxy


@pytest.fixture
def remote(archive, proxy, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE_S", 0.001)
    with Remote(Connection(proxy.url, archive.user, Secret(archive.password)), Timeouts(5, 10, 10, 10)) as remote:
        yield remote


@pytest.fixture
def image(tmp_path):
    import nibabel
    import numpy as np

    path = tmp_path / "in" / "s1" / "T1w.nii"
    path.parent.mkdir(parents=True)
    voxels = np.random.default_rng(1).integers(0, 99, (40, 40, 40)).astype("int16")
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)
    return path


def push(remote, image, runs):
    earlier = EarlierRuns(runs, remote.connection.url, "P")
    plan = api.plan(api.discover(image.parents[1]), remote, MappingRules(project="P"), earlier=earlier)
    about = {"server": remote.connection.url, "local": False, "project": "P"}
    with Journal.begin(runs, "push", about, plan=plan) as journal:
        result = carry_out(plan, remote, journal=journal)
        journal.end(result.exit_code)
    return result


def test_a_push_goes_on_where_a_cut_one_left_a_part(archive, proxy, remote, image, tmp_path):
    proxy.fail("PUT", "/files/", cut_in_body, times=99)
    assert push(remote, image, tmp_path / "runs").exit_code == 5
    proxy.faults.clear()
    (left,) = [data for name, data in archive.files().items() if name.endswith("T1w.nii")]
    assert len(left) < image.stat().st_size
    assert remote.list_files(NIFTI) == []
    assert push(remote, image, tmp_path / "runs").exit_code == 0
    assert list(archive.files().values()) == [image.read_bytes()]


def test_a_removal_leaves_what_begins_the_same(remote):
    remote.ensure_project("P")
    remote.ensure_session(Address("P", "s1", "s1_MR1"))
    for name in ("x.nii", "x.nii.gz", "y*", "yes.txt"):
        file = NIFTI.child(Level.FILE, name)
        remote.ensure_scan(NIFTI.container)
        assert remote.send_file(file, lambda: [b"1"], 1) == []
    for name in ("x.nii", "y*"):
        with pytest.raises(ConflictError):
            remote.remove(NIFTI.child(Level.FILE, name), remove_files=True)
    for name in ("x.nii.gz", "x.nii"):
        remote.remove(NIFTI.child(Level.FILE, name), remove_files=True)
    assert [file.name for file in remote.list_files(NIFTI)] == ["y*", "yes.txt"]
