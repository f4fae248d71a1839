import tempfile
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xnatferry.sources.discovery import discover
from xnatferry.sources.model import Kind, Severity
from xnatferry.sources.table import slashed


@pytest.fixture
def folder(tmp_path, make_image):
    make_image(tmp_path / "img" / "a.nii.gz")
    make_image(tmp_path / "img" / "b.nii", (4, 4, 4))
    return tmp_path


def read(folder, text, name="table.csv", encoding="utf-8"):
    (folder / name).write_bytes(text.encode(encoding))
    return discover(folder / name)


def problems(discovery):
    return [(finding.id, finding.line) for finding in discovery.all_findings if finding.severity is not Severity.INFO]


HEADER = "file,subject,session,scan,type,quality,date,resource\n"


def test_a_row_says_everything(folder):
    discovery = read(
        folder,
        "file,subject,session,scan,type,series_description,quality,date,resource,format,content,tags,note,session_type\n"
        'img/a.nii.gz,P1,P1_MR1,3,T1w,"MPRAGE, sagittal",questionable,2020-02-29,NII,NIFTI,RAW,"x,y",moved,PET\n',
    )
    (source,) = discovery.sources
    assert (source.kind, source.line, source.relative) == (Kind.NIFTI, 2, "img/a.nii.gz")
    claims = source.claims
    assert (claims.subject, claims.session, claims.scan, claims.type) == ("P1", "P1_MR1", "3", "T1w")
    assert (claims.series_description, claims.quality, claims.date) == (
        "MPRAGE, sagittal",
        "questionable",
        "2020-02-29",
    )
    assert (claims.resource, claims.format, claims.content, claims.tags) == ("NII", "NIFTI", "RAW", "x,y")
    assert (claims.note, claims.session_type) == ("moved", "PET")
    assert source.attributes["parameters/matrix/x"] == "4"
    assert problems(discovery) == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_encoding_delimiter_and_line_ends_are_found_out(folder, encoding, sign, ending):
    text = ending.join([sign.join(["File", "Subject ID", "Note"]), sign.join(["img/b.nii", "P1", "Größe"]), ""])
    discovery = read(folder, text, encoding=encoding)
    assert [(s.claims.subject, s.claims.note) for s in discovery.sources] == [("P1", "Größe")]
    assert problems(discovery) == []


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("img/a.nii.gz,,s,1,T1,usable,,\n", [("TAB04", 2)]),
        (",P1,s,1,T1,usable,,\n", [("TAB04", 2)]),
        ("img/a.nii.gz,P1,s,1,T1,usable,2020-02-30,\n", [("TAB07", 2)]),
        ("img/a.nii.gz,P1,s,1,T1,usable,1.2.2020,\n", [("TAB07", 2)]),
        ("img/a.nii.gz,P1,s,1,T1,good,,\n", [("TAB08", 2)]),
        ("img/gone.nii.gz,P1,s,1,T1,,,\n", [("TAB05", 2)]),
        ("img,P1,s,1,T1,,,\n", [("TAB11", 2)]),
        ("table.csv,P1,s,1,T1,,,\n", [("TAB11", 2)]),
        ("img/a.nii.gz,P1,s,1,T1,,,,too,much\n", [("TAB09", 2)]),
        ("\n\nimg/a.nii.gz,P1,s,1,T1,bad,,\n", [("TAB08", 4)]),
        ("img/a.nii.gz,P1,s,1,T1,,,\nimg/../img/a.nii.gz,P2,t,1,T1,,,\n", [("TAB06", 2), ("TAB06", 3)]),
        ("img/a.nii.gz,P1,s,1,T1,,,\nimg/b.nii,P1,s,1,T2,,,\n", [("TAB10", 2), ("TAB10", 3)]),
        ("img/a.nii.gz,n/a,s,1,T1,NA,NaN,\n", [("TAB04", 2)]),
    ],
)
def test_each_row_is_checked_and_named_by_its_line(folder, rows, expected):
    discovery = read(folder, HEADER + rows)
    assert problems(discovery) == expected
    assert all(source.refused for source in discovery.sources)


def test_a_cell_of_several_lines_does_not_shift_the_numbers(folder):
    discovery = read(folder, 'file,subject,note,quality\nimg/a.nii.gz,P1,"two\nlines",\nimg/b.nii,P2,,bad\n')
    assert problems(discovery) == [("TAB08", 4)]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("subject,type", [("TAB02", 1)]),
        ("file,path,subject", [("TAB02", 1)]),
        ("file,subject,subject", [("TAB02", 1)]),
        ("file,subject,sesion", [("TAB12", 1)]),
        ("file,subject,favourite colour", [("TAB03", 1)]),
    ],
)
def test_columns_are_looked_at(folder, header, expected):
    row = ",".join(["img/b.nii"] + ["P1"] * header.count(","))
    assert problems(read(folder, f"{header}\n{row}\n")) == expected


def test_without_a_subject_column_the_mapping_decides(folder):
    (source,) = read(folder, "file\nimg/b.nii\n").sources
    assert source.claims.subject is None
    assert not source.refused


def test_other_files_go_where_the_resource_says(folder):
    (folder / "report.pdf").write_bytes(b"%PDF-1.4")
    (source,) = read(folder, "file,subject,resource\nreport.pdf,P1,REPORTS\n").sources
    assert (source.kind, source.claims.resource, [f.name for f in source.files]) == (
        Kind.FILES,
        "REPORTS",
        ["report.pdf"],
    )
    assert not source.refused


def test_a_row_may_name_a_freesurfer_subject(folder, subject):
    (source,) = read(folder, "file,subject,session\nsubjects/sub-001,P1,P1_MR2\n").sources
    assert (source.kind, source.claims.subject, source.claims.session) == (Kind.FREESURFER, "P1", "P1_MR2")
    assert source.claims.resource == "FREESURFER7"
    assert not source.refused


@pytest.mark.parametrize("name", ["table.xlsx", "table.csv"])
def test_a_spreadsheet_or_binary_file_is_no_table(folder, name):
    (folder / name).write_bytes(b"PK\x03\x04\x00\x00")
    (finding,) = discover(folder / name, kind=Kind.TABLE).findings
    assert finding.id == "TAB01"
    assert "CSV" in finding.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ["TAB01"]), ("\n\n", ["TAB01"]), (HEADER, ["NII22"]), ('file,subject\n"a,b\n', ["TAB01"])],
)
def test_an_empty_or_broken_table(folder, text, expected):
    assert [finding.id for finding in read(folder, text).findings] == expected


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_a_table_or_a_finding(content, headed):
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "t.csv")
        path.write_bytes(b"file,subject\n" + content if headed else content)
        discovery = discover(path)
        assert discovery.sources or discovery.findings


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=20), min_size=2, max_size=2))
def test_any_cells_are_read(cells):
    import csv

    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "t.csv")
        with path.open("w", encoding="utf-8", errors="surrogatepass", newline="") as stream:
            csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([["file", "subject"], cells])
        discovery = discover(path)
        assert all(source.refused or source.files for source in discovery.sources)


@pytest.mark.parametrize(
    ("cell", "on_windows", "elsewhere"),
    [
        ("img/a.nii.gz", "img/a.nii.gz", "img/a.nii.gz"),
        (r"img\a.nii.gz", "img/a.nii.gz", r"img\a.nii.gz"),
        (r"..\other/b.nii", "../other/b.nii", r"..\other/b.nii"),
        (r"D:\mri\a.nii", "D:/mri/a.nii", r"D:\mri\a.nii"),
        ("./img//a.nii", "img/a.nii", "img/a.nii"),
        ("", "", ""),
    ],
)
def test_paths_are_read_by_the_rules_of_the_system(cell, on_windows, elsewhere):
    assert slashed(cell, PureWindowsPath) == on_windows
    assert slashed(cell, PurePosixPath) == elsewhere


def test_a_file_in_two_spellings_is_one(folder):
    discovery = read(folder, "file,subject\nimg/a.nii.gz,P1\n./img/../img/a.nii.gz,P2\n")
    assert problems(discovery)[:2] == [("TAB06", 2), ("TAB06", 3)]


ROWS = "file,subject\nimg/a.nii.gz,{}\nimg/b.nii,{}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ROWS.format("7", "007"), [("TAB14", 2), ("TAB14", 3)]),
        (ROWS.format("P07", "P7"), [("TAB14", 2), ("TAB14", 3)]),
        (ROWS.format("P10", "P1"), []),
        ("file,subject,session\nimg/a.nii.gz,P,01\nimg/b.nii,P,1\n", [("TAB14", 2), ("TAB14", 3)]),
        ("file,subject,session\nimg/a.nii.gz,P,P_01\nimg/b.nii,Q,Q_1\n", []),
    ],
)
def test_labels_that_differ_only_in_zeros_are_refused(folder, text, expected):
    assert problems(read(folder, text)) == expected


@pytest.mark.parametrize(
    ("path", "subject", "expected"),
    [
        ("sub-001/anat/x.nii.gz", "1", ["TAB14"]),
        ("001/x.nii.gz", "1", ["TAB14"]),
        ("001_T1.nii.gz", "1", ["TAB14"]),
        ("sub-001/anat/x.nii.gz", "001", []),
        ("sub-001/anat/x.nii.gz", "sub-001", []),
        ("sub-001/anat/x.nii.gz", "STUDY_001", []),
        ("sub-001/anat/x.nii.gz", "002", ["TAB13"]),
        ("OTHER/x.nii.gz", "002", ["TAB13"]),
        ("scans/1.nii.gz", "002", []),
        ("ann/x.nii.gz", "Ann", []),
    ],
)
def test_a_cell_that_names_another_subject_than_the_path_is_found(folder, make_image, path, subject, expected):
    make_image(folder / path)
    discovery = read(folder, f"file,subject\n{path},{subject}\nimg/b.nii,OTHER\n")
    assert [finding.id for finding in discovery.sources[0].findings if finding.id.startswith("TAB")] == expected


@pytest.mark.parametrize("first", ["sep=;\n", "SEP=;\r\n", '"sep=;"\n'])
def test_a_first_line_with_the_delimiter_is_understood(folder, first):
    discovery = read(folder, f"{first}file;subject;note\nimg/a.nii.gz;;a, b, c\n")
    assert problems(discovery) == [("TAB04", 3)]
    assert discovery.sources[0].claims.note == "a, b, c"


@pytest.mark.parametrize(
    ("header", "session"),
    [("MR ID,Subject,MR Date,Scans", "X"), ("MR ID,Subject,Label,Scans", "Y"), ("Label,Subject,MR ID,Scans", "X")],
)
def test_the_headings_of_xnat_are_known(folder, header, session):
    day = "2020-01-02" if "MR Date" in header else "Y"
    discovery = read(folder, f"{header},file\nX,S1,{day},t1(1),img/a.nii.gz\n")
    assert (discovery.sources[0].claims.session, discovery.sources[0].claims.subject) == (session, "S1")
    assert {one for one, _ in problems(discovery)} <= {"TAB03"}


@pytest.fixture
def sheet(folder):
    from openpyxl import Workbook

    book = Workbook()
    book.active.append(["file", "subject", "scan"])
    return book


@pytest.mark.parametrize(
    ("value", "number_format", "shown"),
    [
        (1, "000", "001"),
        (1.0, "000", "001"),
        (7, '"P"00', "P07"),
        (7, "\\P\\-000", "P-007"),
        (12345, "00-00", "123-45"),
        (7, "General", "7"),
        (7, "0_);(0)", "7"),
        (1234, "#,##0", "1234"),
        ("007", "General", "007"),
        ("007", "@", "007"),
    ],
)
def test_the_shown_text_of_a_cell_counts(folder, sheet, value, number_format, shown):
    sheet.active.append(["img/a.nii.gz", value, 1])
    sheet.active["B2"].number_format = number_format
    sheet.save(folder / "t.xlsx")
    assert discover(folder / "t.xlsx").sources[0].claims.subject == shown


def test_hidden_rows_and_sheets_are_not_used_and_told(folder, sheet):
    sheet.active.append(["img/a.nii.gz", "P1", 1])
    sheet.active.append(["img/b.nii", "P2", 1])
    sheet.active.row_dimensions[3].hidden = True
    sheet.create_sheet("old", 0).sheet_state = "hidden"
    sheet.active = 1
    sheet.save(folder / "t.xlsx")
    discovery = discover(folder / "t.xlsx")
    assert [source.claims.subject for source in discovery.sources] == ["P1"]
    assert [(one.id, "3" in one.message) for one in discovery.findings] == [("TAB15", True)]
