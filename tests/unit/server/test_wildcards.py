import re

from hypothesis import given
from hypothesis import strategies as st

from xnatferry.server.wildcards import fits


@given(st.text("ab*", max_size=12), st.lists(st.text("ab*", max_size=3), min_size=1, max_size=5))
def test_agrees_with_the_regular_expression(text, parts):
    expected = re.fullmatch(".*".join(map(re.escape, parts)), text, re.DOTALL) is not None
    assert fits(text, parts) is expected


def test_many_wildcards_in_a_long_text_are_answered_at_once():
    # A regular expression would still be at it when the time-out of the suite strikes.
    assert not fits("a" * 5_000 + "b", (["a"] * 60) + ["c"])
    assert not fits("a" * 5_000, ["", *(["a"] * 60), "b", ""])
