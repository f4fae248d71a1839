"""A strict archive fails where XNAT 1.8.11, fresh from its installation, was recorded to fail."""

import socket
import threading
import time
from base64 import b64encode
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from xnatferry.testing import local_archive

PROJECT = "/data/projects/P"
SUBJECT = f"{PROJECT}/subjects/S01"
FILES = f"{SUBJECT}/experiments/MR/resources/R/files"


@contextmanager
def client_of(archive, login):
    with httpx2.Client(base_url=archive.url, auth=(login.user, login.password), timeout=60) as client:
        yield client


@pytest.fixture
def archive():
    with local_archive(strict=True) as archive:
        yield archive


@pytest.fixture
def http(archive):
    """An administrator, and a project with an MR and an EEG session of one subject."""
    with client_of(archive, archive) as client:
        client.put(PROJECT)
        for label in ("MR", "EEG"):
            made = client.put(f"{SUBJECT}/experiments/{label}", params={"xsiType": f"xnat:{label.lower()}SessionData"})
            assert made.status_code == 201
        yield client


@pytest.fixture
def member(archive, http):
    login = archive.new_account("member")
    archive.give_role(login, "P", "member")
    with client_of(archive, login) as client:
        yield client


def table(client, path, **params):
    answer = client.get(path, params={"format": "json", **params})
    assert answer.status_code == 200
    return answer.json()["ResultSet"]["Result"]


def labels(client, path, **params):
    return sorted(row["label"] for row in table(client, path, columns="label", **params))


class TestTypesThatAreNotSetUp:
    def test_no_list_of_the_project_shows_them(self, http, member):
        for client in (http, member):
            for path in (f"{PROJECT}/experiments", f"{SUBJECT}/experiments"):
                assert labels(client, path) == ["MR"]
                assert labels(client, path, xsiType="xnat:imageSessionData") == ["MR"]
                assert labels(client, path, xsiType="xnat:eegSessionData") == []

    def test_the_list_of_the_site_shows_them_to_administrators(self, http, member):
        assert labels(http, "/data/experiments", project="P") == ["EEG", "MR"]
        assert labels(member, "/data/experiments", project="P") == ["MR"]

    def test_their_path_and_their_subject_show_them(self, http, member):
        column = "xnat:subjectData/experiments/experiment/label"
        for client in (http, member):
            assert client.get(f"{SUBJECT}/experiments/EEG").status_code == 200
            found = client.get(SUBJECT, params={"format": "json"}).json()["items"][0]["children"][0]["items"]
            assert sorted(one["data_fields"]["label"] for one in found) == ["EEG", "MR"]
            rows = table(client, f"{PROJECT}/subjects", columns=f"label,{column}")
            assert sorted(row[column.lower()] for row in rows) == ["EEG", "MR"]

    def test_nobody_deletes_them_or_their_subject_but_the_project_goes(self, http):
        for path in (f"{SUBJECT}/experiments/EEG", SUBJECT):
            refused = http.delete(path, params={"removeFiles": "true"})
            assert refused.status_code == 403
            assert "User cannot delete experiments for project P" in refused.text
        assert http.get(f"{SUBJECT}/experiments/EEG").status_code == 200
        assert http.delete(f"{SUBJECT}/experiments/MR").status_code == 200
        assert http.delete(PROJECT).status_code == 200


def names(http):
    return sorted(row["Name"] for row in table(http, FILES))


def test_a_deletion_takes_every_file_that_begins_so(http):
    for name in ("x.nii", "x.nii.gz", "y.nii"):
        assert http.put(f"{FILES}/{name}", params={"inbody": "true"}, content=b"1").status_code == 200
    assert http.delete(f"{FILES}/x.nii").status_code == 200
    assert names(http) == ["y.nii"]
    assert http.delete(f"{FILES}/x.nii").status_code == 404


def test_a_writer_that_meets_another_in_its_resource_fails(http, monkeypatch):
    entered, may_go_on = threading.Event(), threading.Event()
    replace = Path.replace

    def slow(self, target):
        if Path(target).name == "slow.bin":
            entered.set()
            assert may_go_on.wait(30)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", slow)
    answers = []

    def put_slowly():
        answers.append(http.put(f"{FILES}/slow.bin", params={"inbody": "true"}, content=b"1").status_code)

    first = threading.Thread(target=put_slowly)
    first.start()
    try:
        assert entered.wait(30)
        assert http.put(f"{FILES}/other.bin", params={"inbody": "true"}, content=b"1").status_code == 500
        assert http.put(f"{FILES[:-6]}").status_code == 500
    finally:
        may_go_on.set()
        first.join(30)
    assert answers == [200]
    assert names(http) == ["slow.bin"]
    assert http.put(f"{FILES}/other.bin", params={"inbody": "true"}, content=b"1").status_code == 200


@pytest.mark.parametrize("name", ["50%25.nii", "a%3Bb.nii", "a;b.nii"])
def test_the_firewall_refuses_names(http, name):
    assert http.put(f"{FILES}/{name}", params={"inbody": "true"}, content=b"1").status_code == 405
    assert http.delete(f"{FILES}/{name}").status_code == 405
    assert http.get(f"{FILES}/{name}").status_code == 500


def soon(look):
    """What *look* gives as soon as it gives something."""
    until = time.monotonic() + 30
    while not (found := look()):
        assert time.monotonic() < until
    return found


def test_an_upload_that_breaks_off_stays_unlisted_until_the_next_one(archive, http):
    parts = urlsplit(archive.url)
    login = b64encode(f"{archive.user}:{archive.password}".encode()).decode()
    head = (
        f"PUT {FILES}/half.bin?inbody=true HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {login}\r\n"
        f"Content-Length: {4 << 20}\r\n\r\n"
    )
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        connection.sendall(head.encode() + b"h" * (3 << 20))
        soon(lambda: any(one.stat().st_size >= 1 << 20 for one in (archive.root / "incoming").iterdir()))
    left = soon(lambda: archive.files().get("P/arc001/MR/RESOURCES/R/half.bin"))
    assert 1 << 20 <= len(left) <= 3 << 20
    assert names(http) == []
    again = http.put(f"{FILES}/half.bin", params={"inbody": "true"}, content=b"whole")
    assert (again.status_code, again.json()) == (200, {"duplicates": ["half.bin"]})
    assert [(row["Name"], row["Size"]) for row in table(http, FILES)] == [("half.bin", str(len(left)))]
    replaced = http.put(f"{FILES}/half.bin", params={"inbody": "true", "overwrite": "true"}, content=b"whole")
    assert (replaced.status_code, replaced.text) == (200, "")
    assert http.get(f"{FILES}/half.bin").content == b"whole"


def test_a_broken_zip_is_answered_as_stored(http):
    sent = http.put(f"{FILES}/a.zip", params={"inbody": "true", "extract": "true"}, content=b"no zip")
    assert (sent.status_code, sent.text) == (200, "")
    assert names(http) == []
    assert [row["label"] for row in table(http, f"{SUBJECT}/experiments/MR/resources")] == ["R"]


def test_the_id_of_a_deleted_project_is_gone(http):
    assert http.delete(PROJECT).status_code == 200
    assert http.put(PROJECT).status_code == 403


def test_a_file_for_a_project_that_one_may_only_see_is_answered_as_stored(archive, http):
    with client_of(archive, archive.new_account("plain")) as plain:
        url = f"{PROJECT}/resources/R/files/a.txt"
        assert plain.put(url, params={"inbody": "true"}, content=b"1").status_code == 200
        assert table(http, f"{PROJECT}/resources") == []
        http.put(f"{PROJECT}/accessibility/private")
        assert plain.put(url, params={"inbody": "true"}, content=b"1").status_code == 404
