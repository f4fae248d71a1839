"""What a killed run is held to have done."""

import os

import pytest

from xnatferry.console.runs_view import runs_lines
from xnatferry.errors import ForbiddenError, RefusedError, StoppedError, UnavailableError
from xnatferry.planning.plan import Decision, Payload, Plan, Step
from xnatferry.planning.undo_plan import Inventory, UndoAction, plan_undo
from xnatferry.sources.model import LocalFile
from xnatferry.transfer.events import Began, Outcome, Proof, Receipt, Verdict
from xnatferry.transfer.journal import Journal
from xnatferry.transfer.runs import Run, list_runs
from xnatferry.transfer.sharded_runs import find_run
from xnatferry.xnat.digest import digest_of
from xnatferry.xnat.model import Address, Level

SESSION, SCAN = Address("P", "s", "s_MR1"), Address("P", "s", "s_MR1", "1")
RESOURCE = Address("P", "s", "s_MR1", resource="R")
FILE = RESOURCE.child(Level.FILE, "f.bin")


@pytest.fixture
def run_with(tmp_path):
    """A run of one file, killed after these events; the file is as the plan saw it until *change* is called."""
    path = tmp_path / "f.bin"
    path.write_bytes(b"bytes")
    status = path.stat()
    local = LocalFile(path, "f.bin", 5, status.st_mtime_ns)
    plan = Plan(
        "http://x",
        "P",
        (
            *(Step(one, Decision.CREATE) for one in (SESSION, SCAN, RESOURCE)),
            Step(FILE, Decision.CREATE, payload=Payload(local)),
        ),
    )

    def made(*events, change=lambda path: None):
        with Journal.begin(tmp_path / "runs", "push", {"project": "P"}, plan=plan) as journal:
            for event in events:
                journal(event)
        change(path)
        return find_run(tmp_path / "runs", journal.name)

    return made


def test_a_file_on_its_way_is_known_by_its_local_bytes(run_with):
    effects = run_with(Began((RESOURCE,)), Receipt(RESOURCE, Outcome.CREATED), Began((FILE,))).effects()
    assert set(effects.created) == {RESOURCE}
    assert effects.stored[FILE].digest == digest_of([b"bytes"])


def test_when_they_have_changed_the_file_stays_and_is_named(run_with):
    effects = run_with(Began((FILE,)), change=lambda path: os.utime(path, ns=(1, 1))).effects()
    assert effects.stored == {}
    from xnatferry.planning.remote_state import HeldFile

    (step,) = plan_undo(effects, Inventory(files={FILE: HeldFile(5, digest_of([b"bytes"]))})).steps
    assert (step.address, step.action) == (FILE, UndoAction.STAY)
    assert "killed" in step.reason
    assert plan_undo(effects, Inventory()).steps == ()


def test_what_was_stopped_counts_only_when_it_was_begun(run_with):
    stopped = Receipt.failed(FILE, StoppedError("stopped by the user"))
    assert FILE not in run_with(stopped).effects().stored
    assert FILE in run_with(Began((FILE,)), stopped).effects().stored


REFUSED = ForbiddenError("the account may not do this", status=403)
LOST = UnavailableError("the connection was lost")


@pytest.mark.parametrize(("error", "ours"), [(REFUSED, False), (LOST, True), (RefusedError("500", status=500), True)])
def test_what_the_server_refused_is_not_of_this_run(run_with, error, ours):
    """Somebody else may make it afterwards; of a reply that did not come, nobody knows."""
    effects = run_with(Began((SESSION, SCAN)), Receipt.failed(SESSION, error)).effects()
    assert set(effects.created) == ({SESSION, SCAN} if ours else set())
    effects = run_with(Began((FILE,)), Receipt.failed(FILE, error)).effects()
    assert set(effects.stored) == ({FILE} if ours else set())


def test_what_was_found_says_nothing_of_what_went_with_it(run_with):
    """A worker of a cluster begins with a whole subject at once, and may be lost."""
    effects = run_with(
        Began((SESSION, SCAN, FILE)), Receipt(SESSION, Outcome.FOUND), Receipt.failed(FILE, REFUSED)
    ).effects()
    assert set(effects.created) == {SCAN}


def test_what_followed_a_failure_was_not_tried(run_with):
    assert (
        run_with(Receipt(FILE, Outcome.FAILED, message="s_MR1 could not be made", exit_code=5)).effects().stored == {}
    )


def test_what_was_found_or_kept_is_nobodys_deed(run_with):
    effects = run_with(
        Began((RESOURCE,)), Receipt(RESOURCE, Outcome.FOUND), Began((FILE,)), Receipt(FILE, Outcome.KEPT, 5, "0" * 32)
    ).effects()
    assert (set(effects.created), dict(effects.stored)) == (set(), {})


def test_a_list_of_runs_reads_nothing_but_their_last_lines(run_with, tmp_path, monkeypatch):
    events = [Receipt(FILE, Outcome.STORED, 5, "0" * 32), Receipt(RESOURCE, Outcome.FAILED, exit_code=5)]
    run = run_with(*events, Verdict(FILE, Proof.DIGEST, 5))
    counted = run.counts
    assert (counted.outcomes, counted.proofs) == ({"stored": 1, "failed": 1}, {"digest matched": 1})
    assert (counted.stored_bytes, counted.failed) == (5, 1)
    assert (run.end, run.verdict) == (None, "interrupted")

    with Journal.begin(tmp_path / "runs", "push", {"project": "P"}) as journal:
        for event in (*events * 1000, Verdict(FILE, Proof.DIGEST, 5)):
            journal(event)
        journal.end(1, error="x" * 10_000)
    monkeypatch.setattr(Run, "records", lambda _: pytest.fail("the whole journal was read"))
    (ended,) = (one for one in list_runs(tmp_path / "runs") if one.end is not None)
    assert ended.name == journal.name
    assert ended.verdict == "failed"
    assert ended.counts.outcomes == {"stored": 1000, "failed": 1000}
    assert ended.counts.stored_bytes == 5000
    assert "1000 failed" in " ".join(line.plain for line in runs_lines([ended]))


def test_a_line_that_was_cut_off_is_no_end_of_a_run(run_with):
    run = run_with(Receipt(FILE, Outcome.STORED, 5, "0" * 32))
    journal = run.folder / "journal.jsonl"
    with journal.open("ab") as stream:
        stream.write(b'{"record": "end", "exit')
    assert run.end is None
    assert [receipt.address for receipt in run.receipts()] == [FILE]
    journal.write_bytes(b"")
    assert (run.end, list(run.records())) == (None, [])
    journal.unlink()
    assert (run.end, run.counts.outcomes) == (None, {})
