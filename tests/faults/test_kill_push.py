"""A push is killed with SIGKILL at random points, before an archive that keeps parts of uploads; run again, it ends where an uninterrupted one does, and undo leads back.

``XNATFERRY_TORTURE=200`` says at how many points; the seed of a failure is in its message, and ``XNATFERRY_SEED`` repeats it.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from proxy import HangupError, cut_in_body, running_proxy

from xnatferry.client.remote import Remote
from xnatferry.client.settings import Connection, Secret
from xnatferry.transfer.runs import list_runs
from xnatferry.xnat.model import Address, Level

KILLS = int(os.environ.get("XNATFERRY_TORTURE", "20"))
SEED = int(os.environ.get("XNATFERRY_SEED", random.randrange(1 << 30)))
PHASES = ("before", "in the body", "cut", "done")


def script() -> str:
    return shutil.which("xnatferry", path=str(Path(sys.executable).parent)) or "xnatferry"


@dataclass
class Ground:
    """An archive in a process of its own, a proxy before it, and data to push."""

    proxy: object
    remote: Remote
    home: Path
    sources: dict[str, list[str]]
    reference: dict[str, object] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("XNAT", "XDG_"))}
        more = {"XNAT_USER": "admin", "XNAT_PASS": "admin-secret", "XNAT_HOST": self.proxy.url, "HOME": str(self.home)}
        return kept | more | {"XNATFERRY_STATE": str(self.home / "state"), "XNATFERRY_ROOT": str(self.home / "archive")}

    def start(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [script(), *arguments], env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def push(self, kind: str, project: str) -> subprocess.Popen:
        return self.start("push", *self.sources[kind], "-p", project, "-y", "--workers", "3")

    def runs(self, project: str) -> list:
        return [run for run in list_runs(self.home / "state" / "runs") if run.attributes.get("project") == project]

    def state(self, project: str) -> object:
        """Everything of a project that is not the server's own number or date."""
        if self.remote.item(Address(project)) is None:
            return None
        found: dict[str, object] = {row["label"]: "subject" for row in self.remote.list_subjects(project)}
        for row in self.remote.list_sessions(project):
            session = Address(project, row["subject_label"], row["label"])
            found[f"{session.subject}/{session.session}"] = row["xsiType"]
            for scan in self.remote.list_scans(session):
                fields = self.remote.item(session.child(Level.SCAN, scan["ID"]))
                kept = {k: v for k, v in fields.items() if not k.lower().endswith("_id")}
                found[f"{session.session}/{scan['ID']}"] = kept
                for resource in self.remote.list_resources(session.child(Level.SCAN, scan["ID"])):
                    found[f"{session.session}/{scan['ID']}/{resource['label']}"] = resource["file_count"]
            for resource in self.remote.list_resources(session):
                found[f"{session.session}/{resource['label']}"] = resource["file_count"]
            files = [*self.remote.list_files(session), *self.remote.list_files(session, all_scans=True)]
            for file in files:
                found[f"{session.session}/{file.scan}/{file.resource}/{file.name}"] = (file.size_bytes, file.digest)
        return found


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    from xnatferry.samples import write_to

    folder = tmp_path_factory.mktemp("kills")
    images = folder / "images"
    maker = random.Random(1)
    sample = next(write_to(folder / "samples").nifti.rglob("*.nii.gz"))
    for subject in ("ann", "bob", "cid"):
        for kind in ("T1w", "T2w"):
            path = images / subject / f"{kind}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(sample.read_bytes() + _padding(maker))
    process = subprocess.Popen(
        [script(), "serve", "--strict", "--root", str(folder / "root"), "--port", "0", "--json"],
        env={**os.environ, "XNATFERRY_ADMIN_PASSWORD": "admin-secret"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        url = json.loads(process.stdout.readline())["url"]
        with running_proxy(url) as proxy, Remote(Connection(url, "admin", Secret("admin-secret"))) as remote:
            home = folder / "home"
            home.mkdir()
            sources = {
                "images": [str(images)],
                "results": [str(folder / "samples" / "freesurfer"), "--allow-incomplete"],
            }
            ground = Ground(proxy, remote, home, sources)
            for kind in sources:
                before = len(proxy.requests)
                process_of_push = ground.push(kind, f"REF_{kind}")
                assert process_of_push.wait(500) == 0, process_of_push.stdout.read()
                process_of_push.stdout.close()
                ground.requests[kind] = len(proxy.requests) - before
                ground.reference[kind] = ground.state(f"REF_{kind}")
            yield ground
    finally:
        process.terminate()
        process.stdout.close()
        process.wait(500)


def _padding(maker: random.Random) -> bytes:
    """Another member of the gzip stream, empty but for its name: the image stays valid and becomes another file."""
    import gzip
    import io

    out = io.BytesIO()
    name = "".join(maker.choices("abcdefghijklmnop", k=maker.choice([10, 200_000])))
    with gzip.GzipFile(name, "wb", fileobj=out, mtime=0):
        pass
    return out.getvalue()


def killed(ground: Ground, kind: str, project: str, point: int, phase: str) -> subprocess.Popen:
    """A push that is killed at its *point*-th request."""
    first = len(ground.proxy.requests)
    victim = SimpleNamespace(process=None)

    def strike(number, handler, seen):
        if number - first != point or victim.process is None:
            return
        if phase == "in the body":
            handler.read_body(seen, most=int(seen.headers.get("content-length", 0)) // 2)
        elif phase == "cut":
            with suppress(HangupError, OSError):
                cut_in_body(handler, seen)
        elif phase == "done":
            handler.forward(seen)
        victim.process.kill()
        raise HangupError

    ground.proxy.on_request = strike
    victim.process = ground.push(kind, project)
    victim.process.wait(500)
    victim.process.stdout.close()
    ground.proxy.on_request = lambda number, handler, seen: None
    return victim.process


def in_flight(ground: Ground, project: str) -> set[Address]:
    """Files that a killed run had begun and has no receipt for."""
    found = set()
    for run in ground.runs(project):
        done = {receipt.address for receipt in run.receipts()}
        begun = (Address.parse(a) for r in run.records() if r.get("record") == "began" for a in r["addresses"])
        found |= {address for address in begun if address not in done and address.file is not None}
    return found


@pytest.mark.timeout(20 + 15 * KILLS)
def test_killed_anywhere_a_push_goes_on_or_is_taken_back(ground):
    chance = random.Random(SEED)
    struck = Counter()
    for number in range(KILLS):
        kind = chance.choice(sorted(ground.sources))
        point = chance.randint(1, ground.requests[kind])
        phase = chance.choice(PHASES)
        project = f"K{SEED}_{number}"
        what = f"seed {SEED}, kill {number}: {kind}, request {point} of {ground.requests[kind]}, {phase}"
        if chance.random() < 0.5:
            ground.remote.ensure_session(Address(project, "zed", "zed_MR1")) if ground.remote.ensure_project(
                project
            ) else None
        before = ground.state(project)
        first = len(ground.proxy.requests)
        process = killed(ground, kind, project, point, phase)
        struck[process.returncode] += 1
        if number % 2:
            open_files = in_flight(ground, project)
            again = ground.push(kind, project)
            out, _ = again.communicate(timeout=500)
            assert again.returncode == 0, f"{what}\n{out}"
            after = ground.state(project)
            assert {k: v for k, v in after.items() if not k.startswith("zed")} == ground.reference[kind], what
            _nothing_sent_twice(ground, first, open_files, what)
        else:
            for run in ground.runs(project):
                undone = ground.start("undo", run.name, "-y", "--remove-project")
                out, _ = undone.communicate(timeout=500)
                assert undone.returncode == 0, f"{what}\n{out}"
            assert ground.state(project) == before, what
    print(f"\nkilled {struck[-9]} of {KILLS}; seed {SEED}")
    assert struck[-9] >= KILLS // 2


def _nothing_sent_twice(ground, first, open_files, what):
    """Every file is stored once, but for those that were on their way when the process died."""
    open_paths = {address.path for address in open_files}
    open_resources = {f"{address.parent.path}/files/upload.zip" for address in open_files}
    stored = Counter(
        s.target.partition("?")[0] for s in ground.proxy.requests[first:] if s.method == "PUT" and s.stored
    )
    twice = {target for target, times in stored.items() if times > 1 and "/files/" in target}
    assert twice <= open_paths | open_resources, what
    assert not ground.proxy.crowded, what
