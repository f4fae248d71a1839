"""A plan in parts: everything once, in an order that works, and nothing of it shown where Dask may print it."""

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.client.settings import Connection, Secret
from xnatferry.cluster.clusters import ClusterSpec
from xnatferry.cluster.plan_parts import split, subject_of
from xnatferry.cluster.tasks import ClusterTask, TaskReport, failed
from xnatferry.errors import DataError, UsageError
from xnatferry.planning.plan import Decision, Payload, Plan, Step, in_tree_order
from xnatferry.sources.model import LocalFile
from xnatferry.xnat.model import Address

DECISIONS = st.sampled_from([Decision.CREATE, Decision.SAME, Decision.UPDATE])


def local(name):
    return LocalFile(path=Path("/data") / name, name=name, size_bytes=3, mtime_ns=1, digest=None)


@st.composite
def plans(draw):
    steps = {Address("P"): Step(Address("P"), draw(DECISIONS))}

    def put(container, file):
        resource = Address(*container, resource="R")
        for address in (Address(*container), resource):
            steps.setdefault(address, Step(address, draw(DECISIONS)))
        address = Address(*container, resource="R", file=file)
        steps[address] = Step(address, draw(DECISIONS), payload=Payload(local(file)))

    for subject, session, file in draw(
        st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "1", "2"]), st.sampled_from("xy")))
    ):
        steps.setdefault(Address("P", subject), Step(Address("P", subject), draw(DECISIONS)))
        put(("P", subject, subject + session) if session else ("P", subject), file)
    if draw(st.booleans()):
        put(("P",), "manifest")
    return Plan("https://xnat.example.org", "P", in_tree_order(steps.values()))


@given(plans())
def test_every_step_is_in_one_part_and_subjects_stay_whole(plan):
    parts = split(plan)
    every = [part for part in (parts.before, *parts.subjects, parts.here) if part is not None]
    steps = [step for part in every for step in part.steps if step.address != Address("P")]
    assert sorted(steps, key=str) == sorted((s for s in plan.steps if s.address != Address("P")), key=str)
    assert sum(step.sends for part in every for step in part.steps) == sum(step.sends for step in plan.steps)
    owners = [subject_of(part) for part in parts.subjects]
    assert len(set(owners)) == len(owners)
    for part, owner in zip(parts.subjects, owners, strict=True):
        assert {step.address.subject for step in part.steps} == {owner.subject}
        assert any(step.sends for step in part.steps)
    if parts.here is not None:
        assert not any(step.sends and step.address.subject for step in parts.here.steps)
        if any(step.address.resource and not step.address.subject for step in parts.here.steps):
            assert parts.here.steps[0].address == Address("P")  # its resources hang below it


@given(plans())
def test_a_part_that_cannot_be_carried_has_a_receipt_for_everything(plan):
    for part in split(plan).subjects:
        report = failed(part, DataError("no"))
        assert {r.address for r in report.receipts} >= {step.address for step in part.steps if step.sends}
        assert {verdict.address for verdict in report.verdicts} == {step.address for step in part.files}
        assert all(receipt.exit_code == DataError.exit_code for receipt in report.receipts)
        assert isinstance(pickle.loads(pickle.dumps(report)), TaskReport)


@given(plans())
def test_an_errand_travels_whole_and_shows_nothing(plan):
    connection = Connection("https://xnat.example.org", "ann", Secret("hunter2"), verify_tls=False)
    for part in split(plan).subjects:
        cluster_task = ClusterTask(part, connection, 5e5)
        assert "hunter2" not in f"{cluster_task} {cluster_task!r} {[cluster_task]} {cluster_task.connection}"
        arrived = pickle.loads(pickle.dumps(cluster_task))
        assert (arrived.part, arrived.connection.password.reveal()) == (part, "hunter2")
        assert (arrived.connection.url, arrived.connection.verify_tls, arrived.bytes_per_s) == (
            connection.url,
            False,
            5e5,
        )


def test_places():
    assert ClusterSpec.parse("local:12") == ClusterSpec("local", 12)
    assert ClusterSpec.parse("slurm").kind == "slurm"
    assert ClusterSpec.parse("node1:8786").address == "tcp://node1:8786"
    assert ClusterSpec.parse("tls://node1:8786").warnings == ()
    assert "not encrypted" in ClusterSpec.parse("tcp://node1:8786").warnings[0]
    assert ClusterSpec.parse("tcp://127.0.0.1:8786").warnings == ()
    assert [ClusterSpec.parse(t).on_this_computer for t in ("local:1", "127.0.0.1:1", "slurm", "node1:1")] == [
        True,
        True,
        False,
        False,
    ]
    for wrong in (
        "",
        "local",
        "local:0",
        "local:-1",
        "node1",
        "http://node1:80",
        "tcp://node1:99999",
        "slurm:3",
        "local:1000",
    ):
        with pytest.raises(UsageError):
            ClusterSpec.parse(wrong)
