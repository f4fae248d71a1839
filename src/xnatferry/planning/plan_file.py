"""A plan as a file: readable JSON without secrets, for a later push.

{"xnatferry_plan": 1, "made": "2026-01-31T12:00:00Z", "server": "https://...", "project": "BRAIN", ...,
 "steps": [{"address": "BRAIN/sub01", "decision": "create"}, ...]}

It is written and read step by step, one per line: a plan may have hundreds of thousands of steps.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from pathlib import Path
from sys import intern
from typing import TYPE_CHECKING, Any

from xnatferry.durable import replacing
from xnatferry.errors import UsageError
from xnatferry.planning.json_stream import read_members
from xnatferry.planning.plan import Decision, OnConflict, Payload, Plan, Refusal, Step, Transport
from xnatferry.sources.model import Finding, LocalFile, Made, Scrub, ScrubKind, Severity
from xnatferry.xnat.interning import interned, no_fields
from xnatferry.xnat.model import Address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["PLAN_VERSION", "is_plan_file", "plan_from_dict", "plan_to_dict", "read_plan", "write_plan"]

#: Increased when an older reader would misunderstand the format.
PLAN_VERSION = 1
#: Version of plans with scrubbing: older readers would send the files unchanged.
_SCRUBBING_VERSION = 2
#: Of plans that unpack and compress such files: a reader that does not know of it would compress them twice.
_UNPACKING_VERSION = 3

_MARK = "xnatferry_plan"
_DAMAGES = (AttributeError, KeyError, TypeError, ValueError, UsageError)


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
        for piece in _pieces(plan, made):
            stream.write(piece)


def _pieces(plan: Plan, made: str) -> Iterator[str]:
    """The text of a stored plan, piece by piece; every element of a list stands on a line of its own."""
    attributes = {_MARK: _version_of(plan), "made": made, **_facts_of(plan)}
    yield json.dumps(attributes, indent=1, ensure_ascii=False).removesuffix("\n}")
    for name, elements in _lists_of(plan):
        between = "\n"
        yield f',\n "{name}": ['
        for element in elements:
            yield between + "  " + json.dumps(element, ensure_ascii=False)
            between = ",\n"
        yield "]"
    yield "\n}\n"


def _version_of(plan: Plan) -> int:
    """The lowest version whose readers understand *plan*."""
    payloads = (step.payload for step in plan.steps if step.payload is not None)
    scrubs = (payload.local.scrub for payload in payloads if payload.local.scrub is not None)
    return max((_UNPACKING_VERSION if scrub.packed else _SCRUBBING_VERSION for scrub in scrubs), default=PLAN_VERSION)


def read_plan(path: Path) -> Plan:
    """Read a stored plan.

    Raises:
        UsageError: It cannot be read, is not a plan, or was written by a newer version.
    """
    try:
        with path.open(encoding="utf-8", errors="surrogatepass") as stream:
            found = read_members(stream, _element)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UsageError(f"{path}: not a stored plan (not JSON: {error})") from error
    if _MARK not in found:
        raise UsageError(f"{path}: is no stored plan; 'xnatferry plan SOURCE -o FILE' writes one")
    if found[_MARK] not in {PLAN_VERSION, _SCRUBBING_VERSION, _UNPACKING_VERSION}:
        raise UsageError(
            f"{path}: is a plan of version {found[_MARK]}, this xnatferry reads {_UNPACKING_VERSION} at most"
        )
    try:
        return plan_from_dict(found)
    except _DAMAGES as error:
        raise UsageError(f"{path}: the plan is damaged ({type(error).__name__}: {error}); create it again") from error


def _element(name: str, found: Any) -> Any:
    """Convert an element of a list at once, as its JSON form takes ten times as much memory."""
    made = {"steps": _step_from_dict, "findings": _finding_from_dict}.get(name)
    try:
        return found if made is None else made(found)
    except _DAMAGES:
        return found  # reported after the check of the version


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """The plan as JSON members."""
    return _facts_of(plan) | {name: list(elements) for name, elements in _lists_of(plan)}


def _facts_of(plan: Plan) -> dict[str, Any]:
    """The attributes of a plan."""
    return {
        "server": plan.server,
        "local": plan.local,
        "project": plan.project,
        "on_conflict": plan.on_conflict.value,
    }


def _lists_of(plan: Plan) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    """The lists of a plan by name, converted on demand."""
    yield "steps", map(_step_to_dict, plan.steps)
    yield "refusals", map(_refusal_to_dict, plan.refusals)
    yield "blocked", map(_refusal_to_dict, plan.blocked)
    yield "findings", (finding.to_dict() for finding in plan.findings)


def plan_from_dict(found: Mapping[str, Any]) -> Plan:
    """The plan that *found* describes.

    Raises:
        KeyError: A member is missing.
        ValueError: A member cannot be read.
    """
    return Plan(
        server=str(found["server"]),
        local=bool(found["local"]),
        project=str(found["project"]),
        steps=tuple(step if isinstance(step, Step) else _step_from_dict(step) for step in found["steps"]),
        refusals=tuple(_refusal_from_dict(refusal) for refusal in found["refusals"]),
        findings=tuple(one if isinstance(one, Finding) else _finding_from_dict(one) for one in found["findings"]),
        on_conflict=OnConflict(found["on_conflict"]),
        blocked=tuple(_refusal_from_dict(refusal) for refusal in found["blocked"]),
    )


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
