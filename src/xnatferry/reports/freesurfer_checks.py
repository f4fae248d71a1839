"""The checks of a FreeSurfer subject as rows: passed, failed, or not possible."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xnatferry.checks.finding_catalog import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xnatferry.sources.model import Source

__all__ = ["CheckRow", "check_rows"]

#: Description of each check, and the files (below the subject) that it needs.
_CHECKS: Final[Mapping[str, tuple[str, str]]] = {
    "FS01": ("All required files exist", ""),
    "FS02": ("The run finished", ""),
    "FS03": ("The version is known", ""),
    "FS04": ("No file is damaged", ""),
    "FS05": ("Volumes have one grid", r"mri/.*\.mgz"),
    "FS06": ("The segmentation is complete", r"stats/aseg\.stats"),
    "FS07": ("Surfaces and their values have the same vertices", r"surf/[lr]h\.(white|pial|thickness).*"),
    "FS08": ("Few surface defects before correction", r"stats/aseg\.stats"),
    "FS09": ("Statistics can be read", r"stats/.*\.stats"),
    "FS10": ("Volumes and thickness are in the usual range", r"stats/.*\.stats"),
    "FS11": ("The Talairach transform is plausible", r"mri/transforms/talairach.*"),
    "FS12": ("Image quality (contrast, signal to noise)", r"stats/wmparc\.stats"),
    "FS13": ("All files name the same subject", ""),
    "FS14": ("All links are uploaded", ""),
    "FS15": ("Logs contain no user, host and folders", r"(scripts|stats)/.*"),
}


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One check.

    Attributes:
        id: Stable id, explained in docs/findings.md.
        description: What is checked.
        result: ``passed``, ``not checked``, or the severity of what was found.
        messages: What was found.
    """

    id: str
    description: str
    result: str
    messages: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """The row as JSON members."""
        return {"id": self.id, "check": self.description, "result": self.result, "messages": list(self.messages)}


def check_rows(source: Source) -> tuple[CheckRow, ...]:
    """A row for every check, then one for each other finding."""
    names = [file.name.partition("/")[2] for file in source.files]
    rows = []
    for check_id, (description, needed) in _CHECKS.items():
        found = [finding for finding in source.findings if finding.id == check_id]
        if found:
            messages = tuple(finding.message for finding in found)
            rows.append(CheckRow(check_id, description, found[0].severity.value, messages))
        elif not source.files or (needed and not any(re.fullmatch(needed, name) for name in names)):
            rows.append(CheckRow(check_id, description, "not checked", ("required files are missing",)))
        else:
            rows.append(CheckRow(check_id, description, "passed"))
    others = [finding for finding in source.findings if finding.id not in _CHECKS]
    rows += [CheckRow(f.id, CATALOGUE[f.id][1].capitalize(), f.severity.value, (f.message,)) for f in others]
    return tuple(rows)
