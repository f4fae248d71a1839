"""Archives of Python, of ours and as Java streams them, read while they come."""

import io
import random
import struct
import tracemalloc
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.xnat.zip_reader import ZipFormatError, zip_members
from xnatferry.xnat.zips import ZipMember, ZipStream

FILES = {"E01/resources/R/files/é b.txt": b"one", "empty.txt": b"", "big.bin": random.Random(1).randbytes(300_000)}


class Unseekable(io.RawIOBase):
    """A pipe: zipfile writes sizes after the data."""

    def __init__(self):
        self.data = b""

    def writable(self):
        return True

    def write(self, data):
        self.data += bytes(data)
        return len(data)


def packed(method, files=FILES, *, pipe=False):
    target = Unseekable() if pipe else io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.mkdir("folder") if not pipe else None
        for name, data in files.items():
            archive.writestr(name, data)
    return target.data if pipe else target.getvalue()


def ours(files=FILES):
    return b"".join(ZipStream([ZipMember(n, len(d), lambda d=d: [d] if d else []) for n, d in files.items()]))


def cut(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


def read(pieces):
    return {name: b"".join(body) for name, body in zip_members(pieces)}


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    "archive",
    [packed(zipfile.ZIP_STORED), packed(zipfile.ZIP_DEFLATED), packed(zipfile.ZIP_DEFLATED, pipe=True), ours()],
    ids=["stored", "deflated", "streamed", "ours"],
)
def test_every_file_comes_whole(archive, size):
    pieces = cut(archive, size) if size > 1 else [*cut(archive[:500], 1), archive[500:]]
    assert read(pieces) == FILES


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_sizes_after_the_data_in_every_form(wide, signed):
    raw = zlib.compressobj(wbits=-15)
    body = raw.compress(b"hello") + raw.flush()
    header = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 8, 8, 0, 33, 0, 0, 0, 1, 0) + b"a"
    tail = struct.pack("<I2Q" if wide else "<3I", zlib.crc32(b"hello"), len(body), 5)
    one = header + body + (b"PK\7\x08" if signed else b"") + tail
    assert read([one + one.replace(b"a" + body[:1], b"b" + body[:1], 1) + b"PK\1\2rest"]) == {
        "a": b"hello",
        "b": b"hello",
    }


def test_a_member_that_nobody_reads_is_passed_over():
    names = [name for name, _ in zip_members(cut(packed(zipfile.ZIP_DEFLATED), 1000))]
    assert names == list(FILES)


def test_the_rest_is_read_so_that_the_connection_can_be_used_again():
    pieces = iter(cut(packed(zipfile.ZIP_STORED), 100))
    read(pieces)
    assert next(pieces, None) is None


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_damage_of_the_bytes_is_noticed(place, mask):
    """Damaged names and dates are not: the caller knows which names it wants."""
    data = {"a": b"x" * 5000, "b": random.Random(2).randbytes(500)}
    whole = bytearray(ours(data))
    whole[place % len(whole)] ^= mask
    try:
        found = read([bytes(whole)])
    except ZipFormatError:
        return
    assert all(body in data.values() for body in found.values())


@pytest.mark.parametrize("size", [0, 3, 40, 100, 300_000])
def test_an_archive_that_ends_too_early_is_noticed(size):
    with pytest.raises(ZipFormatError):
        read([ours()[:size]])


def test_a_stored_member_whose_size_follows_it_is_refused():
    with pytest.raises(ZipFormatError, match="cannot be read from a stream"):
        read([packed(zipfile.ZIP_STORED, {"a": b"x"}, pipe=True)])


def test_memory_does_not_grow_with_the_archive():
    bomb = packed(zipfile.ZIP_DEFLATED, {"zeros": bytes(64 << 20)})
    tracemalloc.start()
    try:
        for _, body in zip_members(cut(bomb, 1 << 16)):
            for _ in body:
                pass
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_bytes_that_are_no_zip_are_refused():
    with pytest.raises(ZipFormatError, match="has no header"):
        read([b"<html>"])
