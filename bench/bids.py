"""A BIDS dataset pushed and pulled beside reading and copying the same tree; and the round trip of every sample.

    python bench/bids.py [--subjects 20] [--megabytes 2] [--data FOLDER] [--validator PROGRAM]

All in one run on one disk, printed as ratios. The archive is a process of its own; xnatferry's time includes its start,
all checks, the plan, digests and the proof of every file. The official BIDS validator (``pip install
bids-validator-deno``), where there is one, judges each dataset before the push and after the pull.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
from served import ADMIN, served_archive

from xnatferry.checks.bids_validator import find_validator

SAMPLES = Path(__file__).parents[1] / "tests" / "data" / "bids"


def make_dataset(root: Path, subjects: int, megabytes: float) -> None:
    """Two sessions for each subject, each with a T1w and two runs of bold, sidecars and events."""
    side = round((megabytes * 1e6 / 2) ** (1 / 3))
    random = np.random.default_rng(1)
    for number in range(1, subjects + 1):
        for session in (1, 2):
            stem = f"sub-{number:02}_ses-{session}"
            folder = root / f"sub-{number:02}" / f"ses-{session}"
            runs = [f"func/{stem}_task-rest_run-{run}" for run in (1, 2)]
            for name in (f"anat/{stem}_T1w", *(f"{run}_bold" for run in runs)):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                voxels = random.integers(-32768, 32767, (side, side, side)).astype("int16")
                nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), folder / f"{name}.nii.gz")
                (folder / f"{name}.json").write_text('{"EchoTime": 0.03, "RepetitionTime": 2.2, "TaskName": "rest"}')
            for run in runs:
                (folder / f"{run}_events.tsv").write_text("onset\tduration\n1\t2\n")
    (root / "dataset_description.json").write_text('{"Name": "bench", "BIDSVersion": "1.8.0"}')
    (root / "README").write_text("Made up for a benchmark: the voxels are noise.\n")


def timed(action) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def read_all(root: Path) -> None:
    for path in root.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                hashlib.file_digest(stream, "md5")


def ferry(url: str, home: Path, *arguments: object) -> None:
    script = Path(sys.executable).with_name("xnatferry")
    environment = os.environ | {"XNAT_PASS": ADMIN[1], "XNATFERRY_STATE": str(home)}
    command = [
        script,
        *map(str, arguments),
        *(["-y"] if arguments[0] == "push" else []),
        "-q",
        "-s",
        url,
        "-u",
        ADMIN[0],
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}")


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def verdict(program: Path | None, root: Path) -> Counter[tuple[str, str]] | None:
    """What the official validator says, by severity and code."""
    if program is None:
        return None
    done = subprocess.run([program, root, "--format", "json"], capture_output=True, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    return Counter((str(issue.get("severity", "error")), str(issue["code"])) for issue in issues)


def shown(said: Counter[tuple[str, str]] | None) -> str:
    if said is None:
        return "not installed"
    number = Counter(severity for (severity, _), times in said.items() for _ in range(times))
    return f"{number['error']} errors, {number['warning']} warnings"


def speed(url: str, top: Path, options: argparse.Namespace) -> None:
    root = top / "dataset"
    make_dataset(root, options.subjects, options.megabytes)
    files = contents(root)
    total_mb = sum(map(len, files.values())) / 1e6
    print(f"{len(files)} files, {total_mb:.0f} MB, {2 * options.subjects} sessions\n")
    rows = [("read and hash", timed(lambda: read_all(root)))]
    rows += [("copy the tree", timed(lambda: shutil.copytree(root, top / "copy")))]
    rows += [("push", timed(lambda: ferry(url, top, "push", root, "-p", "BENCH")))]
    rows += [("push again", timed(lambda: ferry(url, top, "push", root, "-p", "BENCH")))]
    rows += [("pull --as bids", timed(lambda: ferry(url, top, "pull", "BENCH", top / "back", "--as", "bids")))]
    print(f"{'':16}{'seconds':>8}{'MB/s':>7}{'beside reading':>16}{'beside copying':>16}")
    for name, seconds in rows:
        beside = f"{seconds / rows[0][1]:14.1f} x{seconds / rows[1][1]:14.1f} x"
        print(f"{name:16}{seconds:8.2f}{total_mb / seconds:7.0f}{beside}")
    print(f"identical: {'yes' if contents(top / 'back') == files else 'NO'}\n")


def round_trips(url: str, top: Path, options: argparse.Namespace) -> bool:
    program = options.validator or find_validator()
    print(f"{'dataset':12}{'files':>7}{'bytes':>11}  {'equal':7}{'validator before':28}{'after':28}")
    good = True
    for root in sorted(path for path in options.data.iterdir() if (path / "dataset_description.json").is_file()):
        project, back = f"RT_{root.name}".replace(".", "_"), top / "trips" / root.name
        ferry(url, top, "push", root, "-p", project, "--allow-incomplete", "--sourcedata", "--force")
        ferry(url, top, "pull", project, back, "--as", "bids")
        files, before, after = contents(root), verdict(program, root), verdict(program, back)
        equal = contents(back) == files
        good = good and equal and before == after
        total = sum(map(len, files.values()))
        says = "the same" if before == after else shown(after)
        print(f"{root.name:12}{len(files):7}{total:11,}  {'yes' if equal else 'NO':7}{shown(before):28}{says:28}")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--subjects", type=int, default=20)
    parser.add_argument("--megabytes", type=float, default=2)
    parser.add_argument("--data", type=Path, default=SAMPLES, help="folder of datasets for the round trips")
    parser.add_argument("--validator", type=Path, help="program of the official validator")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, served_archive(Path(folder) / "archive") as url:
        speed(url, Path(folder), options)
        return 0 if round_trips(url, Path(folder), options) else 1


if __name__ == "__main__":
    sys.exit(main())
