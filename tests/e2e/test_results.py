"""Results of other programs, from folders to resources of every level and back."""

import pytest

CAT12 = ("mri/p1T1.nii.gz", "mri/p2T1.nii.gz", "mri/rp1T1.nii.gz", "report/cat_T1.xml")


@pytest.fixture
def cat12(tmp_path):
    for subject in ("ann", "bob"):
        for name in CAT12:
            path = tmp_path / "cat12" / subject / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{subject} {name}")
    (tmp_path / "cat12" / "group.csv").write_text("a,b\n")
    return tmp_path / "cat12"


def addresses(ferry, *arguments):
    return {record["address"] for record in ferry("list", *arguments, "--json").records if "address" in record}


def test_results_go_to_their_sessions_and_come_back(ferry, cat12, tmp_path):
    done = ferry("push", cat12, "-p", "P", "-y")
    assert done.code == 0, done.text
    assert "group.csv" in done.out
    again = ferry("push", cat12, "-p", "P", "-y")
    assert "Up to date" in again.out
    assert ferry("pull", "P/ann", tmp_path / "back", "--as", "files").code == 0
    for name in CAT12:
        (copy,) = (path for path in (tmp_path / "back").rglob(name.rpartition("/")[2]))
        assert copy.read_text() == f"ann {name}"
        assert copy.as_posix().endswith(name)


@pytest.mark.parametrize(
    ("level", "address"),
    [
        ("subject", "P/ann/resources/CAT12_SEGMENT"),
        ("session", "P/ann/ann_MR1/resources/CAT12_SEGMENT"),
        ("assessor", "P/ann/ann_MR1/assessors/ann_MR1_CAT12_SEGMENT/resources/CAT12_SEGMENT"),
    ],
)
def test_results_hang_on_what_is_asked_and_can_be_taken_back(ferry, cat12, level, address):
    done = ferry("push", cat12, "-p", "P", "-y", "--level", level, "--json")
    assert done.code == 0, done.text
    stored = {r["address"] for r in done.records if r["record"] == "receipt" and r["outcome"] == "stored"}
    assert {place.partition("/files/")[0] for place in stored if "/ann" in place} == {address}
    assert "Up to date" in ferry("push", cat12, "-p", "P", "-y", "--level", level).out
    assert ferry("verify", cat12, "-p", "P", "--level", level).code == 0
    assert ferry("undo", "latest", "-y", "--remove-project").code == 0
    assert "P" not in addresses(ferry)


def test_many_files_of_which_some_are_compressed_on_the_way(ferry, tmp_path):
    """More files than go one by one travel in one archive, whose length is told beforehand."""
    folder = tmp_path / "in" / "ann"
    folder.mkdir(parents=True)
    for number in range(10):
        (folder / f"m{number}.nii").write_bytes(bytes(2000) + bytes([number]))
    (folder / "report.txt").write_text("x")
    arguments = ("push", folder.parent, "--as", "files", "-p", "P", "--resource", "CAT12", "--gzip", "-y")
    done = ferry(*arguments)
    assert done.code == 0, done.text
    assert "Up to date" in ferry(*arguments).out
    names = {address.rpartition("/")[2] for address in addresses(ferry, "P/ann/ann_MR1/resources/CAT12")}
    assert names >= {"m0.nii.gz", "m9.nii.gz", "report.txt"}
    assert ferry("verify", "latest", "--deep").code == 0


def test_one_file_or_folder_for_the_project(ferry, cat12):
    done = ferry("push", cat12, "-p", "P", "-y", "--as", "files", "--level", "project", "--resource", "CAT12")
    assert done.code == 0, done.text
    assert "9 files" in done.out
    paper = cat12 / "group.csv"
    assert ferry("push", paper, "-p", "P", "-y", "--as", "files", "--level", "project").code == 0
    nobody = ferry("push", paper, "-p", "P", "-y", "--as", "files")
    assert nobody.code == 7
    assert "the subject is unknown" in nobody.text


def test_scans_and_assessors_by_template_and_name(ferry, tmp_path):
    (tmp_path / "qc" / "ann" / "3").mkdir(parents=True)
    (tmp_path / "qc" / "ann" / "3" / "snr.txt").write_text("9")
    template = ("--as", "files", "--template", "{subject}/{scan}/", "--resource", "QC")
    done = ferry("push", tmp_path / "qc", "-p", "P", "-y", *template)
    assert done.code == 0, done.text
    assert "scans" in ferry("verify", tmp_path / "qc", "-p", "P", *template, "-v").text
    wrong = ferry("push", tmp_path / "qc", "-p", "P", "-y", "--as", "files", "--level", "scan")
    assert wrong.code == 7
    assert "the scan is unknown" in wrong.text
    rated = ferry(
        "push", tmp_path / "qc", "-p", "P", "-y", "--as", "files", "--level", "assessor", "--assessor", "QC 1"
    )
    assert rated.code == 7
    assert "assessor label 'QC 1'" in rated.text


def test_a_table_may_name_folders(ferry, cat12, tmp_path):
    table = tmp_path / "where.csv"
    table.write_text("file,subject,session,resource\ncat12/ann,S1,S1_MR2,\ncat12/bob,S2,S2_MR1,MINE\n")
    done = ferry("push", table, "-p", "P", "-y")
    assert done.code == 0, done.text
    assert "CAT12_SEGMENT" in done.out
    assert "MINE" in done.out


def test_rules_of_people_are_read(ferry, cat12, tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nname = "mine"\nresource = "MINE"\nall = ["report/*.xml"]\ncarry = "report"\n')
    done = ferry("push", cat12, "-p", "P", "-y", "--rules", rules)
    assert done.code == 0, done.text
    assert "MINE  1 file" in done.out
    rules.write_text("[[rule]]\nname = 'x'\n")
    wrong = ferry("push", cat12, "-p", "P", "-y", "--rules", rules)
    assert wrong.code == 2
    assert "rule 1" in wrong.err
