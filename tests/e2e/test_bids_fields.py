"""After the push of a BIDS dataset, XNAT's own listings show what its headers, sidecars and tables say."""

import json
import xml.etree.ElementTree as ET
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

import xnatferry
from tests.e2e.conftest import write_image
from xnatferry import api, samples
from xnatferry.planning.mapping import MappingRules
from xnatferry.planning.plan import OnConflict
from xnatferry.server.archive import running_archive
from xnatferry.sources.bids.dataset import BidsChoices
from xnatferry.sources.model import Kind
from xnatferry.xnat.model import Address

DATA = Path(__file__).parents[1] / "data" / "bids"
SAMPLES = Path(samples.__file__).parent


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    with running_archive(tmp_path_factory.mktemp("archive"), admin_password="admin-pw") as running:
        yield running


@pytest.fixture(scope="module")
def remote(archive):
    with xnatferry.connect(server=archive.url, user="admin", password="admin-pw") as client:
        yield client.remote


@pytest.fixture
def listed(archive):
    """Rows of a listing with columns, asked for as any XNAT user would."""

    def listed(path, *columns):
        query = f"?format=json&columns={quote(','.join(columns), safe=',/:')}"
        request = Request(f"{archive.url}/data/projects/{path}{query}")
        request.add_header("Authorization", "Basic " + b64encode(b"admin:admin-pw").decode())
        with urlopen(request) as answer:
            rows = json.load(answer)["ResultSet"]["Result"]
        low = [{key.lower(): value for key, value in row.items()} for row in rows]
        return [{column: row[column.lower()] for column in columns} for row in low]

    return listed


@pytest.fixture
def custom(archive):
    """The JSON custom fields of something, asked for as any XNAT user would."""

    def custom(path):
        request = Request(f"{archive.url}/xapi/custom-fields/projects/{path}/fields")
        request.add_header("Authorization", "Basic " + b64encode(b"admin:admin-pw").decode())
        with urlopen(request) as answer:
            return json.load(answer)

    return custom


@pytest.fixture
def document(archive):
    """The XML document of something below the projects."""

    def document(path):
        request = Request(f"{archive.url}/data/projects/{path}?format=xml")
        request.add_header("Authorization", "Basic " + b64encode(b"admin:admin-pw").decode())
        with urlopen(request) as answer:
            return answer.read()

    return document


def push(root, project, remote, **options):
    choices = options.pop("choices", None)
    discovery = api.discover(root, allow_incomplete=True, bids=choices)
    plan = api.plan(discovery, remote, MappingRules(project), **options)
    assert not plan.refusals, plan.refusals
    result = api.push(plan, remote)
    assert result.exit_code == 0, [receipt.message for receipt in result.failures]
    return plan


def dataset(root, participants="participant_id\tsex\tage\thandedness\tgroup\tsite\nsub-01\tF\t34.5\tR\tctl\tBCN\n"):
    """One subject with a real image, whose sidecar stands at the root."""
    write_image(root / "sub-01" / "func" / "sub-01_task-rest_bold.nii.gz", shape=(8, 9, 5, 3))
    write_image(root / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    (root / "participants.tsv").write_text(participants)
    bold = {"RepetitionTime": 2.2, "EchoTime": 0.03, "FlipAngle": 77, "TaskName": "rest", "MagneticFieldStrength": 3}
    (root / "task-rest_bold.json").write_text(
        json.dumps({**bold, "Manufacturer": "Siemens", "EffectiveEchoSpacing": 0.0005})
    )
    (root / "sub-01" / "func" / "sub-01_task-rest_bold.json").write_text('{"FlipAngle": 80}')
    return root


def test_repetition_time_voxel_size_sex_and_age_are_columns(remote, listed, tmp_path):
    push(dataset(tmp_path / "ds"), "COLS", remote)
    scan = "xnat:mrScanData"
    rows = listed(
        "COLS/subjects/01/experiments/01_MR1/scans",
        *("ID", "type", "frames", f"{scan}/parameters/tr", f"{scan}/parameters/te", f"{scan}/parameters/flip"),
        *(f"{scan}/parameters/voxelRes/x", f"{scan}/parameters/voxelRes/z", f"{scan}/parameters/echoSpacing"),
    )
    assert [list(row.values()) for row in rows] == [
        ["1", "T1w", "", "", "", "", "1.5", "3.0", ""],
        ["2", "bold", "3", "2200.0", "30.0", "80.0", "1.5", "3.0", "5.0E-4"],
    ]
    (subject,) = listed("COLS/subjects", "label", "gender", "age", "handedness", "group")
    assert list(subject.values()) == ["01", "female", "34", "right", "ctl"]
    session = "xnat:mrSessionData"
    (row,) = listed("COLS/experiments", "label", f"{session}/age", "fieldStrength", f"{session}/acquisition_site")
    assert list(row.values()) == ["01_MR1", "34.5", "3", "BCN"]


def test_a_pet_session_has_its_tracer_its_frames_and_centimetres(remote, document):
    push(DATA / "pet001", "TRACER", remote)
    session = remote.item(Address("TRACER", "01", "01_01"))
    assert session["xsi:type"] == "xnat:petSessionData"
    assert (session["tracer/name"], session["tracer/isotope"]) == ("CIMBI-36", "C11")
    assert (session["tracer/dose"], session["tracer/dose/units"]) == ("573", "MBq")
    scan = remote.item(Address("TRACER", "01", "01_01", "1"))
    assert scan["xsi:type"] == "xnat:petScanData"
    assert float(scan["parameters/pixelSize/x"]) < 1
    assert not {"parameters/tr", "coil", "fieldStrength"} & set(scan)
    assert scan["parameters/frames/numFrames"] == "45"
    frames = ET.fromstring(document("TRACER/subjects/01/experiments/01_01")).findall(".//{*}frames/{*}frame")
    assert len(frames) == 45
    assert dict(frames[2].attrib) == {"number": "3", "starttime": "20.0", "length": "30.0", "units": "sec"}
    discovery = api.discover(DATA / "pet001", allow_incomplete=True)
    assert api.plan(discovery, remote, MappingRules("TRACER"), update_fields=True).nothing_to_do


def test_eeg_and_meg_have_sessions_of_their_type(remote):
    push(SAMPLES / "tiny_bids", "EEGS", remote)
    (session,) = remote.list_sessions("EEGS")
    assert (session["label"], session["xsiType"], session["date"]) == ("01_eeg", "xnat:eegSessionData", "2000-01-01")
    push(DATA / "ds000117", "MEGS", remote)
    types = {row["label"]: row["xsiType"] for row in remote.list_sessions("MEGS")}
    assert types == {"01_mri": "xnat:mrSessionData", "01_meg": "xnat:megSessionData"}
    assert {row["type"] for row in remote.list_scans(Address("MEGS", "01", "01_meg"))} == {"meg"}


def test_dates_that_were_shifted_stay_out(remote):
    push(DATA / "synthetic", "SHIFT", remote)  # 1880 and 1802
    assert {row["date"] for row in remote.list_sessions("SHIFT")} == {""}


def test_birth_dates_and_great_ages_are_told_and_not_copied(remote, listed, tmp_path):
    root = dataset(tmp_path / "ds", "participant_id\tdob\tage\nsub-01\t1920-02-03\t99\n")
    plan = push(root, "OLD", remote)
    assert [finding.id for finding in plan.findings].count("BIDS16") == 2
    (subject,) = listed("OLD/subjects", "dob", "yob", "age")
    assert list(subject.values()) == ["", "", "89"]


def test_other_columns_are_listed_and_become_custom_fields_on_request(remote, custom, tmp_path):
    table = "participant_id\tspecies\tIQ score\nsub-01\thomo sapiens\t100\n"
    plan = push(dataset(tmp_path / "ds", table), "PLAIN", remote)
    (told,) = [finding for finding in plan.findings if finding.id == "BIDS11"]
    assert "IQ score, species" in told.message
    push(dataset(tmp_path / "ds", table), "CUSTOM", remote, choices=BidsChoices(custom_fields=True))
    assert custom("CUSTOM/subjects/01") == {"bids_iq_score": "100", "bids_species": "homo sapiens"}
    assert custom("PLAIN/subjects/01") == {}


def test_phenotype_is_listed_and_becomes_custom_fields_of_subjects_and_sessions(remote, custom, tmp_path):
    root = dataset(tmp_path / "ds")
    (root / "sub-02" / "ses-1" / "beh").mkdir(parents=True)
    (root / "sub-02" / "ses-1" / "beh" / "sub-02_ses-1_task-x_beh.tsv").write_text("trial\n1\n")
    (root / "phenotype").mkdir()
    (root / "phenotype" / "edu.tsv").write_text(
        "participant_id\tYears total\tbirth_year\nsub-01\t12\t1970\nsub-09\t3\t1970\n"
    )
    mood = "participant_id\tsession_id\tscore\nsub-02\tses-1\t7\nsub-02\tses-9\t8\nsub-01\tn/a\tn/a\n"
    (root / "phenotype" / "mood.tsv").write_text(mood)
    plan = push(root, "LISTED", remote)
    told = [finding for finding in plan.findings if finding.id == "BIDS11" and "phenotype" in str(finding.path)]
    assert [finding.message.partition(";")[0] for finding in told] == [
        "columns without an XNAT field: Years total",
        "columns without an XNAT field: score",
    ]
    assert not [finding for finding in plan.findings if finding.id == "BIDS09"]
    push(root, "PHENO", remote, choices=BidsChoices(custom_fields=True))
    assert [custom(f"PHENO/subjects/{label}") for label in ("01", "02")] == [{"bids_edu_years_total": "12"}, {}]
    assert custom("PHENO/experiments/02_1") == {"bids_mood_score": "7"}


def test_other_columns_of_scans_tables_are_listed_and_become_custom_fields(remote, listed, custom, tmp_path):
    root = dataset(tmp_path / "ds", "participant_id\teducation\nsub-01\tsome college\n")
    rows = "filename\tacq_time\toperator\nanat/sub-01_T1w.nii.gz\t2020-01-02T03:04:05\tXY\n"
    (root / "sub-01" / "sub-01_scans.tsv").write_text(rows)
    plan = push(root, "SCANS", remote, choices=BidsChoices(custom_fields=True))
    assert not [finding for finding in plan.findings if finding.id == "BIDS11"]
    assert custom("SCANS/experiments/01_MR1/scans/1") == {"bids_operator": "XY"}
    assert listed("SCANS/subjects", "educationDesc") == [{"educationDesc": "some college"}]
    told = [finding.message for finding in push(root, "SCANSTOO", remote).findings if finding.id == "BIDS11"]
    assert [message.partition(":")[2] for message in told] == [" operator; use --custom-fields to store them"]


def test_units_and_codes_of_participants_json_count(remote, listed, tmp_path):
    root = dataset(tmp_path / "ds", "participant_id\tage\tsex\nsub-01\t30\t1\n")
    about = {"age": {"Units": "month"}, "sex": {"Levels": {"1": "male", "2": "female"}}}
    (root / "participants.json").write_text(json.dumps(about))
    push(root, "UNITS", remote)
    (row,) = listed("UNITS/experiments", "label", "xnat:mrSessionData/age")
    assert row["xnat:mrSessionData/age"] == "2.5"
    assert listed("UNITS/subjects", "gender") == [{"gender": "male"}]


def test_resources_are_what_the_tools_of_others_look_for(remote):
    push(DATA / "asl003", "TOOLS", remote)
    rows = remote.list_resources(Address("TOOLS", "Sub1", "Sub1_MR1", "2"))
    assert {(row["label"], row["format"], row["content"]) for row in rows} == {
        ("NIFTI", "NIFTI", "NIFTI_RAW"),
        ("BIDS", "BIDS", "BIDS"),
    }
    names = [file.name for file in remote.list_files(Address("TOOLS", "Sub1", "Sub1_MR1", "2", None, "BIDS"))]
    assert sum(name.endswith(".json") for name in names) == 1
    assert [scan["quality"] for scan in remote.list_scans(Address("TOOLS", "Sub1", "Sub1_MR1"))] == ["usable"] * 3


def test_inherited_metadata_stands_beside_the_image_for_them(remote, tmp_path):
    root = dataset(tmp_path / "ds")
    (root / "sub-01" / "func" / "sub-01_task-rest_bold.json").unlink()
    push(root, "WRITTEN", remote)
    address = Address.parse("WRITTEN/01/01_MR1/scans/2/resources/BIDS/files/sub-01_task-rest_bold.json")
    remote.get_file(address, tmp_path / "got.json")
    assert json.loads((tmp_path / "got.json").read_text())["RepetitionTime"] == 2.2


def test_a_push_can_be_taken_back_whole(remote, tmp_path):
    from xnatferry.transfer.journal import Journal
    from xnatferry.transfer.sharded_runs import find_run
    from xnatferry.transfer.undo_run import plan_of, undo

    discovery = api.discover(DATA / "synthetic", allow_incomplete=True)
    plan = api.plan(discovery, remote, MappingRules("BACK"))
    with Journal.begin(
        tmp_path, "push", {"server": "x", "local": False, "project": "BACK", "source": "x"}, plan=plan
    ) as journal:
        result = api.push(plan, remote, journal=journal)
        journal.end(result.exit_code)
    steps = plan_of(find_run(tmp_path, journal.name).effects(), remote, "BACK", remove_project=True)
    assert not steps.stays
    assert all(not receipt.exit_code for receipt in undo(steps, remote))
    assert not remote.project_exists("BACK")


def test_a_stored_plan_carries_what_we_write(remote, tmp_path):
    from xnatferry.planning.plan_file import read_plan, write_plan

    discovery = api.discover(DATA / "pheno004", allow_incomplete=True)
    write_plan(api.plan(discovery, remote, MappingRules("STORED")), tmp_path / "p.json", made="now")
    plan = api.recheck(read_plan(tmp_path / "p.json"), remote)
    assert api.push(plan, remote).exit_code == 0
    again = api.recheck(read_plan(tmp_path / "p.json"), remote)
    assert again.nothing_to_do


def test_changed_table_values_are_shown_and_changed_on_request(remote, listed, tmp_path):
    root = dataset(tmp_path / "ds")
    push(root, "EDIT", remote)
    (root / "participants.tsv").write_text("participant_id\tsex\tage\nsub-01\tM\t35.5\n")
    push(root, "EDIT", remote, on_conflict=api.OnConflict.OVERWRITE, update_fields=True)
    assert listed("EDIT/subjects", "gender") == [{"gender": "male"}]
    assert listed("EDIT/experiments", "xnat:mrSessionData/age") == [{"xnat:mrSessionData/age": "35.5"}]


def test_choices_of_the_python_api_may_be_texts_and_others_are_refused(remote, tmp_path):
    """A text is no member of the enumeration, so "overwrite" would have meant neither to overwrite nor to fail."""
    root = dataset(tmp_path / "ds", "participant_id\n" + "sub-01\n")
    push(root, "TEXTS", remote)
    read = api.discover(root, kind="bids")
    assert read.kind is Kind.BIDS
    for policy in (OnConflict.FAIL, OnConflict.SKIP, OnConflict.OVERWRITE):
        plan = api.plan(read, remote, MappingRules("TEXTS"), on_conflict=str(policy))
        assert plan.on_conflict is policy
        assert api.plan_pull("TEXTS", tmp_path / "out", remote, on_conflict=str(policy)).on_conflict is policy
    for act in (
        lambda: api.discover(root, kind="bidz"),
        lambda: api.plan(read, remote, MappingRules("TEXTS"), on_conflict="replace"),
        lambda: api.plan_pull("TEXTS", tmp_path / "out", remote, on_conflict="replace"),
        lambda: api.plan_copy("TEXTS", remote, remote, project="OTHER", on_conflict="replace"),
    ):
        with pytest.raises(ValueError, match="is not a valid"):
            act()
