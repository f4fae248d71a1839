"""One table of many subjects: seconds and requests of the first call, the second, and one after a change.

    python bench/stats.py [--subjects 200] [--files 330] [--latency 0 20] [--pyxnat 20]

Every subject is the FreeSurfer 7.4.1 sample with its real statistics, beside so many small files that a listing is as
long as that of a real run. The archive runs in a process of its own; requests are counted by a proxy that also adds the
latency. pyxnat's loop reads the first subjects, and its time is given for all.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import httpx2
from loopback import loopback
from served import ADMIN, served_archive

SAMPLE = Path(__file__).parents[1] / "tests" / "data" / "freesurfer7" / "sub-001"
TABLES = ("aseg", "aparc")


def packed(name: str, files: int, *, changed: bool = False) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((SAMPLE / "stats").iterdir()):
            content = path.read_bytes().replace(b"sub-001", name.encode())
            archive.writestr(f"{name}/stats/{path.name}", content + (b"# changed\n" if changed else b""))
        for number in range(0 if changed else files):
            archive.writestr(f"{name}/surf/lh.made-up.{number:03}", name)
    return out.getvalue()


def send(url: str, names: list[str], files: int, *, changed: bool = False) -> None:
    with httpx2.Client(base_url=url, auth=ADMIN, timeout=300) as http:
        http.post("/data/JSESSION")
        http.put("/data/projects/BENCH")

        def one(name: str) -> None:
            session = f"/data/projects/BENCH/subjects/{name}/experiments/{name}_MR1"
            http.put(f"{session}?xsiType=xnat:mrSessionData").raise_for_status()
            target = f"{session}/resources/FREESURFER7/files/{name}.zip?inbody=true&extract=true&overwrite=true"
            http.put(target, content=packed(name, files, changed=changed)).raise_for_status()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, names))


def with_xnatferry(url: str, table: str, folder: Path) -> None:
    script = Path(sys.executable).with_name("xnatferry")
    subprocess.run(
        [
            script,
            "stats",
            table,
            "BENCH",
            "-o",
            folder / f"{table}.csv",
            "-q",
            "-s",
            url,
            "-u",
            ADMIN[0],
            "--workers",
            "8",
        ],
        env=os.environ | {"XNAT_PASS": ADMIN[1], "XNATFERRY_CACHE": str(folder / "cache")},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def with_pyxnat(url: str, table: str, names: list[str]) -> None:
    import pyxnat

    central = pyxnat.Interface(server=url, user=ADMIN[0], password=ADMIN[1])
    for name in names:
        session = central.select.project("BENCH").subject(name).experiment(f"{name}_MR1")
        getattr(session.resource("FREESURFER7"), table)()
    central.disconnect()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subjects", type=int, default=200)
    parser.add_argument("--files", type=int, default=330, help="further files of each subject")
    parser.add_argument("--latency", type=int, nargs="*", default=[0, 20], help="milliseconds")
    parser.add_argument("--pyxnat", type=int, default=20, help="subjects that pyxnat reads")
    args = parser.parse_args()
    names = [f"s{number:03}" for number in range(args.subjects)]
    with tempfile.TemporaryDirectory() as name, served_archive(Path(name) / "archive") as url:
        folder = Path(name)
        send(url, names, args.files)
        print(f"{args.subjects} subjects, {args.files + 19} files each\n")
        print(f"{'latency':>8} {'table':<6} {'call':<22}{'seconds':>8}{'requests':>10}{'x pyxnat':>9}")
        for latency in args.latency:
            for table in TABLES:
                found = {}
                with loopback(url, latency / 1e3) as proxy:

                    def measured(act, *arguments, proxy=proxy, table=table):
                        proxy.requests.clear()
                        started = time.perf_counter()
                        act(proxy.url, table, *arguments)
                        return time.perf_counter() - started, proxy.total

                    part = names[: args.pyxnat]
                    whole = len(names) / len(part)
                    seconds, requests = measured(with_pyxnat, part)
                    found["pyxnat loop"] = (seconds * whole, round(requests * whole))
                    here = folder / f"{latency}-{table}"
                    here.mkdir()
                    found["xnatferry, first"] = measured(with_xnatferry, here)
                    found["xnatferry, second"] = measured(with_xnatferry, here)
                    send(url, names[:1], args.files, changed=True)
                    found["xnatferry, one changed"] = measured(with_xnatferry, here)
                    send(url, names[:1], args.files)
                for who, (seconds, requests) in found.items():
                    ratio = found["pyxnat loop"][0] / seconds
                    print(f"{latency:>5} ms {table:<6} {who:<22}{seconds:>8.2f}{requests:>10}{ratio:>9.1f}", flush=True)


if __name__ == "__main__":
    main()
