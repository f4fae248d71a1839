"""The checks of a FreeSurfer subject as rows: passed, found, or not possible."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xnatferry.checks.finding_catalog import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xnatferry.sources.model import Source

__all__ = ["CheckRow", "check_rows"]

#: What each check asks, and the files (below the subject) without which it cannot be asked.
_ASKED: Final[Mapping[str, tuple[str, str]]] = {
    "FS01": ("All files of a complete run are there", ""),
    "FS02": ("The run finished", ""),
    "FS03": ("The version is known", ""),
    "FS04": ("No file is damaged", ""),
    "FS05": ("Volumes share one grid", r"mri/.*\.mgz"),
    "FS06": ("The segmentation is complete", r"stats/aseg\.stats"),
    "FS07": ("Surfaces and their values fit together", r"surf/[lr]h\.(white|pial|thickness).*"),
    "FS08": ("Few holes in the surfaces before fixing", r"stats/aseg\.stats"),
    "FS09": ("Statistics can be read", r"stats/.*\.stats"),
    "FS10": ("Volumes and thickness are those of a brain", r"stats/.*\.stats"),
    "FS11": ("The Talairach transform is sound", r"mri/transforms/talairach.*"),
    "FS12": ("Signal to noise", r"stats/wmparc\.stats"),
    "FS13": ("The subject has one name", ""),
    "FS14": ("No link is left out", ""),
    "FS15": ("Logs do not tell user, host and folders", r"(scripts|stats)/.*"),
}


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One check.

    Attributes:
        id: Stable id, explained in docs/findings.md.
        asked: What it asks.
        result: ``passed``, ``not checked``, or the severity of what was found.
        messages: What was found.
    """

    id: str
    asked: str
    result: str
    messages: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """The row as JSON members."""
        return {"id": self.id, "check": self.asked, "result": self.result, "messages": list(self.messages)}


def check_rows(source: Source) -> tuple[CheckRow, ...]:
    """A row for every check, then one for each other finding."""
    names = [file.name.partition("/")[2] for file in source.files]
    rows = []
    for check_id, (asked, needed) in _ASKED.items():
        found = [finding for finding in source.findings if finding.id == check_id]
        if found:
            rows.append(CheckRow(check_id, asked, found[0].severity.value, tuple(finding.message for finding in found)))
        elif not source.files or (needed and not any(re.fullmatch(needed, name) for name in names)):
            rows.append(CheckRow(check_id, asked, "not checked", ("the files that it needs are not there",)))
        else:
            rows.append(CheckRow(check_id, asked, "passed"))
    others = [finding for finding in source.findings if finding.id not in _ASKED]
    rows += [CheckRow(f.id, CATALOGUE[f.id][1].capitalize(), f.severity.value, (f.message,)) for f in others]
    return tuple(rows)
