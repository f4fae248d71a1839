"""Numbers, their names and units, and where a table's files are."""

from __future__ import annotations

from pathlib import Path

import pytest

from xnatferry.freesurfer.measurements import TABLES, spoiled_volumes, wide_name
from xnatferry.freesurfer.stats_file import StatisticsError, read_stats
from xnatferry.freesurfer.table_files import locate
from xnatferry.freesurfer.versions import family_of, newness, version_of

DATA = Path(__file__).parents[2] / "data"
SIX, SEVEN = DATA / "freesurfer6/subject1/stats", DATA / "freesurfer7/sub-001/stats"


def values(table: str, path: Path, side: str = "") -> dict[str, float]:
    found = TABLES[table].read(path.read_bytes(), side).numbers
    return {name: number.value for number in found if (name := wide_name(table, number)) is not None}


def test_names_as_asegstats2table_gives_them() -> None:
    found = values("aseg", SEVEN / "aseg.stats")
    assert found["Left-Lateral-Ventricle"] == 5023.3
    assert found["Left-Lateral-Ventricle_mean"] == 38.9751
    assert found["EstimatedTotalIntraCranialVol"] == 1626503.552457
    assert found["lhSurfaceHoles"] == 5
    assert "Left-Lateral-Ventricle_SegId" not in found


def test_names_as_aparcstats2table_gives_them() -> None:
    found = values("aparc", SEVEN / "lh.aparc.stats", "left")
    assert found["lh_bankssts_thickness"] == 2.813
    assert found["lh_bankssts_area"] == 1052
    assert found["lh_bankssts_volume"] == 2625
    assert found["lh_MeanThickness_thickness"] == 2.50118
    assert found["lh_WhiteSurfArea_area"] == 92881.1
    assert found["eTIV"] == 1626503.552457


@pytest.mark.parametrize("table", ["aparc", "aparc.a2009s", "aparc.DKTatlas"])
@pytest.mark.parametrize("folder", [SIX, SEVEN])
def test_no_two_numbers_have_one_name(table: str, folder: Path) -> None:
    numbers = TABLES[table].read((folder / f"lh.{table}.stats").read_bytes(), "left").numbers
    names = [wide_name(table, number) for number in numbers]
    assert len(set(names)) == len(names)
    assert all(number.unit for number in numbers)


def test_swapped_hemispheres_are_refused() -> None:
    with pytest.raises(StatisticsError, match="swapped"):
        TABLES["aparc"].read((SEVEN / "lh.aparc.stats").read_bytes(), "right")


@pytest.mark.parametrize("content", [b"", b"\n \n", b"# Title Segmentation Statistics\n", b"\x1f\x8b\x08\x00\n"])
def test_files_without_a_table_are_refused(content: bytes) -> None:
    with pytest.raises(StatisticsError):
        TABLES["aseg"].read(content, "")


def test_a_structure_twice_is_refused() -> None:
    content = (SEVEN / "lh.aparc.stats").read_bytes()
    last = content.splitlines(keepends=True)[-1]
    with pytest.raises(StatisticsError, match="twice"):
        TABLES["aparc"].read(content + last, "left")


def test_sides_of_the_thalamus() -> None:
    numbers = TABLES["thalamus"].read(b"Left-AV 120.5\nRight-AV 118.0\nLeft-Whole_thalamus 7000\n", "").numbers
    assert [(n.side, n.region, n.value) for n in numbers][:2] == [("left", "AV", 120.5), ("right", "AV", 118.0)]
    assert wide_name("thalamus", numbers[2]) == "lh_Whole_thalamus"


@pytest.mark.parametrize(
    ("table", "names", "expected"),
    [
        ("aseg", ["s/stats/aseg.stats", "s/stats/wmparc.stats"], {"": "s/stats/aseg.stats"}),
        ("aseg", ["aseg.stats"], {"": "aseg.stats"}),
        ("aseg", ["s/trash/aseg.stats", "s/stats/my.aseg.stats"], None),
        ("aseg", ["t1.long.b/stats/aseg.stats", "t1/stats/aseg.stats"], {"": "t1/stats/aseg.stats"}),
        ("aseg", ["t1.long.b/stats/aseg.stats"], {"": "t1.long.b/stats/aseg.stats"}),
        (
            "aparc",
            ["s/stats/lh.aparc.stats", "s/stats/rh.aparc.stats", "s/stats/lh.aparc.pial.stats"],
            {"left": "s/stats/lh.aparc.stats", "right": "s/stats/rh.aparc.stats"},
        ),
        (
            "aparc.DKTatlas",
            ["s/stats/lh.aparc.DKTatlas.mapped.stats", "s/stats/rh.aparc.DKTatlas.mapped.stats"],
            {"left": "s/stats/lh.aparc.DKTatlas.mapped.stats", "right": "s/stats/rh.aparc.DKTatlas.mapped.stats"},
        ),
        (
            "hippo",
            [f"s/mri/{side}h.hippoSfVolumes-T1.v{v}.txt" for side in "lr" for v in (10, 21)]
            + ["s/mri/lh.hippoSfVolumes-T1-T2.v22.txt"],
            {"left": "s/mri/lh.hippoSfVolumes-T1.v21.txt", "right": "s/mri/rh.hippoSfVolumes-T1.v21.txt"},
        ),
        (  # the older segmentation has both sides
            "hippo",
            [f"s/mri/{side}h.hippoSfVolumes-T1.v10.txt" for side in "lr"] + ["s/mri/lh.hippoSfVolumes-T1.v21.txt"],
            {"left": "s/mri/lh.hippoSfVolumes-T1.v10.txt", "right": "s/mri/rh.hippoSfVolumes-T1.v10.txt"},
        ),
    ],
)
def test_the_files_of_a_table(table: str, names: list[str], expected: dict[str, str] | None) -> None:
    found = locate(TABLES[table], names)
    assert (found and found.by_side) == expected


#: Names of the programs' own documentation: FreeSurfer wiki (SubcorticalSegmentation, HippocampalSubfields,
#: HippocampalSubfieldsAndNucleiOfAmygdala, BrainstemSubstructures, ThalamicNuclei, SubregionSegmentation) and scripts
#: of 5.1 to 8.0; FastSurfer, doc/overview/OUTPUT_FILES.md of 2.0 to 2.4.
DOCUMENTED = {
    "5.1 to 8.0": {
        "aseg": ["stats/aseg.stats"],
        "wmparc": ["stats/wmparc.stats"],
        "aparc": ["stats/?h.aparc.stats"],
        "aparc.a2009s": ["stats/?h.aparc.a2009s.stats"],
    },
    "5.3": {"aparc.DKTatlas": ["stats/?h.aparc.DKTatlas40.stats"]},
    "6.0": {
        "aparc.DKTatlas": ["stats/?h.aparc.DKTatlas.stats"],
        "hippo": ["mri/?h.hippoSfVolumes-T1.v10.txt"],
        "brainstem": ["mri/brainstemSsVolumes.v10.txt"],
    },
    "6.0, T2 and longitudinal": {
        "hippo": [
            "mri/?h.hippoSfVolumes-T1-T2.v10.txt",
            "mri/?h.hippoSfVolumes-T2.v10.txt",
            "mri/?h.hippoSfVolumes-T1.long.v10.txt",
        ],
    },
    "7.1 to 7.4": {
        "hippo": ["mri/?h.hippoSfVolumes-T1.v21.txt", "stats/hipposubfields.?h.T1.v21.stats"],
        "amyg": ["mri/?h.amygNucVolumes-T1.v22.txt", "stats/amygdalar-nuclei.?h.T1.v22.stats"],
        "brainstem": ["mri/brainstemSsVolumes.v12.txt", "mri/brainstemSsVolumes.v13.txt", "stats/brainstem.v12.stats"],
        "thalamus": ["mri/ThalamicNuclei.v12.T1.volumes.txt", "stats/thalamic-nuclei.?h.v12.T1.stats"],
    },
    "7.1 to 7.4, T2 and longitudinal": {
        "hippo": [
            "mri/?h.hippoSfVolumes-T1-MYID.v21.txt",
            "mri/?h.hippoSfVolumes-MYID.v21.txt",
            "mri/?h.hippoSfVolumes-T1.long.v21.txt",
            "stats/hipposubfields.?h.T2.v21.MYID.stats",
        ],
        "amyg": [
            "mri/?h.amygNucVolumes-T1-MYID.v21.txt",
            "mri/?h.amygNucVolumes-T1.long.v21.txt",
            "stats/amygdalar-nuclei.?h.T2.v21.MYID.stats",
        ],
        "brainstem": ["mri/brainstemSsVolumes.long.v12.txt"],
        "thalamus": ["mri/ThalamicNuclei.long.v12.T1.volumes.txt", "mri/ThalamicNuclei.v12.MYID.volumes.txt"],
    },
    "segment_subregions, 7.3 to 8.0": {
        "hippo": ["mri/?h.hippoSfVolumes.txt", "mri/?h.hippoSfVolumes.long.txt", "mri/?h.hippoSfVolumes-T2.txt"],
        "amyg": ["mri/?h.amygNucVolumes.txt", "mri/?h.amygNucVolumes.long.txt"],
        "brainstem": ["mri/brainstemSsVolumes.txt", "mri/brainstemSsLabels.volumes.txt"],
        "thalamus": ["mri/ThalamicNuclei.volumes.txt", "mri/ThalamicNuclei.long.volumes.txt"],
    },
    "FastSurfer 2.0 to 2.4": {
        "aseg": ["stats/aseg.stats", "stats/aseg+DKT.stats", "stats/aseg+DKT.VINN.stats", "stats/aseg.VINN.stats"],
        "wmparc": ["stats/wmparc.DKTatlas.mapped.stats"],
        "aparc.DKTatlas": ["stats/?h.aparc.DKTatlas.mapped.stats"],
    },
}


@pytest.mark.parametrize(
    ("table", "name"),
    [(t, name) for release in DOCUMENTED.values() for t, names in release.items() for name in names],
)
def test_every_documented_name_is_known(table: str, name: str) -> None:
    names = [f"s/{name.replace('?h', side)}" for side in ("lh", "rh")] if "?h" in name else [f"s/{name}"]
    found = locate(TABLES[table], names)
    assert found is not None
    assert (list(found.by_side.values()), found.missing) == (names, ())
    others = [one for one in TABLES if one != table and locate(TABLES[one], names) is not None]
    assert not others


@pytest.mark.parametrize(
    ("table", "names", "read"),
    [
        ("hippo", ["mri/?h.hippoSfVolumes-T1.long.v21.txt", "mri/?h.hippoSfVolumes-T1.v10.txt"], 1),
        ("hippo", ["mri/?h.hippoSfVolumes-T1-T2.v22.txt", "mri/?h.hippoSfVolumes.txt"], 1),
        ("hippo", ["mri/?h.hippoSfVolumes-T1.v22.txt", "mri/?h.hippoSfVolumes.txt"], 1),
        ("aparc.DKTatlas", ["stats/?h.aparc.DKTatlas.stats", "stats/?h.aparc.DKTatlas.mapped.stats"], 0),
        ("aseg", ["stats/aseg+DKT.VINN.stats", "stats/aseg.stats"], 1),
    ],
)
def test_hemispheres_of_two_segmentations_are_not_mixed(table: str, names: list[str], read: int) -> None:
    every = [f"s/{name.replace('?h', side)}" for side in ("lh", "rh") for name in names]
    found = locate(TABLES[table], every)
    assert found is not None
    assert set(found.by_side.values()) == {f"s/{names[read].replace('?h', side)}" for side in ("lh", "rh")}
    assert not found.instead


def test_the_copy_in_stats_holds_the_same_numbers() -> None:
    text = b"Left-AV 120.5\nRight-AV 118.0\n"
    rows = b"# Left Thalamic nuclei volume statistics as created by segmentThalamicNuclei.sh\n1 1  0 120.5 AV\n"
    read = TABLES["thalamus"].read
    assert read(text, "").numbers[:1] == read(rows, "left").numbers


def test_a_missing_hemisphere_is_said() -> None:
    found = locate(TABLES["aparc"], ["s/stats/rh.aparc.stats"])
    assert found is not None
    assert found.missing == ("lh.aparc.stats",)


def test_two_subjects_in_one_place_are_refused() -> None:
    with pytest.raises(StatisticsError, match="2 subjects"):
        locate(TABLES["aseg"], ["a/stats/aseg.stats", "b/stats/aseg.stats"])


def test_versions() -> None:
    assert version_of(read_stats((SIX / "aseg.stats").read_bytes())) == "6"
    assert version_of(read_stats((SIX / "lh.aparc.stats").read_bytes())) == "6"
    assert version_of(read_stats((SEVEN / "aseg.stats").read_bytes())) == "7.4.1"
    old = b"# cvs_version $Id: mri_segstats.c,v 1.75.2.9 2013/02/16 00:09:33 greve Exp $\n"
    assert version_of(read_stats(old)) == "5"
    assert version_of(read_stats(b"")) == ""
    assert family_of("FREESURFER741") == ("FREESURFER", (7, 4, 1), "")


def test_the_newest_resource() -> None:
    labels = ["FREESURFER7_LONG", "QC", "FASTSURFER", "FREESURFER5", "FREESURFER53", "FREESURFER6_HIRES"]
    labels += ["FREESURFER6", "FREESURFER7_EXTRAS", "FREESURFER7", "FREESURFER741"]
    labels_by_length = sorted(labels, key=len)
    labels_by_length.sort(key=newness)
    assert labels_by_length == labels
    assert newness("FREESURFER7_NEW", "7.4.1") > newness("FREESURFER7", "7.1.1")


def test_volumes_in_voxels() -> None:
    content = (SIX / "aseg.stats").read_bytes()
    hires = content.replace(b"VoxelVolume_mm3 1", b"VoxelVolume_mm3 0.343")
    assert spoiled_volumes(read_stats(content), high_resolution=True) == frozenset()
    spoiled = spoiled_volumes(read_stats(hires), high_resolution=False)
    assert {"BrainSegVol", "MaskVol-to-eTIV", "lhCortexVol"} <= spoiled
    assert not {"eTIV", "lhSurfaceHoles"} & spoiled
    fixed = hires.replace(b"# subjectname", b"# BrainVolStatsFixed see the wiki\n# subjectname")
    assert spoiled_volumes(read_stats(fixed), high_resolution=True) == frozenset()
    seven = (SEVEN / "aseg.stats").read_bytes().replace(b"VoxelVolume_mm3 1", b"VoxelVolume_mm3 0.343")
    assert spoiled_volumes(read_stats(seven), high_resolution=True) == frozenset()
    cortex = read_stats((SIX / "lh.aparc.stats").read_bytes())
    assert spoiled_volumes(cortex, high_resolution=False) == frozenset()
    assert "BrainSegVol" in spoiled_volumes(cortex, high_resolution=True)
