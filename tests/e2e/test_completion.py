"""Completion in the shells themselves, where they are installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def shell(ferry, tmp_path):
    """Runs a script in a shell that finds xnatferry."""

    def run(name: str, script: str) -> list[str]:
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"{name} is not installed")
        where = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        bare = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}[name]
        done = subprocess.run(
            [found, *bare, "-c", script],
            env=ferry.environment | {"PATH": where},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )
        assert done.stderr == ""
        return done.stdout.split("\n")

    return run


@pytest.fixture
def known(ferry, images):
    """A profile, a run, a project."""
    config = ferry.home / "config"
    config.mkdir()
    (config / "config.toml").write_text('[profiles.lab]\nserver = "https://x.example.org"\nuser = "me"\n')
    assert ferry("push", images, "-s", "local", "-p", "BRAIN", "--yes").code == 0
    return next((ferry.home / "state" / "runs").iterdir()).name


BASH = """
source <(xnatferry completion bash)
COMP_WORDS=({words}); COMP_CWORD={last}
_xnatferry_completion "${{COMP_WORDS[0]}}" "{word}" ""
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def in_bash(shell, *words: str) -> list[str]:
    quoted = " ".join(f"'{word}'" for word in words)
    return shell("bash", BASH.format(words=quoted, last=len(words) - 1, word=words[-1]))[:-1]


def test_bash(shell, known):
    assert in_bash(shell, "xnatferry", "pu") == ["pull", "push"]
    assert in_bash(shell, "xnatferry", "push", "--on-conflict", "s") == ["skip"]
    assert in_bash(shell, "xnatferry", "whoami", "--profile", "") == ["lab"]
    assert in_bash(shell, "xnatferry", "undo", "") == [known]
    assert in_bash(shell, "xnatferry", "push", "-p", "B") == ["BRAIN"]
    assert "--template" in in_bash(shell, "xnatferry", "check", "--t")


def test_bash_registers_it(shell):
    assert "_xnatferry_completion" in shell("bash", "source <(xnatferry completion bash); complete -p xnatferry")[0]


def test_zsh(shell, known):
    script = """
autoload -U compinit && compinit -u -D
source <(xnatferry completion zsh)
print ${_comps[xnatferry]}
words=(xnatferry undo ''); CURRENT=3
_describe() { print -l "${(@P)2}" "${(@P)3}" }
compadd() { print -l -- "${(@P)@[-1]}" }
_xnatferry_completion
"""
    lines = shell("zsh", script)
    assert lines[0] == "_xnatferry_completion"
    assert known in lines


def test_fish(shell, known):
    lines = shell(
        "fish", "xnatferry completion fish | source; complete -C 'xnatferry undo '; complete -C 'xnatferry pu'"
    )
    assert known in lines
    assert [line for line in lines if line.startswith(("pull", "push"))] != []


def test_an_unreadable_config_completes_to_nothing(ferry, shell):
    (ferry.home / "config").mkdir()
    (ferry.home / "config" / "config.toml").write_text("this is no TOML [")
    assert in_bash(shell, "xnatferry", "whoami", "--profile", "") in ([], [""])


def test_another_shell_is_a_usage_error(ferry):
    done = ferry("completion", "tcsh")
    assert done.code == 2
    assert "bash" in done.err
