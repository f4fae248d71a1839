"""Pages about pushes and plans, and trees in the terminal, as a user types them."""

import shlex
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import write_image
from tests.unit.reports.pages import Page
from xnatferry import samples

NIFTI = Path(samples.__file__).parent / "nifti"


@pytest.fixture
def seven(tmp_path):
    """Seven subjects with one image each, of which one has another matrix; and one that is refused."""
    root = tmp_path / "seven"
    for number in range(7):
        write_image(root / f"s{number}" / "T1w.nii.gz", seed=number, shape=(8, 9, 4 if number == 3 else 5))
    (root / "bad").mkdir()
    (root / "bad" / "T1w.nii.gz").write_bytes(b"<html>not <b>found</b></html>")
    return root


def page_of(path):
    page = Page(path.read_text(encoding="utf-8"))
    page.assert_self_contained()
    return page


def test_a_push_tells_of_itself_on_one_page(ferry, seven, tmp_path):
    done = ferry("push", seven, "-p", "P", "-y", "--report", tmp_path / "push.html", "--password", "unused-secret")
    assert done.code == 7, done.text
    assert f"Report: {tmp_path / 'push.html'}" in done.err
    page = page_of(tmp_path / "push.html")
    run = ferry("runs", "--json").records[0]["run"]
    assert "partly refused" in page.text
    assert "planned 7 files" in page.text
    assert "verified 7 of 7 7 digest matched" in page.text
    assert "refused 1 source" in page.text
    assert "bad/T1w.nii.gz" in page.text
    assert "8 \u00d7 9 \u00d7 4" in page.text
    assert "1 s3_MR1 scan 1" in page.text, "the odd one stands beside its bar"
    assert len(page.images) == 7
    for command in (f"xnatferry undo {run}", f"xnatferry verify {run}", f"xnatferry push {shlex.quote(str(seven))}"):
        assert command in page.text
    assert "secret" not in page.text
    assert "secret" not in ferry("runs", run, "--json").out


def test_a_past_run_can_be_told_again_also_without_its_files(ferry, images, tmp_path):
    assert ferry("push", images, "-p", "P", "-y").code == 0
    shutil.rmtree(images / "bob")
    assert ferry("runs", "latest", "--report", tmp_path / "run.html").code == 0
    page = page_of(tmp_path / "run.html")
    assert "Push into P done" in page.text
    assert len(page.images) == 2
    assert f"{images / 'bob' / 'T1w.nii.gz'} is no longer there" in page.text
    assert "requests" in page.text
    assert ferry("runs", "--report", tmp_path / "none.html").code == 2
    assert not (tmp_path / "none.html").exists()


def test_the_command_on_the_page_goes_on_where_the_run_ended(ferry, images, tmp_path):
    template = "{subject}/{type}.nii.gz"
    pushed = ferry("push", images, "-p", "P", "--template", template, "-y", "--type", "a b", "--json")
    command = ferry("runs", pushed.record("result")["run"], "--json").record("run")["command"]
    words = shlex.split(command)
    assert words[:3] == ["xnatferry", "push", str(images)]
    assert words[words.index("--template") + 1] == template
    assert words[words.index("--type") + 1] == "a b"
    again = ferry(*words[1:], "-y", "--json")
    assert again.code == 0, again.text
    assert again.record("result")["sent_files"] == 0


def test_a_push_that_finds_everything_there_says_so_on_its_page(ferry, images, tmp_path):
    ferry("push", images, "-p", "P", "-y")
    assert ferry("push", images, "-p", "P", "-y", "--report", tmp_path / "again.html").code == 0
    page = page_of(tmp_path / "again.html")
    assert "up to date" in page.text
    assert "verified 4 of 4" in page.text


def test_a_push_that_is_held_back_writes_why(ferry, images, tmp_path):
    template = "{subject}/T1w.nii.gz"  # leaves the T2w images without a place
    done = ferry("push", images, "-p", "P", "-y", "--template", template, "--report", tmp_path / "held.html")
    assert done.code == 7, done.text
    page = page_of(tmp_path / "held.html")
    assert "blocked" in page.text
    assert "Nothing is sent until" in page.text


def test_shares_of_one_push_are_one_page(ferry, images, tmp_path):
    for share in ("1/2", "2/2"):
        assert ferry("push", images, "-p", "P", "-y", "--shard", share).code == 0
    (name,) = [record["shares"] for record in ferry("runs", "--json").records]
    assert ferry("runs", name, "--report", tmp_path / "shares.html").code == 0
    page = page_of(tmp_path / "shares.html")
    assert "verified 4 of 4" in page.text
    assert f"xnatferry undo {name}" in page.text
    assert len(page.images) == 4


def test_a_plan_as_a_page_changes_nothing(ferry, seven, tmp_path):
    done = ferry("plan", seven, "-p", "P", "--html", tmp_path / "plan.html")
    assert done.code == 7, done.text
    page = page_of(tmp_path / "plan.html")
    assert "Plan of a push into P planned nothing was sent" in page.text
    assert f"xnatferry push {seven} --project P --server local" in page.text
    assert "s3_MR1 scan 1" in page.text
    assert ferry("list").out.strip() == ""
    assert ferry("plan", seven, "-p", "P", "--html", tmp_path / "plan.txt").code == 2


def test_hostile_names_are_words_on_the_page(ferry, tmp_path):
    name = "<svg onload=alert(1)>"
    write_image(tmp_path / "odd" / name / "T1w.nii.gz")
    write_image(tmp_path / "odd" / "ann" / f"{name}.nii.gz")
    ferry("plan", tmp_path / "odd", "-p", "P", "--html", tmp_path / "plan.html")
    page = page_of(tmp_path / "plan.html")
    assert "onload=alert(1)" in page.text


def test_a_hundred_scans_are_far_below_twenty_megabytes(ferry, tmp_path):
    for number in range(90):  # noise makes the largest pictures, a real image takes longest to draw
        folder = tmp_path / "many" / f"s{number:02}"
        write_image(folder / "noise.nii.gz", seed=number, shape=(64, 64, 40))
        if number < 10:
            shutil.copyfile(NIFTI / "colin27" / "T1w.nii.gz", folder / "T1w.nii.gz")
    assert ferry("plan", tmp_path / "many", "-p", "P", "-q", "--html", tmp_path / "plan.html").code == 0
    page = page_of(tmp_path / "plan.html")
    assert len(page.images) == 100
    assert (tmp_path / "plan.html").stat().st_size < 5_000_000


def test_plans_and_lists_are_trees_with_counts(ferry, images):
    planned = ferry("plan", images, "-p", "P", "--depth", "2").out.splitlines()[1:]  # the first counts notes
    assert planned[0].startswith("+ P  4 files, ")
    assert planned[1].startswith("  + ann  2 files, ")
    assert not [line for line in planned if "NIFTI" in line]
    assert any("T1w.nii.gz" in line for line in ferry("plan", images, "-p", "P", "--depth", "5").out.splitlines())
    ferry("push", images, "-p", "P", "-y")
    listed = ferry("list", "P").out.splitlines()
    assert listed[0].startswith("P  4 files, ")
    assert listed[2].startswith("    ann_MR1  xnat:mrSessionData")
    assert "2 files" in listed[2]
    assert len(ferry("list", "P", "--depth", "0").out.splitlines()) == 1
    assert len(ferry("list", "P", "--depth", "1").out.splitlines()) == 3
    deep = ferry("list", "P", "--depth", "5", "--json").records
    assert sum(record["record"] == "file" for record in deep) == 4
    by_address = {record["address"]: record for record in deep}
    assert by_address["P/ann/ann_MR1/scans/1"]["files"] == 1
    sizes = {path.parent.name: 0 for path in images.rglob("*.nii.gz")}
    for path in images.rglob("*.nii.gz"):
        sizes[path.parent.name] += path.stat().st_size
    assert {name: by_address[f"P/{name}"]["size_bytes"] for name in sizes} == sizes
    assert by_address["P"]["size_bytes"] == sum(sizes.values())
    assert [r["record"] for r in ferry("list", "--depth", "1", "--json").records] == ["project", "subject", "subject"]


def test_many_subjects_are_folded_unless_asked_for(ferry, tmp_path):
    for number in range(30):
        write_image(tmp_path / "thirty" / f"s{number:02}" / "T1w.nii.gz", seed=number, shape=(3, 3, 3))
    planned = ferry("plan", tmp_path / "thirty", "-p", "P").out
    assert "\u2026 5 more sessions (5 +), 5 files, " in planned
    shallow = ferry("plan", tmp_path / "thirty", "-p", "P", "--depth", "1").out
    assert "s29" not in shallow
    assert "5 more sessions" in shallow
    ferry("push", tmp_path / "thirty", "-p", "P", "-y", "-q")
    listed = ferry("list", "P").out
    assert "\u2026 5 more subjects (5 sessions, 5 files, " in listed
    assert "s29" not in listed
    assert "s29" in ferry("list", "P", "-v").out
    assert len([r for r in ferry("list", "P", "--json").records if r["record"] == "session"]) == 30
