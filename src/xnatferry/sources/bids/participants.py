"""XNAT fields of subjects and sessions from the participants, sessions and scans tables.

The tables are uploaded unchanged; the fields are a copy that can be searched. Dates of birth are never copied, and an
age above 89 is copied as 89 (BIDS, ``participants.tsv``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final

from xnatferry.sources.limits import LIMITS, is_possible
from xnatferry.sources.nifti_header import number
from xnatferry.xnat.custom_fields import custom_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_DEMOGRAPHICS: Final = "xnat:subjectData/demographics[@xsi:type=xnat:demographicData]"
_GENDER: Final = {
    "m": "male", "male": "male", "f": "female", "female": "female", "o": "other", "other": "other",
}  # fmt: skip
_HAND: Final = {
    "l": "left", "left": "left", "r": "right", "right": "right", "a": "ambidextrous", "ambidextrous": "ambidextrous",
    "b": "ambidextrous", "both": "ambidextrous",
}  # fmt: skip
_IN_YEARS: Final = {
    "year": 1.0, "years": 1.0, "y": 1.0, "yr": 1.0, "yrs": 1.0, "month": 1 / 12, "months": 1 / 12,
    "week": 7 / 365.25, "weeks": 7 / 365.25, "day": 1 / 365.25, "days": 1 / 365.25,
}  # fmt: skip
OLDEST: Final = 89
#: Years before this mark dates that were shifted on purpose (BIDS, ``scans.tsv``).
_SHIFTED_BEFORE: Final = 1925
#: Columns with dates of birth; they are never copied to fields.
BIRTH: Final = frozenset({"dob", "birth_date", "birthdate", "date_of_birth", "yob", "birth_year"})


@dataclass(slots=True)
class Person:
    """Content of one row.

    Attributes:
        subject: Fields of the subject, by full path.
        session: Fields of its sessions.
        age_years: Age, where it is given.
        unmapped: Columns without a field of their own.
        impossible: Values that no field gets, with their column: ``age -3``.
        capped: Whether the age is above 89.
    """

    subject: dict[str, str] = field(default_factory=dict)
    session: dict[str, str] = field(default_factory=dict)
    age_years: float | None = None
    unmapped: list[str] = field(default_factory=list)
    impossible: list[str] = field(default_factory=list)
    capped: bool = False


def person_of(row: Mapping[str, str], about: Mapping[str, Any], *, custom: bool = False) -> Person:
    """Read one row of ``participants.tsv``.

    Args:
        row: Cells by column.
        about: ``participants.json``: units and levels of columns.
        custom: Whether columns without a field become custom fields ``bids_<column>``.
    """
    person = Person()
    for column, cell in row.items():
        low = column.lower()
        if low == "participant_id" or low in BIRTH:  # birth dates are never copied to fields
            continue
        if low == "age":
            _set_age(person, column, cell, _described(about, column))
        elif low == "site":
            person.session["acquisition_site"] = cell
        elif low in _COLUMNS:
            name, convert = _COLUMNS[low]
            value = convert(_leveled(cell, _described(about, column)))
            if low in LIMITS and (size := _as_number(cell)) is not None and not is_possible(low, size):
                person.impossible.append(f"{column} {cell}")
            elif value is None and low == "education":
                person.subject[f"{_DEMOGRAPHICS}/educationDesc"] = cell[:255]
            elif value is None:
                person.unmapped.append(column)
            else:
                person.subject[name] = value
        else:
            person.unmapped.append(column)
    if custom:
        for column in person.unmapped:
            person.subject[f"xnat:subjectData/{custom_path(custom_name(column))}"] = row[column][:255]
    return person


def has_field(column: str) -> bool:
    """Whether a column of ``participants.tsv`` has an XNAT field, or is never copied."""
    return column.lower() in {"participant_id", "age", "site", *BIRTH, *_COLUMNS}


def custom_name(column: str) -> str:
    """The name of the custom field for a column."""
    return "bids_" + re.sub(r"[^a-z0-9_]", "_", column.lower())


def _described(about: Mapping[str, Any], column: str) -> Mapping[str, Any]:
    found = about.get(column)
    return found if isinstance(found, dict) else {}


def _leveled(cell: str, about: Mapping[str, Any]) -> str:
    """A code spelled out: ``1`` is ``male`` where ``Levels`` says so."""
    levels = about.get("Levels")
    found = levels.get(cell) if isinstance(levels, dict) else None
    if isinstance(found, dict):
        found = found.get("Description")
    return found if isinstance(found, str) and not cell.isalpha() else cell


def _set_age(person: Person, column: str, cell: str, about: Mapping[str, Any]) -> None:
    scale = _IN_YEARS.get(str(about.get("Units", "year")).strip().lower())
    given = _as_number(cell.removesuffix("+"))
    if scale is None or given is None:
        person.unmapped.append(column)
        return
    if not is_possible("age", years := given * scale):
        person.impossible.append(f"{column} {cell}")
        return
    person.capped = years > OLDEST or cell.endswith("+")
    person.age_years = min(years, float(OLDEST))
    person.subject[f"{_DEMOGRAPHICS}/age"] = str(int(person.age_years))


def _gender(cell: str) -> str | None:
    return _GENDER.get(cell.strip().lower())


def _hand(cell: str) -> str | None:
    return _HAND.get(cell.strip().lower())


def _text(cell: str) -> str | None:
    return cell[:255]


def _as_number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _number(cell: str) -> str | None:
    value = _as_number(cell)
    return None if value is None else number(value)


def _education(cell: str) -> str | None:
    return cell if cell.isdecimal() and int(cell) <= 30 else None


_COLUMNS: Final[Mapping[str, tuple[str, Callable[[str], str | None]]]] = {
    "sex": (f"{_DEMOGRAPHICS}/gender", _gender),
    "gender": (f"{_DEMOGRAPHICS}/gender", _gender),
    "handedness": (f"{_DEMOGRAPHICS}/handedness", _hand),
    "hand": (f"{_DEMOGRAPHICS}/handedness", _hand),
    "education": (f"{_DEMOGRAPHICS}/education", _education),
    "race": (f"{_DEMOGRAPHICS}/race", _text),
    "ethnicity": (f"{_DEMOGRAPHICS}/ethnicity", _text),
    "weight": (f"{_DEMOGRAPHICS}/weight", _number),
    "height": (f"{_DEMOGRAPHICS}/height", _number),
    "group": ("xnat:subjectData/group", _text),
}


def session_times(text: str | None) -> tuple[str, str] | None:
    """Date and time of an ``acq_time``; None when there is none, or when it was shifted on purpose."""
    if not text:
        return None
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if when.year < _SHIFTED_BEFORE:
        return None
    has_time = "T" in text or " " in text.strip()
    return date(when.year, when.month, when.day).isoformat(), f"{when:%H:%M:%S}" if has_time else ""


def visit_of(row: Mapping[str, str], *, custom: bool = False) -> tuple[dict[str, str], list[str], list[str]]:
    """Fields of a session from its row of ``sessions.tsv``, the columns that have none, and impossible values."""
    fields: dict[str, str] = {}
    unmapped: list[str] = []
    impossible: list[str] = []
    for column, cell in row.items():
        low = column.lower()
        if low in {"session_id", "acq_time"} | BIRTH:
            continue
        if low == "age":
            years = _as_number(cell.removesuffix("+"))
            if years is None:
                unmapped.append(column)
            elif not is_possible("age", years):
                impossible.append(f"{column} {cell}")
            else:
                fields["age"] = number(min(years, float(OLDEST)))
        else:
            unmapped.append(column)
            if custom:
                fields[custom_path(custom_name(column))] = cell[:255]
    if (times := session_times(row.get("acq_time"))) is not None:
        fields["date"] = times[0]
        if times[1]:
            fields["time"] = times[1]
    return fields, unmapped, impossible
