"""The old bytes of what a push replaces are on this disk, and named in its journal, before the first request that replaces."""

import json
from dataclasses import replace

import pytest
from peer import Resource, Thing, cut_answer, page

from xnatferry.errors import XnatferryError
from xnatferry.planning.plan import Decision, Payload, Plan, Step
from xnatferry.sources.model import LocalFile
from xnatferry.transfer.backup import back_up
from xnatferry.transfer.journal import Journal
from xnatferry.transfer.sharded_runs import find_run
from xnatferry.xnat.model import Address, Level

RESOURCE = Address("P", "s", "s_MR1", resource="R")
USERS, OURS = RESOURCE.child(Level.FILE, "t1.nii"), RESOURCE.child(Level.FILE, "report.html")


@pytest.fixture
def plan(peer, tmp_path):
    """One file of the user that is replaced, one that we write ourselves, and two that replace nothing."""
    project = peer.projects["P"] = Thing("P", "P", "xnat:projectData")
    subject = project.children["s"] = Thing("XNAT_S1", "s", "xnat:subjectData")
    session = subject.children["s_MR1"] = Thing("XNAT_E1", "s_MR1", "xnat:mrSessionData", subject="XNAT_S1")
    held = session.resources["R"] = Resource("17", "R")
    for address in (USERS, OURS):
        held.disk[address.file] = b"old " + address.file.encode()
        peer.catalogue(held, address.file)
    path = tmp_path / "t1.nii"
    path.write_bytes(b"new")
    user = Step(USERS, Decision.UPDATE, payload=Payload(LocalFile(path, "t1.nii", 3, path.stat().st_mtime_ns)))
    ours = Step(OURS, Decision.UPDATE, payload=Payload(LocalFile.written(path, "report.html", b"<html></html>")))
    others = [
        replace(ours, address=RESOURCE.child(Level.FILE, "new.html"), decision=Decision.CREATE),
        replace(ours, address=RESOURCE.child(Level.FILE, "same.html"), decision=Decision.SAME),
    ]
    return Plan(peer.url, "P", (Step(RESOURCE, Decision.SAME), ours, user, *others))


def backed_up(plan, remote, runs, **options):
    """Bytes of the backups by the address that the journal gives them."""
    with Journal.begin(runs, "push", {"project": "P"}, plan=plan) as journal:
        number = back_up(plan, remote, journal, **options)
        journal.end(0)
    found = find_run(runs, journal.name).effects().backups
    assert len(found) == number
    return {address: path.read_bytes() for address, path in found.items()}


def test_everything_that_is_replaced_is_kept(plan, remote, tmp_path):
    assert backed_up(plan, remote, tmp_path / "runs") == {USERS: b"old t1.nii", OURS: b"old report.html"}


def test_what_we_replace_unasked_is_always_kept(plan, remote, tmp_path):
    assert backed_up(plan, remote, tmp_path / "runs", everything=False) == {OURS: b"old report.html"}


def test_where_nothing_is_replaced_there_is_no_backup(plan, remote, tmp_path):
    nothing = replace(plan, steps=tuple(step for step in plan.steps if step.decision is not Decision.UPDATE))
    assert backed_up(nothing, remote, tmp_path / "runs") == {}
    assert not list((tmp_path / "runs").rglob("backup"))


@pytest.mark.parametrize("act", [page(403, "no permission"), cut_answer], ids=["refused", "cut off"])
def test_what_cannot_be_kept_stops_the_push_before_it_sends(plan, peer, remote, tmp_path, act):
    peer.fail("GET", "/files/t1.nii", act, times=99)
    with pytest.raises(XnatferryError):
        backed_up(plan, remote, tmp_path / "runs")
    (journal,) = (tmp_path / "runs").rglob("journal.jsonl")
    kept = [json.loads(line) for line in journal.read_text().splitlines() if "backup" in line]
    assert [record["address"] for record in kept] == [str(OURS)]


def test_a_backup_outlives_a_power_cut(plan, remote, tmp_path, disk_acts, outlives_a_power_cut):
    """Before the name of a backup is on the disk, the only copy of its bytes must not be replaced on the server."""
    backed_up(plan, remote, tmp_path / "runs")
    (folder,) = (tmp_path / "runs").rglob("backup")
    assert len(list(folder.iterdir())) == 2
    assert all(outlives_a_power_cut(path) for path in folder.iterdir())
    assert ("fsync", folder.parent.stat().st_ino) in disk_acts[disk_acts.index(("fsync", folder.stat().st_ino)) :]
