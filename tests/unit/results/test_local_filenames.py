"""Names that come from a server and must stand on a disk of another system; no disk is needed to know."""

import ntpath
import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.results.local_filenames import clashes, path_problem, path_warning

DEST = PureWindowsPath("D:/back")


@pytest.mark.parametrize(
    "name",
    ["CON", "con.txt", "CON .txt", "Aux.nii.gz", "NUL", "COM1", "LPT¹.log", "CONIN$", "scan.", "scan ", "C:", "C:evil", "a:b", "a\\b", "T1?", "a*", 'a"b', "<x>", "a|b"],
)  # fmt: skip
def test_what_windows_cannot_hold_is_refused_there_and_told_elsewhere(name):
    assert path_problem(["sub", name, "T1.nii"], windows=True)
    assert path_warning(["sub", name, "T1.nii"])
    assert path_problem(["sub", name, "T1.nii"], windows=False) is None


@pytest.mark.parametrize(
    "name", ["CONTROL", "console.txt", "COM", "COM0", "NULL", "a.b", ".bidsignore", "ümlaut", "a b", "x.CON"]
)
def test_ordinary_names_are_not(name):
    assert path_problem([name], windows=True) is None


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b", "a\nb", "x" * 256, "ü" * 128, "\ud800"])
def test_what_no_disk_should_hold(name):
    assert path_problem([name], windows=False)
    assert path_problem([name], windows=True)


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=4))
def test_a_path_that_passes_stays_below_its_folder_on_both_systems(parts):
    if path_problem(parts, windows=False) is None:
        assert PurePosixPath("/back", *parts).relative_to("/back").parts == tuple(parts)
    if path_problem(parts, windows=True) is None:
        assert DEST.joinpath(*parts).relative_to(DEST).parts == tuple(parts)


@given(st.text(alphabet="CONAUXPRNLTM123 .$:*ab", min_size=1, max_size=8))
def test_windows_agrees_about_reserved_names(name):
    if not hasattr(ntpath, "isreserved"):
        pytest.skip("Python before 3.13 does not know")
    if path_problem([name], windows=True) is None:
        assert not ntpath.isreserved(name)


def test_twins_of_case_and_of_accents_clash_where_the_disk_folds():
    nfc, nfd = unicodedata.normalize("NFC", "Müller"), unicodedata.normalize("NFD", "Müller")
    for one, other in (("T1.nii", "t1.NII"), (nfc, nfd), ("straße", "STRASSE")):
        paths = [("s", one), ("s", other)]
        assert set(clashes(paths, folds=True)) == set(paths)
        assert clashes(paths, folds=False) == {}
    assert clashes([("a",), ("A", "b")], folds=True)
