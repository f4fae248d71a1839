"""Data that is empty or cut is found wherever it stands: recordings, results, atlases, surfaces."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from xnatferry.checks.data_files import inspect_data
from xnatferry.sources.discovery import discover
from xnatferry.sources.model import Kind, Severity, Source

T1 = "sub-01/anat/sub-01_T1w.nii.gz"
ANNEX = b"/annex/objects/MD5E-s1234--0123456789abcdef0123456789abcdef.edf\n"


def edf(records: int = 3, width: int = 2) -> bytes:
    """Two signals of 4 and 6 samples a record."""
    start = b"0       " if width == 2 else b"\xffBIOSEMI"
    header = start.ljust(184) + b"768".ljust(52) + str(records).encode().ljust(8) + b"1".ljust(8) + b"2".ljust(4)
    return header + bytes(2 * 216) + b"4".ljust(8) + b"6".ljust(8) + bytes(2 * 32) + bytes(10 * width * max(records, 0))


def hdf5(version: int) -> bytes:
    if version == 0:
        head = b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0]) + bytes(8) + struct.pack("<4Q", 0, 0, 900, 0)
    else:
        head = b"\x89HDF\r\n\x1a\n" + bytes([version, 8, 8, 0]) + struct.pack("<4Q", 0, 0, 900, 0)
    return head.ljust(900, b"\1")


def image() -> bytes:
    return gzip.compress(nib.Nifti1Image(np.ones((4, 5, 6), np.int16), np.eye(4)).to_bytes())


def gifti() -> bytes:
    return nib.gifti.GiftiImage(darrays=[nib.gifti.GiftiDataArray(np.zeros((4, 3), np.float32))]).to_bytes()


#: A whole file of each format.
WHOLE = {
    "a.edf": edf(),
    "a.bdf": edf(width=3),
    "a.snirf": hdf5(0),
    "a.nwb": hdf5(2),
    "a.surf.gii": gifti(),
    "a.mgz": gzip.compress(bytes(400)),
    "a.tsv.gz": gzip.compress(b"1\t2\n"),
    "a.nii.gz": image(),
    "a.nii": gzip.decompress(image()),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_data_is_accepted_and_cut_or_empty_data_is_not(tmp_path: Path, name: str) -> None:
    path, whole = tmp_path / name, WHOLE[name]
    path.write_bytes(whole)
    assert inspect_data(path)[0] == []
    for content in (b"", whole[: len(whole) * 2 // 3], whole[:-1], ANNEX, b"<!doctype html><html></html>"):
        path.write_bytes(content)
        (finding,) = inspect_data(path)[0]
        assert (finding.severity, finding.path) == (Severity.ERROR, path)


@pytest.mark.parametrize("content", [edf(-1), edf(0), b"not a recording"])
def test_recordings_that_state_no_length_are_accepted(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.edf").write_bytes(content)
    assert inspect_data(tmp_path / "a.edf")[0] == []


@pytest.mark.parametrize("name", ["a.vhdr", "a.eeg", "a.fif", "a.set", "a.fdt", "a.trk"])
def test_other_recordings_are_not_empty(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert [finding.id for finding in inspect_data(tmp_path / name)[0]] == ["FIL05"]


#: Where data stands in a dataset, and whether other files of its resource are uploaded without it.
PLACES = {
    "recording": ("sub-01/eeg/sub-01_task-x_eeg.edf", edf(), False),
    "recording of several files": ("sub-01/eeg/sub-01_task-y_eeg.eeg", b"samples", False),
    "pulse": ("sub-01/func/sub-01_task-x_physio.tsv.gz", gzip.compress(b"1\n"), True),
    "results": ("derivatives/fmriprep/sub-01/anat/sub-01_desc-preproc_T1w.nii.gz", image(), True),
    "results of all": ("derivatives/fmriprep/tpl-x_T1w.nii.gz", image(), True),
    "surface": ("derivatives/fmriprep/sub-01/anat/sub-01_hemi-L_pial.surf.gii", gifti(), True),
    "atlas": ("atlas-x/tpl-y_atlas-x_dseg.nii.gz", image(), True),
}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    files = {T1: image(), "dataset_description.json": b'{"Name": "n", "BIDSVersion": "1.8.0"}', "README": b"x"}
    files |= {
        "sub-01/eeg/sub-01_task-y_eeg.vhdr": b"header",
        "sub-01/eeg/sub-01_task-y_eeg.vmrk": b"marks",
        "sub-01/func/sub-01_task-x_bold.nii.gz": image(),
        "derivatives/fmriprep/dataset_description.json": b"{}",
        "derivatives/fmriprep/sub-01/anat/a.txt": b"a",
    }
    for name, content in (files | {name: content for name, content, _ in PLACES.values()}).items():
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "set"


def refused(root: Path, **options: bool) -> tuple[list[Source], set[str]]:
    """Sources with an error, and every file that would be uploaded."""
    sources = discover(root, **options).sources
    kept = {file.tree_path for source in sources if not source.refused for file in source.files}
    return [source for source in sources if source.refused], kept


def test_nothing_is_said_of_whole_data(dataset: Path) -> None:
    assert refused(dataset)[0] == []


@pytest.mark.parametrize("damage", ["empty", "cut"])
@pytest.mark.parametrize("place", PLACES)
def test_damaged_data_is_refused_wherever_it_stands(dataset: Path, place: str, damage: str) -> None:
    name, content, alone = PLACES[place]
    if damage == "cut" and place == "recording of several files":
        pytest.skip("raw samples state no length")
    whole = refused(dataset)[1]
    (dataset / name).write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
    (source,), kept = refused(dataset)
    assert name in {str(f.path.relative_to(dataset)) for f in source.findings if f.severity is Severity.ERROR}
    assert name not in kept
    assert not alone or whole - kept == {name}
    assert name in refused(dataset, allow_incomplete=True)[1]


def test_results_of_other_programs_and_tables_are_read_too(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "S1"
    folder.mkdir(parents=True)
    (folder / "map.nii.gz").write_bytes(image()[:-9])
    (folder / "a.txt").write_text("x")
    (source,) = discover(tmp_path / "results", kind=Kind.FILES).sources
    assert [f.id for f in source.findings if f.severity is Severity.ERROR] == ["NII09"]
    assert not discover(tmp_path / "results", kind=Kind.FILES, allow_incomplete=True).sources[0].refused
    (tmp_path / "rest.edf").write_bytes(edf()[:-1])
    (tmp_path / "t.csv").write_text("path,subject,session_type,scan,type,resource\nrest.edf,s,EEG,1,rest,EEG\n")
    (source,) = discover(tmp_path / "t.csv").sources
    assert [f.id for f in source.findings if f.severity is Severity.ERROR] == ["FIL05"]
