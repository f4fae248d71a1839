"""What a killed run is held to have done."""

import os

import pytest

from xnatferry.planning.plan import Decision, Payload, Plan, Step
from xnatferry.planning.undo import Fate, Inventory, plan_undo
from xnatferry.sources.base import LocalFile
from xnatferry.transfer.events import Began, Outcome, Receipt
from xnatferry.transfer.journal import Journal
from xnatferry.transfer.shared_runs import find_run
from xnatferry.xnat.digest import digest_of
from xnatferry.xnat.model import Address, Level

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
        (Step(RESOURCE, Decision.CREATE), Step(FILE, Decision.CREATE, payload=Payload(local))),
    )

    def made(*events, change=lambda path: None):
        with Journal.begin(tmp_path / "runs", "push", {"project": "P"}, plan=plan) as journal:
            for event in events:
                journal(event)
        change(path)
        return find_run(tmp_path / "runs", journal.name)

    return made


def test_a_file_on_its_way_is_known_by_its_local_bytes(run_with):
    deeds = run_with(Began((RESOURCE,)), Receipt(RESOURCE, Outcome.CREATED), Began((FILE,))).deeds()
    assert set(deeds.created) == {RESOURCE}
    assert deeds.stored[FILE].digest == digest_of([b"bytes"])


def test_when_they_have_changed_the_file_stays_and_is_named(run_with):
    deeds = run_with(Began((FILE,)), change=lambda path: os.utime(path, ns=(1, 1))).deeds()
    assert deeds.stored == {}
    from xnatferry.planning.reconcile import HeldFile

    (step,) = plan_undo(deeds, Inventory(files={FILE: HeldFile(5, digest_of([b"bytes"]))})).steps
    assert (step.address, step.fate) == (FILE, Fate.STAY)
    assert "killed" in step.reason
    assert plan_undo(deeds, Inventory()).steps == ()


def test_what_was_stopped_counts_only_when_it_was_begun(run_with):
    stopped = Receipt(FILE, Outcome.STOPPED, exit_code=130)
    assert FILE not in run_with(stopped).deeds().stored
    assert FILE in run_with(Began((FILE,)), stopped).deeds().stored


def test_what_was_found_or_kept_is_nobodys_deed(run_with):
    deeds = run_with(
        Began((RESOURCE,)), Receipt(RESOURCE, Outcome.FOUND), Began((FILE,)), Receipt(FILE, Outcome.KEPT, 5, "0" * 32)
    ).deeds()
    assert (set(deeds.created), dict(deeds.stored)) == (set(), {})
