"""Six crossings beside the bare wire and beside what people use today, in one run on one computer.

    python bench/transfer.py [--quick] [--latency 0] [--only many,freesurfer,small,large,again,pull]

many        50 subjects with 2 scans of 2 MB
freesurfer  10 FreeSurfer subjects of 340 files
small       one resource of 2,000 files of 4 KB
large       one file of 1 GB
again       the first crossing once more, with nothing to do
pull        the first crossing back

Every contestant gets an archive of its own, in a process of its own, on the same disk, behind a proxy that counts
requests and adds the latency. The bare wire sends the same bytes with eight threads and checks nothing. *wrong* counts
files that are not in the archive (or not on disk, for pull) with the bytes they had.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
from loopback import loopback
from push import ADMIN, make_images, on_the_wire, served_archive, with_pyxnat, with_xnatferry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SESSION = "/data/projects/BENCH/subjects/{0}/experiments/{0}_MR1"
FERRY = Path(sys.executable).with_name("xnatferry")


@dataclass(frozen=True)
class Case:
    """A crossing: what is carried, by whom, and what a file is called in the archive."""

    make: Callable[[Path, int], None]
    contestants: dict[str, Callable[[str, Path], object]]
    before: Callable[[str, Path], object] | None = None
    wrong: Callable[[str, Path], int] | None = None


def ferry(url: str, *arguments: object, state: Path) -> None:
    command = [FERRY, *map(str, arguments), "-q", "-s", url, "-u", ADMIN[0]]
    environment = os.environ | {"XNAT_PASS": ADMIN[1], "XNATFERRY_STATE": str(state)}
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)


@contextmanager
def client(url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url, auth=ADMIN, timeout=600) as http:
        http.post("/data/JSESSION")
        yield http


def session_for(http: httpx2.Client, subject: str) -> str:
    session = SESSION.format(subject)
    http.put(session, params={"xsiType": "xnat:mrSessionData"}).raise_for_status()
    return session


# FreeSurfer subjects


def make_subjects(folder: Path, part: int) -> None:
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


def subjects_bare(url: str, folder: Path) -> None:
    with client(url) as http:
        http.put("/data/projects/BENCH").raise_for_status()

        def send(subject: Path) -> None:
            body = io.BytesIO()
            with zipfile.ZipFile(body, "w") as archive:
                for path in sorted(subject.rglob("*")):
                    if path.is_file():
                        archive.write(path, path.relative_to(folder))
            target = f"{session_for(http, subject.name)}/resources/FREESURFER7/files/s.zip"
            query = {"inbody": "true", "extract": "true", "content": "FREESURFER", "format": "MGZ"}
            http.put(target, params=query, content=body.getvalue()).raise_for_status()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(send, sorted(folder.iterdir())))


def subjects_ferry(url: str, folder: Path) -> None:
    ferry(url, "push", folder, "-p", "BENCH", "-y", "--as", "freesurfer", "--allow-incomplete", "--resource",
          "FREESURFER7", "--workers", "8", state=folder.parent / "state")  # fmt: skip


def subjects_pyxnat(url: str, folder: Path) -> None:
    """The founding recipe: ``zip -r`` of every subject, then ``put_zip`` with extraction."""
    import pyxnat

    central = pyxnat.Interface(server=url, user=ADMIN[0], password=ADMIN[1])
    project = central.select.project("BENCH")
    project.insert()
    for subject in sorted(folder.iterdir()):
        packed = folder.parent / f"{subject.name}.zip"
        subprocess.run(["zip", "-q", "-r", packed, subject.name], cwd=folder, check=True)
        session = project.subject(subject.name).experiment(f"{subject.name}_MR1")
        session.create(experiments="xnat:mrSessionData")
        session.resource("FREESURFER7").put_zip(str(packed), extract=True)
        packed.unlink()
    central.disconnect()


def subjects_wrong(url: str, folder: Path) -> int:
    return sum(
        wrong_in(url, f"{SESSION.format(subject.name)}/resources/FREESURFER7", subject, folder)
        for subject in sorted(folder.iterdir())
    )


def wrong_in(url: str, resource: str, top: Path, base: Path) -> int:
    with client(url) as http:
        rows = http.get(f"{resource}/files", params={"format": "json"}).json()["ResultSet"]["Result"]
    held = {row["URI"].partition("/files/")[2]: row["digest"] for row in rows}
    files = [path for path in top.rglob("*") if path.is_file()]
    return sum(held.get(str(path.relative_to(base))) != hashlib.md5(path.read_bytes()).hexdigest() for path in files)


# Many small files


def make_small(folder: Path, part: int) -> None:
    (folder / "many").mkdir(parents=True)
    for number in range(2_000 // part):
        (folder / "many" / f"{number:04}.txt").write_bytes(os.urandom(4_096))


def small_bare(url: str, folder: Path) -> None:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for path in sorted((folder / "many").iterdir()):
            archive.write(path, path.name)
    with client(url) as http:
        http.put("/data/projects/BENCH").raise_for_status()
        target = f"{session_for(http, 'S')}/resources/MANY/files/s.zip"
        http.put(target, params={"inbody": "true", "extract": "true"}, content=body.getvalue()).raise_for_status()


def small_ferry(url: str, folder: Path) -> None:
    ferry(url, "push", folder / "many", "-p", "BENCH", "-y", "--as", "files", "--subject", "S", "--resource", "MANY",
          state=folder.parent / "state")  # fmt: skip


def small_pyxnat(url: str, folder: Path) -> None:
    import pyxnat

    central = pyxnat.Interface(server=url, user=ADMIN[0], password=ADMIN[1])
    project = central.select.project("BENCH")
    project.insert()
    session = project.subject("S").experiment("S_MR1")
    session.create(experiments="xnat:mrSessionData")
    for path in sorted((folder / "many").iterdir()):
        session.resource("MANY").file(path.name).insert(str(path))
    central.disconnect()


def small_wrong(url: str, folder: Path) -> int:
    return wrong_in(url, f"{SESSION.format('S')}/resources/MANY", folder / "many", folder / "many")


# One large file


def make_large(folder: Path, part: int) -> None:
    folder.mkdir(parents=True)
    piece = os.urandom(1 << 20)
    with (folder / "large.bin").open("wb") as stream:
        for _ in range(1024 // part):
            stream.write(piece)


def large_bare(url: str, folder: Path) -> None:
    path = folder / "large.bin"
    with client(url) as http, path.open("rb") as stream:
        http.put("/data/projects/BENCH").raise_for_status()
        target = f"{session_for(http, 'S')}/resources/LARGE/files/large.bin?inbody=true"
        pieces = iter(lambda: stream.read(1 << 20), b"")
        http.put(target, content=pieces, headers={"Content-Length": str(path.stat().st_size)}).raise_for_status()


def large_ferry(url: str, folder: Path) -> None:
    ferry(url, "push", folder, "-p", "BENCH", "-y", "--as", "files", "--subject", "S", "--resource", "LARGE",
          state=folder.parent / "state")  # fmt: skip


def large_pyxnat(url: str, folder: Path) -> None:
    import pyxnat

    central = pyxnat.Interface(server=url, user=ADMIN[0], password=ADMIN[1])
    project = central.select.project("BENCH")
    project.insert()
    session = project.subject("S").experiment("S_MR1")
    session.create(experiments="xnat:mrSessionData")
    session.resource("LARGE").file("large.bin").insert(str(folder / "large.bin"))
    central.disconnect()


def large_wrong(url: str, folder: Path) -> int:
    return wrong_in(url, f"{SESSION.format('S')}/resources/LARGE", folder, folder)


# The first crossing again, and back


def make_many(folder: Path, part: int) -> None:
    make_images(folder, 50 // part, 2.0)


def many_wrong(url: str, folder: Path) -> int:
    wrong = 0
    for subject in sorted(folder.iterdir()):
        with client(url) as http:
            answer = http.get(f"{SESSION.format(subject.name)}/scans/ALL/files", params={"format": "json"})
        held = {row["Name"]: row["digest"] for row in answer.json()["ResultSet"]["Result"]}
        for path in subject.glob("*.nii.gz"):
            wrong += held.get(path.name) != hashlib.md5(path.read_bytes()).hexdigest()
    return wrong


def many_xnatpy(url: str, folder: Path) -> None:
    import xnat

    silent = redirect_stderr(io.StringIO())  # its progress bars
    with silent, xnat.connect(url, user=ADMIN[0], password=ADMIN[1], loglevel="ERROR") as central:
        central.put("/data/projects/BENCH")
        project = central.projects["BENCH"]
        for path in sorted(folder.iterdir()):
            subject = central.classes.SubjectData(parent=project, label=path.name)
            session = central.classes.MrSessionData(parent=subject, label=f"{path.name}_MR1")
            for number, image in enumerate(sorted(path.glob("*.nii.gz")), start=1):
                scan = central.classes.MrScanData(parent=session, id=str(number), type=image.name[:3])
                resource = scan.create_resource("NIFTI", format="NIFTI")
                resource.upload(str(image), image.name)


def pulled(folder: Path) -> Path:
    target = folder.parent / "pulled"
    shutil.rmtree(target, ignore_errors=True)
    return target


def pull_ferry(url: str, folder: Path) -> None:
    ferry(url, "pull", "BENCH", pulled(folder), "--as", "files", "--workers", "8", state=folder.parent / "state")


def pull_bare(url: str, folder: Path) -> None:
    target = pulled(folder)
    with client(url) as http:

        def fetch(subject: str) -> None:
            session = SESSION.format(subject)
            rows = http.get(f"{session}/scans/ALL/files", params={"format": "json"}).json()["ResultSet"]["Result"]
            for row in rows:
                path = target / subject / row["Name"]
                path.parent.mkdir(parents=True, exist_ok=True)
                with http.stream("GET", row["URI"]) as answer, path.open("wb") as stream:
                    for piece in answer.iter_bytes(1 << 20):
                        stream.write(piece)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(fetch, [path.name for path in sorted(folder.iterdir())]))


def pull_pyxnat(url: str, folder: Path) -> None:
    import pyxnat

    target = pulled(folder)
    central = pyxnat.Interface(server=url, user=ADMIN[0], password=ADMIN[1])
    for subject in sorted(folder.iterdir()):
        session = central.select.project("BENCH").subject(subject.name).experiment(f"{subject.name}_MR1")
        for scan in session.scans():
            for file in scan.resource("NIFTI").files():
                path = target / subject.name / file.label()
                path.parent.mkdir(parents=True, exist_ok=True)
                file.get(str(path))
    central.disconnect()


def pull_wrong(_url: str, folder: Path) -> int:
    target = folder.parent / "pulled"
    have = {hashlib.md5(path.read_bytes()).hexdigest() for path in target.rglob("*.nii.gz")}
    want = [hashlib.md5(path.read_bytes()).hexdigest() for path in folder.rglob("*.nii.gz")]
    return sum(digest not in have for digest in want)


CASES = {
    "many": Case(
        make_many,
        {"bare wire": on_the_wire, "xnatferry": with_xnatferry, "pyxnat": with_pyxnat, "xnatpy": many_xnatpy},
        wrong=many_wrong,
    ),
    "freesurfer": Case(
        make_subjects,
        {"bare wire": subjects_bare, "xnatferry": subjects_ferry, "zip -r, pyxnat": subjects_pyxnat},
        wrong=subjects_wrong,
    ),
    "small": Case(
        make_small, {"bare wire": small_bare, "xnatferry": small_ferry, "pyxnat": small_pyxnat}, wrong=small_wrong
    ),
    "large": Case(
        make_large, {"bare wire": large_bare, "xnatferry": large_ferry, "pyxnat": large_pyxnat}, wrong=large_wrong
    ),
    "again": Case(make_many, {"xnatferry": with_xnatferry}, before=with_xnatferry, wrong=many_wrong),
    "pull": Case(
        make_many,
        {"bare wire": pull_bare, "xnatferry": pull_ferry, "pyxnat": pull_pyxnat},
        before=on_the_wire,
        wrong=pull_wrong,
    ),
}


def measure(name: str, case: Case, top: Path, options: argparse.Namespace, latency: int) -> None:
    folder = top / name / "data"
    if not folder.exists():
        case.make(folder, 5 if options.quick else 1)
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    print(f"\n{name}: {len(files)} files, {size / 1e6:.0f} MB, {latency} ms")
    results = {}
    for who, act in case.contestants.items():
        # The slow ones are measured once: their ratio is far from any doubt.
        rounds = options.rounds if who in {"bare wire", "xnatferry"} else 1
        seconds = []
        for number in range(rounds):
            root = top / name / f"{who}-{latency}-{number}"
            shutil.rmtree(folder.parent / "state", ignore_errors=True)
            with served_archive(root) as url:
                if case.before is not None:
                    case.before(url, folder)
                with loopback(url, latency / 1e3) as proxy:
                    begun = time.perf_counter()
                    act(proxy.url, folder)
                    seconds.append(time.perf_counter() - begun)
                wrong = case.wrong(url, folder) if case.wrong is not None else 0
            shutil.rmtree(root)
        results[who] = (statistics.median(seconds), proxy.total, wrong)
    bare = results.get("bare wire", (None,))[0]
    ours = results["xnatferry"][0]
    print(f"  {'':<16}{'seconds':>9}{'requests':>10}{'wrong':>7}{'x bare':>9}{'xnatferry is':>14}")
    for who, (took, requests, wrong) in results.items():
        beside = f"{took / bare:>9.2f}" if bare else f"{'':>9}"
        faster = "" if who == "xnatferry" else f"{took / ours:>8.2f} x"
        print(f"  {who:<16}{took:>9.2f}{requests:>10}{wrong:>7}{beside}{faster:>14}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fifth of the data")
    parser.add_argument("--latency", type=int, nargs="*", default=[0], help="milliseconds")
    parser.add_argument("--rounds", type=int, default=3, help="the median counts")
    parser.add_argument("--only", default=",".join(CASES))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for latency in options.latency:
            for case in options.only.split(","):
                measure(case, CASES[case], Path(name), options, latency)


if __name__ == "__main__":
    main()
