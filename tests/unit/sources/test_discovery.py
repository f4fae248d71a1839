import pytest

from xnatferry.errors import UsageError
from xnatferry.samples import write_to
from xnatferry.sources.discovery import discover, recognise
from xnatferry.sources.model import Kind, Severity


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.csv", Kind.TABLE), ("A.TSV", Kind.TABLE), ("a.nii", Kind.NIFTI), ("a.nii.gz", Kind.NIFTI), ("a.img", Kind.NIFTI),
     ("a.zip", Kind.FREESURFER), ("a.tar.gz", Kind.FREESURFER), ("a", Kind.NIFTI)],
)  # fmt: skip
def test_a_file_is_recognised_by_its_name(tmp_path, name, expected):
    (tmp_path / name).write_bytes(b"")
    assert recognise(tmp_path / name) is expected


def test_images_beside_results_make_it_a_folder_of_images(subject, make_image):
    assert recognise(subject.parent) is Kind.FREESURFER
    make_image(subject.parent / "P1" / "T1.nii")
    assert recognise(subject.parent) is Kind.NIFTI
    assert len(discover(subject.parent, kind=Kind.FREESURFER).sources) == 1


@pytest.mark.parametrize("path", ["nowhere", "nul\0byte", "x" * 5000])
def test_a_path_to_nothing_is_a_usage_error(tmp_path, path):
    with pytest.raises(UsageError, match="not found"):
        discover(f"{tmp_path}/{path}")


def test_the_samples_are_whole_and_go(tmp_path):
    paths = write_to(tmp_path / "samples")
    images = discover(paths.nifti)
    assert [s.relative for s in images.sources] == [
        "colin27/T1w.nii.gz", "gradient/dwi.nii.gz", "walker/bold.nii", "walker/T1w.nii"
    ]  # fmt: skip
    subjects = discover(paths.freesurfer, allow_incomplete=True)
    assert [s.claims.subject for s in subjects.sources] == ["001"]
    findings = [*images.all_findings, *subjects.all_findings]
    assert not [finding for finding in findings if finding.severity is Severity.ERROR]
    told = {
        (finding.id, finding.path.name) for finding in findings if finding.id in {"PRV01", "PRV02", "PRV03", "PRV04"}
    }
    assert told == {("PRV03", "T1w.nii.gz")}  # a home folder, which SPM left in the colin27 template long ago
    assert (tmp_path / "samples" / "SOURCE.txt").is_file()
    assert sum(path.stat().st_size for path in (tmp_path / "samples").rglob("*") if path.is_file()) < 5_000_000
