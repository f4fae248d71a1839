"""Every act of the client, against an old and a new server."""

import hashlib
import io
import os
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from peer import JSON, NEW, OLD, Reply, Thing, cut_answer, landed_500, lost_reply, page

from tests.faults.serving import HangupError
from xnatferry.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    NotXnatError,
    RefusedError,
    RemoteError,
    TransferError,
    UnavailableError,
    UsageError,
    VerifyError,
)
from xnatferry.xnat.gzip_stream import HEAD_BYTES, TAIL_BYTES, GzipStream, Measured
from xnatferry.xnat.model import Address
from xnatferry.xnat.records import ScanDocument

PROJECT, SUBJECT, SESSION = Address("P"), Address("P", "s1"), Address("P", "s1", "s1_MR1")
SCAN = Address("P", "s1", "s1_MR1", "1")
RESOURCE = Address("P", "s1", "s1_MR1", "1", resource="NIFTI")


def at(name, resource=RESOURCE):
    return Address(
        resource.project, resource.subject, resource.session, resource.scan, resource=resource.resource, file=name
    )


def put(remote, name, data=b"hello", resource=RESOURCE, **options):
    return remote.send_file(at(name, resource), lambda: [data], len(data), **options)


@pytest.fixture
def ready(remote):
    remote.ensure_project("P")
    remote.ensure_session(SESSION)
    remote.ensure_scan(SCAN, fields={"type": "T1w"})
    remote.ensure_resource(RESOURCE, format="NIFTI")
    return remote


# The site


def test_the_site_says_who_it_is(peer, era, remote):
    site = remote.check()
    assert (site.url, site.user, site.version) == (peer.url, "ferry", {OLD: "unknown", NEW: "1.8.11"}[era])
    assert remote.whoami() == "ferry"
    assert remote.server_version() == site.version
    assert "ferry at http" in repr(remote)


# Objects


def test_everything_is_made_once(peer, era, remote):
    acts = [
        lambda: remote.ensure_project("P", fields={"name": "Brain"}),
        lambda: remote.ensure_subject(SUBJECT, fields={"gender": "F"}),
        lambda: remote.ensure_session(SESSION, fields={"date": "2020-01-02"}),
        lambda: remote.ensure_scan(SCAN, fields={"type": "T1w", "parameters/tr": "2300"}),
        lambda: remote.ensure_resource(RESOURCE, format="NIFTI", content="NIFTI_RAW", tags="a,b"),
    ]
    first = [act() for act in acts]
    writes = len(peer.seen("PUT"))
    again = [act() for act in acts]
    assert [e.created for e in first] == [True] * 5
    assert [e.created for e in again] == [False] * 5
    assert [(e.id, e.label) for e in first] == [(e.id, e.label) for e in again]
    assert len(peer.seen("PUT")) == writes, "what is there is not touched"
    assert first[1].id.startswith("XNAT_S")
    assert first[2].id.startswith("XNAT_E")
    subject = peer.projects["P"].children["s1"]
    assert subject.fields["gender"] == "F"
    scan = subject.children["s1_MR1"].children["1"]
    assert (scan.xsi_type, scan.fields["type"], scan.fields["parameters/tr"]) == ("xnat:mrScanData", "T1w", "2300")
    assert remote.list_sessions("P")[0]["date"] == "2020-01-02"
    assert remote.list_sessions("P")[0]["subject_label"] == "s1"
    assert remote.list_scans(SESSION)[0]["type"] == "T1w"
    resource = remote.list_resources(SCAN)[0]
    assert (resource["label"], resource["format"], resource["content"], resource["tags"]) == (
        "NIFTI",
        "NIFTI",
        "NIFTI_RAW",
        "a,b",
    )


def test_an_existing_project_is_not_touched(peer, era, remote):
    """1.6.4 resets the name of a project that is PUT without one."""
    peer.projects["P"] = Thing("P", "P", "xnat:projectData", {"name": "A name"})
    assert not remote.ensure_project("P", fields={"description": "x"}).created
    assert not peer.seen("PUT")


def test_a_label_is_never_sent(peer, era, ready):
    """With it, an existing object is renamed, or everything else in the request is dropped."""
    assert not [r for r in peer.requests if "label" in r.query]


def test_a_session_with_its_scans_in_one_request(peer, era, remote):
    remote.ensure_project("P")
    scans = [
        ScanDocument("1", "xnat:mrScanData", {"type": "T1w", "note": "a & b"}),
        ScanDocument("2", "xnat:mrScanData", {"type": "bold", "parameters/voxelRes/x": "1.5"}),
    ]
    made = remote.create_session_document(
        SESSION, xsi_type="xnat:mrSessionData", fields={"date": "2020-01-02"}, scans=scans
    )
    assert made.created
    assert made.id.startswith("XNAT_E")
    assert len(peer.seen("PUT", "/subjects/")) == 1
    assert peer.seen("PUT", "/subjects/")[0].headers["content-type"] == "text/xml"
    assert {row["ID"]: (row["type"], row["note"]) for row in remote.list_scans(SESSION)} == {
        "1": ("T1w", "a & b"),
        "2": ("bold", ""),
    }
    assert remote.list_subjects("P")[0]["label"] == "s1"


def test_a_session_that_came_first_gets_the_scans_it_lacks(peer, era, ready):
    scans = [
        ScanDocument("1", "xnat:mrScanData", {"type": "other"}),
        ScanDocument("2", "xnat:mrScanData", {"type": "bold"}),
    ]
    made = ready.create_session_document(SESSION, xsi_type="xnat:mrSessionData", fields={}, scans=scans)
    assert not made.created
    assert {row["ID"]: row["type"] for row in ready.list_scans(SESSION)} == {"1": "T1w", "2": "bold"}


def test_a_session_of_a_type_without_document(peer, era, remote):
    remote.ensure_project("P")
    scans = [ScanDocument("1", "xnat:mrScanData", {"type": "T1w"})]
    assert remote.create_session_document(
        SESSION, xsi_type="lab:ownSessionData", fields={"date": "2020-01-02"}, scans=scans
    ).created
    assert remote.list_sessions("P")[0]["xsiType"] == "lab:ownSessionData"
    assert remote.list_scans(SESSION)[0]["ID"] == "1"


@pytest.mark.parametrize("document", [False, True])
def test_a_session_is_never_moved_to_another_subject(peer, era, ready, document):
    """XNAT would do that, and answer 200."""
    other = Address("P", "s2", "s1_MR1")
    ready.ensure_subject(Address("P", "s2"))

    def make():
        if document:
            return ready.create_session_document(other, xsi_type="xnat:mrSessionData", fields={}, scans=[])
        return ready.ensure_session(other)

    with pytest.raises(ConflictError, match="another subject") as caught:
        make()
    assert caught.value.exit_code == 6
    assert ready.list_sessions("P")[0]["subject_label"] == "s1"
    with pytest.raises(ConflictError):
        ready.ensure_session(Address("P", "new", "s1_MR1"))


def test_an_object_of_another_type_is_a_conflict(ready):
    with pytest.raises(ConflictError, match="xnat:mrSessionData, not xnat:petSessionData"):
        ready.ensure_session(SESSION, xsi_type="xnat:petSessionData")
    with pytest.raises(ConflictError, match="xnat:mrScanData"):
        ready.ensure_scan(SCAN, xsi_type="xnat:ctScanData")


@pytest.mark.parametrize("status", [409, 500])
def test_a_lost_race_is_no_failure(peer, era, remote, status):
    """Of several clients at once some get 409 or 500, and the object is there."""
    remote.ensure_project("P")

    def overtaken(handler, seen):
        handler.read_body(seen)
        handler.process(seen)
        return page(status, "Conflict: Duplicate subject label")

    peer.fail("PUT", "/subjects/s1$", overtaken)
    made = remote.ensure_subject(SUBJECT)
    assert (made.created, made.label) == (False, "s1")
    assert made.id.startswith("XNAT_S")
    peer.fail("PUT", "/projects/Q$", overtaken)
    assert not remote.ensure_project("Q").created


@pytest.mark.parametrize("what", ["project", "subject", "session", "scan", "resource"])
@pytest.mark.parametrize("times", [1, 5])
def test_what_lost_its_reply_is_ours_and_what_was_there_is_not(peer, era, remote, what, times):
    acts = {
        "project": lambda: remote.ensure_project("P"),
        "subject": lambda: remote.ensure_subject(SUBJECT),
        "session": lambda: remote.ensure_session(SESSION),
        "scan": lambda: remote.ensure_scan(SCAN),
        "resource": lambda: remote.ensure_resource(RESOURCE, format="NIFTI"),
    }
    for name, act in acts.items():
        if name == what:
            break
        act()
    peer.fail("PUT", "/", lost_reply, times=times)
    assert acts[what]().created
    assert not peer.faults[0].left or times == 5
    peer.faults.clear()
    peer.fail("PUT", "/", lost_reply, times=times)
    assert not acts[what]().created
    assert peer.faults[0].left == times, "nothing is sent for what is there"


@pytest.mark.parametrize("status", [403, 409])
def test_a_refusal_makes_nothing_ours(peer, remote, status):
    remote.ensure_project("P")
    remote.ensure_session(SESSION)
    remote.ensure_scan(SCAN)
    peer.fail("PUT", "/resources/NIFTI", page(status, "The user does not have permission"), times=99)
    if status == 409:
        assert not remote.ensure_resource(RESOURCE).created
    else:
        with pytest.raises(ForbiddenError) as caught:
            remote.ensure_resource(RESOURCE)
        assert not caught.value.may_have_acted


def test_a_real_failure_stays_one(peer, remote):
    remote.ensure_project("P")
    peer.fail("PUT", "/subjects/s1$", page(500, "out of memory"), times=9)
    with pytest.raises(RefusedError, match="out of memory"):
        remote.ensure_subject(SUBJECT)


def test_eight_threads_make_the_same_subject_once(peer, era, remote):
    remote.ensure_project("P")
    gate = threading.Barrier(8)

    def make(_):
        gate.wait()
        return remote.ensure_subject(SUBJECT)

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make, range(8)))
    assert sum(e.created for e in made) == 1
    assert len({e.id for e in made}) == 1


NOT_YET = {
    403: "The user does not have permission",
    404: "Unable to identify project",
    422: "Submitted subject record must include the project attribute.",
}


@pytest.mark.parametrize("status", NOT_YET)
def test_a_new_project_may_take_a_moment(peer, remote, pauses, status):
    """1.8 knows a new project at once, its permission caches do not."""
    remote.ensure_project("P")
    peer.fail("PUT", "/subjects/", page(status, NOT_YET[status]), times=2)
    assert remote.ensure_subject(SUBJECT).created
    assert pauses == [0.5, 0.5]


@pytest.mark.parametrize(
    ("status", "words", "requests"),
    [(404, "Unable to find it", 4), (422, "An error occurred parsing the XML", 1)],  # 404: it may be being made
)
def test_what_is_not_about_a_new_project_is_not_waited_for(peer, remote, pauses, status, words, requests):
    remote.ensure_project("P")
    peer.fail("PUT", "/subjects/", page(status, words), times=9)
    with pytest.raises(RemoteError, match=words):
        remote.ensure_subject(SUBJECT)
    assert len(peer.seen("PUT", "/subjects/")) == requests
    assert len(pauses) == requests - 1


def test_an_old_project_is_not_waited_for(peer, remote, pauses):
    peer.projects["P"] = Thing("P", "P", "xnat:projectData")
    peer.fail("PUT", "/subjects/", page(403, "The user does not have permission"), times=9)
    with pytest.raises(ForbiddenError, match="does not have permission"):
        remote.ensure_subject(SUBJECT)
    assert pauses == []


def test_a_scan_of_a_missing_session_is_refused_with_the_servers_words(era, remote):
    remote.ensure_project("P")
    with pytest.raises(RefusedError, match="valid image session"):
        remote.ensure_scan(SCAN)


def test_fields_are_changed_one_by_one(peer, era, ready):
    ready.set_fields(SCAN, {"quality": "questionable"})
    row = ready.list_scans(SESSION)[0]
    assert (row["quality"], row["type"]) == ("questionable", "T1w")
    assert peer.seen("PUT", "/scans/1$")[-1].query == {
        "xsiType": "xnat:mrScanData",
        "xnat:mrScanData/quality": "questionable",
    }
    ready.set_fields(SUBJECT, {"yob": "1980"})
    assert peer.projects["P"].children["s1"].fields["yob"] == "1980"
    peer.projects["P"].fields["name"] = "A name"
    ready.set_fields(PROJECT, {"description": "new"})
    assert peer.projects["P"].fields == {"name": "A name", "description": "new"}
    with pytest.raises(UsageError, match="label"):
        ready.set_fields(SUBJECT, {"label": "x"})
    with pytest.raises(NotFoundError):
        ready.set_fields(Address("P", "nobody"), {"yob": "1"})


# Listings


def test_missing_things(era, ready):
    assert ready.project_exists("P")
    assert not ready.project_exists("NOPE")
    for address, there in [
        (SUBJECT, True),
        (Address("P", "s9"), False),
        (SESSION, True),
        (Address("P", "s1", "s9"), False),
        (SCAN, True),
        (Address("P", "s1", "s1_MR1", "9"), False),
        (RESOURCE, True),
        (Address("P", "s1", "s1_MR1", "1", resource="NONE"), False),
        (at("a.txt"), False),
    ]:
        assert ready.exists(address) is there, str(address)
    with pytest.raises(NotFoundError):
        ready.list_subjects("NOPE")
    with pytest.raises(NotFoundError):
        ready.list_sessions("NOPE")
    with pytest.raises(NotFoundError):
        ready.list_scans(Address("P", "s1", "s9"))


def test_nothing_listed_is_no_error(era, ready):
    assert ready.list_files(RESOURCE) == []
    assert ready.list_files(SESSION, all_scans=True) == []
    assert ready.list_files(Address("P", "s1", "s1_MR1", resource="NONE")) == []
    ready.ensure_session(Address("P", "s1", "s1_MR2"))
    assert ready.list_scans(Address("P", "s1", "s1_MR2")) == []
    assert ready.list_files(Address("P", "s1", "s1_MR2"), all_scans=True) == []
    with pytest.raises(NotFoundError):
        ready.list_files(Address("NOPE", resource="R"))


def test_files_of_all_scans_say_whose_they_are(era, ready):
    ready.ensure_scan(Address("P", "s1", "s1_MR1", "anat-T1w_run-1"), fields={"type": "T1w"})
    put(ready, "a.nii.gz", format="NIFTI", content="T1w")
    put(ready, "sub/b.txt", resource=Address("P", "s1", "s1_MR1", "anat-T1w_run-1", resource="BIDS"))
    put(ready, "c.txt", resource=Address("P", "s1", "s1_MR1", resource="MISC"))
    found = {(f.scan, f.resource, f.name): f for f in ready.list_files(SESSION, all_scans=True)}
    assert set(found) == {("1", "NIFTI", "a.nii.gz"), ("anat-T1w_run-1", "BIDS", "sub/b.txt")}
    file = found["1", "NIFTI", "a.nii.gz"]
    assert (file.size_bytes, file.format, file.content) == (5, "NIFTI", "T1w")
    assert file.digest == (hashlib.md5(b"hello").hexdigest() if era == NEW else None)
    assert [f.name for f in ready.list_files(SESSION)] == ["c.txt"]


def test_a_listing_that_is_none(peer, remote):
    peer.fail("GET", "/data/projects$", Reply(200, "[]", JSON))
    with pytest.raises(NotXnatError, match="not an XNAT listing"):
        remote.list_projects()


def test_digests_switched_off(peer, ready):
    peer.digests = False
    put(ready, "a.txt")
    assert ready.list_files(RESOURCE)[0].digest is None
    assert ready.read_digest(at("a.txt")) == hashlib.md5(b"hello").hexdigest()


# Uploads


def test_a_file_that_is_there_is_kept_and_told(peer, era, ready):
    assert put(ready, "sp ace.txt", b"old") == []
    assert put(ready, "sp ace.txt", b"new") == ["sp ace.txt"]
    assert list(peer.files("P", "s1", "s1_MR1", "1", "NIFTI").values()) == [b"old"]
    assert put(ready, "sp ace.txt", b"new", overwrite=True) == []
    assert list(peer.files("P", "s1", "s1_MR1", "1", "NIFTI").values()) == [b"new"]


def test_an_empty_file_travels_as_a_form(peer, era, ready):
    """An empty body is refused by every version."""
    assert put(ready, "sub/empty file.txt", b"") == []
    file = ready.list_files(RESOURCE)[0]
    assert (file.name, file.size_bytes) == ("sub/empty file.txt", 0)


def packed(**members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, data in members.items():
            made.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize("name", ["fs.zip", "FS.ZIP", "x.y.zip"])
def test_an_archive_is_extracted_and_tells_what_was_kept(peer, era, ready, name):
    put(ready, "a", b"old")
    data = packed(a=b"new", b=b"new")
    assert ready.send_archive(RESOURCE, lambda: [data], len(data), name=name, format="MGZ", tags="7.4.1") == ["a"]
    assert peer.files("P", "s1", "s1_MR1", "1", "NIFTI") == {"a": b"old", "b": b"new"}
    sent = peer.seen("PUT", "/files/upload")[0]
    assert (sent.query["extract"], sent.query["inbody"], sent.query["overwrite"]) == ("true", "true", "false")
    assert sent.path.endswith("/files/upload.zip")
    assert ready.send_archive(RESOURCE, lambda: [data], len(data), overwrite=True) == []


@pytest.mark.parametrize(
    ("name", "sent"), [("a.tgz", "upload.tar.gz"), ("a.tar.gz", "upload.tar.gz"), ("A.TAR", "upload.tar")]
)
def test_an_archive_travels_under_a_name_that_every_version_extracts(peer, ready, name, sent):
    """1.6.4 stores a .tgz as it is; it also takes what it cannot read for done."""
    peer.era = OLD
    ready.send_archive(RESOURCE, lambda: [b"x"], 1, name=name)
    assert peer.seen("PUT", "/files/")[-1].path.endswith(f"/files/{sent}")


@pytest.mark.parametrize("name", ["a.nii.gz", "a.7z", "zip", "a.tar.bz2"])
def test_what_xnat_would_not_extract_is_not_sent(peer, ready, name):
    with pytest.raises(UsageError, match="extracts"):
        ready.send_archive(RESOURCE, lambda: [b"x"], 1, name=name)
    assert not peer.seen("PUT", "/files/")


def test_a_catalog_collision_is_told_and_mended(peer, ready):
    peer.fail("PUT", "/files/", landed_500)
    with pytest.raises(RefusedError, match="Another thread") as caught:
        put(ready, "a.txt")
    assert caught.value.status == 500
    assert ready.list_files(RESOURCE) == []
    assert put(ready, "a.txt") == ["a.txt"], "the bytes are on the disk"
    ready.refresh_catalog(RESOURCE, ["append", "checksum"])
    assert [f.name for f in ready.list_files(RESOURCE)] == ["a.txt"]
    assert peer.seen("POST")[0].query == {
        "resource": "/archive/projects/P/subjects/s1/experiments/s1_MR1/scans/1/resources/NIFTI",
        "options": "append,checksum",
    }


def test_without_the_right_to_edit_nothing_is_stored_and_nothing_is_said(peer, ready):
    peer.may_edit = False
    assert put(ready, "a.txt") == []
    assert ready.list_files(RESOURCE) == []


# Downloads


def test_a_file_comes_back(era, ready, tmp_path):
    data = bytes(range(256)) * 9000
    put(ready, "sub/sp ace+ü.bin", data)
    target = tmp_path / "new" / "a.bin"
    assert ready.get_file(at("sub/sp ace+ü.bin"), target).size_bytes == len(data)
    assert target.read_bytes() == data
    assert [p.name for p in target.parent.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("fault", [cut_answer, lost_reply], ids=lambda value: getattr(value, "__name__", str(value)))
def test_a_download_that_breaks_off_starts_again(peer, ready, tmp_path, fault):
    put(ready, "a.bin", b"x" * 300000)
    peer.fail("GET", r"a\.bin$", fault, times=3)
    ready.get_file(at("a.bin"), tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == b"x" * 300000


def test_a_download_that_never_ends_well_leaves_nothing(peer, ready, tmp_path):
    put(ready, "a.bin", b"x" * 300000)
    peer.fail("GET", r"a\.bin$", cut_answer, times=99)
    (tmp_path / "a.bin").write_bytes(b"as before")
    with pytest.raises(UnavailableError):
        ready.get_file(at("a.bin"), tmp_path / "a.bin")
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"as before"


@pytest.mark.parametrize("other", [b"hellO", b"hell", b""])
def test_other_bytes_than_listed_are_not_kept(peer, ready, tmp_path, other):
    put(ready, "a.bin")
    peer.fail("GET", r"a\.bin$", Reply(200, other, {"Content-Type": "application/octet-stream"}))
    with pytest.raises(VerifyError, match=r"a\.bin") as caught:
        ready.get_file(at("a.bin"), tmp_path / "a.bin")
    assert caught.value.exit_code == 8
    assert list(tmp_path.iterdir()) == []


def test_a_given_digest_counts_where_none_is_listed(peer, ready, tmp_path):
    peer.digests = False
    put(ready, "a.bin")
    with pytest.raises(VerifyError):
        ready.get_file(at("a.bin"), tmp_path / "a.bin", digest="0" * 32)
    ready.get_file(at("a.bin"), tmp_path / "a.bin", digest=hashlib.md5(b"hello").hexdigest())


def test_a_web_page_in_place_of_an_image(peer, ready, tmp_path):
    put(ready, "a.bin")
    proxy = "<html><title>Blocked</title></html>"
    peer.fail("GET", r"a\.bin$", Reply(200, proxy, {"Content-Type": "text/html"}), times=3)
    with pytest.raises(NotXnatError, match="Blocked"):
        ready.get_file(at("a.bin"), tmp_path / "a.bin")


def test_a_web_page_that_is_the_file(peer, ready, tmp_path):
    put(ready, "report.html", b"<html>QC</html>")
    peer.fail("GET", r"report\.html$", Reply(200, b"<html>QC</html>", {"Content-Type": "text/html"}))
    ready.get_file(at("report.html"), tmp_path / "r.html")
    assert (tmp_path / "r.html").read_bytes() == b"<html>QC</html>"


def test_a_file_that_is_not_there_or_cannot_be_written(peer, ready, tmp_path):
    with pytest.raises(NotFoundError, match="file not found") as caught:
        ready.get_file(at("a.bin"), tmp_path / "a.bin")
    assert caught.value.exit_code == 4
    put(ready, "a.bin")
    (tmp_path / "file").write_text("x")
    with pytest.raises(TransferError, match="cannot be written"):
        ready.get_file(at("a.bin"), tmp_path / "file" / "a.bin")


def test_a_zip_of_a_resource(peer, era, ready, tmp_path):
    put(ready, "a.txt", b"one")
    put(ready, "sub/b.txt", b"two")
    size = ready.download_zip(RESOURCE, tmp_path / "r.zip")
    assert size == (tmp_path / "r.zip").stat().st_size
    with zipfile.ZipFile(tmp_path / "r.zip") as got:
        assert {n.partition("/files/")[2]: got.read(n) for n in got.namelist()} == {
            "a.txt": b"one",
            "sub/b.txt": b"two",
        }
    with pytest.raises(NotFoundError):
        ready.download_zip(Address("P", "s1", "s1_MR1", resource="NONE"), tmp_path / "n.zip")
    peer.fail("GET", "/files$", Reply(200, b"PK no zip", {"Content-Type": "application/zip"}))
    with pytest.raises(VerifyError, match="damaged"):
        ready.download_zip(RESOURCE, tmp_path / "b.zip")
    assert [p.name for p in tmp_path.iterdir()] == ["r.zip"]


# Removal


@pytest.mark.parametrize("remove_files", [True, False])
def test_what_is_removed_is_gone(peer, era, ready, remove_files):
    put(ready, "a.txt")
    for address in (at("a.txt"), RESOURCE, SCAN, SESSION, SUBJECT, PROJECT):
        ready.remove(address, remove_files=remove_files)
        assert not ready.exists(address)
        assert peer.seen("DELETE")[-1].query == {"removeFiles": "true" if remove_files else "false"}
        with pytest.raises(NotFoundError):
            ready.remove(address, remove_files=remove_files)
    assert peer.projects == {}


def test_a_delete_is_sent_with_subject_and_session_in_the_address(peer, ready):
    ready.remove(SCAN, remove_files=True)
    assert peer.seen("DELETE")[0].path == "/data/projects/P/subjects/s1/experiments/s1_MR1/scans/1"


def test_a_removed_file_takes_no_other_with_it(peer, era, ready):
    """1.8 removes every file whose name begins the same."""
    for name in ("a.nii", "a.nii.gz", "b.nii"):
        put(ready, name)
    with pytest.raises(ConflictError, match=r"a\.nii\.gz"):
        ready.remove(at("a.nii"), remove_files=True)
    assert not peer.seen("DELETE")
    ready.remove(at("a.nii.gz"), remove_files=True)
    ready.remove(at("a.nii"), remove_files=True)
    assert [f.name for f in ready.list_files(RESOURCE)] == ["b.nii"]


def test_a_lost_reply_to_a_delete(peer, era, ready):
    peer.fail("DELETE", "/scans/1$", lost_reply)
    ready.remove(SCAN, remove_files=True)
    assert not ready.exists(SCAN)


def test_a_delete_that_did_nothing_is_told(peer, ready):
    peer.fail("DELETE", "/scans/1$", Reply(200))
    with pytest.raises(RefusedError, match="not removed, although the server confirmed it"):
        ready.remove(SCAN, remove_files=True)


def test_a_delete_that_did_a_part_is_told(peer, ready):
    peer.fail("DELETE", "/NIFTI$", Reply(207, "1 of 2 resources could not be deleted: it is locked"))
    with pytest.raises(RefusedError, match="it is locked"):
        ready.remove(RESOURCE, remove_files=True)


def test_a_delete_that_is_forbidden_is_told(peer, ready):
    peer.fail("DELETE", "/NIFTI$", page(403, "User account doesn't have permission to modify this session."))
    with pytest.raises(ForbiddenError, match="doesn't have permission"):
        ready.remove(RESOURCE, remove_files=True)


# What gzip files unpack to


@pytest.fixture
def marked(ready):
    """A stream that we made, on the server; its content is 60 kB that do not compress."""
    plain = os.urandom(60_000)
    first = GzipStream([plain])
    stream = b"".join(GzipStream([plain], Measured(sum(map(len, first)), first.content)))
    put(ready, "a.nii.gz", stream)
    return at("a.nii.gz"), stream, first.content


def gives_parts(peer, stream, change=lambda reply: reply, times=2):
    """The server answers with parts of files, as recorded of 1.6.4 and 1.8.11."""

    def part(handler, seen):
        start, _, end = seen.headers["range"].removeprefix("bytes=").partition("-")
        start, end = int(start), int(end)
        said = {"Content-Range": f"bytes {start}-{end}/{len(stream)}", "Content-Type": "application/octet-stream"}
        return change(Reply(206, stream[start : end + 1], said))

    peer.fail("GET", "a.nii.gz$", part, times=times, where=lambda seen: "range" in seen.headers)


def test_the_content_of_a_stream_of_ours_is_read_from_its_ends(peer, ready, marked):
    place, stream, content = marked
    gives_parts(peer, stream)
    found = ready.read_content(place, len(stream))
    assert (found, found.fetched) == (content, False)
    assert [seen.headers["range"] for seen in peer.seen("GET", "nii.gz")] == [
        f"bytes=0-{HEAD_BYTES - 1}",
        f"bytes={len(stream) - TAIL_BYTES}-{len(stream) - 1}",
    ]


def test_a_server_without_parts_gives_all_of_it(peer, era, ready, marked):
    place, stream, content = marked
    for number in (1, 2):
        found = ready.read_content(place, len(stream))
        assert (found, found.fetched) == (content, True)
        assert len(peer.seen("GET", "nii.gz")) == number + 1, "it is asked for a part once"


def test_a_deep_look_never_asks_for_parts(peer, ready, marked):
    place, stream, content = marked
    assert ready.read_content(place, len(stream), True) == content
    assert not [seen for seen in peer.seen("GET", "nii.gz") if "range" in seen.headers]


@pytest.mark.parametrize(
    "change",
    [
        lambda reply: replace(reply, headers={}),
        lambda reply: replace(reply, headers={"Content-Range": "bytes 0-9/10"}),
        lambda reply: replace(reply, body=reply.body[:-1]),
        lambda reply: replace(reply, body=b""),
        lambda reply: replace(reply, body=bytes(len(reply.body))),
        lambda reply: Reply(416),
        lambda reply: Reply(500),
    ],
    ids=["no range", "another range", "short", "empty", "other bytes", "416", "500"],
)
def test_a_part_that_is_not_the_part_is_not_believed(peer, ready, marked, change):
    place, stream, content = marked
    gives_parts(peer, stream, change)
    found = ready.read_content(place, len(stream))
    assert (found, found.fetched) == (content, True)


def test_a_part_that_breaks_off_is_not_asked_for_again(peer, ready, marked, pauses):
    """1.8.11 announces more than it sends where a part ends behind the file."""
    place, stream, content = marked
    headers = {"Content-Range": f"bytes 0-{HEAD_BYTES - 1}/{len(stream)}", "Content-Length": str(HEAD_BYTES)}

    def broken(handler, seen):
        handler.send_response(206)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(stream[:9])
        raise HangupError

    peer.fail("GET", "a.nii.gz$", broken, where=lambda seen: "range" in seen.headers)
    assert ready.read_content(place, len(stream)) == content
    assert not pauses


def test_a_file_that_breaks_off_is_fetched_again_and_no_damage(peer, ready, marked):
    place, stream, content = marked
    peer.fail("GET", "a.nii.gz$", cut_answer)
    assert ready.read_content(place, len(stream), True) == content


@pytest.mark.parametrize("held", [b"", b"text" * 50, b"\x1f\x8b", os.urandom(300)])
def test_what_is_no_gzip_has_no_content(ready, held):
    put(ready, "b.nii.gz", held)
    assert ready.read_content(at("b.nii.gz"), len(held)) is None


def test_content_of_a_file_that_is_gone(ready):
    with pytest.raises(NotFoundError):
        ready.read_content(at("none.nii.gz"), 1000)
