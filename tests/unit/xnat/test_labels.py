from hypothesis import given
from hypothesis import strategies as st

from xnatferry.xnat.labels import (
    clean_label,
    label_problem,
    remote_name_problem,
    resource_label_problem,
    scan_id_problem,
)


@given(st.text(alphabet="abcXYZ019_-", min_size=1, max_size=64))
def test_xnat_takes_letters_digits_underscore_and_hyphen(label):
    assert label_problem(label) is None


@given(st.text())
def test_a_proposed_label_is_always_acceptable_or_empty(text):
    proposed = clean_label(text)
    assert proposed == "" or label_problem(proposed) is None


@given(st.text(alphabet="abcXYZ019-", min_size=1, max_size=60))
def test_a_good_label_is_proposed_as_it_is(label):
    assert clean_label(label) == label


def test_the_proposal_stays_readable():
    assert clean_label("Müller, José (2)") == "Muller_Jose_2"
    assert clean_label("sub 01.a") == "sub_01_a"


def test_a_bad_label_is_told_what_is_wrong_with_it():
    assert "'.'" in label_problem("sub.01")
    assert "empty" in label_problem("  ")
    assert "64" in label_problem("a" * 65)


def test_scan_ids_that_xnat_reads_as_wildcards_are_refused():
    assert "wildcard" in scan_id_problem("all")
    assert scan_id_problem("1") is None


def test_resource_labels_that_xnat_misreads_are_refused():
    assert "digits" in resource_label_problem("2024")
    assert "drop" in resource_label_problem("drop-box")
    assert resource_label_problem("FREESURFER7") is None
    assert resource_label_problem("dwi_1.5mm") is None


def test_file_names_that_would_climb_or_vanish_are_refused():
    for name in ("../x", "a/../b", "/a", "a//b", "a\\b", "x\n", "", "my_catalog.xml"):
        assert remote_name_problem(name), name
    for name in ("sub-01/anat/T1 w+1.nii.gz", "ä.nii", "a%20b", "%C3%A9.txt", "中" * 80):
        assert remote_name_problem(name) is None, name


def test_names_that_a_server_could_not_hold_or_would_read_otherwise_are_refused():
    for name in ("\U0010ffff.nii", "a\ufdd0", "a b%00", "x/%2e%2e/y +", "%2Fetc/a", "a%5Cb", "中" * 86):
        assert remote_name_problem(name), name


def test_names_that_1_8_11_does_not_send_are_refused():
    for name in ("100%.nii", "%zz", "a%2Fb", "%e9", "100%25.txt", "a%3Bb", "a%41", "a;b.txt", "a%20b%.txt"):
        assert "refuses URLs" in remote_name_problem(name), name
