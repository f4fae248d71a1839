"""Check, push, pull and compare every dataset of a folder; write one row for each.

    git clone https://github.com/bids-standard/bids-examples
    python bench/public_datasets.py bids-examples -o table.tsv [--allow-incomplete] [--only NAME ...] [--at-once 2]

Every folder with a `dataset_description.json` is one dataset. It is checked, pushed to a local archive that is removed
at the end, pulled with `--as bids`, and compared byte for byte. Columns: name, files, result, reason, seconds.

    identical    every file came back with its bytes
    incomplete   files did not come back, and all of them were refused; reason: their number, ids of the errors
    refused      nothing was pushed; reason: ids of the errors
    WRONG        other bytes, files that are missing or new without a word, or a command that failed; reason: which

The exit code is 1 if a row is WRONG.
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
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from served import ADMIN, FERRY, served_archive

#: Left out of an upload on purpose (docs/bids.md); the push says so in BIDS14.
NOT_DATA = {".git", "__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"}
DONE, REFUSED = 0, 7


@dataclass(frozen=True)
class Row:
    name: str
    files: int
    result: str
    reason: str
    seconds: float


@dataclass(frozen=True)
class Ended:
    code: int
    records: list[dict]
    text: str

    def errors(self) -> str:
        """Ids of the errors that were found, with their numbers."""
        ids = Counter(
            record["id"] for record in self.records if record["record"] == "finding" and record["severity"] == "error"
        )
        return ", ".join(f"{number} {name}" for name, number in sorted(ids.items()))

    def refused(self) -> Counter[str]:
        """Names of the files of refused sources."""
        sources = (record for record in self.records if record["record"] == "source" and record["refused"])
        return Counter(file["name"].rpartition("/")[2] for source in sources for file in source["files"])


def ferry(url: str, state: Path, *arguments: object) -> Ended:
    command = [FERRY, *map(str, arguments), "--json"]
    environment = os.environ | {"XNAT_HOST": url, "XNAT_USER": ADMIN[0], "XNAT_PASS": ADMIN[1]}
    environment["XNATFERRY_STATE"] = str(state)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return Ended(done.returncode, records, done.stderr)


def digests(root: Path) -> dict[str, str]:
    found = {}
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if path.is_file() and not NOT_DATA & set(parts) and not path.name.startswith("._"):
            found["/".join(parts)] = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    return found


def round_trip(root: Path, *, url: str, top: Path, options: list[str]) -> Row:
    start = time.perf_counter()
    files = digests(root)

    def row(result: str, reason: str = "") -> Row:
        return Row(root.name, len(files), result, reason, time.perf_counter() - start)

    project = "".join(one if one.isalnum() else "_" for one in root.name)
    checked = ferry(url, top, "check", root, *options)
    pushed = ferry(url, top, "push", root, "-p", project, "--yes", *options)
    for name, ended in (("check", checked), ("push", pushed)):
        if ended.code not in {DONE, REFUSED} or "Traceback" in ended.text:
            return row("WRONG", f"{name} ended with {ended.code}: {ended.text.strip()[-300:]}")
    if checked.code != pushed.code:
        return row("WRONG", f"check ended with {checked.code}, push with {pushed.code}")
    back = top / "back" / root.name
    pulled = ferry(url, top, "pull", project, back, "--as", "bids")
    if pulled.code != DONE:
        nothing = pushed.code == REFUSED and not back.exists()
        return row("refused", checked.errors()) if nothing else row("WRONG", f"pull: {pulled.text.strip()[-300:]}")
    came = digests(back)
    missing, new = files.keys() - came.keys(), came.keys() - files.keys()
    other = sorted(name for name in files.keys() & came.keys() if files[name] != came[name])
    unsaid = Counter(name.rpartition("/")[2] for name in missing) - checked.refused()
    wrong = {"other bytes": other, "new": sorted(new), "missing and not refused": sorted(unsaid)}
    if any(wrong.values()):
        return row("WRONG", "; ".join(f"{len(names)} {what}: {names[0]}" for what, names in wrong.items() if names))
    return row("incomplete", f"{len(missing)} not uploaded: {checked.errors()}") if missing else row("identical")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of datasets")
    parser.add_argument("-o", "--output", type=Path, default=Path("public_datasets.tsv"), help="table to write")
    parser.add_argument("--only", nargs="*", default=[], help="names of datasets")
    parser.add_argument("--at-once", type=int, default=1, help="datasets at a time")
    parser.add_argument("--allow-incomplete", action="store_true", help="upload empty and truncated images")
    options = parser.parse_args()
    roots = [path for path in sorted(options.folder.iterdir()) if (path / "dataset_description.json").is_file()]
    roots = [path for path in roots if not options.only or path.name in options.only]
    passed_on = ["--sourcedata", *(["--allow-incomplete"] if options.allow_incomplete else [])]
    with (
        tempfile.TemporaryDirectory() as folder,
        served_archive(Path(folder) / "archive") as url,
        ThreadPoolExecutor(options.at_once) as pool,
        options.output.open("w", encoding="utf-8") as table,
    ):
        print("name", "files", "result", "reason", "seconds", sep="\t", file=table)
        results: Counter[str] = Counter()
        for row in pool.map(partial(round_trip, url=url, top=Path(folder), options=passed_on), roots):
            reason = " ".join(row.reason.split())
            print(row.name, row.files, row.result, reason, f"{row.seconds:.1f}", sep="\t", file=table, flush=True)
            results[row.result] += 1
    print(", ".join(f"{number} {result}" for result, number in sorted(results.items())))
    return 1 if results["WRONG"] else 0


if __name__ == "__main__":
    sys.exit(main())
