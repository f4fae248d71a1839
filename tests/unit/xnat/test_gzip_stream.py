"""Gzip streams that say what they unpack to: any reader reads them, and nothing but what is there is ever said."""

import gzip
import io
import shutil
import subprocess
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.xnat import gzip_stream
from xnatferry.xnat.digest import digest_of
from xnatferry.xnat.gzip_stream import (
    HEAD_BYTES,
    TAIL_BYTES,
    Content,
    GzipError,
    GzipStream,
    Measured,
    content_of,
    read_marks,
    unpacked,
)

CONTENT = b"".join(number.to_bytes(4, "little") for number in range(60_000))


def made(content=CONTENT, size=7000):
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    first = GzipStream(pieces)
    length = sum(map(len, first))
    return b"".join(GzipStream(pieces, Measured(length, first.content)))


def marks(stream, size_bytes=None):
    return read_marks(stream[:HEAD_BYTES], stream[-TAIL_BYTES:], len(stream) if size_bytes is None else size_bytes)


@pytest.fixture(params=[9, 1, 0], ids=["zlib-9", "zlib-1", "stored"])
def other(request, monkeypatch):
    monkeypatch.setattr(gzip_stream, "compressor", lambda: zlib.compressobj(request.param, zlib.DEFLATED, -15))


def test_other_compressors_make_other_bytes_and_say_the_same_content(other, request):
    theirs = made()
    request.getfixturevalue("monkeypatch").undo()
    mine = made()
    assert mine != theirs
    assert marks(mine) == marks(theirs) == content_of([mine]) == content_of([theirs])
    assert marks(mine).digest == digest_of([CONTENT])
    assert not marks(mine).fetched


@given(st.binary(max_size=5000), st.integers(1, 900))
def test_every_reader_finds_the_content_and_the_header_tells_it(content, size):
    stream = made(content, size)
    assert gzip.decompress(stream) == content
    assert zlib.decompressobj(31).decompress(stream) == content
    assert b"".join(unpacked([stream])) == content
    assert marks(stream) == Content(len(content), digest_of([content]), zlib.crc32(content))
    with gzip.GzipFile(fileobj=io.BytesIO(stream)) as opened:
        opened.read()
        assert opened.mtime == 0


@pytest.mark.parametrize("program", ["gzip", "pigz"])
def test_programs_read_it(program, tmp_path):
    if shutil.which(program) is None:
        pytest.skip(f"no {program} here")
    (tmp_path / "x.gz").write_bytes(made())
    assert subprocess.run([program, "-dc", tmp_path / "x.gz"], capture_output=True, check=True).stdout == CONTENT


def test_a_reader_of_fields_finds_ours():
    stream = made()
    assert stream[:4] == b"\x1f\x8b\x08\x04"  # FEXTRA alone
    assert stream[4:10] == b"\0\0\0\0\0\xff"  # no time, nothing about compressor and system
    length = int.from_bytes(stream[10:12], "little")
    assert stream[12:14] == b"XF"
    assert int.from_bytes(stream[14:16], "little") == length - 4
    assert 12 + length == HEAD_BYTES


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda s: s[:-1],
        lambda s: s[: len(s) // 2],
        lambda s: s + s,
        lambda s: s + b"\0",
        lambda s: s[: HEAD_BYTES - 3],
        lambda s: b"",
        lambda s: gzip.compress(CONTENT, mtime=0),
        lambda s: s[:3] + b"\0" + s[4:],
        lambda s: s[:12] + b"AP" + s[14:],
        lambda s: s[:32] + bytes(8) + s[40:],
        lambda s: s[:40] + bytes(8) + s[48:],
        lambda s: s[:-4] + bytes(4),
    ],
)
def test_nothing_is_said_of_a_stream_that_is_not_as_it_was_made(spoilt):
    stream = spoilt(made())
    assert marks(stream) is None


def test_another_image_under_our_header_has_another_checksum():
    stream = made()
    changed = made(CONTENT[:-1] + b"!")
    stale = stream[:40] + changed[40:]
    assert marks(stale) != content_of([stale])
    assert marks(stale) != marks(stream)


@pytest.mark.parametrize("cut", [1, 8, 9, 100])
@pytest.mark.parametrize("size", [1, 50, 1 << 20])
def test_a_stream_that_is_cut_off_is_told(cut, size):
    stream = made()[:-cut]
    with pytest.raises(GzipError):
        content_of(stream[start : start + size] for start in range(0, len(stream), size))


def test_what_follows_the_last_member_is_left_out_however_it_is_cut():
    stream = made() + b"\0\0 a note \x1f\x8b\x08 and more"
    for size in (1, 3, 1000):
        assert b"".join(unpacked(stream[at : at + size] for at in range(0, len(stream), size))) == CONTENT
