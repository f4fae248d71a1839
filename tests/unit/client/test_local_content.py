import hashlib
import io
import tarfile
import zipfile
from pathlib import PurePosixPath, PureWindowsPath

import pytest

from xnatferry.client.local_content import archive_of, content_of, member_name
from xnatferry.errors import DataError, FileChangedError


def md5(data):
    return hashlib.md5(data).hexdigest()


@pytest.fixture
def subject(tmp_path):
    folder = tmp_path / "sub01"
    (folder / "mri").mkdir(parents=True)
    (folder / "mri" / "orig.mgz").write_bytes(b"\x1f\x8b" * 5000)
    (folder / "touch").write_bytes(b"")
    return folder


def read(archive):
    return zipfile.ZipFile(io.BytesIO(b"".join(archive.body())))


def test_a_folder_becomes_a_zip_with_the_folder_on_top(subject):
    archive = archive_of(subject)
    assert archive.name == "sub01.zip"
    assert archive.members == {}
    first = b"".join(archive.body())
    assert len(first) == archive.size_bytes
    assert first == b"".join(archive.body())
    assert sorted(zipfile.ZipFile(io.BytesIO(first)).namelist()) == ["sub01/mri/orig.mgz", "sub01/touch"]
    assert archive.names == set(archive.members)
    assert archive.members["sub01/touch"].digest == md5(b"")
    assert archive.members["sub01/mri/orig.mgz"].size_bytes == 10000


def test_a_link_inside_becomes_a_copy_and_one_that_leads_out_is_refused(subject, tmp_path):
    (subject / "lh.pial").symlink_to("mri/orig.mgz")
    assert read(archive_of(subject)).read("sub01/lh.pial") == b"\x1f\x8b" * 5000
    (tmp_path / "secret.txt").write_text("x")
    (subject / "out").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(DataError, match="link to a file outside"):
        archive_of(subject)


def test_names_xnat_would_lose_are_refused(subject):
    (subject / "NIFTI_catalog.xml").write_text("<x/>")
    with pytest.raises(DataError, match=r"_catalog\.xml"):
        archive_of(subject)


def test_a_file_that_grows_while_it_is_sent_is_noticed(subject):
    archive = archive_of(subject)
    (subject / "touch").write_bytes(b"more")
    with pytest.raises((FileChangedError, ValueError), match="touch"):
        b"".join(archive.body())


def test_an_empty_folder_or_archive_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no files"):
        archive_of(tmp_path / "empty")
    with zipfile.ZipFile(tmp_path / "e.zip", "w"):
        pass
    with pytest.raises(DataError, match="no files"):
        archive_of(tmp_path / "e.zip")


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip"])
def test_ready_archives_go_as_they_are(tmp_path, name):
    path = tmp_path / name
    if name.endswith("zip"):
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("s/x.txt", "hello")
    else:
        with tarfile.open(path, "w:gz" if name.endswith("gz") else "w") as tarred:
            entry = tarfile.TarInfo("./s/x.txt")
            entry.size = 5
            tarred.addfile(entry, io.BytesIO(b"hello"))
    archive = archive_of(path)
    assert archive.members["s/x.txt"].digest == md5(b"hello")
    assert b"".join(archive.body()) == path.read_bytes()


def test_links_in_a_tar_and_broken_archives_are_refused(tmp_path):
    with tarfile.open(tmp_path / "l.tar", "w") as tarred:
        entry = tarfile.TarInfo("lh.pial")
        entry.type = tarfile.SYMTYPE
        entry.linkname = "lh.pial.T1"
        tarred.addfile(entry)
    with pytest.raises(DataError, match="is a link"):
        archive_of(tmp_path / "l.tar")
    (tmp_path / "b.zip").write_bytes(b"PK\3\4 broken")
    for name in ("b.zip", "missing.zip"):
        with pytest.raises(DataError, match=name):
            archive_of(tmp_path / name)


def test_content_of(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"hello")
    assert (content_of(path).size_bytes, content_of(path).digest) == (5, md5(b"hello"))
    with pytest.raises(DataError, match="cannot be read"):
        content_of(tmp_path)


@pytest.mark.parametrize(
    ("root", "path"),
    [
        (PurePosixPath("/data/sub01"), PurePosixPath("/data/sub01/mri/orig.mgz")),
        (PureWindowsPath(r"D:\data\sub01"), PureWindowsPath(r"d:\Data\sub01\mri\orig.mgz")),
        (PureWindowsPath(r"\\server\share\sub01"), PureWindowsPath(r"\\server\share\sub01\mri\orig.mgz")),
    ],
)
def test_names_in_an_archive_are_the_same_from_every_system(root, path):
    assert member_name(root, path) == "sub01/mri/orig.mgz"


def damaged_zip(path, compression):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("first.txt", b"sound")
        archive.writestr("second.txt", bytes(range(256)) * 200)
    data = bytearray(path.read_bytes())
    data[data.index(b"second.txt") + 60] ^= 0xFF
    path.write_bytes(data)


def damaged_tar(path):
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo("a.bin")
        entry.size = 100_000
        archive.addfile(entry, io.BytesIO(bytes(range(250)) * 400))
    path.write_bytes(path.read_bytes()[:-40])


DAMAGES = {
    "stored.zip": lambda path: damaged_zip(path, zipfile.ZIP_STORED),
    "deflated.zip": lambda path: damaged_zip(path, zipfile.ZIP_DEFLATED),
    "lzma.zip": lambda path: damaged_zip(path, zipfile.ZIP_LZMA),
    "cut.tar.gz": damaged_tar,
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_archive_is_refused_before_it_is_sent(tmp_path, name):
    DAMAGES[name](tmp_path / name)
    with pytest.raises(DataError, match="not a readable zip or tar"):
        archive_of(tmp_path / name)


@pytest.mark.parametrize("name", DAMAGES)
def test_a_push_says_the_same_of_it(tmp_path, name):
    from xnatferry.errors import TransferError
    from xnatferry.transfer.payload import archive_digests

    DAMAGES[name](tmp_path / name)
    with pytest.raises(TransferError, match="not a readable archive"):
        archive_digests(tmp_path / name)


def test_an_archive_that_changes_after_it_was_read_is_not_sent_whole(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.bin", bytes(3 << 20))
    found = archive_of(path)
    came = []
    with path.open("r+b") as stream:
        stream.seek(100)
        stream.write(b"other")
    with pytest.raises(FileChangedError):
        came.extend(found.body())
    assert sum(map(len, came)) < found.size_bytes
