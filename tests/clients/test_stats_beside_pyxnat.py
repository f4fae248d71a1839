"""Our tables hold every number that pyxnat's readers give for the same data on the same server."""

import pytest
import pyxnat

import xnatferry

HIPPO = {
    "lh.hippoSfVolumes-T1.v21.txt": "Hippocampal_tail 551.25\nsubiculum-body 240.125\nWhole_hippocampus 3400.75\n",
    "rh.hippoSfVolumes-T1.v21.txt": "Hippocampal_tail 570.5\nsubiculum-body 241.5\nWhole_hippocampus 3500\n",
    "lh.amygNucVolumes-T1.v21.txt": "Lateral-nucleus 640.5\nWhole_amygdala 1700.25\n",
    "rh.amygNucVolumes-T1.v21.txt": "Lateral-nucleus 650.5\nWhole_amygdala 1750.25\n",
    "brainstemSsVolumes.v12.txt": "Medulla 4600.5\nPons 15000.25\nSCP 260.5\n",
    "ThalamicNuclei.v12.T1.volumes.txt": "Left-AV 120.5\nRight-AV 118.25\nLeft-Whole_thalamus 7000\n",
}


@pytest.fixture
def project(archive, config, project_id, subjects_dir, zip_folder):
    """Two real subjects, put by pyxnat as the recipe does; texts of subfields are made up."""
    with pyxnat.Interface(config=config) as xnat:
        for name, label in (("subject1", "FREESURFER6"), ("sub-001", "FREESURFER7")):
            if label == "FREESURFER7":
                for file, text in HIPPO.items():
                    (subjects_dir / name / "mri" / file).write_text(text)
            session = xnat.select.project(project_id).subject(name).experiment(f"{name}_MR1")
            session.create(experiments="xnat:mrSessionData")
            session.resource(label).put_zip(str(zip_folder(subjects_dir / name)), extract=True)
            if label == "FREESURFER7":
                session.resource("FREESURFER7_EXTRAS").put_zip(str(zip_folder(subjects_dir / name)), extract=True)
        yield xnat.select.project(project_id)


@pytest.fixture
def client(archive):
    with xnatferry.connect(server=archive.url, user="admin", password="admin-secret") as client:
        yield client


def ours(client, table, project_id, subject, tmp_path):
    """Values of the long form by side, measurement and region, of one subject: regions are named as in its files."""
    made = xnatferry.stats(table, f"{project_id}/{subject}", client.remote, cache=tmp_path / "cache").to_pandas()
    assert made.value.notna().all()
    values = {(row.side, row.measurement, row.region): row.value for row in made.itertuples()}
    assert len(values) == len(made)
    return values


SUBJECTS = [("subject1", "FREESURFER6"), ("sub-001", "FREESURFER7")]
OF_A_HEMISPHERE = {"NumVert", "WhiteSurfArea", "MeanThickness"}
#: Measures that stand in the files and that pyxnat does not look for.
MORE_OF_ASEG = {"CortexVol"}
MORE_OF_APARC = {"FREESURFER6": {"CortexVol"}, "FREESURFER7": set()}  # its line lacks a comma in version 6


@pytest.mark.parametrize(("subject", "label"), SUBJECTS)
def test_aseg(client, project, project_id, subject, label, tmp_path):
    theirs = project.subject(subject).experiment(f"{subject}_MR1").resource(label).aseg()
    expected = {("", row.measurement, row.region): float(row.value) for row in theirs.itertuples()}
    made = ours(client, "aseg", project_id, subject, tmp_path)
    assert {key: made[key] for key in expected} == expected
    assert {region for *_, region in made.keys() - expected.keys()} == MORE_OF_ASEG
    assert len(expected) > 400


@pytest.mark.parametrize(("subject", "label"), SUBJECTS)
@pytest.mark.parametrize(("table", "atlas"), [("aparc", "desikan-killiany"), ("aparc.a2009s", "destrieux")])
def test_aparc(client, project, project_id, subject, label, table, atlas, tmp_path):
    theirs = project.subject(subject).experiment(f"{subject}_MR1").resource(label).aparc(atlas=atlas)
    made = ours(client, table, project_id, subject, tmp_path)
    sided = theirs[theirs.side.notna()]
    expected = {(row.side, row.measurement, row.region): float(row.value) for row in sided.itertuples()}
    assert {key: made[key] for key in expected} == expected
    # pyxnat leaves out the side of header measures, and gives those of the whole brain twice.
    header = theirs[theirs.side.isna()]
    for (measurement, region), rows in header.groupby(["measurement", "region"]):
        mine = [value for (_, m, r), value in made.items() if (m, r) == (measurement, region)]
        assert set(mine) == set(rows.value), region
        assert len(mine) == (2 if region in OF_A_HEMISPHERE else 1), region
    known = set(expected) | {key for key in made if key[2] in set(header.region)}
    assert {region for *_, region in made.keys() - known} == MORE_OF_APARC[label]


@pytest.mark.parametrize(("table", "reader"), [("hippo", "hippoSfVolumes"), ("amyg", "amygNucVolumes")])
def test_subfields(client, project, project_id, table, reader, tmp_path):
    resource = project.subject("sub-001").experiment("sub-001_MR1").resource("FREESURFER7")
    expected = {(row.side, "Volume_mm3", row.region): row.value for row in getattr(resource, reader)().itertuples()}
    assert ours(client, table, project_id, "sub-001", tmp_path) == expected
    assert expected


def test_brain_stem_and_thalamus(client, project, project_id, tmp_path):
    resource = project.subject("sub-001").experiment("sub-001_MR1").resource("FREESURFER7_EXTRAS")
    stem = {
        ("", "Volume_mm3", row.region): row.value for row in resource.brainstem_substructures_volumes().itertuples()
    }
    assert ours(client, "brainstem", project_id, "sub-001", tmp_path) == stem
    nuclei = resource.thalamic_nuclei_volumes()
    expected = {(row.side, "Volume_mm3", row.region): row.value for row in nuclei.itertuples()}
    assert ours(client, "thalamus", project_id, "sub-001", tmp_path) == expected


def test_a_notebook_goes_on_working(client, project, project_id, tmp_path):
    frame = xnatferry.stats("aseg", project_id, client.remote, cache=tmp_path).to_pandas()
    etiv = frame.query('measurement == "Volume_mm3" & region == "eTIV"').set_index("subject").value
    assert etiv.to_dict() == {"sub-001": 1626503.552457, "subject1": 1405915.237151}
