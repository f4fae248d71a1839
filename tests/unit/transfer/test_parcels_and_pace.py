"""How much travels at once, how fast, and which sessions."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from xnatferry.planning.plan import Decision, Payload, Plan, Step
from xnatferry.planning.selection import Selection, first_sessions
from xnatferry.sources.model import LocalFile
from xnatferry.transfer.batching import BodySizeLimit, batches, halves
from xnatferry.transfer.rate_limit import RateLimit
from xnatferry.xnat.model import Address, Level

RESOURCE = Address("P", "s", "s_MR1", resource="R")


def steps_of(sizes):
    return [
        Step(
            RESOURCE.child(Level.FILE, str(n)), Decision.CREATE, payload=Payload(LocalFile(Path("x"), str(n), size, 0))
        )
        for n, size in enumerate(sizes)
    ]


SIZES = st.lists(st.integers(0, 1000), min_size=1, max_size=30)


@given(SIZES, st.integers(0, 2000) | st.none())
def test_parcels_keep_order_and_limit(sizes, limit):
    steps = steps_of(sizes)
    groups = batches(steps, limit)
    assert [step for group in groups for step in group] == steps
    assert all(groups)
    for group in groups:
        assert limit is None or len(group) == 1 or sum(step.size_bytes for step in group) <= limit


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=30))
def test_halves_are_two_and_lose_nothing(sizes):
    steps = steps_of(sizes)
    first, second = halves(steps)
    assert first
    assert second
    assert first + second == steps


def test_a_ceiling_comes_down_and_forgets_what_was_no_matter_of_size():
    body_size_limit = BodySizeLimit()
    assert body_size_limit.limit is None
    body_size_limit.taken(10)
    body_size_limit.refused(100)
    assert body_size_limit.limit == 50
    body_size_limit.taken(60)
    assert body_size_limit.limit == 60
    body_size_limit.refused(40)  # smaller bodies have arrived: something else was wrong
    assert body_size_limit.limit == 60
    body_size_limit.taken(200)
    assert body_size_limit.limit is None


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=20), st.integers(100, 10_000))
def test_a_pace_is_never_outrun(sizes, rate):
    now = 0.0

    def wait(seconds):
        nonlocal now
        now += seconds

    rate_limit = RateLimit(rate, clock=lambda: now, wait=wait)
    pieces = [bytes(size) for size in sizes]
    sent = 0
    for piece in rate_limit.limited(pieces):
        assert sent <= rate * now + 1
        sent += len(piece)
        assert len(piece) <= max(1, rate // 4)
    assert sent == sum(sizes)


def test_patterns_name_subjects_sessions_or_both():
    selection = Selection(only=("sub-0*", "*/late"), exclude=("sub-03", "sub-01/ses-2"))
    assert selection.takes("sub-01", "ses-1")
    assert not selection.takes("sub-01", "ses-2")
    assert not selection.takes("sub-03", "ses-1")
    assert selection.takes("x", "late")
    assert not selection.takes("x", "early")
    assert Selection(exclude=("*",)).takes("a", "b") is False


def plan_of(decisions):
    steps = [Step(Address("P"), Decision.SAME)]
    for number, decision in enumerate(decisions):
        subject = Address("P", f"s{number}")
        steps += [Step(subject, decision), Step(Address("P", f"s{number}", "e"), decision)]
    return Plan("http://x", "P", tuple(steps))


def test_the_first_sessions_are_those_with_something_to_do():
    create, same = Decision.CREATE, Decision.SAME
    plan = first_sessions(plan_of([same, create, same, create, create]), 2)
    sent = [step.address.subject for step in plan.steps if step.sends and step.address.level is Level.SESSION]
    assert sent == ["s1", "s3"]
    assert {step.address.subject for step in plan.steps if step.address.level is Level.SUBJECT} == {
        "s0",
        "s1",
        "s2",
        "s3",
    }
    assert first_sessions(plan_of([create]), 5).steps == plan_of([create]).steps
