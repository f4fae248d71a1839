from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.planning.plan import Decision, Plan, Refusal, Step
from xnatferry.planning.shards import Shard
from xnatferry.xnat.model import Address


@pytest.mark.parametrize("text", ["", "3", "0/8", "9/8", "1/0", "1/99999", "a/b", "1/8/2", "-1/8", "\u0661/8"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(ValueError, match="not I/N; write 1/8"):
        Shard.parse(text)


@given(st.integers(1, 50), st.lists(st.text(min_size=1), unique=True))
def test_every_subject_is_in_just_one_share(of, subjects):
    shares = [Shard.parse(f"{number}/{of}") for number in range(1, of + 1)]
    for subject in (*subjects, None):
        assert sum(shard.holds("P", subject) for shard in shares) == 1


def test_shares_are_what_they_were_in_the_first_release():
    """A job that is started again years later, by another version, carries the same subjects."""
    assert [n for n in range(20) if Shard(1, 4).holds("P", f"s{n:02}")] == FIRST_OF_FOUR


FIRST_OF_FOUR = [4, 9, 11, 15]


def test_steps_and_refusals_are_shared_out_and_the_project_is_everybodys():
    addresses = ["P", "P/resources/BIDS", *(f"P/s{n}" for n in range(9)), *(f"P/s{n}/s{n}_MR1" for n in range(9))]
    steps = tuple(Step(Address.parse(text), Decision.CREATE) for text in addresses)
    refusals = (Refusal("x", ("why",), Path("x")), Refusal("y", ("why",), Path("y"), Address.parse("P/s3")))
    plan = Plan("http://localhost", "P", steps, refusals)
    parts = [Shard(number, 3).of_plan(plan) for number in (1, 2, 3)]
    assert all(part.steps[0].address.subject is None for part in parts)
    below = [str(step.address) for part in parts for step in part.steps if step.address != Address("P")]
    assert sorted(below) == sorted(addresses[1:])
    assert sorted(r.relative for part in parts for r in part.refusals) == ["x", "y"]
    assert "P/resources/BIDS" in [str(step.address) for step in parts[0].steps]
