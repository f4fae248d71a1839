"""Many at once: nothing is lost, nothing exists twice, and nobody who reads waits for somebody who sends."""

import hashlib
import socket
import threading
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx2
import pytest

WRITERS = 16


@pytest.fixture
def at_once(server):
    """Calls a function WRITERS times in the same moment, each time with a client and a number of its own."""

    def at_once(act):
        start = threading.Barrier(WRITERS)

        def one(number):
            with httpx2.Client(base_url=server.url, auth=(server.user, server.password), timeout=60) as client:
                client.get("/data/JSESSION")
                start.wait()
                return act(client, number)

        with ThreadPoolExecutor(WRITERS) as pool:
            return list(pool.map(one, range(WRITERS)))

    return at_once


def test_writers_into_one_new_resource_lose_nothing(at_once, session, rows):
    sent = {f"{n:02}/{m}.bin": bytes([n, m]) * 3_000 for n in range(WRITERS) for m in range(3)}

    def upload(client, number):
        mine = [name for name in sent if name.startswith(f"{number:02}/")]
        url = f"{session.scan}/resources/NIFTI/files"
        return [client.put(f"{url}/{name}", params={"inbody": "true"}, content=sent[name]) for name in mine]

    answers = [answer for some in at_once(upload) for answer in some]
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, b"")}
    (resource,) = rows(f"{session.scan}/resources")
    assert int(resource["file_count"]) == len(sent)
    assert int(resource["file_size"]) == sum(map(len, sent.values()))
    listed = rows(f"{session.scan}/resources/NIFTI/files")
    found = {row["URI"].partition("/files/")[2]: row["digest"] for row in listed}
    assert found == {name: hashlib.md5(data).hexdigest() for name, data in sent.items()}


def test_archives_unpacked_into_one_new_resource_lose_nothing(at_once, session, names, zipped):
    def upload(client, number):
        members = zipped(*((f"{number:02}/{m}.txt", b"%d" % m) for m in range(20)))
        return client.put(
            f"{session.url}/resources/R/files/x.zip", params={"extract": "true", "inbody": "true"}, content=members
        )

    assert {answer.status_code for answer in at_once(upload)} == {200}
    wanted = sorted(f"{n:02}/{m}.txt" for n in range(WRITERS) for m in range(20))
    assert sorted(names(f"{session.url}/resources/R/files")) == wanted


def test_writers_of_one_name_leave_the_bytes_of_one_of_them(at_once, session, rows, http):
    def upload(client, number):
        params = {"inbody": "true", "overwrite": "true"}
        return client.put(f"{session.url}/resources/R/files/x.bin", params=params, content=bytes([number]) * 50_000)

    assert {answer.status_code for answer in at_once(upload)} == {200}
    (row,) = rows(f"{session.url}/resources/R/files")
    data = http.get(row["URI"]).content
    assert len(data) == 50_000
    assert len(set(data)) == 1
    assert row["digest"] == hashlib.md5(data).hexdigest()


def test_one_of_many_first_comers_stores_and_the_others_are_told(at_once, session, http):
    def upload(client, number):
        url = f"{session.url}/resources/R/files/x.bin"
        return client.put(url, params={"inbody": "true"}, content=bytes([number]) * 10)

    answers = at_once(upload)
    assert {answer.status_code for answer in answers} == {200}
    (winner,) = [number for number, answer in enumerate(answers) if not answer.content]
    assert all(answer.json() == {"duplicates": ["x.bin"]} for answer in answers if answer.content)
    assert http.get(f"{session.url}/resources/R/files/x.bin").content == bytes([winner]) * 10


@pytest.mark.parametrize("kind", ["subject", "session", "session with a new subject", "assessor"])
def test_one_object_is_made_and_everybody_gets_its_id(at_once, session, rows, kind):
    url, params, listing = {
        "subject": (f"/data/projects/{session.project}/subjects/S02", {}, f"/data/projects/{session.project}/subjects"),
        "session": (
            f"{session.subject}/experiments/E02",
            {"xsiType": "xnat:mrSessionData"},
            f"/data/projects/{session.project}/experiments",
        ),
        "session with a new subject": (
            f"/data/projects/{session.project}/subjects/S03/experiments/E03",
            {"xsiType": "xnat:petSessionData"},
            f"/data/projects/{session.project}/subjects",
        ),
        "assessor": (
            f"{session.url}/assessors/A01",
            {"xsiType": "xnat:qcManualAssessorData", "xnat:qcManualAssessorData/pass": "1", "project": session.project},
            f"{session.url}/assessors",
        ),
    }[kind]
    before = len(rows(listing))
    answers = at_once(lambda client, _: client.put(url, params=params))
    assert sorted(answer.status_code for answer in answers) == [200] * (WRITERS - 1) + [201]
    assert len({answer.text for answer in answers}) == 1
    assert len(rows(listing)) == before + 1


def test_one_project_is_made(at_once, http, new_id, rows):
    name = new_id()
    answers = at_once(lambda client, _: client.put(f"/data/projects/{name}"))
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, b"")}
    assert [row["ID"] for row in rows("/data/projects")].count(name) == 1
    http.delete(f"/data/projects/{name}")


def test_different_new_subjects_get_different_ids(at_once, project):
    answers = at_once(lambda client, n: client.put(f"/data/projects/{project}/subjects/T{n:02}"))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == WRITERS


def test_one_resource_is_made_and_the_others_are_told(at_once, session, rows):
    answers = at_once(lambda client, _: client.put(f"{session.url}/resources/R"))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * (WRITERS - 1)
    assert len(rows(f"{session.url}/resources")) == 1


def test_scans_of_one_session_are_all_made(at_once, session, rows):
    answers = at_once(
        lambda client, n: client.put(f"{session.url}/scans/{n + 10}", params={"xsiType": "xnat:mrScanData"})
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len(rows(f"{session.url}/scans")) == WRITERS + 1


def test_uploads_while_the_session_is_renamed_end_up_in_it(at_once, session, http, rows, archive):
    """Half upload, one renames there and back; whoever got a 200 is listed with the right bytes."""

    def act(client, number):
        if number == 0:
            for label in ("E91", "E92", "E93", "E94"):
                assert client.put(session.url, params={"label": label}).status_code == 200
            return []
        done = []
        for turn in range(4):
            name, data = f"{number}-{turn}.bin", f"{number} {turn}".encode() * 100
            answer = client.put(f"{session.url}/resources/R/files/{name}", params={"inbody": "true"}, content=data)
            assert answer.status_code == 200
            done.append((name, data))
        return done

    sent = dict(pair for some in at_once(act) for pair in some)
    listed = {row["Name"]: row for row in rows(f"{session.url}/resources/R/files")}
    assert listed.keys() == sent.keys()
    assert all(http.get(listed[name]["URI"]).content == data for name, data in sent.items())
    arc = archive.root / "archive" / session.project / "arc001"
    assert sorted(path.name for path in arc.iterdir()) == ["E94"]


def test_readers_do_not_wait_for_an_upload(server, session, http, rows):
    """More uploads than the archive has threads stand still in the middle; everything else is answered."""
    parts = urlsplit(server.url)
    secret = b64encode(f"{server.user}:{server.password}".encode()).decode()
    open_sockets = []
    half = b"x" * 600_000
    for number in range(50):
        one = socket.create_connection((parts.hostname, parts.port), timeout=60)
        head = (
            f"PUT {session.url}/resources/R/files/{number}.bin?inbody=true HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Authorization: Basic {secret}\r\nContent-Length: {2 * len(half)}\r\n\r\n"
        )
        one.sendall(head.encode() + half)
        open_sockets.append(one)
    # None of these could answer before its time-out if an upload kept a thread, the writer or the resource.
    assert rows(f"{session.url}/resources/R/files") == []
    assert http.put(f"{session.url}/resources/R/files/quick.bin?inbody=true", content=b"q").status_code == 200
    assert http.get(f"{session.url}/resources/R/files/quick.bin").content == b"q"
    for one in open_sockets:
        one.sendall(half)
    for one in open_sockets:
        assert one.recv(100).startswith(b"HTTP/1.1 200")
        one.close()
    assert len(rows(f"{session.url}/resources/R/files")) == 51


def test_renames_of_one_session_at_once_keep_its_files(at_once, session, http, rows, archive):
    url = f"{session.url}/resources/R/files/x.bin"
    assert http.put(url, params={"inbody": "true"}, content=b"x").status_code == 200
    answers = at_once(lambda client, n: client.put(session.url, params={"label": f"E1{n:02}"}))
    assert {answer.status_code for answer in answers} == {200}
    assert http.get(url).content == b"x"
    (row,) = rows(f"/data/projects/{session.project}/experiments")
    arc = archive.root / "archive" / session.project / "arc001"
    assert [path.name for path in arc.iterdir()] == [row["label"]]


def test_deletions_of_one_session_at_once_are_one(at_once, session, http, archive):
    http.put(f"{session.url}/resources/R/files/x.bin", params={"inbody": "true"}, content=b"x")
    answers = at_once(lambda client, _: client.delete(session.url, params={"removeFiles": "true"}))
    assert sorted(answer.status_code for answer in answers) == [200] + [404] * (WRITERS - 1)
    assert list((archive.root / "archive" / session.project / "arc001").iterdir()) == []
