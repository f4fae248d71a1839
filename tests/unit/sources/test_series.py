"""Folders as converters of DICOM write them are understood without options: scan, type, description, date, session."""

import json

import pytest

from xnatferry.errors import UsageError
from xnatferry.planning.mapping import MappingRules, map_sources
from xnatferry.sources.discovery import discover
from xnatferry.sources.model import Kind
from xnatferry.sources.series import PRESETS, read_series_rules

T1 = {"SeriesNumber": 3, "SeriesDescription": "t1_mprage_sag_p2_iso", "ImageType": ["ORIGINAL", "PRIMARY"]}
BOLD = {"SeriesNumber": 5, "SeriesDescription": "ep2d_bold_rest"}
ADC = {"SeriesNumber": 8, "SeriesDescription": "ep2d_diff_ADC", "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}

#: Paths with their sidecars (or None), the option that is needed, and what a user expects: session, scan, type, name.
EXPORTS = {
    "time, protocol and series, as many sites call dcm2niix": (
        {"P0231/20240315_1203_t1_mprage_sag_p2_iso_3.nii": T1, "P0231/20240315_1203_ep2d_bold_rest_5.nii": BOLD},
        None,
        {("P0231_MR1", "3", "T1w", "t1_mprage_sag_p2_iso"), ("P0231_MR1", "5", "bold", "ep2d_bold_rest")},
    ),
    "the same without sidecars": (
        {"P0231/20240315_1203_t1_mprage_sag_p2_iso_3.nii": None},
        None,
        {("P0231_MR1", "3", "T1w", "t1_mprage_sag_p2_iso")},
    ),
    "the default of dcm2niix, one folder for all": (
        {"ann_t1_mprage_20240315120300_3.nii": None, "bob_T2_FLAIR_20240316120300_12.nii": None},
        None,
        {("ann_MR1", "3", "T1w", "t1_mprage"), ("bob_MR1", "12", "FLAIR", "T2_FLAIR")},
    ),
    "series and protocol, named by the sidecar": (
        {"P1/3_t1_mprage_sag_p2_iso.nii": T1, "P1/5_ep2d_bold_rest.nii": BOLD},
        None,
        {("P1_MR1", "3", "T1w", "t1_mprage_sag_p2_iso"), ("P1_MR1", "5", "bold", "ep2d_bold_rest")},
    ),
    "echoes are one scan": (
        {f"P1/20240315_120300_me_bold_5_e{echo}.nii": BOLD for echo in (1, 2, 3)},
        None,
        {("P1_MR1", "5", "bold", "ep2d_bold_rest")},
    ),
    "phase, real and imaginary parts are one scan": (
        {f"P1/20240315_120300_gre_field_mapping_7{part}.nii": None for part in ("", "_ph", "_real", "_imaginary")},
        None,
        {("P1_MR1", "7", "fmap", "gre_field_mapping")},
    ),
    "planes of a localizer are one scan": (
        {f"P1/20240315_120300_localizer_1{letter}.nii": None for letter in ("", "a", "b")},
        None,
        {("P1_MR1", "1", "localizer", "localizer")},
    ),
    "dcm2nii, the old converter": (
        {"P1/20090315_120300T1MPRAGEs004a001.nii": None, "P1/co20090315_120300DTIs006a1001.nii": None},
        None,
        {("P1_MR1", "4", "T1w", "T1MPRAGE"), ("P1_MR1", "6", "dwi", "DTI")},
    ),
    "SPM: one image a volume": (
        {f"run/fP1-0004-00001-{volume:06}-01.nii": None for volume in (1, 2, 3)},
        {"subject": "P1"},
        {("P1_MR1", "4", "unknown", "unknown")},
    ),
    "subject and session folders": (
        {"P1/baseline/20240315_1203_t1_mprage_sag_p2_iso_3.nii": T1},
        None,
        {("P1_baseline", "3", "T1w", "t1_mprage_sag_p2_iso")},
    ),
    "files that people renamed keep their type": (
        {"P1/T1.nii": T1, "P1/rest.nii": BOLD},
        None,
        {("P1_MR1", "3", "T1", "t1_mprage_sag_p2_iso"), ("P1_MR1", "5", "rest", "ep2d_bold_rest")},
    ),
    "BIDS names say all themselves": (
        {"sub-01/anat/sub-01_T1w.nii": T1},
        None,
        {("01_MR1", "1", "T1w", "T1w")},
    ),
}


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_needs_no_template(name, tmp_path, make_image):
    files, option, expected = EXPORTS[name]
    put(tmp_path, files, make_image)
    mapped = map_sources(discover(tmp_path, kind=Kind.NIFTI).sources, MappingRules("P", **(option or {})))
    assert (mapped.refusals, mapped.conflicting) == ((), ())
    found = {(p.session, p.scan, p.scan_fields["type"], p.scan_fields["series_description"]) for p in mapped.placements}
    assert found == expected


def put(root, files, make_image):
    for path, sidecar in files.items():
        image = make_image(root / path)
        if sidecar:
            image.with_suffix(".json").write_text(json.dumps(sidecar))


def test_two_series_of_one_number_are_refused(tmp_path, make_image):
    put(tmp_path, {"P1/20240315_1203_t1_3.nii": None, "P1/20240315_1203_t2_3.nii": None}, make_image)
    mapped = map_sources(discover(tmp_path).sources, MappingRules("P"))
    assert [refusal.relative for refusal in mapped.conflicting] == [
        "P1/20240315_1203_t1_3.nii",
        "P1/20240315_1203_t2_3.nii",
    ]


def test_a_name_that_contradicts_its_sidecar_is_told(tmp_path, make_image):
    put(tmp_path, {"P1/20240315_1203_t1_4.nii": T1}, make_image)
    (source,) = discover(tmp_path).sources
    (finding,) = [one for one in source.findings if one.id == "NII34"]
    assert "the name says series 4, the sidecar 3" in finding.message
    assert source.claims.scan == "3"


def test_what_a_converter_computed_is_marked(tmp_path, make_image):
    put(tmp_path, {"P1/8_ep2d_diff_ADC.nii": ADC, "P1/20240315_1203_bold_9_MoCo.nii": None}, make_image)
    assert {source.claims.note for source in discover(tmp_path).sources} == {"derived image"}


def test_the_date_comes_from_the_sidecar_then_the_name(tmp_path, make_image):
    told = T1 | {"AcquisitionDateTime": "2024-03-16T00:01:02.5"}
    put(tmp_path, {"P1/20240315_2359_t1_3.nii": told, "P2/20240315_2359_t1_3.nii": None}, make_image)
    assert [source.claims.date for source in discover(tmp_path).sources] == ["2024-03-16", "2024-03-15"]


def test_a_preset_is_named_where_recognition_fails(tmp_path, make_image):
    put(tmp_path, {"P1/20240315_1203_t1_3.nii": None, "P1/other.nii": None}, make_image)
    assert discover(tmp_path).reading == "series from 1 name of dcm2niix"
    refused = {source.relative for source in discover(tmp_path, preset="dcm2niix").sources if source.refused}
    assert refused == {"P1/other.nii"}
    assert {source.claims.scan for source in discover(tmp_path, preset="none").sources} == {None}
    with pytest.raises(UsageError, match="--template says what names mean"):
        discover(tmp_path, preset="spm", template=["{subject}/{type}.nii"])


def test_rules_of_a_user_come_first(tmp_path, make_image):
    rules = tmp_path / "site.toml"
    rules.write_text(
        "[[names]]\npreset = 'ours'\npattern = 'S(?P<scan>\\d+) (?P<description>.+)'\n"
        "[[types]]\ntype = 'T1 of our site'\npattern = 'mprage'\n"
    )
    put(tmp_path / "data", {"P1/S07 mprage.nii": None}, make_image)
    (source,) = discover(tmp_path / "data", kind=Kind.NIFTI, rules=rules).sources
    assert (source.claims.scan, source.claims.type) == ("7", "T1 of our site")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[names]]\npreset = 'x'\npattern = '('", "not a regular expression"),
        ("[[names]]\npreset = 'x'\npattern = 'a'", r"no group \(\?P<scan>"),
        ("[[types]]\ntype = 1\npattern = 'a'", "every entry needs the texts type and pattern"),
        ("names = 1", r"written \[\[names\]\]"),
        ("nonsense", "cannot be read"),
    ],
)
def test_rules_that_cannot_be_used_are_refused(tmp_path, text, message):
    (tmp_path / "site.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_series_rules(tmp_path / "site.toml")


def test_presets_are_those_of_the_rules():
    assert tuple(dict.fromkeys(preset for preset, _ in read_series_rules().names)) == PRESETS
