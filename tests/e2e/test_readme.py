"""Every command of the README runs, and prints what the README says, up to times, rates, ports and names of runs."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from xnatferry.samples import write_to

README = Path(__file__).resolve().parents[2] / "README.md"
LOOSE = [
    (r"\d+(\.\d+)? (s|min|[kMG]B/s)\b", "#"),
    (r"http://127\.0\.0\.1:\d+", "URL"),
    (r"of the local archive.*", "of the local archive"),
]


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def commands():
    """Each command with the lines that follow it, in order."""
    for block in blocks("console"):
        for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = piece.partition("\n")
            yield command.partition("#")[0].strip(), output


def loosened(text):
    for pattern, word in LOOSE:
        text = re.sub(pattern, word, text)
    return text.strip().splitlines()


def test_the_commands_print_what_the_readme_says(ferry, tmp_path, monkeypatch):
    write_to(tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    ran = 0
    for command, expected in commands():
        if command.startswith("make"):
            continue
        done = ferry(*shlex.split(command)[1:])
        assert done.code == 0, done.text
        assert loosened(done.out) == loosened(expected), command
        ran += 1
    assert ran >= 6


def test_the_make_targets_of_the_readme_are_there():
    makefile = (README.parent / "Makefile").read_text()
    for command, _ in commands():
        if command.startswith("make"):
            assert f"\n{command.split()[1]}:" in makefile


def test_the_python_of_the_readme_runs(ferry, archive, tmp_path):
    from tests.e2e.conftest import write_image

    write_image(tmp_path / "T1w.nii.gz")
    login = {"server": archive.url, "user": archive.user, "password": archive.password}
    (tmp_path / "login.json").write_text(json.dumps(login))
    (code,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\d+ [0-9a-f]{32}\n", done.stdout)


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)]+)\)", README.read_text(encoding="utf-8")))
def test_links_lead_somewhere(link):
    assert (README.parent / link).exists()


def test_the_readme_names_no_path_of_a_machine():
    assert not re.search(r"/(tmp|home|root|work|Users)/", README.read_text(encoding="utf-8"))
