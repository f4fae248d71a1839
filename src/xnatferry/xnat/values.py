"""Values of fields as XNAT takes, stores and shows them: dates in two spellings, numbers as Java writes them."""

from __future__ import annotations

import math
import re
from datetime import datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING

from xnatferry.xnat.datatypes import kind_of

if TYPE_CHECKING:
    from xnatferry.xnat.datatypes import Node

__all__ = ["ValueProblem", "java_double", "normal_value"]

_MUST_BE = {
    "integer": "Must Be A Valid Integer",
    "float": "Must Be A Valid Float",
    "boolean": "Must Be A Valid Boolean",
    "date": "Must Be A Valid Date",
    "time": "Must Be A Valid Time",
    "datetime": "Must Be A Valid Date",
}


class ValueProblem(ValueError):  # noqa: N818  what XNAT calls it
    """A value that its field may not have; the message is XNAT's (``XFTValidator``)."""


def normal_value(node: Node, text: str) -> str:
    """*text* as it is stored in the field *node*: ``03/04/1980`` becomes ``1980-03-04``, ``170`` in a float ``170.0``.

    Raises:
        ValueProblem: XNAT would refuse it with 400.
    """
    kind = kind_of(node)
    text = text.strip() if kind != "string" else text
    if not text:
        return ""
    if node.values and text not in node.values:
        raise _problem(node, f"'{text}' Must Match Pre-Defined Values...({','.join(node.values)})")
    if kind == "string":
        if len(text) > node.limit:
            raise _problem(node, f"Must Be Less Than {node.limit} Characters")
        return text
    try:
        return _READERS[kind](text)
    except (ValueError, OverflowError) as error:
        raise _problem(node, _MUST_BE[kind]) from error


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


def _time(text: str) -> str:
    return time.fromisoformat(text).isoformat(timespec="auto")


def _datetime(text: str) -> str:
    return datetime.fromisoformat(text.replace("/", "-")).replace(tzinfo=None).isoformat(sep=" ")


_READERS = {
    "integer": _integer,
    "float": _float,
    "boolean": _boolean,
    "date": _date,
    "time": _time,
    "datetime": _datetime,
}
