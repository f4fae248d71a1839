"""What we made of a BIDS dataset is usable with other people's clients."""

from pathlib import Path

import pytest

import xnatferry
from xnatferry import api
from xnatferry.planning.mapping import MappingRules

pyxnat = pytest.importorskip("pyxnat")
BIDS = Path(__file__).parents[1] / "data" / "bids"


@pytest.fixture
def pushed(archive, project_id):
    with xnatferry.connect(server=archive.url, user="admin", password="admin-secret") as client:
        discovery = api.discover(BIDS / "ds005", allow_incomplete=True)
        plan = api.plan(discovery, client.remote, MappingRules(project_id))
        assert api.push(plan, client.remote).exit_code == 0
    return project_id


def test_pyxnat_walks_subjects_scans_and_files(pushed, config):
    with pyxnat.Interface(config=config) as xnat:
        project = xnat.select.project(pushed)
        assert sorted(subject.label() for subject in project.subjects()) == ["01", "02"]
        session = project.subject("01").experiment("01_MR1")
        types = [scan.attrs.get("type") for scan in session.scans()]
        assert types == ["inplaneT2", "T1w", "bold", "bold", "bold"]
        bold = session.scan("3")
        assert float(bold.attrs.get("xnat:mrScanData/parameters/tr")) == 2000
        images = [file.label() for file in bold.resource("NIFTI").files()]
        assert images == ["sub-01_task-mixedgamblestask_run-01_bold.nii.gz"]
        rest = sorted(file.label() for file in bold.resource("BIDS").files())
        assert rest == [
            "sub-01_task-mixedgamblestask_run-01_bold.json",
            "sub-01_task-mixedgamblestask_run-01_events.tsv",
        ]


def test_pyxnat_searches_by_what_tables_and_sidecars_said(pushed, config):
    with pyxnat.Interface(config=config) as xnat:
        subject = xnat.select.project(pushed).subject("01")
        assert subject.attrs.get("gender") == "male"
        assert subject.attrs.get("age") == "28"
