"""Pull: what was pushed comes back as it was, is not fetched twice, and replaces nothing unasked."""

import hashlib
import os
import shutil
import signal
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.conftest import Ferry, write_image
from xnatferry.client.client import Client
from xnatferry.xnat.labels import remote_name_problem


def tree(root):
    """Every file below *root* with its bytes' digest; hidden ones too."""
    return {
        path.relative_to(root).as_posix(): hashlib.md5(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


NIFTI = "{0}/{0}_MR1/scans/{1}/resources/NIFTI/files/{2}"


@pytest.fixture
def pushed(ferry, images):
    assert ferry("push", images, "-p", "BRAIN", "-y").code == 0
    return {
        NIFTI.format(subject, scan, f"{kind}.nii.gz"): hashlib.md5(
            (images / subject / f"{kind}.nii.gz").read_bytes()
        ).hexdigest()
        for subject in ("ann", "bob")
        for scan, kind in ((1, "T1w"), (2, "T2w"))
    }


def test_a_project_comes_back_where_its_addresses_say(ferry, pushed, tmp_path):
    done = ferry("pull", "BRAIN", tmp_path / "out")
    assert done.code == 0, done.text
    assert tree(tmp_path / "out") == pushed
    assert "4 files verified (MD5 equal)" in done.out


@pytest.mark.parametrize(
    ("address", "start"),
    [
        ("BRAIN/ann", "ann/"),
        ("BRAIN/ann/ann_MR1", "ann/"),
        ("BRAIN/ann/ann_MR1/scans/2", "ann/ann_MR1/scans/2/"),
        ("BRAIN/ann/ann_MR1/scans/2/resources/NIFTI", "ann/ann_MR1/scans/2/"),
        ("BRAIN/ann/ann_MR1/scans/2/resources/NIFTI/files/T2w.nii.gz", "ann/ann_MR1/scans/2/"),
    ],
)
def test_a_part_stands_where_it_stands_in_the_whole(ferry, pushed, tmp_path, address, start):
    done = ferry("pull", address, tmp_path / "out")
    assert done.code == 0, done.text
    assert tree(tmp_path / "out") == {path: d for path, d in pushed.items() if path.startswith(start)}
    whole = ferry("pull", "BRAIN", tmp_path / "out", "--json").record("result")
    assert whole["fetched_files"] == 4 - len([path for path in pushed if path.startswith(start)])


@pytest.mark.parametrize(
    "address", ["NONE", "BRAIN/carl", "BRAIN/bob/ann_MR1", "BRAIN/ann/ann_MR1/scans/9", "BRAIN/ann/ann_MR1/resources/X"]
)
def test_what_is_not_there_is_told(ferry, pushed, tmp_path, address):
    done = ferry("pull", address, tmp_path / "out")
    assert done.code == 4, done.text
    assert not (tmp_path / "out").exists()


def test_a_second_pull_fetches_nothing_and_says_so(ferry, pushed, tmp_path):
    ferry("pull", "BRAIN", tmp_path / "out")
    again = ferry("pull", "BRAIN", tmp_path / "out", "-v")
    assert again.code == 0
    assert "Up to date" in again.out
    assert again.out.count("exists here") == 4
    assert ferry("pull", "BRAIN", tmp_path / "out", "--json").record("result")["fetched_bytes"] == 0


def test_a_different_local_file_stops_everything_until_told_otherwise(ferry, pushed, tmp_path):
    out = tmp_path / "out"
    mine = out / NIFTI.format("ann", 1, "T1w.nii.gz")
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    stopped = ferry("pull", "BRAIN", out)
    assert stopped.code == 6
    assert str(mine) in stopped.err
    assert list(tree(out)) == [mine.relative_to(out).as_posix()], "something was written"
    skipped = ferry("pull", "BRAIN", out, "--on-conflict", "skip")
    assert skipped.code == 0, skipped.text
    assert mine.read_bytes() == b"mine"
    assert len(tree(out)) == 4
    assert ferry("pull", "BRAIN", out, "--on-conflict", "overwrite").code == 0
    assert tree(out) == pushed


def test_bytes_of_the_same_length_that_differ_are_noticed(ferry, pushed, tmp_path):
    out = tmp_path / "out"
    ferry("pull", "BRAIN", out)
    path = out / NIFTI.format("bob", 1, "T1w.nii.gz")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    assert ferry("pull", "BRAIN", out).code == 6


@pytest.mark.parametrize("policy", ["skip", "overwrite"])
def test_a_folder_in_the_place_of_a_file_is_not_removed(ferry, pushed, tmp_path, policy):
    there = tmp_path / "out" / NIFTI.format("ann", 1, "T1w.nii.gz") / "deep"
    there.mkdir(parents=True)
    done = ferry("pull", "BRAIN", tmp_path / "out", "--on-conflict", policy)
    assert done.code == (6 if policy == "overwrite" else 0), done.text
    assert there.is_dir()


def test_a_folder_that_leads_out_by_a_link_is_not_followed(ferry, pushed, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "ann").symlink_to(elsewhere)
    done = ferry("pull", "BRAIN", tmp_path / "out")
    assert done.code == 7, done.text
    assert "link" in done.text
    assert not tree(elsewhere)
    assert len(tree(tmp_path / "out" / "bob")) == 2


def test_a_dry_run_writes_nothing(ferry, pushed, tmp_path):
    done = ferry("pull", "BRAIN", tmp_path / "out", "-n")
    assert done.code == 0
    assert "4 files" in done.out
    assert not (tmp_path / "out").exists()


def test_resources_of_every_level_come(ferry, pushed, archive, tmp_path):
    from xnatferry.client.remote import Remote
    from xnatferry.client.settings import Connection, Secret

    (tmp_path / "note.txt").write_text("note")
    with Client(Remote(Connection(archive.url, archive.user, Secret(archive.password)))) as xnat:
        xnat.ensure_project("P")
        xnat.ensure_session("P/s/s_MR1")
        xnat.remote.ensure_assessor(address("P/s/s_MR1/assessors/QC"), xsi_type="xnat:qcAssessmentData")
        for owner in ("P", "P/s", "P/s/s_MR1", "P/s/s_MR1/assessors/QC"):
            xnat.put_file(tmp_path / "note.txt", f"{owner}/resources/NOTES")
    env = {"XNAT_HOST": archive.url, "XNAT_USER": archive.user, "XNAT_PASS": archive.password}
    done = ferry("pull", "P", tmp_path / "out", env=env)
    assert done.code == 0, done.text
    assert set(tree(tmp_path / "out")) == {
        f"{owner}resources/NOTES/files/note.txt" for owner in ("", "s/", "s/s_MR1/", "s/s_MR1/assessors/QC/")
    }


def address(text):
    from xnatferry.xnat.model import Address

    return Address.parse(text)


def test_the_run_is_in_the_journal(ferry, pushed, tmp_path):
    done = ferry("pull", "BRAIN", tmp_path / "out", "--json")
    run = ferry("runs", done.record("result")["run"], "--json").records[0]
    assert (run["verb"], run["verdict"], run["outcomes"]) == ("pull", "done", {"stored": 4})
    assert ferry("undo", run["run"], "-y").code == 2, "a pull changed nothing on a server"


def test_json_names_every_file_with_its_proof(ferry, pushed, tmp_path):
    done = ferry("pull", "BRAIN", tmp_path / "out", "--json")
    planned = [r for r in done.records if r["record"] == "file"]
    assert {r["decision"] for r in planned} == {"create"}
    assert {r["path"] for r in planned} == {str(tmp_path / "out" / path) for path in pushed}
    assert done.record("result")["verdicts"] == {"digest matched": 4}


def test_a_full_disk_is_told_with_what_is_missing(ferry, small_disk, tmp_path):
    for number in range(4):
        path = tmp_path / "in" / f"s{number}" / "T1w.nii.gz"
        write_image(path, seed=number, shape=(100, 100, 64))
    assert ferry("push", tmp_path / "in", "-p", "BIG", "-y").code == 0
    done = ferry("pull", "BIG", small_disk / "out")
    assert done.code == 1, done.text
    assert "Disk full" in done.out
    assert "Free some space and run the same command again" in done.out
    missing = done.out.count("missing BIG/")
    assert missing >= 1
    assert len(tree(small_disk / "out")) == 4 - missing, "something half-written was left"


def test_a_killed_pull_goes_on_where_it_ended(ferry, command, tmp_path):
    for number in range(40):
        write_image(tmp_path / "in" / f"s{number:02}" / "T1w.nii.gz", seed=number, shape=(40, 40, 40))
    assert ferry("push", tmp_path / "in", "-p", "P", "-y").code == 0
    out = tmp_path / "out"
    running = command("pull", "P", out, "--workers", "1", at=("os.rename", ".nii.gz", 6))
    running.until("stopped")
    running.process.kill()
    running.process.wait()
    came = {path: digest for path, digest in tree(out).items() if not path.endswith(".part")}
    assert len(came) == 5
    again = ferry("pull", "P", out, "--json")
    assert again.code == 0, again.text
    assert again.record("result")["fetched_files"] == 40 - len(came)
    sent = {hashlib.md5(path.read_bytes()).hexdigest() for path in (tmp_path / "in").rglob("*.nii.gz")}
    assert {digest for path, digest in tree(out).items() if not path.endswith(".part")} == sent


def test_ctrl_c_ends_soon_and_leaves_no_half_file(ferry, command, tmp_path):
    for number in range(40):
        write_image(tmp_path / "in" / f"s{number:02}" / "T1w.nii.gz", seed=number, shape=(60, 60, 40))
    assert ferry("push", tmp_path / "in", "-p", "P", "-y").code == 0
    out = tmp_path / "out"
    running = command("pull", "P", out, "--workers", "1", at=("os.rename", ".nii.gz", 4))
    running.until("stopped")
    running.process.send_signal(signal.SIGINT)
    running.go_on()
    assert "Run the same command again to continue" in running.ended(130) + running.said
    assert not list(out.rglob("*.part"))
    assert ferry("pull", "P", out).code == 0
    assert len(tree(out)) == 40


PART = st.text(
    st.characters(blacklist_categories=("Cc", "Cs"), blacklist_characters="/\\\x00"), min_size=1, max_size=12
).filter(lambda part: part not in {".", ".."})
NAMES = st.lists(PART, min_size=1, max_size=3).map("/".join).filter(lambda name: remote_name_problem(name) is None)


@pytest.fixture(scope="module")
def shared_ferry(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    return Ferry(home)


@pytest.fixture(scope="module")
def shared_client(tmp_path_factory):
    from xnatferry.client.remote import Remote
    from xnatferry.client.settings import Connection, Secret
    from xnatferry.server.archive import running_archive

    with (
        running_archive(tmp_path_factory.mktemp("served"), admin_password="admin-pw") as running,
        Client(Remote(Connection(running.url, running.user, Secret(running.password)))) as client,
    ):
        client.ensure_project("P")
        yield client


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.dictionaries(NAMES, st.binary(max_size=300), min_size=1, max_size=6), packed=st.booleans(), data=st.data()
)
def test_push_and_pull_give_the_same_paths_and_bytes(shared_client, tmp_path, files, packed, data):
    from xnatferry.results.pull_plan import plan_pull
    from xnatferry.results.pull_run import fetch_all
    from xnatferry.results.remote_files import list_files_below

    del data
    names = {tuple(name.split("/")) for name in files}
    files = {
        n: b for n, b in files.items() if not any(tuple(n.split("/"))[:k] in names for k in range(1, n.count("/") + 1))
    }
    session = f"s{time.monotonic_ns()}_MR1"
    resource = address(f"P/{session[:-4]}/{session}/resources/ANY")
    shared_client.ensure_session(f"P/{session[:-4]}/{session}")
    source, out = tmp_path / "source" / session, tmp_path / "out" / session
    if packed:
        for name, content in files.items():
            path = source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        shared_client.put_archive(source, resource)
        expected = {f"{source.name}/{name}": hashlib.md5(content).hexdigest() for name, content in files.items()}
    else:
        shared_client.ensure_resource(resource)
        for name, content in files.items():
            one = tmp_path / "one"
            one.write_bytes(content)
            shared_client.put_file(one, address(f"{resource}/files/{name}"))
        expected = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    remote = shared_client.remote
    plan = plan_pull(list_files_below(remote, resource), out, server=remote.connection.url, address=resource)
    assert not plan.refusals
    result = fetch_all(plan, remote)
    assert result.exit_code == 0, result.failures
    came = tree(out)
    assert {path.partition("/resources/ANY/files/")[2]: digest for path, digest in came.items()} == expected
    assert not plan_pull(list_files_below(remote, resource), out, server="", address=resource).fetched
    shutil.rmtree(tmp_path / "out")
    assert os.path.lexists(tmp_path)
