import re


def test_a_removal_must_say_what_happens_to_the_files(ferry, images):
    ferry("push", images, "-p", "P", "-y")
    assert ferry("remove", "P/ann", "-y").code == 2
    assert ferry("remove", "P/ann", "--remove-files").code == 2, "nobody can be asked"
    done = ferry("remove", "P/ann/ann_MR1/scans/1/resources/NIFTI", "--remove-files", "-y")
    assert done.code == 0, done.text
    assert "1 file" in done.out
    assert ferry("list", "P/ann/ann_MR1/scans/1/resources/NIFTI").code == 4


def test_files_go_or_stay_as_it_was_said(ferry, images):
    ferry("push", images, "-p", "P", "-y")
    blob_store = ferry.home / "archive" / "archive" / "P" / "arc001"
    assert ferry("remove", "P/ann/ann_MR1", "--keep-files", "-y").code == 0
    assert list((blob_store / "ann_MR1").rglob("T1w.nii.gz"))
    assert ferry("remove", "P/bob/bob_MR1", "--remove-files", "-y").code == 0
    assert not list((blob_store / "bob_MR1").rglob("*.nii.gz"))
    sessions = [r for r in ferry("list", "P", "--json").records if r["record"] == "session"]
    assert sessions == []


def test_the_demo_crosses_and_reads_a_number_back(ferry):
    done = ferry("demo")
    assert done.code == 0, done.text
    assert "Up to date" in done.out
    assert re.search(r"Left-Hippocampus\s+\d+\.\d mm³", done.out)
    assert len(re.findall(r"\d+ files verified \(MD5 equal\)", done.out)) == 3


def test_help_names_every_command(ferry):
    done = ferry("--help")
    for command in ("check", "plan", "push", "verify", "runs", "undo", "list", "remove", "serve", "demo", "whoami"):
        assert f"\n  {command} " in done.out
        assert ferry(command, "--help").code == 0
