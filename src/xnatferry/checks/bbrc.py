"""The rules of BBRC's validator (bbrc-validator 0.6) applied to a FreeSurfer subject: one line, for information only.

The rules are specific to one site: one literal build stamp, one kernel, a list of base names, and dates that no
imported run meets. Rules that need only the files are evaluated; the others are listed as not evaluated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from xnatferry.checks.finding_catalog import found
from xnatferry.freesurfer.stats_file import StatisticsError, read_volumes
from xnatferry.freesurfer.versions import major_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xnatferry.checks.freesurfer import Run
    from xnatferry.sources.model import Finding

#: End of ``scripts/build-stamp.txt`` that ``HasCorrectFreeSurferVersion`` requires.
_STAMPS: Final = {"6": "v6.0.0-2beb96c", "7": "7.1.1-20200723-8b40551"}
#: What ``HasCorrectOSVersion`` requires in line 7 of ``scripts/recon-all.env``.
_KERNEL: Final = "4.4.120-92.70-default"
#: Number of names in its item list, by major version.
_ITEMS: Final = {"6": 310, "7": 336}
_SUBFIELDS: Final = {"6": "v10", "7": "v21"}


def bbrc_line(run: Run) -> Finding:
    """Which of the validator's tests would pass and fail."""
    major = major_of(run.version or "")
    if run.fastsurfer or major not in _STAMPS:
        why = "the BBRC validator has no tests for this version (only for FreeSurfer 6 and 7)"
        return found("FS24", why, run.where)
    lines = run.text("scripts/recon-all.env").splitlines()
    names = len({name.rpartition("/")[2] for name in run.files})
    verdicts = {
        "HasCorrectFreeSurferVersion": run.text("scripts/build-stamp.txt").strip().endswith(_STAMPS[major]),
        "HasCorrectOSVersion": len(lines) > 6 and _KERNEL in lines[6],
        "IsT1OnlyHippocampalSegmentation": _has_subfields(run, major),
        "AreCAVolumesConsistent": _ordered(run),
    }
    if names < _ITEMS[major]:  # more names than that may still lack one of the list
        verdicts["HasCorrectItems"] = False
    parts = [
        f"{word} {', '.join(chosen)}"
        for word, passed in (("passed:", True), ("failed:", False))
        if (chosen := [name for name, verdict in verdicts.items() if verdict is passed])
    ]
    left = "" if "HasCorrectItems" in verdicts else "HasCorrectItems, "
    why = (
        f"BBRC validator rules: {'; '.join(parts)}; IsFreeSurferTimewiseConsistent fails for every imported run;"
        f" not evaluated: {left}pictures and norms"
    )
    seen = f"{sum(v is True for v in verdicts.values())} of {len(verdicts)} passed"
    return found("FS24", why, run.where, seen=seen)


def _has_subfields(run: Run, major: str) -> bool:
    names = [f"mri/{side}.hippoSfVolumes-T1.{_SUBFIELDS[major]}.txt" for side in ("lh", "rh")]
    return all(name in run.files for name in names) and "scripts/hippocampal-subfields-T1.log" in run.files


def _ordered(run: Run) -> bool | None:
    """Whether CA1 > CA4 > CA3 on both sides, head and body together; None without subfields."""
    tables = [name for name in run.files if re.fullmatch(r"mri/[lr]h\.hippoSfVolumes-T1\.v\d+\.txt", name)]
    if not tables:
        return None
    for name in tables:
        try:
            volumes = read_volumes(run.files[name].text or b"")
        except StatisticsError:
            return False
        if not _volume(volumes, "CA1") > _volume(volumes, "CA4") > _volume(volumes, "CA3"):
            return False
    return True


def _volume(volumes: Mapping[str, float], field: str) -> float:
    return sum(mm3 for name, mm3 in volumes.items() if name == field or name.startswith(f"{field}-"))
