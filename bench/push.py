"""50 subjects with 2 scans of 2 MB each: xnatferry beside the pyxnat loop of the tutorials and beside the bare wire.

    python bench/push.py [--subjects 50] [--megabytes 2] [--latency 0 10 30]

Every contestant gets an archive of its own, in a process of its own, on the same disk; requests are counted by a proxy
that also adds the latency. xnatferry's time includes checking, planning and the proof of every file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
from loopback import loopback

ADMIN = ("admin", "bench-password")


def make_images(folder: Path, subjects: int, megabytes: float) -> None:
    side = round((megabytes * 1e6 / 2) ** (1 / 3))
    random = np.random.default_rng(1)
    for number in range(subjects):
        for kind in ("T1w", "T2w"):
            path = folder / f"s{number:03}" / f"{kind}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            voxels = random.integers(-32768, 32767, (side, side, side)).astype("int16")
            nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)


@contextmanager
def served_archive(root: Path):
    """An archive in a process of its own."""
    script = Path(sys.executable).with_name("xnatferry")
    process = subprocess.Popen(
        [script, "serve", "--root", root, "--port", "0", "--json"],
        env=os.environ | {"XNATFERRY_ADMIN_PASSWORD": ADMIN[1]},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait()


def with_xnatferry(url: str, folder: Path) -> None:
    script = Path(sys.executable).with_name("xnatferry")
    subprocess.run(
        [script, "push", folder, "-p", "BENCH", "-y", "-q", "-s", url, "-u", ADMIN[0], "--workers", "8"],
        env=os.environ | {"XNAT_PASS": ADMIN[1], "XNATFERRY_STATE": str(folder.parent / "state")},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def with_pyxnat(url: str, folder: Path) -> None:
    """The loop of the tutorial, with subjects paired by name."""
    import pyxnat

    central = pyxnat.Interface(server=url, user=ADMIN[0], password=ADMIN[1])
    project = central.select.project("BENCH")
    project.insert()
    for subject in sorted(folder.iterdir()):
        session = project.subject(subject.name).experiment(f"{subject.name}_MR1")
        session.create(experiments="xnat:mrSessionData")
        for number, path in enumerate(sorted(subject.glob("*.nii.gz")), start=1):
            scan = session.scan(str(number))
            scan.create(scans="xnat:mrScanData")
            scan.attrs.mset(
                {
                    "xnat:mrScanData/type": path.name.split(".")[0],
                    "xnat:mrScanData/series_description": path.name.split(".")[0],
                    "xnat:mrScanData/quality": "usable",
                }
            )
            file = scan.resource("NIFTI").file(path.name)
            file.insert(str(path), content="NIFTI_RAW", format="NIFTI", overwrite=True)
    central.disconnect()


def on_the_wire(url: str, folder: Path) -> None:
    """The limit: one document a session, one request a file, eight threads, nothing checked."""
    import httpx2

    with httpx2.Client(base_url=url, auth=ADMIN, timeout=60) as http:
        http.post("/data/JSESSION")
        http.put("/data/projects/BENCH")

        def send(subject: Path) -> None:
            session = f"/data/projects/BENCH/subjects/{subject.name}/experiments/{subject.name}_MR1"
            names = sorted(path.name for path in subject.glob("*.nii.gz"))
            scans = "".join(
                f'<xnat:scan ID="{i}" type="{name[:3]}" xsi:type="xnat:mrScanData">'
                "<xnat:quality>usable</xnat:quality></xnat:scan>"
                for i, name in enumerate(names, start=1)
            )
            document = (
                '<?xml version="1.0"?><xnat:MRSession xmlns:xnat="http://nrg.wustl.edu/xnat" '
                'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
                f'project="BENCH" label="{subject.name}_MR1"><xnat:scans>{scans}</xnat:scans></xnat:MRSession>'
            )
            http.put(session, content=document.encode(), headers={"Content-Type": "text/xml"}).raise_for_status()
            for i, name in enumerate(names, start=1):
                file = f"{session}/scans/{i}/resources/NIFTI/files/{name}?inbody=true&format=NIFTI&content=NIFTI_RAW"
                http.put(file, content=(subject / name).read_bytes()).raise_for_status()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(send, sorted(folder.iterdir())))


def wrong_files(url: str, folder: Path) -> int:
    """Files that the archive does not list with the digest they have on disk."""
    import httpx2

    wrong = 0
    with httpx2.Client(base_url=url, auth=ADMIN, timeout=60) as http:
        for subject in sorted(folder.iterdir()):
            answer = http.get(f"/data/projects/BENCH/experiments/{subject.name}_MR1/scans/ALL/files?format=json")
            held = {row["Name"]: row["digest"] for row in answer.json()["ResultSet"]["Result"]}
            for path in subject.glob("*.nii.gz"):
                wrong += held.get(path.name) != hashlib.md5(path.read_bytes()).hexdigest()
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subjects", type=int, default=50)
    parser.add_argument("--megabytes", type=float, default=2.0)
    parser.add_argument("--latency", type=int, nargs="*", default=[0, 10, 30], help="milliseconds")
    parser.add_argument("--rounds", type=int, default=3, help="the median counts")
    args = parser.parse_args()
    contestants = {"bare wire": on_the_wire, "xnatferry": with_xnatferry, "pyxnat loop": with_pyxnat}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "images"
        make_images(folder, args.subjects, args.megabytes)
        size = sum(path.stat().st_size for path in folder.rglob("*.gz"))
        print(f"{args.subjects} subjects x 2 scans, {size / 1e6:.0f} MB; median of {args.rounds}\n")
        heads = f"{'seconds':>8}{'requests':>10}{'a subject':>10}{'wrong':>6}{'x wire':>8}{'x pyxnat':>9}"
        print(f"{'latency':>8} {'contestant':<13}{heads}")
        for latency in args.latency:
            measured = {}
            for who, push in contestants.items():
                rounds = []
                for number in range(args.rounds if who != "pyxnat loop" or latency == 0 else 1):
                    root = Path(name) / f"{latency}-{who}-{number}"
                    with served_archive(root) as url, loopback(url, latency / 1e3) as proxy:
                        started = time.perf_counter()
                        push(proxy.url, folder)
                        rounds.append(time.perf_counter() - started)
                        requests = proxy.total
                        wrong = wrong_files(url, folder)
                measured[who] = (sorted(rounds)[len(rounds) // 2], requests, wrong)
            for who, (seconds, requests, wrong) in measured.items():
                print(
                    f"{latency:>5} ms {who:<13}{seconds:>8.2f}{requests:>10}{requests / args.subjects:>10.1f}{wrong:>6}"
                    f"{seconds / measured['bare wire'][0]:>8.2f}{measured['pyxnat loop'][0] / seconds:>9.2f}"
                )


if __name__ == "__main__":
    main()
