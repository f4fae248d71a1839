from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.reports.plots import Spread, shown_number, strip_plot

USUAL = {f"s{n}": 2.4 + n / 100 for n in range(9)}


def test_an_outlier_is_what_is_far_from_the_median_in_median_distances():
    spread = Spread({**USUAL, "odd": 1.2})
    assert [name for name in spread.values if spread.is_outlier(name)] == ["odd"]
    assert spread.z("odd") == pytest.approx(-0.6745 * (2.435 - 1.2) / 0.025, rel=0.01)


def test_few_values_and_equal_values_have_no_outliers():
    assert not Spread({"a": 1.0, "b": 2.0, "c": 99.0}).is_outlier("c")
    assert Spread(dict.fromkeys("abcdef", 2.0) | {"g": 9.0}).z("g") is None
    assert Spread(USUAL).z("nobody") is None


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.floats(-1e9, 1e9), min_size=1, max_size=12), st.data())
def test_every_drawing_is_well_formed_whatever_people_are_called(values, data):
    own = data.draw(st.sampled_from(sorted(values)))
    names = {name for name in values if name.isprintable()}
    if names != set(values):
        return
    drawing = ET.fromstring(str(strip_plot(Spread(values), own=own)))
    dots = drawing.findall("circle")
    assert len(dots) == len(values)
    assert all(0 <= float(dot.get("cx")) <= 320 for dot in dots)
    assert {dot.find("title").text.rpartition(":")[0] for dot in dots} <= {own, "another subject"}
    every = ET.fromstring(str(strip_plot(Spread(values)))).findall("circle")
    assert {dot.find("title").text.rpartition(":")[0] for dot in every} == set(values)


def test_numbers_as_people_read_them():
    assert [shown_number(n) for n in (1523400.4, 5169.5, 2.48123, 0.0)] == [
        "1\u202f523\u202f400",
        "5169.5",
        "2.481",
        "0",
    ]
