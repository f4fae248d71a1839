"""Founding recipe 2, as its users write it: zip each FreeSurfer subject, put it extracted as FREESURFER6, read the numbers."""

import zipfile

import bxl.utils
import pytest
import pyxnat


@pytest.fixture
def xnat(config):
    with pyxnat.Interface(config=config) as xnat:
        yield xnat


@pytest.fixture
def pushed(xnat, config, project_id, subjects_dir, zip_folder):
    """The recipe's loop; gives the resources by subject."""
    xnat.select.project(project_id).create()
    with bxl.utils.setup_xnat(config) as c:
        existing = {row["label"] for row in c.get_subjects(project_id).values()}
    resources = {}
    for folder in sorted(subjects_dir.iterdir()):
        path = zip_folder(folder)
        subject = xnat.select.project(project_id).subject(folder.name)
        if folder.name not in existing:
            subject.create()
        session = subject.experiment(f"{folder.name}_MR1")
        if not session.exists():
            session.create(experiments="xnat:mrSessionData")
        resource = session.resource("FREESURFER6")
        if resource.exists():
            resource.delete()
        resource.put_zip(str(path), extract=True)
        resources[folder.name] = resource
    return resources


def names_in(resource):
    """Relative names of a resource's files; ``files().get()`` gives their last parts only."""
    return sorted(file.attributes()["path"] for file in resource.files())


def test_every_file_arrives_below_the_top_folder(pushed, subjects_dir, archive, project_id, files_below):
    resource = pushed["subject1"]
    local = files_below(subjects_dir / "subject1")
    assert names_in(resource) == sorted(f"subject1/{name}" for name in local)
    stored = archive.root / "archive" / project_id / "arc001" / "subject1_MR1" / "RESOURCES" / "FREESURFER6"
    assert files_below(stored / "subject1") == local
    attributes = resource.attributes()
    assert attributes["label"] == "FREESURFER6"
    assert (attributes["file_count"], attributes["file_size"]) == (
        str(len(local)),
        str(sum(len(data) for data in local.values())),
    )
    # The archive itself is not kept.
    assert not list(stored.rglob("*.zip"))


def test_the_numbers(pushed):
    aseg = pushed["subject1"].aseg()
    values = {(row.measurement, row.region): float(row.value) for row in aseg.itertuples()}
    assert values["Volume_mm3", "eTIV"] == pytest.approx(1405915.237151)
    assert values["unitless", "SurfaceHoles"] > 0
    assert values["Volume_mm3", "Left-Hippocampus"] > 3000
    assert len(values) > 300

    aparc = pushed["subject1"].aparc()
    assert set(aparc["side"].dropna()) == {"left", "right"}
    assert len(aparc[aparc["region"] == "precuneus"]) == 2 * 9
    destrieux = pushed["subject1"].aparc(atlas="destrieux")
    assert "G_front_sup" in set(destrieux["region"])

    hippo = pushed["subject1"].hippoSfVolumes()
    assert {(row.side, row.region): row.value for row in hippo.itertuples()}["left", "Hippocampal_tail"] == 551.25
    assert len(hippo) == 6


def test_freesurfer7(xnat, project_id, subjects_dir, zip_folder):
    session = xnat.select.project(project_id).subject("sub-001").experiment("sub-001_MR1")
    session.create(experiments="xnat:mrSessionData")
    session.resource("FREESURFER7").put_zip(str(zip_folder(subjects_dir / "sub-001")), extract=True, overwrite=True)
    aseg = session.resource("FREESURFER7").aseg()
    assert len(aseg) > 300
    assert len(session.resource("FREESURFER7").aparc()) > 600


def test_a_project_table(xnat, pushed, project_id):
    """What `bx freesurfer6 aseg PROJECT` does: all experiments of the server, then those of the project."""
    import pandas as pd

    columns = ["ID", "project", "subject_label", "label"]
    rows = xnat.array.experiments(project_id=project_id, columns=columns).data
    assert sorted((row["subject_label"], row["label"]) for row in rows) == [
        ("sub-001", "sub-001_MR1"),
        ("subject1", "subject1_MR1"),
    ]
    tables = []
    for row in rows:
        resource = xnat.select.experiment(row["ID"]).resource("FREESURFER6")
        if resource.exists() and row["label"] == "subject1_MR1":
            table = resource.aseg()
            table["subject"] = row["subject_label"]
            tables.append(table)
    whole = pd.concat(tables)
    assert set(whole["subject"]) == {"subject1"}


def test_one_file_and_a_whole_resource_come_back(pushed, subjects_dir, tmp_path, files_below):
    resource = pushed["subject1"]
    file = resource.file("subject1/stats/aseg.stats")
    copy = file.get(str(tmp_path / "aseg.stats"))
    assert (tmp_path / "aseg.stats").read_bytes() == (subjects_dir / "subject1/stats/aseg.stats").read_bytes()
    assert copy == str(tmp_path / "aseg.stats")

    path = resource.get(str(tmp_path))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        sizes = sorted(info.file_size for info in archive.infolist())  # pyxnat packs it anew, under other names
    assert sizes == sorted(path.stat().st_size for path in (subjects_dir / "subject1").rglob("*") if path.is_file())

    out = tmp_path / "out"
    out.mkdir()
    resource.get(str(out), extract=True)
    assert files_below(out / "FREESURFER6" / "subject1") == files_below(subjects_dir / "subject1")


def test_again_without_overwrite_changes_nothing(pushed, subjects_dir, zip_folder):
    resource = pushed["subject1"]
    stats = subjects_dir / "subject1" / "stats" / "aseg.stats"
    size = resource.file("subject1/stats/aseg.stats").size()
    stats.write_text(stats.read_text() + "# longer\n")
    resource.put_zip(str(zip_folder(subjects_dir / "subject1")), extract=True)
    assert resource.file("subject1/stats/aseg.stats").size() == size
    resource.put_zip(str(zip_folder(subjects_dir / "subject1")), extract=True, overwrite=True)
    assert resource.file("subject1/stats/aseg.stats").size() == str(int(size) + 9)


def test_a_zip_that_is_not_extracted(xnat, pushed, project_id, subjects_dir, zip_folder):
    path = zip_folder(subjects_dir / "subject1")
    resource = xnat.select.project(project_id).subject("subject1").experiment("subject1_MR1").resource("ZIPPED")
    resource.put_zip(str(path), extract=False)
    assert resource.files().get() == ["subject1.zip"]
    assert resource.file("subject1.zip").size() == str(path.stat().st_size)


def test_put_dir_and_lists_of_files(xnat, pushed, project_id, subjects_dir):
    """pyxnat zips by itself, with a leading slash in every member."""
    session = xnat.select.project(project_id).subject("subject1").experiment("subject1_MR1")
    session.resource("STATS").put_dir(str(subjects_dir / "subject1" / "stats"))
    assert names_in(session.resource("STATS")) == sorted(
        path.name for path in (subjects_dir / "subject1" / "stats").iterdir()
    )
    files = [str(subjects_dir / "subject1" / "stats" / name) for name in ("lh.aparc.stats", "rh.aparc.stats")]
    session.resource("APARC").put(files, format="TXT", content="STATS")
    assert names_in(session.resource("APARC")) == ["lh.aparc.stats", "rh.aparc.stats"]


def test_removal_with_bxl(pushed, config, archive, project_id):
    with bxl.utils.setup_xnat(config) as c:
        (subject_id,) = [key for key, row in c.get_subjects(project_id).items() if row["label"] == "subject1"]
        (experiment_id,) = c.get_subject_experiments(project_id, subject_id)
        assert [row["label"] for row in c.get_experiment_resources(experiment_id).values()] == ["FREESURFER6"]
        assert len(c.get_experiment_resource_files(experiment_id, "FREESURFER6")) > 10
        c.delete_resource(f"{c.host}/data/experiments/{experiment_id}/resources/FREESURFER6", {"removeFiles": True})
        assert c.get_experiment_resources(experiment_id) == {}
        assert c.get_experiment_resource_files(experiment_id) == {}
    folder = archive.root / "archive" / project_id / "arc001" / "subject1_MR1"
    assert not (folder / "RESOURCES" / "FREESURFER6").exists()
    assert not pushed["subject1"].exists()
    assert pushed["sub-001"].exists()
