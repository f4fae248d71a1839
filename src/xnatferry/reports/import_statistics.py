"""Statistics of an import: sizes of files, voxels and matrices, repetition times."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xnatferry.planning.snapshot_steps import SNAPSHOTS
from xnatferry.reports.histograms import Amounts, Kinds, columns_plot, rows_plot
from xnatferry.wording import human_bytes
from xnatferry.xnat.model import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from markupsafe import Markup

    from xnatferry.planning.plan import Plan
    from xnatferry.xnat.model import Address

#: Kinds of scans that are drawn; the most frequent first.
_MOST_GROUPS: Final = 8
#: Paths of the three axes of a voxel and of the matrix, which differ by data type (`xnatferry.planning.mapping`).
_VOXEL: Final = tuple(f"parameters/voxelRes/{axis}" for axis in "xyz")
_MATRIX: Final = (
    ("parameters/matrix/x", "parameters/matrix/y", "parameters/partitions", "frames"),
    ("parameters/dimensions/x", "parameters/dimensions/y", "parameters/dimensions/z", "parameters/frames/numFrames"),
    ("dimensions/x", "dimensions/y", "dimensions/z", "frames/numFrames"),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One measure of one group.

    Attributes:
        title: What is measured, with its unit.
        drawing: The histogram.
        count: How many have it.
        odd: Name and value of each outlier.
        labelled: Whether the drawing itself labels them.
    """

    title: str
    drawing: Markup
    count: int
    odd: tuple[tuple[str, str], ...]
    labelled: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Scans of one type, or resources of one label, with what can be compared in them."""

    title: str
    count: int
    noun: str
    measures: tuple[Measured, ...]


def name_of(address: Address) -> str:
    """Name of a scan or resource for the report: its session, then its scan or assessor."""
    where = address.session or address.subject or address.project
    part = f"scan {address.scan}" if address.scan else f"assessor {address.assessor}" if address.assessor else ""
    return f"{where} {part}".strip()


def measured(plan: Plan) -> tuple[list[Group], int]:
    """Groups of two and more, and how many smaller or rarer ones are left out."""
    sizes: defaultdict[Address, int] = defaultdict(int)
    counts: defaultdict[Address, int] = defaultdict(int)
    for step in plan.files:
        resource = step.address.parent
        if resource is not None and resource.resource != SNAPSHOTS:
            sizes[resource] += step.size_bytes
            counts[resource] += 1
    groups = _scans(plan, sizes) + _resources(sizes, counts)
    kept = sorted((one for one in groups if one.count > 1), key=lambda one: -one.count)[:_MOST_GROUPS]
    return kept, len(groups) - len(kept)


def _scans(plan: Plan, sizes: Mapping[Address, int]) -> list[Group]:
    whole: defaultdict[Address, int] = defaultdict(int)
    for resource, size_bytes in sizes.items():
        whole[resource.container] += size_bytes
    types: defaultdict[str, dict[Address, Mapping[str, str]]] = defaultdict(dict)
    for step in plan.steps:
        if step.address.level is Level.SCAN:
            types[step.fields.get("type", "")][step.address] = step.fields
    return [_scan_group(title or "no type", scans, whole) for title, scans in types.items()]


def _scan_group(title: str, scans: Mapping[Address, Mapping[str, str]], sizes: Mapping[Address, int]) -> Group:
    measures = [_amounts("File size", {name_of(a): sizes[a] for a in scans if sizes.get(a)}, human_bytes)]
    for heading, read in (("Voxel size", _voxel), ("Matrix", _matrix), ("TR", _tr)):
        measures.append(_kinds(heading, {name_of(a): text for a, fields in scans.items() if (text := read(fields))}))
    return Group(title, len(scans), "scan", tuple(one for one in measures if one is not None))


def _resources(sizes: Mapping[Address, int], counts: Mapping[Address, int]) -> list[Group]:
    """Resources outside scans, such as FreeSurfer subjects: their sizes, and how many files they have."""
    labels: defaultdict[str, list[Address]] = defaultdict(list)
    for resource in sizes:
        if resource.scan is None:
            labels[resource.resource or ""].append(resource)
    groups = []
    for label, resources in labels.items():
        size = _amounts("Size", {name_of(one): sizes[one] for one in resources}, human_bytes)
        files = _amounts("Files", {name_of(one): counts[one] for one in resources}, lambda number: f"{number:,.0f}")
        groups.append(Group(label, len(resources), "resource", tuple(one for one in (size, files) if one is not None)))
    return groups


def _amounts(title: str, values: Mapping[str, float], shown: Callable[[float], str]) -> Measured | None:
    if not values:
        return None
    amounts = Amounts(values)
    odd = tuple((name, shown(values[name])) for name in amounts.odd())
    return Measured(title, columns_plot(amounts, shown), len(values), odd)


def _kinds(title: str, values: Mapping[str, str]) -> Measured | None:
    if not values:
        return None
    kinds = Kinds(values)
    odd = tuple((name, values[name]) for name in kinds.odd())
    return Measured(title, rows_plot(kinds), len(values), odd, labelled=kinds.labels_outliers)


def _voxel(fields: Mapping[str, str]) -> str:
    sizes = [fields.get(path, "") for path in _VOXEL]
    unit = fields.get("parameters/voxelRes/units", "mm")
    return f"{_times(_rounded(size) for size in sizes)} {unit}" if all(sizes) else ""


def _matrix(fields: Mapping[str, str]) -> str:
    for *axes, frames in _MATRIX:
        lengths = [fields.get(path, "") for path in axes]
        if all(lengths):
            return _times([*lengths, fields[frames]] if frames in fields else lengths)
    return ""


def _tr(fields: Mapping[str, str]) -> str:
    text = fields.get("parameters/tr", "")
    return f"{_rounded(text)} ms" if text else ""


def _times(parts: Iterable[str]) -> str:
    return " \u00d7 ".join(parts)


def _rounded(text: str) -> str:
    """To three decimals, so that what differs in the ninth is one kind."""
    try:
        return f"{round(float(text), 3):g}"
    except ValueError:
        return text
