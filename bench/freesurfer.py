"""One FreeSurfer subject of full size: xnatferry beside ``zip -r`` and pyxnat's ``put_zip``.

    python bench/freesurfer.py [--rounds 3] [--manifest bench/data/freesurfer-7.4.1_ds004604_sub-001.tsv]

The subject has the names and sizes of a real one (340 files, 280 MB), real statistics and, else, noise that does not
compress. Each round gives
each contestant an archive of its own. Told are medians of seconds, of the most memory of the contestant's processes
(``ru_maxrss``), and of the most bytes it had on disk beside the subject. xnatferry's time includes checks, plan and the
proof of every file; pyxnat's has none of them.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from served import ADMIN, served_archive

MANIFEST = Path(__file__).with_name("data") / "freesurfer-7.4.1_ds004604_sub-001.tsv"
TEXTS = Path(__file__).parents[1] / "tests" / "data" / "freesurfer7" / "sub-001"

PYXNAT = """
import sys
import pyxnat
url, user, password, archive = sys.argv[1:]
central = pyxnat.Interface(server=url, user=user, password=password)
project = central.select.project("BENCH")
project.create()
subject = project.subject("sub-001")
subject.create()
session = subject.experiment("sub-001_MR1")
session.create(experiments="xnat:mrSessionData")
session.resource("FREESURFER7").put_zip(archive, extract=True)
"""


def content_of(name: str, size_bytes: int, vertices: dict[str, int]) -> bytes:
    """Bytes of about the true size that the checks take for what the name says: noise, with the right header."""
    inner = name.partition("/")[2]
    text = TEXTS / inner
    if text.is_file():
        return text.read_bytes()
    side, kind = Path(inner).name[:2], Path(inner).name[3:]
    count = vertices.get(side, 0)
    if inner.endswith(".mgz"):
        head = struct.pack(">7ih15f", 1, 256, 256, 256, 1, 0, 0, 1, 1, 1, 1, -1, 0, 0, 0, 0, -1, 0, 1, 0, 0, 0, 0)
        noise = os.urandom(max(0, min(size_bytes - 74_000, 256**3)))  # zeros of a whole volume take 73 kB
        return gzip.compress(head.ljust(284, b"\0") + noise + bytes(256**3 - len(noise)), 1)
    if kind in {"thickness", "curv", "area", "sulc", "volume", "area.pial", "curv.pial", "area.mid"}:
        head = b"\xff\xff\xff" + struct.pack(">3i", count, 2 * count - 4, 1)
    elif inner.startswith("surf/") and size_bytes > 36 * count > 0:
        head = b"\xff\xff\xfecreated by nobody\n\n" + struct.pack(">2i", count, 2 * count - 4)
    elif kind.endswith("annot"):
        head = struct.pack(">i", count)
    elif kind.endswith("label"):
        head = b"#!ascii label\n10\n"
    else:
        head = b""
    return head + os.urandom(max(0, size_bytes - len(head)))


def make_subject(root: Path, manifest: Path) -> Path:
    """The files of *manifest*, with its links; sizes it does not know are 3 MB."""
    rows = [line.split("\t") for line in manifest.read_text().splitlines()[1:]]
    vertices = {
        side: (int(s) - 15) // 4 for side in ("lh", "rh") for n, s, _ in rows if n.endswith(f"{side}.thickness")
    }
    for name, size, kind in rows:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind.startswith("symlink:"):
            path.symlink_to(kind.removeprefix("symlink:"))
        else:
            path.write_bytes(content_of(name, 3_000_000 if size == "NA" else int(size), vertices))
    return root / "sub-001"


class Watched:
    """Runs commands; keeps the most memory of a process and the most bytes in a folder."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.memory_bytes = 0
        self.disk_bytes = 0

    def run(self, command: list[str | Path], **said: object) -> None:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **said)
        done = threading.Event()
        watch = threading.Thread(target=self._watch, args=(done,))
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        done.set()
        watch.join()
        self.memory_bytes = max(self.memory_bytes, usage.ru_maxrss * 1024)
        if process.returncode:
            raise SystemExit(f"{command[0]} ended with {process.returncode}")

    def _watch(self, done: threading.Event) -> None:
        while True:
            last = done.wait(0.05)
            sizes = 0
            for path in self.scratch.rglob("*"):
                try:
                    sizes += path.stat().st_size if path.is_file() else 0
                except FileNotFoundError:
                    continue
            self.disk_bytes = max(self.disk_bytes, sizes)
            if last:
                return


def with_xnatferry(watched: Watched, url: str, subject: Path) -> None:
    script = Path(sys.executable).with_name("xnatferry")
    environment = os.environ | {
        "XNAT_PASS": ADMIN[1],
        "XNATFERRY_STATE": str(watched.scratch / "state"),
        "TMPDIR": str(watched.scratch),
    }
    watched.run(
        [script, "push", subject, "-p", "BENCH", "-y", "-q", "-s", url, "-u", ADMIN[0], "--allow-incomplete"],
        env=environment,
    )


def with_pyxnat(watched: Watched, url: str, subject: Path) -> None:
    archive = watched.scratch / "sub-001.zip"
    watched.run(["zip", "-q", "-r", archive, subject.name], cwd=subject.parent)
    environment = os.environ | {"TMPDIR": str(watched.scratch)}
    watched.run([sys.executable, "-c", PYXNAT, url, *ADMIN, str(archive)], env=environment)


CONTESTANTS = {"xnatferry push": with_xnatferry, "zip -r and put_zip": with_pyxnat}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--manifest", type=Path, default=MANIFEST)
    options = parser.parse_args()
    measured: dict[str, list[tuple[float, float, float]]] = {name: [] for name in CONTESTANTS}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        subject = make_subject(root / "subjects", options.manifest)
        size_bytes = sum(path.stat().st_size for path in subject.rglob("*"))
        print(f"{sum(1 for path in subject.rglob('*') if path.is_file())} files, {size_bytes / 1e6:.0f} MB")
        for number in range(options.rounds):
            for name, act in CONTESTANTS.items():
                scratch = root / "scratch"
                scratch.mkdir()
                watched = Watched(scratch)
                with served_archive(root / "archive") as url:
                    started = time.monotonic()
                    act(watched, url, subject)
                    seconds = time.monotonic() - started
                measured[name].append((seconds, watched.disk_bytes / 1e6, watched.memory_bytes / 1e6))
                print(f"round {number + 1}  {name:20} {seconds:6.1f} s", flush=True)
                shutil.rmtree(scratch)
                shutil.rmtree(root / "archive")
    print(f"{'medians':20} {'seconds':>8} {'disk MB':>8} {'memory MB':>10}")
    for name, rows in measured.items():
        seconds, disk, memory = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{name:20} {seconds:8.1f} {disk:8.1f} {memory:10.0f}")


if __name__ == "__main__":
    main()
