"""Clients store, replace, unpack, rename and delete while the archive's process is killed, again and again.

After every kill: what was acknowledged is listed with the digest that was sent, what was under way is there in whole or
not at all, every listed file exists with its digest, and nothing else is left on the disk.

12 kills; ``XNATFERRY_TORTURE=N`` (``make torture``: 200) makes N.
"""

import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import closing
from copy import deepcopy

import httpx2
import pytest

from xnatferry.server import objects, resources
from xnatferry.server.archive import Archive
from xnatferry.server.audit import audit
from xnatferry.server.settings import ServerSettings

KILLS = int(os.environ.get("XNATFERRY_TORTURE", "12"))
CLIENTS = 5
SERVER = """
import sys, signal, threading
from pathlib import Path
from xnatferry.server.archive import running_archive
end = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: end.set())
with running_archive(Path(sys.argv[1]), admin_password="admin-secret") as running:
    print(running.url, flush=True)
    end.wait()
"""


class Server:
    """An archive in a process of its own."""

    def __init__(self, root):
        self._process = subprocess.Popen([sys.executable, "-c", SERVER, str(root)], stdout=subprocess.PIPE, text=True)
        self.url = self._process.stdout.readline().strip()

    def client(self):
        return httpx2.Client(base_url=self.url, auth=("admin", "admin-secret"), timeout=60)

    def stop(self, how):
        self._process.send_signal(how)
        self._process.wait(timeout=500)
        self._process.stdout.close()


def md5(data):
    return hashlib.md5(data).hexdigest()


def zip_of(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


class Client(threading.Thread):
    """Does one thing after the other until the server is dead.

    ``sure`` is what the archive has acknowledged: the label of this client's session, or None, and the digests of its
    files by place: resources of its own session, and of the session that all share. ``under_way`` is what it will be when
    the request that is open is done too.
    """

    def __init__(self, number, sure, shared_id, seed):
        super().__init__()
        self._number = number
        self._random = random.Random(seed)
        self._shared = shared_id
        self.sure = sure
        self.under_way = None
        self.acknowledged = 0
        self.problem = None

    def run(self):
        try:
            while True:
                act = self._random.choices(
                    [self._put, self._form, self._extract, self._remove, self._remove_many, self._remove_resource,
                     self._rename, self._rename_shared, self._delete_session],
                    [8, 3, 4, 4, 1, 2, 3, 1, 1],
                )[0]  # fmt: skip
                self.under_way = deepcopy(self.sure)
                if self.sure["label"] is None:
                    act = self._make_session
                act(self.under_way)
                self.sure, self.under_way = self.under_way, None
                self.acknowledged += 1
        except httpx2.TransportError:
            return
        except BaseException as error:  # noqa: BLE001  shown by the test
            self.problem = error

    def _ask(self, method, path, **options):
        answer = self.http.request(method, path, **options)
        assert answer.status_code in {200, 201}, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    def _base(self, after):
        return f"/data/projects/P/experiments/{after['label']}"

    def _place(self, after):
        """A place for files, as address and as key: mostly of the own session, sometimes of the shared one."""
        resource = self._random.choice(["R1", "R2"])
        match self._random.randrange(4):
            case 0:
                return f"/data/experiments/{self._shared}/resources/SHARED", "SHARED"
            case 1:
                return f"{self._base(after)}/scans/1/resources/{resource}", f"1/{resource}"
            case _:
                return f"{self._base(after)}/resources/{resource}", resource

    def _bytes(self):
        return self._random.randbytes(self._random.choice([0, 7, 900, 40_000, 1_500_000]) or 1)

    def _file_name(self):
        folder = self._random.choice(["", "", "a/", "a/b/"])
        return f"c{self._number}/{folder}{self._random.randrange(5)}.bin"

    def _put(self, after):
        url, key = self._place(after)
        name, data = self._file_name(), self._bytes()
        after["files"].setdefault(key, {})[name] = md5(data)
        self._ask("PUT", f"{url}/files/{name}?inbody=true&overwrite=true", content=data)

    def _form(self, after):
        url, key = self._place(after)
        # The names of a form are plain: the number of the client goes into them.
        sent = {f"c{self._number}-{n}.form": self._bytes() for n in self._random.sample(range(5), 3)}
        after["files"].setdefault(key, {}).update((name, md5(data)) for name, data in sent.items())
        files = [(name, (name, data)) for name, data in sent.items()]
        self._ask("POST", f"{url}/files?overwrite=true", files=files)

    def _extract(self, after):
        url, key = self._place(after)
        members = {
            f"c{self._number}/zip/{n}.txt": self._random.randbytes(60) for n in range(self._random.choice([3, 60]))
        }
        after["files"].setdefault(key, {}).update((name, md5(data)) for name, data in members.items())
        self._ask("PUT", f"{url}/files/x.zip?inbody=true&overwrite=true&extract=true", content=zip_of(members))

    def _held(self, after):
        return [(key, name) for key, files in after["files"].items() for name in files]

    def _url(self, after, key):
        if key == "SHARED":
            return f"/data/experiments/{self._shared}/resources/SHARED"
        scan, _, resource = key.rpartition("/")
        return f"{self._base(after)}{'/scans/1' if scan else ''}/resources/{resource}"

    def _remove(self, after):
        if held := self._held(after):
            key, name = self._random.choice(held)
            del after["files"][key][name]
            self._ask("DELETE", f"{self._url(after, key)}/files/{name}")

    def _remove_many(self, after):
        zipped = [key for key, name in self._held(after) if "/zip/" in name]
        if zipped:
            key = self._random.choice(zipped)
            gone = [name for name in after["files"][key] if "/zip/" in name]
            for name in gone:
                del after["files"][key][name]
            self._ask("DELETE", f"{self._url(after, key)}/files/c{self._number}/zip/*")

    def _remove_resource(self, after):
        if own := [key for key, files in after["files"].items() if key != "SHARED" and files]:
            key = self._random.choice(own)
            del after["files"][key]
            self._ask("DELETE", self._url(after, key))

    def _rename(self, after):
        url = self._base(after)
        after["label"] = f"E{self._number}x{self._random.randrange(1000)}"
        self._ask("PUT", f"{url}?label={after['label']}")

    def _rename_shared(self, after):
        """Under the hands of everybody who stores into it."""
        self.http.put(f"/data/experiments/{self._shared}?label=X{self._number}x{self._random.randrange(100)}")

    def _delete_session(self, after):
        url = self._base(after)
        after["label"] = None
        after["files"] = {key: files for key, files in after["files"].items() if key == "SHARED"}
        self._ask("DELETE", f"{url}?removeFiles=true")

    def _make_session(self, after):
        """With its scan, in one document."""
        after["label"] = f"E{self._number}x{self._random.randrange(1000)}"
        document = (
            '<xnat:MRSession xmlns:xnat="http://nrg.wustl.edu/xnat" '
            'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
            '<xnat:scans><xnat:scan ID="1" xsi:type="xnat:mrScanData"/></xnat:scans></xnat:MRSession>'
        )
        url = f"/data/projects/P/subjects/S{self._number}/experiments/{after['label']}"
        self._ask("PUT", url, content=document, headers={"content-type": "text/xml"})


def seen(archive, number):
    """What the archive holds of a client: in the shape of its ``sure``."""
    found = {"label": None, "files": {}}
    with archive.database.read() as connection:
        project = objects.find_project(connection, "P")
        for subject in objects.children(connection, project, "subject"):
            for session in objects.children(connection, subject, "experiment"):
                shared = session.label.startswith("X")
                if not shared and session.label.startswith(f"E{number}x"):
                    assert found["label"] is None, "a session is there twice"
                    found["label"] = session.label
                elif not shared:
                    continue
                for item in (session, *objects.children(connection, session, "scan")):
                    for one in resources.resources_of(connection, [item.key]):
                        key = f"{item.id}/{one.label}" if item.level == "scan" else one.label
                        files = {file.name: file.digest for file in resources.files_of(connection, [one])}
                        mine = {n: d for n, d in files.items() if n.startswith((f"c{number}/", f"c{number}-"))}
                        assert shared or mine == files
                        found["files"][key] = mine
    return found


def with_files(state):
    return {**state, "files": {key: files for key, files in state["files"].items() if files}}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("torture") / "root"


def prepare(root):
    server = Server(root)
    with server.client() as http:
        assert http.put("/data/projects/P").status_code == 200
        made = http.put("/data/projects/P/subjects/S/experiments/X1?xsiType=xnat:mrSessionData")
        assert made.status_code == 201
    server.stop(signal.SIGTERM)
    return made.text


@pytest.mark.timeout(120 + 15 * KILLS)
def test_no_acknowledged_file_is_lost_and_no_half_one_is_seen(root):
    shared = prepare(root)
    states = {number: {"label": None, "files": {}} for number in range(CLIENTS)}
    acknowledged, repaired = 0, []
    seed = os.environ.get("XNATFERRY_TORTURE_SEED", str(time.time_ns()))
    for kill in range(KILLS):
        server = Server(root)
        clients = [Client(number, states[number], shared, f"{seed} {kill} {number}") for number in states]
        for client in clients:
            client.http = server.client()
            client.start()
        # From right at the start of the work to well within it.
        time.sleep(random.Random(f"{seed} {kill}").choice([0.05, 0.2, 0.4, 0.8]) + random.uniform(0, 0.1))
        server.stop(signal.SIGKILL)
        for client in clients:
            client.join()
            client.http.close()
            assert client.problem is None, (seed, kill, client.problem)
        with closing(Archive(ServerSettings(root=root))) as archive:
            repaired.append(archive.repairs.sentence())
            for number, client in enumerate(clients):
                found = with_files(seen(archive, number))
                allowed = [with_files(state) for state in (client.sure, client.under_way) if state is not None]
                assert found in allowed, f"seed {seed}, kill {kill}, client {number}"
                states[number] = seen(archive, number)
                acknowledged += client.acknowledged
        assert audit(root, deep=True).findings == [], f"seed {seed}, kill {kill}"
    print(f"{KILLS} kills, {acknowledged} acknowledged requests, {sum(map(bool, repaired))} repaired starts")
    assert acknowledged > 10 * KILLS
    with closing(Archive(ServerSettings(root=root))) as archive:  # an orderly end leaves nothing to repair
        assert archive.repairs.sentence() == ""
