"""An archive on a real socket, and what other people's clients need to find it."""

import json
import shutil
import zipfile
from itertools import count
from pathlib import Path

import pytest

from xnatferry.server.archive import running_archive

DATA = Path(__file__).parent.parent / "data"
_numbers = count(1)


def pytest_collection_modifyitems(items):
    """Warnings of other people's code are theirs."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    with running_archive(tmp_path_factory.mktemp("archive"), admin_password="admin-secret") as running:
        yield running


@pytest.fixture
def config(archive, tmp_path):
    """The JSON file that pyxnat and bxl read."""
    path = tmp_path / ".xnat.cfg"
    path.write_text(json.dumps({"server": archive.url, "user": "admin", "password": "admin-secret"}))
    return str(path)


@pytest.fixture
def project_id():
    """A project name that no other test uses."""
    return f"STUDY{next(_numbers)}"


@pytest.fixture
def nifti(tmp_path):
    """A folder of real images; a copy, because dax compresses what it uploads where it lies."""
    for folder in ("nibabel", "dipy"):
        shutil.copytree(DATA / "nifti" / folder, tmp_path / "nifti" / folder)
    return tmp_path / "nifti"


@pytest.fixture
def subjects_dir(tmp_path):
    """A SUBJECTS_DIR of two real people, FreeSurfer 6.0 and 7.4.1 (a part of their files)."""
    folder = tmp_path / "subjects_dir"
    shutil.copytree(DATA / "freesurfer6" / "subject1", folder / "subject1")
    shutil.copytree(DATA / "freesurfer7" / "sub-001", folder / "sub-001")
    # Shape of segmentHA_T1.sh's output, made-up volumes: no public run of it may be copied.
    for side, volume in (("lh", "551.25"), ("rh", "570.5")):
        text = f"Hippocampal_tail {volume}\nsubiculum-body 240.125\nWhole_hippocampus 3400.75\n"
        (folder / "subject1" / "mri" / f"{side}.hippoSfVolumes-T1.v10.txt").write_text(text)
    (folder / "subject1" / "touch").mkdir()
    (folder / "subject1" / "touch" / "rusage.dat").touch()  # FreeSurfer leaves empty files too
    return folder


@pytest.fixture
def zip_folder(tmp_path):
    """Zip a folder as the recipe does: its own name on top of every member."""

    def zip_folder(folder):
        path = tmp_path / f"{folder.name}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(folder.parent))
        return path

    return zip_folder


@pytest.fixture(scope="session")
def files_below():
    """Relative names and bytes of all files in a folder."""

    def files_below(folder):
        folder = Path(folder)
        return {
            str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
        }

    return files_below
