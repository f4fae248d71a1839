"""Nothing that people store is run, nothing is shown that REST would not, and forms of other sites change nothing."""

import re

import httpx2
import pytest

from xnatferry.server.pages import PAGE_ROUTES

PAGES = (
    "/projects",
    "/projects/NASTY",
    "/projects/NASTY/subjects",
    "/projects/NASTY/subjects/S",
    "/projects/NASTY/subjects/S/sessions/E",
    "/projects/NASTY/subjects/S/sessions/E/scans/1/resources/R",
    "/projects/NASTY/subjects/S/sessions/E/scans/1/resources/R/files/x.svg",
    "/projects/NASTY/subjects/S/sessions/E/scans/1/resources/R/files/x.tsv",
)


@pytest.mark.parametrize("path", PAGES)
def test_markup_of_users_is_text(page, path):
    page.goto(path)
    assert page.title() != "owned"
    assert page.locator("img[onerror]").count() == 0
    assert page.locator("main script").count() == 0


def test_a_file_whose_name_is_markup(page):
    page.goto("/projects/NASTY/subjects/S/sessions/E/scans/1/resources/R")
    page.get_by_role("link", name=re.compile("onerror")).click()
    assert "onerror" in page.get_by_role("heading", level=1).inner_text()
    assert "onerror" in page.locator("pre").inner_text()
    assert page.title() != "owned"


def test_the_policy_has_no_exceptions(site):
    with site.http() as http:
        for path in (*PAGES, "/login", "/imports", "/accounts", "/nothing", "/projects/NOPE"):
            answer = http.get(path)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            if path != "/nothing":
                assert "unsafe" not in policy
                assert "script-src 'self'" in policy
                assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=\"|\sstyle=\"", _outside_comments(answer.text))
        policy = http.get("/projects/BRAIN/subjects/ball/sessions/ball_MR1/view").headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "http" not in policy


def _outside_comments(text):
    return re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)


def test_a_page_shows_nothing_that_rest_would_not(site):
    """Every page address with what is in a private project: 404 for who has no role in it."""
    site.running.archive.accounts.create("nobody", "nobody-secret")
    values = {
        "project": "MANY",
        "subject": "S001",
        "experiment": "S001_MR1",
        "resource": "BIG",
        "file": "big.bin",
        "scan": "1",
        "assessor": "A",
        "reconstruction": "R",
        "run": "x",
    }
    with site.http("nobody", "nobody-secret") as http, httpx2.Client(base_url=site.url) as stranger:
        for route in PAGE_ROUTES:
            if "{project}" not in route.template or "GET" not in route.methods:
                continue
            path = re.sub(r"\{(\w+)\*?\}", lambda found: values[found[1]], route.template)
            answer = http.get(path)
            assert answer.status_code == 404, path
            assert "S001_MR1" not in answer.text.replace(path, "")
            assert stranger.get(path).status_code == 303, path
        for path in ("/", "/projects", "/imports"):
            assert "MANY" not in http.get(path).text
        assert http.get("/accounts").status_code == 403


def test_forms_need_their_token(site):
    with site.http() as http:
        http.get("/")
        for path in ("/accounts", "/logout", "/projects/MANY/members"):
            for token in ("", "0" * 64):
                data = {"XNAT_CSRF": token, "act": "add", "login": "mallory", "password": "x" * 9, "role": "owner"}
                assert http.post(path, data=data).status_code == 403, path
        assert "mallory" not in http.get("/accounts").text
    with httpx2.Client(base_url=site.url) as stranger:
        stranger.get("/login")
        form = {"username": "admin", "password": "admin-secret"}
        assert stranger.post("/login", data=form).status_code == 403
        token = re.search('name="XNAT_CSRF" value="([0-9a-f]{64})"', stranger.get("/login").text)[1]
        answer = stranger.post("/login", data={**form, "XNAT_CSRF": token, "next": "//elsewhere.example/"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert "HttpOnly" in answer.headers["set-cookie"]


def test_static_files_are_kept_for_good_and_change_their_name(site):
    with httpx2.Client(base_url=site.url) as stranger:
        address = re.search(r'href="(/static/site\.[0-9a-f]{12}\.css)"', stranger.get("/login").text)[1]
        answer = stranger.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-encoding"] == "gzip"
        assert stranger.get("/static/site.000000000000.css").status_code == 404
        assert stranger.get("/static/..%2f..%2fauth.py").status_code == 400
