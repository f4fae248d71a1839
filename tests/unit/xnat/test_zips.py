import io
import shutil
import subprocess
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.xnat.zips import ZipMember, ZipStream


def member(name, data, pieces=1):
    step = max(1, -(-len(data) // pieces))
    return ZipMember(name, len(data), lambda: (data[i : i + step] for i in range(0, len(data), step)))


contents = st.dictionaries(
    st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/\\"), min_size=1, max_size=12),
    st.one_of(st.binary(max_size=300), st.integers(65_500, 131_100).map(bytes)),
    max_size=5,
)


@given(contents, st.integers(1, 7))
def test_what_goes_in_comes_out_and_the_length_was_known(files, pieces):
    archive = ZipStream([member(name, data, pieces) for name, data in files.items()])
    packed = b"".join(archive)
    assert len(packed) == archive.size_bytes
    with zipfile.ZipFile(io.BytesIO(packed)) as opened:
        assert opened.testzip() is None
        assert {info.filename: opened.read(info) for info in opened.infolist()} == files


def test_it_can_be_sent_twice():
    archive = ZipStream([member("a", b"x" * 70_000)])
    assert b"".join(archive) == b"".join(archive)


def test_no_member_is_stored_with_a_descriptor():
    """Java's ZipInputStream, with which XNAT unpacks, refuses those."""
    packed = b"".join(ZipStream([member("a", b"abc"), member("b", b"")]))
    with zipfile.ZipFile(io.BytesIO(packed)) as opened:
        assert all(info.compress_type == zipfile.ZIP_DEFLATED for info in opened.infolist())


@pytest.mark.parametrize("came", [b"abc", b"abcde"])
def test_a_member_that_changed_its_length_breaks_the_archive_off(came):
    broken = ZipStream([ZipMember("a", 4, lambda: [came])])
    with pytest.raises(ValueError, match="announced"):
        b"".join(broken)


def test_two_members_of_one_name_are_refused():
    with pytest.raises(ValueError, match="same name"):
        ZipStream([member("a", b""), member("a", b"")])


@pytest.mark.skipif(shutil.which("unzip") is None, reason="needs Info-ZIP")
def test_info_zip_reads_it(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(b"".join(ZipStream([member("top/ä b+c.txt", b"hello" * 40_000), member("top/empty", b"")])))
    assert subprocess.run(["unzip", "-tq", path], capture_output=True, check=False).returncode == 0
