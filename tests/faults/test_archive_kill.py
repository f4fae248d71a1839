"""The archive's process is killed with SIGKILL: what it acknowledged is there, and nothing else."""

import hashlib
import io
import os
import random
import shutil
import subprocess
import sys
import threading
import time
import zipfile

import httpx2
import pytest

from xnatferry.server.audit import audit

SERVER = """
import sys, threading
from pathlib import Path
from xnatferry.server.archive import running_archive
{fault}
with running_archive(Path(sys.argv[1]), admin_password="admin-secret") as running:
    print(running.url, flush=True)
    threading.Event().wait()
"""
# The process ends itself, as a kill from outside would, right when the named step is about to begin or has just ended.
FAULT = """
import os, signal
from xnatferry.server.blob_store import BlobStore
real = BlobStore.{step}
calls = 0
def fatal(self, *args, **options):
    global calls
    calls += 1
    if calls <= {after}:
        return real(self, *args, **options)
    if {done}:
        real(self, *args, **options)
    os.kill(os.getpid(), signal.SIGKILL)
BlobStore.{step} = fatal
"""
RESOURCE = "/data/projects/P/subjects/S/experiments/E/resources/R"
EXTRACT = "&overwrite=true&extract=true"
MEMBERS = 40


class Server:
    """An archive in a process of its own."""

    def __init__(self, root, fault=""):
        self.root = root
        command = [sys.executable, "-c", SERVER.format(fault=fault), str(root)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        url = self._process.stdout.readline().strip()
        self.http = httpx2.Client(base_url=url, auth=("admin", "admin-secret"), timeout=30)

    def kill(self):
        self._process.kill()
        self.wait()

    def wait(self):
        self.http.close()
        self._process.stdout.close()
        self._process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def make_session(self):
        for path in ("", "/subjects/S", "/subjects/S/experiments/E?xsiType=xnat:mrSessionData"):
            assert self.http.put(f"/data/projects/P{path}").status_code in {200, 201}
        assert self.http.put(RESOURCE).status_code == 200

    def held(self):
        """Name to bytes of all files, after checking that listing, digests, counts and disk agree."""
        rows = self.http.get(f"{RESOURCE}/files").json()["ResultSet"]["Result"]
        found = {}
        for row in rows:
            name = row["URI"].partition("/files/")[2]
            data = self.http.get(row["URI"]).content
            assert (row["Size"], row["digest"]) == (str(len(data)), hashlib.md5(data).hexdigest()), name
            found[name] = data
        assert sorted(self.on_disk()) == sorted(found)
        assert list((self.root / "incoming").iterdir()) == []
        (resource,) = self.http.get(f"{RESOURCE.rpartition('/')[0]}").json()["ResultSet"]["Result"]
        assert int(resource["file_count"] or 0) == len(found)
        assert int(resource["file_size"] or 0) == sum(map(len, found.values()))
        return found

    def on_disk(self):
        folder = self.root / "archive" / "P" / "arc001" / "E" / "RESOURCES" / "R"
        return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("prepared")
    with Server(root) as server:
        server.make_session()
        put(server.http, "old.txt", b"old")
    return root


@pytest.fixture
def root(prepared, tmp_path):
    """The folder of an archive that holds one file."""
    return shutil.copytree(prepared, tmp_path / "root")


def put(http, name, data, query="&overwrite=true"):
    answer = http.put(f"{RESOURCE}/files/{name}?inbody=true{query}", content=data)
    assert (answer.status_code, answer.content) == (200, b"")


def zip_of(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


class Worker(threading.Thread):
    """Writes and removes files of its own until the server dies; remembers what may be there."""

    def __init__(self, http, number, started):
        super().__init__()
        self._http = http
        self._number = number
        self._random = random.Random(f"{number} {started}")
        self._turn = 0
        #: What was acknowledged last, and what was under way at the end: name to bytes, None for removed.
        self.sure = {}
        self.open = {}
        self.acknowledged = 0

    def run(self):
        try:
            while True:
                self._turn += 1
                self._act()
                self.sure |= self.open
                self.open = {}
                self.acknowledged += 1
        except httpx2.TransportError:
            return

    def _act(self):
        name = f"{self._number}-{self._random.randrange(4)}.bin"
        data = f"{self._number} {self._turn} ".encode() * self._random.choice([1, 10, 100_000])
        match self._random.randrange(4):
            case 0 | 1:
                self.open = {name: data}
                put(self._http, name, data)
            case 2:
                self.open = {f"{self._number}-zip/{n}": b"%d %d" % (self._turn, n) for n in range(MEMBERS)}
                put(self._http, f"{self._number}.zip", zip_of(self.open), EXTRACT)
            case 3 if self.sure.get(name) is not None:
                self.open = {name: None}
                assert self._http.delete(f"{RESOURCE}/files/{name}").status_code == 200


def test_what_was_acknowledged_survives_any_moment(root):
    state = {"old.txt": b"old"}
    for start in range(3):
        with Server(root) as server:
            assert server.held() == state
            workers = [Worker(server.http, number, f"{start} {os.getpid()}") for number in range(4)]
            for worker in workers:
                worker.sure = {name: data for name, data in state.items() if name.startswith(f"{worker._number}-")}
                worker.start()
            time.sleep(random.uniform(0.2, 0.8))
            server._process.kill()
            for worker in workers:
                worker.join()
        with Server(root) as server:
            found = server.held()
        state = {"old.txt": b"old"}
        assert sum(worker.acknowledged for worker in workers) > 0
        for worker in workers:
            mine = {name: data for name, data in found.items() if name.startswith(f"{worker._number}-")}
            before = {name: data for name, data in worker.sure.items() if data is not None}
            after = {name: data for name, data in (worker.sure | worker.open).items() if data is not None}
            assert mine in (before, after)  # a change is there in whole or not at all
            state |= mine
        assert found == state


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("kind", ["one", "many", "replaced", "form"])
def test_a_kill_between_commit_and_rename_is_made_good(root, kind, done):
    with Server(root, FAULT.format(step="place_all", after=0, done=done)) as server:
        acts = {
            "one": lambda: put(server.http, "new.txt", b"new"),
            "many": lambda: put(server.http, "n.zip", zip_of({"new.txt": b"new", "old.txt": b"2"}), EXTRACT),
            "replaced": lambda: put(server.http, "old.txt", b"replaced"),
            "form": lambda: server.http.put(f"{RESOURCE}/files", files={"f": ("new.txt", b"new")}),
        }
        with pytest.raises(httpx2.TransportError):
            acts[kind]()
    wanted = {
        "one": {"new.txt": b"new", "old.txt": b"old"},
        "many": {"new.txt": b"new", "old.txt": b"2"},
        "replaced": {"old.txt": b"replaced"},
        "form": {"new.txt": b"new", "old.txt": b"old"},
    }
    for _ in range(2 if kind == "many" else 1):  # and a second start finds nothing more to do
        with Server(root) as server:
            assert server.held() == wanted[kind]


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_a_kill_while_removing_is_made_good(root, whole, done):
    with Server(root, FAULT.format(step="trash", after=0, done=done)) as server, pytest.raises(httpx2.TransportError):
        server.http.delete(RESOURCE if whole else f"{RESOURCE}/files/old.txt")
    with Server(root) as server:
        assert server.on_disk() == []
        if not whole:
            assert server.held() == {}
        put(server.http, "old.txt", b"back", query="")  # no duplicate is left
    with Server(root) as server:
        assert server.held() == {"old.txt": b"back"}


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_kill_before_the_commit_leaves_no_trace(root, size):
    with Server(root, FAULT.format(step="exists", after=0, done=False)) as server:
        with pytest.raises(httpx2.TransportError):
            put(server.http, "new.txt", b"x" * size)
        assert len(list((root / "incoming").iterdir())) == 1
    with Server(root) as server:
        assert server.held() == {"old.txt": b"old"}


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("change", ["label=F", "primary"])
def test_a_kill_while_a_session_moves_leaves_it_where_it_was(root, change, done):
    session = RESOURCE.removesuffix("/resources/R")
    url = f"{session}?label=F" if change == "label=F" else f"{session}/projects/Q?primary=true"
    there = "/data/projects/P/experiments/F" if change == "label=F" else "/data/projects/Q/experiments/E"
    with Server(root, FAULT.format(step="move", after=0, done=done)) as server:
        assert server.http.put("/data/projects/Q").status_code == 200
        with pytest.raises(httpx2.TransportError):
            server.http.put(url)
    with Server(root) as server:
        assert server.held() == {"old.txt": b"old"}
        assert server.http.get(there).status_code == 404
        assert server.http.put(url).status_code == 200
        assert server.http.get(f"{there}/resources/R/files/old.txt").content == b"old"
        assert server.on_disk() == []
    assert audit(root, deep=True).findings == []
