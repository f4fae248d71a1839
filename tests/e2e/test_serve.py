"""The archive in the foreground."""

import json
import signal
import socket
import subprocess
import urllib.error
import urllib.request

import pytest

from xnatferry.durable import try_lock


@pytest.fixture(params=[()])
def served(ferry, tmp_path, request):
    process = subprocess.Popen(
        ferry.command("serve", "--root", tmp_path / "root", "--port", "0", "--json", *request.param),
        env=ferry.environment | {"XNATFERRY_ADMIN_PASSWORD": "chosen-password"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_and_a_signal_stops_it_cleanly(served, how):
    process, ready = served
    assert ready["password"] is None, "a password that the user chose is not repeated"
    request = urllib.request.Request(f"{ready['url']}/data/projects?format=json")
    request.add_header("Authorization", "Basic YWRtaW46Y2hvc2VuLXBhc3N3b3Jk")  # admin:chosen-password
    with urllib.request.urlopen(request) as answer:
        assert "ResultSet" in answer.read().decode()
    process.send_signal(how)
    assert process.wait(timeout=500) == 0
    assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize(("served", "status"), [((), 404), (("--strict",), 500)], indirect=["served"])
def test_a_strict_archive_has_the_firewall_of_xnat(served, status):
    _, ready = served
    request = urllib.request.Request(f"{ready['url']}/data/projects/50%25")
    request.add_header("Authorization", "Basic YWRtaW46Y2hvc2VuLXBhc3N3b3Jk")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    refused.value.close()
    assert refused.value.code == status


def test_a_second_start_says_who_holds_the_folder(ferry, served, tmp_path):
    process, ready = served
    second = ferry("serve", "--root", tmp_path / "root", "--port", "0")
    assert second.code == 1
    assert str(process.pid) in second.err
    assert ready["url"] in second.err


def test_other_commands_use_the_archive_that_runs_already(ferry, served, tmp_path, images):
    _, ready = served
    done = ferry("push", images, "-p", "P", "-y", env={"XNATFERRY_ROOT": str(tmp_path / "root")})
    assert done.code == 0, done.text
    assert ready["url"] in done.err


def test_what_was_pushed_is_there_after_a_restart(ferry, images):
    assert ferry("push", images, "-p", "P", "-y").code == 0
    process = subprocess.Popen(
        ferry.command("serve", "--root", ferry.home / "archive", "--port", "0", "--json"),
        env=ferry.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        process.stdout.readline()
        assert "4 files verified (MD5 equal)" in ferry("verify", images, "-p", "P").out
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    # Killed, not stopped: the folder is free again all the same.
    assert "4 files verified (MD5 equal)" in ferry("verify", images, "-p", "P").out


def test_a_new_archive_shows_a_random_password_once(ferry, tmp_path):
    for expected in (True, False):
        process = subprocess.Popen(
            ferry.command("serve", "--root", tmp_path / "r", "--port", "0", "--json"),
            env=ferry.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert (json.loads(process.stdout.readline())["password"] is not None) is expected
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=500)
            process.stdout.close()


def test_two_commands_share_the_archive_of_the_first(ferry, command, tmp_path):
    from tests.e2e.conftest import write_image

    for name in ("a", "b"):
        for number in range(12):
            write_image(tmp_path / name / f"{name}{number:02}" / "T1w.nii.gz", seed=number, shape=(32, 32, 10))
    together = [command("push", tmp_path / name, "-p", "P", "-y") for name in ("a", "b")]
    for one in together:
        one.ended()  # with 0, whether they overlapped or not; test_starting_together.py drives both orders
    sessions = [r for r in ferry("list", "P", "--json").records if r["record"] == "session"]
    assert len(sessions) == 24


def test_check_compares_metadata_with_files(ferry, images):
    assert ferry("push", images, "-p", "P", "-y").code == 0
    root = ferry.home / "archive"
    well = ferry("serve", "--root", root, "--check", "--deep")
    assert (well.code, "Database and files agree: 4 files" in well.out) == (0, True), well.text
    stored = next(path for path in (root / "archive").rglob("*.gz"))
    stored.unlink()
    ill = ferry("serve", "--root", root, "--check", "--json")
    assert ill.code == 8
    records = [json.loads(line) for line in ill.out.splitlines()]
    assert [record["kind"] for record in records if record["record"] == "finding"] == ["missing"]


def test_backup_restore_and_trash(ferry, images, tmp_path):
    assert ferry("push", images, "-p", "P", "-y").code == 0
    root = ferry.home / "archive"
    made = ferry("serve", "--root", root, "--backup", tmp_path / "backup")
    assert (made.code, "4 files" in made.out, "verified" in made.out) == (0, True, True), made.text
    assert ferry("serve", "--root", root, "--backup", tmp_path / "backup").code == 2
    assert ferry("remove", "P", "--remove-files", "-y").code == 0
    assert list((root / "trash").iterdir())
    emptied = ferry("serve", "--root", root, "--empty-trash")
    assert emptied.code == 0, emptied.text
    assert list((root / "trash").iterdir()) == []
    assert ferry("serve", "--root", tmp_path / "backup", "--check", "--deep").code == 0
    assert ferry("serve", "--check", "--empty-trash").code == 2
    assert ferry("serve", "--root", tmp_path / "none", "--empty-trash").code == 1


def test_an_archive_of_another_computer_is_not_sent_the_credential(ferry, images):
    """On a shared disk 127.0.0.1 in holder.json is the other computer; here somebody else may listen on that port."""
    assert ferry("push", images, "-p", "P", "-y").code == 0
    path = ferry.home / "archive" / "holder.json"
    with socket.create_server(("127.0.0.1", 0)) as stranger, path.open("r+b") as file:
        stranger.settimeout(0)
        assert try_lock(file.fileno())
        url = f"http://127.0.0.1:{stranger.getsockname()[1]}"
        file.truncate()
        file.write(json.dumps({"pid": 1, "host": "node-a.cluster", "url": url, "started": "2026"}).encode())
        file.flush()
        refused = ferry("list")
        assert refused.code != 0
        assert "node-a.cluster" in refused.err
        with pytest.raises(BlockingIOError):
            stranger.accept()


def test_check_of_nothing_is_an_error(ferry, tmp_path):
    assert ferry("serve", "--root", tmp_path / "none", "--check").code == 1
    assert ferry("serve", "--deep").code == 2


def test_plain_http_for_others_is_warned_about_and_repairs_are_told(ferry, tmp_path):
    root = tmp_path / "root"
    (root / "incoming").mkdir(parents=True)
    (root / "incoming" / "0123").write_bytes(b"left by a killed process")
    process = subprocess.Popen(
        ferry.command("serve", "--root", root, "--port", "0", "--host", "0.0.0.0"),
        env=ferry.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=500)
    assert "warning: 0.0.0.0 is reachable" in err
    assert "error" not in err
    assert "HTTP is not encrypted" in err
    assert "1 file of interrupted uploads removed" in err
