"""Real sample data in the package: a few NIfTI images, one FreeSurfer subject and a BIDS dataset.

SOURCE.txt says where each file comes from and what was removed; licenses/ holds the licences.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from xnatferry.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

#: Folder of each dataset, and what is in it.
DATASETS = {
    "nifti": "4 images of 3 subjects",
    "freesurfer": "1 FreeSurfer 7.4.1 subject without its volumes and surfaces (use --allow-incomplete)",
    "tiny_bids": "a BIDS dataset of 1 subject with EEG",
}


@dataclass(frozen=True, slots=True)
class SamplePaths:
    """Paths of the samples.

    Attributes:
        nifti: A folder of images, one folder a subject.
        freesurfer: A SUBJECTS_DIR with one subject; only a part of its files, so it needs ``allow_incomplete``.
        bids: A BIDS dataset with one EEG recording.
    """

    nifti: Path
    freesurfer: Path
    bids: Path


def write_to(folder: Path) -> SamplePaths:
    """Copy the samples into *folder*.

    Args:
        folder: Created if missing.

    Raises:
        UsageError: One of the samples already exists; nothing was written.
        OSError: The folder cannot be written.
    """
    names = [*DATASETS, "SOURCE.txt", "licenses"]
    if there := next((folder / name for name in names if (folder / name).exists()), None):
        raise UsageError(f"{there}: already exists; remove it, or choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    with as_file(files(__name__)) as here:
        for name in names:
            # copyfile: the copies belong to the user, whatever the permissions of the installed package.
            copy = (
                shutil.copyfile if (here / name).is_file() else partial(shutil.copytree, copy_function=shutil.copyfile)
            )
            copy(here / name, folder / name)
    return SamplePaths(nifti=folder / "nifti", freesurfer=folder / "freesurfer", bids=folder / "tiny_bids")
