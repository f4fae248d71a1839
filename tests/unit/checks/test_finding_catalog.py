"""Ids are a promise: every one that the code gives is in the catalogue and explained in docs/findings.md."""

import re
from pathlib import Path

import xnatferry
from xnatferry.checks.finding_catalog import CATALOGUE

ROOT = Path(__file__).resolve().parents[3]
ROW = re.compile(r"^\| ((?:NII|SID|DWI|PRV|BIDS|PIC|TAB|FS|FIL|FLD|TYP)\d\d) \| (\w+) \|", re.MULTILINE)


def test_the_page_explains_every_id_with_its_severity():
    explained = ROW.findall((ROOT / "docs" / "findings.md").read_text(encoding="utf-8"))
    assert explained == [(finding_id, severity.value) for finding_id, (severity, _) in CATALOGUE.items()]


def test_every_id_in_the_catalogue_is_given_somewhere_and_none_besides():
    house = Path(xnatferry.__file__).parent
    rooms = [house / room for room in ("sources", "checks", "planning", "results")]
    modules = [path for room in rooms for path in room.rglob("*.py")]
    text = "".join(path.read_text(encoding="utf-8") for path in modules if path.name not in {"catalogue.py", "base.py"})
    given = set(re.findall(r'"((?:NII|SID|DWI|PRV|BIDS|PIC|TAB|FS|FIL|FLD|TYP)\d\d)"', text))
    assert given == set(CATALOGUE)
