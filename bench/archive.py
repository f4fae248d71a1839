"""How fast the local archive is beside the bare wire and disk, in one run on one computer.

    python bench/archive.py [--quick] [--only uploads,large,listings,zip,start]

Uploads go to the archive and to a bare starlette application that writes the same bytes to files and hashes them, once
without and once with the flush to disk that the archive owes its users. Everything is printed as a ratio.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

ARCHIVE = """
import sys, threading
from pathlib import Path
from xnatferry.server.archive import running_archive
with running_archive(Path(sys.argv[1]), admin_password="admin-secret") as running:
    print(running.url, flush=True)
    threading.Event().wait()
"""
SINK = """
import asyncio, hashlib, os, socket, sys
from pathlib import Path
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
folder, flush = Path(sys.argv[1]), sys.argv[2] == "flush"
folder.mkdir(exist_ok=True)
async def put(request: Request):
    hasher = hashlib.md5()
    with open(folder / request.path_params["name"].replace("/", "_"), "wb") as file:
        async for piece in request.stream():
            hasher.update(piece)
            file.write(piece)
        if flush:
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
    return Response(hasher.hexdigest())
app = Starlette(routes=[Route("/{name:path}", put, methods=["PUT"])])
sock = socket.create_server(("127.0.0.1", 0))
print(f"http://127.0.0.1:{sock.getsockname()[1]}", flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off")).run([sock])
"""
CLIENTS = 4
SESSION = "/data/projects/P/subjects/S/experiments/E"
AUTH = {"Authorization": "Basic " + base64.b64encode(b"admin:admin-secret").decode()}


class Peer:
    """A server in a process of its own."""

    def __init__(self, script, *arguments):
        self.started = time.perf_counter()
        command = [sys.executable, "-c", script, *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.address = urlsplit(self.process.stdout.readline().strip())
        self.start_s = time.perf_counter() - self.started

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()

    def connection(self):
        return http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=600)

    def ask(self, method, path, body=None):
        connection = self.connection()
        connection.request(method, path, body, AUTH)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        assert answer.status in {200, 201}, (method, path, answer.status, data[:300])
        return data

    def rss_mib(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def upload_many(peer, number, data, prefix):
    """Seconds for *number* files from several clients; each keeps its connection and its login."""
    left = iter(range(number))
    lock = threading.Lock()

    def client():
        connection = peer.connection()
        connection.request("GET" if prefix.startswith("/data") else "PUT", "/data/JSESSION", headers=AUTH)
        answer = connection.getresponse()
        headers = {"Cookie": f"JSESSIONID={answer.read().decode()}"}
        while True:
            with lock:
                one = next(left, None)
            if one is None:
                break
            connection.request("PUT", f"{prefix}{one}.bin?inbody=true", data, headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begun


def upload_large(peer, size_bytes, path):
    """Seconds for one body, and by how much the server's memory grew meanwhile, MiB."""
    before, most, done = peer.rss_mib(), 0.0, threading.Event()

    def watch():
        nonlocal most
        while not done.wait(0.02):
            most = max(most, peer.rss_mib())

    watcher = threading.Thread(target=watch)
    watcher.start()
    piece = os.urandom(1 << 20)
    connection = peer.connection()
    begun = time.perf_counter()
    connection.request(
        "PUT", path, (piece for _ in range(size_bytes >> 20)), AUTH | {"Content-Length": str(size_bytes)}
    )
    answer = connection.getresponse()
    answer.read()
    seconds = time.perf_counter() - begun
    done.set()
    watcher.join()
    assert answer.status == 200, answer.status
    connection.close()
    return seconds, most - before


def row(what, value, beside="", goal=""):
    print(f"{what:<48} {value:>16}  {beside:<44} {goal}", flush=True)


def prepared(peer):
    for path in ("/data/projects/P", f"{SESSION}?xsiType=xnat:mrSessionData"):
        peer.ask("PUT", path)


def uploads(top, options):
    number, size = (300, 100_000) if options.quick else (2_000, 100_000)
    data = os.urandom(size)
    times = {"archive": [], "sink": [], "sink that flushes": []}
    with (
        Peer(ARCHIVE, top / "u") as archive,
        Peer(SINK, top / "s", "no") as sink,
        Peer(SINK, top / "f", "flush") as flushing,
    ):
        prepared(archive)
        for peer, prefix in ((archive, f"{SESSION}/resources/WARM/files/"), (sink, "/w"), (flushing, "/w")):
            upload_many(peer, 50, data, prefix)
        for turn in range(3):  # in turns, so that the computer's moods hit all alike
            times["archive"].append(upload_many(archive, number, data, f"{SESSION}/resources/R{turn}/files/"))
            times["sink"].append(upload_many(sink, number, data, f"/{turn}-"))
            times["sink that flushes"].append(upload_many(flushing, number, data, f"/{turn}-"))
    best = {name: statistics.median(some) for name, some in times.items()}
    rate = {name: number / seconds for name, seconds in best.items()}
    row(
        f"{number} uploads of 100 KB",
        f"{rate['archive']:.0f} files/s",
        f"sink {rate['sink']:.0f}, flushing {rate['sink that flushes']:.0f}",
    )
    row("  against the sink", f"{rate['archive'] / rate['sink']:.0%}", "", "goal 50 %")
    row("  against the sink that flushes", f"{rate['archive'] / rate['sink that flushes']:.0%}")


def large(top, options):
    size = (128 << 20) if options.quick else (1 << 30)
    with (
        Peer(ARCHIVE, top / "l") as archive,
        Peer(SINK, top / "ls", "no") as sink,
        Peer(SINK, top / "lf", "flush") as flushing,
    ):
        prepared(archive)
        upload_large(archive, 32 << 20, f"{SESSION}/resources/W/files/w.bin?inbody=true")
        speeds, growth = {"archive": [], "sink": [], "flushing": []}, 0.0
        for turn in range(3):
            seconds, grown = upload_large(archive, size, f"{SESSION}/resources/R/files/{turn}.bin?inbody=true")
            growth = max(growth, grown)
            speeds["archive"].append(size / seconds / 1e6)
            speeds["sink"].append(size / upload_large(sink, size, "/x")[0] / 1e6)
            speeds["flushing"].append(size / upload_large(flushing, size, "/x")[0] / 1e6)
    speed = {name: statistics.median(some) for name, some in speeds.items()}
    row(
        f"one upload of {size >> 20} MiB",
        f"{speed['archive']:.0f} MB/s",
        f"sink {speed['sink']:.0f}, flushing {speed['flushing']:.0f}",
    )
    row("  against the sink", f"{speed['archive'] / speed['sink']:.0%}", "", "goal 80 %")
    row("  against the sink that flushes", f"{speed['archive'] / speed['flushing']:.0%}")
    row("  memory grew by", f"{growth:.0f} MiB", "", "goal < 30")


def fill(root, sessions, files):
    """A project with many sessions, and one session with many files, straight into the metadata."""
    from xnatferry.server import item_editing, objects, resources
    from xnatferry.server.archive import Archive
    from xnatferry.server.file_store import IncomingFile, Target
    from xnatferry.server.objects import Item, Level
    from xnatferry.server.resources import Described
    from xnatferry.server.settings import ServerSettings

    archive = Archive(ServerSettings(root=root), admin_password="admin-secret")
    with archive.database.write() as connection:
        make = lambda *parts, **fields: item_editing.insert_item(connection, Item(0, *parts, fields=fields), "admin")  # noqa: E731
        project = make(Level.PROJECT, "P", "P", "P", "xnat:projectData", None, "P", accessibility="private")
        for number in range(sessions):
            if number % 10 == 0:
                name = f"S{number}"
                subject = make(
                    Level.SUBJECT, "P", f"X_S{number}", name, "xnat:subjectData", project.key, f"P/subjects/{name}"
                )
            label = f"E{number}"
            folder = f"P/arc001/{label}"
            session = make(
                Level.EXPERIMENT,
                "P",
                f"X_E{number}",
                label,
                "xnat:mrSessionData",
                subject.key,
                folder,
                date="2020-01-31",
            )
    incoming = []
    for number in range(files):
        with archive.blob_store.receive(flush=False) as receiver:
            receiver.write(b"%d" % number * 2_000)
            incoming.append(IncomingFile(f"sub/{number:05}.txt", receiver.finish()))
    archive.file_store.store(Target(session, "", "R"), incoming, Described(), "admin")
    with archive.database.read() as connection:
        assert objects.find_project(connection, "P")
        assert resources.resources_of(connection, [session.key])
    archive.close()
    return f"/data/experiments/{session.id}"


def timed(peer, path):
    taken = []
    for _ in range(5):
        begun = time.perf_counter()
        data = peer.ask("GET", path)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken), data


def listings(top, options):
    sessions, files = (1_000, 500) if options.quick else (10_000, 5_000)
    session = fill(top / "many", sessions, files)
    with Peer(ARCHIVE, top / "many") as archive:
        seconds, data = timed(archive, "/data/projects/P/experiments?format=json")
        assert len(json.loads(data)["ResultSet"]["Result"]) == sessions
        row(f"listing of {sessions} sessions", f"{seconds:.3f} s", f"{len(data) / 1e6:.1f} MB", "goal < 0.5 s")
        seconds, data = timed(archive, "/data/projects/P/experiments?format=csv&columns=ID,label,subject_label,date")
        row("  as CSV with four columns", f"{seconds:.3f} s", f"{len(data) / 1e6:.1f} MB")
        seconds, data = timed(archive, "/data/projects/P/experiments?limit=100")
        row("  its first 100", f"{seconds:.3f} s")
        seconds, data = timed(archive, f"{session}/resources/R/files")
        assert len(json.loads(data)["ResultSet"]["Result"]) == files
        row(f"listing of {files} files", f"{seconds:.3f} s", f"{len(data) / 1e6:.1f} MB")
        seconds, data = timed(archive, f"{session}/resources/R")
        row("  as a catalog document", f"{seconds:.3f} s", f"{len(data) / 1e6:.1f} MB")


def zips(top, options):
    size, number = (1 << 20), (32 if options.quick else 256)
    with Peer(ARCHIVE, top / "z") as archive:
        prepared(archive)
        upload_many(archive, number, os.urandom(size), f"{SESSION}/resources/R/files/")
        seconds, data = timed(archive, f"{SESSION}/resources/R/files?format=zip")
        total = len(data)
        single, _ = timed(archive, f"{SESSION}/resources/R/files/0.bin")
        folder = top / "z" / "archive" / "P" / "arc001" / "E" / "RESOURCES" / "R"
        begun = time.perf_counter()
        for path in folder.iterdir():
            path.read_bytes()
        reading = time.perf_counter() - begun
    row(
        f"zip of {number} MiB while it is sent",
        f"{total / seconds / 1e6:.0f} MB/s",
        f"reading the files {total / reading / 1e6:.0f} MB/s",
    )
    row("  against fetching them one by one", f"{single * number / seconds:.1f} x as fast")


def start(top, _options):
    with Peer(ARCHIVE, top / "st") as first:
        row(
            "start of a new archive, with the interpreter",
            f"{first.start_s:.2f} s",
            f"{first.rss_mib():.0f} MiB of memory",
            "goal < 1 s",
        )
    with Peer(ARCHIVE, top / "st") as second:
        row("start of one that is there", f"{second.start_s:.2f} s")


PARTS = {"start": start, "uploads": uploads, "large": large, "listings": listings, "zip": zips}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="smaller numbers")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--folder", type=Path, help="where to work; on the disk that is measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        for part in options.only.split(","):
            PARTS[part](Path(name), options)


if __name__ == "__main__":
    main()
