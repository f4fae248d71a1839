"""Who the data are of, and of which day: subjects and sessions are never mixed silently."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.e2e.conftest import write_image

DATA = Path(__file__).parents[1] / "data"


def sessions(ferry):
    rows = ferry("list", "P", "--json").records
    return {row["address"].split("/")[2] for row in rows if row["record"] == "session"}


def write_table(path, *rows, header="file,subject,date"):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_each_date_of_a_table_is_a_session_also_in_a_later_push(ferry, tmp_path):
    for number, name in enumerate("abc"):
        write_image(tmp_path / f"{name}.nii.gz", seed=number)
    rows = ["a.nii.gz,P1,2024-05-01", "b.nii.gz,P1,2024-06-01", "c.nii.gz,P1,2024-05-01"]
    assert ferry("push", write_table(tmp_path / "first.csv", rows[0]), "-p", "P", "-y").code == 0
    done = ferry("push", write_table(tmp_path / "all.csv", *rows), "-p", "P", "-y")
    assert done.code == 0, done.text
    assert sessions(ferry) == {"P1_MR1", "P1_MR_2024-06-01"}
    held = ferry("list", "P/P1/P1_MR1", "--json").out
    assert "P1_MR1/scans/2" in held
    assert "Up to date" in ferry("push", tmp_path / "all.csv", "-p", "P", "-y").out


def test_names_by_dcm2niix_and_templates_give_a_session_for_each_date(ferry, tmp_path):
    for number, day in enumerate(("20240501", "20240601")):
        write_image(tmp_path / "names/P1" / f"P1_T1_{day}093000_2.nii.gz", seed=number)
        write_image(tmp_path / "folders/P2" / day / "T1.nii.gz", seed=number + 5)
    assert ferry("push", tmp_path / "names", "-p", "P", "-y").code == 0
    done = ferry("push", tmp_path / "folders", "-p", "P", "-y", "--template", "{subject}/{date}/{type}.nii.gz")
    assert done.code == 0, done.text
    assert sessions(ferry) == {f"{one}_MR_2024-{month}-01" for one in ("P1", "P2") for month in ("05", "06")}


def test_a_named_session_with_two_dates_is_refused_with_both(ferry, tmp_path):
    for number, name in enumerate("ab"):
        write_image(tmp_path / f"{name}.nii.gz", seed=number)
    rows = ["a.nii.gz,P1,V1,2024-05-01", "b.nii.gz,P1,V1,2024-06-01"]
    done = ferry("plan", write_table(tmp_path / "t.csv", *rows, header="file,subject,session,date"), "-p", "P")
    assert done.code == 7
    assert "2024-05-01 (a.nii.gz)" in done.out
    assert "2024-06-01 (b.nii.gz)" in done.out


def test_subjects_and_sessions_named_like_words_of_addresses_are_pushed_verified_pulled_and_undone(ferry, tmp_path):
    for number, (subject, session) in enumerate([("resources", "scans"), ("scans", "resources"), ("files", "files_1")]):
        write_image(tmp_path / "in" / subject / session / "T1.nii.gz", seed=number)
    source, template = tmp_path / "in", ("--template", "{subject}/{session}/{type}.nii.gz")
    assert ferry("plan", source, "-p", "P", *template, "-o", tmp_path / "p.plan").code == 0
    done = ferry("push", tmp_path / "p.plan", "-y")
    assert done.code == 0, done.text
    for again in (ferry("verify", "latest"), ferry("verify", source, "-p", "P", *template)):
        assert again.code == 0, again.text
        assert "3 files verified" in again.out
    assert "NIFTI" in ferry("list", "P/subjects/resources/experiments/scans", "--json").out
    assert ferry("pull", "P", tmp_path / "back", "-q").code == 0
    assert len(list((tmp_path / "back").rglob("T1.nii.gz"))) == 3
    undone = ferry("undo", "latest", "-y")
    assert undone.code == 0, undone.text
    assert "resources" not in ferry("list", "P").out


def test_numbers_as_labels_give_a_session_to_each_folder(ferry, tmp_path):
    for number, place in enumerate(("1/1", "1/10", "10/10", "A/Amsterdam")):
        write_image(tmp_path / "in" / place / "T1.nii.gz", seed=number)
    assert ferry("push", tmp_path / "in", "-p", "P", "-y").code == 0
    assert sessions(ferry) == {"1_1", "1_10", "10_10", "A_Amsterdam"}


def test_nested_freesurfer_runs_are_told_apart_and_local_and_server_tables_join(ferry, tmp_path):
    runs = {"sub-01/ses-1": "ses-1", "sub-01/ses-2": "ses-2", "sub-03/T1w_run-01/freesurfer": "freesurfer"}
    for place, inside in runs.items():
        run = tmp_path / "in" / place
        shutil.copytree(DATA / "freesurfer7" / "sub-001", run)
        for path in (*(run / "stats").iterdir(), *(run / "scripts").glob("*.log")):
            path.write_bytes(path.read_bytes().replace(b"sub-001", inside.encode()))
    done = ferry("push", tmp_path / "in", "-p", "P", "-y", "--allow-incomplete")
    assert done.code == 0, done.text
    rows = [ferry("stats", "aseg", source, "--wide", "--json").records for source in (tmp_path / "in", "P")]
    local, remote = ({(r["subject"], r["session"]) for r in found if r["record"] == "row"} for found in rows)
    assert local == remote == {("01", "01_1"), ("01", "01_2"), ("03", "03_MR1")}


def test_a_run_whose_folder_and_files_name_two_subjects_is_refused_with_both(ferry, tmp_path):
    shutil.copytree(DATA / "freesurfer7" / "sub-001", tmp_path / "in" / "sub-02" / "freesurfer")
    done = ferry("plan", tmp_path / "in", "-p", "P", "--allow-incomplete")
    assert done.code == 7
    assert "different subjects: 02 (folder sub-02), 001 (files of sub-001)" in done.out
    assert ferry("plan", tmp_path / "in", "-p", "P", "--allow-incomplete", "--subject", "02").code == 0


def bids_dataset(root):
    (root / "dataset_description.json").parent.mkdir(parents=True)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    for number, subject in enumerate(("34", "36")):
        write_image(root / f"sub-{subject}/anat/sub-{subject}_T1w.nii.gz", seed=number)
    for path in (
        "derivatives/sub-34/mask.txt",
        "derivatives/sub-35/mask.txt",
        "derivatives/pipe/sub-35/stats.txt",
        "derivatives/pipe/sub-36/stats.txt",
        "derivatives/pipe/logs/sub-35_log.txt",
        "sourcedata/sub-35/raw.txt",
        "code/sub-35/run.sh",
        "code/all.sh",
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    return root


def sent(ferry, *arguments):
    done = ferry("plan", *arguments, "-p", "P", "--json")
    return done, {step["address"]: step["path"] for step in done.records if step.get("level") == "file"}


def test_what_is_excluded_is_excluded_everywhere(ferry, tmp_path):
    root = bids_dataset(tmp_path / "data")
    for selection in (("--exclude", "sub-35"), ("--exclude", "35"), ("--only", "sub-34", "--only", "sub-36")):
        done, files = sent(ferry, root, "--sourcedata", *selection)
        assert done.code == 0, done.text
        assert not [path for path in files.values() if "sub-35" in path], selection
        assert any(path.endswith("code/all.sh") for path in files.values())
    _, files = sent(ferry, root, "--sourcedata", "--only", "sub-36")
    assert {part for path in files.values() for part in path.split("/") if part.startswith("sub-")} == {
        "sub-36",
        "sub-36_T1w.nii.gz",
    }


def test_derivatives_of_a_subject_are_not_a_pipeline(ferry, tmp_path):
    _, files = sent(ferry, bids_dataset(tmp_path / "data"))
    assert "P/34/34_MR1/resources/DERIVATIVES/files/sub-34/mask.txt" in files
    assert not [address for address in files if "SUB-3" in address]


def test_a_selection_that_matches_nothing_is_an_error_with_the_nearest_labels(ferry, images, tmp_path):
    root = bids_dataset(tmp_path / "data")
    for command in ("plan", "push", "verify"):
        more = ("-y",) if command == "push" else ()
        done = ferry(command, root, "-p", "P", "--only", "sub-43", *more)
        assert done.code != 0
        told = done.text.partition("--only sub-43: no subject or session matches; the nearest are ")[2]
        assert "sub-34" in told.splitlines()[0]
        done = ferry(command, images, "-p", "P", "--only", "ann", "--only", "bop", *more)
        assert done.code == 7
        assert "--only bop: no subject or session matches; the nearest are bob" in done.text


def test_a_refused_subject_that_is_excluded_refuses_nothing(ferry, images):
    (images / "bob" / "T1w.nii.gz").write_bytes(b"")
    assert ferry("plan", images, "-p", "P").code == 7
    assert ferry("plan", images, "-p", "P", "--exclude", "bob").code == 0
    assert ferry("plan", images, "-p", "P", "--only", "ann").code == 0
    assert ferry("plan", images, "-p", "P", "--only", "bob").code == 7


def test_refused_images_make_no_session_and_the_tree_shows_descriptions(ferry, tmp_path):
    root = bids_dataset(tmp_path / "data")
    (root / "sub-34/anat/sub-34_T1w.nii.gz").write_bytes(b"")
    (root / "sub-34/sub-34_scans.tsv").write_text("filename\tacq_time\nanat/sub-34_T1w.nii.gz\t2024-05-01T09:00:00\n")
    done = ferry("push", root, "-p", "P", "-y")
    assert done.code == 7, done.text
    assert sessions(ferry) == {"36_MR1"}
    write_image(tmp_path / "flat" / "t1_mprage_sag.nii.gz")
    write_image(tmp_path / "flat" / "epi.nii.gz", seed=3)
    (tmp_path / "flat" / "epi.json").write_text('{"SeriesDescription": "resting state"}')
    plan = ferry("plan", tmp_path / "flat", "-p", "Q", "--subject", "P7")
    assert "1  epi, resting state" in plan.out
    assert "2  t1_mprage_sag  " in plan.out


def test_many_findings_of_one_kind_are_told_in_few_short_lines(ferry, tmp_path):
    for subject in range(10):
        run = tmp_path / "in" / f"P{subject}"
        shutil.copytree(DATA / "freesurfer7" / "sub-001", run)
        for number in range(60):
            key = f"MD5E-s{number}--{number:032x}.mgz"
            (run / "mri" / f"v{number}.mgz").symlink_to(f"../../.git/annex/objects/aa/bb/{key}/{key}")
    for command in (("check", tmp_path / "in"), ("plan", tmp_path / "in", "-p", "P")):
        done = ferry(*command)
        assert done.code == 7
        lines = done.text.splitlines()
        assert len(lines) < 60
        assert max(map(len, lines)) <= 300
        assert "datalad get" in done.text
        assert "MD5E" not in done.text
        assert "more" in done.text
        listed = ferry(*command, "-v")
        assert all(f"v{number}.mgz is in git-annex" in listed.out for number in range(60)) or command[0] == "plan"
        assert max(map(len, listed.text.splitlines())) <= 300
