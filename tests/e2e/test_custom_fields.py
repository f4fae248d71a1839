"""Custom fields from the push of a dataset to the pages: stored, listed, changed, copied, undone; with and without a form."""

import json
from urllib.request import Request, urlopen

import pytest

from tests.e2e.conftest import write_image
from xnatferry.server.archive import running_archive
from xnatferry.server.server_settings import ServerSettings

ABOUT = {
    "participant_id": {"Description": "ignored"},
    "age": {"Units": "year"},
    "iq": {"LongName": "Intelligence quotient", "Units": "points"},
    "arm": {"Levels": {"a": "Active", "b": {"Description": "Placebo"}}},
    "word": {"Description": "A word"},
}


@pytest.fixture(params=[False, True], ids=["normal", "strict"])
def archive(tmp_path, request):
    settings = ServerSettings(root=tmp_path / "archive", strict=request.param)
    with running_archive(settings.root, admin_password="admin-pw", settings=settings) as running:
        yield running


@pytest.fixture
def dataset(tmp_path):
    root = tmp_path / "ds"
    write_image(root / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    (root / "participants.json").write_text(json.dumps(ABOUT))
    (root / "sub-01" / "sub-01_scans.tsv").write_text("filename\toperator\nanat/sub-01_T1w.nii.gz\tXY\n")
    return table(root, "100")


def table(root, iq):
    (root / "participants.tsv").write_text(f"participant_id\tiq\tarm\tword\nsub-01\t{iq}\ta\tx y\n")
    return root
