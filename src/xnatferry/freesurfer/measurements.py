"""The tables in FreeSurfer's results: their files, and every number with its name and unit.

Names of regions and measurements are those of pyxnat's ``aseg()``, ``aparc()``, ``hippoSfVolumes()``,
``amygNucVolumes()`` and of its readers of brain stem and thalamus, so that programs written for their tables work.
Names of columns in wide tables are those of FreeSurfer's ``asegstats2table`` and ``aparcstats2table``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from xnatferry.freesurfer.stats_file import StatisticsError, StatsFile, read_stats, read_volumes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


class Number(NamedTuple):
    """One measured value.

    Attributes:
        side: ``left`` or ``right``; empty where the file is of both, even if the region names a side.
        region: Structure, or name of a measure of the whole brain (``eTIV``).
        measurement: What was measured: ``Volume_mm3``, ``ThickAvg``, ``normMean`` ...
        value: May be NaN, as FreeSurfer writes for empty structures.
        unit: ``mm^3``, ``mm^2``, ``mm``, ``mm^-1``, ``mm^-2``, ``MR`` (intensity), ``unitless``, or empty.
    """

    side: str
    region: str
    measurement: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class StatsText:
    """One file of a table, read.

    Attributes:
        numbers: In the order of the file.
        stats: Its header and rows; empty for texts without a header.
    """

    numbers: tuple[Number, ...]
    stats: StatsFile


@dataclass(frozen=True, slots=True)
class Table:
    """One kind of table.

    Attributes:
        name: Its name on the command line, and in the column ``atlas``.
        files: Patterns of the names of its files below a subject's folder, the preferred first. Group ``hemi`` is
            ``lh`` or ``rh`` where each hemisphere has a file; group ``v`` is the version of the segmentation, none
            where the program no longer writes it; group ``a`` is the analysis, nothing or ``T1`` for that of the T1
            image; group ``long`` is there in the longitudinal segmentation.
        shown: The file name for messages.
        read: Reads one file, given its side.
        expected: Measures of the header that every version writes, with their measurement.
        instead: Patterns of files to read where none of *files* exists, with a remark.
    """

    name: str
    files: tuple[re.Pattern[str], ...]
    shown: str
    read: Callable[[bytes, str], StatsText]
    expected: Mapping[str, str] = field(default_factory=dict)
    instead: tuple[re.Pattern[str], ...] = ()


#: What pyxnat calls a measure of the whole brain, by its unit.
_HEADER_MEASUREMENTS: Final = {
    "mm^3": "Volume_mm3",
    "mm^2": "SurfArea_mm2",
    "mm": "Thickness_mm",
    "unitless": "unitless",
}
#: ``--meas`` of asegstats2table and aparcstats2table, by our measurement.
_SHORT: Final = {
    "Volume_mm3": "volume",
    "GrayVol": "volume",
    "SurfArea": "area",
    "SurfArea_mm2": "area",
    "ThickAvg": "thickness",
    "Thickness_mm": "thickness",
    "ThickStd": "thicknessstd",
    "MeanCurv": "meancurv",
    "GausCurv": "gauscurv",
    "FoldInd": "foldind",
    "CurvInd": "curvind",
    "NumVert": "numvert",
    "NVoxels": "nvoxels",
    "normMean": "mean",
    "normStdDev": "std",
    "normMin": "min",
    "normMax": "max",
    "normRange": "range",
}
_SIDES: Final = {"left": "lh", "right": "rh"}
_USUAL: Final = {
    "ICV": "eTIV",
    "SuperTentorialVol": "SupraTentorialVol",
    "SuperTentorialVolNotVent": "SupraTentorialVolNotVent",
}


def short_measurement(measurement: str) -> str:
    """FreeSurfer's word for a measurement: ``thickness`` for ``ThickAvg``; itself where it has none."""
    return _SHORT.get(measurement, measurement)


def wide_name(table: str, number: Number) -> str | None:
    """Name of a number's column in a wide table; None for what is no measurement (``Index``, ``SegId``).

    As FreeSurfer's own tables: ``lh_bankssts_thickness``, ``eTIV``; ``Left-Hippocampus`` is a volume, other
    measurements of a volume's structures say so (``Left-Hippocampus_mean``).
    """
    side, region, measurement = number.side, number.region, number.measurement
    if measurement in {"Index", "SegId"}:
        return None
    if table.startswith("aparc"):
        if not side:
            return region
        if measurement == "unitless":
            return f"{_SIDES[side]}_{region}"
        return f"{_SIDES[side]}_{region}_{short_measurement(measurement)}"
    if measurement in {"Volume_mm3", "unitless"}:
        name = "EstimatedTotalIntraCranialVol" if region == "eTIV" else region
    else:
        name = f"{region}_{short_measurement(measurement)}"
    return f"{_SIDES[side]}_{name}" if side else name


def _segmentation(content: bytes, side: str) -> StatsText:
    """``aseg.stats``, ``wmparc.stats``: measures of the header, then every column of every structure."""
    stats = _with_rows(content)
    return StatsText((*_header(stats, side), *_cells(stats, side)), stats)


def _parcellation(content: bytes, side: str) -> StatsText:
    """``?h.aparc*.stats``."""
    stats = _with_rows(content)
    hemisphere = {"lh": "left", "rh": "right"}.get(stats.fields.get("hemi", ""), side)
    if hemisphere != side:
        raise StatisticsError(f"the file is of the {hemisphere} hemisphere; check whether two files are swapped")
    return StatsText((*_header(stats, side), *_cells(stats, side)), stats)


def _with_rows(content: bytes) -> StatsFile:
    if not content.strip():
        raise StatisticsError("the file is empty")
    stats = read_stats(content)
    if "StructName" not in stats.columns or not stats.rows:
        raise StatisticsError("the file has no table; it is truncated, or not a FreeSurfer statistics file")
    return stats


def _header(stats: StatsFile, side: str) -> Iterable[Number]:
    for name, value in stats.measures.items():
        unit = stats.measure_units[name]
        # Areas, thickness and vertices in the file of one hemisphere are of it, volumes and their ratios of the brain.
        here = "" if unit == "mm^3" or "-to-" in name else side
        yield Number(here, name, _HEADER_MEASUREMENTS.get(unit, unit), value, unit)


def _cells(stats: StatsFile, side: str) -> Iterable[Number]:
    at = stats.columns.index("StructName")
    seen: set[str] = set()
    for row in stats.rows:
        if row[at] in seen:
            raise StatisticsError(f"{row[at]} occurs twice")
        seen.add(row[at])
    for index, column in enumerate(stats.columns):
        if index != at:
            unit = stats.column_units.get(column, "")
            for row in stats.rows:
                yield Number(side, row[at], column, float(row[index]), unit)


def _volumes(content: bytes, side: str) -> StatsText:
    """Texts of the hippocampus, the amygdala and the brain stem: mm^3 (FreeSurfer wiki, HippocampalSubfields)."""
    volumes = read_volumes(content)
    if not volumes:
        raise StatisticsError("the file is empty")
    numbers = tuple(Number(side, name, "Volume_mm3", value, "mm^3") for name, value in volumes.items())
    return StatsText(numbers, StatsFile())


def _sided_volumes(content: bytes, side: str) -> StatsText:
    """Text of the thalamus, where the names begin with the side: ``Left-AV``."""
    read = _volumes(content, side)
    numbers = []
    for number in read.numbers:
        where, _, region = number.region.partition("-")
        known = not side and where.lower() in _SIDES and region
        numbers.append(number._replace(side=where.lower(), region=region) if known else number)
    return StatsText(tuple(numbers), read.stats)


def usual_region(region: str) -> str:
    """The name of FreeSurfer 7 for a region that other versions spell differently; else the region itself.

    5 and 6 write ``Left-Thalamus-Proper`` and ``G&S_frontomargin`` (7 ``G_and_S_frontomargin``), 5 ``ICV`` and
    ``SuperTentorialVol``. Names whose definition changed too (``CorticalWhiteMatterVol``) are others.
    """
    return _USUAL.get(region, re.sub(r"-Proper$", "", region).replace("&", "_and_"))


def with_sides(read: Mapping[str, StatsText]) -> tuple[dict[str, StatsText], tuple[tuple[str, str], ...]]:
    """The files of both hemispheres, by side, where measures of the brain that differ between them have a side.

    Returns:
        The files, and these measures: region and measurement, as ``BrainSegVol`` of `mris_anatomical_stats` 6.0.1.
    """
    values: dict[tuple[str, str], set[str]] = {}
    for text in read.values():
        for number in text.numbers:
            if not number.side:
                values.setdefault((number.region, number.measurement), set()).add(repr(number.value))
    apart = {key for key, found in values.items() if len(found) > 1}
    if not apart:
        return dict(read), ()
    sided = {
        side: replace(text, numbers=tuple(n._replace(side=side) if n[1:3] in apart else n for n in text.numbers))
        for side, text in read.items()
    }
    return sided, tuple(key for key in values if key in apart)


def spoiled_volumes(stats: StatsFile, *, high_resolution: bool) -> frozenset[str]:
    """Measures of a header that FreeSurfer 5 and 6 computed in voxels instead of mm^3.

    They are wrong where voxels are not 1 mm^3 (FreeSurfer wiki, BrainVolStatsFixed); all volumes of the header but the
    intracranial one, and ratios of them. bbrc-bx leaves out the same.

    Args:
        stats: The file.
        high_resolution: Whether its run is known to be one, for files that do not say their voxel size.
    """
    voxel_mm3 = stats.fields.get("VoxelVolume_mm3", "")
    try:
        other = abs(float(voxel_mm3) - 1) > 0.01
    except ValueError:
        other = high_resolution
    old = "$Id:" in stats.fields.get("cvs_version", "$Id:")
    if stats.brain_volumes_fixed or not other or not old:
        return frozenset()
    volumes = {name for name, unit in stats.measure_units.items() if unit == "mm^3"} - {"eTIV", "ICV"}
    return frozenset(volumes | {"BrainSegVol-to-eTIV", "MaskVol-to-eTIV"} & set(stats.measures))


def _patterns(*inner: str) -> tuple[re.Pattern[str], ...]:
    """Files in a subject's folder; also statistics that were stored without folders."""
    return tuple(re.compile(rf"(?P<top>(?:[^/]+/)*?)(?:(?:stats|mri)/)?{one}") for one in inner)


_HEMI: Final = r"(?P<hemi>[lr]h)"
#: Parts of the names of subfields: ``-T1``, ``-T1-T2`` or ``.T2``; ``.long``; ``.v21``.
_ANALYSIS: Final = r"(?:[-.](?P<a>(?!long\b|v\d+\b)[^./]+))?"
_LONG: Final = r"(?P<long>\.long)?"
_VERSION: Final = r"(?:\.v(?P<v>\d+))?"
_ASEG_MEASURES: Final = dict.fromkeys(
    ("BrainSegVol", "BrainSegVolNotVent", "lhCortexVol", "rhCortexVol", "CortexVol", "eTIV"), "Volume_mm3"
)
_APARC_MEASURES: Final = {"NumVert": "unitless", "WhiteSurfArea": "SurfArea_mm2", "MeanThickness": "Thickness_mm"}


def _parcellations(name: str, *other_names: str) -> Table:
    files = _patterns(*(rf"{_HEMI}\.{re.escape(one)}\.stats" for one in (name, *other_names)))
    return Table(name, files, f"?h.{name}.stats", _parcellation, _APARC_MEASURES)


def _subfields(
    name: str, shown: str, files: Sequence[str], read: Callable[[bytes, str], StatsText] = _volumes
) -> Table:
    """Texts of `segmentHA`, `segmentBS`, `segmentThalamicNuclei` (6 to 8) and `segment_subregions` (7.3 and later).

    The copies in ``stats`` are there from version 7 on: ``hipposubfields.lh.T1.v21.stats``; with another image
    ``hipposubfields.lh.T2.v21.MYID.stats``.
    """
    return Table(name, _patterns(*files), shown, read)


_IMAGE: Final = r"(?:\.(?P<a>[^./]+))?"
_HEMI_STATS: Final = rf"\.{_HEMI}\.(?P<a>[^./]+){_LONG}{_VERSION}(?:\.(?P<id>[^./]+))?\.stats"

#: Every table by its name.
TABLES: Final = {
    table.name: table
    for table in (
        Table(
            "aseg",
            _patterns(r"aseg\.stats"),
            "aseg.stats",
            _segmentation,
            _ASEG_MEASURES,
            # FastSurfer with --seg_only (2.0 to 2.4): volumes of the network, without surfaces
            instead=_patterns(r"aseg\.VINN\.stats", r"aseg\+DKT\.VINN\.stats", r"aseg\+DKT\.stats"),
        ),
        Table("wmparc", _patterns(r"wmparc\.stats", r"wmparc\.DKTatlas\.mapped\.stats"), "wmparc.stats", _segmentation),
        _parcellations("aparc"),
        _parcellations("aparc.a2009s"),
        # as FreeSurfer 6 to 8, FreeSurfer 5.3 and FastSurfer spell it
        _parcellations("aparc.DKTatlas", "aparc.DKTatlas40", "aparc.DKTatlas.mapped"),
        _subfields(
            "hippo",
            "?h.hippoSfVolumes*.txt",
            (
                rf"{_HEMI}\.hippoSfVolumes{_ANALYSIS}{_LONG}{_VERSION}\.txt",
                rf"hipposubfields{_HEMI_STATS}",
            ),
        ),
        _subfields(
            "amyg",
            "?h.amygNucVolumes*.txt",
            (
                rf"{_HEMI}\.amygNucVolumes{_ANALYSIS}{_LONG}{_VERSION}\.txt",
                rf"amygdalar-nuclei{_HEMI_STATS}",
            ),
        ),
        _subfields(
            "brainstem",
            "brainstemSsVolumes*.txt",
            (
                rf"brainstemSsVolumes{_LONG}{_VERSION}\.txt",
                rf"brainstemSsLabels{_LONG}\.volumes\.txt",
                rf"brainstem{_LONG}{_VERSION}\.stats",
            ),
        ),
        _subfields(
            "thalamus",
            "ThalamicNuclei*.volumes.txt",
            (
                rf"ThalamicNuclei{_LONG}{_VERSION}{_IMAGE}\.volumes\.txt",
                rf"thalamic-nuclei\.{_HEMI}{_LONG}{_VERSION}{_IMAGE}\.stats",
            ),
            _sided_volumes,
        ),
    )
}
