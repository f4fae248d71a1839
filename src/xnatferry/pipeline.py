"""The steps of a push: discover, map, compare with the server, plan, verify."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from xnatferry.errors import UsageError
from xnatferry.planning.attached_reports import with_attached
from xnatferry.planning.collisions import same_place
from xnatferry.planning.custom_field_findings import custom_field_findings
from xnatferry.planning.mapping import MappingRules, map_sources
from xnatferry.planning.plan import OnConflict, Plan, Refusal, Step
from xnatferry.planning.plan_validation import validate_plan
from xnatferry.planning.reconcile import reconcile
from xnatferry.planning.selection import Selection
from xnatferry.planning.session_matching import is_matched, match_sessions
from xnatferry.planning.session_types import type_findings
from xnatferry.planning.snapshot_steps import BY_RECORD
from xnatferry.results.snapshot_images import images_for_snapshots
from xnatferry.sources.model import Discovery, Finding, Severity
from xnatferry.transfer.events import Proof
from xnatferry.transfer.payload import fingerprint, moved_sources
from xnatferry.transfer.remote_listing import fetch_remote_state, project_sessions, query_of, query_of_plan
from xnatferry.transfer.verify import verdicts_of, verify_plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from xnatferry.client.remote import Remote
    from xnatferry.planning.placement import MappedSources
    from xnatferry.sources.model import LocalFile
    from xnatferry.transfer.earlier_runs import EarlierRuns
    from xnatferry.transfer.events import Verdict
    from xnatferry.transfer.runs import Run


def plan(
    discovery: Discovery,
    remote: Remote,
    rules: MappingRules,
    *,
    on_conflict: OnConflict = OnConflict.FAIL,
    update_fields: bool = False,
    selection: Selection | None = None,
    workers: int = 8,
    snapshots: bool = False,
    reports: Mapping[Path, Sequence[LocalFile]] | None = None,
    earlier: EarlierRuns | None = None,
) -> Plan:
    """Compare a discovery with the server, and decide every step. Nothing is sent.

    Args:
        discovery: The result of `discover`.
        remote: The server.
        rules: Options for addresses and fields; at least the project.
        on_conflict: What to do with files that differ on the server.
        update_fields: Whether fields of subjects, sessions and scans that differ are changed; otherwise they are only
            shown.
        selection: Which subjects and sessions are pushed; None pushes all.
        workers: How many sessions are read at the same time.
        snapshots: Whether scans get snapshots, which are made during the push.
        reports: Reports about sources, by the path of the source, which are added as resource ``VALIDATION``.
        earlier: Earlier runs to this project; uploads that they did not finish are finished.

    Raises:
        UsageError: The rules cannot be used.
        ValueError: *on_conflict* is no `OnConflict`.
        RemoteError: The server cannot be read.
    """
    selection = selection or Selection()
    discovery = replace(discovery, sources=tuple(selection.of_sources(discovery.sources)))
    mapped, matching_findings = _mapped(discovery, remote, rules)
    mapped = with_attached(selection.of(mapped, discovery.sources), reports or {})
    query = query_of(mapped.placements, all_fields=update_fields, gzip=rules.gzip)
    state = fetch_remote_state(
        remote, server=remote.connection.url, project=rules.project, query=query, workers=workers
    )
    if earlier is not None:
        state = earlier.without_parts(state, remote)
    pictured, without = images_for_snapshots(mapped.placements, workers=workers) if snapshots else ({}, ())
    decided = reconcile(
        mapped,
        state,
        project=rules.project,
        fingerprint=fingerprint,
        read_content=remote.read_content,
        on_conflict=OnConflict(on_conflict),
        gzip=rules.gzip,
        update_fields=update_fields,
        findings=(*_warnings_of(discovery), *matching_findings, *without),
        pictured=pictured,
    )
    more = (*type_findings(decided, remote.set_up_types), *custom_field_findings(decided, remote.custom_fields.places))
    decided = replace(decided, findings=(*decided.findings, *more))
    return decided.blocked_by(_unplaced(discovery))


def _mapped(discovery: Discovery, remote: Remote, rules: MappingRules) -> tuple[MappedSources, tuple[Finding, ...]]:
    """Addresses of all sources; where a session is not named, that of its subject on the server, and what was found."""
    mapped = map_sources(discovery.sources, rules)
    if not is_matched(mapped, rules):
        return mapped, ()
    matched = match_sessions(mapped, *project_sessions(remote, rules.project), rules)
    mapped = matched.mapped
    conflicting = (*mapped.conflicting, *same_place(mapped.placements, rules))
    return replace(mapped, conflicting=conflicting), matched.findings


def with_digests(plan: Plan) -> Plan:
    """The same plan with the MD5 of every file that will be sent, so that a later push detects changed files.

    Raises:
        FileChangedError: A file changed since the plan was made.
    """
    return replace(plan, steps=tuple(_with_digest(step) for step in plan.steps))


def _with_digest(step: Step) -> Step:
    payload = step.payload
    if payload is None or not step.sends or payload.local.digest is not None or payload.local.made is not None:
        return step
    digest = fingerprint(payload.local).digest
    return replace(step, payload=replace(payload, local=replace(payload.local, digest=digest)))


def verify_source(plan: Plan, remote: Remote, *, workers: int = 4, deep: bool = False) -> tuple[Verdict, ...]:
    """Verify each file of a new plan, which has just compared source and server.

    Sends requests only if the listing has no MD5s, or with *deep*.

    Raises:
        RemoteError: The server cannot be read.
    """
    verdicts = verdicts_of(plan)
    if not deep and all(verdict.proof is not Proof.SIZE or verdict.message == BY_RECORD for verdict in verdicts):
        return verdicts
    return verify_plan(plan, remote, {}, workers=workers, deep=deep)


def verify_run(run: Run, remote: Remote, *, workers: int = 4, deep: bool = False) -> tuple[Verdict, ...]:
    """Compare what a run sent with the server; the local files are not needed.

    Args:
        run: A push that has ended.
        remote: The server.
        workers: How many sessions are read at the same time.
        deep: Whether to download every file and compute its MD5.

    Raises:
        UsageError: The run has no plan.
        RemoteError: The server cannot be read.
    """
    plan = run.plan
    if plan is None:
        raise UsageError(f"{run.name}: nothing to verify; the run has no plan")
    sent = {receipt.address: receipt for receipt in run.receipts() if receipt.digest is not None}
    return verify_plan(plan, remote, sent, workers=workers, deep=deep)


def recheck(plan: Plan, remote: Remote, *, workers: int = 8, earlier: EarlierRuns | None = None) -> Plan:
    """Check that a stored plan is still valid; what an earlier push of it has done is marked as SAME.

    Args:
        plan: A stored plan.
        remote: The server.
        workers: How many sessions are read at the same time.
        earlier: Earlier runs to this project; uploads that they did not finish are finished.

    Raises:
        ConflictError: Source or server changed since; the message names what.
        RemoteError: The server cannot be read.
    """
    query = query_of_plan(plan)
    state = fetch_remote_state(remote, server=plan.server, project=plan.project, query=query, workers=workers)
    if earlier is not None:
        state = earlier.without_parts(state, remote)
    return validate_plan(
        plan,
        state,
        fingerprint=fingerprint,
        read_content=remote.read_content,
        moved_sources=moved_sources(plan),
    )


def _warnings_of(discovery: Discovery) -> tuple[Finding, ...]:
    """Warnings and notes about sources that are not refused, and about the root."""
    of_root = (finding for finding in discovery.findings if finding.severity is not Severity.ERROR)
    of_sources = (
        finding
        for source in discovery.sources
        if not source.refused
        for finding in source.findings
        if finding.severity is not Severity.ERROR
    )
    return (*of_root, *of_sources)


def _unplaced(discovery: Discovery) -> tuple[Refusal, ...]:
    """Files without an address: an error of the root, which stops the whole push."""
    return tuple(
        Refusal(_relative(finding, discovery), (finding.message,), finding.path or discovery.root)
        for finding in discovery.findings
        if finding.severity is Severity.ERROR
    )


def _relative(finding: Finding, discovery: Discovery) -> str:
    path = finding.path or discovery.root
    shown = path.relative_to(discovery.root).as_posix() if path.is_relative_to(discovery.root) else str(path)
    shown = path.name if shown == "." else shown
    return f"{shown}, line {finding.line}" if finding.line is not None else shown
