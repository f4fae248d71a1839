"""The import service and the prearchive: XNAT's answers to what cannot be imported, and nothing that waits."""

import pytest

IMPORT = "/data/services/import"
ZIP = {"content-type": "application/zip"}


@pytest.mark.parametrize(
    ("request_of", "status", "words"),
    [
        ({"content": b"PK..", "headers": ZIP}, 400, "reads no DICOM"),
        ({"content": b"PK..", "params": {"inbody": "true", "import-handler": "DICOM-zip"}}, 400, "reads no DICOM"),
        ({"files": {"f": ("s.zip", b"PK..")}}, 400, "reads no DICOM"),
        ({"files": {"f": ("s.zip", b"PK..")}, "data": {"import-handler": "NIFTI"}}, 404, "NIFTI"),
        ({"content": b"PK..", "headers": ZIP, "params": {"import-handler": "NIFTI"}}, 404, "NIFTI"),
        ({"files": {"f": ("a", b"1"), "g": ("b", b"2")}}, 400, "limited to one uploaded resource at a time."),
        ({"files": {}, "data": {"project": "P"}}, 400, "Unable to identify upload format."),
        ({}, 400, "Unable to identify upload format."),
        ({"params": {"src": "/user/cache/resources/X/files/f.zip"}}, 404, "Unknown src file."),
        ({"params": {"src": "/etc/passwd"}}, 400, "src uri is invalid."),
    ],
)
def test_what_is_not_imported(http, heading, left_over, request_of, status, words):
    answer = http.post(IMPORT, **request_of)
    assert answer.status_code == status
    assert words in heading(answer)
    assert left_over() == []


def test_a_large_upload_gets_its_answer(http, left_over):
    answer = http.post(IMPORT, content=b"x" * 3_000_000, headers=ZIP)
    assert answer.status_code == 400
    assert left_over() == []


def test_only_by_post(http):
    answer = http.get(IMPORT)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert http.put(IMPORT, content=b"x").status_code == 405


def test_nothing_waits_in_the_prearchive(http, project, rows):
    for url in ("", "/experiments", "/projects", f"/projects/{project}"):
        assert rows(f"/data/prearchive{url}") == []
    session = f"/data/prearchive/projects/{project}/20240101_120000/E"
    for method in ("GET", "POST", "PUT", "DELETE"):
        assert http.request(method, session, params={"action": "commit"}).status_code == 404
    assert http.post("/data/services/archive", params={"src": session.removeprefix("/data")}).status_code == 404
