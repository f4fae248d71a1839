"""Custom fields from the push of a dataset to the pages: stored, listed, changed, copied, undone; with and without a form."""

import json
from base64 import b64encode
from urllib.request import Request, urlopen

import pytest

from tests.e2e.conftest import write_image
from xnatferry.server.archive import running_archive
from xnatferry.server.settings import ServerSettings

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


@pytest.fixture
def ask(archive):
    """What any program that talks to the archive gets."""

    def ask(path, *, text=False, user="admin:admin-pw"):
        request = Request(archive.url + path)
        request.add_header("Authorization", "Basic " + b64encode(user.encode()).decode())
        with urlopen(request) as answer:
            body = answer.read().decode()
        return body if text else json.loads(body)

    return ask


@pytest.fixture
def run(ferry, archive):
    def run(*arguments, code=0):
        done = ferry(*arguments, "-s", archive.url, env={"XNAT_USER": "admin", "XNAT_PASS": "admin-pw"})
        assert done.code == code, done.text
        return done

    return run


FIELDS = "/xapi/custom-fields/projects/P/subjects/01/fields"
FLAT = {"bids_arm": "a", "bids_iq": "100", "bids_word": "x y"}


def push(run, dataset, *more):
    return run("push", dataset, "-p", "P", "--custom-fields", "-y", *more)


def test_they_are_stored_compared_changed_listed_and_undone(run, ask, dataset):
    done = push(run, dataset)
    assert "no custom form of P has bids_arm, bids_iq, bids_word of xnat:subjectData" in done.text
    assert ask(FIELDS) == FLAT
    assert ask("/xapi/custom-fields/projects/P/experiments/01_MR1/scans/1/fields") == {"bids_operator": "XY"}
    again = push(run, dataset, "--update-fields")
    assert "Up to date" in again.text
    assert "FLD01" not in again.text
    shown = run("list", "P/01", "-v").out
    assert "bids_iq=100" in shown
    assert "bids_operator" not in shown
    assert "bids_operator=XY" in run("list", "P/01/01_MR1", "-v").out
    table(dataset, "101")
    push(run, dataset, "--update-fields", "--on-conflict", "overwrite", "--backup")
    assert ask(FIELDS) == {**FLAT, "bids_iq": "101"}
    run("undo", "latest", "-y")
    assert ask(FIELDS) == FLAT


def test_pages_of_the_archive_show_them_by_name(run, archive, dataset, ask):
    push(run, dataset)
    page = ask("/projects/P/subjects/01", text=True)
    assert "bids_word" in page
    assert "x y" in page
    assert "custom_fields" not in page
    assert "bids_operator" in ask("/projects/P/subjects/01/sessions/01_MR1", text=True)


def test_a_form_is_printed_installed_and_gets_the_values(run, ferry, ask, dataset):
    sidecar = dataset / "participants.json"
    printed = json.loads(ferry("forms", "P", sidecar).out)
    assert [(one["key"], one["type"], one["label"]) for one in printed["components"]] == [
        ("bids_iq", "number", "Intelligence quotient"),
        ("bids_arm", "select", "arm"),
        ("bids_word", "textfield", "A word"),
    ]
    assert printed["components"][1]["data"]["values"] == [
        {"label": "a: Active", "value": "a"},
        {"label": "b: Placebo", "value": "b"},
    ]
    push(run, dataset)
    assert "installed" in run("forms", "P", sidecar, "--apply", "-y").out
    assert "up to date" in run("forms", "P", sidecar, "--apply", "-y").out
    (form,) = ask("/xapi/customforms?projectId=P")
    done = push(run, dataset, "--update-fields")
    assert "FLD01" not in done.text
    held = {"bids_arm": "a", "bids_iq": 100, "bids_word": "x y"}
    assert ask(FIELDS) == {**FLAT, form["formUUID"]: held}
    table(dataset, "99")
    push(run, dataset, "--update-fields", "--on-conflict", "overwrite", "--backup")
    assert ask(FIELDS) == {**FLAT, form["formUUID"]: {**held, "bids_iq": 99}}
    run("undo", "latest", "-y")
    assert ask(FIELDS) == {**FLAT, form["formUUID"]: held}
