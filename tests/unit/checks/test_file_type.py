import gzip
import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.checks.file_type import HEAD_BYTES, Content, StreamDamage, read_stream, sniff


@given(members=st.lists(st.binary(max_size=3000), min_size=1, max_size=4), padding=st.integers(0, 600))
def test_what_is_packed_is_counted_and_the_digest_is_that_of_the_file(members, padding):
    content = b"".join(gzip.compress(member, mtime=0) for member in members) + bytes(padding)
    stream = read_stream(io.BytesIO(content))
    plain = b"".join(members)
    assert (stream.packed, stream.damage, stream.trailing_bytes) == (True, None, 0)
    assert stream.unpacked_bytes == len(plain)
    assert stream.head == plain[:HEAD_BYTES]
    assert stream.digest == hashlib.md5(content).hexdigest()


def test_streams_longer_than_one_piece(tmp_path):
    plain = bytes(range(256)) * 40_000
    content = gzip.compress(plain, 0) + gzip.compress(plain, 1)
    stream = read_stream(io.BytesIO(content))
    assert (stream.unpacked_bytes, stream.size_bytes, stream.damage) == (2 * len(plain), len(content), None)


@given(st.binary(min_size=1, max_size=2000), st.data())
def test_every_cut_is_seen(plain, data):
    content = gzip.compress(plain, mtime=0)
    cut = data.draw(st.integers(2, len(content) - 1))
    assert read_stream(io.BytesIO(content[:cut])).damage is StreamDamage.CUT_OFF


@given(st.binary(min_size=1, max_size=2000), st.data())
def test_every_changed_byte_of_data_or_checksum_is_seen(plain, data):
    content = bytearray(gzip.compress(plain, mtime=0))
    at = data.draw(st.integers(10, len(content) - 5))
    content[at] ^= data.draw(st.integers(1, 255))
    stream = read_stream(io.BytesIO(bytes(content)))
    # A byte may hold bits behind the end of the data, which nothing reads.
    assert stream.damage is not None or stream.head == plain


def test_what_follows_the_stream_is_counted():
    assert read_stream(io.BytesIO(gzip.compress(b"x") + b"trailer")).trailing_bytes == 7


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", Content.EMPTY),
        (b"\x1f\x8b\x08", Content.GZIP),
        (bytes(128) + b"DICM", Content.DICOM),
        (b"\n <!DOCTYPE html><html>", Content.WEB_PAGE),
        (b"<HTML>", Content.WEB_PAGE),
        (b"/annex/objects/MD5E-s1--x", Content.ANNEX),
        (b"version https://git-lfs.github.com/spec/v1", Content.LFS),
        (b"PK\x03\x04", Content.ZIP),
        (b"hello\n", Content.TEXT),
        (b"\x00\x01\x02", Content.UNKNOWN),
    ],
)
def test_sniff(head, expected):
    assert sniff(head) is expected


@given(st.binary(max_size=600))
def test_any_bytes_are_something(head):
    assert isinstance(sniff(head), Content)
