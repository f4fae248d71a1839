"""One login for all threads, renewed once, given back; the password shows nowhere."""

import logging
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from peer import LOGIN_PAGE, PASSWORD, Reply, expired, page

from xnatferry.errors import AuthenticationError, ForbiddenError, NotXnatError, UnavailableError, XnatferryError
from xnatferry.xnat.model import Address, Level


def logins(peer):
    return peer.seen("GET", "/data/JSESSION")


def test_one_login_serves_all_threads_and_is_given_back(peer, era, remote):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: remote.list_projects(), range(40)))
    assert len(logins(peer)) == 1
    assert len(peer.seen("GET", "/data/projects$")) == 40
    assert sum("authorization" in request.headers for request in peer.requests) == 1
    assert len(peer.logins) == 1
    remote.close()
    assert peer.logins == set()
    assert peer.seen("DELETE", "/data/JSESSION")


def test_nothing_is_sent_when_nothing_is_asked(peer, remote):
    remote.close()
    assert peer.requests == []


def test_an_expired_login_is_renewed_once_for_eight_threads(peer, era, remote):
    remote.ensure_project("P")
    remote.ensure_session(Address("P", "s", "E"))
    place = Address("P", "s", "E", resource="R")
    remote.ensure_resource(place)
    gate = threading.Barrier(8)

    def send(number):
        gate.wait()
        return remote.send_file(
            Address("P", "s", "E", resource="R", file=f"{number}.bin"), lambda: [b"x" * 70000], 70000
        )

    peer.expire_logins()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(send, range(8))) == [[]] * 8
    assert len(logins(peer)) == 2
    assert len(peer.files("P", "s", "E", "R")) == 8


def test_it_expires_again_and_again(peer, remote):
    for _ in range(3):
        peer.fail("GET", "/data/projects$", expired)
        assert remote.list_projects() == []
    assert len(logins(peer)) == 4


def test_a_login_page_under_200_means_log_in(peer, remote):
    remote.list_projects()
    peer.fail("GET", "/data/projects$", Reply(200, LOGIN_PAGE, {"Content-Type": "text/html"}))
    assert remote.list_projects() == []
    assert len(logins(peer)) == 2


def test_a_way_to_the_login_page_means_log_in(peer, remote):
    peer.fail("GET", "/data/projects$", Reply(302, "", {"Location": "/app/template/Login.vm"}))
    assert remote.list_projects() == []
    assert len(logins(peer)) == 2


def test_a_site_open_to_guests_does_not_hide_an_expired_login(peer, remote):
    """There an expired login is answered like a guest: the project seems to be missing."""
    remote.ensure_project("P")
    peer.guests = True
    peer.expire_logins()
    assert remote.project_exists("P")
    assert len(logins(peer)) == 2


def test_a_server_that_opens_sessions_all_the_time_is_lived_with(peer, remote):
    peer.fail("GET", "/data/projects$", _with_new_session, times=100)
    for _ in range(5):
        assert remote.list_projects() == []
    assert len(logins(peer)) == 2
    assert len(peer.seen("GET", "/data/projects$")) == 6


def test_a_write_answered_under_another_login_is_ours(peer, remote):
    """A load balancer gives the session to another node: the request was carried out, and is not taken for another's."""
    remote.ensure_project("P")
    peer.fail("PUT", "/subjects/s1$", _with_new_session)
    assert remote.ensure_subject(Address("P", "s1")).created
    peer.fail("PUT", "/resources/R$", _with_new_session)
    assert remote.ensure_resource(Address("P", "s1", resource="R")).created
    assert len(peer.seen("PUT", "/resources/R$")) == 2


def test_an_upload_answered_under_another_login_is_not_repeated_unseen(peer, remote):
    resource = Address("P", "s1", resource="R")
    remote.ensure_project("P")
    remote.ensure_subject(Address("P", "s1"))
    remote.ensure_resource(resource)
    peer.fail("PUT", "/files/", _with_new_session)
    with pytest.raises(UnavailableError, match="another login"):
        remote.send_file(resource.child(Level.FILE, "a"), lambda: [b"a"], 1)
    assert len(peer.seen("PUT", "/files/")) == 1
    assert [file.name for file in remote.list_files(resource)] == ["a"]


def _with_new_session(handler, seen):
    handler.read_body(seen)
    reply = handler.process(seen)
    reply.headers["Set-Cookie"] = f"JSESSIONID={handler.server.peer.number():0>32}; Path=/"
    return reply


def test_a_password_that_is_refused_later_is_not_tried_again(peer, remote):
    """Without a login cookie every request carries it."""
    peer.cookies = False
    remote.list_projects()
    before = len(peer.requests)
    peer.fail("GET", "/data/projects$", page(401, "The request requires user authentication"), times=99)
    with pytest.raises(AuthenticationError):
        remote.list_projects()
    assert len(peer.requests) == before + 1


def test_a_wrong_password_is_tried_once(peer, era, open_remote):
    """Servers lock accounts after a few."""
    remote = open_remote(password="wrong")
    with ThreadPoolExecutor(8) as pool:
        errors = [future.exception() for future in [pool.submit(remote.list_projects) for _ in range(8)]]
    assert {type(error) for error in errors} == {AuthenticationError}
    assert errors[0].exit_code == 3
    assert "from the test" in str(errors[0])
    assert len(peer.requests) == 1


def test_the_password_changed_while_we_were_logged_in(peer, remote):
    remote.list_projects()
    peer.expire_logins()
    peer.fail("GET", "/data/JSESSION", page(401, "The request requires user authentication"), times=5)
    with pytest.raises(AuthenticationError):
        remote.list_projects()
    with pytest.raises(AuthenticationError):
        remote.list_projects()
    assert len(logins(peer)) == 2


@pytest.mark.parametrize("status", [404, 405, 500])
def test_basic_credentials_where_there_is_no_login_cookie(peer, remote, status):
    peer.fail("GET", "/data/JSESSION", page(status, "no"), times=100)
    assert remote.list_projects() == []
    assert remote.list_projects() == []
    assert len(logins(peer)) == 1
    assert all("authorization" in request.headers for request in peer.requests)
    remote.close()
    assert not peer.seen("DELETE")


def test_basic_credentials_where_the_cookie_is_not_honoured(peer, remote):
    peer.cookies = False
    assert remote.list_projects() == []
    before = len(peer.requests)
    assert remote.list_projects() == []
    assert len(peer.requests) == before + 1, "it is remembered"


def test_an_expired_password_is_told(peer, remote):
    peer.fail(
        "GET",
        "/data/JSESSION",
        page(403, "Your password has expired. Please try updating your password by logging into the site."),
    )
    with pytest.raises(ForbiddenError, match="password has expired") as caught:
        remote.check()
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    "reply",
    [
        Reply(
            200,
            "<!DOCTYPE html><html><head><title>Welcome to nginx!</title></head></html>",
            {"Content-Type": "text/html"},
        ),
        Reply(200, '{"hello": "world"}', {"Content-Type": "application/json"}),
        Reply(200, ""),
        Reply(404, "<html><head><title>404 Not Found</title></head></html>", {"Content-Type": "text/html"}),
    ],
)
def test_a_host_that_is_no_xnat(peer, remote, reply):
    peer.fail("*", "/data/", reply, times=5)
    with pytest.raises(NotXnatError) as caught:
        remote.check()
    assert caught.value.exit_code == 4
    assert peer.url in str(caught.value)


def test_a_host_that_knows_sessions_but_is_no_xnat(peer, remote):
    peer.fail("GET", "/data/auth", Reply(200, "hello", {"Content-Type": "text/plain"}))
    with pytest.raises(NotXnatError):
        remote.check()


def test_threads_meet_a_server_that_is_away_while_logging_in(peer, remote, pauses):
    peer.fail("GET", "/data/JSESSION", Reply(503, "", {"Retry-After": "1"}), times=2)
    assert remote.list_projects() == []
    assert len(pauses) == 2
    peer.expire_logins()
    peer.fail("GET", "/data/JSESSION", Reply(503), times=9)
    with pytest.raises(UnavailableError):
        remote.list_projects()


def test_the_password_shows_nowhere(peer, remote, caplog, open_remote):
    caplog.set_level(logging.DEBUG)
    seen = [repr(remote), repr(remote.connection)]

    def collect(act):
        try:
            act()
        except XnatferryError as error:
            shown = traceback.TracebackException.from_exception(error, capture_locals=True)
            seen.extend([*shown.format(), str(error), repr(error)])
        else:
            pytest.fail("an error was expected")

    peer.fail("*", "/data/", lambda handler, seen: handler.reset(), times=50)
    collect(remote.check)
    peer.faults.clear()
    collect(lambda: open_remote(password=PASSWORD + "x").check())
    peer.fail("GET", "/data/projects$", page(500, "x"))
    collect(remote.list_projects)
    peer.cookies = False
    peer.fail("GET", "/data/projects$", page(401, "x"), times=3)
    collect(remote.list_projects)
    text = "\n".join([*seen, caplog.text])
    sent = [r.headers["authorization"].removeprefix("Basic ") for r in peer.requests if "authorization" in r.headers]
    assert sent
    for secret in {PASSWORD, *sent}:
        assert [line for line in text.splitlines() if secret in line] == []
    session = peer.seen("GET", "/data/projects$")[0].headers["cookie"].partition("=")[2]
    assert session not in caplog.text
