"""Checks of a BIDS dataset as a whole: its description, its names, its tables against its folders."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from xnatferry.checks.finding_catalog import found, listed
from xnatferry.xnat.custom_fields import custom_name
from xnatferry.xnat.datatypes import resolve
from xnatferry.xnat.values import ValueProblem, normal_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from xnatferry.sources.model import Finding

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
        if custom_name(path) is not None and value.strip():  # scans have none in the schema
            kept[path] = value
            continue
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
        return [
            found(
                "BIDS03",
                f"{' and '.join(missing)} missing, which BIDS requires; add {'it' if len(missing) == 1 else 'them'}",
                path,
            )
        ]
    return []


def check_table_header(path: Path) -> list[Finding]:
    """Whether the first line of a table names columns; tables of motion and ``.tsv.gz`` have no such line.

    Other programs would take the first row of data for names.
    """
    try:
        with path.open("rb") as stream:
            first = stream.readline(_HEADER_LIMIT_BYTES)
    except OSError as error:
        return [found("BIDS17", f"the table cannot be read ({error.strerror}); check its permissions", path)]
    cells = [cell.strip() for cell in first.decode("utf-8-sig", errors="replace").split("\t")]
    needed = _REQUIRED.get(path.stem.rpartition("_")[2])
    if not any(cells):
        why = "the table is empty; BIDS requires a header line with the column names"
    elif any(_NUMBER.fullmatch(cell) for cell in cells):
        why = "the header line is missing (the first line contains numbers); add the column names"
    elif needed is not None and needed not in cells:
        why = f"the header has no column {needed}, which BIDS requires; cells are separated by tabs"
    else:
        return []
    return [found("BIDS22", why, path, line=1)]


def case_duplicates(relatives: Iterable[str], root: Path) -> list[Finding]:
    """Files whose paths differ only in case: on many disks they are one file."""
    by_folded: dict[str, list[str]] = defaultdict(list)
    for relative in relatives:
        by_folded[relative.casefold()].append(relative)
    duplicates = [" and ".join(sorted(names)) for names in by_folded.values() if len(names) > 1]
    if not duplicates:
        return []
    why = f"paths differ only in case: {listed(duplicates)}; on Windows and macOS they are one file, rename one"
    return [found("BIDS05", why, root)]


def duplicate_labels(subjects: Iterable[str], root: Path) -> list[Finding]:
    """Subjects whose labels differ only in case."""
    by_folded: dict[str, list[str]] = defaultdict(list)
    for subject in subjects:
        by_folded[subject.casefold()].append(f"sub-{subject}")
    duplicates = [" and ".join(sorted(names)) for names in by_folded.values() if len(names) > 1]
    if not duplicates:
        return []
    return [found("BIDS07", f"subject labels differ only in case: {listed(duplicates)}; rename one", root)]


def broken_intended_for(sidecar: Mapping[str, Any], subject: str, files: frozenset[str], path: Path) -> list[Finding]:
    """``IntendedFor`` of a field map that names files which are not in the dataset.

    Args:
        sidecar: The merged sidecars of the field map.
        subject: Folder of its subject, ``sub-01``: old names are relative to it.
        files: Every path of the dataset.
        path: The field map.
    """
    value = sidecar.get("IntendedFor")
    names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
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
    return [found("BIDS12", f"IntendedFor names missing files: {listed(lost)}; correct the paths", path)]
