"""Behind a proxy: whose headers are believed, and nginx as the page on the archive says, where nginx is installed."""

import re
import shutil
import socket
import subprocess
from pathlib import Path

import httpx2
import pytest

from xnatferry.server.archive import running_archive
from xnatferry.server.settings import ServerSettings

HEADERS = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7", "Host": "archive.example.org:8443"}


@pytest.mark.parametrize(
    ("proxies", "believed"), [("127.0.0.1", True), ("192.0.2.1,127.0.0.1", True), ("192.0.2.1", False)]
)
def test_headers_of_named_proxies_only_are_believed(tmp_path, proxies, believed):
    settings = ServerSettings(root=tmp_path, forwarded_allow_ips=proxies)
    with (
        running_archive(tmp_path, admin_password="admin-secret", settings=settings) as running,
        httpx2.Client(base_url=running.url, auth=("admin", "admin-secret"), headers=HEADERS) as client,
    ):
        answer = client.get("/data/JSESSION")
        assert ("; Secure" in answer.headers["set-cookie"]) is believed
        made = client.post("/data/projects", params={"ID": "P"}, headers={"Origin": "https://archive.example.org:8443"})
        assert made.status_code in {200, 201}
        refused = client.put("/data/projects/Q", headers={"Origin": "https://archive.example.org"})
        assert refused.status_code == 403


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_the_recipe_for_nginx(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "archive.md").read_text(encoding="utf-8")
    location = re.search(r"^( +)location / \{.*?^\1\}", page, re.MULTILINE | re.DOTALL)[0]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running_archive(tmp_path / "root", admin_password="admin-secret") as running:
        location = location.replace("http://127.0.0.1:8080", running.url)
        (tmp_path / "nginx.conf").write_text(
            f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/log; events {{}}\n"
            f"http {{ access_log off; server {{ listen 127.0.0.1:{port}; client_max_body_size 0;\n{location}\n}} }}\n"
        )
        with subprocess.Popen(["nginx", "-p", tmp_path, "-c", tmp_path / "nginx.conf"]) as nginx:
            try:
                transport = httpx2.HTTPTransport(retries=10)
                url = f"http://127.0.0.1:{port}"
                with httpx2.Client(base_url=url, auth=("admin", "admin-secret"), transport=transport) as client:
                    assert client.put("/data/projects/P", headers={"Origin": url}).status_code == 200
                    data = bytes(3 << 20)
                    target = "/data/projects/P/resources/R/files/a b+c.bin?inbody=true"
                    stored = client.put(target, content=data, headers={"content-type": "application/octet-stream"})
                    assert stored.status_code == 200
                    (row,) = client.get("/data/projects/P/files?format=json").json()["ResultSet"]["Result"]
                    assert client.get(row["URI"]).content == data
            finally:
                nginx.terminate()
