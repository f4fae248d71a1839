"""Options of a push that choose, limit and record."""

import json
import os
import pty
import re
import select
import subprocess

import pytest

from tests.e2e.conftest import write_image


@pytest.fixture
def four(tmp_path):
    """Four subjects with an image each."""
    for number, subject in enumerate(("ann", "bob", "cid", "dan")):
        write_image(tmp_path / "four" / subject / "T1w.nii.gz", seed=number)
    return tmp_path / "four"


def subjects(ferry, project="P"):
    return {
        r["address"].partition("/")[2] for r in ferry("list", project, "--json").records if r["record"] == "subject"
    }


def test_only_and_exclude_choose_subjects_and_sessions(ferry, four):
    done = ferry("push", four, "-p", "P", "-y", "--only", "[abc]*", "--exclude", "*/bob_MR?", "--exclude", "zoe")
    assert done.code == 0, done.text
    assert subjects(ferry) == {"ann", "cid"}
    assert ferry("verify", four, "-p", "P", "--only", "ann").code == 0
    assert ferry("verify", four, "-p", "P").code == 8
    nothing = ferry("push", four, "-p", "P", "-y", "--only", "nobody")
    assert nothing.code == 7
    assert "--only nobody: no subject or session matches" in nothing.err


def test_max_sessions_takes_the_next_ones_each_time(ferry, four):
    for there in ({"ann", "bob", "cid"}, {"ann", "bob", "cid", "dan"}):
        assert ferry("push", four, "-p", "P", "-y", "--max-sessions", "3").code == 0
        assert subjects(ferry) == there
    assert "Up to date" in ferry("push", four, "-p", "P", "-y", "--max-sessions", "3").out


def test_a_stored_plan_is_not_filtered_but_may_be_cut(ferry, four, tmp_path):
    plan = tmp_path / "plan.json"
    assert ferry("plan", four, "-p", "P", "-o", plan).code == 0
    assert ferry("push", plan, "-y", "--only", "ann").code == 2
    assert ferry("push", plan, "-y", "--max-sessions", "1").code == 0
    assert subjects(ferry) == {"ann"}
    assert ferry("push", plan, "-y").code == 0
    assert len(subjects(ferry)) == 4


def test_a_bandwidth_limit_is_read_as_people_write_it(ferry, images):
    for wrong in ("fast", "0", "-1", "10 furlongs"):
        assert ferry("push", images, "-p", "P", "-y", "--bwlimit", wrong).code == 2
    assert ferry("push", images, "-p", "P", "-y", "--bwlimit", "2.5MB/s").code == 0


def test_the_receipt_is_kept_in_the_project_and_goes_with_an_undo(ferry, images, tmp_path):
    first = ferry("push", images, "-p", "P", "-y", "--record", "--json").record("result")["run"]
    write_image(images / "eve" / "T1w.nii.gz", seed=50)
    second = ferry("push", images, "-p", "P", "-y", "--record", "--json").record("result")["run"]
    listed = [r["address"] for r in ferry("list", "P/resources/XNATFERRY", "--json").records if r["record"] == "file"]
    assert listed == sorted(f"P/resources/XNATFERRY/files/{name}.json" for name in (first, second))
    stored = next((ferry.home / "archive").rglob(f"{first}.json")).read_text()
    receipt = json.loads(stored)
    assert receipt["proofs"] == {"digest matched": 4}
    assert str(tmp_path) not in stored, "no path of this computer"
    assert ferry("undo", second, "-y").code == 0
    listed = [r["address"] for r in ferry("list", "P/resources/XNATFERRY", "--json").records if r["record"] == "file"]
    assert listed == [f"P/resources/XNATFERRY/files/{first}.json"]
    assert ferry("undo", first, "-y", "--remove-project").code == 0
    assert ferry("list").out.strip() == ""


def test_every_run_has_a_log_without_secrets(ferry, images, archive):
    # To a server with an account of its own, so that there is a secret to lose.
    secret = {"XNAT_USER": "admin", "XNAT_PASS": "admin-pw"}
    assert ferry("push", images, "-p", "P", "-y", "-s", archive.url, env=secret).code == 0
    (log,) = (ferry.home / "state").rglob("run.log")
    text = log.read_text()
    assert "created P/ann/ann_MR1/scans/1" in text
    assert "stored 1 of 1 files in P/ann/ann_MR1/scans/1/resources/NIFTI" in text
    assert "verified 2 of 2 files of P/ann/ann_MR1" in text
    for file in log.parent.rglob("*"):
        assert "admin-pw" not in file.read_text()
        assert "JSESSIONID" not in file.read_text()


def test_stages_are_plain_lines_where_there_is_no_terminal(ferry, images):
    done = ferry("push", images, "-p", "P", "-y")
    assert re.search(r"^Compared with .* in [\d.]+ s: 0 of 2 sessions exist there$", done.err, re.MULTILINE)
    assert re.search(r"^Created \d+ objects \([\d.]+ s\)$", done.err, re.MULTILINE)
    assert re.search(r"^Sent 4 files, .* \([\d.]+ s\)$", done.err, re.MULTILINE)
    assert re.search(r"^Verified 4 files \([\d.]+ s\)$", done.err, re.MULTILINE)
    assert "\x1b" not in done.text
    write_image(images / "eve" / "T1w.nii.gz", seed=50)
    assert ferry("push", images, "-p", "P", "-y", "-q").err == ""


def on_terminal(ferry, *arguments, env=None):
    """What a command writes to stderr when that is a terminal."""
    ours, theirs = pty.openpty()
    environment = (
        {k: v for k, v in ferry.environment.items() if k != "NO_COLOR"} | {"TERM": "xterm-256color"} | (env or {})
    )
    process = subprocess.Popen(
        ferry.command(*arguments), env=environment, stdout=subprocess.DEVNULL, stderr=theirs, stdin=subprocess.DEVNULL
    )
    os.close(theirs)
    seen = b""
    while True:
        ready, _, _ = select.select([ours], [], [], 60)
        try:
            data = os.read(ours, 65536) if ready else b""
        except OSError:
            data = b""
        if not data:
            break
        seen += data
    os.close(ours)
    assert process.wait(500) == 0, seen
    return seen.decode()


COLOUR = re.compile(r"\x1b\[[\d;]*3[0-7][\d;]*m")


def test_a_terminal_gets_a_live_block_and_colour_only_where_it_is_wanted(ferry, four):
    large = four / "ann" / "bold.nii.gz"
    write_image(large, seed=9, shape=(160, 160, 230))
    assert large.stat().st_size > 8_000_000
    shown = on_terminal(ferry, "push", four, "-p", "P", "-y", "--bwlimit", "20M")
    assert "sending" in shown
    assert "bold.nii.gz" in shown, "a large file has a line of its own"
    assert "5/5 files" in shown
    assert COLOUR.search(shown)
    plain = on_terminal(ferry, "push", four, "-p", "P2", "-y", env={"NO_COLOR": "1"})
    assert "5/5 files" in plain
    assert not COLOUR.search(plain)


def test_an_image_is_one_scan_compressed_or_not_and_in_any_resource(ferry, tmp_path):
    write_image(tmp_path / "in" / "ann" / "T1w.nii", seed=1)
    write_image(tmp_path / "in" / "ann" / "T2w.nii", seed=2)
    assert ferry("push", tmp_path / "in", "-p", "P", "-y").code == 0
    again = ferry("push", tmp_path / "in", "-p", "P", "-y", "--gzip")
    assert again.code == 0, again.text
    assert "Up to date" in again.out
    assert ferry("push", tmp_path / "in", "-p", "P", "-y", "--resource", "OTHER", "--gzip").code == 0
    assert "Up to date" in ferry("push", tmp_path / "in", "-p", "P", "-y", "--resource", "OTHER").out
    places = {r["address"] for r in ferry("list", "P/ann/ann_MR1", "--json").records if r["record"] == "resource"}
    base = "P/ann/ann_MR1/scans"
    assert places == {f"{base}/{scan}/resources/{label}" for scan in (1, 2) for label in ("NIFTI", "OTHER")}
    write_image(tmp_path / "in" / "ann" / "T1w.nii", seed=3)
    changed = ferry("plan", tmp_path / "in", "-p", "P", "--resource", "THIRD")
    assert "+ 3" in changed.out
