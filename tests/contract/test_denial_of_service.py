"""What a client without an account cannot do: keep the archive busy, fill its memory, or take all connections."""

import base64
import http.client
import socket
import threading
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import httpx2
import pytest

from xnatferry.server import accounts
from xnatferry.server.archive import running_archive
from xnatferry.server.connection_limits import ConnectionLimits
from xnatferry.server.settings import ServerSettings

FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def impatient(tmp_path_factory):
    """An archive with short limits."""
    root = tmp_path_factory.mktemp("impatient")
    limits = ConnectionLimits(head_s=0.4, stalled_s=0.4, per_address=20)
    settings = ServerSettings(root=root, connections=limits, require_login=False)
    with running_archive(root, admin_password="admin-secret", settings=settings) as running:
        yield running


def connect(running):
    parts = urlsplit(running.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=60)


class TestForms:
    @pytest.mark.parametrize("path", ["/login", "/data/services/auth", "/logout", "/data/projects/P", "/data/search"])
    def test_a_stranger_sends_small_bodies_only(self, stranger, path):
        assert stranger.post(path, content=b"a&" * 10_000, headers=FORM).status_code in {401, 413}

    @pytest.mark.parametrize("path", ["/accounts", "/data/services/auth", "/data/services/refresh/catalog"])
    def test_a_form_has_a_largest_number_of_fields(self, http, path):
        assert http.post(path, content=b"a&" * 10_000, headers=FORM).status_code == 413

    def test_fields_of_an_item_too(self, http, project):
        target = f"/data/projects/{project}/subjects/S?req_format=form"
        assert http.put(target, content=b"a&" * 10_000, headers=FORM).status_code == 413


class TestSlowClients:
    @pytest.mark.parametrize(
        "sent",
        [
            b"",
            b"GET /data/au",
            b"GET /login HTTP/1.1\r\nHost: x\r\nX: ",
            b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\na=b",
        ],
    )
    def test_silence_ends_the_connection(self, impatient, sent):
        with connect(impatient) as one:
            one.sendall(sent)
            while one.recv(65_536):  # an answer, then the end; without a limit the socket's own timeout fails
                pass

    def test_a_head_that_trickles_ends_the_connection(self, impatient):
        with connect(impatient) as one:
            one.sendall(b"GET /login HTTP/1.1\r\nHost: x\r\nX: ")
            one.settimeout(0.1)
            ended = False
            while not ended:  # without a limit it never is, and the test run's own timeout fails
                try:
                    one.sendall(b"x")
                    ended = one.recv(100) == b""
                except TimeoutError:
                    continue
                except ConnectionError:
                    ended = True

    def test_an_upload_that_goes_on_is_not_ended(self, impatient):
        with httpx2.Client(base_url=impatient.url, auth=("admin", "admin-secret"), timeout=60) as client:
            client.put("/data/projects/P")
            waiting = threading.Event()

            def body():
                for number in range(10):
                    waiting.wait(0.1)
                    yield b"%d" % number

            stored = client.put(
                "/data/projects/P/resources/R/files/x?inbody=true",
                content=body(),
                headers={"content-type": "application/zip"},
            )
            assert stored.status_code == 200, stored.text
            assert client.get("/data/projects/P/resources/R/files/x").content == b"0123456789"

    def test_an_upload_that_stalls_leaves_nothing(self, impatient):
        token = base64.b64encode(b"admin:admin-secret")
        with connect(impatient) as one:
            one.sendall(
                b"PUT /data/projects/P/resources/R/files/half?inbody=true HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n"
                b"Authorization: Basic " + token + b"\r\n\r\n" + b"x" * 400_000
            )
            while one.recv(65_536):
                pass
        with httpx2.Client(base_url=impatient.url, auth=("admin", "admin-secret"), timeout=60) as client:
            while list((impatient.root / "incoming").iterdir()):
                pass
            assert client.get("/data/projects/P/resources/R/files/half").status_code == 404

    def test_an_answer_that_nobody_reads_ends(self, impatient):
        with httpx2.Client(base_url=impatient.url, auth=("admin", "admin-secret"), timeout=60) as client:
            client.put("/data/projects/P")
            client.put("/data/projects/P/resources/R/files/big?inbody=true&overwrite=true", content=bytes(64 << 20))
        token = base64.b64encode(b"admin:admin-secret")
        with connect(impatient) as one:
            one.sendall(
                b"GET /data/projects/P/resources/R/files/big HTTP/1.1\r\nHost: x\r\nAuthorization: Basic "
                + token
                + b"\r\n\r\n"
            )
            server = impatient.archive
            while server.accounts.known("admin", "admin-secret") is None:
                pass
            threading.Event().wait(3)  # longer than the limit; then what was in the buffers comes, and not the rest
            received = 0
            try:
                while piece := one.recv(1 << 20):
                    received += len(piece)
            except ConnectionError:
                pass
            assert received < 64 << 20

    def test_one_address_has_a_largest_number_of_connections(self, impatient):
        with ExitStack() as stack:
            some = [stack.enter_context(connect(impatient)) for _ in range(40)]
            for one in some:
                one.sendall(b"GET /favicon.ico HTTP/1.1\r\nHost: x\r\n\r\n")
            answers = []
            for one in some:
                try:
                    answers.append(one.recv(12))
                except ConnectionError:
                    answers.append(b"")
        assert b"HTTP/1.1 503" in answers
        assert sum(answer in {b"", b"HTTP/1.1 503"} for answer in answers) < 40
        while True:  # when they are gone, the next one is served
            with closing(http.client.HTTPConnection(*urlsplit(impatient.url).netloc.split(":"), timeout=60)) as one:
                one.request("GET", "/login")
                if one.getresponse().status == 200:
                    break


def test_a_flood_of_wrong_passwords_stops_nobody_else(tmp_path, monkeypatch):
    """While every place for hashing is taken, who has a login is served, and too many more are refused."""
    free = threading.Event()
    hashing = threading.Semaphore(0)

    def slow(self, password_hash, password):
        hashing.release()
        free.wait(60)
        return password == "admin-secret"

    monkeypatch.setattr(accounts.Accounts, "_matches", slow)
    with running_archive(tmp_path, admin_password="admin-secret") as running, ExitStack() as stack:
        client = stack.enter_context(httpx2.Client(base_url=running.url, timeout=60))
        cookie = running.archive.accounts.open_login(running.archive.accounts.find("admin"))
        attempts = []
        for number in range(120):
            one = stack.enter_context(connect(running))
            if number % 2:
                token = base64.b64encode(b"u%d:wrong" % number)
                one.sendall(b"GET /data/auth HTTP/1.1\r\nHost: x\r\nAuthorization: Basic " + token + b"\r\n\r\n")
            else:
                body = b"username=u%d&password=wrong" % number
                one.sendall(
                    b"POST /data/services/auth HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
                )
            attempts.append(one)
        for _ in range(2):
            assert hashing.acquire(timeout=60)
        assert client.get("/data/projects", headers={"Cookie": f"JSESSIONID={cookie}"}).status_code == 200
        assert client.get("/login").status_code == 200
        assert not hashing.acquire(blocking=False)
        free.set()
        answers = [one.recv(12)[9:12] for one in attempts]
    assert set(answers) == {b"401", b"503"}
    assert answers.count(b"503") < 25
