"""A command that is forked cannot be told from one that a user starts."""

from __future__ import annotations

import json
import os
import re
import sys

import pytest

from tests.e2e import fork_server
from tests.e2e.conftest import run_started

pytestmark = pytest.mark.skipif(not fork_server.USED, reason="every command is started as a user starts it")

# As pip writes it: the kernel takes no path with a blank after #!.
START = (
    f"#!{sys.executable}"
    if " " not in sys.executable
    else f"#!/bin/sh\n'''exec' '{sys.executable}' \"$0\" \"$@\"\n' '''"
)

LOOK = """
import json, os, signal, sys, threading
streams = [sys.stdin, sys.stdout, sys.stderr]
umask = os.umask(0)
json.dump({
    "arguments": sys.argv,
    "path": sys.path,
    "main": {name: repr(value) for name, value in globals().items() if name in ("__name__", "__file__", "__package__", "__spec__")},
    "folder": os.getcwd(),
    "environment": {name: value for name, value in os.environ.items() if name != "PWD"},  # a shell may have set it
    "umask": umask,
    "signals": {str(one): str(signal.getsignal(one)) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD)},
    "threads": len(os.listdir("/proc/self/task")),
    "open": sorted(os.listdir("/proc/self/fd")),
    "streams": [(s.encoding, s.errors, s.line_buffering, s.isatty(), s.seekable(), s.fileno()) for s in streams],
    "flags": list(sys.flags),
    "read": sys.stdin.read(),
}, sys.stdout)
print("said", file=sys.stderr)
"""


@pytest.fixture
def both(ferry, tmp_path, monkeypatch):
    """Runs a program of Python as a fork and as a user does; returns what came of each."""

    def both(text, *arguments, stdin=""):
        script = tmp_path / "program"
        script.write_text(f"{START}\n{text}")
        script.chmod(0o700)
        given = {"stdin": stdin, "env": ferry.environment | {"WORD": "\udcff", "TZ": "Asia/Tokyo"}, "timeout": 60}
        ended = [run([str(script), *arguments], **given) for run in (ferry.forks.run, run_started)]
        return [(one.returncode, one.stdout, one.stderr) for one in ended]

    monkeypatch.chdir(tmp_path)
    return both


def test_it_finds_what_a_new_process_finds(both):
    before = os.umask(0o027)
    try:
        forked, started = both(LOOK, "a b", "é\udcff", stdin="one\ntwo")
    finally:
        os.umask(before)
    assert json.loads(forked[1]) == json.loads(started[1])
    assert json.loads(started[1])["umask"] == 0o027
    assert forked[::2] == started[::2] == (0, "said\n")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("import sys; sys.exit(7)", 7),
        ("import sys; sys.exit('words')", 1),
        ("import os; print('lost'); os.kill(os.getpid(), 9)", -9),
        ("import os, signal; signal.signal(15, signal.SIG_DFL); os.kill(os.getpid(), 15)", -15),
        ("import atexit; atexit.register(print, 'last'); print('first')", 0),
        ("import threading; threading.Timer(0, print, ['from a thread']).start()", 0),
        ("import time; print(time.tzname)", 0),
        ("import os; os.environ['LEFT'] = 'here'; os.chdir('/'); os.umask(0)", 0),
        ("import os; print(os.environ.get('LEFT'), os.getcwd())", 0),
        ("import subprocess; subprocess.run(['sh', '-c', 'cat; echo $WORD | od -c'])", 0),
    ],
)
def test_it_ends_as_a_new_process_ends(both, text, code):
    forked, started = both(text, stdin="given")
    assert forked == started
    assert forked[0] == code


@pytest.mark.parametrize(
    "words", [["--version"], ["--help"], ["nonsense"], ["push"], ["check", "."], ["list", "NOWHERE", "--json"]], ids=str
)
def test_the_command_says_the_same(ferry, both, words):
    forked, started = both("import sys\nfrom xnatferry.cli import main\nsys.exit(main())", *words)
    assert [re.sub(r":\d+", ":PORT", str(one)) for one in forked] == [
        re.sub(r":\d+", ":PORT", str(one)) for one in started
    ]


def test_what_an_interpreter_reads_at_its_start_asks_for_a_new_one(ferry):
    assert ferry.forks.can_run(ferry.environment | {"COLUMNS": "40"})
    for name in ("PYTHONWARNINGS", "PYTHONUTF8", "PYTHON_KEYRING_BACKEND", "LC_ALL", "LANG"):
        assert not ferry.forks.can_run(ferry.environment | {name: "other"})


def test_random_numbers_are_not_those_of_the_fork_before(ferry, tmp_path):
    script = tmp_path / "program"
    script.write_text("import random, uuid, secrets\nprint(random.random(), uuid.uuid4(), secrets.token_hex())")

    def drawn():
        return set(ferry.forks.run([str(script)], stdin="", env=ferry.environment, timeout=60).stdout.split())

    assert not drawn() & drawn()
