"""Resources at every level: made, listed, read as catalogs, removed."""

import csv
import io
import xml.etree.ElementTree as ET

import pytest

from xnatferry.xnat.catalog import decode_catalog

COLUMNS = (
    "xnat_abstractresource_id label element_name category cat_id cat_desc file_count file_size tags content format"
)


@pytest.fixture
def levels(http, session):
    """Addresses of one item per level, with the category, id and words that its resources are listed with."""
    assessor = http.put(f"{session.long}/assessors/A1", params={"xsiType": "xnat:qcAssessmentData"})
    assert assessor.status_code == 201
    assert http.put(f"{session.url}/reconstructions/{session.project}_R1").status_code == 200
    return {
        f"/data/projects/{session.project}": ("resources", "", " "),
        session.subject: ("resources", "", " "),
        f"/data/subjects/{session.subject_id}": ("resources", "", " "),
        session.url: ("resources", session.id, " "),
        session.long: ("resources", session.id, " "),
        f"/data/projects/{session.project}/experiments/E01": ("resources", session.id, " "),
        session.scan: ("scans", "1", "T1w"),
        f"{session.url}/assessors/A1": ("assessors", assessor.text, "Auto QC"),
        f"{session.long}/assessors/A1/in": ("assessors", assessor.text, "Auto QC"),
        f"{session.url}/reconstructions/{session.project}_R1": (
            "reconstructions",
            f"{session.project}_R1",
            "",
        ),
    }


def test_every_level_has_resources_of_its_own(http, levels, rows):
    for number, (url, (category, cat_id, cat_desc)) in enumerate(levels.items()):
        label = f"R{number}"
        params = {"format": "NIFTI", "content": "NOTE", "tags": "a,b", "description": "words"}
        assert http.put(f"{url}/resources/{label}", params=params).content == b""
        (row,) = [row for row in rows(f"{url}/resources") if row["label"] == label]
        assert " ".join(row) == COLUMNS
        assert row["xnat_abstractresource_id"].isdecimal()
        assert row == {
            "xnat_abstractresource_id": row["xnat_abstractresource_id"],
            "label": label,
            "element_name": "xnat:resourceCatalog",
            "category": category,
            "cat_id": cat_id,
            "cat_desc": cat_desc,
            "file_count": "",
            "file_size": "",
            "tags": "a,b",
            "content": "NOTE",
            "format": "NIFTI",
        }
        put = http.put(f"{url}/resources/{label}/files/d/a.txt?inbody=true", content=b"hello")
        assert (put.status_code, put.content) == (200, b"")
        (file,) = rows(f"{url}/resources/{label}/files")
        assert file["URI"].startswith("/data/")
        assert file["URI"].endswith(f"/resources/{row['xnat_abstractresource_id']}/files/d/a.txt")
        assert http.get(file["URI"]).content == b"hello"


def test_the_vault_is_laid_out_as_xnat_does(http, session, archive):
    for url in (f"/data/projects/{session.project}", session.subject, session.url, session.scan):
        assert http.put(f"{url}/resources/R/files/a/b.txt?inbody=true", content=b"x").status_code == 200
    root = archive.root / "archive" / session.project
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*.txt")) == [
        "arc001/E01/RESOURCES/R/a/b.txt",
        "arc001/E01/SCANS/1/R/a/b.txt",
        "resources/R/a/b.txt",
        "subjects/S01/R/a/b.txt",
    ]


@pytest.mark.parametrize("prefix", ["/data", "/REST", "/data/archive", "/REST/archive"])
def test_all_prefixes_mean_the_same(http, session, prefix, rows):
    url = prefix + session.scan.removeprefix("/data") + "/resources/R"
    assert http.put(url).status_code == 200
    assert [row["label"] for row in rows(session.scan + "/resources")] == ["R"]
    assert http.get(url + "/").status_code == 200


def test_a_resource_that_is_there_is_a_conflict(http, session, heading):
    assert http.put(f"{session.scan}/resources/R").status_code == 200
    again = http.put(f"{session.scan}/resources/R")
    assert (again.status_code, heading(again)) == (409, "Specified resource already exists.")
    assert http.put(f"{session.scan}/resources/r").status_code == 200  # another label: the case counts


def test_the_first_resource_of_a_typed_scan_is_raw(http, session, rows):
    http.put(f"{session.scan}/resources/ONE")
    http.put(f"{session.scan}/resources/TWO")
    assert [row["content"] for row in rows(f"{session.scan}/resources")] == ["RAW", ""]


@pytest.mark.parametrize("label", ["%2E%2E", "%2e", "a'b", "select-run1", "a%2Fb", "x" * 300])
def test_labels_that_xnat_would_lose_are_refused(http, session, label, rows):
    assert http.put(f"{session.scan}/resources/{label}").status_code in {400, 404}
    assert http.put(f"{session.scan}/resources/{label}/files/a.txt?inbody=true", content=b"x").status_code in {400, 404}
    assert rows(f"{session.scan}/resources") == []


def test_digits_are_a_number_not_a_label(http, session, rows):
    assert http.put(f"{session.scan}/resources/4711").status_code == 404
    assert http.put(f"{session.url}/resources/4711").status_code == 403
    http.put(f"{session.scan}/resources/R/files/a.txt?inbody=true", content=b"x")
    (row,) = rows(f"{session.scan}/resources")
    number = row["xnat_abstractresource_id"]
    assert http.get(f"{session.scan}/resources/{number}/files/a.txt").content == b"x"
    assert http.put(f"{session.scan}/resources/{number}/files/b.txt?inbody=true", content=b"y").status_code == 200
    assert [row["label"] for row in rows(f"{session.scan}/resources")] == ["R"]
    assert http.put(f"{session.url}/resources/{number}/files/b.txt?inbody=true", content=b"y").status_code == 403


def test_posting_to_the_list_makes_a_resource_known_by_number(http, session, rows):
    answer = http.post(f"{session.scan}/resources?format=X")
    number = answer.text.rpartition("/")[2]
    assert answer.headers["location"] == answer.text
    assert answer.text.endswith(f"{session.scan}/resources/{number}")
    assert [(row["label"], row["format"]) for row in rows(f"{session.scan}/resources")] == [("", "X")]
    assert http.put(f"{session.scan}/resources/{number}/files/a.txt?inbody=true", content=b"x").status_code == 200
    assert http.get(f"{session.scan}/files/a.txt").content == b"x"


def test_lists_over_scans_and_the_whole_session(http, session, rows, names):
    http.put(f"{session.url}/scans/2?xsiType=xnat:mrScanData&type=bold")
    for place in (session.url, session.scan, f"{session.url}/scans/2"):
        http.put(f"{place}/resources/R/files/{place[-1]}.txt?inbody=true&format=TXT", content=b"x")
    for word, wanted in (("ALL", "12"), ("*", "12"), ("1,2", "12"), ("bold", "2"), ("T1w,bold", "12")):
        assert [row["cat_id"] for row in rows(f"{session.url}/scans/{word}/resources")] == list(wanted), word
        assert names(f"{session.url}/scans/{word}/files") == [f"{digit}.txt" for digit in wanted]
    assert http.get(f"{session.url}/scans/NONE/resources").status_code == 404
    assert http.get(f"{session.url}/scans/NONE/files").status_code == 500
    assert rows(f"{session.long}/scans/NONE/resources") == []
    assert names(f"{session.long}/scans/NONE/files") == []
    whole = rows(f"{session.url}/resources", all="true")
    assert [(row["category"], row["cat_id"], row["cat_desc"]) for row in whole] == [
        ("resources", "", ""),
        ("scans", "1", "T1w"),
        ("scans", "2", "bold"),
    ]
    assert len(names(f"{session.url}/files", all="true")) == 3
    assert len(names(f"{session.url}/files")) == 1
    assert len(names(f"{session.url}/files", file_format="NIFTI", all="true")) == 0


def test_the_list_in_all_formats(http, session):
    http.put(f"{session.scan}/resources/R")
    table = list(csv.reader(io.StringIO(http.get(f"{session.scan}/resources?format=csv&columns=label").text)))
    assert " ".join(table[0]) == COLUMNS
    assert table[1][1] == "R"
    tree = ET.fromstring(http.get(f"{session.scan}/resources?format=xml").text)
    assert [cell.text for cell in tree.iter("column")] == COLUMNS.split()
    assert "<table" in http.get(f"{session.scan}/resources?format=html").text
    empty = http.get(f"{session.url}/resources").text
    assert empty == '{"ResultSet":{"Result":[], "totalRecords": "0","title": "Resources"}}'


def test_the_catalog_is_xml_whatever_is_asked(http, session):
    url = f"{session.scan}/resources/R"
    http.put(f"{url}/files/sub/a.txt?inbody=true&format=TXT&content=NOTE&description=w&tags=x&tags=y", content=b"hello")
    answer = http.get(url, params={"format": "json", "includeRootPath": "true"})
    assert answer.headers["content-type"].startswith("text/xml")
    catalog = decode_catalog(answer.content)
    (entry,) = catalog.entries
    assert catalog.id == "R"
    assert catalog.meta["CATALOG_LOCATION"].endswith("/SCANS/1/R")
    assert (entry.name, entry.size_bytes, entry.digest) == ("sub/a.txt", 5, "5d41402abc4b2a76b9719d911017c592")
    assert (entry.format, entry.content, entry.description, entry.tags) == ("TXT", "NOTE", "w", ("x,y",))
    assert entry.created_by == "admin"
    missing = http.get(f"{session.scan}/resources/NONE")
    assert missing.status_code == 404
    assert "Unable to find the specified catalog." in missing.text
    assert http.get(f"{url}/nonsense").status_code == 400


def test_removing_takes_the_files_along(http, session, archive, rows):
    url = f"{session.scan}/resources/R"
    http.put(f"{url}/files/a.txt?inbody=true", content=b"hello")
    folder = archive.root / "archive" / session.project / "arc001" / "E01" / "SCANS" / "1" / "R"
    assert folder.is_dir()
    assert http.delete(f"{url}?removeFiles=true").status_code == 200
    assert not folder.exists()
    assert rows(f"{session.scan}/resources") == []
    assert rows(f"{url}/files") == []
    assert http.delete(url).status_code == 200  # as XNAT: nothing to do is no error
    assert http.delete(f"{session.scan}/resources/R,NONE").status_code == 200
    assert http.put(f"{url}/files/a.txt?inbody=true", content=b"new").content == b""  # and nothing is left to collide


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/data/projects/{p}none/resources/R", 404, "Unable to identify project"),
        ("/data/projects/{p}/subjects/S99/resources/R", 404, "Unable to identify subject"),
        ("/data/experiments/NONE_X/resources/R", 404, "Unable to identify experiment"),
        ("{e}/scans/99/resources/R", 404, "Unable to identify scan"),
        ("{e}/assessors/NONE/resources/R", 404, "Unable to identify experiment"),
        ("{e}/scans/ALL/resources/R", 404, "Unable to identify scan"),
    ],
)
def test_parents_that_are_not_there(http, session, path, status, words, heading):
    http.put(f"{session.url}/scans/2?xsiType=xnat:mrScanData")
    url = path.format(p=session.project, e=session.url)
    for answer in (http.put(url), http.put(f"{url}/files/a?inbody=true", content=b"x"), http.delete(url)):
        assert (answer.status_code, heading(answer)) == (status, words)


def test_reading_below_what_is_not_there_fails_unless_a_project_is_named(http, rows, session):
    for place in ("/data/experiments/NONE_X", f"{session.url}/scans/99", f"{session.url}/assessors/NONE"):
        assert http.get(f"{place}/resources").status_code == 404
        for path in ("files", "resources/R/files", "files?format=zip", "resources/R/files/a.txt"):
            assert http.get(f"{place}/{path}").status_code == 500
    for place in (f"/data/projects/{session.project}/experiments/NONE_X", f"{session.long}/scans/99"):
        assert rows(f"{place}/resources") == rows(f"{place}/files") == rows(f"{place}/resources/R/files") == []
