"""The odd one out is told by its name, and nothing else is."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.reports.histograms import Amounts, Kinds, columns_plot, rows_plot

TEN = [f"s{n}" for n in range(10)]
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1, max_size=40)


def drawn(svg):
    return ET.fromstring(str(svg))


def red(svg):
    return [bar.find("title").text for bar in drawn(svg).findall("rect") if bar.get("class") == "bar out"]


@pytest.mark.parametrize(
    ("values", "odd"),
    [
        (dict.fromkeys(TEN, "1 mm"), []),
        ({**dict.fromkeys(TEN[:9], "1 mm"), "x": "2 mm"}, ["x"]),
        ({**dict.fromkeys(TEN[:8], "1 mm"), "x": "2 mm", "y": "2 mm"}, []),
        ({**dict.fromkeys(TEN[:8], "1 mm"), "x": "2 mm", "y": "3 mm"}, ["x", "y"]),
        ({"a": "1", "b": "1", "c": "1", "d": "2"}, []),
        (dict(zip(TEN, "abcdefghij", strict=True)), []),
        ({**dict.fromkeys(TEN[:5], "1"), **dict.fromkeys(TEN[5:9], "2"), "x": "3"}, []),
    ],
    ids=["all one", "one of ten", "a pair of ten", "two alone", "too few", "all different", "no value of most"],
)
def test_a_rare_value_is_odd_where_most_share_another(values, odd):
    kinds = Kinds(values)
    assert kinds.odd() == odd
    assert bool(red(rows_plot(kinds))) == bool(odd)
    assert all(any(name in title for title in red(rows_plot(kinds))) for name in odd)


@pytest.mark.parametrize(
    ("values", "odd"),
    [
        ({name: 100.0 + n for n, name in enumerate(TEN)} | {"x": 20.0}, ["x"]),
        ({name: 100.0 + n for n, name in enumerate(TEN)} | {"x": 900.0}, ["x"]),
        (dict.fromkeys(TEN, 5e6) | {"x": 1e6}, ["x"]),
        (dict.fromkeys(TEN, 5e6) | {"x": 5e6 + 40}, []),
        (dict.fromkeys(TEN, 5e6) | {"x": 1e6, "y": 2e6, "z": 1e6}, []),
        ({"a": 1.0, "b": 1.0, "c": 1.0, "d": 99.0}, []),
        ({name: 100.0 + 10 * n for n, name in enumerate(TEN)}, []),
    ],
    ids=["small", "large", "others equal", "a few bytes", "a quarter of them", "too few", "evenly spread"],
)
def test_an_amount_far_from_the_others_is_odd(values, odd):
    amounts = Amounts(values)
    assert amounts.odd() == odd
    assert red(columns_plot(amounts, str)) == odd


@given(st.dictionaries(NAMES, NAMES, min_size=1, max_size=30))
def test_every_value_is_counted_once_in_rows(values):
    drawing = drawn(rows_plot(Kinds(values)))
    told = [text.text for text in drawing.findall("text") if text.get("class") in {"count", "name"}]
    assert sum(int(text.split()[0]) for text in told) == len(values)
    assert len(drawing.findall("rect")) <= 9


@given(st.dictionaries(NAMES, st.floats(0, 1e12), min_size=1, max_size=40))
def test_columns_stay_within_the_drawing(values):
    for bar in drawn(columns_plot(Amounts(values), str)).findall("rect"):
        assert 0 <= float(bar.get("x")) <= 320 - float(bar.get("width"))
        assert float(bar.get("y")) >= 16
        assert float(bar.get("height")) > 0


def test_nothing_cannot_be_drawn():
    for draw in (lambda: rows_plot(Kinds({})), lambda: columns_plot(Amounts({}), str)):
        with pytest.raises(ValueError, match="nothing to draw"):
            draw()
