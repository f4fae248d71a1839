"""Archives are read to their end: what is damaged is refused, never a part of it taken for all."""

from __future__ import annotations

import io
import random
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from xnatferry.client.local_content import archive_of
from xnatferry.errors import DataError, TransferError
from xnatferry.sources.archives import ArchiveProblem, archive_errors, members
from xnatferry.transfer.payload import archive_digests
from xnatferry.xnat.archives import ARCHIVE_ERRORS, read_archive
from xnatferry.xnat.zips import ZipMember, ZipStream

FILES = {f"S1/stats/{number}.stats": bytes([number]) * 1500 + b"x" for number in range(12)} | {"S1/mri/empty": b""}
MODES = {".tar": "w", ".tar.gz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}
ENDINGS = [*MODES, ".zip", "-stream.zip"]


def pack(path: Path, ending: str) -> Path:
    path = path / f"a{ending}"
    if ending == "-stream.zip":  # sizes behind the data
        packed = [ZipMember(name, len(data), lambda data=data: [data]) for name, data in FILES.items()]
        path.write_bytes(b"".join(ZipStream(packed)))
    elif ending == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in FILES.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(path, MODES[ending]) as tar:
            for name, data in FILES.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def contents(path: Path) -> dict[str, bytes]:
    return {member.name: stream.read() for member, stream in read_archive(path) if stream is not None}


#: Every reader of the client, as names of members with their sizes.
READERS = {
    "the reader": lambda path: {name: len(data) for name, data in contents(path).items()},
    "sources": lambda path: {m.name: len(s.read()) for m, s in guarded(path)},
    "a planned push": lambda path: {name: one.size_bytes for name, one in archive_digests(path).items()},
    "the Python API": lambda path: {name: one.size_bytes for name, one in archive_of(path).members.items()},
}
REFUSALS = (*ARCHIVE_ERRORS, OSError, ArchiveProblem, TransferError, DataError)


def guarded(path: Path) -> Iterable[tuple[object, io.BufferedIOBase]]:
    with archive_errors():
        yield from ((member, stream) for member, stream in members(path) if stream is not None)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_whole_archive_is_read_whole(tmp_path: Path, ending: str, reader: str) -> None:
    assert READERS[reader](pack(tmp_path, ending)) == {name: len(data) for name, data in FILES.items()}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_flipped_bit_loses_nothing_silently(tmp_path: Path, ending: str, reader: str) -> None:
    """Anywhere in the archive: it is refused, or every member is there with its size."""
    path = pack(tmp_path, ending)
    whole, chosen = path.read_bytes(), random.Random(7)
    refused = 0
    for _ in range(60):
        at, bit = chosen.randrange(len(whole)), 1 << chosen.randrange(8)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
        try:
            found = READERS[reader](path)
        except REFUSALS:
            refused += 1
        else:
            assert list(found.values()) == [len(data) for data in FILES.values()], (at, bit)
    assert refused >= (2 if ending == ".tar" else 20)  # most bytes of a plain tar are content, without a checksum


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_cut_archive_is_refused(tmp_path: Path, ending: str, reader: str) -> None:
    path = pack(tmp_path, ending)
    whole = path.read_bytes()
    # tarfile fills a tar with zeros to 10240 bytes: one block of them is the end
    needed = tarfile.RECORDSIZE * (len(whole) // tarfile.RECORDSIZE) - 8192 if ending == ".tar" else len(whole)
    for cut in {1, 2, 9, 30, 600, 1200, 5000} if ending != ".tar" else {0}:
        path.write_bytes(whole[: max(1, needed - cut)])
        with pytest.raises(REFUSALS):
            READERS[reader](path)


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_damage_between_members_is_no_end(tmp_path: Path, ending: str) -> None:
    """A wrong header in the middle, as a flipped bit on a disk makes it: tarfile alone stops there in silence."""
    path = pack(tmp_path, ".tar")
    content = bytearray(path.read_bytes())
    content[content.index(b"S1/stats/6.stats")] ^= 1
    path.write_bytes(content)
    with tarfile.open(path) as lenient:
        assert len(lenient.getnames()) == 6
    if ending == ".tar.gz":
        import gzip

        path = tmp_path / "b.tar.gz"
        path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(tarfile.ReadError, match="damaged"):
        contents(path)


def test_a_zip_of_other_length_than_it_states_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path, ".zip")
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\5\6")
    content[at + 10] += 1
    path.write_bytes(content)
    with pytest.raises(zipfile.BadZipFile, match="states 14 members, its directory has 13"):
        contents(path)


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path: Path) -> None:
    inner = pack(tmp_path, ".zip")
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        tar.add(inner, "S1/inner.zip")
    assert zipfile.is_zipfile(tmp_path / "b.tar")
    assert list(contents(tmp_path / "b.tar")) == ["S1/inner.zip"]
