"""What keeps others out, beside the permissions: throttling, other sites, headers, limits, TLS, names, entities."""

import http.client
import socket
import ssl
import time
from urllib.parse import urlsplit

import httpx2
import pytest

from xnatferry.errors import ArchiveError
from xnatferry.server.archive import running_archive
from xnatferry.server.settings import ServerSettings

ENTITIES = (
    (
        '<!DOCTYPE x [<!ENTITY a "secret">]><xnat:Subject xmlns:xnat="http://nrg.wustl.edu/xnat"><xnat:group>&a;'
        "</xnat:group></xnat:Subject>"
    ),
    '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>',
    '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x"><x/>',
)


class TestLogins:
    def test_guessing_is_slowed_down_and_the_owner_still_gets_in(self, server, archive, new_account, monkeypatch):
        client = new_account()
        now = time.monotonic()
        monkeypatch.setattr(archive.archive.accounts, "_clock", lambda: now)  # the delay never ends by itself
        assert client.get("/data/auth").status_code == 200  # from now on this password is known
        for _ in range(7):
            assert httpx2.get(f"{server.url}/data/auth", auth=(client.login, "guess")).status_code == 401
        archive.archive.accounts.set_password(client.login, "another-secret")
        # Even the right new password is refused unseen, as it was never right before, until the delay is over.
        assert httpx2.get(f"{server.url}/data/auth", auth=(client.login, "another-secret")).status_code == 401

    def test_a_known_password_is_not_locked_out_by_somebody_elses_guesses(self, server, new_account):
        client = new_account()
        client.get("/data/auth")
        for _ in range(7):
            httpx2.get(f"{server.url}/data/auth", auth=(client.login, "guess"))
        assert client.get("/data/auth").status_code == 200

    def test_an_idle_login_ends(self, tmp_path):
        settings = ServerSettings(root=tmp_path, login_minutes=5)
        with running_archive(tmp_path, admin_password="admin-secret", settings=settings) as running:
            cookie = httpx2.get(f"{running.url}/data/JSESSION", auth=("admin", "admin-secret")).text
            headers = {"Cookie": f"JSESSIONID={cookie}"}
            assert httpx2.get(f"{running.url}/data/auth", headers=headers).status_code == 200
            running.archive.accounts._clock = lambda: time.monotonic() + 5 * 60 + 1
            assert httpx2.get(f"{running.url}/data/auth", headers=headers).status_code == 401

    def test_a_disabled_account_is_out_at_once(self, archive, server, new_account):
        client = new_account()
        cookie = {"Cookie": f"JSESSIONID={client.get('/data/JSESSION').text}"}
        archive.archive.accounts.disable(client.login)
        assert client.get("/data/auth").status_code == 401
        assert httpx2.get(f"{server.url}/data/auth", headers=cookie).status_code == 401

    def test_the_cookie_is_kept_from_scripts_and_other_sites(self, http):
        http.cookies.clear()
        cookies = http.get("/data/JSESSION").headers.get_list("set-cookie")
        (login,) = [cookie for cookie in cookies if cookie.startswith("JSESSIONID")]
        assert "HttpOnly" in login
        assert "SameSite=Lax" in login


class TestOtherSites:
    @pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": "https://127.0.0.1.evil.example"},
            {"Referer": "http://evil.example/page"},
        ],
    )
    def test_their_pages_change_nothing(self, http, project, method, headers):
        cookie = http.get("/data/JSESSION").text
        answer = http.request(
            method, f"/data/projects/{project}", headers={"Cookie": f"JSESSIONID={cookie}", **headers}
        )
        assert answer.status_code == 403
        assert http.get(f"/data/projects/{project}").status_code == 200

    def test_own_pages_and_programs_may(self, server, http, project):
        for headers in ({}, {"Origin": server.url}, {"Referer": f"{server.url}/data/projects"}):
            assert http.put(f"/data/projects/{project}", headers=headers).status_code == 200


class TestHeaders:
    @pytest.mark.parametrize(
        "path", ["/", "/data/projects?format=html", "/data/nothing", "/data/auth", "/xapi/schemas/xnat"]
    )
    def test_no_answer_is_guessed_at_framed_or_run(self, http, path):
        headers = http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "server" not in headers

    @pytest.mark.parametrize("name", ["page.html", "picture.svg", "x.xml", "script.js", "a"])
    def test_stored_files_are_data(self, http, session, name, zipped):
        script = b"<script>alert(1)</script>"
        url = f"{session.url}/resources/R/files"
        http.put(f"{url}/{name}?inbody=true", content=script)
        http.put(f"{url}/z.zip?inbody=true", content=zipped((name, script)))
        answer = http.get(f"{url}/{name}")
        assert answer.headers["content-disposition"].startswith("attachment")
        for one in (answer, http.get(f"{url}/z.zip!/{name}")):
            assert one.content == script
            assert one.headers["x-content-type-options"] == "nosniff"
            assert "sandbox" in one.headers["content-security-policy"]

    def test_what_is_sent_is_shown_and_not_run(self, http, project):
        answer = http.get(f"/data/projects/{project}/subjects/<script>alert(1)</script>")
        assert "<script>" not in answer.text


class TestLimits:
    def test_a_head_without_an_end_is_cut_off(self, server):
        parts = urlsplit(server.url)
        with socket.create_connection((parts.hostname, parts.port), timeout=30) as one:
            answer = b""
            try:
                one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
                for _ in range(2_000):
                    one.sendall(b"X-Filler: " + b"x" * 990 + b"\r\n")
                answer = one.recv(100)
            except ConnectionError:
                pass
            assert answer == b"" or answer.startswith(b"HTTP/1.1 431")

    def test_a_document_has_a_largest_size(self, http, project):
        answer = http.put(f"/data/projects/{project}", content=b" " * (17 << 20), headers={"content-type": "text/xml"})
        assert answer.status_code == 413

    @pytest.mark.parametrize("announced", [True, False])
    def test_an_upload_has_a_largest_size(self, tmp_path, announced):
        settings = ServerSettings(root=tmp_path, max_upload_bytes=2 << 20)
        with (
            running_archive(tmp_path, admin_password="admin-secret", settings=settings) as running,
            httpx2.Client(base_url=running.url, auth=("admin", "admin-secret"), timeout=60) as http,
        ):
            http.put("/data/projects/P")
            url = "/data/projects/P/resources/R/files/x.zip?inbody=true"
            body = b"x" * (3 << 20)
            sent = body if announced else (body[at : at + 65_536] for at in range(0, len(body), 65_536))
            answer = http.put(url, content=sent, headers={"content-type": "application/zip"})
            assert answer.status_code == 413
            assert "at most 2097152 bytes" in answer.text
            assert list((tmp_path / "incoming").iterdir()) == []

    def test_a_form_has_a_largest_number_of_parts(self, http, session):
        part = b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\nx\r\n'
        answer = http.post(
            f"{session.url}/resources/R/files",
            content=part * 10_001 + b"--b--\r\n",
            headers={"content-type": "multipart/form-data; boundary=b"},
        )
        assert answer.status_code == 413

    def test_wildcards_do_not_keep_the_archive_busy(self, http, session):
        http.put(f"{session.url}/resources/R/files/{'a' * 200}?inbody=true", content=b"x")
        pattern = "a*" * 40 + "b*"
        rows = http.get(f"{session.url}/resources/R/files/{pattern}").json()["ResultSet"]["Result"]
        assert rows == []
        assert http.get(f"/data/projects/{session.project}/subjects", params={"label": pattern}).status_code == 200


@pytest.mark.parametrize("document", ENTITIES)
def test_no_entity_is_read(http, project, document):
    headers = {"content-type": "text/xml"}
    answer = http.put(f"/data/projects/{project}/subjects/S", content=document, headers=headers)
    assert answer.status_code == 422
    assert "root:" not in answer.text
    assert http.post("/data/search", content=document).status_code == 422


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "../../x",
        "a/../../x",
        "%2e%2e",
        "%2e%2e/%2e%2e/x",
        "%252e%252e/x",
        "..%2fx",
        "..%5cx",
        "a%00b",
        "%c0%ae%c0%ae/x",
    ],
)
@pytest.mark.parametrize("where", ["files/{}", "resources/{}", "scans/{}"])
def test_no_name_leads_out(archive, http, session, name, where):
    """As sent, without the client's help."""
    before = sorted(archive.root.parent.iterdir())
    base = f"{session.url}/resources/R" if where.startswith("files") else session.url
    query = {"files/{}": "inbody=true", "resources/{}": "", "scans/{}": "xsiType=xnat:mrScanData"}[where]
    parts = urlsplit(archive.url)
    connection = http_connection(parts)
    cookie = http.get("/data/JSESSION").text
    mark = f"{where} {name} leads out?".encode()
    connection.request("PUT", f"{base}/{where.format(name)}?{query}", mark, {"Cookie": f"JSESSIONID={cookie}"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    stored = [path for path in archive.root.rglob("*") if path.is_file() and path.read_bytes() == mark]
    for path in stored:
        assert path.resolve().is_relative_to(archive.root / "archive" / session.project / "arc001" / "E01")
        path.unlink()
    assert sorted(archive.root.parent.iterdir()) == before


def http_connection(parts):
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)


class TestTls:
    def test_https_is_spoken_and_the_cookie_stays_on_it(self, tmp_path, certificate):
        root = tmp_path / "root"
        settings = ServerSettings(root=root, certfile=certificate[0], keyfile=certificate[1])
        with running_archive(root, admin_password="admin-secret", settings=settings) as running:
            assert running.url.startswith("https://")
            trust = ssl.create_default_context(cafile=certificate[0])
            answer = httpx2.get(f"{running.url}/data/JSESSION", auth=("admin", "admin-secret"), verify=trust)
            assert answer.status_code == 200
            assert any("Secure" in cookie for cookie in answer.headers.get_list("set-cookie") if "JSESSIONID" in cookie)

    def test_a_certificate_that_is_none_is_an_error_in_words(self, tmp_path):
        (tmp_path / "cert.pem").write_text("nothing")
        settings = ServerSettings(root=tmp_path / "root", certfile=tmp_path / "cert.pem")
        with (
            pytest.raises(ArchiveError, match="cannot be used for HTTPS"),
            running_archive(tmp_path / "root", settings=settings),
        ):
            pass


@pytest.mark.parametrize(
    ("host", "exposed"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", True),
        ("192.168.1.5", True),
        ("lab.example", True),
    ],
)
def test_who_is_reachable_is_known(tmp_path, host, exposed):
    assert ServerSettings(root=tmp_path, host=host).exposed is exposed
    assert not ServerSettings(root=tmp_path, host=host, certfile=tmp_path / "cert.pem").exposed
