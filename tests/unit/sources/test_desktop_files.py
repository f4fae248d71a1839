"""What desktop programs leave behind is no data: one rule for folders and archives."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from xnatferry.results.operations import stats
from xnatferry.sources.discovery import discover
from xnatferry.sources.folder_walk import is_desktop_file
from xnatferry.sources.model import Discovery, Kind

FORK = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X"
#: As Finder, tar of macOS and Windows leave them; S is the subject.
LEFTOVERS = {
    "__MACOSX": ["__MACOSX/._S", "__MACOSX/S/mri/._orig.mgz", "__MACOSX/S/stats/._aseg.stats", "__MACOSX/S/surf/._lh.white"],
    "resource forks": ["._S", "S/._mri", "S/mri/._orig.mgz", "S/stats/._aseg.stats"],
    "Finder": [".DS_Store", "S/.DS_Store", "S/mri/.DS_Store"],
    "Windows": ["Thumbs.db", "S/Thumbs.db", "S/mri/desktop.ini"],
}  # fmt: skip


def pack(folder: Path, target: Path, leftovers: list[str]) -> Path:
    """A subject called S with leftovers among its files, as the program writes them: in front."""
    names = [(name.replace("S/", f"{folder.name}/").replace("._S", f"._{folder.name}"), FORK) for name in leftovers]
    names += [
        (f"{folder.name}/{p.relative_to(folder)}", p.read_bytes()) for p in sorted(folder.rglob("*")) if p.is_file()
    ]
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w") as archive:
            for name, data in names:
                archive.writestr(name, data)
        return target
    with tarfile.open(target, "w:gz" if target.suffix == ".gz" else "w") as tar:
        for name, data in names:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return target


def uploaded(discovery: Discovery) -> list[set[str]]:
    assert not [source for source in discovery.sources if source.refused], discovery.sources[0].findings
    return [{file.name for file in source.files} for source in discovery.sources]


@pytest.mark.parametrize("kind", LEFTOVERS)
@pytest.mark.parametrize("ending", [".zip", ".tar", ".tar.gz"])
def test_an_archive_has_its_subject_and_nothing_else(
    whole_subject: Path, tmp_path: Path, ending: str, kind: str
) -> None:
    plain = uploaded(discover(pack(whole_subject, tmp_path / f"a{ending}", [])))
    odd = pack(whole_subject, tmp_path / f"b{ending}", LEFTOVERS[kind])
    discovery = discover(odd)
    assert uploaded(discovery) == plain
    assert not discovery.sources[0].archived, "it is repacked, as the server would extract all of it"
    assert "FS22" in [finding.id for finding in discovery.sources[0].findings]
    assert [entry.place.subject for entry in stats("aseg", odd).entries] == ["001"]


@pytest.mark.parametrize("kind", LEFTOVERS)
def test_a_folder_has_its_subject_and_nothing_else(whole_subject: Path, tmp_path: Path, kind: str) -> None:
    root = tmp_path / "subjects"
    shutil.copytree(whole_subject, root / "S")
    plain = uploaded(discover(root))
    for name in LEFTOVERS[kind]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(FORK)
    discovery = discover(root)
    assert discovery.kind is Kind.FREESURFER
    assert uploaded(discovery) == plain


@pytest.mark.parametrize("kind", LEFTOVERS)
def test_images_and_results_leave_them_too(tmp_path: Path, make_image, kind: str) -> None:
    for layout in (Kind.NIFTI, Kind.FILES):
        root = tmp_path / layout.value
        make_image(root / "S" / "T1.nii")
        for name in LEFTOVERS[kind]:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(FORK)
        assert uploaded(discover(root, kind=layout)) == [{"T1.nii"}]


def test_the_rule() -> None:
    assert all(is_desktop_file(name) for names in LEFTOVERS.values() for name in names)
    assert not any(
        map(is_desktop_file, ["S/mri/orig.mgz", "a.DS_Store.nii", "S/_x", "MACOSX/a", "S/thumbs.dbx", ".bidsignore"])
    )
