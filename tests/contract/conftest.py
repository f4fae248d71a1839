"""An archive on a real socket, and a session in a fresh project on it.

``XNATFERRY_TEST_SERVER=http://USER:PASSWORD@HOST[:PORT]`` runs the suite against another XNAT (an administrator's account);
tests that look behind the REST API of our own archive are skipped there.
"""

import io
import os
import random
import string
import tarfile
import zipfile
from dataclasses import dataclass
from itertools import count
from urllib.parse import unquote, urlsplit

import httpx2
import pytest

from xnatferry.server.archive import running_archive

_numbers = count(1)
_letters = "".join(random.choices(string.ascii_uppercase, k=4))
OTHER_SERVER = os.environ.get("XNATFERRY_TEST_SERVER", "")


@dataclass(frozen=True)
class Server:
    """Where the suite runs, and who asks."""

    url: str
    user: str
    password: str


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """Our archive; tests that ask for it know more of it than its REST API."""
    if OTHER_SERVER:
        pytest.skip("looks into the local archive")
    with running_archive(tmp_path_factory.mktemp("archive"), admin_password="admin-secret") as running:
        yield running


@pytest.fixture(scope="session")
def server(request):
    """The XNAT that is tested."""
    if not OTHER_SERVER:
        return Server(request.getfixturevalue("archive").url, "admin", "admin-secret")
    parts = urlsplit(OTHER_SERVER)
    url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    return Server(url, unquote(parts.username), unquote(parts.password))


@pytest.fixture(scope="session")
def http(server):
    """An HTTP client logged in as site administrator."""
    with httpx2.Client(base_url=server.url, auth=(server.user, server.password), timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def stranger(server):
    """An HTTP client without credentials."""
    with httpx2.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def new_account(archive, server):
    """Makes an account without rights, and an HTTP client logged in as it."""
    clients = []

    def new_account(**options):
        login = f"user{next(_numbers)}"
        archive.archive.accounts.create(login, "user-secret", **options)
        clients.append(httpx2.Client(base_url=server.url, auth=(login, "user-secret"), timeout=60))
        clients[-1].login = login
        return clients[-1]

    yield new_account
    for client in clients:
        client.close()


@pytest.fixture
def project(http):
    """ID of a project that no other test uses."""
    name = f"P{_letters}{next(_numbers)}"
    assert http.put(f"/data/projects/{name}").status_code == 200
    yield name
    http.delete(f"/data/projects/{name}", params={"removeFiles": "true"})


@pytest.fixture
def new_id():
    """Project IDs that nobody uses."""
    return lambda: f"P{_letters}{next(_numbers)}"


@dataclass
class Session:
    """An MR session with one scan, in a project of its own."""

    project: str
    subject_id: str
    id: str

    @property
    def subject(self):
        return f"/data/projects/{self.project}/subjects/S01"

    @property
    def long(self):
        """Its address by labels."""
        return f"{self.subject}/experiments/E01"

    @property
    def url(self):
        """Its address by accession ID."""
        return f"/data/experiments/{self.id}"

    @property
    def scan(self):
        return f"{self.url}/scans/1"


@pytest.fixture
def session(http, project):
    subject = http.put(f"/data/projects/{project}/subjects/S01").text
    long = f"/data/projects/{project}/subjects/S01/experiments/E01"
    made = http.put(long, params={"xsiType": "xnat:mrSessionData"})
    assert made.status_code == 201
    found = Session(project, subject, made.text)
    scan = {"xsiType": "xnat:mrScanData", "type": "T1w"}
    assert http.put(found.scan, params=scan).status_code == 200
    return found


@pytest.fixture
def rows(http):
    """Rows of a JSON listing."""

    def rows(url, **params):
        answer = http.get(url, params={"format": "json", **params})
        assert answer.status_code == 200, answer.text
        return answer.json()["ResultSet"]["Result"]

    return rows


@pytest.fixture
def names(rows):
    """Paths of all files below a ``.../files`` address, in the order listed."""
    return lambda url, **params: [row["URI"].partition("/files/")[2] for row in rows(url, **params)]


@pytest.fixture(scope="session")
def zipped():
    """Bytes of a zip with these members."""

    def zipped(*members):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, data in members:
                archive.writestr(zipfile.ZipInfo(name), data)
        return out.getvalue()

    return zipped


@pytest.fixture(scope="session")
def tarred():
    """Bytes of a tar with these members; *mode* as for tarfile."""

    def tarred(*members, mode="w"):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode=mode) as archive:
            for name, data in members:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return out.getvalue()

    return tarred


@pytest.fixture
def left_over(archive):
    """Files that wait in ``incoming``: none, once every request has been answered."""
    return lambda: sorted((archive.root / "incoming").iterdir())


@pytest.fixture
def heading():
    """The message of XNAT's error page."""
    return lambda answer: answer.text.partition("<h3>")[2].partition("</h3>")[0]
