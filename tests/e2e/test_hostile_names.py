"""A thousand names that something on the way might trip over: each comes back as it was, or is refused beforehand."""

from __future__ import annotations

import csv
import random
import unicodedata
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest

import xnatferry
from tests.faults.proxy import running_proxy
from xnatferry import api
from xnatferry.planning.mapping import MappingRules
from xnatferry.results.pull_plan import files_layout, plan_pull
from xnatferry.results.pull_run import fetch_all
from xnatferry.results.remote_files import list_files_below
from xnatferry.server.archive import running_archive
from xnatferry.server.settings import ServerSettings
from xnatferry.transfer.events import Proof
from xnatferry.xnat.model import Address

SIGNS = (
    "%2F %2f %2B %00 %0a %5c %2e%2e %41 %C3%A9 %zz % %% + # ? & = ; , ' \" ` * [a] {b} | < > ~ ^ ! @ : \\ . .. ... - --"
)
CONTROL = ["\n", "\r\n", "\t", "\x07", "\x7f", "\x1b[31m", "\x85", "\x9b31m"]
LETTERS = "é e\u0301 ﬁ Å A\u030a ß ẞ İ \u0131 中文 🧠 👨\u200d👩\u200d👧 a\u0300\u0301\u0302 \u202egpj \u200f \u200b \ufeff \u2028 \u00a0 \U0010ffff \ufdd0 \ue000"
WORDS = (
    "select drop_table CON nul aux.h COM1 x_catalog.xml catalog.xml Thumbs.db desktop.ini __MACOSX ?format=json "
    "&inbody=true ;jsessionid=1 ALL NULL null true files resources scans %s ${x} $(x) {0} <b> &amp; .zip .tar.gz"
)
NASTY = [*SIGNS.split(), *CONTROL, *LETTERS.split(" "), *WORDS.split(), " ", "  ", "a/b"]


def hostile(rng: random.Random) -> str:
    """A name of up to three nasty pieces and perhaps a harmless one; now and then very long or in other spelling."""
    pieces = [rng.choice(NASTY) for _ in range(rng.choice((1, 1, 2, 3)))] + [rng.choice(("a", "T1", "x1", ""))]
    rng.shuffle(pieces)
    name = "".join(pieces).strip("/") or "z"
    how = rng.random()
    if how < 0.03:
        return name + rng.choice(("l", "ж", "🧠")) * rng.choice((40, 240, 300))
    spelling = {0: str.upper, 1: str.lower, 2: lambda text: unicodedata.normalize("NFD", text)}
    return spelling.get(int(how * 20) - 1, str)(name)


def write(path: Path, content: bytes) -> bool:
    """Write a new file; False where this disk does not take the name, or has it."""
    if ".." in path.parts or path.name == ".":
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as stream:
            stream.write(content)
    except OSError:
        return False
    return True


@pytest.fixture
def image() -> bytes:
    return nibabel.Nifti1Image(np.zeros((4, 4, 4), "uint8"), np.eye(4)).to_bytes()


@pytest.fixture
def collection(tmp_path: Path, image: bytes) -> Path:
    """A folder of 400 images, and a table that names 600 other files."""
    rng = random.Random(20260721)
    root = tmp_path / "in"
    made = 0
    while made < 400:
        person = hostile(rng) if rng.random() < 0.1 else f"p{made % 8}"
        made += write(root / "images" / person / f"{hostile(rng)}.nii", image[:-8] + made.to_bytes(8, "little"))
    rows: list[tuple[str, ...]] = []
    rooms: Counter[str] = Counter()
    while len(rows) < 600:
        name = f"other/{len(rows) % 7}/{hostile(rng)}.txt"
        if write(root / name, f"content {len(rows)}".encode()):
            # Twins of one spelling get resources of their own: in one they would stop everything.
            twin = unicodedata.normalize("NFC", Path(name).name).casefold()
            rows.append((name, f"q{len(rows) % 3}", f"R_{rooms[twin]}"))
            rooms[twin] += 1
    with (root / "table.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("file", "subject", "resource"), *rows])
    return root


@pytest.mark.slow
@pytest.mark.parametrize("strict", [False, True])
def test_a_thousand_hostile_names_come_back_or_are_refused_beforehand(collection, tmp_path, strict):
    """A strict archive accepts and sends names as 1.8.11 does."""
    settings = ServerSettings(root=tmp_path / "archive", strict=strict)
    with (
        running_archive(tmp_path / "archive", admin_password="admin-pw", settings=settings) as archive,
        running_proxy(archive.url) as proxy,
        xnatferry.connect(server=proxy.url, user="admin", password="admin-pw") as client,
    ):
        refused = sent = 0
        for source in (collection / "images", collection / "table.csv"):
            discovery = api.discover(source)
            plan = api.plan(discovery, client.remote, MappingRules("P", clean_labels=True))
            assert not plan.blocked, plan.blocked[0]
            assert all(refusal.reasons for refusal in plan.refusals)
            assert len(plan.refusals) + len(plan.files) == len(discovery.sources)
            result = api.push(plan, client.remote)
            assert not result.failures, result.failures[0]
            assert [ascii(str(v)) for v in result.verdicts if not v.proof.good] == []
            assert Counter(verdict.proof for verdict in result.verdicts) == {Proof.DIGEST: len(plan.files)}
            back = brought_back(client.remote, tmp_path / "back", plan)
            refused, sent = refused + len(plan.refusals), sent + len(plan.files)
            assert not back, back
            again = api.plan(discovery, client.remote, MappingRules("P", clean_labels=True))
            assert again.nothing_to_do
        bad = [
            f"{seen} {seen.status}" for seen in proxy.requests if seen.method != "GET" and seen.status not in {200, 201}
        ]
        assert bad == []
        # A plan looks whether things are there; whatever else is asked is answered.
        assert {seen.status for seen in proxy.requests if "/files/" in seen.target} <= {200, 201}
    assert refused + sent <= 1000
    assert 500 < sent < 900


def brought_back(remote, folder, plan) -> list[str]:
    """Files that did not come back under their own name with their own bytes."""
    address = Address("P")
    pulled = plan_pull(list_files_below(remote, address), folder, server=remote.connection.url, address=address)
    assert not pulled.refusals, pulled.refusals[0]
    assert fetch_all(pulled, remote).exit_code == 0
    lost = []
    for step in plan.files:
        here = folder.joinpath(*files_layout(step.address))
        source = step.payload.local.path
        if here.name != source.name or here.read_bytes() != source.read_bytes():
            lost.append(str(source))
    return lost


@pytest.mark.parametrize("twin", ["SCAN.txt", "sca\u0301n.txt"])
def test_twins_in_one_resource_stop_everything_with_both_names(ferry, tmp_path, twin):
    first = {"SCAN.txt": "scan.txt", "sca\u0301n.txt": "sc\u00e1n.txt"}[twin]
    for name in (first, twin):
        (tmp_path / name).write_text(name)
    (tmp_path / "t.csv").write_text(f"file,subject,resource\n{first},a,R\n{twin},a,R\n", encoding="utf-8")
    done = ferry("push", tmp_path / "t.csv", "-p", "P", "-y")
    assert done.code in {6, 7}
    assert first in done.text
    assert twin in done.text
    assert ferry("list").out.strip() == ""
