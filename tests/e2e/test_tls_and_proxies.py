"""Between the command line and its server: certificates that are not the system's, and proxies."""

import http.server
import threading
import urllib.request
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from xnatferry.server.archive import running_archive
from xnatferry.server.settings import ServerSettings

ACCOUNT = {"XNAT_USER": "admin", "XNAT_PASS": "admin-pw"}


@pytest.fixture
def secure(tmp_path, certificate):
    """An archive that speaks HTTPS with a certificate that nobody signed but itself."""
    settings = ServerSettings(root=tmp_path / "served", certfile=certificate[0], keyfile=certificate[1])
    with running_archive(tmp_path / "served", admin_password="admin-pw", settings=settings) as running:
        yield running


def test_an_unknown_certificate_is_refused_with_the_way_out(ferry, secure):
    done = ferry("whoami", "-s", secure.url, env=ACCOUNT)
    assert done.code == 1
    assert "127.0.0.1: the certificate is not trusted" in done.err
    assert "--ca FILE or SSL_CERT_FILE" in done.err


def test_ca_names_the_authority(ferry, secure, certificate, images):
    done = ferry("push", images, "-p", "P", "-s", secure.url, "--ca", certificate[0], "--yes", env=ACCOUNT)
    assert done.code == 0, done.text
    assert "warning" not in done.err


def test_ssl_cert_file_names_the_authority_and_ca_beats_it(ferry, secure, certificate, tmp_path):
    env = ACCOUNT | {"SSL_CERT_FILE": str(certificate[0])}
    assert ferry("whoami", "-s", secure.url, env=env).code == 0
    (tmp_path / "none.pem").write_text("nothing")
    done = ferry("whoami", "-s", secure.url, "--ca", tmp_path / "none.pem", env=env)
    assert done.code == 2
    assert "not a readable certificate file" in done.err


def test_insecure_works_and_warns(ferry, secure):
    done = ferry("whoami", "-s", secure.url, "--insecure", env=ACCOUNT)
    assert done.code == 0, done.text
    assert f"warning: the certificate of {urlsplit(secure.url).netloc} is not checked" in done.err


def test_login_remembers_the_authority(ferry, secure, certificate):
    asked = ("login", "-s", secure.url, "-u", "admin", "--password-stdin")
    assert ferry(*asked, stdin="admin-pw\n").code == 1
    assert ferry(*asked, "--ca", certificate[0], stdin="admin-pw\n").code == 0
    assert ferry("whoami").code == 0
    assert ferry("logout", "--json").record("logout")["withdrawn"] is True


@dataclass
class Proxy:
    url: str = ""
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def proxy(archive):
    """A proxy that knows the way to http://xnat.test: it is the archive."""
    seen = Proxy()

    class Handler(http.server.BaseHTTPRequestHandler):
        def handle_any(self):
            seen.asked.append(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            target = archive.url + self.path.removeprefix("http://xnat.test")
            headers = {key: value for key, value in self.headers.items() if key.lower() not in {"host", "connection"}}
            asked = urllib.request.Request(target, data=body or None, headers=headers, method=self.command)
            try:
                answer = opener.open(asked, timeout=30)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                content = answer.read()
                self.send_response(answer.status)
                for key, value in answer.headers.items():
                    if key.lower() not in {"transfer-encoding", "content-length", "connection"}:
                        self.send_header(key, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815  # http.server's names

        def log_message(self, *_):
            pass

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        seen.url = f"http://127.0.0.1:{server.server_port}"
        yield seen
        server.shutdown()
        thread.join()


def test_the_proxy_of_the_environment_is_used(ferry, proxy, images):
    env = ACCOUNT | {"HTTP_PROXY": proxy.url, "http_proxy": proxy.url}
    done = ferry("push", images, "-p", "P", "-s", "http://xnat.test", "--yes", env=env)
    assert done.code == 0, done.text
    assert proxy.asked
    assert all(path.startswith("http://xnat.test/data/") for path in proxy.asked)


def test_no_proxy_is_respected(ferry, proxy):
    env = ACCOUNT | {"HTTP_PROXY": proxy.url, "http_proxy": proxy.url, "NO_PROXY": "xnat.test", "no_proxy": "xnat.test"}
    done = ferry("whoami", "-s", "http://xnat.test", env=env)
    assert done.code == 4  # there is no such host
    assert not proxy.asked


def test_this_computer_needs_no_proxy(ferry, proxy, archive):
    env = ACCOUNT | {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    assert ferry("whoami", "-s", archive.url, env=env).code == 0


def test_https_asks_the_proxy_for_a_tunnel(ferry, proxy):
    env = ACCOUNT | {"HTTPS_PROXY": proxy.url, "https_proxy": proxy.url}
    done = ferry("whoami", "-s", "https://xnat.test", env=env)
    assert done.code == 5  # this proxy digs none (501), and says so at once
    assert "501" in done.err
