"""Six crossings beside the bare wire and beside what people use today, in one run on one computer.

    python bench/transfer.py [--quick] [--latency 0 10 30] [--only many,freesurfer,small,large,again,pull]

many        50 subjects with 2 scans of 2 MB
freesurfer  10 FreeSurfer subjects of 340 files
small       one resource of 2,000 files of 4 KB
large       one file of 1 GB
again       the first crossing once more, with nothing to do
pull        the first crossing back

Every contestant is a process of its own, from its start to its end, and gets an archive of its own, in another process,
on the same disk, behind a proxy that counts requests and adds the latency. *wrong* counts files that are not in the
archive (or not on disk, for pull) with the bytes they had. Seconds are the median of the rounds.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np
from contestants import CONTESTANTS, SESSION, client, many_wire, push
from loopback import loopback
from served import served_archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: These are measured in every round; of the others one is enough, as their ratio is far from any doubt.
AGAIN_AND_AGAIN = ("wire", "xnatferry")


@dataclass(frozen=True)
class Crossing:
    """What is carried, what the archive holds before, and how many files ended wrong."""

    make: Callable[[Path, int], None]
    wrong: Callable[[str, Path], int]
    before: Callable[[str, Path], None] | None = None


def make_many(folder: Path, part: int) -> None:
    side = 100  # of 2 bytes a voxel: 2 MB, and noise does not compress
    random = np.random.default_rng(1)
    for number in range(50 // part):
        for kind in ("T1w", "T2w"):
            path = folder / f"s{number:03}" / f"{kind}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            voxels = random.integers(-32768, 32767, (side, side, side)).astype("int16")
            nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)


def make_freesurfer(folder: Path, part: int) -> None:
    for number in range(10 // part):
        subject = folder / f"f{number:03}"
        for index in range(336):
            place = ("mri", "surf", "label", "stats", "touch")[index % 5]
            path = subject / place / f"{index:03}.dat"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(20_000 if place != "touch" else 30))
        (subject / "scripts").mkdir()
        (subject / "scripts" / "build-stamp.txt").write_text("freesurfer-linux-centos7_x86_64-7.4.1-20230614-7eb8460\n")
        (subject / "scripts" / "recon-all.done").write_text("SUBJECT done\n")
        (subject / "scripts" / "recon-all.log").write_text("recon-all finished without error\n")
        (subject / "stats" / "aseg.stats").write_text("# Title Segmentation Statistics\n")


def make_small(folder: Path, part: int) -> None:
    (folder / "many").mkdir(parents=True)
    for number in range(2_000 // part):
        (folder / "many" / f"{number:04}.txt").write_bytes(os.urandom(4_096))


def make_large(folder: Path, part: int) -> None:
    folder.mkdir(parents=True)
    piece = os.urandom(1 << 20)
    with (folder / "large.bin").open("wb") as stream:
        for _ in range(1024 // part):
            stream.write(piece)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def wrong_below(url: str, listing: str, files: Iterable[Path], base: Path) -> int:
    """How many *files* are not listed below *listing* by their path from *base*, with the MD5 they have on disk."""
    with client(url, project=False) as http:
        rows = http.get(listing, params={"format": "json"}).json()["ResultSet"]["Result"]
    held = {row["URI"].partition("/files/")[2]: row["digest"] for row in rows}
    return sum(held.get(str(path.relative_to(base))) != md5(path) for path in files if path.is_file())


def many_wrong(url: str, folder: Path) -> int:
    return sum(
        wrong_below(url, f"{SESSION.format(subject.name)}/scans/ALL/files", subject.iterdir(), subject)
        for subject in folder.iterdir()
    )


def freesurfer_wrong(url: str, folder: Path) -> int:
    wrong = 0
    for subject in folder.iterdir():
        listing = f"{SESSION.format(subject.name)}/resources/FREESURFER7/files"
        # With the subject's own folder on top, as readers of FreeSurfer results expect, or without it (xnatctl).
        wrong += min(wrong_below(url, listing, subject.rglob("*"), base) for base in (folder, subject))
    return wrong


def small_wrong(url: str, folder: Path) -> int:
    files = folder / "many"
    return wrong_below(url, f"{SESSION.format('S')}/resources/MANY/files", files.iterdir(), files)


def large_wrong(url: str, folder: Path) -> int:
    return wrong_below(url, f"{SESSION.format('S')}/resources/LARGE/files", folder.iterdir(), folder)


def pull_wrong(_url: str, folder: Path) -> int:
    have = {md5(path) for path in (folder.parent / "pulled").rglob("*.nii.gz")}
    return sum(md5(path) not in have for path in folder.rglob("*.nii.gz"))


CROSSINGS = {
    "many": Crossing(make_many, many_wrong),
    "freesurfer": Crossing(make_freesurfer, freesurfer_wrong),
    "small": Crossing(make_small, small_wrong),
    "large": Crossing(make_large, large_wrong),
    "again": Crossing(make_many, many_wrong, before=push),
    "pull": Crossing(make_many, pull_wrong, before=many_wire),
}


def carried(name: str, who: str, folder: Path, latency_s: float) -> tuple[float, int, int]:
    """Seconds, requests and wrong files of one contestant."""
    crossing = CROSSINGS[name]
    root = folder.parent / "root"
    shutil.rmtree(folder.parent / "state", ignore_errors=True)
    with served_archive(root) as url:
        if crossing.before is not None:
            crossing.before(url, folder)
        with loopback(url, latency_s) as proxy:
            script = Path(__file__).with_name("contestants.py")
            begun = time.perf_counter()
            if who == "xnatferry":  # a command already; the others are scripts
                CONTESTANTS[name][who](proxy.url, folder)
            else:
                command = [sys.executable, script, name, who, proxy.url, folder]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            seconds = time.perf_counter() - begun
        wrong = crossing.wrong(url, folder)
    shutil.rmtree(root)
    return seconds, proxy.total, wrong


def measure(name: str, top: Path, options: argparse.Namespace, latency_ms: int) -> None:
    folder = top / name / "data"
    if not folder.exists():
        CROSSINGS[name].make(folder, 5 if options.quick else 1)
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    print(f"\n{name}: {len(files)} files, {size / 1e6:.0f} MB, {latency_ms} ms")
    rounds = [
        # Side by side, round by round: what slows the computer down for a while slows all of them.
        {
            who: carried(name, who, folder, latency_ms / 1e3)
            for who in CONTESTANTS[name]
            if number == 0 or who in AGAIN_AND_AGAIN
        }
        for number in range(options.rounds)
    ]
    seconds = {who: statistics.median(one[who][0] for one in rounds if who in one) for who in CONTESTANTS[name]}
    print(f"  {'':<16}{'seconds':>9}{'requests':>10}{'wrong':>7}{'x wire':>9}{'xnatferry is':>14}")
    for who, took in seconds.items():
        requests = rounds[0][who][1]
        wrong = max(one[who][2] for one in rounds if who in one)
        beside = f"{took / seconds['wire']:>9.2f}" if "wire" in seconds else f"{'':>9}"
        faster = "" if who == "xnatferry" else f"{took / seconds['xnatferry']:>8.2f} x"
        print(f"  {who:<16}{took:>9.2f}{requests:>10}{wrong:>7}{beside}{faster:>14}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fifth of the data")
    parser.add_argument("--latency", type=int, nargs="*", default=[0], help="milliseconds")
    parser.add_argument("--rounds", type=int, default=3, help="the median counts")
    parser.add_argument("--only", default=",".join(CROSSINGS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for latency_ms in options.latency:
            for crossing in options.only.split(","):
                measure(crossing, Path(name), options, latency_ms)


if __name__ == "__main__":
    main()
