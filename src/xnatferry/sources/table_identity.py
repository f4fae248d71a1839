"""Whether the labels of a mapping table name the right people: spreadsheets drop leading zeros, and rows get mixed."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from xnatferry.checks.finding_catalog import found
from xnatferry.sources.path_layouts import entities_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from xnatferry.sources.model import Finding

    Rows = Iterable[tuple[int, Mapping[str, str]]]
    """Line and cells of each row."""

_ZEROS: Final = re.compile(r"(?<![0-9])0+(?=[0-9])")
#: A label and the cells that say among which rows it is compared.
_LABELS: Final = (("subject", ()), ("session", ("subject",)), ("scan", ("subject", "session")))


def identity_findings(table: Path, rows: Rows) -> Iterator[tuple[int, Finding]]:
    """Line and finding of each row whose labels differ from its path or from other rows in a suspicious way."""
    rows = list(rows)
    for label, among in _LABELS:
        alike: dict[tuple[str, ...], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for line, cells in rows:
            if text := cells.get(label):
                place = (*(cells.get(name, "") for name in among), _without_zeros(text))
                alike[place][text].append(line)
        for spellings in alike.values():
            if len(spellings) > 1:
                shown = ", ".join(sorted(spellings))
                why = f"{label}s {shown} differ only in zeros; a spreadsheet may have dropped zeros, correct them"
                yield from (
                    (line, found("TAB14", why, table, line=line)) for each in spellings.values() for line in each
                )
    subjects = {cells["subject"] for _, cells in rows if "subject" in cells}
    for line, cells in rows:
        if (problem := _path_problem(cells, subjects)) is not None:
            yield line, found(*problem, table, line=line)


def _path_problem(cells: Mapping[str, str], subjects: set[str]) -> tuple[str, str] | None:
    """Finding id and message if the path of a row names another subject than its cell."""
    subject, path = cells.get("subject"), cells.get("file")
    if subject is None or path is None:
        return None
    named = entities_of(path).get("sub")
    own = subject.removeprefix("sub-")
    # The first part of a file's name is a label as well: P1_T1.nii.gz.
    *folders, file = re.split(r"[/\\]", path)
    parts = [*folders, re.split(r"[_.]", file)[0]] if named is None else [named]
    if (
        own in parts
        or subject in parts
        or any(re.search(rf"(?<![0-9A-Za-z]){re.escape(one)}(?![0-9A-Za-z])", own) for one in parts)
    ):
        return None
    for part in parts:
        if _without_zeros(part) == _without_zeros(own):
            why = f"subject {subject!r} and path ({part}) differ only in zeros; correct the cell"
            return "TAB14", why
    other = named or next((part for part in parts if part in subjects), None)
    if other is None:
        return None
    return "TAB13", f"the cell names subject {subject!r}, the path {other!r}; check that it is the right subject"


def _without_zeros(label: str) -> str:
    return _ZEROS.sub("", label)
