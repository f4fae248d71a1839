from datetime import UTC, datetime

import pytest

from xnatferry.client.responses import ServerResponse, error_of, kept_names, not_logged_in, retry_after
from xnatferry.errors import (
    AuthenticationError,
    ForbiddenError,
    NotFoundError,
    NotXnatError,
    RefusedError,
    UnavailableError,
)
from xnatferry.xnat.error_page import error_page

URL = "http://h.org/xnat/data/projects/P?format=json"
LOGIN_PAGE = (
    '<html><body><form action="/xnat/app/action/XDATLoginUser"><input name="p" type="password"></form></body></html>'
)


def response(status=200, body="", headers=None, method="GET", url=URL):
    return ServerResponse(status, headers or {}, body.encode(), method, url)


@pytest.mark.parametrize(
    ("status", "kind", "exit_code", "retryable"),
    [
        (401, AuthenticationError, 3, False),
        (403, ForbiddenError, 3, False),
        (404, NotFoundError, 4, False),
        (400, RefusedError, 1, False),
        (405, RefusedError, 1, False),
        (406, RefusedError, 1, False),
        (409, RefusedError, 1, False),
        (413, RefusedError, 1, False),
        (415, RefusedError, 1, False),
        (417, RefusedError, 1, False),
        (422, RefusedError, 1, False),
        (500, RefusedError, 1, False),
        (501, RefusedError, 1, False),
        (207, RefusedError, 1, False),
        (429, UnavailableError, 5, True),
        (408, UnavailableError, 5, True),
        (502, UnavailableError, 5, True),
        (503, UnavailableError, 5, True),
        (504, UnavailableError, 5, True),
    ],
)
def test_a_status_has_one_error(status, kind, exit_code, retryable):
    error = error_of(response(status, error_page(status, "why it went wrong")))
    assert type(error) is kind
    assert (error.exit_code, error.retryable, error.status) == (exit_code, retryable, status)
    assert "?" not in error.url or kind is UnavailableError


@pytest.mark.parametrize("status", [200, 201, 204])
def test_good_answers_are_no_errors(status):
    assert error_of(response(status, "XNAT_S00001")) is None
    assert error_of(response(status, '{"duplicates":["a"]}')) is None
    assert error_of(response(status)) is None


def test_the_words_of_the_server_are_passed_on():
    error = error_of(response(409, error_page(409, "Specified resource already exists."), method="PUT"))
    assert "Specified resource already exists." in str(error)
    assert "PUT /xnat/data/projects/P" in str(error)


@pytest.mark.parametrize("status", [400, 404, 405, 500])
def test_standard_sentences_give_way_to_ours(status):
    standard = {
        400: "The request could not be understood by the server due to malformed syntax",
        404: "The server has not found anything matching the request URI",
        405: "The method specified in the request is not allowed for the resource identified by the request URI",
        500: "The server encountered an unexpected condition which prevented it from fulfilling the request",
    }[status]
    text = str(error_of(response(status, error_page(status, standard))))
    assert standard not in text
    assert "server" in text


def test_an_empty_404_has_words():
    assert "not found on the server" in str(error_of(response(404)))


def test_too_large_a_body_says_what_to_do():
    assert "--max-body" in str(error_of(response(413, "<html><title>413 Request Entity Too Large</title></html>")))


def test_a_page_under_200_is_no_xnat():
    error = error_of(response(200, "<!DOCTYPE html><html><title>Welcome to nginx!</title></html>"))
    assert isinstance(error, NotXnatError)
    assert "Welcome to nginx!" in str(error)


@pytest.mark.parametrize(
    "seen",
    [
        response(401),
        response(200, LOGIN_PAGE),
        response(200, "<!doctype html><a href='/app/template/Login.vm'>"),
        response(302, headers={"location": "/xnat/app/template/Login.vm"}),
        response(302, headers={"location": "https://sso.h.org/login?next=x"}),
    ],
)
def test_ways_to_say_log_in(seen):
    assert not_logged_in(seen)
    assert isinstance(error_of(seen), AuthenticationError)


def test_a_listing_that_speaks_of_passwords_is_no_login_page():
    assert not not_logged_in(response(200, '{"note": "<input type=password> Login.vm"}'))


@pytest.mark.parametrize(
    ("asked", "location", "right"),
    [
        ("http://h.org/data/JSESSION", "https://h.org/data/JSESSION", "https://h.org"),
        ("http://h.org/xnat/data/JSESSION", "https://h.org/xnat/data/JSESSION", "https://h.org/xnat"),
        ("http://h.org/data/JSESSION", "/xnat/data/JSESSION", "http://h.org/xnat"),
        ("http://old.org/data/JSESSION", "https://new.org:8443/data/JSESSION", "https://new.org:8443"),
    ],
)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_move_names_the_right_server(asked, location, right, status):
    error = error_of(response(status, headers={"location": location}, url=asked, method="PUT"))
    assert isinstance(error, RefusedError)
    assert f"use --server {right} [" in str(error)


def test_retry_after():
    now = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
    assert retry_after("7", now) == 7
    assert retry_after("Thu, 01 Jan 2026 12:00:30 GMT", now) == 30
    assert retry_after("Thu, 01 Jan 2026 11:00:00 GMT", now) == 0
    assert retry_after("", now) is retry_after("soon", now) is retry_after("-3", now) is None
    assert error_of(response(503, headers={"retry-after": "9"})).retry_after_s == 9


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("", []),
        ('{"duplicates":["a.nii.gz","sub/b.txt"]}', ["a.nii.gz", "sub/b.txt"]),
        ('{"duplicates":[]}', []),
        ('{"workflowId":3}', []),
        ("{broken", []),
        ('{"duplicates":"a"}', []),
        ("duplicates", []),
    ],
)
def test_kept_names(body, names):
    assert kept_names(body) == names
