"""Real sample data in the package: a few NIfTI images and one FreeSurfer subject.

SOURCE.txt says where each file comes from and what was removed; licenses/ holds the licences.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class SamplePaths:
    """Paths of the samples.

    Attributes:
        nifti: A folder of images, one folder a subject.
        freesurfer: A SUBJECTS_DIR with one subject; only a part of its files, so it needs ``allow_incomplete``.
    """

    nifti: Path
    freesurfer: Path


def write_to(folder: Path) -> SamplePaths:
    """Copy the samples into *folder*.

    Args:
        folder: Created if missing.

    Raises:
        OSError: The folder cannot be written, or one of the samples already exists.
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
