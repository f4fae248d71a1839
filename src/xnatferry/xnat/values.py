"""Values of fields as XNAT takes, stores and shows them: dates in two spellings, numbers as Java writes them."""

from __future__ import annotations

import json
import math
import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from xnatferry.xnat.datatypes import kind_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from xnatferry.xnat.datatypes import DataType, Node

_MUST_BE = {
    "integer": "Must Be A Valid Integer",
    "float": "Must Be A Valid Float",
    "boolean": "Must Be A Valid Boolean",
    "date": "Must Be A Valid Date",
    "time": "Must Be A Valid Time",
    "datetime": "Must Be A Valid Date",
    "json": "Must Be Valid JSON",
}


class ValueProblem(ValueError):  # noqa: N818  what XNAT calls it
    """A value that its field may not have; the message is XNAT's (``XFTValidator``).

    Attributes:
        status: What XNAT answers; with 500 it gives no message.
    """

    status = 400


def normal_value(node: Node, text: str) -> str:
    """*text* as it is stored in the field *node*: ``03/04/1980`` becomes ``1980-03-04``, ``170`` in a float ``170.0``.

    Raises:
        ValueProblem: XNAT would refuse it with 400.
    """
    kind = kind_of(node)
    text = text.strip() if kind != "string" else text
    if not text:
        return ""
    if node.values and text.casefold() not in map(str.casefold, node.values):  # as XNAT, without case
        raise _problem(node, f"'{text}' Must Match Pre-Defined Values...({','.join(node.values)})")
    if kind == "string":
        if len(text) > node.limit:
            raise _problem(node, f"Must Be Less Than {node.limit} Characters : Current Length ({len(text)})")
        return text
    try:
        return _READERS[kind](text)
    except (ValueError, OverflowError) as error:
        problem = _problem(node, _MUST_BE[kind])
        problem.status = 500 if kind == "time" else 400
        raise problem from error


def required_problem(of_type: DataType, paths: Collection[str]) -> str:
    """Why an item of *of_type* that has the fields *paths* is not complete, in XNAT's words; "" when it is.

    Looked at are single fields directly in the item.
    """
    missing = next((node for node in of_type.nodes if node.required and node.kind and node.path not in paths), None)
    return str(_problem(missing, "Required Field")) if missing else ""


def java_double(number: float) -> str:
    """*number* as Java's ``Double.toString`` writes it.

    >>> [java_double(x) for x in (2000.0, 1.5, 0.0001, 1e7)]
    ['2000.0', '1.5', '1.0E-4', '1.0E7']
    """
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    if number == 0 or 1e-3 <= abs(number) < 1e7:
        plain = repr(number)
        return plain if "e" not in plain else format(number, "f")
    _, digits, power = Decimal(repr(number)).normalize().as_tuple()
    exponent = len(digits) + int(power) - 1
    rest = "".join(map(str, digits[1:])) or "0"
    return f"{'-' if number < 0 else ''}{digits[0]}.{rest}E{exponent}"


def read_json(text: str | bytes) -> object:
    """Read JSON as XNAT does: of doubled names the last counts, and a number beyond all bounds is a text.

    Raises:
        ValueError: It is none, is nested too deep, or holds what the database cannot.
    """
    try:
        found = json.loads(text, parse_float=_number, parse_constant=_refused)
        jsonb_text(found).encode()
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    return found


def jsonb_text(value: object) -> str:
    """*value* as PostgreSQL's ``jsonb`` writes it: names by their length, then by their bytes.

    >>> jsonb_text({"b": 1.5, "aa": None, "a": [1, "x"]})
    '{"a": [1, "x"], "b": 1.5, "aa": null}'
    """
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: (len(name.encode()), name.encode()))
        return "{" + ", ".join(f"{jsonb_text(name)}: {jsonb_text(value[name])}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(jsonb_text, value)) + "]"
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f")
    written = json.dumps(value, ensure_ascii=False)
    if "\\u0000" in written:
        raise ValueError("U+0000 cannot be stored")
    return written.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")


def _number(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else java_double(number)


def _refused(text: str) -> object:
    raise ValueError(f"{text} is no JSON")


def _json(text: str) -> str:
    return jsonb_text(read_json(text))


def _problem(node: Node, words: str) -> ValueProblem:
    return ValueProblem(
        f"The content of element '{node.declared_in}' is not complete. "
        f"'{{\"http://nrg.wustl.edu/xnat\":{node.path}}}' {words}"
    )


def _integer(text: str) -> str:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise ValueError(text)
    return str(int(text))


def _float(text: str) -> str:
    return java_double(float(text))


def _boolean(text: str) -> str:
    found = {"true": "1", "1": "1", "false": "0", "0": "0"}.get(text.lower())
    if found is None:
        raise ValueError(text)
    return found


def _date(text: str) -> str:
    """ISO and American dates, and Java's ``EEE MMM dd HH:mm:ss z yyyy`` (``DateUtils``)."""
    for pattern in ("%Y-%m-%d", "%m/%d/%Y"):
        try:
            return datetime.strptime(text, pattern).date().isoformat()  # noqa: DTZ007  a date has no zone
        except ValueError:
            continue
    words = text.split()
    if len(words) == 6:
        text = " ".join((*words[1:4], words[5]))
        return datetime.strptime(text, "%b %d %H:%M:%S %Y").date().isoformat()  # noqa: DTZ007
    raise ValueError(text)


def lenient_date(text: str) -> str:
    """A date whose month or day is too large, counted on as Java does: 2020-13-40 is 2021-02-09. Others are kept."""
    found = re.fullmatch(r"(?P<y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})|(?P<M>\d{1,2})/(?P<D>\d{1,2})/(?P<Y>\d{4})", text)
    if found is None:
        return text
    year, month, day = (int(found[low] or found[low.upper()]) for low in "ymd")
    months = 12 * year + month - 1
    try:
        return (date(months // 12, months % 12 + 1, 1) + timedelta(days=day - 1)).isoformat()
    except (ValueError, OverflowError):
        return text


def _time(text: str) -> str:
    return time.fromisoformat(text).isoformat(timespec="seconds")  # XNAT cuts fractions (recorded)


def _datetime(text: str) -> str:
    return datetime.fromisoformat(text.replace("/", "-")).replace(tzinfo=None).isoformat(sep=" ")


_READERS = {
    "integer": _integer,
    "float": _float,
    "boolean": _boolean,
    "date": _date,
    "time": _time,
    "datetime": _datetime,
    "json": _json,
}
