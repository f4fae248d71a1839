"""A plan as a file: JSON lines without secrets, for a later push.

{"xnatferry_plan": 4, "made": "2026-01-31T12:00:00Z", "server": "https://...", "project": "BRAIN", ..., "records": 1}
{"record": "step", "address": "BRAIN/sub01", "decision": "create"}

It is written and read line by line: a plan may have hundreds of thousands of steps.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from pathlib import Path
from sys import intern
from typing import TYPE_CHECKING, Any, Final

from xnatferry.durable import replacing
from xnatferry.errors import UsageError
from xnatferry.planning.plan import Decision, OnConflict, Payload, Plan, Refusal, Step, Transport
from xnatferry.sources.model import Finding, LocalFile, Made, Scrub, ScrubKind, Severity
from xnatferry.xnat.interning import interned, no_fields
from xnatferry.xnat.model import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

#: Increased when an older reader would misunderstand the format. Versions 1 to 3 were one JSON object.
PLAN_VERSION = 4

_MARK = "xnatferry_plan"


def is_plan_file(path: Path) -> bool:
    """Whether *path* is a stored plan, by its first bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return _MARK.encode() in stream.read(200)


def write_plan(plan: Plan, path: Path, *, made: str) -> None:
    """Write *plan* to *path* atomically.

    Args:
        plan: The plan.
        path: Where; an existing file is replaced.
        made: Date and time of the plan, ISO 8601.

    Raises:
        OSError: It cannot be written.
    """
    with (
        replacing(path) as part,
        part.open("w", encoding="utf-8", errors="surrogatepass") as stream,  # names of refused files, as they are
    ):
        stream.writelines(plan_to_lines(plan, made=made))


def read_plan(path: Path) -> Plan:
    """Read a stored plan.

    Raises:
        UsageError: It cannot be read, is not a plan, or was written by a newer version.
    """
    try:
        with path.open(encoding="utf-8", errors="surrogatepass") as stream:
            return plan_from_lines(stream)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def plan_to_lines(plan: Plan, *, made: str = "") -> Iterator[str]:
    """The lines of a stored plan, made on demand."""
    yield _line(
        {
            _MARK: PLAN_VERSION,
            "made": made,
            "server": plan.server,
            "local": plan.local,
            "project": plan.project,
            "on_conflict": plan.on_conflict.value,
            "records": sum(len(getattr(plan, member)) for member, _, _ in _RECORDS.values()),
        }
    )
    for kind, (member, to_dict, _) in _RECORDS.items():
        for one in getattr(plan, member):
            yield _line({"record": kind, **to_dict(one)})


def _line(found: Mapping[str, Any]) -> str:
    return json.dumps(found, ensure_ascii=False) + "\n"


def plan_from_lines(lines: Iterable[str]) -> Plan:
    """The plan that *lines* describe.

    Raises:
        UsageError: It is not a plan, or was written by a newer version.
    """
    lines = iter(lines)
    first = next(lines, "")
    try:  # versions 1 to 3 are one object
        about = json.loads(first if first.strip() != "{" else first + "".join(lines))
    except json.JSONDecodeError as error:
        raise UsageError(f"not a stored plan (not JSON: {error.msg} in line {error.lineno})") from error
    if not isinstance(about, dict) or _MARK not in about:
        raise UsageError("is no stored plan; 'xnatferry plan SOURCE -o FILE' writes one")
    if about[_MARK] not in range(1, PLAN_VERSION + 1):
        raise UsageError(f"is a plan of version {about[_MARK]}, this xnatferry reads {PLAN_VERSION} at most")
    number = 1
    try:
        found = {member: list(map(from_dict, about.get(member, ()))) for member, _, from_dict in _RECORDS.values()}
        for number, line in enumerate(lines, start=2):  # noqa: B007  # the error names the line
            record = json.loads(line)
            member, _, from_dict = _RECORDS[record["record"]]
            found[member].append(from_dict(record))
        plan = Plan(
            server=str(about["server"]),
            local=bool(about["local"]),
            project=str(about["project"]),
            on_conflict=OnConflict(about["on_conflict"]),
            **{member: tuple(elements) for member, elements in found.items()},
        )
    except (AttributeError, KeyError, TypeError, ValueError, UsageError) as error:
        why = f"line {number}: {type(error).__name__}: {error}"
        raise UsageError(f"the plan is damaged ({why}); create it again") from error
    if (read := sum(map(len, found.values()))) != about.get("records", read):
        raise UsageError(f"the plan is damaged (it has {read} of {about['records']} records); create it again")
    return plan


def _step_to_dict(step: Step) -> dict[str, Any]:
    found: dict[str, Any] = {"address": str(step.address), "decision": step.decision.name.lower()}
    if step.reason:
        found["reason"] = step.reason
    if step.xsi_type:
        found["xsi_type"] = step.xsi_type
    if step.fields:
        found["fields"] = dict(step.fields)
    if step.changes:
        found["changes"] = {path: list(pair) for path, pair in step.changes.items()}
    if step.transport is not Transport.SINGLE:
        found["transport"] = step.transport.value
    if step.payload is not None:
        found["payload"] = _payload_to_dict(step.payload)
    return found


def _step_from_dict(found: Mapping[str, Any]) -> Step:
    return Step(
        address=Address.parse(found["address"]),
        decision=Decision[found["decision"].upper()],
        reason=intern(found.get("reason", "")),
        xsi_type=intern(found.get("xsi_type", "")),
        fields=interned(found.get("fields", {})),
        changes=_changes(found["changes"]) if "changes" in found else no_fields(),
        transport=Transport(found.get("transport", "single")),
        payload=_payload_from_dict(found["payload"]) if "payload" in found else None,
    )


def _changes(found: Mapping[str, Any]) -> Mapping[str, tuple[str, str]]:
    return {path: (old, new) for path, (old, new) in found.items()}


def _payload_to_dict(payload: Payload) -> dict[str, Any]:
    local = payload.local
    found: dict[str, Any] = {
        "path": str(local.path),
        "name": local.name,
        "size_bytes": local.size_bytes,
        "mtime_ns": local.mtime_ns,
        "digest": local.digest,
    }
    if local.member is not None:
        found["member"] = local.member
    if local.made is not None:
        found["made"] = {"content": local.made.content, "source_digest": local.made.source_digest}
    if local.data is not None:
        found["data"] = b64encode(local.data).decode("ascii")
    if local.scrub is not None:
        found["scrub"] = _scrub_to_dict(local.scrub)
    if payload.gzip:
        found["gzip"] = True
    if payload.held_digest is not None:
        found["held_digest"] = payload.held_digest
    return found


def _payload_from_dict(found: Mapping[str, Any]) -> Payload:
    if "data" in found:
        local = LocalFile.written(Path(found["path"]), str(found["name"]), b64decode(found["data"]))
        return Payload(local, held_digest=found.get("held_digest"))
    local = LocalFile(
        path=Path(found["path"]),
        name=intern(str(found["name"])),
        size_bytes=int(found["size_bytes"]),
        mtime_ns=int(found["mtime_ns"]),
        digest=found["digest"],
        member=found.get("member"),
        made=Made(found["made"]["content"], found["made"]["source_digest"]) if "made" in found else None,
        scrub=_scrub_from_dict(found["scrub"]) if "scrub" in found else None,
    )
    return Payload(local, gzip=bool(found.get("gzip", False)), held_digest=found.get("held_digest"))


def _scrub_to_dict(scrub: Scrub) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": scrub.kind.value,
        "removed": list(scrub.removed),
        "disk_bytes": scrub.disk_bytes,
    }
    if scrub.shorter_bytes:
        found["shorter_bytes"] = scrub.shorter_bytes
    if scrub.packed:
        found["packed"] = True
    if scrub.words:
        found["words"] = [list(pair) for pair in scrub.words]
    return found


def _scrub_from_dict(found: Mapping[str, Any]) -> Scrub:
    return Scrub(
        ScrubKind(found["kind"]),
        tuple(found["removed"]),
        int(found["disk_bytes"]),
        int(found.get("shorter_bytes", 0)),
        bool(found.get("packed", False)),
        tuple((word, instead) for word, instead in found.get("words", ())),
    )


def _refusal_to_dict(refusal: Refusal) -> dict[str, Any]:
    return {"source": refusal.relative, "reasons": list(refusal.reasons), "path": str(refusal.path)}


def _refusal_from_dict(found: Mapping[str, Any]) -> Refusal:
    return Refusal(found["source"], tuple(found["reasons"]), Path(found["path"]))


def _finding_from_dict(found: Mapping[str, Any]) -> Finding:
    path = None if found["path"] is None else Path(found["path"])
    detail = {name: found[name] for name in ("file", "found", "expected") if name in found}
    return Finding(
        intern(found["id"]), Severity(found["severity"]), intern(found["message"]), path, found["line"], **detail
    )


#: The kinds of records: the attribute of the plan, and how one is written and read.
_RECORDS: Final[Mapping[str, tuple[str, Callable[[Any], dict[str, Any]], Callable[[Any], Any]]]] = {
    "step": ("steps", _step_to_dict, _step_from_dict),
    "refusal": ("refusals", _refusal_to_dict, _refusal_from_dict),
    "blocked": ("blocked", _refusal_to_dict, _refusal_from_dict),
    "finding": ("findings", Finding.to_dict, _finding_from_dict),
}
