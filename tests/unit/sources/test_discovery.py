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


def test_a_folder_of_datasets_is_refused_and_names_them(tmp_path, make_image):
    for name, place in (("bids", "bids"), ("fmriprep", "out/fmriprep")):
        make_image(tmp_path / place / "sub-01/anat/sub-01_space-MNI_T1w.nii.gz")
        (tmp_path / place / "dataset_description.json").write_text(f'{{"Name": "{name}", "BIDSVersion": "1.8.0"}}')
    with pytest.raises(UsageError, match="contains 2 BIDS datasets: bids, out/fmriprep"):
        discover(tmp_path)
    assert len(discover(tmp_path, kind=Kind.NIFTI).sources) == 2
    assert discover(tmp_path / "bids").kind is Kind.BIDS


def test_a_doubt_about_one_folder_is_a_doubt_about_those_beside_it(tmp_path, make_image):
    for place in ("t1/P1.nii.gz", "dmri/P1.nii.gz", "mt/P1.nii.gz"):
        make_image(tmp_path / place)
    sources = discover(tmp_path).sources
    assert len(sources) == 3
    assert all(source.refused and [f.id for f in source.findings].count("NII26") == 1 for source in sources)
    for place in ("sub-01/T1.nii.gz", "P2.nii.gz"):
        make_image(tmp_path / place)
    assert sum(source.refused for source in discover(tmp_path).sources) == 3
