"""Every JSON line that a command prints is as docs/json.md says, and every kind that stands there is printed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections import defaultdict
from pathlib import Path

from tests.e2e.conftest import write_image

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "json.md"
TYPES = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "list": list,
    "object": dict,
    "null": type(None),
}


def documented() -> dict[str, list[dict[str, tuple[bool, str]]]]:
    """Kind of record to its forms; a form is member to (may be absent, type)."""
    found = defaultdict(list)
    for section in re.split(r"^### ", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        form = {}
        for name, kind in re.findall(r"^\| (\w+\??) \| ([a-z ]+) \|", body, flags=re.MULTILINE):
            if name != "member":
                form[name.rstrip("?")] = (name.endswith("?"), kind)
        for kind in re.sub(r"\(.*\)", "", heading).split(","):
            found[kind.strip()].append(form)
    return found


def problem(record: dict, form: dict[str, tuple[bool, str]]) -> str:
    members = record.keys() - {"record"}
    if more := members - form.keys():
        return f"not documented: {sorted(more)}"
    for name, (optional, kind) in form.items():
        if name not in record:
            if not optional:
                return f"{name} is missing"
            continue
        allowed = [TYPES[word] for word in kind.split(" or ")]
        value = record[name]
        if not any(isinstance(value, t) for t in allowed) or (isinstance(value, bool) and bool not in allowed):
            return f"{name} is {value!r}, not {kind}"
    return ""


def test_every_record_is_as_documented(ferry, images, tmp_path):
    forms = documented()
    seen = set()

    def watch(ended, code=0):
        assert ended.code == code, ended.text
        for record in ended.records:
            kind = record["record"]
            assert kind in forms, record
            problems = [problem(record, form) for form in forms[kind]]
            assert "" in problems, (record, problems)
            seen.add((kind, problems.index("")))
        return ended.records

    broken = images / "bob" / "broken.nii.gz"
    broken.write_bytes(b"no image")
    watch(ferry("check", images, "--json"), 7)
    watch(ferry("plan", images, "-p", "P", "--json"), 7)
    broken.unlink()
    run = watch(ferry("push", images, "-p", "P", "-y", "--json"))[-1]["run"]
    watch(ferry("push", images, "-p", "P", "-y", "--json"))
    watch(ferry("verify", images, "-p", "P", "--deep", "--json"))
    watch(ferry("verify", run, "--json"))
    write_image(images / "ann" / "T1w.nii.gz", seed=99)
    watch(ferry("push", images, "-p", "P", "-y", "--json"), 6)
    second = watch(
        ferry("push", images, "-p", "P", "-y", "--on-conflict", "overwrite", "--quality", "questionable",
              "--update-fields", "--backup", "--record", "--json")
    )[-1]["run"]  # fmt: skip
    watch(ferry("runs", "--json"))
    watch(ferry("runs", second, "--json"))
    watch(ferry("list", "--json"))
    watch(ferry("list", "P", "--json"))
    watch(ferry("list", "P/ann/ann_MR1", "--json"))
    watch(ferry("list", "P/ann/ann_MR1/scans/1/resources/NIFTI", "--json"))
    watch(ferry("list", "NOWHERE", "--json"), 4)
    watch(ferry("whoami", "--json"))
    watch(ferry("remove", "P/bob/bob_MR1/scans/1", "--remove-files", "-y", "--json"))
    watch(ferry("undo", second, "-y", "--json"))
    watch(ferry("runs", "--json"))
    watch(ferry("selftest", "-p", "SCRATCH", "-y", "--json"))
    process = subprocess.Popen(
        ferry.command("serve", "--root", tmp_path / "root", "--port", "0", "--json"),
        env=ferry.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    serving = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=500)
    assert problem(serving, forms["serving"][0]) == ""
    seen.add(("serving", 0))
    promised = {(kind, index) for kind, all_of in forms.items() for index in range(len(all_of))}
    assert promised - seen - {("assessor", 0)} == set(), "documented, and never printed"
