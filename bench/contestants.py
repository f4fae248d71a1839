"""How each program carries each crossing; called by transfer.py, every time in a process of its own.

    python bench/contestants.py CROSSING WHO URL FOLDER

*wire* is the limit: the same bytes in as few requests as XNAT allows, with eight threads, and nothing checked. The
others are used as their documentation says. What this process imports is part of what is measured, as it is for who
runs a script; nothing else is imported.
"""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from served import ADMIN, ferry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx2

SESSION = "/data/projects/BENCH/subjects/{0}/experiments/{0}_MR1"


@contextmanager
def client(url: str, *, project: bool = True) -> Iterator[httpx2.Client]:
    import httpx2

    with httpx2.Client(base_url=url, auth=ADMIN, timeout=600) as http:
        http.post("/data/JSESSION")
        if project:
            http.put("/data/projects/BENCH").raise_for_status()
        yield http


@contextmanager
def pyxnat_project(url: str) -> Iterator[object]:
    import pyxnat

    central = pyxnat.Interface(server=url, user=ADMIN[0], password=ADMIN[1])
    project = central.select.project("BENCH")
    yield project
    central.disconnect()


def push(url: str, folder: Path, *words: str) -> None:
    ferry(url, "push", folder, "-p", "BENCH", "-y", "--workers", "8", *words, state=folder.parent / "state")


def packed(files: list[Path], base: Path) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for path in files:
            archive.write(path, path.relative_to(base))
    return body.getvalue()


def new_session(http: httpx2.Client, subject: str) -> str:
    session = SESSION.format(subject)
    http.put(session, params={"xsiType": "xnat:mrSessionData"}).raise_for_status()
    return session


def pulled(folder: Path) -> Path:
    target = folder.parent / "pulled"
    rmtree(target, ignore_errors=True)
    return target


# many: 50 subjects with 2 scans


def many_wire(url: str, folder: Path) -> None:
    with client(url) as http:

        def send(subject: Path) -> None:
            session = SESSION.format(subject.name)
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


def many_pyxnat(url: str, folder: Path) -> None:
    """The loop of the founding recipe, with subjects paired by name."""
    with pyxnat_project(url) as project:
        project.insert()
        for subject in sorted(folder.iterdir()):
            session = project.subject(subject.name).experiment(f"{subject.name}_MR1")
            session.create(experiments="xnat:mrSessionData")
            for number, path in enumerate(sorted(subject.glob("*.nii.gz")), start=1):
                scan = session.scan(str(number))
                scan.create(scans="xnat:mrScanData")
                kind = path.name.split(".")[0]
                said = {"type": kind, "series_description": kind, "quality": "usable"}
                scan.attrs.mset({f"xnat:mrScanData/{field}": value for field, value in said.items()})
                file = scan.resource("NIFTI").file(path.name)
                file.insert(str(path), content="NIFTI_RAW", format="NIFTI", overwrite=True)


def many_bxl(url: str, folder: Path) -> None:
    """The founding recipe in bxl."""
    import bxl.xnat

    with bxl.xnat.Connection(url, ADMIN) as central:
        project = f"{central.host}/data/projects/BENCH"
        central._put_resource(project, {"name": "BENCH"})
        for subject in sorted(folder.iterdir()):
            central._put_resource(f"{project}/subjects/{subject.name}")
            session = f"{project}/subjects/{subject.name}/experiments/{subject.name}_MR1"
            found = central._put_resource(session, {"xsiType": "xnat:mrSessionData"}).text
            for number, path in enumerate(sorted(subject.glob("*.nii.gz")), start=1):
                scan = f"{central.host}/data/experiments/{found}/scans/{number}"
                kind = path.name.split(".")[0]
                said = {"type": kind, "series_description": kind, "quality": "usable"}
                central._put_resource(scan, {"xsiType": "xnat:mrScanData", **said})
                nifti = {"format": "NIFTI", "content": "NIFTI_RAW"}
                central._put_resource(f"{scan}/resources/NIFTI", nifti)
                options = {**nifti, "extract": "false", "overwrite": "true"}
                central._put_file(f"{scan}/resources/NIFTI/files/{path.name}", str(path), options)


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


# freesurfer: 10 subjects of 340 files

FREESURFER = {"inbody": "true", "extract": "true", "content": "FREESURFER", "format": "MGZ"}


def freesurfer_wire(url: str, folder: Path) -> None:
    with client(url) as http:

        def send(subject: Path) -> None:
            body = packed([path for path in sorted(subject.rglob("*")) if path.is_file()], folder)
            target = f"{new_session(http, subject.name)}/resources/FREESURFER7/files/s.zip"
            http.put(target, params=FREESURFER, content=body).raise_for_status()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(send, sorted(folder.iterdir())))


def freesurfer_xnatferry(url: str, folder: Path) -> None:
    push(url, folder, "--as", "freesurfer", "--allow-incomplete", "--resource", "FREESURFER7")


def freesurfer_pyxnat(url: str, folder: Path) -> None:
    """The founding recipe: ``zip -r`` of every subject, then ``put_zip`` with extraction."""
    with pyxnat_project(url) as project:
        project.insert()
        for subject in sorted(folder.iterdir()):
            archive = folder.parent / f"{subject.name}.zip"
            subprocess.run(["zip", "-q", "-r", archive, subject.name], cwd=folder, check=True)
            session = project.subject(subject.name).experiment(f"{subject.name}_MR1")
            session.create(experiments="xnat:mrSessionData")
            session.resource("FREESURFER7").put_zip(str(archive), extract=True)
            archive.unlink()


def freesurfer_xnatctl(url: str, folder: Path) -> None:
    """Its commands, one after the other; a directory is zipped and extracted by the server."""

    def xnatctl(*words: object) -> None:
        command = [Path(sys.executable).with_name("xnatctl"), *map(str, words)]
        said = {"XNAT_URL": url, "XNAT_USER": ADMIN[0], "XNAT_PASS": ADMIN[1], "HOME": str(folder.parent)}
        subprocess.run(command, env={"PATH": "/usr/bin:/bin"} | said, stdout=subprocess.DEVNULL, check=True)

    xnatctl("auth", "login")
    xnatctl("project", "create", "BENCH")
    for subject in sorted(folder.iterdir()):
        session = f"{subject.name}_MR1"
        xnatctl("api", "put", SESSION.format(subject.name), "--params", "xsiType=xnat:mrSessionData")
        xnatctl("resource", "upload", "-P", "BENCH", session, "FREESURFER7", subject)


# small: one resource of 2,000 files


def small_wire(url: str, folder: Path) -> None:
    files = sorted((folder / "many").iterdir())
    with client(url) as http:
        target = f"{new_session(http, 'S')}/resources/MANY/files/s.zip"
        body = packed(files, folder / "many")
        http.put(target, params={"inbody": "true", "extract": "true"}, content=body).raise_for_status()


def small_xnatferry(url: str, folder: Path) -> None:
    push(url, folder / "many", "--as", "files", "--subject", "S", "--resource", "MANY")


def small_pyxnat(url: str, folder: Path) -> None:
    with pyxnat_project(url) as project:
        project.insert()
        session = project.subject("S").experiment("S_MR1")
        session.create(experiments="xnat:mrSessionData")
        for path in sorted((folder / "many").iterdir()):
            session.resource("MANY").file(path.name).insert(str(path))


# large: one file


def large_wire(url: str, folder: Path) -> None:
    path = folder / "large.bin"
    with client(url) as http, path.open("rb") as stream:
        target = f"{new_session(http, 'S')}/resources/LARGE/files/large.bin?inbody=true"
        pieces = iter(lambda: stream.read(1 << 20), b"")
        http.put(target, content=pieces, headers={"Content-Length": str(path.stat().st_size)}).raise_for_status()


def large_xnatferry(url: str, folder: Path) -> None:
    push(url, folder, "--as", "files", "--subject", "S", "--resource", "LARGE")


def large_pyxnat(url: str, folder: Path) -> None:
    with pyxnat_project(url) as project:
        project.insert()
        session = project.subject("S").experiment("S_MR1")
        session.create(experiments="xnat:mrSessionData")
        session.resource("LARGE").file("large.bin").insert(str(folder / "large.bin"))


# pull: the first crossing back


def pull_wire(url: str, folder: Path) -> None:
    target = pulled(folder)
    with client(url, project=False) as http:

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


def pull_xnatferry(url: str, folder: Path) -> None:
    ferry(url, "pull", "BENCH", pulled(folder), "--as", "files", "--workers", "8", state=folder.parent / "state")


def pull_pyxnat(url: str, folder: Path) -> None:
    target = pulled(folder)
    with pyxnat_project(url) as project:
        for subject in sorted(folder.iterdir()):
            session = project.subject(subject.name).experiment(f"{subject.name}_MR1")
            for scan in session.scans():
                for file in scan.resource("NIFTI").files():
                    path = target / subject.name / file.label()
                    path.parent.mkdir(parents=True, exist_ok=True)
                    file.get(str(path))


CONTESTANTS: dict[str, dict[str, Callable[..., None]]] = {
    "many": {
        "wire": many_wire,
        "xnatferry": push,
        "pyxnat": many_pyxnat,
        "bxl": many_bxl,
        "xnatpy": many_xnatpy,
    },
    "freesurfer": {
        "wire": freesurfer_wire,
        "xnatferry": freesurfer_xnatferry,
        "zip -r, pyxnat": freesurfer_pyxnat,
        "xnatctl": freesurfer_xnatctl,
    },
    "small": {"wire": small_wire, "xnatferry": small_xnatferry, "pyxnat": small_pyxnat},
    "large": {"wire": large_wire, "xnatferry": large_xnatferry, "pyxnat": large_pyxnat},
    "again": {"xnatferry": push},
    "pull": {"wire": pull_wire, "xnatferry": pull_xnatferry, "pyxnat": pull_pyxnat},
}

if __name__ == "__main__":
    crossing, who, address, place = sys.argv[1:]
    CONTESTANTS[crossing][who](address, Path(place))
