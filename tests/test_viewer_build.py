"""The build takes the pinned viewer only, and the container has all that a build reads."""

import importlib.util
import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def hatch_build():
    if not (ROOT / "hatch_build.py").exists():
        pytest.skip("no source tree")
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_another_file_in_the_place_of_the_viewer_is_not_packed(hatch_build, tmp_path, monkeypatch):
    """Its first line names the right version, as the file of an attacker would."""
    place = tmp_path / "niivue.js"
    place.write_bytes(f"/* NiiVue {hatch_build.VERSION}, BSD-2-Clause; see niivue-license.txt */\nevil()".encode())
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "npm is not installed; niivue.js was not that of" in hatch_build.fetch(place)
    assert not place.exists()
    assert hatch_build.fetch(place) == "npm is not installed"


def test_the_viewer_that_is_there_is_the_pinned_one(hatch_build, tmp_path, monkeypatch):
    place = ROOT / hatch_build.PLACE
    if not place.exists():
        pytest.skip("built without the viewer")
    copied = Path(shutil.copy(place, tmp_path))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert hatch_build.fetch(copied) == ""


def test_the_container_is_given_what_the_build_reads():
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    copied = {word for line in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE) for word in line.split()}
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wanted = {"pyproject.toml", *re.findall(r'"(README\.md|LICENSE)"', project)}
    if "[tool.hatch.build.hooks.custom]" in project or "hooks.custom" in project:
        wanted.add("hatch_build.py")
    assert wanted <= copied
    assert all((ROOT / one).exists() for one in copied)
