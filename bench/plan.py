"""How long a plan takes when the server is far away: 10,000 files in 1,000 sessions that exist, 30 ms to the server.

    python bench/plan.py [--sessions N] [--delay MS] [--workers N]

An archive is filled through its own Python API, a proxy on loopback makes every request wait, the source is as large
as the archive. Prints requests, requests a session, and seconds. Run by hand; timings are no tests.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

SCANS, FILES = 5, 2  # an image and its sidecar in each scan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--delay", type=float, default=30.0, help="milliseconds that an answer takes longer")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--new", action="store_true", help="the sessions do not exist yet")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()

    from xnatferry.client.remote import Remote
    from xnatferry.client.settings import Connection, Secret
    from xnatferry.server.archive import running_archive

    with tempfile.TemporaryDirectory(prefix="bench-plan-") as name:
        source = Path(name) / "in"
        started = time.monotonic()
        make_source(source, options.sessions)
        print(f"source    {options.sessions * SCANS * FILES:,} files in {time.monotonic() - started:.1f} s")
        with running_archive(Path(name) / "archive", admin_password="bench") as running:
            direct = Connection(running.url, "admin", Secret("bench"))
            if not options.new:
                started = time.monotonic()
                with Remote(direct) as remote:
                    fill(source, remote)
                print(f"archive   filled in {time.monotonic() - started:.1f} s")
            with (
                distant(running.url, options.delay / 1000) as (url, requests),
                Remote(Connection(url, "admin", Secret("bench"))) as remote,
            ):
                profile = cProfile.Profile()
                if options.profile:
                    profile.enable()
                plan_once(source, remote, options.workers, requests, options.sessions)
                profile.disable()
                if options.profile:
                    pstats.Stats(profile).sort_stats("cumulative").print_stats(30)


def make_source(root: Path, sessions: int) -> None:
    import nibabel
    import numpy as np

    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), "int16"), np.eye(4))
    sample = root / "sample.nii"
    root.mkdir(parents=True)
    nibabel.save(image, sample)
    data = bytearray(sample.read_bytes())
    sample.unlink()
    for number in range(sessions):
        folder = root / f"sub-{number:04}"
        folder.mkdir()
        for scan in range(SCANS):
            data[148:156] = b"%04d%04d" % (number, scan)  # the header's description: every image is another one
            (folder / f"run{scan}.nii").write_bytes(data)
            (folder / f"run{scan}.json").write_text(f'{{"SeriesNumber": {scan + 1}}}')


def fill(source: Path, remote: object) -> None:
    from xnatferry import api

    plan = api.plan(api.discover(source), remote, api.MappingRules(project="BENCH"))
    result = api.push(plan, remote, workers=8)
    if result.exit_code:
        sys.exit(f"filling failed: {result.failures[:3]}")


def plan_once(source: Path, remote: object, workers: int, requests: Counter, sessions: int) -> None:
    from xnatferry import api

    started = time.monotonic()
    discovery = api.discover(source)
    found = time.monotonic()
    print(f"discover  {found - started:.1f} s")
    plan = api.plan(discovery, remote, api.MappingRules(project="BENCH"), workers=workers)
    seconds = time.monotonic() - found
    number = requests["requests"]
    counts = {decision.name.lower(): count for decision, count in plan.count().items()}
    print(f"plan      {len(plan.files):,} files, {counts}")
    print(f"          {number:,} requests, {number / sessions:.2f} a session, {seconds:.1f} s with {workers} workers")


@contextmanager
def distant(url: str, delay_s: float):
    """Relays connections to *url*; every request (a burst of bytes after an answer) waits *delay_s*."""
    host, port = url.removeprefix("http://").split(":")
    requests: Counter = Counter()
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def upward(client: socket.socket, server: socket.socket) -> None:
        while data := receive(client):
            requests["requests"] += 1
            time.sleep(delay_s)
            server.sendall(data)
        close(server)

    def downward(server: socket.socket, client: socket.socket) -> None:
        while data := receive(server):
            client.sendall(data)
        close(client)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = socket.create_connection((host, int(port)))
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for act, one, other in ((upward, client, server), (downward, server, client)):
                threading.Thread(target=act, args=(one, other), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
    finally:
        listener.close()


def receive(one: socket.socket) -> bytes:
    try:
        return one.recv(1 << 16)
    except OSError:
        return b""


def close(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    main()
