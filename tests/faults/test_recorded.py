"""Answers of a genuine XNAT 1.6.4 (tests/golden, with its SOURCE), played to the client."""

import json
from pathlib import Path
from urllib.parse import unquote

import pytest
from peer import JSON, Reply, Thing

from xnatferry.client.listings import decode_item, decode_listing, remote_file
from xnatferry.client.responses import ServerResponse, error_of, kept_names, not_logged_in
from xnatferry.errors import AuthenticationError, NotFoundError, RefusedError
from xnatferry.xnat.error_page import error_page
from xnatferry.xnat.labels import remote_name_problem
from xnatferry.xnat.model import Address, quote_name

RECORDED = Path(__file__).resolve().parents[1] / "golden" / "wide" / "recorded-1.6.4"
STEPS = [step for path in sorted(RECORDED.glob("*.json")) for step in json.loads(path.read_text(encoding="utf-8"))]


def body_of(step):
    """The body as it was, as far as the client can tell."""
    body = step["body"]
    if body is None:
        return ""
    if "table" in body:
        table = dict(body["table"])
        members = {"Result": table["rows"], **{k: v for k, v in table.items() if k in {"title", "totalRecords"}}}
        return json.dumps({"ResultSet": members})
    if "json" in body:
        return json.dumps(body["json"])
    if "error page" in body:
        return error_page(step["status"], body["error page"])
    if "container error page" in body:
        return "<html><head><title>Apache Tomcat - Error report</title></head><body><h1>HTTP Status</h1></body></html>"
    return body.get("text", "")


def answer_of(step):
    method, path = step["request"].split(" ", 1)
    return ServerResponse(step["status"], {}, body_of(step).encode(), method, f"http://h.org{path}")


def named(name):
    return next(step for step in STEPS if step["step"] == name)


def ids(steps):
    return [step["step"] for step in steps]


def test_the_recording_is_there():
    assert len(STEPS) > 500


@pytest.mark.parametrize("step", STEPS, ids=ids(STEPS))
def test_every_answer_is_an_error_or_none(step):
    answer = answer_of(step)
    error = error_of(answer)
    assert (error is None) == (answer.status in {200, 201, 206})
    if error is not None:
        assert error.status == answer.status
        assert not error.retryable
    assert not_logged_in(answer) == (answer.status == 401)


TABLES = [s for s in STEPS if isinstance(s["body"], dict) and "table" in s["body"]]
FILES = [s for s in TABLES if "Size" in s["body"]["table"]["columns"] and "URI" in s["body"]["table"]["columns"]]


@pytest.mark.parametrize("step", TABLES, ids=ids(TABLES))
def test_every_table_is_read(step):
    assert len(decode_listing(answer_of(step))) == len(step["body"]["table"]["rows"])


@pytest.mark.parametrize("step", FILES, ids=ids(FILES))
def test_every_file_has_a_name_a_size_and_a_resource(step):
    for row, file in zip(step["body"]["table"]["rows"], map(remote_file, decode_listing(answer_of(step))), strict=True):
        assert file.name.rsplit("/", 1)[-1] == row["Name"]
        assert file.resource == row["collection"] or not row["collection"]
        assert file.size_bytes == int(row["Size"])
        assert file.digest is None
        assert remote_name_problem(file.name) is None or file.name.endswith(("_catalog.xml", "per%25cent.txt"))
        assert (file.scan is not None) == ("/scans/" in row["URI"])


def test_names_are_used_as_listed():
    """Names that other programs sent by PUT are listed percent-encoded, and are the names in downloaded zips."""
    rows = named("files-multipart/list-names")["body"]["csv"]["rows"]
    names = {remote_file(row).name for row in rows}
    assert {"%C3%A9t%C3%A9.txt", "n%20ame.txt", "pl+us.txt", "ha%23sh.txt", "per%25cent.txt", "a(1),b.txt"} <= names


NAMES_1_8 = json.loads((RECORDED.parents[1] / "new" / "recorded-1.8.11" / "names-archives.json").read_text("utf-8"))


def test_listed_names_are_the_names_in_the_zip():
    answers = {step["step"].rpartition("/")[2]: step for step in NAMES_1_8}
    rows = answers["list"]["body"]["table"]["rows"]
    zipped = {name.partition("/files/")[2] for name, _ in answers["zip-of-all"]["body"]["zip"]}
    assert {remote_file(row).name for row in rows} == zipped
    assert {"p%20coded.txt", "p%cent.txt", "s;emi.txt", "b[1].txt", "a b/c d.txt"} <= zipped


@pytest.mark.parametrize(
    "step",
    [s for s in NAMES_1_8 if s["request"].startswith("GET") and "/R/files/" in s["request"]],
    ids=lambda s: s["step"],
)
def test_names_that_1_8_11_does_not_send_are_refused(step):
    name = unquote(step["request"].partition("/files/")[2])
    if step["request"].endswith(f"/files/{quote_name(name)}"):  # our client does not send the other URLs
        assert (remote_name_problem(name) is None) == (step["status"] == 200)
    if step["status"] == 200:
        assert unquote(quote_name(name)) == name


ITEMS = [s for s in STEPS if isinstance(s["body"], dict) and "items" in str(s["body"].get("json", ""))[:12]]


@pytest.mark.parametrize("step", ITEMS, ids=ids(ITEMS))
def test_every_item_is_read(step):
    item = decode_item(answer_of(step))
    assert item["xsi:type"].startswith("xnat:")
    assert item["ID"]


def test_kept_names_are_read():
    assert kept_names(body_of(named("files-extract/zip-again"))) == ["S01/mri/orig.mgz"]
    assert kept_names(body_of(named("files-extract/duplicate-members"))) == ["x.txt"]


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("auth/projects-bad-password", AuthenticationError, "wrong user name or password"),
        ("missing-parents/file-in-missing-scan", NotFoundError, "Unable to identify scan"),
        ("missing-parents/scan-in-missing-session", RefusedError, "valid image session"),
        ("experiments/rename-taken", RefusedError, "already in use"),
        ("experiments/bad-date", RefusedError, "Must Be A Valid Date"),
        ("experiments/label-with-blank", RefusedError, "internal error of the server"),
        ("projects/id-with-blank", RefusedError, "Invalid character in project ID"),
        ("files-inbody/empty-inbody", RefusedError, "include the file directly"),
    ],
)
def test_the_words_of_a_genuine_server(name, kind, words):
    error = error_of(answer_of(named(name)))
    assert type(error) is kind
    assert words in str(error)


@pytest.fixture
def playing(peer, remote):
    """Lets the peer give a recorded answer next."""
    remote.check()

    def play(method, pattern, name):
        step = named(name)
        peer.fail(method, pattern, Reply(step["status"], body_of(step), {**JSON}))
        return remote

    return play


SESSION = Address("P", "S01", "E01")


def test_lists_through_the_client(playing, peer):
    ids = {"S01": "<SUBJECT_ID_1>", "S02": "<SUBJECT_ID_2>"}
    subjects = {label: Thing(number, label, "xnat:subjectData") for label, number in ids.items()}
    peer.projects["P"] = Thing("P", "P", "xnat:projectData", children=subjects)
    rows = playing("GET", "/experiments$", "experiments-lists/columns-subject").list_sessions("P")
    assert {(r["label"], r["subject_label"], r["date"], r["xsiType"]) for r in rows} == {
        ("E01", "S01", "2020-01-02", "xnat:mrSessionData"),
        ("E02", "S01", "2020-02-03", "xnat:petSessionData"),
        ("E03", "S02", "2021-02-03", "xnat:mrSessionData"),
    }
    scans = playing("GET", "/scans$", "scans/list").list_scans(SESSION)
    assert {r["ID"]: r["type"] for r in scans}["anat-T1w_run-1"] == "T1w"
    files = playing("GET", "/scans/ALL/files$", "files-lists/all-scans").list_files(SESSION, all_scans=True)
    assert {(f.scan, f.resource, f.name) for f in files} == {
        ("1", "NIFTI", "a.nii.gz"),
        ("1", "NIFTI", "sub/b.txt"),
        ("2", "BIDS", "c.json"),
        ("2", "NIFTI", "c.nii.gz"),
    }
    resources = playing("GET", "/resources$", "resources/session-all").list_resources(SESSION, all_scans=True)
    assert {"RSES", "RSCA", "NIFTI"} <= {r["label"] for r in resources}
    item = playing("GET", "/E01$", "experiments-xml/new-json").item(SESSION)
    assert (item["label"], item["date"], item["xsi:type"]) == ("E01", "2021-05-06", "xnat:mrSessionData")


def document_of(step):
    """The catalog as it was, from its outline: an element a line."""
    lines = (line.strip().replace('"<', '"').replace('>"', '"') for line in step["body"]["xml"])
    entries = "".join(f"<{line}/>" for line in lines if line.startswith("cat:entry "))
    head = '<cat:Catalog ID="NIFTI" xmlns:cat="http://nrg.wustl.edu/catalog">'
    return f"{head}<cat:entries>{entries}</cat:entries></cat:Catalog>"


@pytest.mark.parametrize(
    ("name", "digest"), [("catalog", "5d41402abc4b2a76b9719d911017c592"), ("catalog-after-overwrite", None)]
)
def test_a_digest_of_replaced_bytes_is_none(peer, remote, name, digest):
    """1.6.4 goes on giving the MD5 of the bytes that were stored first."""
    step = named(f"catalogs/{name}")
    assert "5d41402abc4b2a76b9719d911017c592" in document_of(step)
    peer.fail("GET", "/resources/NIFTI$", Reply(200, document_of(step), {"Content-Type": "text/xml"}))
    found = remote.list_digests(Address("P", "S01", "E01", "1", resource="NIFTI"))
    assert found == {"a.txt": digest, "sub/b.txt": "135bf26348041512fc6163dffb59066f"}


def test_scans_of_a_session_that_is_not_there(playing):
    """1.6.4 answers 500."""
    with pytest.raises(NotFoundError):
        playing("GET", "/scans$", "missing-parents/scans-of-missing-session").list_scans(SESSION)


def test_files_of_a_session_that_is_not_there(playing):
    assert playing("GET", "/files$", "missing-parents/files-in-missing-session").list_files(SESSION) == []
