"""Headers are scrubbed on the way; voxels pass as they are, whatever the extensions were."""

import gzip
import struct

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.nifti1 import Nifti1Extension

from xnatferry.errors import FileChangedError
from xnatferry.sources.model import Scrub, ScrubKind
from xnatferry.sources.scrub_nifti import read_extensions, scrubbed_nifti
from xnatferry.sources.scrubbing import scrubbed_pieces
from xnatferry.xnat.gzip_stream import unpacked


def image_bytes(kind=nibabel.Nifti1Image, extensions=(), order="<", **texts):
    voxels = np.random.default_rng(3).integers(-500, 500, (5, 4, 3)).astype(f"{order}i2")
    image = kind(voxels, np.diag([2.0, 2.0, 3.0, 1.0]), kind.header_class(endianness=order))
    image.set_data_dtype(voxels.dtype)
    for name, text in texts.items():
        image.header[name] = text
    for code, content in extensions:
        image.header.extensions.append(Nifti1Extension(code, content))
    return image.to_bytes(), voxels


def pieces_of(content, size):
    return [content[start : start + size] for start in range(0, len(content), size)]


def opened(content, kind=nibabel.Nifti1Image):
    return kind.from_bytes(content)


CODES = st.lists(st.tuples(st.sampled_from([4, 6, 10, 18, 38]), st.binary(max_size=300)), max_size=5)


@settings(max_examples=60, deadline=None)
@given(
    extensions=CODES,
    goes=st.sets(st.sampled_from([4, 6, 18, 38])),
    blank=st.sets(st.sampled_from(["descrip", "aux_file", "intent_name"])),
    kind=st.sampled_from([nibabel.Nifti1Image, nibabel.Nifti2Image]),
    order=st.sampled_from("<>"),
    size=st.integers(1, 700),
    packed=st.booleans(),
)
def test_voxels_pass_and_the_header_stays_valid(extensions, goes, blank, kind, order, size, packed):
    content, voxels = image_bytes(kind, extensions, order, descrip=b"Doe^Jane", aux_file=b"secret", intent_name=b"x")
    _, there = read_extensions(pieces_of(content, size))
    assert [extension.code for extension in there] == [code for code, _ in extensions]
    shorter = sum(extension.size_bytes for extension in there if extension.code in goes)
    removed = (*blank, *(f"extension {code}" for code in goes))
    sent = pieces_of(gzip.compress(content) if packed else content, size)
    scrub = Scrub(ScrubKind.NIFTI, removed, len(content), shorter, packed)
    came = b"".join(scrubbed_pieces(sent, scrub))
    assert len(came) == len(content) - shorter
    back = opened(came, kind)
    assert np.array_equal(np.asanyarray(back.dataobj), voxels)
    assert came[-voxels.nbytes :] == content[-voxels.nbytes :]
    assert np.array_equal(back.affine, opened(content, kind).affine)
    kept = [(code, data) for code, data in extensions if code not in goes]
    assert [(e.get_code(), e.content.rstrip(b"\0")) for e in back.header.extensions] == [
        (code, data.rstrip(b"\0")) for code, data in kept
    ]
    for name, text in (("descrip", b"Doe^Jane"), ("aux_file", b"secret"), ("intent_name", b"x")):
        assert back.header[name].item() == (b"" if name in blank else text)


def test_what_stands_behind_the_end_of_a_field_goes_as_well():
    content, _ = image_bytes(descrip=b"FSL5.0")
    content = content[:160] + b"Doe^Jane" + content[168:]
    came = b"".join(scrubbed_nifti([content], ("descrip",), 0))
    assert b"Doe" not in came
    assert len(came) == len(content)


def test_keys_go_from_spectroscopy_metadata_and_its_length_stays():
    said = b'{"SpectrometerFrequency": [123.2], "ResonantNucleus": ["1H"], "PatientName": "Doe^Jane"}'
    content, _ = image_bytes(extensions=[(44, said)])
    came = b"".join(scrubbed_nifti([content], ("extension 44 PatientName",), 0))
    assert len(came) == len(content)
    assert b"Doe" not in came
    (extension,) = read_extensions([came])[1]
    assert extension.content.rstrip(b" \0") == said.replace(b', "PatientName": "Doe^Jane"', b"")


def test_a_header_of_a_pair_ends_with_the_file():
    content, _ = image_bytes()
    head = bytearray(content[:348])
    head[344:348] = b"ni1\0"
    head[108:112] = struct.pack("<f", 0)
    whole = bytes(head) + b"\1\0\0\0" + struct.pack("<ii", 32, 4) + b"user@host".ljust(24, b"\0")
    assert [e.code for e in read_extensions([whole])[1]] == [4]
    came = b"".join(scrubbed_nifti([whole], ("extension 4",), 32))
    assert came == bytes(head) + bytes(4)


def test_the_same_image_gives_the_same_bytes_however_it_is_cut():
    content = gzip.compress(image_bytes(descrip=b"Doe^Jane")[0])
    scrub = Scrub(ScrubKind.NIFTI, ("descrip",), len(content), packed=True)
    ways = {b"".join(scrubbed_pieces(pieces_of(content, size), scrub)) for size in (1, 77, 1 << 20)}
    assert len(ways) == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"text", gzip.compress(b"text", mtime=0), gzip.compress(b"x" * 999, mtime=0)[:-9]],
    ids=["empty", "text", "packed text", "cut off"],
)
def test_a_file_that_is_no_image_any_more_is_told(content):
    with pytest.raises(FileChangedError):
        b"".join(scrubbed_pieces([content], Scrub(ScrubKind.NIFTI, ("descrip",), 0, packed=content[:1] == b"\x1f")))


def test_other_extensions_than_before_are_told():
    content, _ = image_bytes(extensions=[(4, b"x")])
    with pytest.raises(FileChangedError, match="extensions"):
        b"".join(scrubbed_nifti([content], ("extension 4",), 32))


@given(st.lists(st.binary(max_size=3000), max_size=3), st.integers(1, 500))
def test_gzip_members_are_unpacked_one_after_the_other(parts, size):
    packed = b"".join(gzip.compress(part) + bytes(len(part) % 3) for part in parts) or gzip.compress(b"")
    assert b"".join(unpacked(pieces_of(packed, size))) == b"".join(parts)
