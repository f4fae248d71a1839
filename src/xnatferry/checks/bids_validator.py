"""The official BIDS validator, where it is installed (``pip install xnatferry[bids-validator]``)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from xnatferry.checks.finding_catalog import found, listed
from xnatferry.sources.model import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xnatferry.sources.model import Finding

__all__ = ["ValidatorReport", "find_validator", "run_validator"]

PROGRAM: Final = "bids-validator-deno"
#: Codes for images without voxels, which ``--allow-incomplete`` accepts.
_EMPTY_IMAGE_CODES: Final = frozenset({"EMPTY_FILE", "NIFTI_HEADER_UNREADABLE", "NIFTI_TOO_SMALL"})


@dataclass(frozen=True, slots=True)
class ValidatorReport:
    """Result of the official validator.

    Attributes:
        findings: One for each of its codes.
        content: Its report in JSON; empty if there is none.
    """

    findings: tuple[Finding, ...] = ()
    content: bytes = b""


def find_validator() -> Path | None:
    """The validator's program: beside this Python, else on the search path; None when it is not installed."""
    beside = Path(sys.executable).with_name(PROGRAM)
    if beside.is_file():
        return beside
    elsewhere = shutil.which(PROGRAM)
    return Path(elsewhere) if elsewhere is not None else None


def run_validator(program: Path, root: Path, *, force: bool, allow_incomplete: bool) -> ValidatorReport:
    """Validate a dataset.

    Args:
        program: The validator.
        root: The dataset.
        force: Whether its errors become warnings.
        allow_incomplete: Whether its errors about images without content become warnings.
    """
    try:
        done = subprocess.run(  # noqa: S603  # our own argument list, no shell
            [str(program), str(root.absolute()), "--format", "json"], capture_output=True, check=False
        )
        output = json.loads(done.stdout)["issues"]
        codes = _by_code(output["issues"], output.get("codeMessages") or {})
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        why = (
            f"the BIDS validator gave no report ({type(error).__name__}: {error}); only the checks of"
            " xnatferry were made"
        )
        return ValidatorReport((found("BIDS21", why, root),))
    findings = []
    for (severity, code), (places, message) in sorted(codes.items()):
        where = f": {listed(places)}" if places else ""
        finding = found("BIDS20" if severity == "error" else "BIDS21", f"{code}, {message}{where}", root)
        if force or (allow_incomplete and code in _EMPTY_IMAGE_CODES):
            finding = replace(finding, severity=Severity.WARNING)
        findings.append(finding)
    return ValidatorReport(tuple(findings), done.stdout)


def _by_code(
    issues: list[dict[str, Any]], code_messages: Mapping[str, str]
) -> dict[tuple[str, str], tuple[list[str], str]]:
    """Paths and message by severity and code."""
    places: dict[tuple[str, str], list[str]] = defaultdict(list)
    messages: dict[tuple[str, str], str] = {}
    for issue in issues:
        severity = str(issue.get("severity", "error"))
        key = ("error" if severity == "error" else "warning", str(issue["code"]))
        if place := str(issue.get("location") or "").lstrip("/"):
            places[key].append(place)
        text = str(code_messages.get(key[1]) or issue.get("issueMessage") or "no description")
        messages.setdefault(key, text.strip().split("\n")[0].rstrip("."))
    return {key: (sorted(set(places[key])), message) for key, message in messages.items()}
