"""Names of BIDS files, taken apart and put together; what the schema says of paths; patterns of .bidsignore."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.sources.bids.names import bids_schema, parse_name, split_extension
from xnatferry.sources.bids.tree import Ignored

words = st.text("abcXYZ019+", min_size=1, max_size=6)
keys = st.sampled_from(["sub", "ses", "task", "run", "acq", "echo"])


@given(
    st.lists(st.tuples(keys, words), min_size=1, max_size=4),
    words,
    st.sampled_from([".nii.gz", ".json", ".tsv.gz", ".fif"]),
)
def test_a_name_is_what_its_parts_say(entities, suffix, extension):
    text = "_".join([*(f"{key}-{label}" for key, label in entities), suffix]) + extension
    name = parse_name(text)
    assert (name.entities, name.suffix, name.extension) == (tuple(entities), suffix, extension)
    assert name.stem + name.extension == text


@pytest.mark.parametrize(
    "text", ["README", "T1w.nii", "sub-01.nii.gz", "sub_T1w.nii", "sub-01_ses-02", "_T1w.nii", "sub-_T1w.nii"]
)
def test_other_names_are_none(text):
    assert parse_name(text) is None


def test_extensions_of_two_parts_stay_together():
    assert split_extension("a.b_T1w.nii.gz") == ("a.b_T1w", ".nii.gz")
    assert split_extension(".bidsignore") == (".bidsignore", "")


@pytest.mark.parametrize(
    "path",
    [
        "dataset_description.json", "README.md", "participants.tsv", "task-rest_bold.json", "T1w.json", ".bidsignore",
        "sub-01/anat/sub-01_T1w.nii.gz", "sub-a+b/ses-1/func/sub-a+b_ses-1_task-x_echo-1_part-mag_bold.nii.gz",
        "sub-01/sub-01_sessions.tsv", "sub-01/ses-1/sub-01_ses-1_scans.tsv", "sub-01/sub-01_T1w.json", "dwi.bval",
        "sub-01/meg/sub-01_task-x_meg.ds/x.res4", "phenotype/ace.tsv", "code/anything.py", "stimuli/a b.jpg",
        "sub-01/pet/sub-01_trc-X_recording-manual_blood.tsv", "sub-01/motion/sub-01_task-x_tracksys-y_motion.tsv",
    ],
)  # fmt: skip
def test_the_schema_knows_these_paths(path):
    assert bids_schema().allows(path)


@pytest.mark.parametrize(
    "path",
    [
        "notes.txt", "sub-01/anat/T1.nii.gz", "sub-01/anat/sub-02_T1w.nii.gz", "sub-01/func/sub-01_T1w.nii.gz",
        "sub-01/anat/sub-01_nosuchsuffix.nii.gz", "sub-01/extra/x.txt", "task-rest_bold.nii.gz", "sub-01/anat/sub-01_T1w.mat",
    ],
)  # fmt: skip
def test_the_schema_knows_no_such_paths(path):
    assert not bids_schema().allows(path)


@pytest.mark.parametrize(
    ("lines", "ignored", "kept"),
    [
        (["*.dat"], ["x.dat", "a/b/x.dat"], ["x.data", "x.txt"]),
        (["/extra/"], ["extra/a", "extra/b/c"], ["a/extra/b", "extra"]),
        (["logs"], ["logs/a", "a/logs", "a/logs/b"], ["logs2/a"]),
        (["**/sub-*_FLASH.nii.gz"], ["sub-1/anat/sub-1_FLASH.nii.gz", "sub-1_FLASH.nii.gz"], ["sub-1/FLASH.nii.gz"]),
        (["*_meg.dat", "!keep_meg.dat"], ["a/x_meg.dat"], ["a/keep_meg.dat"]),
        (["# x", "", "a/*.txt"], ["a/b.txt"], ["a/b/c.txt", "b.txt"]),
        (["x?[ab].txt"], ["x1a.txt"], ["x1c.txt", "xa.txt"]),
        (["[broken"], ["[broken"], ["broken"]),
    ],
)
def test_bidsignore_reads_as_gitignore_does(lines, ignored, kept):
    patterns = Ignored(lines)
    assert [path for path in (*ignored, *kept) if patterns.matches(path)] == ignored
