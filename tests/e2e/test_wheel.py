"""What people install is the wheel: it must hold everything, and nothing else."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def build(kind, tree, where, **variables):
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", where]
    subprocess.run(command, cwd=tree, env=os.environ | variables, capture_output=True, check=True)
    (found,) = where.iterdir()
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


def test_the_installed_wheel_crosses_without_the_source_tree(ferry, wheel, tmp_path):
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as packed:  # installing a pure wheel is unpacking it
        packed.extractall(installed)
    where = subprocess.run(
        [sys.executable, "-c", "import xnatferry; print(xnatferry.__file__)"],
        cwd=tmp_path,
        env=ferry.environment | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(installed)), "the test must not see the source tree"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "xnatferry", "demo"],
        cwd=tmp_path,
        env=ferry.environment | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert "Left-Hippocampus" in done.stdout


def test_the_wheel_names_its_licences_and_carries_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("LICENSE") for name in names)
    assert any(name.endswith("samples/SOURCE.txt") for name in names)
    assert "xnatferry/py.typed" in names
    assert any(name.endswith(".data/data/share/man/man1/xnatferry.1") for name in names)
    assert not [name for name in names if "tests" in name.split("/")]


def test_a_wheel_made_from_the_source_distribution_is_the_same(wheel, tmp_path):
    with tarfile.open(build("sdist", ROOT, tmp_path / "sdist")) as packed:
        packed.extractall(tmp_path / "unpacked")  # made by this test; 3.11.2 knows no filter
    (tree,) = (tmp_path / "unpacked").iterdir()
    again = build("wheel", tree, tmp_path / "again", PATH="")  # without npm, so without the viewer that is fetched

    def contents(path):
        with zipfile.ZipFile(path) as packed:
            held = {info.filename: info.CRC for info in packed.infolist()}
        return {name: crc for name, crc in held.items() if not name.endswith(("/niivue.js", "/RECORD"))}

    assert contents(again) == contents(wheel)
    assert not (tree / "src" / "xnatferry" / "server" / "pages" / "static" / "niivue.js").exists()
