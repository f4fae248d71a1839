"""Builders of real files: images by nibabel, and a complete recon-all subject by its formats."""

import gzip
import shutil
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

DATA = Path(__file__).resolve().parents[2] / "data"
ODD = DATA / "nifti" / "odd-derived"


@pytest.fixture
def odd():
    return ODD


@pytest.fixture
def make_image():
    """Write an image with nibabel: the tests' view of NIfTI is not ours."""

    def make(path, shape=(4, 5, 6), *, step=(2.0, 2.0, 2.5), tr_s=None, dtype=np.int16, affine=None):
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.arange(np.prod(shape)).reshape(shape).astype(dtype) % 100
        image = nib.Nifti1Image(values, np.diag([*step, 1.0]) if affine is None else affine)
        image.header.set_xyzt_units("mm", "sec")
        if tr_s is not None:
            image.header.set_zooms((*step, tr_s))
        nib.save(image, path)
        return path

    return make


_VOLUMES = ("orig", "T1", "brainmask", "norm", "aseg", "aparc+aseg", "ribbon", "wmparc")
_VERTICES, _FACES = 12, 20


def mgh(shape=(256, 256, 256), step=1.0, centre=0.0):
    head = struct.pack(">7ih15f", 1, *shape, 1, 0, 0, 1, step, step, step, -1, 0, 0, 0, 0, -1, 0, 1, 0, centre, 0, 0)
    return gzip.compress(head.ljust(284, b"\0") + bytes(shape[0] * shape[1] * shape[2]), 1, mtime=0)


def surface(vertices=_VERTICES):
    comment = b"created by somebody on some day\n\n"
    return b"\xff\xff\xfe" + comment + struct.pack(">2i", vertices, _FACES) + bytes(12 * (vertices + _FACES))


def curvature(vertices=_VERTICES):
    return b"\xff\xff\xff" + struct.pack(">3i", vertices, _FACES, 1) + bytes(4 * vertices)


def annotation(vertices=_VERTICES):
    return struct.pack(">i", vertices) + bytes(8 * vertices)


@pytest.fixture(scope="session")
def whole_subject(tmp_path_factory):
    """A complete subject: real statistics, logs and transform of FreeSurfer 7.4.1, volumes and surfaces of zeros."""
    folder = tmp_path_factory.mktemp("whole") / "sub-001"
    shutil.copytree(DATA / "freesurfer7" / "sub-001", folder, copy_function=shutil.copyfile)
    volume = mgh()
    for name in _VOLUMES:
        (folder / f"mri/{name}.mgz").write_bytes(volume)
    (folder / "surf").mkdir(exist_ok=True)
    (folder / "label").mkdir(exist_ok=True)
    for side in ("lh", "rh"):
        for name in ("white", "pial.T1", "inflated", "sphere.reg"):
            (folder / f"surf/{side}.{name}").write_bytes(surface())
        for name in ("thickness", "curv", "area"):
            (folder / f"surf/{side}.{name}").write_bytes(curvature())
        (folder / f"surf/{side}.pial").symlink_to(f"{side}.pial.T1")  # as FreeSurfer 7 does
        (folder / f"label/{side}.aparc.annot").write_bytes(annotation())
        (folder / f"label/{side}.cortex.label").write_text("#!ascii label\n0\n")
    log = folder / "scripts/recon-all.log"
    if not log.exists():
        log.write_text("recon-all -s sub-001 finished without error at Thu May 29 01:11:05 UTC 2025\ndone\n")
    return folder


@pytest.fixture
def subject(whole_subject, tmp_path):
    """A copy of the complete subject, to be damaged."""
    return Path(shutil.copytree(whole_subject, tmp_path / "subjects" / "sub-001", symlinks=True))


@pytest.fixture
def formats():
    """The builders, for tests that want other sizes."""

    class Formats:
        mgh = staticmethod(mgh)
        surface = staticmethod(surface)
        curvature = staticmethod(curvature)
        annotation = staticmethod(annotation)

    return Formats


def ids(findings):
    return [finding.id for finding in findings]
