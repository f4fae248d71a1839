"""Checks of a BIDS dataset as a whole: its description, its names, its tables against its folders."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from xnatferry.checks.finding_catalog import found, listed
from xnatferry.xnat.datatypes import resolve
from xnatferry.xnat.values import ValueProblem, normal_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from xnatferry.sources.model import Finding

__all__ = [
    "case_twins",
    "check_description",
    "check_table_header",
    "fitting_fields",
    "intended_for_nowhere",
    "twin_labels",
]

_HEADER_LIMIT_BYTES: Final = 64 << 10
#: The column that tables of a suffix must have (BIDS 1.11, tabular files).
_REQUIRED: Final[Mapping[str, str]] = {
    "events": "onset",
    "channels": "name",
    "electrodes": "name",
    "optodes": "name",
    "aslcontext": "volume_type",
    "blood": "time",
}
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def fitting_fields(xsi_type: str, fields: Mapping[str, str]) -> dict[str, str]:
    """The fields that XNAT's schema has for *xsi_type* and whose values it would take."""
    kept: dict[str, str] = {}
    for path, value in fields.items():
        resolved = resolve(xsi_type, path.removeprefix(f"{xsi_type}/"))
        if resolved is None or not value.strip() or value.strip().upper() == "NULL":
            continue
        try:
            normal_value(resolved.node, value)
        except ValueProblem:
            continue
        kept[path] = value
    return kept


def check_description(path: Path, description: Mapping[str, Any]) -> list[Finding]:
    """What is missing in a readable ``dataset_description.json``."""
    missing = [key for key in ("Name", "BIDSVersion") if not isinstance(description.get(key), str)]
    if missing:
        return [found("BIDS03", f"it says no {' and no '.join(missing)}, which BIDS requires", path)]
    return []


def check_table_header(path: Path) -> list[Finding]:
    """Whether the first line of a table names columns; tables of motion and ``.tsv.gz`` have no such line.

    Other programs would take the first row of data for names.
    """
    try:
        with path.open("rb") as stream:
            first = stream.readline(_HEADER_LIMIT_BYTES)
    except OSError as error:
        return [found("BIDS17", f"it cannot be read ({error.strerror}); check its permissions", path)]
    cells = [cell.strip() for cell in first.decode("utf-8-sig", errors="replace").split("\t")]
    needed = _REQUIRED.get(path.stem.rpartition("_")[2])
    if not any(cells):
        why = "it is empty; a table has at least a line that names its columns"
    elif any(_NUMBER.fullmatch(cell) for cell in cells):
        why = "its first line holds numbers where columns are named: the header is missing; put it in front"
    elif needed is not None and needed not in cells:
        why = f"its header has no column {needed}, which BIDS requires; cells are separated by tabs"
    else:
        return []
    return [found("BIDS22", why, path, line=1)]


def case_twins(relatives: Iterable[str], root: Path) -> list[Finding]:
    """Files whose paths differ in case alone: on many disks they are one."""
    by_folded: dict[str, list[str]] = defaultdict(list)
    for relative in relatives:
        by_folded[relative.casefold()].append(relative)
    twins = [" and ".join(sorted(names)) for names in by_folded.values() if len(names) > 1]
    if not twins:
        return []
    why = f"paths that differ in case alone would be one on many disks: {listed(twins)}"
    return [found("BIDS05", why, root)]


def twin_labels(subjects: Iterable[str], root: Path) -> list[Finding]:
    """Subjects whose labels differ in case alone."""
    by_folded: dict[str, list[str]] = defaultdict(list)
    for subject in subjects:
        by_folded[subject.casefold()].append(f"sub-{subject}")
    twins = [" and ".join(sorted(names)) for names in by_folded.values() if len(names) > 1]
    if not twins:
        return []
    return [found("BIDS07", f"subjects whose labels differ in case alone: {listed(twins)}; rename one", root)]


def intended_for_nowhere(sidecar: Mapping[str, Any], subject: str, files: frozenset[str], path: Path) -> list[Finding]:
    """``IntendedFor`` of a field map that names files which are not in the dataset.

    Args:
        sidecar: What the sidecars of the field map say.
        subject: Folder of its subject, ``sub-01``: old names are relative to it.
        files: Every path of the dataset.
        path: The field map.
    """
    said = sidecar.get("IntendedFor")
    names = [said] if isinstance(said, str) else said if isinstance(said, list) else []
    lost = []
    for name in names:
        text = str(name)
        place = text.removeprefix("bids::").removeprefix("/") if text.startswith("bids::") else f"{subject}/{text}"
        if text.startswith("bids:") and not text.startswith("bids::"):
            continue  # another dataset
        if place not in files and not any(file.startswith(f"{place}/") for file in files):
            lost.append(text)
    if not lost:
        return []
    return [found("BIDS12", f"IntendedFor names what is not there: {listed(lost)}", path)]
