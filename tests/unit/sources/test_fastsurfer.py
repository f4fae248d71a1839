"""Runs of FastSurfer 2.0 to 2.4: complete, with --seg_only, longitudinal; names of doc/overview/OUTPUT_FILES.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from xnatferry.sources.discovery import discover
from xnatferry.sources.model import Severity, Source
from xnatferry.xnat.model import Level

_DKT = "aparc.DKTatlas"
#: Its own file, and the link that it makes to it under FreeSurfer's name.
_LINKS = {
    "mri/aparc.DKTatlas+aseg.mapped.mgz": "mri/aparc+aseg.mgz",
    "mri/wmparc.DKTatlas.mapped.mgz": "mri/wmparc.mgz",
    "mri/mask.mgz": "mri/brainmask.mgz",
    **{f"label/{side}.{_DKT}.mapped.annot": f"label/{side}.aparc.annot" for side in ("lh", "rh")},
}


def only(path: Path) -> Source:
    (source,) = discover(path).sources
    return source


def errors(source: Source) -> list[str]:
    return [finding.id for finding in source.findings if finding.severity is Severity.ERROR]


@pytest.fixture
def fastsurfer(subject: Path) -> Path:
    """The complete subject under the names of FastSurfer, without the links, which copies lose."""
    for own, link in _LINKS.items():
        (subject / link).rename(subject / own)
    for side in ("lh", "rh"):
        for name in ("aparc.stats", "aparc.a2009s.stats", "w-g.pct.stats"):
            (subject / f"stats/{side}.{name}").unlink(missing_ok=True)
        mapped = subject / f"stats/{side}.{_DKT}.stats"
        mapped.rename(subject / f"stats/{side}.{_DKT}.mapped.stats")
    (subject / "stats/wmparc.stats").rename(subject / "stats/wmparc.DKTatlas.mapped.stats")
    (subject / "scripts/deep-seg.log").write_text("FastSurfer\n")
    return subject


@pytest.mark.parametrize("change", [
    pytest.param(lambda _: None, id="without links"),
    pytest.param(lambda s: [(s / link).symlink_to((s / own).name) for own, link in _LINKS.items()], id="with links"),
    pytest.param(lambda s: (s / "mri/T1.mgz").unlink(), id="--no_fs_T1"),
    pytest.param(lambda s: [(s / f"surf/{side}.sphere.reg").unlink() for side in ("lh", "rh")], id="--no_surfreg"),
    pytest.param(lambda s: (s / "scripts/deep-seg.log").unlink(), id="--surf_only"),
])  # fmt: skip
def test_a_complete_run_is_accepted(fastsurfer: Path, change: Callable[[Path], object]) -> None:
    change(fastsurfer)
    source = only(fastsurfer)
    assert errors(source) == []
    assert source.claims.resource == "FASTSURFER"


@pytest.mark.parametrize(
    "name",
    [*_LINKS, "mri/aseg.mgz", "surf/lh.pial", f"stats/lh.{_DKT}.mapped.stats", "stats/wmparc.DKTatlas.mapped.stats"],
)
def test_each_file_of_a_complete_run_is_missed(fastsurfer: Path, name: str) -> None:
    (fastsurfer / name).unlink()
    (finding,) = (f for f in only(fastsurfer).findings if f.severity is Severity.ERROR)
    assert (finding.id, finding.file) == ("FS01", name)


def segmented(folder: Path, volume: bytes, stats: str) -> Path:
    for name in ("orig.mgz", "aparc.DKTatlas+aseg.deep.mgz", "mask.mgz", "aseg.auto_noCCseg.mgz"):
        (folder / "mri").mkdir(parents=True, exist_ok=True)
        (folder / "mri" / name).write_bytes(volume)
    (folder / "stats").mkdir()
    (folder / "stats" / stats).write_text(
        "# Title Segmentation Statistics\n# generating_program segstats.py\n# FastSurfer_version 2.4.2\n"
        "# NRows 1\n# ColHeaders  Index SegId NVoxels Volume_mm3 StructName\n1 17 4000 4000.5 Left-Hippocampus\n"
    )
    return folder


@pytest.mark.parametrize("stats", ["aseg+DKT.stats", "aseg+DKT.VINN.stats"])
def test_a_segmentation_without_surfaces_is_accepted_and_said(tmp_path: Path, formats, stats: str) -> None:
    source = only(segmented(tmp_path / "sub-001", formats.mgh(), stats))
    assert errors(source) == []
    assert (source.claims.resource, source.version) == ("FASTSURFER", "2.4.2")
    assert "FS26" in [finding.id for finding in source.findings]
    (source.path / "stats" / stats).write_text("# NRows 5\n# ColHeaders StructName A\nx 1\n")
    assert errors(only(source.path)) == ["FS09"]
    (source.path / "stats" / stats).unlink()
    assert errors(only(source.path)) == ["FS01"]


@pytest.mark.parametrize("name", ["base-tps", "base-tps.fastsurfer"])
def test_a_template_goes_to_the_subject(fastsurfer: Path, name: str) -> None:
    (fastsurfer / name).write_text("sub-001_ses-1\nsub-001_ses-2\n")
    source = only(fastsurfer)
    assert (source.claims.subject, source.claims.resource, source.level) == ("001", "FASTSURFER_BASE", Level.SUBJECT)
    (fastsurfer / name).write_text("sub-001_ses-1\nsub-002_ses-2\n")
    assert errors(only(fastsurfer)) == ["FS20"]


@pytest.mark.parametrize(
    "name",
    ["mri/lh.hippoSfVolumes.txt", "mri/brainstemSsVolumes.v13.txt", "mri/ThalamicNuclei.long.v12.T1.volumes.txt",
     "mri/brainstemSsLabels.volumes.txt", "stats/hipposubfields.lh.T1.v22.stats", "stats/brainstem.v13.stats"],
)  # fmt: skip
def test_texts_of_every_subfield_are_checked(subject: Path, name: str) -> None:
    (subject / name).write_text("# as created by a script\n1 1  0 12.5 CA1\n" if "stats" in name else "CA1 12.5\n")
    assert errors(only(subject)) == []
    (subject / name).write_text("CA1 12,5\n")
    assert errors(only(subject)) == ["FS09"]
