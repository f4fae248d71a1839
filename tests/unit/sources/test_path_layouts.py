import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.sources.nifti import split_name
from xnatferry.sources.path_layouts import claims_of_folder, claims_of_path, joined_session, problem_of_path


def read(relative):
    claims = claims_of_path(relative, split_name(relative.rpartition("/")[2])[0])
    return claims.subject, claims.session, claims.scan, claims.type


@pytest.mark.parametrize(
    ("relative", "expected"),
    [
        ("P7.nii.gz", ("P7", None, None, None)),
        ("subject01.nii", ("subject01", None, None, None)),
        ("P7_T1.nii.gz", ("P7", None, None, "T1")),
        ("site_01_T1w.nii.gz", ("site_01", None, None, "T1w")),
        ("P7_rest_1.nii.gz", ("P7", None, None, "rest_1")),
        ("t1_mprage_sag.nii.gz", (None, None, None, "t1_mprage_sag")),
        ("PD_001_T1.nii.gz", ("PD_001", None, None, "T1")),
        ("P7-dwi.nii", ("P7", None, None, "dwi")),
        ("T1.nii.gz", (None, None, None, "T1")),
        ("P7/T1.nii.gz", ("P7", None, None, "T1")),
        ("P7/P7_T1.nii.gz", ("P7", None, None, "T1")),
        ("P7/anat/T1.nii.gz", ("P7", None, None, "T1")),
        ("P7/baseline/T1.nii.gz", ("P7", "P7_baseline", None, "T1")),
        ("P7/P7_MR2/T1.nii.gz", ("P7", "P7_MR2", None, "T1")),
        ("1/1/T1.nii.gz", ("1", "1_1", None, "T1")),
        ("1/10/T1.nii.gz", ("1", "1_10", None, "T1")),
        ("10/10/T1.nii.gz", ("10", "10_10", None, "T1")),
        ("A/Amsterdam/T1.nii.gz", ("A", "A_Amsterdam", None, "T1")),
        ("P7/p7-2/T1.nii.gz", ("P7", "p7-2", None, "T1")),
        ("P7/baseline/nifti/T1.nii.gz", ("P7", "P7_baseline", None, "T1")),
        ("P7/baseline/003_MPRAGE/image.nii.gz", ("P7", "P7_baseline", "3", "MPRAGE")),
        ("sub-01_T1w.nii.gz", ("01", None, None, "T1w")),
        ("sub-01_ses-1_T1w.nii.gz", ("01", "01_1", None, "T1w")),
        ("sub-01/ses-2/func/sub-01_ses-2_task-rest_run-01_bold.nii.gz", ("01", "01_2", None, "bold")),
        ("sub-01/anat/T1.nii.gz", ("01", None, None, "T1")),
        ("Study/sub-01/T1.nii.gz", ("01", None, None, "T1")),
        ("S1/scans/3-T1w/resources/NIFTI/files/x.nii.gz", (None, "S1", "3", "T1w")),
    ],
)
def test_defaults(relative, expected):
    assert read(relative) == expected


def test_what_distinguishes_runs_goes_into_the_description():
    claims = claims_of_path("sub-01/func/sub-01_task-rest_run-01_bold.nii.gz", "sub-01_task-rest_run-01_bold")
    assert claims.series_description == "task-rest_run-01_bold"


def test_images_and_results_of_one_person_meet():
    assert claims_of_folder("sub-01_ses-2").session == read("sub-01_ses-2_T1w.nii.gz")[1] == "01_2"
    assert claims_of_folder("sub-01").subject == read("sub-01/T1w.nii.gz")[0]
    assert claims_of_folder("P7").subject == read("P7/T1.nii.gz")[0] == "P7"


parts = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=12)


@given(st.lists(parts, max_size=5), parts)
def test_any_path_is_read_without_a_crash_and_empty_claims_are_none(folders, stem):
    relative = "/".join([*folders, f"{stem}.nii.gz"])
    claims = claims_of_path(relative, stem)
    assert all(getattr(claims, name) != "" for name in ("subject", "session", "scan", "type", "series_description"))


words = st.text("aA1 _-.é", min_size=1, max_size=4)


@given(words, words)
def test_a_session_label_begins_with_its_subject_as_a_whole_word(subject, session):
    label = joined_session(subject, session)
    rest = label[len(subject) :]
    assert label.casefold().startswith(subject.casefold())
    assert rest
    assert not rest[0].isalnum()


@pytest.mark.parametrize(
    ("relative", "both"),
    [
        ("sub-01/anat/sub-02_T1w.nii.gz", ("01", "02")),
        ("sub-01/ses-1/anat/sub-01_ses-2_T1w.nii.gz", ("1", "2")),
        ("sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz", ()),
    ],
)
def test_a_path_that_names_two_people_or_sessions_is_a_problem(relative, both):
    found = problem_of_path(relative)
    assert (found is None) is (not both)
    assert found is None or (found[0] == "NII35" and ", ".join(both) in found[1])
