"""A plan and a change of the same size, where listings have no digests."""

import pytest
from peer import NEW, OLD, page

from xnatferry.client.remote import Remote
from xnatferry.client.settings import Connection, Secret
from xnatferry.planning.plan import Decision
from xnatferry.planning.remote_state import HeldFile
from xnatferry.results.operations import copy, plan_copy, plan_pull
from xnatferry.results.pull_run import fetch_all
from xnatferry.server.archive import running_archive
from xnatferry.transfer.digest_ladder import COMPUTED, FETCHED, IN_CATALOG, LISTED, REPLACED
from xnatferry.transfer.remote_listing import RemoteQuery, fetch_remote_state
from xnatferry.xnat.digest import digest_of
from xnatferry.xnat.model import Address, Level

RESOURCE = Address("P", "s1", "s1_MR1", "1", resource="NIFTI")
DICOM = Address("P", "s1", "s1_MR1", "1", resource="DICOM")
FIRST, SECOND = b"bytes 1", b"bytes 2"


@pytest.fixture
def ready(peer, remote):
    remote.ensure_project("P")
    remote.ensure_session(Address("P", "s1", "s1_MR1"))
    remote.ensure_scan(RESOURCE.container)
    for resource in (RESOURCE, DICOM):
        send(remote, FIRST, resource)
    return remote


def send(remote, data, resource=RESOURCE, **options):
    assert remote.send_file(resource.child(Level.FILE, "a.nii"), lambda: [data], len(data), **options) == []


def held(remote, sizes=frozenset({7})) -> HeldFile:
    query = RemoteQuery(sizes=set(sizes))
    query.add("s1", "s1_MR1", "NIFTI", on_scan=True)
    state = fetch_remote_state(remote, server="", project="P", query=query)
    return state.sessions["s1_MR1"].files["1", "NIFTI", "a.nii"]


def found(held):
    return held.digest, held.evidence


def test_each_server_says_what_it_holds(peer, era, ready):
    assert found(held(ready)) == (digest_of([FIRST]), LISTED if era == NEW else IN_CATALOG)
    send(ready, SECOND, overwrite=True)
    assert found(held(ready)) == (digest_of([SECOND]), LISTED if era == NEW else FETCHED)
    assert not peer.seen("GET", "/DICOM"), "what is not pushed is not looked at"


@pytest.mark.parametrize("era", [OLD], indirect=True)
def test_what_cannot_be_the_same_costs_nothing(peer, era, ready):
    requests = len(peer.requests)
    assert held(ready, sizes={8}).digest is None
    assert len(peer.requests) - requests == 5, "project, subjects, sessions, scans, files"


def test_digests_are_computed_where_checksums_are_off(peer, ready, monkeypatch):
    peer.digests = False

    def act(handler, seen):
        peer.digests = True

    peer.fail("POST", "/refresh/catalog", act)
    assert found(held(ready)) == (digest_of([FIRST]), COMPUTED)


def test_where_that_is_not_permitted_nothing_is_known(peer, ready):
    peer.digests = False
    peer.fail("POST", "/refresh/catalog", page(403, "no"), times=9)
    assert held(ready).digest is None
    assert len(peer.seen("POST", "/refresh/catalog")) == 1


@pytest.mark.parametrize("era", [OLD], indirect=True)
def test_replaced_bytes_that_cannot_be_read_are_not_known(peer, era, ready):
    send(ready, SECOND, overwrite=True)
    peer.fail("GET", "/files/a.nii", page(500, "no"), times=99)
    assert found(held(ready)) == (None, REPLACED)


@pytest.mark.parametrize("era", [OLD], indirect=True)
def test_a_pull_sees_a_change_of_the_same_size(peer, era, ready, tmp_path):
    plan = plan_pull("P/s1/s1_MR1/scans/1", tmp_path, ready)
    assert fetch_all(plan, ready, workers=1).exit_code == 0
    (file, _) = plan_pull("P/s1/s1_MR1/scans/1", tmp_path, ready).files
    assert (file.decision, file.reason) == (Decision.SAME, "")
    for path in tmp_path.rglob("a.nii"):
        path.write_bytes(SECOND)
    assert {file.decision for file in plan_pull("P/s1/s1_MR1/scans/1", tmp_path, ready).files} == {Decision.DIFFERS}
    assert not peer.seen("POST", "/refresh/catalog"), "a pull changes nothing"


@pytest.mark.parametrize("era", [OLD], indirect=True)
def test_a_copy_sees_a_change_of_the_same_size(peer, era, ready, tmp_path):
    with (
        running_archive(tmp_path / "target") as running,
        Remote(Connection(running.url, running.user, Secret(running.password))) as target,
    ):
        assert copy("P/s1/s1_MR1", ready, target).exit_code == 0
        send(ready, SECOND, overwrite=True)
        plan = plan_copy("P/s1/s1_MR1", ready, target)
    assert {step.address.resource: step.decision for step in plan.files} == {
        "NIFTI": Decision.DIFFERS,
        "DICOM": Decision.SAME,
    }
