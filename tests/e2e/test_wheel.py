"""What people install is the wheel: it must hold everything, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    where = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", where],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    (found,) = where.glob("*.whl")
    return found


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
        timeout=100,
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
