"""Whatever is wrong, people get one readable message, the right exit code, and nothing half-made that is not named."""

import gzip
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.e2e.conftest import write_image

POINTER = b"/annex/objects/MD5E-s1234--0123456789abcdef0123456789abcdef.nii.gz\n"


def spoil(path, how):
    data = path.read_bytes()
    if how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "plain bytes named .gz":
        path.write_bytes(gzip.decompress(data))
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "annex pointer":
        path.write_bytes(POINTER)
    elif how == "web page":
        path.write_bytes(b"<!DOCTYPE html><html><body>Sign in</body></html>")
    elif how == "damaged":
        path.write_bytes(data[:60] + bytes([data[60] ^ 255]) + data[61:])
    elif how == "noise":
        path.write_bytes(bytes(range(256)) * 40)


@pytest.mark.parametrize(
    ("how", "word"),
    [
        ("truncated", "is truncated"),
        ("plain bytes named .gz", "not compressed"),
        ("empty", "empty"),
        ("annex pointer", "annex"),
        ("web page", "web page"),
        ("damaged", "damaged"),
        ("noise", "T1w.nii.gz"),
    ],
)
def test_a_bad_image_is_refused_with_its_reason_and_the_others_go(ferry, images, how, word):
    spoil(images / "ann" / "T1w.nii.gz", how)
    done = ferry("push", images, "-p", "P", "-y")
    assert done.code == 7
    assert word in done.out
    assert "3 files verified (MD5 equal)" in done.out
    assert "ann/T1w.nii.gz" in done.out
    assert "T1w" not in ferry("list", "P/ann/ann_MR1", "--json").out


def test_gzip_under_a_plain_name_is_a_lie_too(ferry, tmp_path):
    packed = write_image(tmp_path / "in" / "ann" / "T1w.nii.gz")
    packed.rename(packed.with_suffix(""))
    done = ferry("check", tmp_path / "in")
    assert done.code == 7
    assert "rename it to T1w.nii.gz" in done.out


def test_a_missing_source_is_a_usage_error(ferry, tmp_path):
    done = ferry("push", tmp_path / "nowhere", "-p", "P", "-y")
    assert done.code == 2
    assert "not found" in done.err


def test_a_folder_with_nothing_to_push_says_so(ferry, tmp_path):
    (tmp_path / "empty").mkdir()
    assert ferry("push", tmp_path / "empty", "-p", "P", "-y").code == 7


def test_a_folder_under_an_image_name_is_refused(ferry, images):
    (images / "ann" / "T1w.nii.gz").unlink()
    (images / "ann" / "T1w.nii.gz").mkdir()
    done = ferry("push", images, "-p", "P", "-y")
    assert done.code == 7
    assert "folder" in done.out


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_refused(ferry, images):
    (images / "ann" / "T1w.nii.gz").chmod(0)
    done = ferry("push", images, "-p", "P", "-y")
    assert done.code == 7
    assert "permission" in done.out.lower()


def test_a_dangling_link_is_refused(ferry, images):
    (images / "ann" / "T1w.nii.gz").unlink()
    (images / "ann" / "T1w.nii.gz").symlink_to("../.git/annex/objects/xx")
    done = ferry("push", images, "-p", "P", "-y")
    assert done.code == 7
    assert "ann/T1w.nii.gz" in done.out


def test_two_rows_for_one_place_stop_everything(ferry, images, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("file,subject,session,scan\nimages/ann/T1w.nii.gz,a,a1,1\nimages/bob/T1w.nii.gz,a,a1,1\n")
    done = ferry("push", table, "-p", "P", "-y")
    assert done.code == 7
    assert "lines 2, 3" in done.text
    assert ferry("list").out.strip() == ""


def test_a_label_that_xnat_refuses_is_shown_with_a_proposal(ferry, tmp_path):
    write_image(tmp_path / "in" / "ann b." / "T1w.nii.gz")
    done = ferry("push", tmp_path / "in", "-p", "P", "-y")
    assert done.code == 7
    assert "ann_b" in done.out
    assert ferry("list").out.strip() == ""
    assert ferry("push", tmp_path / "in", "-p", "P", "-y", "--clean-labels").code == 0
    assert "P/ann_b/ann_b_MR1" in ferry("list", "P", "--json").out


def test_cleaning_never_merges_people(ferry, tmp_path):
    write_image(tmp_path / "in" / "ann b" / "T1w.nii.gz", seed=1)
    write_image(tmp_path / "in" / "ann.b" / "T1w.nii.gz", seed=2)
    done = ferry("push", tmp_path / "in", "-p", "P", "-y", "--clean-labels")
    assert done.code == 7
    assert "would get the same label" in done.out


def test_a_bad_project_name_is_a_usage_error(ferry, images):
    assert ferry("push", images, "-p", "a b", "-y").code == 2
    assert ferry("push", images, "-y").code == 2


def test_an_unknown_host_is_not_found(ferry, images):
    done = ferry("push", images, "-p", "P", "-y", "-s", "http://no-such-host.invalid", "-u", "x", "--password", "y")
    assert done.code == 4
    assert "no-such-host.invalid" in done.err


def test_a_refused_connection_is_temporary(ferry, images):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = ferry("list", "-s", f"http://127.0.0.1:{port}", "-u", "x", "--password", "y")
    assert done.code == 5


class _WebSite(BaseHTTPRequestHandler):
    def do_GET(self):
        page = b"<!DOCTYPE html><html><title>Welcome to our clinic</title></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    do_POST = do_PUT = do_GET  # noqa: N815  # http.server's names

    def log_message(self, *_):
        pass


def test_a_host_that_is_no_xnat_is_said_to_be_none(ferry, images):
    site = HTTPServer(("127.0.0.1", 0), _WebSite)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    try:
        where = f"http://127.0.0.1:{site.server_port}"
        done = ferry("push", images, "-p", "P", "-y", "-s", where, "-u", "x", "--password", "y")
    finally:
        site.shutdown()
        site.server_close()
    assert done.code == 4, done.text
    assert "XNAT" in done.err


def test_a_wrong_password_is_not_authenticated_and_never_shown(ferry, images, archive):
    done = ferry("push", images, "-p", "P", "-y", "-v", "-s", archive.url, "-u", "admin", "--password", "wrong-secret")
    assert done.code == 3
    assert "wrong-secret" not in done.text


def test_a_project_without_the_right_to_write_is_forbidden(ferry, images, archive):
    archive.archive.accounts.create("reader", "reader-pw")
    login = ("-s", archive.url, "-u", "reader", "--password", "reader-pw")
    admin = ("-s", archive.url, "-u", archive.user, "--password", archive.password)
    assert ferry("push", images, "-p", "P", "-y", *admin).code == 0
    done = ferry("push", images, "-p", "P", "-y", *login)
    assert done.code == 3, done.text
    assert "reader-pw" not in done.text


def test_an_address_that_is_not_there(ferry):
    assert ferry("list", "NOWHERE").code == 4
    assert ferry("list", "a/b/c/d/e").code == 2
    assert ferry("remove", "NOWHERE", "--remove-files", "-y").code == 4


def test_a_full_disk_is_told_and_leaves_nothing(ferry, images, small_disk):
    write_image(images / "ann" / "big.nii", shape=(128, 128, 96))
    done = ferry("push", images, "-p", "P", "-y", env={"XNATFERRY_ROOT": str(small_disk / "archive")})
    assert done.code in {1, 5}, done.text
    assert "big.nii" in done.text
    left = [path for path in (small_disk / "archive" / "incoming").rglob("*") if path.is_file()]
    assert left == []


def test_a_name_that_is_not_utf8_is_refused_and_the_others_go(ferry, images):
    os.rename(os.fsencode(images / "ann" / "T1w.nii.gz"), os.fsencode(images / "ann") + b"/T1_\xe9.nii.gz")  # noqa: PTH104  # bytes, not text
    assert ferry("check", images).code == 7
    done = ferry("push", images, "-p", "P", "-y", env={"PYTHONIOENCODING": "ascii"})
    assert done.code == 7, done.text
    assert "not UTF-8" in done.out
    assert "3 files verified (MD5 equal)" in done.out
    assert ferry("runs", "latest", "--json").code == 0


def test_an_unknown_host_stops_a_plan_as_well(ferry, images):
    assert ferry("plan", images, "-p", "P", "-s", "http://no-such-host.invalid", "-u", "x", "--password", "y").code == 4


def test_options_that_shape_a_plan_are_not_swallowed_by_a_stored_one(ferry, images, tmp_path):
    assert ferry("plan", images, "-p", "P", "-o", tmp_path / "stored").code == 0
    done = ferry("push", tmp_path / "stored", "-y", "--gzip", "-p", "Q")
    assert done.code == 2
    assert "--gzip" in done.err
    assert ferry("plan", images, "-p", "P", "-o", tmp_path).code == 2
    assert ferry("push", tmp_path / "stored", "-y").code == 0


def test_the_reasons_are_told_even_when_quiet(ferry, images):
    spoil(images / "ann" / "T1w.nii.gz", "truncated")
    assert "is truncated" in ferry("push", images, "-p", "P", "-y", "-q").out


def test_values_that_xnat_would_refuse_are_refused_first(ferry, images):
    for option in (("--date", "2026-13-45"), ("--quality", "nice"), ("--session-template", "{subject.x}")):
        assert ferry("push", images, "-p", "P", "-y", *option).code == 2, option
    assert ferry("list").out.strip() == ""
