"""What ``import xnatferry`` promises: names that are sorted, documented and typed, for people who write programs."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import xnatferry

ROOT = Path(__file__).resolve().parents[1]


def test_the_public_names_are_sorted_there_and_documented():
    assert xnatferry.__all__ == sorted(xnatferry.__all__)
    for name in xnatferry.__all__:
        found = getattr(xnatferry, name)
        if name != "__version__":
            assert inspect.getdoc(found), f"{name} says nothing about itself"
    assert set(dir(xnatferry)) >= set(xnatferry.__all__)


@pytest.mark.parametrize(
    "verb", ["discover", "check", "plan", "push", "verify", "undo", "pull", "copy", "stats", "connect"]
)
def test_a_verb_is_fully_annotated(verb):
    signature = inspect.signature(getattr(xnatferry, verb))
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, f"{verb}({parameter.name})"


def mypy(*arguments) -> subprocess.CompletedProcess:
    pytest.importorskip("mypy")
    return subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", os.devnull, "--cache-dir", os.devnull, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"MYPYPATH": "src"},
    )


@pytest.mark.slow
def test_programs_are_checked_against_the_types(tmp_path):
    right = tmp_path / "right.py"
    right.write_text(
        "from typing import assert_type\n"
        "import xnatferry\n"
        "with xnatferry.connect('https://h.org', 'me', 'pw') as xnat:\n"
        "    plan = xnatferry.plan(xnatferry.discover('d'), xnat.remote, xnatferry.MappingRules('P'))\n"
        "    assert_type(plan, xnatferry.Plan)\n"
        "    with xnatferry.progress(plan) as show:\n"
        "        assert_type(xnatferry.push(plan, xnat.remote, listener=show), xnatferry.PushResult)\n"
        "    assert_type(xnatferry.pull('P', 'dest', xnat.remote, form='bids'), xnatferry.PullResult)\n"
        "    assert_type(xnatferry.check('d'), tuple[xnatferry.Finding, ...])\n"
    )
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import xnatferry\nxnatferry.pull('P', 'dest', 'https://h.org')\nxnatferry.stats(1)\n")
    done = mypy("--strict", right, wrong, "examples/notebook.py")
    assert f"{right.name}:" not in done.stdout, done.stdout
    assert "notebook.py:" not in done.stdout, done.stdout
    assert "wrong.py:2: error" in done.stdout, done.stdout
    assert "wrong.py:3: error" in done.stdout, done.stdout
