"""Series of a scanner: what converters of DICOM write about them, into sidecars and names of images.

The number of a series is the ID of its scan, as in a DICOM import of XNAT. Sidecars come first, then names. The rules
for names, and the types of scans by their descriptions, are in ``series.toml`` beside this module.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from xnatferry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from xnatferry.sources.model import Claims

#: Names of ``--preset``: the converters in ``series.toml``.
PRESETS: Final = ("dcm2niix", "dcm2nii", "spm")
#: What dcm2niix appends to names of images of one series: coil, echo, phase, trigger time, copies and others.
_SUFFIX: Final = (
    r"(?:_(?:c[A-Z0-9]\w*?|e\d+|ph|phMag|real|imaginary|i\d+|t\d+|MoCo|Tilt(?:_\d+)?|Eq(?:_\d+)?|ROI\d+|ADC"
    r"|fieldmaphz|Raw|PS|Crop(?:_\d+)?))*[a-z]?"
)
#: Parts of names of images that dcm2niix computed from others.
_DERIVED: Final = re.compile(r"_(?:MoCo|Tilt|Eq|ROI|ADC|Crop)")
_NOTE: Final = "derived image"


@dataclass(frozen=True, slots=True)
class NamedSeries:
    """What the name of an image says.

    Attributes:
        preset: Name of the converter whose pattern it matches.
        scan: Series number without leading zeros.
        base: The name without what distinguishes the images of one series.
        subject: Subject in the name; empty if it has none.
        description: Protocol or description; empty if it has none.
        date: ``YYYY-MM-DD``; empty if it has none.
        derived: Whether the converter computed the image from others.
    """

    preset: str
    scan: str
    base: str
    subject: str = ""
    description: str = ""
    date: str = ""
    derived: bool = False


@dataclass(frozen=True, slots=True)
class SeriesRules:
    """Patterns of names, and types by description, in the order in which they are tried."""

    names: tuple[tuple[str, re.Pattern[str]], ...]
    types: tuple[tuple[str, re.Pattern[str]], ...]

    def of_preset(self, preset: str | None) -> SeriesRules:
        """These rules with the names of one converter only; all of them if None."""
        return self if preset is None else replace(self, names=tuple(one for one in self.names if one[0] == preset))

    def read_name(self, stem: str) -> NamedSeries | None:
        """What the name of an image, without its ending, says; None if no pattern matches."""
        for preset, pattern in self.names:
            if (match := pattern.fullmatch(stem)) is None:
                continue
            found = {name: text or "" for name, text in match.groupdict().items()}
            day = _day(found.get("date", ""))
            if day is None:
                continue
            return NamedSeries(
                preset,
                found["scan"].lstrip("0") or "0",
                stem.removesuffix(found.get("part", "")),
                found.get("subject", ""),
                found.get("description", "").strip("_- "),
                day,
                _DERIVED.search(found.get("part", "")) is not None,
            )
        return None

    def type_of(self, description: str) -> str:
        """The type of a scan by its description; the description itself if no pattern is found in it."""
        return next((kind for kind, pattern in self.types if pattern.search(description)), description)

    def claims(self, claims: Claims, stem: str, sidecar: Mapping[str, Any]) -> tuple[Claims, str]:
        """*claims* of a path, completed by the series of the image, and what contradicts.

        Args:
            claims: From the folders and the name.
            stem: Name of the image without its ending.
            sidecar: Its sidecar; empty if it has none.

        Returns:
            Claims with scan ID, type, description, date, note and group if they are known; then the contradiction of
            name and sidecar, or an empty text. The sidecar is used.
        """
        named = self.read_name(stem)
        number = _number(sidecar.get("SeriesNumber"))
        if named is None and number is None:
            return claims, ""
        told = [text for key in ("SeriesDescription", "ProtocolName") if (text := _text(sidecar.get(key)))]
        description = (told or [named.description if named else ""])[0]
        converted = named is not None or any(_plain(text) in _plain(stem) for text in told)
        base = named.base if named else re.sub(f"{_SUFFIX}$", "", stem) if converted else stem
        derived = (named is not None and named.derived) or "DERIVED" in _words(sidecar.get("ImageType"))
        wrong = (
            f"the name says series {named.scan}, the sidecar {number}; the sidecar is used"
            if named and number and named.scan != number
            else ""
        )
        return replace(
            claims,
            subject=claims.subject if named is None or claims.subject != stem else named.subject or None,
            scan=number or (named.scan if named else None),
            type=(self.type_of(description) or "unknown") if converted else claims.type,
            series_description=description or claims.series_description,
            date=claims.date or _date_of(sidecar) or (named.date if named else "") or None,
            note=claims.note or (_NOTE if derived else None),
            group=f"series {number or (named.scan if named else '')} {sidecar.get('SeriesInstanceUID') or base}",
        ), wrong


def read_series_rules(path: Path | None = None) -> SeriesRules:
    """The rules that come with xnatferry, after those of a TOML file of the user.

    Raises:
        UsageError: The file cannot be read, or a pattern in it is invalid.
    """
    rules = _built_in()
    if path is None:
        return rules
    try:
        own = _parsed(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
    return SeriesRules((*own.names, *rules.names), (*own.types, *rules.types))


@cache
def _built_in() -> SeriesRules:
    text = files("xnatferry.sources").joinpath("series.toml").read_text(encoding="utf-8")
    return _parsed(tomllib.loads(text), "series.toml")


def _parsed(document: Mapping[str, Any], where: str) -> SeriesRules:
    names = [(one, _pattern(one, where, "preset")) for one in _tables(document, "names", where)]
    for table, pattern in names:
        if "scan" not in pattern.groupindex:
            raise UsageError(f"{where}: names: {table['pattern']!r} has no group (?P<scan>...)")
    types = [(one, _pattern(one, where, "type", re.IGNORECASE)) for one in _tables(document, "types", where)]
    return SeriesRules(tuple((one["preset"], p) for one, p in names), tuple((one["type"], p) for one, p in types))


def _tables(document: Mapping[str, Any], name: str, where: str) -> Sequence[Mapping[str, Any]]:
    tables = document.get(name, [])
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise UsageError(f"{where}: {name} must be a list of tables, written [[{name}]]")
    return tables


def _pattern(table: Mapping[str, Any], where: str, key: str, flags: int = 0) -> re.Pattern[str]:
    if not isinstance(table.get(key), str) or not isinstance(table.get("pattern"), str):
        raise UsageError(f"{where}: every entry needs the texts {key} and pattern")
    try:
        return re.compile(table["pattern"].replace("SUFFIX", _SUFFIX), flags)
    except re.error as error:
        raise UsageError(f"{where}: pattern {table['pattern']!r} is not a regular expression: {error}") from None


def _number(value: object) -> str | None:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9 else None


def _text(value: object) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _words(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _plain(text: str) -> str:
    """Letters and digits only: converters replace all others in names of files."""
    return re.sub(r"[^a-z0-9]+", "", text.casefold())


def _date_of(sidecar: Mapping[str, Any]) -> str:
    for key in ("AcquisitionDateTime", "AcquisitionDate", "SeriesDate", "StudyDate"):
        if day := _day(re.sub(r"[^0-9].*$", "", str(sidecar.get(key) or "").replace("-", ""))[:8]):
            return day
    return ""


def _day(digits: str) -> str | None:
    """``YYYYMMDD`` as ISO date, empty for none; None if it is not a date."""
    if not digits:
        return ""
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8])).isoformat()
    except ValueError:
        return None
