import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.planning.json_stream import read_members


class Drip(io.StringIO):
    """A stream that gives a few characters at a time, so that every value is cut somewhere."""

    def __init__(self, text, most):
        super().__init__(text)
        self._most = most

    def read(self, size=-1):
        return super().read(min(size, self._most))


def members(text, most=1 << 20):
    return read_members(Drip(text, most), lambda _, element: element)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), values, max_size=5), st.sampled_from([None, 1, "\t"]), st.integers(1, 9))
def test_any_object_is_read_as_json_reads_it_however_it_is_laid_out(found, indent, most):
    assert members(json.dumps(found, indent=indent), most) == found


def test_elements_of_the_lists_of_the_object_are_made_one_by_one():
    told = []

    def element(name, found):
        told.append((name, found))
        return len(told)

    text = '{"a": [10, [20]], "b": {"inner": [30]}, "c": []}'
    assert read_members(io.StringIO(text), element) == {"a": [1, 2], "b": {"inner": [30]}, "c": []}
    assert told == [("a", 10), ("a", [20])]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected { in line 1"),
        ("[1]", "expected { in line 1"),
        ('{"a": [1,\n2', "expected , or ] in line 2"),
        ('{"a": [1,\n2,]}', "line 2"),
        ('{"a" 1}', "expected : in line 1"),
        ('{"a": 1} x', "expected the end in line 1"),
        ("{1: 2}", "expected a name in quotes"),
        ('{\n"a": nothing}', "line"),
    ],
)
@pytest.mark.parametrize("most", [1, 1 << 20])
def test_what_is_no_object_is_refused_with_the_line(text, said, most):
    with pytest.raises(ValueError, match=said):
        members(text, most)
