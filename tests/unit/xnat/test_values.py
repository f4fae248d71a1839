"""What fields take, and how it is stored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.xnat.datatypes import resolve
from xnatferry.xnat.values import ValueProblem, java_double, normal_value


def stored(type_name, path, text):
    return normal_value(resolve(type_name, path).node, text)


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("date", "2020-01-31", "2020-01-31"),
        ("date", "01/31/2020", "2020-01-31"),
        ("date", "Fri Jan 31 10:11:12 UTC 2020", "2020-01-31"),
        ("time", "10:11:12", "10:11:12"),
        ("note", " kept as it is ", " kept as it is "),
        ("date", "", ""),
    ],
)
def test_of_a_session(path, text, expected):
    assert stored("xnat:mrSessionData", path, text) == expected


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("frames", " 176 ", "176"),
        ("parameters/tr", "2000", "2000.0"),
        ("parameters/tr", "1e-4", "1.0E-4"),
        ("parameters/voxelRes/x", ".5", "0.5"),
        ("quality", "usable", "usable"),
    ],
)
def test_of_a_scan(path, text, expected):
    assert stored("xnat:mrScanData", path, text) == expected


@pytest.mark.parametrize(
    ("type_name", "path", "text", "words"),
    [
        ("xnat:mrScanData", "parameters/tr", "fast", "xnat:mrScanData.*parameters/tr.*Must Be A Valid Float"),
        ("xnat:mrScanData", "frames", "1.5", "Must Be A Valid Integer"),
        ("xnat:mrScanData", "frames", "٣", "Must Be A Valid Integer"),
        ("xnat:mrScanData", "frames", "9" * 30, "Must Be A Valid Integer"),
        ("xnat:mrSessionData", "date", "2020-02-30", "xnat:experimentData.*Must Be A Valid Date"),
        ("xnat:mrSessionData", "time", "25:00:00", "Must Be A Valid Time"),
        (
            "xnat:subjectData",
            "demographics/gender",
            "robot",
            r"'robot' Must Match Pre-Defined Values...\(male,female,other",
        ),
        ("xnat:subjectData", "group", "x" * 256, "255 Characters"),
    ],
)
def test_that_are_refused_in_xnats_words(type_name, path, text, words):
    with pytest.raises(ValueProblem, match=words):
        stored(type_name, path, text)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (123456.789, "123456.789"),
        (9999999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (12345678.9, "1.23456789E7"),
        (0.001, "0.001"),
        (0.00099, "9.9E-4"),
        (-1.5e-10, "-1.5E-10"),
        (1e300, "1.0E300"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
    ],
)
def test_numbers_as_java_writes_them(number, text):
    assert java_double(number) == text


@given(st.floats(allow_nan=False))
def test_a_written_number_is_the_number(number):
    assert float(java_double(number)) == number
