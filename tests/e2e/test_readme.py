"""Every command of the README runs, and prints what the README says, up to times, rates, ports and names of runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.documented import agrees, blocks_of, commands_of, reader_environment, run_page

README = Path(__file__).resolve().parents[2] / "README.md"
PAGE = README.read_text(encoding="utf-8")


def blocks(kind):
    return [block for block in blocks_of(PAGE) if block.kind == kind]


def test_the_commands_print_what_the_readme_says(ferry, tmp_path):
    """As typed in an empty folder, in one terminal."""
    here = tmp_path / "empty"
    here.mkdir()
    commands = [command for block in blocks("console") for command in commands_of(block)]
    ended = run_page(commands, here, reader_environment(ferry.environment, README), "")
    for command, (code, printed) in zip(commands, ended, strict=True):
        assert code == 0, f"{command.text}\n{printed}"
        assert not command.output.strip() or agrees(command.output, printed), f"{command.text}\n{printed}"
    assert len(commands) >= 6


def test_a_checkout_can_be_installed_as_the_readme_says():
    (install,) = blocks("sh")
    assert install.text.startswith("pip install .")
    assert (README.parent / "pyproject.toml").is_file()


def test_the_python_of_the_readme_runs(ferry, archive, tmp_path):
    from tests.e2e.conftest import write_image

    write_image(tmp_path / "T1w.nii.gz")
    login = {"server": archive.url, "user": archive.user, "password": archive.password}
    (tmp_path / "login.json").write_text(json.dumps(login))
    (code,) = (block.text for block in blocks("python"))
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
