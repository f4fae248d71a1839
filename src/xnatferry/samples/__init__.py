"""Real data that travels with the package, for a first crossing: a few NIfTI images and one FreeSurfer subject.

SOURCE.txt says where each file comes from and what was left out; licenses/ holds the licences.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SamplePaths", "write_to"]


@dataclass(frozen=True, slots=True)
class SamplePaths:
    """Where the samples stand.

    Attributes:
        nifti: A folder of images, one folder a subject.
        freesurfer: A SUBJECTS_DIR with one subject; only a part of its files, so it needs ``allow_incomplete``.
    """

    nifti: Path
    freesurfer: Path


def write_to(folder: Path) -> SamplePaths:
    """Copy the samples into *folder*, as a user would have them on disk.

    Args:
        folder: Is made when it is not there.

    Raises:
        OSError: The folder cannot be written, or one of the samples is there already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with as_file(files(__name__)) as here:
        for name in ("nifti", "freesurfer"):
            # copyfile: the copies belong to the user, whatever the permissions of the installed package.
            shutil.copytree(here / name, folder / name, copy_function=shutil.copyfile)
        for text in ("SOURCE.txt", "licenses"):
            source = here / text
            if source.is_dir():
                shutil.copytree(source, folder / text, copy_function=shutil.copyfile)
            else:
                shutil.copyfile(source, folder / text)
    return SamplePaths(nifti=folder / "nifti", freesurfer=folder / "freesurfer")
