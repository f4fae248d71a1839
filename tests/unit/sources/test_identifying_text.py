"""What the privacy check finds, in which tier, and what it leaves alone."""

import gzip
import json
import struct

import pytest

from xnatferry.checks.privacy import text_problem
from xnatferry.sources.bids.dataset import BidsChoices
from xnatferry.sources.discovery import discover
from xnatferry.sources.model import Kind, ScrubKind, Severity
from xnatferry.sources.scrub_gzip import read_gzip_header
from xnatferry.sources.scrub_table import without_columns
from xnatferry.sources.scrubbing import scrubbed_pieces


def told(discovery):
    return {
        finding.id: finding.severity for finding in discovery.all_findings if finding.id.startswith(("PRV", "FS15"))
    }


def with_extension(path, code, content):
    plain = gzip.decompress(path.read_bytes())
    size = -(-(8 + len(content)) // 16) * 16
    head = bytearray(plain[:348])
    head[108:112] = struct.pack("<f", 352 + size)
    extension = struct.pack("<ii", size, code) + content.ljust(size - 8, b"\0")
    path.write_bytes(gzip.compress(bytes(head) + b"\1\0\0\0" + extension + plain[352:]))


def with_text(path, start, text):
    plain = bytearray(gzip.decompress(path.read_bytes()))
    plain[start : start + len(text)] = text
    path.write_bytes(gzip.compress(bytes(plain)))


DESCRIP, AUX, INTENT, DATA_TYPE, DB_NAME, INTENT_CODE = 148, 228, 328, 4, 14, 68


@pytest.mark.parametrize(
    ("start", "text", "flagged"),
    [
        (DESCRIP, b"FSL5.0", False),
        (DESCRIP, b"TE=30;phase=1", False),
        (DESCRIP, b"TE=30;Time=114815.000;phase=1", True),
        (DESCRIP, b"DOE^JANE", True),
        (DESCRIP, b"FSL3.3\0 v2.25 NIfTI-1 Single file format", False),
        (DESCRIP, b"FSL5.0\0\0\0left over from before", True),
        (AUX, b"none", False),
        (AUX, b"Jane", True),
        (INTENT, b"huh?", False),  # FreeSurfer's MATLAB functions write it
        (INTENT, b"Doe", True),
        (INTENT, b"mrs_v0_5", False),
        (INTENT, b"mrs_v0_5 Jane", True),
        (DATA_TYPE, b"dsr", False),
        (DB_NAME, b"/home/john/data/n", True),
    ],
)
def test_texts_of_the_header(tmp_path, make_image, start, text, flagged):
    path = make_image(tmp_path / "P1" / "bold.nii.gz")
    with_text(path, start, text)
    assert ("PRV03" in told(discover(tmp_path))) is flagged
    (file,) = discover(tmp_path, scrub=True).sources[0].files
    assert (file.scrub is not None) is flagged


def test_scrubbing_keeps_the_name_of_the_format(tmp_path, make_image):
    """NIfTI-MRS is recognised by ``intent_name``."""
    path = make_image(tmp_path / "P1" / "spectrum.nii.gz")
    with_text(path, INTENT, b"mrs_v0_5\0Jane")
    with_text(path, DESCRIP, b"DOE^JANE")
    (file,) = discover(tmp_path, scrub=True).sources[0].files
    assert set(file.scrub.removed) == {"intent_name", "descrip"}
    sent = b"".join(scrubbed_pieces([path.read_bytes()], file.scrub))
    assert sent[INTENT : INTENT + 16] == b"mrs_v0_5".ljust(16, b"\0")
    assert sent[DESCRIP : DESCRIP + 80] == bytes(80)


def test_the_name_of_an_intent_stays(tmp_path, make_image):
    path = make_image(tmp_path / "P1" / "bold.nii.gz")
    with_text(path, INTENT, b"Jane")
    with_text(path, INTENT_CODE, struct.pack("<h", 1001))
    assert "PRV03" not in told(discover(tmp_path))


@pytest.mark.parametrize(
    ("code", "content", "expected"),
    [
        (2, b"\0" * 20, {"PRV05": Severity.ERROR}),
        (4, b"x", {"PRV04": Severity.WARNING}),
        (16, b"x", {"PRV04": Severity.WARNING}),
        (4, b"x" * 200_000, {"PRV04": Severity.WARNING}),
        (32, b"<CIFTI/>", {}),
        (20, b"0123", {}),
        (44, b'{"ResonantNucleus": ["1H"]}', {"PRV04": Severity.INFO}),
        (44, b'{"PatientName": "Jane"}', {"PRV04": Severity.WARNING, "PRV05": Severity.ERROR}),
        (44, b"no json", {"PRV04": Severity.WARNING}),
    ],
)
def test_extensions_by_code(tmp_path, make_image, code, content, expected):
    with_extension(make_image(tmp_path / "P1" / "bold.nii.gz"), code, content)
    assert told(discover(tmp_path)) == expected
    assert Severity.ERROR not in told(discover(tmp_path, allow_private=True)).values()
    scrubbed = discover(tmp_path, scrub=True)
    assert "PRV05" not in told(scrubbed)
    assert not scrubbed.sources[0].refused


@pytest.mark.parametrize(
    ("sidecar", "expected"),
    [
        ({"PatientName": "Jane"}, {"PRV01"}),
        ({"global": {"const": {"PatientID": 12345}}}, {"PRV01"}),
        ({"a": [{"AccessionNumber": "1"}]}, {"PRV01"}),
        ({"PatientName": "", "PatientID": "anonymous", "AccessionNumber": None, "OperatorsName": []}, set()),
        ({"PatientID": "P1", "PatientName": "sub-p1"}, set()),
        ({"PatientID": {"Description": "a column"}}, set()),
        ({"InstitutionName": "x", "AcquisitionDateTime": "2020-01-01"}, {"PRV02"}),
        ({"EchoTime": 0.003}, set()),
        ({"patient_id": "Q77"}, {"PRV01"}),
        ({"Patient's Name": "Doe"}, {"PRV01"}),
        ({"operator": "JD"}, {"PRV02"}),
        ({"Sources": ["/home/jdoe/raw/x.nii"]}, {"PRV08"}),
    ],
)
def test_sidecars_in_three_tiers(tmp_path, make_image, sidecar, expected):
    make_image(tmp_path / "P1" / "bold.nii.gz")
    (tmp_path / "P1" / "bold.json").write_text(json.dumps(sidecar))
    assert set(told(discover(tmp_path))) == expected


def test_a_scrubbed_sidecar_goes_and_keeps_what_only_warns(tmp_path, make_image):
    make_image(tmp_path / "P1" / "bold.nii.gz")
    (tmp_path / "P1" / "bold.json").write_text('{"PatientName": "Jane", "StationName": "x"}')
    discovery = discover(tmp_path, scrub=True)
    assert set(told(discovery)) == {"PRV02", "PRV11"}
    image, sidecar = discovery.sources[0].files
    assert image.scrub is None
    assert (sidecar.scrub.kind, sidecar.scrub.removed) == (ScrubKind.SIDECAR, ("PatientName",))
    assert (sidecar.size_bytes, sidecar.disk_bytes) == (len('{"StationName": "x"}'), 43)
    assert "Jane" not in repr(discovery)


@pytest.mark.parametrize(
    ("name", "flagged"),
    [
        ("P1/bold.nii.gz", False),
        ("P1/bold_20210304.nii.gz", True),
        ("P1/bold_20210304121530.nii.gz", True),
        ("P1/2021-03-04/bold.nii.gz", True),
        ("4711471/bold.nii.gz", True),
        ("OAS30001/bold.nii.gz", False),
        ("Doe_Jane/bold.nii.gz", True),
        ("P1/bold_a1b2c3d4e5f6.nii.gz", False),
        ("P1/bold_12345678901.nii.gz", False),
        ("P1/ses-19210819/bold.nii.gz", False),  # shifted, as BIDS recommends
        ("P1/ses-18901014/bold.nii.gz", False),
        ("P1/ses-20090409/bold.nii.gz", True),
        ("18901014/bold.nii.gz", True),
        ("P1/x_ieeg.mefd/RA1-000001.segd/a.nii.gz", False),
        ("P1/4711471_ieeg.mefd/RA1-000001.segd/a.nii.gz", True),
        ("P1/log/20200910-165242_7b0bf94d-7e47-4201-bcc8-a9c670a824ec/a.nii.gz", False),
    ],
)
def test_names(tmp_path, make_image, name, flagged):
    make_image(tmp_path / "in" / name)
    assert ("PRV06" in told(discover(tmp_path / "in"))) is flagged


@pytest.mark.parametrize(
    ("table", "flagged"),
    [
        ("participant_id\tage\nsub-01\t30\n", False),
        ("participant_id\tlast_name\nsub-01\tx\n", True),
        ("participant_id\tlast_name\toperator\nsub-01\tn/a\t\n", False),
        ("participant_id\toperator\nsub-01\tJD\n", True),
        ("participant_id\tZip Code\nsub-01\t1\n", True),
        ("participant_id\tvisited\nsub-01\t2021-03-04\n", True),
        ("participant_id\tvisited\nsub-01\t4.3.2021\n", True),
        ("participant_id\tvisited\nsub-01\t1890-03-04T10:00:00\n", False),
        ("participant_id\tvisited\nsub-01\t1911-03-04\n", False),
        ("", False),
    ],
)
def test_tables_about_people(tmp_path, make_image, table, flagged):
    make_image(tmp_path / "sub-01" / "func" / "sub-01_task-x_bold.nii.gz")
    (tmp_path / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    (tmp_path / "participants.tsv").write_text(table)
    assert ("PRV07" in told(discover(tmp_path, kind=Kind.BIDS))) is flagged


@pytest.mark.parametrize(
    ("text", "flagged"),
    [
        ("<p>fmriprep /home/jdoe/bids</p>", True),
        ("hostname: box", True),
        ("me@example.org", True),
        ("<p>fine</p>", False),
    ],
)
def test_reports_of_other_programs(tmp_path, text, flagged):
    (tmp_path / "P1").mkdir()
    (tmp_path / "P1" / "report.html").write_text(text)
    assert ("PRV08" in told(discover(tmp_path, kind=Kind.FILES))) is flagged


@pytest.mark.parametrize(
    ("name", "sidecar", "noted"),
    [
        ("T1w", None, True),
        ("FLAIR", None, True),
        ("T1w_defaced", None, False),
        ("T1w_brain", None, False),
        ("bold", None, False),
        ("T1w", {"Defaced": True}, False),
        ("T1w", {"Defaced": False}, True),
        ("T1w", {"DeidentificationMethod": ["pydeface: defacing"]}, False),
    ],
)
def test_faces_by_what_names_and_sidecars_say(tmp_path, make_image, name, sidecar, noted):
    make_image(tmp_path / "P1" / f"{name}.nii.gz")
    if sidecar is not None:
        (tmp_path / "P1" / f"{name}.json").write_text(json.dumps(sidecar))
    findings = told(discover(tmp_path))
    assert ("PRV09" in findings) is noted
    assert findings.get("PRV09", Severity.INFO) is Severity.INFO


@pytest.mark.parametrize(
    ("shape", "flagged"),
    [
        ((64, 48, 1), True),
        ((1, 64, 48), True),
        ((64, 48), True),
        ((10242, 1, 1), False),  # values on fsaverage5
        ((6827, 1, 6), False),  # values on fsaverage6, folded as FreeSurfer does
        ((1, 1, 1, 2048), False),  # a spectrum
    ],
)
def test_single_slices_may_show_text_but_overlays_and_spectra_do_not(tmp_path, make_image, shape, flagged):
    make_image(tmp_path / "P1" / "shot.nii.gz", shape)
    assert ("PRV10" in told(discover(tmp_path))) is flagged


def test_the_folder_of_a_dataset_is_not_uploaded_so_its_name_is_no_finding(tmp_path, make_image):
    root = tmp_path / "ds000117"
    make_image(root / "sub-01" / "func" / "sub-01_task-x_bold.nii.gz")
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    (root / "README").write_text("x")
    assert "PRV06" not in told(discover(root))
    make_image(root / "sub-4711471" / "func" / "sub-4711471_task-x_bold.nii.gz")
    assert "PRV06" in told(discover(root))


def test_the_folder_of_one_result_is_a_finding_only_where_it_names_the_subject(tmp_path):
    (tmp_path / "4711471").mkdir()
    (tmp_path / "4711471" / "mean.txt").write_text("1")
    alone = discover(tmp_path / "4711471", kind=Kind.FILES, together=True)
    assert alone.sources[0].claims.subject is None
    assert "PRV06" not in told(alone)
    assert "PRV06" in told(discover(tmp_path, kind=Kind.FILES))


def test_a_sidecar_that_stops_takes_its_image_along(tmp_path, make_image):
    make_image(tmp_path / "sub-01" / "func" / "sub-01_task-x_bold.nii.gz")
    make_image(tmp_path / "sub-02" / "func" / "sub-02_task-x_bold.nii.gz")
    (tmp_path / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    (tmp_path / "sub-01" / "func" / "sub-01_task-x_bold.json").write_text('{"PatientName": "Jane"}')
    discovery = discover(tmp_path, kind=Kind.BIDS)
    refused = [source for source in discovery.sources if source.refused]
    assert {source.claims.subject for source in refused} == {"01"}
    assert {file.name.rpartition(".")[2] for source in refused for file in source.files} == {"gz", "json"}


def test_an_inherited_name_is_taken_out_of_the_merged_sidecar(tmp_path, make_image):
    make_image(tmp_path / "sub-01" / "func" / "sub-01_task-x_bold.nii.gz")
    (tmp_path / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    (tmp_path / "task-x_bold.json").write_text('{"PatientName": "Jane", "RepetitionTime": 2.0}')
    discovery = discover(tmp_path, kind=Kind.BIDS, scrub=True)
    assert not any(source.refused for source in discovery.sources)
    written = [file for source in discovery.sources for file in source.files if file.data is not None]
    assert written
    assert not any(b"Jane" in file.data for file in written)


def test_what_cannot_be_read_is_not_sent_unscrubbed(tmp_path):
    (tmp_path / "P1").mkdir()
    (tmp_path / "P1" / "map.nii.gz").write_bytes(gzip.compress(bytes(1000))[:-12])
    (tmp_path / "P1" / "map.json").write_text('{"PatientName": ')
    assert "PRV12" not in told(discover(tmp_path, kind=Kind.FILES))
    assert told(discover(tmp_path, kind=Kind.FILES, scrub=True)) == {"PRV12": Severity.ERROR}


@pytest.fixture
def dataset(tmp_path, make_image):
    """A dataset of one subject; returns a function that adds a file."""
    root = tmp_path / "dataset"
    make_image(root / "sub-01" / "func" / "sub-01_task-x_bold.nii.gz")
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')

    def add(name, content):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return root

    return add


SERIES = "series_id\tpatient_id\tdate\tpatient_birth_date\n2-T1\t{}\t20120314\t{}\n"
CHANNELS = "name\ttype\tunits\tnotes\nDoe\tEEG\tuV\tgood\n"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (".heudiconv/01/info/dicominfo.tsv", SERIES.format("Q77", "19700101"), {"PRV01", "PRV07"}),
        (".heudiconv/01/info/dicominfo.tsv", SERIES.format("sub-01", "n/a"), {"PRV07"}),  # the date of the scan
        (".heudiconv/01/info/filegroup.json", '{"x": ["/home/jdoe/dicom/1.dcm"]}', {"PRV08"}),
        (".heudiconv/01/info/01.edit.txt", "{('sub-01_T1w', ('nii.gz',), None): ['2-T1']}", set()),
        (".heudiconv/01/info/header.txt", "(0010,0010) PN [DOE^JANE]     # PatientName", {"PRV08"}),
        (".heudiconv/01/info/people.tsv", "series\tOperator\n1\tJD\n", {"PRV07"}),
        ("code/list.csv", "Patient ID;scanner\n4711;A\n", {"PRV01"}),
        ("code/list.csv", 'scanner,"E-Mail"\nA,"me@example.org"\n', {"PRV07"}),
        ("code/session.txt", "Protocol\n- Patient ID: 4711\n", {"PRV08"}),
        ("code/session.txt", "Patient ID: sub-01\n", set()),
        ("code/authors.txt", "write to me@example.org\n", set()),
        ("code/list.json", '[{"PatientName": "Doe"}]', {"PRV01"}),
        ("sub-01/eeg/sub-01_task-x_channels.tsv", CHANNELS, set()),
        ("sub-01/func/sub-01_task-x_events.tsv", "onset\tduration\toperator\n1\t1\tplus\n", set()),
        ("derivatives/p/sub-01/regions.tsv", "index\tname\n1\tInsula\n", set()),
        ("derivatives/p/sub-01/visits.tsv", "scan\twhen\n1\t2019-03-04\n", {"PRV07"}),
    ],
)
def test_every_table_and_text_of_a_dataset_is_checked(dataset, name, content, expected):
    root = dataset(name, content)
    assert set(told(discover(root, kind=Kind.BIDS))) == expected
    scrubbed = discover(root, kind=Kind.BIDS, scrub=True)
    assert "PRV01" not in told(scrubbed)
    assert not any(source.refused for source in scrubbed.sources)


def test_columns_that_name_a_person_become_no_custom_fields(dataset):
    root = dataset("participants.tsv", "participant_id\tpatient_name\tshoe\nsub-01\tJane Doe\t39\n")
    sources = discover(root, kind=Kind.BIDS, allow_private=True, bids=BidsChoices(custom_fields=True)).sources
    facts = [str(dict(source.subject_facts)) for source in sources]
    assert any("shoe" in text for text in facts)
    assert not any("Jane" in text for text in facts)


def gzip_with(content, name=b"", comment=b"", extra=b""):
    """A gzip stream with texts in its header (RFC 1952, 2.3)."""
    packed = gzip.compress(content, mtime=7)
    flags = (8 if name else 0) | (16 if comment else 0) | (4 if extra else 0)
    texts = b"".join(text + b"\0" for text in (name, comment) if text)
    return packed[:3] + bytes([flags]) + packed[4:10] + extra + texts + packed[10:]


@pytest.mark.parametrize(
    ("name", "comment", "severity"),
    [
        (b"", b"", None),
        (b"sub-01_task-x_bold.nii", b"", None),
        (b"tmp7.nii", b"", Severity.INFO),
        (b"Doe_Jane.nii", b"", Severity.WARNING),
        (b"4711471.nii", b"", Severity.WARNING),
        (b"scan_20120314.nii", b"", Severity.WARNING),
        (b"", b"Jane, left-handed", Severity.WARNING),
    ],
)
@pytest.mark.parametrize("extra", [b"", b"\x04\x00ABCD"])
@pytest.mark.parametrize("image", [True, False])
def test_texts_in_the_header_of_a_gzip_stream(dataset, name, comment, severity, extra, image):
    root = dataset("README", "x")
    bold = root / "sub-01" / "func" / "sub-01_task-x_bold.nii.gz"
    content = gzip.decompress(bold.read_bytes())
    if not image:
        bold = bold.with_name("sub-01_task-x_physio.tsv.gz")
        name = name.replace(b"bold.nii", b"physio.tsv")
    bold.write_bytes(gzip_with(content, name, comment, extra))
    assert told(discover(root)).get("PRV13") == severity
    discovery = discover(root, scrub=True)
    assert ("PRV11" in told(discovery)) is (severity is not None)
    (file,) = [file for source in discovery.sources for file in source.files if file.name == bold.name]
    assert (file.scrub is not None) is (severity is not None)
    sent = b"".join(scrubbed_pieces([bold.read_bytes()], file.scrub))
    assert len(sent) == file.size_bytes
    assert gzip.decompress(sent) == content
    if severity is not None:
        assert sent == gzip_with(content, extra=extra)
        assert "Jane" not in repr(discovery)


def test_a_cut_off_gzip_header_has_no_texts():
    whole = gzip_with(b"x", b"Jane.nii", b"Doe", b"\x04\x00ABCD")
    assert read_gzip_header(whole).name == "Jane.nii"
    assert [read_gzip_header(whole[:length]) for length in range(whole.index(b"Doe"))] == [None] * whole.index(b"Doe")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\tpatient_id\r\n1\t2\r\n\r\n3\t\r\n", "a\tpatient_id\r\n1\tn/a\r\n\r\n3\t\r\n"),
        ('"patient_id","b"\n"x, ""y""","c, d"\n', '"patient_id","b"\nn/a,"c, d"\n'),
        ("b;patient_id;c\n;;\n1;2;3", "b;patient_id;c\n;;\n1;n/a;3"),
        ("patient_id\n4711\n", "patient_id\nn/a\n"),
        ("a\tpatient_id\n1\n", "a\tpatient_id\n1\n"),
    ],
)
def test_cells_that_name_a_person_become_not_available(before, after):
    assert without_columns(before.encode(), {"patient_id"}).decode() == after


def test_a_quoted_cell_of_several_lines_is_not_sent_unscrubbed(dataset):
    root = dataset("code/x.csv", 'patient_id,b\n4711,"two\nlines"\n')
    assert told(discover(root, kind=Kind.BIDS, scrub=True))["PRV12"] is Severity.ERROR


@pytest.mark.parametrize(
    "text",
    ["a" * 60_000, "1 2 3\n" * 20_000, "(0010,0010)" + "[a" * 40_000, "abc " * 30_000],
    ids=["one word", "numbers", "brackets", "words"],
)
def test_long_texts_are_read_in_steps_that_grow_with_their_length(text):
    """A pattern that looks at the rest of the text from every place would take minutes for these."""
    assert text_problem(text.encode(), is_report=True) is None
