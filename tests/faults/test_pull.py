"""A pull from a server that means harm, or breaks off: nothing leaves the folder, nothing stands half under its name."""

import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest
from peer import Resource, Thing, cut_answer, expired, page

from xnatferry.errors import ConflictError
from xnatferry.planning.plan import Decision, OnConflict
from xnatferry.results.pull_plan import plan_pull
from xnatferry.results.pull_run import fetch_all
from xnatferry.results.remote_files import list_files_below
from xnatferry.transfer.events import BytesSent, Proof, Receipt, Verdict
from xnatferry.xnat.model import Address

SESSION = Address("P", "s", "s_MR1")
BELOW = "s/s_MR1/resources/R/files"


@pytest.fixture
def resource(peer):
    """An empty session resource; tests put files on its disk as no client could."""
    project = peer.projects["P"] = Thing("P", "P", "xnat:projectData")
    subject = project.children["s"] = Thing("XNAT_S1", "s", "xnat:subjectData")
    session = subject.children["s_MR1"] = Thing("XNAT_E1", "s_MR1", "xnat:mrSessionData", subject="XNAT_S1")
    session.resources["R"] = Resource("17", "R")
    return session.resources["R"]


def put(peer, resource, **files):
    for name, data in files.items():
        store(peer, resource, name, data)


def store(peer, resource, name, data):
    resource.disk[name] = data
    peer.catalogue(resource, name)


def pull(remote, folder, *, address=SESSION, **how):
    plan = plan_pull(list_files_below(remote, address), folder, server=remote.connection.url, address=address, **how)
    return plan, fetch_all(plan, remote, workers=2)


def test_sessions_are_asked_about_side_by_side(peer, remote, resource):
    subject = peer.projects["P"].children["s"]
    subject.children["s_MR2"] = Thing("XNAT_E2", "s_MR2", "xnat:mrSessionData", subject="XNAT_S1")
    put(peer, resource, **{"a.txt": b"a"})
    asked, both, alone = set(), threading.Event(), []

    def wait(_handler, seen):
        asked.add(seen.path)
        if len(asked) == 2:
            both.set()
        elif not both.wait(4):  # less than the client waits before it asks again
            alone.append(seen.path)

    peer.fail("GET", "/experiments/[^/]*/files", wait, times=2)
    assert [held.file.name for held in list_files_below(remote, Address("P")).files] == ["a.txt"]
    assert len(asked) == 2
    assert alone == []


def everything(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir())


HOSTILE = [
    "../../../../../evil",
    "a/../../../../../../evil",
    "/etc/evil",
    "..",
    "a//b",
    "a/./b",
    "line\nbreak",
    "bell\x07",
    "\x1b[31mred",
    "del\x7f",
    "c1\x9b31m",
    "x" * 256,
    "",
]


@pytest.mark.parametrize("name", HOSTILE, ids=[repr(name)[:30] for name in HOSTILE])
def test_a_hostile_name_is_refused_and_the_others_come(peer, remote, resource, tmp_path, name):
    store(peer, resource, name, b"evil")
    store(peer, resource, "good.txt", b"good")
    home = tmp_path / "a" / "b" / "c"
    plan, result = pull(remote, home / "out")
    assert [refusal.relative for refusal in plan.refusals] == [f"P/s/s_MR1/resources/R/files/{name}"]
    assert result.exit_code == 7
    assert everything(tmp_path) == [f"a/b/c/out/{BELOW}/good.txt"]


@pytest.mark.parametrize("label", ["..", ".", "a/../../..", "x\ny", "x" * 300])
def test_a_hostile_label_is_refused(peer, remote, resource, tmp_path, label):
    store(peer, resource, "evil.txt", b"evil")
    session = peer.projects["P"].children["s"].children["s_MR1"]
    session.resources = {label: Resource("18", label, disk=resource.disk, catalog=resource.catalog)}
    plan, result = pull(remote, tmp_path / "out")
    assert len(plan.refusals) == 1
    assert result.exit_code == 7
    assert everything(tmp_path) == []


def test_names_of_other_disks_are_warned_of(peer, remote, resource, tmp_path):
    for name in ("CON", "aux.nii.gz", "a:b", "what?", "dot.", "back\\slash"):
        store(peer, resource, name, b"x")
    plan, result = pull(remote, tmp_path)
    assert result.exit_code == 0
    assert "6 names cannot be used on Windows" in plan.warnings[0]


def test_case_twins_are_refused_where_they_would_be_one_file(peer, remote, resource, tmp_path):
    for name in ("Scan.nii", "scan.nii", "e\u0301.nii", "\u00e9.nii", "other.nii"):
        store(peer, resource, name, name.encode())
    plan, result = pull(remote, tmp_path / "folding", folds=True)
    assert len(plan.refusals) == 4
    assert all("the same path" in refusal.reasons[0] for refusal in plan.refusals)
    assert everything(tmp_path / "folding") == [f"{BELOW}/other.nii"]
    plan, result = pull(remote, tmp_path / "exact", folds=False)
    assert result.exit_code == 0
    assert len(everything(tmp_path / "exact")) == 5
    assert "only in case" in plan.warnings[0]


def test_a_file_in_the_place_of_a_folder_is_refused_with_what_is_in_it(peer, remote, resource, tmp_path):
    put(peer, resource, a=b"file", **{"a/b": b"in it", "c": b"fine"})
    plan, _ = pull(remote, tmp_path)
    assert sorted(refusal.relative.rpartition("files/")[2] for refusal in plan.refusals) == ["a", "a/b"]
    assert everything(tmp_path) == [f"{BELOW}/c"]


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file that can be opened and not be read")
def test_a_local_file_that_cannot_be_read_leaves_the_others_alone(peer, remote, resource, tmp_path):
    put(peer, resource, bad=b"", good=b"good")
    (tmp_path / BELOW).mkdir(parents=True)
    (tmp_path / BELOW / "bad").symlink_to("/proc/self/mem")
    plan, _ = pull(remote, tmp_path, on_conflict=OnConflict.SKIP)
    (left,) = plan.conflicts
    assert "cannot be read" in left.reason
    assert (tmp_path / BELOW / "good").read_bytes() == b"good"


def test_a_file_that_comes_changed_gets_no_name(peer, remote, resource, tmp_path):
    store(peer, resource, "t1.nii", b"right bytes")
    resource.disk["t1.nii"] = b"wrong bytes"
    _, result = pull(remote, tmp_path)
    assert result.exit_code == 8
    assert everything(tmp_path) == []
    assert result.verdicts[0].proof is Proof.DIFFERS


def test_an_answer_cut_off_is_asked_for_again(peer, remote, resource, tmp_path):
    store(peer, resource, "t1.nii", b"0123456789" * 50_000)
    peer.fail("GET", "/files/t1.nii", cut_answer, times=2)
    _, result = pull(remote, tmp_path)
    assert result.exit_code == 0
    assert (tmp_path / BELOW / "t1.nii").read_bytes() == b"0123456789" * 50_000


def test_an_answer_always_cut_off_leaves_nothing_and_says_what_is_missing(peer, remote, resource, tmp_path):
    put(peer, resource, bad=b"0123456789" * 50_000, good=b"good")
    peer.fail("GET", "/files/bad", cut_answer, times=99)
    _, result = pull(remote, tmp_path)
    assert result.exit_code == 5
    assert [file.held.name for file in result.missing] == ["bad"]
    assert everything(tmp_path) == [f"{BELOW}/good"]


def test_an_expired_login_is_renewed(peer, remote, resource, tmp_path):
    store(peer, resource, "t1.nii", b"bytes")
    peer.fail("GET", "/files/t1.nii", expired)
    _, result = pull(remote, tmp_path)
    assert result.exit_code == 0


def test_a_page_with_an_error_is_no_file(peer, remote, resource, tmp_path):
    put(peer, resource, a=b"a", b=b"b")
    peer.fail("GET", "/files/a", page(500, "java.lang.NullPointerException"), times=99)
    zips = page(500, "no zip")
    peer.fail("GET", "/R/files$", zips, times=99, where=lambda seen: seen.query.get("format") == "zip")
    _, result = pull(remote, tmp_path)
    assert result.exit_code == 1
    assert "NullPointerException" in result.failures[0].message
    assert everything(tmp_path) == [f"{BELOW}/b"]


def test_old_and_new_servers_give_the_proof_they_can(era, peer, remote, resource, tmp_path):
    store(peer, resource, "t1 \u00e9+#.nii", b"bytes")
    _, result = pull(remote, tmp_path)
    assert result.verdicts[0].proof is (Proof.SIZE if era == "1.6.4" else Proof.DIGEST)
    plan, _ = pull(remote, tmp_path)
    assert not plan.fetched
    assert (tmp_path / BELOW / "t1 \u00e9+#.nii").read_bytes() == b"bytes"


def test_a_file_that_appears_meanwhile_is_not_replaced(peer, remote, resource, tmp_path):
    store(peer, resource, "t1.nii", b"theirs")
    mine = tmp_path / BELOW / "t1.nii"
    plan = plan_pull(list_files_below(remote, SESSION), tmp_path, server="", address=SESSION)
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    result = fetch_all(plan, remote)
    assert result.exit_code == ConflictError.exit_code
    assert everything(tmp_path) == [f"{BELOW}/t1.nii"]
    assert mine.read_bytes() == b"mine"


def test_overwrite_replaces_and_only_when_it_came_whole(peer, remote, resource, tmp_path):
    store(peer, resource, "t1.nii", b"theirs")
    mine = tmp_path / BELOW / "t1.nii"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    peer.fail("GET", "/files/t1.nii", page(403, "no permission"))
    plan, result = pull(remote, tmp_path, on_conflict=OnConflict.OVERWRITE)
    assert plan.files[0].decision is Decision.UPDATE
    assert result.exit_code == 3
    assert mine.read_bytes() == b"mine"
    pull(remote, tmp_path, on_conflict=OnConflict.OVERWRITE)
    assert hashlib.md5(mine.read_bytes()).digest() == hashlib.md5(b"theirs").digest()


def test_a_pulled_file_is_on_the_disk_before_it_has_its_name(peer, remote, resource, tmp_path, disk_acts):
    put(peer, resource, **{"t1.nii": b"bytes"})
    assert pull(remote, tmp_path)[1].exit_code == 0
    inode = (tmp_path / BELOW / "t1.nii").stat().st_ino
    assert [act for act, which in disk_acts if which == inode] == ["fsync", "name"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_stops_the_files_that_follow(peer, remote, resource, tmp_path, monkeypatch, number):
    def full(_descriptor):
        raise OSError(number, os.strerror(number))

    put(peer, resource, a=b"a", b=b"b", c=b"c")
    plan = plan_pull(list_files_below(remote, SESSION), tmp_path, server="", address=SESSION)
    monkeypatch.setattr(os, "fsync", full)
    result = fetch_all(plan, remote, workers=1)
    assert result.disk_full
    assert len(peer.seen("GET", "/files/[abc]$")) == 1, "what cannot be kept is not fetched"
    assert len(result.missing) == len(result.failures) == 3
    assert sorted("not downloaded: the disk is full" in receipt.message for receipt in result.failures) == [
        False,
        True,
        True,
    ]
    assert everything(tmp_path) == []


def test_a_file_that_cannot_be_written_does_not_stop_the_others(peer, remote, resource, tmp_path):
    put(peer, resource, **{"a/b": b"a", "c": b"c"})
    plan = plan_pull(list_files_below(remote, SESSION), tmp_path, server="", address=SESSION)
    (tmp_path / BELOW).mkdir(parents=True)
    (tmp_path / BELOW / "a").write_bytes(b"a file where a folder is needed")
    result = fetch_all(plan, remote, workers=1)
    assert not result.disk_full
    assert [file.held.name for file in result.missing] == ["a/b"]
    assert (tmp_path / BELOW / "c").read_bytes() == b"c"


def test_progress_is_told_piece_by_piece_and_adds_up(peer, remote, resource, tmp_path):
    size = 5_000_000
    store(peer, resource, "t1.nii", bytes(size))
    told = []
    plan = plan_pull(list_files_below(remote, SESSION), tmp_path, server="", address=SESSION)
    peer.fail("GET", "/files/t1.nii", cut_answer)
    fetch_all(plan, remote, listener=told.append)
    pieces = [event.size_bytes for event in told if isinstance(event, BytesSent)]
    assert sum(pieces) == size, "what came in vain is taken back"
    assert max(pieces) < size / 2, "a file is never in memory as a whole"


@pytest.mark.parametrize("name", ["t1.nii", "50%.txt", "100%25.txt", "a;b.txt", "p%20coded.txt"])
def test_a_file_that_the_server_does_not_send_alone_is_taken_from_the_zip(era, peer, remote, resource, tmp_path, name):
    """1.8.11 answers 500 for URLs with "%25" and ";", but stores such names from archives (recorded)."""
    store(peer, resource, name, b"bytes")
    store(peer, resource, "other.txt", b"other")
    peer.fail("GET", "/resources/R/files/t1.nii$", page(404, "no such file"))
    _, result = pull(remote, tmp_path)
    assert result.exit_code == 0
    assert {verdict.proof.good for verdict in result.verdicts} == {True}
    assert (tmp_path / BELOW / name).read_bytes() == b"bytes"
    assert not pull(remote, tmp_path)[0].fetched


def test_two_names_with_one_url_get_their_own_bytes(era, peer, remote, resource, tmp_path):
    """é.txt sent by PUT is listed percent-encoded, and is found first under the URL of é.txt from an archive."""
    put(peer, resource, **{"%C3%A9.txt": b"by PUT", "é.txt": b"member"})
    _, result = pull(remote, tmp_path)
    assert result.exit_code == 0
    assert (tmp_path / BELOW / "%C3%A9.txt").read_bytes() == b"by PUT"
    assert (tmp_path / BELOW / "é.txt").read_bytes() == b"member", "1.6.4 has no digest to distinguish them"


def test_every_file_of_the_plan_gets_a_verdict_and_what_travelled_a_receipt(peer, remote, resource, tmp_path):
    put(peer, resource, good=b"good", bad=b"bad", same=b"same", other=b"theirs")
    (tmp_path / BELOW).mkdir(parents=True)
    (tmp_path / BELOW / "same").write_bytes(b"same")
    (tmp_path / BELOW / "other").write_bytes(b"mine")
    peer.fail("GET", "/files/bad", page(403, "no permission"), times=9)
    plan = plan_pull(
        list_files_below(remote, SESSION), tmp_path, server="", address=SESSION, on_conflict=OnConflict.SKIP
    )
    told, journal = [], []
    result = fetch_all(plan, remote, workers=1, listener=told.append, journal=journal.append)
    verdicts = {verdict.address.file: verdict for verdict in result.verdicts}
    proofs = {"good": Proof.DIGEST, "bad": Proof.MISSING, "same": Proof.DIGEST, "other": Proof.DIFFERS}
    assert {name: verdict.proof for name, verdict in verdicts.items()} == proofs
    assert "no permission" in verdicts["bad"].message
    assert {receipt.address.file for receipt in result.receipts} == {"good", "bad"}
    for events in (told, journal):
        assert [event for event in events if isinstance(event, Receipt)] == list(result.receipts)
        assert [event for event in events if isinstance(event, Verdict)] == list(result.verdicts)
