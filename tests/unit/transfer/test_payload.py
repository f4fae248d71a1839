"""Local bytes, and files that change under our hands."""

import io
import os
import tarfile
import zipfile

import pytest

from xnatferry.errors import FileChangedError
from xnatferry.planning.plan import Payload
from xnatferry.sources.model import LocalFile
from xnatferry.transfer import payload
from xnatferry.transfer.payload import ArchiveWalk, archive_digests, fingerprint, payload_pieces
from xnatferry.xnat.digest import digest_of

MEMBERS = {f"s/{n}.bin": os.urandom(1000 + n) for n in range(6)}


def local_of(path, name="f.bin", member=None, size=None):
    status = path.stat()
    return LocalFile(path, name, status.st_size if size is None else size, status.st_mtime_ns, member=member)


@pytest.fixture(params=["zip", "tar.gz"])
def packed(request, tmp_path):
    path = tmp_path / f"s.{request.param}"
    if request.param == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in MEMBERS.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(path, "w:gz") as archive:
            for name, data in MEMBERS.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return path


def test_a_walk_gives_every_member_in_any_order(packed):
    walk = ArchiveWalk(packed)
    for name in [*MEMBERS, *reversed(MEMBERS)]:
        local = local_of(packed, name, member=name, size=len(MEMBERS[name]))
        assert b"".join(payload_pieces(Payload(local), walk)) == MEMBERS[name]
    with pytest.raises(FileChangedError, match="no longer in it"):
        list(walk.pieces(local_of(packed, "gone", member="gone")))


def test_an_archive_is_read_once_for_the_prints_of_all_its_members(packed, monkeypatch):
    reads = []
    monkeypatch.setattr(payload, "archive_digests", lambda path: (reads.append(path), archive_digests(path))[1])
    for name, data in MEMBERS.items():
        here = fingerprint(local_of(packed, name, member=name, size=len(data)))
        assert (here.size_bytes, here.digest) == (len(data), digest_of([data]))
    assert len(reads) == 1


@pytest.mark.parametrize("change", ["grown", "shorter", "gone", "touched"])
def test_the_last_piece_of_a_file_that_changes_never_leaves(tmp_path, change):
    path = tmp_path / "f.bin"
    path.write_bytes(bytes(3 << 20))
    pieces = payload_pieces(Payload(local_of(path)))
    sent = []
    sent.append(len(next(pieces)))
    if change == "grown":
        with path.open("ab") as stream:
            stream.write(b"more")
    elif change == "shorter":
        os.truncate(path, 2 << 20)
    elif change == "touched":
        os.utime(path, ns=(1, 1))
    else:
        path.unlink()
    with pytest.raises(FileChangedError):
        sent.extend(map(len, pieces))
    assert sum(sent) < 3 << 20
