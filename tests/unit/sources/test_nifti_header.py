"""Our reading of headers against nibabel's."""

import gzip
import math
from contextlib import suppress
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.checks.images import inspect_image
from xnatferry.sources.nifti_header import HeaderError, read_header

DATA = Path(__file__).resolve().parents[2] / "data" / "nifti"
IMAGES = [
    *sorted((DATA / "nibabel").glob("*.nii*")),
    *sorted((DATA / "dipy").glob("*.nii*")),
    *(
        DATA / "odd-derived" / name
        for name in ("nifti1_big_endian.nii.gz", "nifti2_big_endian.nii", "rgb24.nii.gz", "five_dim.nii.gz")
    ),
]


def head_of(path):
    content = path.read_bytes()
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_agrees_with_nibabel(path):
    theirs = nib.load(path)
    ours = read_header(head_of(path), version=2 if isinstance(theirs, nib.Nifti2Image) else 1)
    assert ours.shape == theirs.shape
    zooms = theirs.header.get_zooms()[:3]
    if not ours.scales_differ:
        assert ours.voxel_size_mm == pytest.approx([float(zoom) for zoom in zooms])
    else:
        assert ours.voxel_size_mm == pytest.approx(nib.affines.voxel_sizes(theirs.affine))
    expected = {"R": "Sag", "L": "Sag", "A": "Cor", "P": "Cor", "S": "Tra", "I": "Tra"}
    assert ours.orientation == expected[nib.aff2axcodes(theirs.affine)[2]]
    assert ours.voxel_bytes == math.prod(theirs.shape) * theirs.header.get_data_dtype().itemsize


def raw(dim, *, glmin=0, quatern=(0.0, 0.0, 0.0), qform=1, sform=0):
    """A NIfTI-1 header with these values."""
    header = nib.Nifti1Header()
    header["dim"][: len(dim)] = dim
    header["glmin"] = glmin
    header["qform_code"], header["sform_code"] = qform, sform
    header["quatern_b"], header["quatern_c"], header["quatern_d"] = quatern
    header["srow_x"], header["srow_y"], header["srow_z"] = np.eye(4)[:3]
    header["magic"] = b"n+1"
    return header


@pytest.mark.parametrize(
    ("dim", "glmin"),
    [((3, -1, 1, 1), 163842), ((4, -1, 1, 1, 5), 40962), ((3, 27307, 1, 6), 0), ((4, 27307, 1, 6, 2), 0)],
)
def test_overlays_of_freesurfer_have_the_shape_that_nibabel_reads(dim, glmin):
    header = raw(dim, glmin=glmin)
    ours = read_header(header.binaryblock, version=1)
    assert ours.shape == header.get_data_shape()
    assert ours.voxel_bytes == math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize


@pytest.mark.parametrize(
    ("dim", "glmin", "why"),
    [
        ((3, -1, 1, 1), 0, "axis 1 of 3 has the length -1"),
        ((3, -1, 2, 1), 9, "axis 1 of 3 has the length -1"),
        ((4, 4, 4, 4, 0), 0, r"dim\[0\] states 4 axes, but axis 4 has the length 0 .4 x 4 x 4 x 0."),
        ((3, 4, 0, 4), 0, "axis 2 has the length 0"),
    ],
)
def test_axes_without_a_length_are_refused_with_the_reason(dim, glmin, why):
    with pytest.raises(HeaderError, match=why):
        read_header(raw(dim, glmin=glmin).binaryblock, version=1)


@pytest.mark.parametrize("sform", [0, 1])
@pytest.mark.parametrize("quatern", [(0.9, 0.9, 0.9), (math.nan, 0.0, 0.0), (1.0, 0.001, 0.0), (1.0, 0.0, 0.0)])
def test_a_quaternion_is_a_rotation_where_nibabel_says_so(tmp_path, quatern, sform):
    header = raw((3, 2, 2, 2), quatern=quatern, sform=sform)
    try:
        valid = bool(np.isfinite(header.get_qform()).all())
    except ValueError:
        valid = False
    ours = read_header(header.binaryblock, version=1)
    assert ours.qform_is_rotation is valid
    assert (ours.orientation is None) is (not valid and not sform)
    header["vox_offset"] = 352
    (path := tmp_path / "T1.nii").write_bytes(header.binaryblock + bytes(4 + 8 * header.get_data_dtype().itemsize))
    assert ("NII17" in [finding.id for finding in inspect_image(path).findings]) is not valid


@given(
    angles=st.tuples(*[st.floats(-math.pi, math.pi)] * 3),
    use_qform=st.booleans(),
    flip=st.booleans(),
)
def test_slice_direction_of_any_rotation_agrees_with_nibabel(angles, use_qform, flip):
    rotation = nib.eulerangles.euler2mat(*angles)
    steps = np.diag([1.0, 2.0, -3.0 if flip else 3.0])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ steps
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), None)
    image.header.set_sform(None, 0)
    image.set_qform(affine, 1) if use_qform else image.set_sform(affine, 1)
    if not use_qform:
        image.header.set_zooms((1, 2, 3))
    direction = np.abs(affine[:3, 2])
    _, second, largest = np.sort(direction)
    if largest - second < 1e-3:
        return  # between two axes: either is right
    ours = read_header(image.header.binaryblock + bytes(8), version=1)
    assert ours.orientation == ("Sag", "Cor", "Tra")[int(np.argmax(direction))]


@pytest.mark.parametrize(
    ("unit", "step", "expected"),
    [("sec", 2.0, 2000.0), ("msec", 2000.0, 2000.0), ("usec", 2e6, 2000.0), ("hz", 2.0, None), ("unknown", 2.0, 2000.0),
     ("unknown", 2000.0, 2000.0), ("unknown", 1.0, None), ("sec", 2000.0, None), ("sec", 0.0, None)],
)  # fmt: skip
def test_repetition_time_in_ms(unit, step, expected):
    header = nib.Nifti1Header()
    header.set_data_shape((2, 2, 2, 4))
    header.set_zooms((1, 1, 1, step))
    header.set_xyzt_units("mm", unit if unit != "unknown" else None)
    ours = read_header(header.binaryblock, version=1)
    assert ours.repetition_time_ms == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(("unit", "scale"), [("meter", 1000.0), ("mm", 1.0), ("micron", 0.001), (None, 1.0)])
def test_voxel_size_in_mm(unit, scale):
    header = nib.Nifti1Header()
    header.set_data_shape((2, 2, 2))
    header.set_zooms((1.5, 2.5, 3.5))
    header.set_xyzt_units(unit)
    assert read_header(header.binaryblock, version=1).voxel_size_mm == pytest.approx(
        [1.5 * scale, 2.5 * scale, 3.5 * scale]
    )


@given(st.binary(max_size=700), st.sampled_from([1, 2]))
def test_any_bytes_are_a_header_or_a_header_error(content, version):
    sizes = {1: b"\x5c\x01\x00\x00", 2: b"\x1c\x02\x00\x00"}
    for head in (content, sizes[version] + content):
        with suppress(HeaderError):
            read_header(head, version=version).attributes()
