from pathlib import Path

import pytest

from xnatferry.errors import UsageError
from xnatferry.planning.mapping import MappingRules, map_sources
from xnatferry.planning.placement import scan_type_for, session_type_of
from xnatferry.planning.session_matching import KnownSession, match_sessions
from xnatferry.sources.model import Claims, Finding, Kind, LocalFile, Severity, Source


def image(name="t1.nii.gz", *, kind=Kind.NIFTI, findings=(), attributes=None, version=None, **claims):
    return Source(
        kind,
        Path(name),
        name,
        (LocalFile(Path(name), name, 10, 1),),
        Claims(**claims),
        attributes or {},
        version,
        findings=findings,
    )


def mapped(*sources, **rules):
    return map_sources(sources, MappingRules("P", **rules))


def only(result):
    assert not result.refusals, result.refusals
    assert not result.conflicting, result.conflicting
    (placements,) = result.placements
    return placements


def test_defaults_are_those_of_the_founding_recipe():
    placements = only(mapped(image(subject="s1", type="T1w")))
    assert (placements.subject, placements.session, placements.scan, placements.resource) == (
        "s1",
        "s1_MR1",
        "1",
        "NIFTI",
    )
    assert placements.session_type == "xnat:mrSessionData"
    assert placements.scan_fields == {"type": "T1w", "series_description": "T1w", "quality": "usable"}
    assert placements.resource_fields == {"format": "NIFTI", "content": "NIFTI_RAW"}


def test_a_freesurfer_subject_is_a_resource_of_the_session():
    placements = only(mapped(image("s1", kind=Kind.FREESURFER, subject="s1", resource="FREESURFER7", version="7.4.1")))
    assert (placements.session, placements.scan, placements.resource) == ("s1_MR1", None, "FREESURFER7")


def test_what_the_user_says_wins():
    placements = only(
        mapped(
            image(subject="s1", type="T1w", session="v1"),
            session="visit",
            resource="RAW",
            format="NII",
            content="C",
            tags="x",
            type="MPRAGE",
            quality="questionable",
            date="2020-01-02",
            session_type="PET",
        )
    )
    assert (placements.session, placements.resource, placements.session_type) == ("visit", "RAW", "xnat:petSessionData")
    assert placements.resource_fields == {"format": "NII", "content": "C", "tags": "x"}
    assert placements.scan_fields["type"] == "MPRAGE"
    assert placements.session_fields == {"date": "2020-01-02"}


def test_scans_are_numbered_around_those_that_are_claimed():
    result = mapped(
        image("a.nii", subject="s"),
        image("b.nii", subject="s", scan="1"),
        image("c.nii", subject="s"),
        image("d.nii", subject="t"),
    )
    assert [w.scan for w in result.placements] == ["2", "1", "3", "1"]


def test_a_refused_label_is_shown_with_a_proposal_and_cleaned_only_when_asked():
    source = image(subject="sub 01")
    (refusal,) = mapped(source).refusals
    assert "sub_01" in refusal.reasons[0]
    assert "--clean-labels" in refusal.reasons[0]
    assert only(mapped(source, clean_labels=True)).subject == "sub_01"


def test_cleaning_never_merges_two_subjects():
    result = mapped(image("a.nii", subject="s 1"), image("b.nii", subject="s_1"), clean_labels=True)
    assert not result.placements
    assert all("would get the same label" in refusal.reasons[0] for refusal in result.refusals)


def test_labels_that_differ_by_case_alone_are_not_merged_either():
    assert len(mapped(image("a.nii", subject="S1"), image("b.nii", subject="s1")).refusals) == 2


def test_a_source_with_an_error_stays_behind():
    finding = Finding("NII01", Severity.ERROR, "it is truncated")
    (refusal,) = mapped(image(subject="s", findings=(finding,))).refusals
    assert refusal.reasons == ("it is truncated",)


def test_two_files_that_claim_one_place_block_the_push():
    result = mapped(image("x/t1.nii", subject="s", scan="1"), image("y/t2.nii", subject="s", scan="1"))
    assert len(result.conflicting) == 2
    assert "x/t1.nii" in result.conflicting[1].reasons[0]


def test_a_session_cannot_belong_to_two_subjects():
    result = mapped(image("a.nii", subject="s", session="v"), image("b.nii", subject="t", session="v"))
    assert "several subjects" in result.conflicting[0].reasons[0]


def test_a_source_without_a_subject_says_how_to_give_one():
    assert "--template" in mapped(image()).refusals[0].reasons[0]
    assert only(mapped(image(), subject="s")).subject == "s"


def test_geometry_stands_in_the_fields_and_units_of_its_scan_type():
    attributes = {
        "frames": "20",
        "parameters/voxelRes/x": "1.5",
        "parameters/matrix/x": "64",
        "parameters/orientation": "Tra",
    }
    attributes |= {"parameters/tr": "2000.0", "fieldStrength": "3"}

    def of(session_type):
        fields = only(mapped(image(subject="s", attributes=attributes), session_type=session_type)).scan_fields
        return {path: value for path, value in fields.items() if path not in {"type", "series_description", "quality"}}

    assert of("MR") == attributes
    pet = {"parameters/pixelSize/x": "0.15", "parameters/dimensions/x": "64", "parameters/frames/numFrames": "20"}
    assert of("PET") == {"frames": "20", **pet}
    assert of("CT") == {"frames": "20", "parameters/voxelRes/x": "1.5", "parameters/orientation": "Tra"}
    assert of("EEG") == of("OTHER") == {"frames": "20"}


@pytest.mark.parametrize(
    ("session_type", "scan_type"),
    [("MR", "mr"), ("PETMR", "mr"), ("PET", "pet"), ("CT", "ct"), ("EEG", "eeg"), ("MEG", "meg"), ("OTHER", "otherDicom"),
     ("xnat:usSessionData", "us"), ("xnat:imageSessionData", "otherDicom"), ("my:newSessionData", "otherDicom")],
)  # fmt: skip
def test_scans_are_of_the_kind_of_their_session(session_type, scan_type):
    assert scan_type_for(session_type_of(session_type)) == f"xnat:{scan_type}ScanData"


def test_the_name_changes_with_the_bytes():
    placements = only(mapped(image("t1.nii", subject="s")))
    assert placements.name_of(placements.source.files[0], gzip=True) == "t1.nii.gz"
    assert placements.name_of(placements.source.files[0], gzip=False) == "t1.nii"


@pytest.mark.parametrize(
    ("rules", "word"),
    [
        ({"project": "a b"}, "project"),
        ({"project": "P", "date": "1.2.2020"}, "YYYY-MM-DD"),
        ({"project": "P", "session_type": "XX"}, "xnat:mrSessionData"),
        ({"project": "P", "session_template": "{sub}"}, "subject"),
        ({"project": "P", "resource": "1"}, "digits"),
    ],
)
def test_rules_that_cannot_be_used_are_refused(rules, word):
    with pytest.raises(UsageError, match=word):
        map_sources([], MappingRules(**rules))


def test_a_subject_that_the_user_names_is_a_merge_by_order():
    result = mapped(image("a/t.nii", subject="visitA"), image("b/t.nii", subject="visitB"), subject="X")
    assert not result.refusals
    assert {placements.subject for placements in result.placements} == {"X"}


@pytest.mark.parametrize("kind", [Kind.NIFTI, Kind.FREESURFER, Kind.FILES])
@pytest.mark.parametrize("days", [("2024-05-01", "2024-06-01"), ("20240501", "20240601093000")])
def test_two_dates_are_two_sessions(kind, days):
    result = mapped(*(image(f"{day}.nii", kind=kind, subject="s1", date=day) for day in days))
    assert not result.refusals
    assert not result.conflicting
    found = {item.session: item.session_fields["date"] for item in result.placements}
    assert found == {"s1_MR_2024-05-01": "2024-05-01", "s1_MR_2024-06-01": "2024-06-01"}


def test_two_images_of_one_date_share_the_usual_session():
    result = mapped(*(image(f"{n}.nii", subject="s1", date="2024-05-01") for n in "ab"))
    assert {item.session for item in result.placements} == {"s1_MR1"}


@pytest.mark.parametrize("rules", [{"session": "v"}, {"session_template": "{subject}_v"}, {}])
def test_a_named_session_with_two_dates_is_refused_with_both(rules):
    claims = {} if rules else {"session": "v"}
    days = ("2024-05-01", "2024-06-01")
    result = mapped(*(image(f"{day}.nii", subject="s1", date=day, **claims) for day in days), **rules)
    assert not result.placements
    assert len(result.refusals) == 2
    assert all(day in refusal.reasons[0] for day in days for refusal in result.refusals)


def test_an_image_without_a_date_joins_no_session_of_a_date():
    result = mapped(
        image("a.nii", subject="s1", date="2024-05-01"),
        image("b.nii", subject="s1", date="2024-06-01"),
        image("c.nii", subject="s1"),
    )
    assert [refusal.relative for refusal in result.refusals] == ["c.nii"]


def test_a_date_that_is_none_is_refused():
    assert "not a date" in mapped(image(subject="s1", date="20241301")).refusals[0].reasons[0]


@pytest.mark.parametrize(
    ("held", "day", "session"),
    [
        ({}, "2024-06-01", "s1_MR1"),
        ({"s1_MR1": "2024-05-01"}, "2024-06-01", "s1_MR_2024-06-01"),
        ({"s1_MR1": "2024-05-01"}, "2024-05-01", "s1_MR1"),
        ({"s1_MR1": ""}, "2024-05-01", "s1_MR1"),
        ({"s1_MR1": "", "s1_MR_2024-05-01": "2024-05-01"}, "2024-05-01", "s1_MR_2024-05-01"),
    ],
)
@pytest.mark.parametrize("kind", [Kind.NIFTI, Kind.FREESURFER])
def test_no_data_go_to_a_session_of_another_date(kind, held, day, session):
    rules = MappingRules("P")
    sessions = [KnownSession("s1", label, "xnat:mrSessionData", date) for label, date in held.items()]
    matched = match_sessions(mapped(image(kind=kind, subject="s1", date=day)), sessions, frozenset({"s1"}), rules)
    assert not matched.mapped.conflicting
    assert [item.session for item in matched.mapped.placements] == [session]


def test_the_session_of_the_first_date_keeps_its_label_when_a_second_date_comes():
    sessions = [KnownSession("s1", "s1_MR1", "xnat:mrSessionData", "2024-05-01")]
    two = mapped(*(image(f"{day}.nii", subject="s1", date=day) for day in ("2024-05-01", "2024-06-01")))
    matched = match_sessions(two, sessions, frozenset({"s1"}), MappingRules("P"))
    assert [item.session for item in matched.mapped.placements] == ["s1_MR1", "s1_MR_2024-06-01"]


@pytest.mark.parametrize(
    ("name", "rules", "expected"),
    [
        ("mprage.nii.gz", {"subject": "P7"}, ("mprage", "mprage")),
        ("mprage.nii.gz", {"subject": "P7", "type": "T1w"}, ("T1w", "T1w")),
        ("mprage.nii.gz", {}, ("unknown", "unknown")),
    ],
)
def test_the_name_of_a_file_is_its_type_if_it_is_no_subject(name, rules, expected):
    words = only(mapped(image(name, subject="mprage"), **rules)).scan_fields
    assert (words["type"], words["series_description"]) == expected
    assert only(mapped(image(name, subject="P7"))).scan_fields["type"] == "mprage"
