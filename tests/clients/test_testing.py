"""``xnatferry.testing``, and every example of docs/testing.md as it stands there."""

import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from xnatferry.testing import local_archive

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
SCRIPTS = [block for block in BLOCKS if "with local_archive" in block]
(CONFTEST,) = [block for block in BLOCKS if "pytest_plugins" in block]
(TEST,) = [block for block in BLOCKS if "def test_" in block]


def run(*command, cwd):
    done = subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_has_the_examples_that_are_run_here():
    assert len(SCRIPTS) == 2
    assert any("pyxnat" in script for script in SCRIPTS)
    assert "xnat.connect" in TEST


@pytest.mark.parametrize("number", range(2))
def test_the_scripts_run(number, tmp_path):
    if "pyxnat" in SCRIPTS[number]:
        pytest.importorskip("pyxnat")
    script = tmp_path / "script.py"
    script.write_text(SCRIPTS[number])
    run("script.py", cwd=tmp_path)


def test_the_fixture_runs_in_somebody_elses_suite(tmp_path):
    pytest.importorskip("xnat")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_mine.py").write_text(
        TEST + "\n\ndef test_shared(shared_xnat, local_xnat):\n    assert shared_xnat.url != local_xnat.url\n"
    )
    assert "2 passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=tmp_path)


def test_it_cleans_up_and_keeps_what_it_is_told_to_keep(tmp_path):
    with local_archive() as archive:
        assert archive.root.is_dir()
        assert urllib.request.urlopen(archive.url).status == 200
    assert not archive.root.exists()
    passwords = set()
    for _ in range(2):
        with local_archive(root=tmp_path / "kept") as archive:
            passwords.add(archive.password)
            request = urllib.request.Request(f"{archive.url}/data/projects")
            manager = urllib.request.HTTPPasswordMgrWithDefaultRealm()
            manager.add_password(None, archive.url, archive.user, archive.password)
            opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager))
            assert opener.open(request).status == 200
    assert len(passwords) == 2
    assert (tmp_path / "kept" / "metadata.sqlite").exists()


def test_two_run_side_by_side():
    with local_archive() as one, local_archive() as other:
        assert one.url != other.url
        assert one.files() == other.files() == {}


def test_a_role_needs_a_project():
    with local_archive() as archive:
        login = archive.new_account("somebody")
        with pytest.raises(LookupError, match="NONE"):
            archive.give_role(login, "NONE", "member")
