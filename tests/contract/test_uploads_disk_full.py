"""The archive's disk runs full: a readable refusal, the old state, and work goes on once there is room."""

import os
import subprocess
import sys
from contextlib import suppress

import httpx2
import pytest

from xnatferry.server.archive import running_archive

FILES = "/data/projects/P/subjects/S/experiments/E/resources/R/files"


@pytest.fixture
def small(tmp_path):
    """An archive on a file system of 4 MiB, with a session and one file, and its HTTP client."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root on Linux")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=80", "tmpfs", folder]
    mounted = subprocess.run(mount, check=False, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no small file system here: {mounted.stderr.strip()}")
    try:
        with (
            running_archive(folder / "root", admin_password="admin-secret") as running,
            httpx2.Client(base_url=running.url, auth=("admin", "admin-secret"), timeout=60) as http,
        ):
            for path in ("", "/subjects/S", "/subjects/S/experiments/E?xsiType=xnat:mrSessionData"):
                assert http.put(f"/data/projects/P{path}").status_code in {200, 201}
            assert http.put(f"{FILES}/old.txt?inbody=true", content=b"old").status_code == 200
            yield running, http
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def filled(root):
    """Take all the room that is left."""
    with (root / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while ballast.write(bytes(1000)):
            pass


@pytest.mark.parametrize("kind", ["body", "form", "zip"])
def test_a_file_that_does_not_fit(small, kind, zipped, heading):
    archive, http = small
    data = os.urandom(1 << 20) * 5
    match kind:
        case "body":
            answer = http.put(f"{FILES}/big?inbody=true", content=data)
        case "form":
            answer = http.put(FILES, files=[("f", ("small", b"x")), ("g", ("big", data))])
        case "zip":
            packed = zipped(("a", b"1"), ("b", data[: 2 << 20]), ("c", b"2"))
            answer = http.put(f"{FILES}/x.zip?inbody=true&extract=true", content=packed)
    assert answer.status_code == 507
    assert "disk full" in heading(answer)
    assert list((archive.root / "incoming").iterdir()) == []
    assert [row["Name"] for row in http.get(FILES).json()["ResultSet"]["Result"]] == ["old.txt"]
    assert [path.name for path in (archive.root / "archive").rglob("*") if path.is_file()] == ["old.txt"]
    assert http.put(f"{FILES}/next.txt?inbody=true", content=b"next").content == b""


def test_a_disk_without_any_room(small, heading):
    archive, http = small
    filled(archive.root)
    for query in ("", "&overwrite=true"):
        for size in (10_000, 300_000):
            answer = http.put(f"{FILES}/old.txt?inbody=true{query}", content=b"x" * size)
            assert answer.status_code == 507
            assert "disk full" in heading(answer)
    assert http.get(f"{FILES}/old.txt").content == b"old"
    assert http.get(FILES).json()["ResultSet"]["Result"][0]["Size"] == "3"
    assert list((archive.root / "incoming").iterdir()) == []
    (archive.root / "ballast").unlink()
    assert http.put(f"{FILES}/old.txt?inbody=true&overwrite=true", content=b"new").content == b""
    assert http.get(f"{FILES}/old.txt").content == b"new"


@pytest.mark.parametrize("kind", ["body", "zip"])
def test_room_for_a_few_names_only(small, zipped, kind):
    """With every number of free entries the disk runs full at another step, also after the commit; it is all or nothing."""
    archive, http = small
    others = archive.root / "others"
    others.mkdir()
    with suppress(OSError):
        for number in range(200):
            (others / str(number)).touch()
    path, body = {
        "body": ("new/folder/a?inbody=true", b"1"),
        "zip": ("x.zip?inbody=true&extract=true&overwrite=true", zipped(("old.txt", b"other"), ("new/folder/a", b"1"))),
    }[kind]
    before = {"old.txt": b"old"}
    after = {"old.txt": b"other" if kind == "zip" else b"old", "new/folder/a": b"1"}
    statuses = []
    for number in range(8):
        answer = http.put(f"{FILES}/{path}", content=body)
        statuses.append(answer.status_code)
        wanted = after if answer.status_code == 200 else before
        rows = http.get(FILES).json()["ResultSet"]["Result"]
        names = [row["URI"].partition("/files/")[2] for row in rows]
        assert {name: http.get(f"{FILES}/{name}").content for name in names} == wanted
        (resource,) = http.get(FILES.removesuffix("/R/files")).json()["ResultSet"]["Result"]
        assert int(resource["file_count"]) == len(wanted)
        folder = archive.root / "archive" / "P" / "arc001" / "E" / "RESOURCES" / "R"
        assert {path.name for path in folder.rglob("*")} == {part for name in wanted for part in name.split("/")}
        assert list((archive.root / "incoming").iterdir()) == []
        if answer.status_code == 200:
            break
        assert (answer.status_code, "disk full" in answer.text) == (507, True)
        (others / str(number)).unlink()
    assert statuses.index(200) >= 3
