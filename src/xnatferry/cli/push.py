"""``plan``, ``push`` and ``verify``: one chain, left at different points."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from xnatferry.cli.connecting import connected
from xnatferry.cli.options import (
    SOURCE,
    mapping_options,
    output_options,
    read_source,
    rules_from,
    screen_from,
    server_options,
    source_options,
)
from xnatferry.errors import DataError, VerifyError

if TYPE_CHECKING:
    from pathlib import Path

    from xnatferry.client.remote import Remote
    from xnatferry.console.screen import Screen
    from xnatferry.planning.plan import Plan

__all__ = ["plan_command", "push_command", "push_plan", "show_plan", "verify_command"]

_WORKERS = click.option(
    "--workers", type=click.IntRange(1, 32), default=4, show_default=True, help="Transfers at once."
)
_ON_CONFLICT = click.option(
    "--on-conflict",
    type=click.Choice(["fail", "skip", "overwrite", "keep-both"]),
    default="fail",
    show_default=True,
    help="What to do with files that the server holds with other bytes.",
)
_UPDATE_FIELDS = click.option("--update-fields", is_flag=True, help="Change fields of scans that differ.")


@click.command("plan")
@SOURCE
@source_options
@mapping_options
@server_options
@_ON_CONFLICT
@_UPDATE_FIELDS
@_WORKERS
@output_options
def plan_command(source: Path, **options: object) -> int:
    """Show what a push would do; nothing is sent.

    + create   = same   ~ update   * differs   ! refused
    """
    screen = screen_from(options)
    with connected(options, screen) as remote:
        plan = _make_plan(source, options, screen, remote)
        show_plan(plan, screen)
    return _exit_of_plan(plan)


@click.command("push")
@SOURCE
@source_options
@mapping_options
@server_options
@_ON_CONFLICT
@_UPDATE_FIELDS
@_WORKERS
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output_options
def push_command(source: Path, **options: object) -> int:
    """Plan, ask, send, verify.

    SOURCE is a NIfTI file or folder, a SUBJECTS_DIR, one FreeSurfer subject folder or archive, or a table.
    """
    screen = screen_from(options)
    workers = _workers(options)
    with connected(options, screen) as remote:
        plan = _make_plan(source, options, screen, remote)
        if not screen.quiet:
            show_plan(plan, screen)
        return push_plan(plan, remote, screen, workers=workers)


@click.command("verify")
@SOURCE
@source_options
@mapping_options
@server_options
@_WORKERS
@output_options
def verify_command(source: Path, **options: object) -> int:
    """Compare SOURCE with the server, by digest.

    Nothing is sent.
    """
    from xnatferry import api
    from xnatferry.console.result_view import verdict_counts, verdict_lines, verdict_record

    screen = screen_from(options)
    with connected(options, screen) as remote:
        plan = _make_plan(source, options, screen, remote)
        verdicts = api.verify(plan)
    bad = [verdict for verdict in verdicts if not verdict.proof.good]
    _show_refusals(plan, screen)
    screen.lines(verdict_lines(verdicts if screen.verbose else bad))
    screen.lines([verdict_counts(verdicts)])
    code = VerifyError.exit_code if bad else _exit_of_plan(plan)
    screen.records(verdict_record(verdict) for verdict in verdicts)
    screen.records([{"record": "result", "exit_code": code, "files": len(verdicts), "unproven": len(bad)}])
    return code


def _make_plan(source: Path, options: dict[str, object], screen: Screen, remote: Remote) -> Plan:
    from xnatferry import api
    from xnatferry.planning.plan import OnConflict

    discovery = read_source(source, options, screen)
    rules = rules_from(options)
    policy = OnConflict(str(options.pop("on_conflict", "fail")))
    with screen.waiting("comparing with the server"):
        return api.plan(
            discovery,
            remote,
            rules,
            on_conflict=policy,
            update_fields=bool(options.pop("update_fields", False)),
            workers=max(_workers(options), 8),
        )


def _workers(options: dict[str, object]) -> int:
    workers = options.get("workers")
    return workers if isinstance(workers, int) else 4


def show_plan(plan: Plan, screen: Screen) -> None:
    """Print findings, tree, refusals and counts of a plan."""
    from xnatferry.console.findings_view import finding_lines
    from xnatferry.console.plan_view import plan_counts, plan_lines, plan_records

    screen.lines(finding_lines(plan.findings, everything=screen.verbose))
    screen.lines(plan_lines(plan, everything=screen.verbose))
    _show_refusals(plan, screen)
    screen.lines([plan_counts(plan)])
    screen.records(plan_records(plan))


def _show_refusals(plan: Plan, screen: Screen) -> None:
    from xnatferry.console.plan_view import refusal_lines

    screen.lines(refusal_lines((*plan.blocked, *plan.refusals)))


def _exit_of_plan(plan: Plan) -> int:
    return DataError.exit_code if plan.refusals or plan.blocked else 0


def push_plan(plan: Plan, remote: Remote, screen: Screen, *, workers: int) -> int:
    """Ask, carry out *plan*, and show how it ended; returns the exit code.

    Raises:
        ConflictError: Files differ on the server and the policy is to fail.
        DataError: Sources have no clear place, or none is left.
    """
    from xnatferry import api
    from xnatferry.console.progress import JsonProgress, PushProgress
    from xnatferry.console.result_view import push_lines, push_record
    from xnatferry.console.wording import counted, human_bytes
    from xnatferry.transfer.engine import check_sendable

    check_sendable(plan)
    if plan.nothing_to_do:
        return _nothing_to_do(plan, screen)
    sent = sum(step.sends for step in plan.files)
    screen.confirm(f"Push {counted(sent, 'file')}, {human_bytes(plan.sends_bytes)}, to {plan.server}?")
    started = time.monotonic()
    with JsonProgress() if screen.json else PushProgress(screen.err, plan) as show:
        result = api.push(plan, remote, workers=workers, listener=show)
    seconds = time.monotonic() - started
    code = result.exit_code or _exit_of_plan(plan)
    screen.lines(push_lines(result, seconds))
    _say_refused(plan, screen)
    screen.records([push_record(result, seconds, code)])
    return code


def _nothing_to_do(plan: Plan, screen: Screen) -> int:
    from xnatferry import api
    from xnatferry.console.result_view import verdict_counts
    from xnatferry.console.wording import counted

    verdicts = api.verify(plan)
    screen.lines([f"nothing to do: {plan.server} holds all {counted(len(verdicts), 'file')}", verdict_counts(verdicts)])
    _say_refused(plan, screen)
    code = _exit_of_plan(plan)
    screen.records([{"record": "result", "exit_code": code, "sent_files": 0, "sent_bytes": 0, "files": len(verdicts)}])
    return code


def _say_refused(plan: Plan, screen: Screen) -> None:
    from xnatferry.console.wording import counted

    if plan.refusals:
        screen.lines([f"{counted(len(plan.refusals), 'source')} refused and not sent; see above"])
