"""Members go from JSON, the rest stays as it was written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.sources.scrub_json import without_keys

GONE = {"PatientName", "PatientID"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"PatientName": "x"}', "{}"),
        ('{\n  "PatientName": "x"\n}\n', "{\n  \n}\n"),
        ('{\n  "A": 1,\n  "PatientName": "x"\n}\n', '{\n  "A": 1\n}\n'),
        ('{\n\t"PatientName": "x",\r\n\t"A": 1.50e0\n}', '{\n\t"A": 1.50e0\n}'),
        ('{"A":1,"PatientName":"x","PatientID":"y","B":2}', '{"A":1,"B":2}'),
        ('{"A": {"PatientID": [1, {"x": "}"}], "B": "\\u00e9"}}', '{"A": {"B": "\\u00e9"}}'),
        ('{"A": [{"PatientName": "x"}, {}]}', '{"A": [{}, {}]}'),
        ('{"PatientID": {"Description": "a column"}}', '{"PatientID": {"Description": "a column"}}'),
        ('\ufeff{"A": "PatientName", "PatientID": null}', '\ufeff{"A": "PatientName"}'),
        ('[]', '[]'),
    ],
)  # fmt: skip
def test_members_go_with_their_comma(before, after):
    assert without_keys(before.encode(), GONE).decode() == after


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["A", "B", *GONE]), inner, max_size=4),
    max_leaves=15,
)


def pruned(value):
    if isinstance(value, dict):
        return {k: pruned(v) for k, v in value.items() if k not in GONE or isinstance(v, dict)}
    return [pruned(v) for v in value] if isinstance(value, list) else value


@given(st.dictionaries(st.sampled_from(["A", "B", *GONE]), VALUES, max_size=4), st.sampled_from([None, 1, "\t"]))
def test_what_is_left_is_what_pruning_leaves(value, indent):
    content = json.dumps(value, indent=indent).encode()
    assert json.loads(without_keys(content, GONE)) == pruned(value)
    assert without_keys(content, set()) == content


@pytest.mark.parametrize("content", [b"", b"{", b'{"A"}', b"\xff"])
def test_what_is_no_json_is_told(content):
    with pytest.raises((ValueError, IndexError)):
        without_keys(content, GONE)
