import gzip
import hashlib
import io
import stat
import struct
import tarfile
import warnings
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.server.blob_store import BlobStore, StorageFullError
from xnatferry.server.unpack import (
    ArchiveFormat,
    BrokenArchiveError,
    UnpackLimits,
    UnsafeArchiveError,
    format_of,
    unpack,
)
from xnatferry.server.zip_members import BrokenZipError, ZipDirectory
from xnatferry.xnat import decompression
from xnatferry.xnat.zips import ZipMember, ZipStream

LIMITS = UnpackLimits()
CLIMBING = ["../x", "a/../../x", "..", "a/..", "/../x", "/x", "//x/y", "C:/x", "c:/x", "a\\..\\x", "a\x01b", "x" * 300]


def zipped(members, **options):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(members, mode="w", layout=tarfile.PAX_FORMAT):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=layout) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def packed(archive_format, members):
    if archive_format is ArchiveFormat.ZIP:
        return zipped(members)
    return tarred(members, "w" if archive_format is ArchiveFormat.TAR else "w:gz")


@pytest.fixture
def unpacked(blob_store, stage, incoming):
    """Unpack an archive; gives names and bytes, and leaves nothing behind."""

    def unpacked(data, archive_format, limits=LIMITS, name="a.zip"):
        staged = stage(data)
        try:
            members = unpack(staged, archive_format, blob_store, limits, name)
        finally:
            # The archive itself is the caller's.
            left = incoming()
            blob_store.discard(staged)
        assert len(left) == 1 + len(members)
        found = [(member, one.path.read_bytes()) for member, one in members]
        for (_, data), (_, one) in zip(found, members, strict=True):
            assert (one.size_bytes, one.digest) == (len(data), hashlib.md5(data).hexdigest())
        blob_store.discard(one for _, one in members)
        return found

    yield unpacked
    assert incoming() == []


formats = pytest.mark.parametrize("archive_format", [ArchiveFormat.ZIP, ArchiveFormat.TAR, ArchiveFormat.TGZ])


# --- formats ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.zip", "zip"), ("a.zar", "zip"), ("a.tar", "tar"), ("a.xar", "tar"), ("a.tgz", "tgz"), ("a.tar.gz", "tgz"),
        ("scan.nii.gz", "gzip"), ("a.ZIP", None), ("a.tar.bz2", None), ("a.tbz", None), ("a.7z", None), ("a.mgz", None),
        ("zip", None),
    ],
)  # fmt: skip
def test_the_suffix_says_the_format(name, expected):
    assert format_of(name) == expected


names = st.lists(st.sampled_from(["sub-01", "mri", "T1.mgz", "aseg.stats", "é", "日本", "a b", "...", "x" * 90]), min_size=1, max_size=5)  # fmt: skip


@formats
@given(st.dictionaries(names.map("/".join), st.binary(max_size=3000), max_size=6))
def test_what_was_packed_comes_out(tmp_path_factory, archive_format, members):
    folders = {name.rsplit("/", depth)[0] for name in members for depth in range(1, 5) if name.count("/") >= depth}
    if folders & members.keys():
        return  # a file where another one needs a folder
    blob_store = BlobStore(tmp_path_factory.mktemp("vault"))
    with blob_store.receive() as receiver:
        receiver.write(packed(archive_format, members.items()))
        staged = receiver.finish()
    found = unpack(staged, archive_format, blob_store, LIMITS, "a")
    assert {name: one.path.read_bytes() for name, one in found} == members
    assert [name for name, _ in found] == list(members)


def test_zip_methods_and_shapes(unpacked):
    text = b"FreeSurfer " * 100_000
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        archive.writestr("s/", "")
        archive.writestr("s/a", text)
        archive.comment = b"a comment"
    assert unpacked(stored.getvalue(), ArchiveFormat.ZIP) == [("s/a", text)]
    # With something in front, as in a self-extracting archive.
    assert unpacked(b"#!/bin/sh\n" * 9 + stored.getvalue(), ArchiveFormat.ZIP) == [("s/a", text)]
    assert unpacked(zipped([]), ArchiveFormat.ZIP) == []


def test_zips_written_as_a_stream(unpacked):
    """Sizes and checksum after the data (flags 0x0808): ours, Java's, and Python's into a pipe."""
    data = bytes(range(256)) * 1000
    ours = ZipStream([ZipMember("s/é.mgz", len(data), lambda: [data[:100], data[100:]]), ZipMember("e", 0, list)])
    assert unpacked(b"".join(ours), ArchiveFormat.ZIP) == [("s/é.mgz", data), ("e", b"")]

    class Pipe(io.RawIOBase):
        def __init__(self):
            self.written = []

        def write(self, piece):
            self.written.append(bytes(piece))
            return len(piece)

    pipe = Pipe()
    with (
        zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("s/a", "w", force_zip64=True) as member,
    ):
        member.write(data)
    assert unpacked(b"".join(pipe.written), ArchiveFormat.ZIP) == [("s/a", data)]


def test_zip64(unpacked, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    members = [("a", b"x" * 1000), ("b", b"y" * 1000)]
    assert unpacked(zipped(members), ArchiveFormat.ZIP) == members


def test_zip_names_without_the_utf8_flag(unpacked):
    data = zipped([("Mller", b"x")])
    assert unpacked(data.replace(b"Mller", "Mïr".encode() + b"."), ArchiveFormat.ZIP) == [("Mïr.", b"x")]
    assert unpacked(data.replace(b"Mller", b"M\x81ler"), ArchiveFormat.ZIP) == [("Müler", b"x")]


@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_layouts(unpacked, layout):
    name = "sub-01/" + "x" * 90 + "/" + "é" * 45
    members = [(name, b"1" * 511), ("b", b"2" * 512), ("c", b"3" * 513), ("d", b"")]
    assert unpacked(tarred(members, layout=layout), ArchiveFormat.TAR) == members


@formats
def test_names_are_made_relative(unpacked, archive_format):
    """``tar`` of "." writes "./"; XNAT keeps such names below the resource."""
    members = [("sub/x", b"1"), ("./sub/y", b"2"), ("sub//z", b"3"), ("sub/./w", b"4")]
    assert [name for name, _ in unpacked(packed(archive_format, members), archive_format)] == [
        "sub/x",
        "sub/y",
        "sub/z",
        "sub/w",
    ]


def test_folders_are_left_out(unpacked):
    folder = tarfile.TarInfo("./")
    folder.type = tarfile.DIRTYPE
    assert unpacked(tarred([(folder, b""), ("./a", b"x")]), ArchiveFormat.TAR) == [("a", b"x")]


def test_a_plain_gz_becomes_one_file(unpacked):
    data = gzip.compress(b"one ") + gzip.compress(b"two")
    assert unpacked(data, ArchiveFormat.GZIP, name="scan.nii.gz") == [("scan.nii", b"one two")]


@pytest.mark.parametrize("with_isal", [True, False])
def test_with_and_without_isal(unpacked, monkeypatch, with_isal):
    if not with_isal:
        monkeypatch.setattr(decompression, "isal_zlib", None)
        monkeypatch.setattr(decompression, "igzip", None)
    members = [("a", bytes(3_000_000)), ("b", bytes(range(256)) * 9000)]
    for archive_format in (ArchiveFormat.ZIP, ArchiveFormat.TGZ):
        assert unpacked(packed(archive_format, members), archive_format) == members
        with pytest.raises(BrokenArchiveError):
            unpacked(packed(archive_format, members)[:-3000], archive_format)


# --- what is refused -------------------------------------------------------------------------------------------------


@formats
@pytest.mark.parametrize("name", CLIMBING)
def test_climbing_members(unpacked, archive_format, name):
    with pytest.raises(UnsafeArchiveError):
        unpacked(packed(archive_format, [("good", b"x"), (name, b"x")]), archive_format)


@formats
def test_climbing_folders(unpacked, archive_format):
    if archive_format is ArchiveFormat.ZIP:
        data = zipped([("../out/", b"")])
    else:
        folder = tarfile.TarInfo("../out")
        folder.type = tarfile.DIRTYPE
        data = tarred([(folder, b"")], "w" if archive_format is ArchiveFormat.TAR else "w:gz")
    with pytest.raises(UnsafeArchiveError):
        unpacked(data, archive_format)


def test_a_climbing_name_of_a_gz(unpacked):
    with pytest.raises(UnsafeArchiveError):
        unpacked(gzip.compress(b"x"), ArchiveFormat.GZIP, name="...gz")


@formats
@pytest.mark.parametrize("members", [["a", "a/b"], ["a/b", "a"], ["a/b/c", "a/b"]])
def test_names_that_are_file_and_folder(unpacked, archive_format, members):
    data = packed(archive_format, [(name, b"x") for name in members])
    with pytest.raises(UnsafeArchiveError, match="two members with the name"):
        unpacked(data, archive_format)


@formats
@pytest.mark.parametrize("members", [["a", "a"], ["a", "./a"], [".//a", "a"]])
def test_a_name_that_comes_twice_is_handed_on_twice(unpacked, archive_format, members):
    """Recorded: XNAT keeps the first and lists the second as a duplicate; that is decided where files are stored."""
    with warnings.catch_warnings(action="ignore"):  # zipfile warns of it
        data = packed(archive_format, [(name, b"x") for name in members])
    assert [name for name, *_ in unpacked(data, archive_format)] == ["a", "a"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_zip_links_and_devices(unpacked, kind):
    info = zipfile.ZipInfo("link")
    info.create_system = 3
    info.external_attr = (kind | 0o777) << 16
    with pytest.raises(UnsafeArchiveError, match="link or device"):
        unpacked(zipped([("good", b"x"), (info, b"/etc/passwd")]), ArchiveFormat.ZIP)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_tar_links_and_devices(unpacked, kind, mode):
    info = tarfile.TarInfo("link")
    info.type = kind
    info.linkname = "good"
    said = "a link; pack its target" if kind in {tarfile.SYMTYPE, tarfile.LNKTYPE} else "a device or pipe"
    with pytest.raises(UnsafeArchiveError, match=said):
        unpacked(
            tarred([("good", b"x"), (info, b"")], mode), ArchiveFormat.TGZ if mode == "w:gz" else ArchiveFormat.TAR
        )


def test_a_sparse_member(unpacked):
    info = tarfile.TarInfo("sparse")
    info.type = tarfile.GNUTYPE_SPARSE
    with pytest.raises(UnsafeArchiveError, match="sparse"):
        unpacked(tarred([(info, b"")], layout=tarfile.GNU_FORMAT), ArchiveFormat.TAR)


def test_an_encrypted_member(unpacked):
    data = bytearray(zipped([("secret", b"x")]))
    data[data.index(b"PK\1\2") + 8] |= 1
    with pytest.raises(UnsafeArchiveError, match="password"):
        unpacked(bytes(data), ArchiveFormat.ZIP)


# --- bombs -----------------------------------------------------------------------------------------------------------


@formats
def test_too_many_members(unpacked, archive_format):
    limits = UnpackLimits(max_members=10)
    members = [(str(number), b"") for number in range(11)]
    assert len(unpacked(packed(archive_format, members[:10]), archive_format, limits)) == 10
    with pytest.raises(UnsafeArchiveError, match="more than 10 members"):
        unpacked(packed(archive_format, members), archive_format, limits)


@pytest.mark.parametrize("archive_format", list(ArchiveFormat))
@pytest.mark.parametrize(
    "limits",
    [
        UnpackLimits(max_member_bytes=2_999_999),
        UnpackLimits(max_total_bytes=2_999_999),
        UnpackLimits(max_ratio=200, ratio_free_bytes=1000),
    ],
)
def test_bombs(unpacked, archive_format, limits):
    data = gzip.compress(bytes(3_000_000)) if archive_format is ArchiveFormat.GZIP else packed(archive_format, [("zeros", bytes(3_000_000))])  # fmt: skip
    generous = UnpackLimits(max_member_bytes=3_000_000, max_total_bytes=3_000_000)
    assert [len(content) for _, content in unpacked(data, archive_format, generous, "zeros.gz")] == [3_000_000]
    if archive_format is ArchiveFormat.TAR and limits.max_ratio and limits.ratio_free_bytes == 1000:
        return  # an uncompressed one is no bomb
    with pytest.raises(UnsafeArchiveError, match=r"larger than|too many"):
        unpacked(data, archive_format, limits, "zeros.gz")


def test_overlapping_members_count_each_time(unpacked):
    """Many entries of the directory point to one member (a "better zip bomb")."""
    data = zipped([("a", bytes(500_000))])
    entry_at, end_at = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    entry = data[entry_at:end_at]
    entries = b"".join(entry.replace(b"a", name) for name in (b"b", b"c", b"d", b"e"))
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 4, 4, len(entries), entry_at, 0)
    bomb = data[:entry_at] + entries + end
    assert len(unpacked(bomb, ArchiveFormat.ZIP)) == 4
    with pytest.raises(UnsafeArchiveError, match="too many"):
        unpacked(bomb, ArchiveFormat.ZIP, UnpackLimits(max_total_bytes=1_999_999))


def test_a_zip_member_longer_than_it_says(unpacked):
    data = bytearray(zipped([("a", bytes(3_000_000))]))
    at = data.index(b"PK\1\2") + 24
    data[at : at + 4] = struct.pack("<I", 10)
    with pytest.raises(BrokenArchiveError):
        unpacked(bytes(data), ArchiveFormat.ZIP)
    directory = ZipDirectory(io.BytesIO(data))
    (entry,) = directory
    pieces = directory.pieces(entry)
    with pytest.raises(BrokenZipError):
        assert next(pieces) == b"not one byte too many"


def test_a_tar_header_as_bomb(unpacked):
    """A pax header of 50 MiB would be read into memory whole."""
    header = tarfile.TarInfo("h")
    header.type = tarfile.XHDTYPE
    header.size = 50 << 20
    data = gzip.compress(header.tobuf() + bytes(50 << 20), 1)
    with pytest.raises(UnsafeArchiveError, match="header of more than 1 MiB"):
        unpacked(data, ArchiveFormat.TGZ)


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("archive_format", list(ArchiveFormat))
@pytest.mark.parametrize("data", [b"", b"<html>no archive</html>" * 100, bytes(100)])
def test_no_archive_at_all(unpacked, archive_format, data):
    with pytest.raises(BrokenArchiveError, match="cannot be extracted"):
        unpacked(data, archive_format, name="b.gz")


@pytest.mark.parametrize("archive_format", list(ArchiveFormat))
def test_cut_off_anywhere(unpacked, archive_format):
    members = [("a", b"a" * 700), ("b", bytes(range(256)) * 4)]
    whole = gzip.compress(members[1][1]) if archive_format is ArchiveFormat.GZIP else packed(archive_format, members)
    # Behind a tar's last member stand 1,024 zero bytes and padding; the first 512 of them are the end.
    necessary = len(whole) if archive_format is not ArchiveFormat.TAR else 512 + 1024 + 512 + 1024 + 512
    for end in range(0, necessary, 13):
        with pytest.raises(BrokenArchiveError):
            unpacked(whole[:end], archive_format, name="b.gz")


@pytest.mark.parametrize("archive_format", [ArchiveFormat.ZIP, ArchiveFormat.TGZ, ArchiveFormat.GZIP])
def test_a_wrong_checksum(unpacked, archive_format):
    noise = zlib.compress(b"seed") * 50
    data = bytearray(
        gzip.compress(noise) if archive_format is ArchiveFormat.GZIP else packed(archive_format, [("a", noise)])
    )
    if archive_format is ArchiveFormat.ZIP:
        data[data.index(b"PK\1\2") + 16] ^= 1
    else:
        data[-8] ^= 1
    with pytest.raises(BrokenArchiveError):
        unpacked(bytes(data), archive_format, name="a.gz")


def test_damage_between_tar_members(unpacked):
    data = bytearray(tarred([("a", b"x" * 600), ("b", b"y")]))
    data[512 + 1024 + 20] ^= 0xFF
    with pytest.raises(BrokenArchiveError, match="damaged"):
        unpacked(bytes(data), ArchiveFormat.TAR)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_xnat_does_not_read(unpacked, method):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a", b"x" * 100)
    with pytest.raises(BrokenArchiveError, match=r"pack it with deflate"):
        unpacked(buffer.getvalue(), ArchiveFormat.ZIP)


@given(st.binary(max_size=300), st.integers(0, 400), st.sampled_from(list(ArchiveFormat)))
def test_damage_never_ends_in_another_error(tmp_path_factory, noise, at, archive_format):
    blob_store = BlobStore(tmp_path_factory.mktemp("vault"))
    whole = (
        gzip.compress(b"x" * 99) if archive_format is ArchiveFormat.GZIP else packed(archive_format, [("a", b"x" * 99)])
    )
    with blob_store.receive() as receiver:
        receiver.write(whole[:at] + noise + whole[at + len(noise) :])
        staged = receiver.finish()
    try:
        members = unpack(staged, archive_format, blob_store, LIMITS, "a.gz")
    except (UnsafeArchiveError, BrokenArchiveError):
        members = []
    blob_store.discard(one for _, one in members)
    assert list((blob_store.archive.parent / "incoming").iterdir()) == [staged.path]


def test_a_full_disk_keeps_no_member(small_disk):
    blob_store = BlobStore(small_disk)
    with blob_store.receive() as receiver:
        receiver.write(zipped([("a", bytes(400_000)), ("b", bytes(400_000)), ("c", bytes(400_000))]))
        staged = receiver.finish()
    with pytest.raises(StorageFullError, match="disk full"):
        unpack(staged, ArchiveFormat.ZIP, blob_store, LIMITS, "a.zip")
    assert list((small_disk / "incoming").iterdir()) == [staged.path]


@pytest.mark.parametrize("archive_format", [ArchiveFormat.ZIP, ArchiveFormat.TAR, ArchiveFormat.TGZ])
@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        (UnpackLimits(max_members=100), "more than 100 members"),
        (UnpackLimits(max_name_bytes=1000), "more than 1000 characters"),
    ],
)
def test_the_folders_that_names_imply_count(unpacked, archive_format, limits, problem):
    members = [(f"{number}/a/b/c/d/e/f/g/h/i/j/file", b"") for number in range(12)]
    with pytest.raises(UnsafeArchiveError, match=problem):
        unpacked(packed(archive_format, members), archive_format, limits)
    shared = [(f"a/b/c/d/e/f/g/h/i/j/{number}", b"") for number in range(12)]
    assert len(unpacked(packed(archive_format, shared), archive_format, limits)) == 12


@formats
def test_a_member_in_too_many_folders_is_refused(unpacked, archive_format):
    with pytest.raises(UnsafeArchiveError, match="more than 64"):
        unpacked(packed(archive_format, [("a/" * 64 + "f", b"x")]), archive_format)


def pax_header(records, kind=tarfile.XHDTYPE):
    info = tarfile.TarInfo("p")
    info.type, info.size = kind, len(records)
    return info.tobuf(tarfile.USTAR_FORMAT) + records + bytes(-len(records) % 512)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE])
def test_a_pax_header_of_digits_is_refused_unread(unpacked, kind, monkeypatch):
    """Python before 3.11.10 needs minutes for it (CVE-2024-6232)."""
    seen = []
    monkeypatch.setattr(tarfile.TarInfo, "_proc_pax", lambda self, tar: seen.append(tar.fileobj.read(self.size)))
    data = pax_header(b"1" * 100_000, kind) + tarred([("x", b"x")])
    with pytest.raises(UnsafeArchiveError, match="more than 100 digits"):
        unpacked(data, ArchiveFormat.TAR)
    assert not seen


pieces = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(["size", "path", "mtime", "uid", "GNU.sparse.size", "GNU.sparse.map", "GNU.sparse.major", "hdrcharset"])
    .flatmap(lambda key: st.sampled_from(["-5", "1e400", "abc", "9" * 40, "", "1,2,3", "\0", "1" * 99]).map(
        lambda value: record(key, value))),
)  # fmt: skip


def record(key, value):
    text = f" {key}={value}\n".encode()
    length = len(text) + 1
    while len(str(length)) + len(text) != length:
        length += 1
    return str(length).encode() + text


@given(
    st.lists(st.lists(pieces, max_size=3).map(b"".join), max_size=3),
    st.dictionaries(st.integers(0, 511), st.integers(0, 255), max_size=4),
)
def test_an_odd_tar_is_unpacked_or_refused(tmp_path_factory, headers, changes):
    """Odd PAX records, and a member's header with other bytes and a right checksum."""
    block = bytearray(tarfile.TarInfo("a").tobuf(tarfile.GNU_FORMAT))
    for position, value in changes.items():
        block[position] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    blob_store = BlobStore(tmp_path_factory.mktemp("odd"))
    with blob_store.receive() as receiver:
        receiver.write(b"".join(pax_header(one) for one in headers) + bytes(block) + bytes(1024))
        staged = receiver.finish()
    try:
        members = unpack(staged, ArchiveFormat.TAR, blob_store, LIMITS, "a.tar")
    except (UnsafeArchiveError, BrokenArchiveError):
        members = []
    blob_store.discard([staged, *(one for _, one in members)])
    assert list((blob_store.archive.parent / "incoming").iterdir()) == []


def test_long_names_without_end_are_damage(unpacked):
    """tarfile calls itself for each of them."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 5
    data = (info.tobuf(tarfile.GNU_FORMAT) + b"abcd\0" + bytes(507)) * 3000 + tarred([("x", b"x")])
    with pytest.raises((BrokenArchiveError, UnsafeArchiveError)):
        unpacked(data, ArchiveFormat.TAR)
