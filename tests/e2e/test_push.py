"""Push, push again, change, verify: what a user does in the first hour."""

import gzip
import hashlib
import shutil

import pytest

from tests.e2e.conftest import write_image


def digest(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_a_folder_of_images_lands_and_is_proven(ferry, images):
    done = ferry("push", images, "-p", "BRAIN", "--yes")
    assert done.code == 0, done.text
    assert "4 files verified (MD5 equal)" in done.out
    listed = ferry("list", "BRAIN/ann/ann_MR1/scans/1/resources/NIFTI", "--json")
    (file,) = [record for record in listed.records if record["record"] == "file"]
    assert file["digest"] == digest(images / "ann" / "T1w.nii.gz")


def test_the_second_push_sends_nothing_and_says_so(ferry, images):
    ferry("push", images, "-p", "BRAIN", "-y")
    again = ferry("push", images, "-p", "BRAIN", "-y")
    assert again.code == 0
    assert "Up to date" in again.out
    assert ferry("push", images, "-p", "BRAIN", "-y", "--json").record("result")["sent_bytes"] == 0


def test_a_plan_changes_nothing(ferry, images):
    plan = ferry("plan", images, "-p", "BRAIN")
    assert plan.code == 0
    assert "+ BRAIN" in plan.out
    assert ferry("list").out.strip() == ""


def test_a_stranger_is_asked_and_a_script_must_say_yes(ferry, images):
    done = ferry("push", images, "-p", "BRAIN")
    assert done.code == 2
    assert "--yes" in done.err
    assert ferry("list").out.strip() == ""


def test_a_changed_file_stops_the_push_until_a_policy_says_otherwise(ferry, images):
    ferry("push", images, "-p", "BRAIN", "-y")
    changed = write_image(images / "ann" / "T1w.nii.gz", seed=99)
    stopped = ferry("push", images, "-p", "BRAIN", "-y")
    assert stopped.code == 6
    assert "--on-conflict" in stopped.err
    assert ferry("plan", images, "-p", "BRAIN").code == 6
    assert ferry("plan", images, "-p", "BRAIN", "--on-conflict", "skip").code == 0
    verified = ferry("verify", images, "-p", "BRAIN")
    assert verified.code == 8
    assert "differs" in verified.out
    left = ferry("push", images, "-p", "BRAIN", "-y", "--on-conflict", "skip")
    assert left.code == 0
    assert ferry("push", images, "-p", "BRAIN", "-y", "--on-conflict", "overwrite").code == 0
    assert ferry("verify", images, "-p", "BRAIN").code == 0
    listed = ferry("list", "BRAIN/ann/ann_MR1/scans/1/resources/NIFTI", "--json")
    assert [r["digest"] for r in listed.records if r["record"] == "file"] == [digest(changed)]


def test_what_was_never_made_is_missing(ferry, images):
    """A run that was stopped has made some subjects only; what came after it may have taken more away."""
    assert ferry("push", images, "-p", "BRAIN", "-y").code == 0
    for gone, missing in (("BRAIN/bob/bob_MR1", 2), ("BRAIN/bob", 2), ("BRAIN", 4)):
        assert ferry("remove", gone, "-y", "--remove-files").code == 0
        verified = ferry("verify", "latest", "--json")
        assert verified.code == 8, verified.text
        found = [record["address"] for record in verified.records if record.get("proof") == "missing"]
        assert len(found) == missing, verified.text
        assert all(address.startswith(gone) for address in found)
    lost = ferry("verify", "latest").out
    assert lost.count("missing     BRAIN/") == 3  # three of a kind
    assert "1 more file of this kind" in lost
    assert "NOT verified: 4 files are missing on the server" in lost


def test_keep_both_leaves_the_old_file_and_adds_the_new(ferry, images):
    ferry("push", images, "-p", "BRAIN", "-y")
    write_image(images / "ann" / "T1w.nii.gz", seed=99)
    assert ferry("push", images, "-p", "BRAIN", "-y", "--on-conflict", "keep-both").code == 0
    listed = ferry("list", "BRAIN/ann/ann_MR1/scans/1/resources/NIFTI", "--json")
    assert {r["address"].rpartition("/")[2] for r in listed.records if r["record"] == "file"} == {
        "T1w.nii.gz",
        "T1w_2.nii.gz",
    }
    assert "Up to date" in ferry("push", images, "-p", "BRAIN", "-y", "--on-conflict", "keep-both").out


def test_header_facts_and_options_reach_the_scan(ferry, images):
    done = ferry(
        "push", images, "-p", "BRAIN", "-y", "--quality", "questionable", "--series-description", "old scanner",
        "--session-template", "{subject}_visit1", "--resource", "IMAGES", "--date", "2020-02-03", "--json",
    )  # fmt: skip
    assert done.code == 0, done.text
    scans = [r for r in done.records if r["record"] == "step" and r["level"] == "scan"]
    assert scans[0]["fields"]["parameters/voxelRes/x"] == "1.5"
    assert scans[0]["fields"]["quality"] == "questionable"
    tree = ferry("list", "BRAIN/ann/ann_visit1", "--json").records
    assert tree[0]["date"] == "2020-02-03"
    assert {r["address"] for r in tree if r["record"] == "resource"} == {
        "BRAIN/ann/ann_visit1/scans/1/resources/IMAGES",
        "BRAIN/ann/ann_visit1/scans/2/resources/IMAGES",
    }


def test_gzip_changes_the_name_with_the_bytes(ferry, tmp_path):
    path = write_image(tmp_path / "raw" / "ann" / "T1w.nii")
    done = ferry("push", tmp_path / "raw", "-p", "P", "-y", "--gzip")
    assert done.code == 0, done.text
    listed = ferry("list", "P/ann/ann_MR1/scans/1/resources/NIFTI", "--json")
    (file,) = [r for r in listed.records if r["record"] == "file"]
    assert file["address"].endswith("/T1w.nii.gz")
    assert file["size_bytes"] < path.stat().st_size
    assert "Up to date" in ferry("push", tmp_path / "raw", "-p", "P", "-y", "--gzip").out


def test_a_template_says_where_labels_stand(ferry, tmp_path):
    for subject, visit in (("s1", "v1"), ("s1", "v2"), ("s2", "v1")):
        write_image(tmp_path / "in" / "T1w" / f"{subject}-{visit}.nii.gz", seed=hash((subject, visit)) % 1000)
    done = ferry("push", tmp_path / "in", "-p", "P", "-y", "--template", "{type}/{subject}-{session}.nii.gz")
    assert done.code in {0, 6, 7}, done.text
    # One session label cannot stand for two subjects in a project: XNAT would move it.
    assert done.code == 7
    assert "v1" in done.text
    (tmp_path / "in" / "T1w" / "s2-v1.nii.gz").unlink()
    done = ferry("push", tmp_path / "in", "-p", "P", "-y", "--template", "{type}/{subject}-{session}.nii.gz")
    assert done.code == 0, done.text
    assert "P/s1/v2" in ferry("list", "P", "--json").out


def test_a_file_that_matches_no_place_stops_everything(ferry, images):
    write_image(images / "stray.nii.gz")
    done = ferry("push", images, "-p", "P", "-y", "--template", "{subject}/{type}.nii.gz")
    assert done.code == 7
    assert "stray.nii.gz" in done.text
    assert ferry("list").out.strip() == ""


def test_a_table_says_it_row_by_row(ferry, images, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(
        "file,subject,session,scan,type,series_description,quality,date\n"
        "images/ann/T1w.nii.gz,anna,anna_1,7,T1w,mprage,usable,2021-05-06\n"
        "images/bob/T1w.nii.gz,bert,bert_1,9,T1w,mprage,questionable,2021-05-07\n"
    )
    done = ferry("push", table, "-p", "P", "-y")
    assert done.code == 0, done.text
    assert "P/anna/anna_1/scans/7/resources/NIFTI" in ferry("list", "P/anna/anna_1", "--json").out


def test_a_bad_row_is_named_by_its_line(ferry, images, tmp_path):
    table = tmp_path / "table.tsv"
    table.write_text(
        "file\tsubject\tsession\tscan\ttype\tdate\n"
        "images/ann/T1w.nii.gz\tanna\tanna_1\t7\tT1w\t2021-05-06\n"
        "images/nobody.nii.gz\tbert\tbert_1\t9\tT1w\t06.05.2021\n"
    )
    done = ferry("check", table)
    assert done.code == 7
    assert "line 3" in done.text


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_a_freesurfer_subject_becomes_one_resource_with_its_top_folder(ferry, tmp_path, packed):
    from xnatferry.samples import write_to

    source = write_to(tmp_path / "samples").freesurfer
    if packed:
        name = shutil.make_archive(str(tmp_path / "sub-001"), "zip", source, "sub-001")
        source = name
    done = ferry("push", source, "-p", "P", "-y", "--allow-incomplete")
    assert done.code == 0, done.text
    listed = ferry("list", "P/001/001_MR1/resources/FREESURFER7", "--json")
    names = [r["address"].partition("/files/")[2] for r in listed.records if r["record"] == "file"]
    assert "sub-001/stats/aseg.stats" in names
    assert all(name.startswith("sub-001/") for name in names)
    assert "Up to date" in ferry("push", source, "-p", "P", "-y", "--allow-incomplete").out


def test_an_incomplete_subject_is_refused_unless_told_otherwise(ferry, tmp_path):
    from xnatferry.samples import write_to

    done = ferry("push", write_to(tmp_path / "samples").freesurfer, "-p", "P", "-y")
    assert done.code == 7
    assert "--allow-incomplete" in done.text


def test_json_is_all_there_is_on_stdout(ferry, images):
    for arguments in (
        ("check", images),
        ("plan", images, "-p", "P"),
        ("push", images, "-p", "P", "-y"),
        ("verify", images, "-p", "P"),
        ("list", "P"),
        ("whoami",),
        ("runs",),
        ("list", "NOWHERE"),
    ):
        assert ferry(*arguments, "--json").records, arguments


def test_a_hundred_small_files_travel_as_they_are(ferry, tmp_path):
    for number in range(30):
        write_image(tmp_path / "in" / f"s{number:02}" / "T1w.nii.gz", seed=number, shape=(4, 4, 4))
    done = ferry("push", tmp_path / "in", "-p", "P", "-y", "--workers", "8")
    assert done.code == 0, done.text
    assert "30 files verified (MD5 equal)" in done.out


def test_two_gzip_members_and_odd_names_come_back_as_they_were(ferry, tmp_path):
    path = write_image(tmp_path / "in" / "ann" / "T1 w+(ü).nii.gz")
    raw = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(raw[:200]) + gzip.compress(raw[200:]))
    done = ferry("push", tmp_path / "in", "-p", "P", "-y")
    assert done.code == 0, done.text
    assert "1 file verified (MD5 equal)" in done.out


def test_companions_do_not_rename_what_the_resource_is(ferry, tmp_path, archive):
    from xnatferry.client.remote import Remote
    from xnatferry.client.settings import Connection, Secret
    from xnatferry.xnat.model import Address

    image = write_image(tmp_path / "in" / "ann" / "T1w.nii.gz")
    sidecar = image.with_name("T1w.json")
    login = ("-s", archive.url, "-u", archive.user, "--password", archive.password)
    for text in ('{"Manufacturer": "A"}', '{"Manufacturer": "B"}'):
        sidecar.write_text(text)
        assert ferry("push", tmp_path / "in", "-p", "P", "-y", "--on-conflict", "overwrite", *login).code == 0
        with Remote(Connection(archive.url, archive.user, Secret(archive.password))) as remote:
            (row,) = remote.list_resources(Address.parse("P/ann/ann_MR1/scans/1"))
        assert (row["format"], row["content"]) == ("NIFTI", "NIFTI_RAW")


def test_two_images_of_one_name_keep_their_own_scans(ferry, tmp_path):
    for run in ("runA", "runB"):
        write_image(tmp_path / "in" / "s1" / "v1" / run / "image.nii.gz", seed=ord(run[-1]))
    assert ferry("push", tmp_path / "in", "-p", "P", "-y").code == 0
    assert "all 2 files are in the local archive" in ferry("push", tmp_path / "in", "-p", "P", "-y").out
    write_image(tmp_path / "in" / "s1" / "v1" / "runB" / "image.nii.gz", seed=3)
    assert ferry("push", tmp_path / "in", "-p", "P", "-y", "--on-conflict", "overwrite").code == 0
    verified = ferry("verify", tmp_path / "in", "-p", "P")
    assert "2 files verified (MD5 equal)" in verified.out
    nodes = [r for r in ferry("list", "P/s1/s1_v1", "--json").records if r["record"] == "resource"]
    assert [node["files"] for node in nodes] == [1, 1]
