"""What the network does to a request, and what the client makes of it."""

import gzip
import socket
import ssl
import threading
from contextlib import contextmanager

import pytest
from peer import JSON, Reply, busy, closed, cut_answer, empty_200, lost_reply, page, reset_in_body, running_peer

from xnatferry import retry
from xnatferry.client.http import Timeouts
from xnatferry.errors import (
    FileChangedError,
    ForbiddenError,
    NotFoundError,
    NotXnatError,
    RefusedError,
    TransferError,
    UnavailableError,
    UsageError,
)
from xnatferry.xnat.model import Address

FILE = Address("P", "s", "E", resource="R", file="a.bin")


@pytest.fixture
def ready(peer, remote):
    remote.ensure_project("P")
    remote.ensure_session(Address("P", "s", "E"))
    remote.ensure_resource(Address("P", "s", "E", resource="R"))
    return remote


@pytest.mark.parametrize(
    "fault",
    [busy(), busy(429), busy(502), busy(504), closed, cut_answer, lost_reply],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_read_is_repeated(peer, remote, pauses, fault):
    peer.fail("GET", "/data/projects$", fault, times=3)
    assert remote.list_projects() == []
    assert len(peer.seen("GET", "/data/projects$")) == 4
    assert len(pauses) == 3


def test_a_read_is_given_up_in_the_end(peer, remote, pauses):
    peer.fail("GET", "/data/projects$", busy(), times=99)
    with pytest.raises(UnavailableError) as caught:
        remote.list_projects()
    assert (caught.value.status, caught.value.exit_code) == (503, 5)
    assert len(peer.seen("GET", "/data/projects$")) == retry.ATTEMPTS
    assert sorted(pauses) == pauses or max(pauses) < 6


def test_pauses_double_with_jitter(peer, remote, pauses):
    for _ in range(20):
        peer.fail("GET", "/data/projects$", busy(), times=3)
        remote.list_projects()
    for number, shortest in enumerate((0.25, 0.5, 1.0)):
        tried = pauses[number::3]
        assert all(shortest <= pause <= 3 * shortest for pause in tried)
        assert len(set(tried)) > 1, "clients that failed together must not come back together"


def test_retry_after_is_honoured(peer, remote, pauses):
    peer.fail("GET", "/data/projects$", busy(429, after="17"))
    remote.list_projects()
    assert pauses == [17]


def test_a_server_that_wants_a_long_pause_is_left_to_the_user(peer, remote, pauses):
    peer.fail("GET", "/data/projects$", busy(503, after="3600"), times=9)
    with pytest.raises(UnavailableError) as caught:
        remote.list_projects()
    assert caught.value.retry_after_s == 3600
    assert pauses == []


@pytest.mark.parametrize(
    "fault", [busy(), closed, lost_reply], ids=lambda value: getattr(value, "__name__", str(value))
)
def test_an_object_is_made_in_spite_of_a_failure_and_once(peer, era, remote, fault):
    remote.ensure_project("P")
    peer.fail("PUT", "/subjects/s$", fault)
    remote.ensure_subject(Address("P", "s"))
    assert [row["label"] for row in remote.list_subjects("P")] == ["s"]


@pytest.mark.parametrize(
    "fault", [busy(), closed, lost_reply, reset_in_body], ids=lambda value: getattr(value, "__name__", str(value))
)
def test_an_upload_is_never_repeated_here(peer, ready, fault):
    """Whether it arrived is for the engine to look up."""
    peer.fail("PUT", "/files/", fault)
    with pytest.raises(UnavailableError):
        ready.send_file(FILE, lambda: [b"x" * 1000], 1000)
    assert len(peer.seen("PUT", "/files/")) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(400, RefusedError), (403, ForbiddenError), (404, NotFoundError), (500, RefusedError)]
)
def test_a_refusal_is_not_repeated(peer, remote, status, kind):
    remote.check()
    peer.fail("GET", "/data/projects$", page(status, "because"), times=9)
    with pytest.raises(kind, match="because"):
        remote.list_projects()
    assert len(peer.seen("GET", "/data/projects$")) == 1


def test_every_attempt_opens_the_body_again(peer, ready):
    opened = []

    def body():
        opened.append(1)
        return iter([b"x" * 500, b"y" * 500])

    peer.expire_logins()
    assert ready.send_file(FILE, body, 1000) == []
    assert len(opened) == 2
    assert peer.files("P", "s", "E", "R") == {"a.bin": b"x" * 500 + b"y" * 500}


def test_the_length_is_announced(peer, ready):
    """XNAT refuses a body of unknown length."""
    ready.send_file(FILE, lambda: (b"x" * 100000 for _ in range(10)), 1000000)
    sent = peer.seen("PUT", "/files/")[0]
    assert sent.headers["content-length"] == "1000000"
    assert "transfer-encoding" not in sent.headers
    assert "mozilla" not in sent.headers["user-agent"].lower()


@pytest.mark.parametrize("pieces", [[b"x" * 10], [b"x" * 20000]], ids=["short", "long"])
def test_a_body_of_another_length_than_announced_is_an_error(peer, ready, pieces):
    with pytest.raises(TransferError, match="than 1000 bytes"):
        ready.send_file(FILE, lambda: pieces, 1000)
    assert peer.files("P", "s", "E", "R") == {}


def test_an_error_of_the_body_passes_through(peer, ready):
    def body():
        yield b"x" * 500
        raise FileChangedError("a.bin: changed")

    with pytest.raises(FileChangedError, match=r"a\.bin"):
        ready.send_file(FILE, body, 1000)
    assert peer.files("P", "s", "E", "R") == {}
    assert ready.list_files(FILE) == []


def test_a_body_beyond_a_proxy_limit(peer, ready):
    peer.body_limit = 100
    with pytest.raises(RefusedError, match="--max-body") as caught:
        ready.send_file(FILE, lambda: [b"x" * 5000], 5000)
    assert caught.value.status == 413


def test_a_gzipped_answer_is_read(peer, remote):
    text = gzip.compress(b'{"ResultSet":{"Result":[{"ID":"Z"}]}}')
    peer.fail("GET", "/data/projects$", Reply(200, text, {**JSON, "Content-Encoding": "gzip"}))
    assert remote.list_projects()[0]["ID"] == "Z"


def test_a_broken_gzip_is_read_again(peer, remote):
    peer.fail("GET", "/data/projects$", Reply(200, b"no gzip", {**JSON, "Content-Encoding": "gzip"}))
    assert remote.list_projects() == []


def test_a_slow_answer_is_waited_for_piece_by_piece(peer, open_remote):
    remote = open_remote(timeouts=Timeouts(read_s=5))
    turn = threading.Event()

    def drip(handler, seen):
        handler.read_body(seen)
        handler.send(Reply(200, b"", {**JSON, "X-Length": "27"}))
        for byte in b'{"ResultSet":{"Result":[]}}':
            turn.wait(0.01)
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
        handler.close_connection = True
        raise ConnectionError

    peer.fail("GET", "/data/projects$", drip)
    assert remote.list_projects() == []


def test_a_server_that_falls_silent_is_left(peer, open_remote, pauses):
    remote = open_remote(timeouts=Timeouts(read_s=0.2))
    remote.check()
    over = threading.Event()

    def silent(handler, seen):
        over.wait(500)
        raise ConnectionError

    peer.fail("GET", "/data/projects$", silent, times=9)
    with pytest.raises(UnavailableError, match="timeout; try again later"):
        remote.list_projects()
    over.set()


def test_http_that_should_be_https_names_the_right_address(peer, remote):
    right = peer.url.replace("http://", "https://")

    def moved(handler, seen):
        return Reply(301, "", {"Location": f"{right}{handler.path}"})

    peer.fail("*", "/", moved, times=9)
    with pytest.raises(RefusedError, match=f"use --server {right} "):
        remote.check()
    with pytest.raises(RefusedError, match=f"use --server {right} "):
        remote.ensure_project("P")
    assert not peer.seen("PUT")


def test_a_redirect_in_the_middle_of_an_upload(peer, ready):
    peer.fail("PUT", "/files/", lambda h, s: Reply(301, "", {"Location": f"https://xnat.example.org{h.path}"}))
    with pytest.raises(RefusedError, match=r"use --server https://xnat\.example\.org "):
        ready.send_file(FILE, lambda: [b"x"], 1)


def test_an_empty_200_is_no_error_here(peer, ready):
    peer.fail("PUT", "/files/", empty_200)
    assert ready.send_file(FILE, lambda: [b"x"], 1) == []
    assert ready.list_files(FILE) == []


def test_a_host_that_does_not_exist(open_remote):
    with pytest.raises(NotFoundError, match=r"no-such-host\.invalid: host not found") as caught:
        open_remote(url="http://no-such-host.invalid").check()
    assert caught.value.exit_code == 4


def test_a_port_where_nobody_listens(open_remote, pauses):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(UnavailableError, match="check that the server is running") as caught:
        open_remote(url=f"http://127.0.0.1:{port}").check()
    assert caught.value.exit_code == 5


@contextmanager
def speaking(words):
    """A port that says *words* to whoever comes, like a mail or SSH server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(words)
                    connection.recv(10000)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


TLS_ALERT = b"\x15\x03\x01\x00\x02\x02\x28"


@pytest.mark.parametrize("words", [TLS_ALERT, b"220 mail.example.org ESMTP\r\n\r\n"])
def test_something_that_is_no_web_server(open_remote, words):
    with speaking(words) as port, pytest.raises(NotXnatError, match="not a web server"):
        open_remote(url=f"http://127.0.0.1:{port}").check()


def test_https_to_a_port_without_tls(peer, open_remote):
    with pytest.raises(NotXnatError, match=f"does not use TLS.*use --server {peer.url}"):
        open_remote(url=peer.url.replace("http://", "https://")).check()


def test_a_certificate_file_that_cannot_be_read(tmp_path):
    from xnatferry.client.http import HttpClient
    from xnatferry.client.settings import Connection, Secret

    with pytest.raises(UsageError, match="certificate"):
        HttpClient(Connection("https://h.org", "u", Secret("p"), verify_tls=str(tmp_path / "no.pem")))
    assert ssl.OPENSSL_VERSION


PLAIN = ["q'uote,(1)@x:y.txt", "a&b=c.txt", "st*r$!.txt", "pl+us.txt", "~t.txt"]
MEMBERS = ["sp ace.txt", "sp ace+plus.txt", "h#ash?.txt", "été/ü.txt", "t[1]{2}.txt", "%C3%A9.txt"]


@pytest.mark.parametrize("name", [*PLAIN, *MEMBERS])
@pytest.mark.parametrize("data", [b"x", b""])
def test_names_are_stored_as_sent(era, peer, ready, name, data):
    """Every version stores the name unchanged: names that need escapes in a URL are sent in a zip."""
    place = Address("P", "s", "E", resource="R", file=name)
    ready.send_file(place, lambda: [data] if data else [], len(data), format="TXT")
    assert peer.files("P", "s", "E", "R") == {name: data}
    (listed,) = ready.list_files(place)
    assert (listed.name, listed.format) == (name, "TXT")
    assert ready.read_digest(place)
    (put,) = peer.seen("PUT", "/files/")
    assert put.path.endswith("/files/upload.zip") == (name in MEMBERS)
    assert ready.send_file(place, lambda: [data] if data else [], len(data)) == [name]


def test_a_peer_for_each_test():
    with running_peer() as one, running_peer() as other:
        assert one.url != other.url
