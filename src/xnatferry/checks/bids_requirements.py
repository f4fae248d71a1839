"""What BIDS requires of a scan: metadata fields, axes of the image, values for each volume, files beside it.

The rules are read from the BIDS schema (``rules.sidecars`` and ``rules.checks`` of the installed bidsschematools;
written against BIDS 1.11.2). Rules that depend on values of other fields are left to the official validator.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from xnatferry.checks.finding_catalog import found
from xnatferry.sources.model import Severity
from xnatferry.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from xnatferry.sources.bids.names import BidsName
    from xnatferry.sources.model import Finding
    from xnatferry.sources.nifti_header import NiftiHeader

#: The file that a scan of a suffix cannot be used without, by suffix and extensions (``rules.checks.fmap``; perf/asl).
COMPANIONS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "asl": ("aslcontext", (".tsv",)),
    "fieldmap": ("magnitude", (".nii.gz", ".nii")),
    "phasediff": ("magnitude1", (".nii.gz", ".nii")),
}
_IMAGES: Final = frozenset({".nii", ".nii.gz"})
#: Suffixes of structural images whose readers expect one volume, as the schema says of T1w.
_AS_T1W: Final = ("T2w", "FLAIR", "PDw")

_QUOTED: Final = re.compile(r"""["']([\w-]+)["']""")
#: Conditions that can be read without evaluating expressions, by what they are about.
_CONDITIONS: Final = {
    "datatype": re.compile(r"""datatype == ["']\w+["']|intersects\(\[datatype\], \[[^\]]*\]\)"""),
    "suffix": re.compile(r"""suffix == ["']\w+["']|intersects\(\[suffix\], \[[^\]]*\]\)"""),
    "modality": re.compile(r"""modality == ["']\w+["']"""),
    "entity": re.compile(r"""["']\w+["'] in entities"""),
    "unless": re.compile(r"""!\(["']\w+["'] in sidecar\)"""),
    "extension": re.compile(r"match\(extension, .*nii.*\)"),
}
_AXES: Final = re.compile(r"nifti_header\.dim\[0\] == (\d)")
_PER_VOLUME: Final = re.compile(r"length\(sidecar\.(\w+)\) == nifti_header\.dim\[4\]")


@dataclass(frozen=True, slots=True)
class _FieldRule:
    """Fields that scans must have if all conditions hold; an empty condition always holds.

    Attributes:
        images: Whether it is about NIfTI images only.
        needed: The fields, each as a set of which one is enough.
    """

    datatypes: frozenset[str]
    suffixes: frozenset[str]
    entities: frozenset[str]
    images: bool
    needed: frozenset[frozenset[str]]

    def applies(self, datatype: str, name: BidsName) -> bool:
        return (
            (not self.datatypes or datatype in self.datatypes)
            and (not self.suffixes or name.suffix in self.suffixes)
            and self.entities <= {key for key, _ in name.entities}
            and (not self.images or name.extension in _IMAGES)
        )


@dataclass(frozen=True, slots=True)
class Requirements:
    """Requirements of the BIDS schema.

    Attributes:
        version: Version of BIDS.
        fields: Rules about fields.
        axes: Number of axes by suffix.
        per_volume: Fields with one value for each volume, by suffix; those under the empty suffix are for every scan.
    """

    version: str
    fields: tuple[_FieldRule, ...]
    axes: Mapping[str, int]
    per_volume: Mapping[str, frozenset[str]]

    def missing(self, datatype: str, name: BidsName, sidecar: Mapping[str, Any]) -> list[str]:
        """The required fields that *sidecar* lacks; ``A or B`` where one is enough."""
        needed = {one for rule in self.fields if rule.applies(datatype, name) for one in rule.needed}
        return sorted(" or ".join(sorted(one)) for one in needed if not one & sidecar.keys())


@cache
def bids_requirements() -> Requirements:
    """The requirements of the installed BIDS schema."""
    from bidsschematools.schema import load_schema  # noqa: PLC0415  # loads YAML and the schema: 80 ms

    schema: Any = load_schema()
    axes = {suffix: int(number) for suffix, number in _checks(schema, _AXES)}
    per_volume: dict[str, set[str]] = defaultdict(set)
    for suffix, field in _checks(schema, _PER_VOLUME):
        per_volume[suffix].add(field)
    return Requirements(
        version=str(schema.bids_version),
        fields=tuple(_field_rules(schema)),
        axes=axes | dict.fromkeys(_AS_T1W, axes["T1w"]),
        per_volume={suffix: frozenset(fields) for suffix, fields in per_volume.items()},
    )


def _rules(groups: Any) -> Iterator[Any]:
    for group in groups.values():
        yield from (rule for rule in group.values() if "selectors" in rule)


def _field_rules(schema: Any) -> Iterator[_FieldRule]:
    short = {long: str(entity.name) for long, entity in schema.objects.entities.items()}
    for rule in _rules({name: group for name, group in schema.rules.sidecars.items() if name != "derivatives"}):
        conditions = _conditions(rule.selectors, schema)
        levels = {name: level if isinstance(level, str) else level["level"] for name, level in rule.fields.items()}
        required = {str(schema.objects.metadata[name].name) for name, level in levels.items() if level == "required"}
        if conditions is not None and required:
            yield _FieldRule(
                conditions.get("datatype", frozenset()),
                conditions.get("suffix", frozenset()),
                frozenset(short.get(name, name) for name in conditions.get("entity", ())),
                "extension" in conditions,
                frozenset(frozenset({name}) | conditions.get("unless", frozenset()) for name in required),
            )


def _conditions(selectors: Iterable[str], schema: Any) -> dict[str, frozenset[str]] | None:
    """What a rule is about; None if it depends on something else."""
    conditions: dict[str, frozenset[str]] = {}
    for selector in selectors:
        what = next((what for what, pattern in _CONDITIONS.items() if pattern.fullmatch(selector)), None)
        if what is None:
            return None
        names = frozenset(_QUOTED.findall(selector))
        if what == "modality":
            what, names = (
                "datatype",
                frozenset(str(one) for name in names for one in schema.rules.modalities[name].datatypes),
            )
        if what in {"datatype", "suffix"} and what in conditions:
            names &= conditions[what]  # a file has one of each
        conditions[what] = names | (conditions.get(what, frozenset()) if what in {"entity", "unless"} else frozenset())
    return conditions if conditions.get("datatype", True) and conditions.get("suffix", True) else None


def _checks(schema: Any, pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Suffix and value of every check that consists of *pattern*; other conditions of its rule only say what exists."""
    for rule in _rules(schema.rules.checks):
        values = [match[1] for check in rule.checks if (match := pattern.fullmatch(check))]
        suffixes = [
            suffix
            for selector in rule.selectors
            if _CONDITIONS["suffix"].fullmatch(selector.replace("'", '"'))
            for suffix in _QUOTED.findall(selector)
        ]
        for suffix in suffixes or [""]:
            yield from ((suffix, value) for value in values)


def check_fields(datatype: str, name: BidsName, sidecar: Mapping[str, Any], path: Path) -> list[Finding]:
    """Whether the sidecars of a file, merged, have the fields that BIDS requires."""
    rules = bids_requirements()
    missing = rules.missing(datatype, name, sidecar)
    if not missing:
        alone = not sidecar and name.extension in _IMAGES
        why = "no sidecar (.json) applies to the image, so XNAT gets only the fields of its header"
        return [replace(found("BIDS23", why, path), severity=Severity.INFO)] if alone else []
    names = ", ".join(missing)
    if not sidecar:
        return [found("BIDS23", f"no sidecar (.json) applies to the file; BIDS {rules.version} requires {names}", path)]
    return [found("BIDS23", f"the sidecars lack {names}, which BIDS {rules.version} requires; add them", path)]


def check_axes(name: BidsName, header: NiftiHeader, path: Path) -> list[Finding]:
    """Whether an image is a series where BIDS expects one, and a single volume where BIDS expects that."""
    expected = bids_requirements().axes.get(name.suffix)
    is_series = len(header.shape) > 3
    if expected is None or header.is_cifti or (is_series if expected > 3 else header.frames == 1):
        return []
    wanted = "a series (4 axes)" if expected > 3 else "a single volume"
    shape = " x ".join(map(str, header.shape))
    why = f"the image has {shape} voxels, BIDS expects {wanted} for {name.suffix}; check the conversion"
    return [found("BIDS24", why, path)]


def check_volumes(name: BidsName, header: NiftiHeader, sidecar: Mapping[str, Any], path: Path) -> list[Finding]:
    """Whether lists with a value for each volume have as many values."""
    per_volume = bids_requirements().per_volume
    fields = per_volume.get(name.suffix, frozenset()) | per_volume.get("", frozenset())
    lengths = {field: len(value) for field in sorted(fields) if isinstance(value := sidecar.get(field), list)}
    return [
        found("BIDS25", f"{field} has {counted(length, 'value')}, the image {counted(header.frames, 'volume')}", path)
        for field, length in lengths.items()
        if length != header.frames
    ]


def check_volume_rows(table: Path, header: NiftiHeader) -> list[Finding]:
    """Whether ``aslcontext.tsv`` has one row for each volume of its image."""
    try:
        rows = sum(bool(line.strip()) for line in table.read_bytes().splitlines()) - 1
    except OSError:
        return []  # the check of its header reports it
    if rows == header.frames or rows < 0:
        return []
    why = f"the table has {counted(rows, 'row')}, the image {counted(header.frames, 'volume')}; BIDS needs one row each"
    return [found("BIDS25", why, table)]
