"""What checks found in local data, as text and as JSON records."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.text import Text

from xnatferry.sources.model import Severity
from xnatferry.wording import EXAMPLES, counted, human_bytes, one_or_many, shortened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xnatferry.sources.model import Discovery, Finding

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "dim"}
_NOUNS = {
    "nifti": "image",
    "freesurfer": "FreeSurfer subject",
    "bids": "BIDS resource",
    "table": "row",
    "files": "folder",
}


def discovery_line(discovery: Discovery) -> str:
    """One sentence: what was read."""
    noun = _NOUNS.get(discovery.kind.value, "source")
    size = human_bytes(sum(source.size_bytes for source in discovery.sources))
    subjects = len({source.claims.subject for source in discovery.sources if source.claims.subject})
    of = f" of {counted(subjects, 'subject')}" if subjects else ""
    how = ", ".join(filter(None, (f"read as {discovery.kind.value}", discovery.reading)))
    return f"{discovery.root}: {counted(len(discovery.sources), noun)}{of}, {size} ({how})"


def source_lines(discovery: Discovery) -> Iterator[Text]:
    """One line a source: its path, what it is, whether a check found an error."""
    for source in discovery.sources:
        sign, style = ("!", "bold red") if source.refused else ("✓", "green")
        line = Text.assemble((sign, style), " ", source.relative)
        claims = source.claims
        place = " / ".join(part for part in (claims.subject, claims.session, claims.type or source.version) if part)
        line.append(f"  {place}  {counted(len(source.files), 'file')}, {human_bytes(source.size_bytes)}", style="dim")
        yield line


def finding_lines(findings: Sequence[Finding], *, everything: bool) -> Iterator[Text]:
    """Errors and warnings, most severe first, three examples of each kind; *everything* lists all, and the notes."""
    for severity in Severity:
        if severity is Severity.INFO and not everything:
            continue
        of_kind: dict[str, dict[str, list[Finding]]] = {}
        for finding in findings:
            if finding.severity is severity:
                of_kind.setdefault(finding.id, {}).setdefault(finding.message, []).append(finding)
        for finding_id, alike in of_kind.items():
            head = Text(f"{severity.value} {finding_id} ", style=_STYLES[severity])
            if everything:
                yield from (_line(head, one) for group in alike.values() for one in group)
                continue
            for group in list(alike.values())[:EXAMPLES]:
                more = f" (and {len(group) - 1:,} more; -v lists all)" if len(group) > 1 else ""
                yield _line(head, group[0], more)
            if hidden := [one for group in list(alike.values())[EXAMPLES:] for one in group]:
                yield Text.assemble(head, (f"{len(hidden):,} more of this kind; -v lists all", "dim"))
    counts = Counter(finding.severity for finding in findings)
    if counts:
        summary = ", ".join(counted(counts[severity], _noun(severity)) for severity in Severity if counts[severity])
        hidden_notes = 0 if everything else counts[Severity.INFO]
        yield Text(summary + (f" (-v shows {one_or_many(hidden_notes, 'it', 'them')})" if hidden_notes else ""))


def _line(head: Text, finding: Finding, more: str = "") -> Text:
    where = f"{finding.where}: " if finding.where else ""
    return Text.assemble(head, shortened(where + finding.message, len(head) + len(more)), (more, "dim"))


def _noun(severity: Severity) -> str:
    return "note" if severity is Severity.INFO else severity.value


def source_records(discovery: Discovery) -> Iterator[dict[str, object]]:
    """Each source, then each finding."""
    for source in discovery.sources:
        yield {
            "record": "source",
            "kind": source.kind.value,
            "path": str(source.path),
            "relative": source.relative,
            "refused": source.refused,
            "files": [
                {"name": file.name, "size_bytes": file.size_bytes, "digest": file.digest} for file in source.files
            ],
            "claims": {name: value for name in source.claims.__slots__ if (value := getattr(source.claims, name))},
            "facts": dict(source.attributes),
            "version": source.version,
        }
    for finding in discovery.all_findings:
        yield {"record": "finding", **finding.to_dict()}


def discovery_record(discovery: Discovery, exit_code: int) -> dict[str, object]:
    """The counts of a check."""
    counts = Counter(finding.severity.value for finding in discovery.all_findings)
    return {
        "record": "check",
        "kind": discovery.kind.value,
        "root": str(discovery.root),
        "sources": len(discovery.sources),
        "refused": sum(source.refused for source in discovery.sources),
        "findings": dict(counts),
        "size_bytes": sum(source.size_bytes for source in discovery.sources),
        "exit_code": exit_code,
    }
