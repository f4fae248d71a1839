"""What XNAT 1.8.11 answered, exchange by exchange, against our archive.

Each exchange is equal, declared in ``declared.json`` with a reason, or listed in ``open-differences.txt``. Both lists are
exact: one that became equal, and one that is not listed, fails.
"""

import json
from pathlib import Path

import pytest
from comparing import HERE, compared, declared, scenarios, still_open

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", scenarios(), ids=lambda path: path.stem)
def test_recorded(archive, path):
    strict = archive.archive.settings.strict
    rules, listed = declared(strict=strict), still_open()
    failures = []
    for one in compared(archive.url, path):
        if one.equal and (one.name in rules or (one.name in listed and not strict)):
            failures += [f"  {one.name}: equal now; take it off the list"]
        elif not one.equal and one.name in rules and one.status != rules[one.name]:
            failures += [f"  {one.name}: declared with status {rules[one.name]}, answered {one.status}"]
        elif not one.equal and one.name not in rules and one.name not in listed:
            failures += [f"  {one.name}: {one.request[:160]}\n{one.text}"]
    assert not failures, "\n" + "\n".join(failures)


def test_the_lists_name_exchanges_that_exist_and_each_once():
    names = {
        f"{path.stem}/{number + 1}" if path.suffix == ".txt" else one["step"]
        for path in scenarios()
        for number, one in enumerate(json.loads(_recording(path).read_text(encoding="utf-8")))
    }
    lines = (HERE / "open-differences.txt").read_text(encoding="utf-8").splitlines()
    listed = [line.split()[0] for line in lines if not line.startswith("#")]
    assert listed == sorted(set(listed))
    assert set(listed) | set(declared(strict=False)) <= names
    assert not set(listed) & set(declared(strict=False))


def _recording(path):
    return path.parent.parent / "recorded-1.8.11" / f"{path.stem}.json"


def test_the_page_shows_the_table_of_declared_differences():
    table = json.loads((HERE / "declared.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "archive.md").read_text(encoding="utf-8")
    _, _, section = page.partition("<!-- declared differences: tests/golden/declared.json -->\n")
    shown = section.partition("<!-- end -->")[0].splitlines()
    rows = [f"| {rule['xnat']} | {rule['here']} | {rule['why']} |" for rule in table.values()]
    assert shown == ["| XNAT 1.8.11 | The local archive | Why |", "|---|---|---|", *rows]
    assert all(rule.get("exchanges") or rule.get("unless strict") for rule in table.values())
