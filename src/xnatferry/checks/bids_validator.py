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
    from collections.abc import Iterator, Mapping

    from xnatferry.sources.model import Finding

#: Programs by preference; the second one is that of npm or of Deno.
PROGRAMS: Final = ("bids-validator-deno", "bids-validator")
INSTALL: Final = "install it with: pip install 'xnatferry[bids-validator]'"
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
    for name in PROGRAMS:
        beside = Path(sys.executable).with_name(name)
        if beside.is_file():
            return beside
        if (elsewhere := shutil.which(name)) is not None:
            return Path(elsewhere)
    return None


def not_installed(root: Path) -> Finding:
    """That only our own checks were made, and how to install the official validator."""
    why = f"the official BIDS validator is not installed, so only the checks of xnatferry were made; {INSTALL}"
    return replace(found("BIDS21", why, root), severity=Severity.INFO)


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
            [str(program), str(root.absolute()), "--json"], capture_output=True, check=False
        )
        output = json.loads(done.stdout)["issues"]
        issues = output["issues"] if "issues" in output else list(_issues_before_2(output))
        codes = _by_code(issues, output.get("codeMessages") or {})
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


def _issues_before_2(output: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Issues of a validator older than 2.0, which lists files by error and warning, in the newer form."""
    for issue in [*output["errors"], *output["warnings"]]:
        about = {"code": issue["key"], "severity": issue["severity"], "issueMessage": issue.get("reason")}
        places = [file["file"]["relativePath"] for file in issue.get("files") or () if file.get("file")]
        yield from ({**about, "location": place} for place in places or [""])


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
