"""Commands that pages show in `console` blocks, and the shell that runs them as a reader would type them.

Comments in a page steer it, unseen by readers:

    <!-- not run: REASON -->     the next block cannot run here
    <!-- run first: COMMAND -->  makes what the reader of this page has already; tests/data is "$DATA"
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: The server that the pages name; the shell puts the address of a real one in its place.
EXAMPLE_SERVER = "https://xnat.example.org"
#: Where things lie on this computer, and how long what took.
LOOSE = [
    (r"(?m)^Local archive: .*\n?", ""),
    (r"[/~][^,\n]*/credentials\.json", "CREDENTIALS"),
    (r"\d+(\.\d+)? (s|min|(?:[kMG]?B|bytes)/s)\b", "#"),
    (
        r"(?m)^(?:Created|Sent|Verified) .*\(#\)\n?",
        "",
    ),  # progress lines, which depend on the time
    (r"http://127\.0\.0\.1:\d+|https://xnat\.example\.org", "URL"),
    (r"of the local archive.*", "of the local archive"),
    (r"\b\d{8}-\d{6}-", "RUN-"),
    (r"\bshares-(\d+)-[0-9a-f]{8}\b", r"shares-\1"),
    (r"\bXNAT_[SE]\d{5}\b", "ID"),
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?", "WHEN"),
]
_FENCE = re.compile(r"^(?P<indent>\s*)```(?P<kind>\w*)\s*$")
_NOT_RUN = re.compile(r"<!-- not run: (.+?) -->")
_FIRST = re.compile(r"<!-- run first: (.+?) -->")
_MARK = "\x1e"


@dataclass(frozen=True)
class Block:
    """A fenced or indented block of a page."""

    kind: str
    text: str
    line: int
    not_run: str = ""


@dataclass(frozen=True)
class Command:
    """A command, and what the page says it prints; an empty output means that the page does not show it."""

    text: str
    output: str
    line: int


def blocks_of(page: str) -> list[Block]:
    """All blocks in order; `run first` comments are blocks of kind `first`, indented ones of kind `indented`."""
    found: list[Block] = []
    lines = page.splitlines()
    reason = ""
    number = 0
    while number < len(lines):
        start, line = number, lines[number]
        number += 1
        if fence := _FENCE.match(line):
            while not re.match(r"^\s*```\s*$", lines[number]):
                number += 1
            text = "\n".join(one.removeprefix(fence["indent"]) for one in lines[start + 1 : number])
            number += 1
            found.append(Block(fence["kind"], text, start + 2, reason))
        elif line.startswith("    ") and (start == 0 or not lines[start - 1].strip()):
            while number < len(lines) and (lines[number].startswith("    ") or not lines[number].strip()):
                number += 1
            text = "\n".join(one[4:] for one in lines[start:number]).rstrip()
            found.append(Block("indented", text, start + 1, reason))
        elif first := _FIRST.search(line):
            found.append(Block("first", first[1], start + 1))
            continue
        if line.strip():
            marked = _NOT_RUN.search(line)
            reason = marked[1] if marked else ""
    return found


def commands_of(block: Block) -> list[Command]:
    """The commands of a console block; a line that ends in a backslash goes on in the next one."""
    if block.kind == "first":
        return [Command(block.text, "", block.line)]
    found: list[Command] = []
    lines = block.text.splitlines()
    number = 0
    while number < len(lines):
        start = number
        assert lines[number].startswith("$ "), f"line {block.line + number}: not a command: {lines[number]}"
        number += 1
        while lines[number - 1].endswith("\\"):
            number += 1
        command = "\n".join(lines[start:number]).removeprefix("$ ")
        out = number
        while number < len(lines) and not lines[number].startswith("$ "):
            number += 1
        found.append(Command(command, "\n".join(lines[out:number]), block.line + start))
    return found


def run_page(commands: list[Command], cwd: Path, environment: dict[str, str], server: str) -> list[tuple[int, str]]:
    """Run all in one shell, as in one terminal; returns exit code and output of each."""
    script = ["set +m"]
    for command in commands:
        script += [
            command.text.replace(EXAMPLE_SERVER, server),
            f"ended=$?; printf '{_MARK}%s{_MARK}' $ended; (exit $ended)",
        ]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=cwd,
        env=environment | {"PYTHONUNBUFFERED": "1", "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
        check=False,
    )
    pieces = done.stdout.split(_MARK)
    assert len(pieces) == 2 * len(commands) + 1, done.stdout
    return [(int(code), text) for text, code in zip(pieces[::2], pieces[1::2], strict=False)]


def loosened(text: str) -> list[str]:
    """Lines without what differs from run to run: times, rates, ports, names of runs, IDs, folders."""
    for pattern, word in LOOSE:
        text = re.sub(pattern, word, text)
    return [line.rstrip() for line in text.strip().splitlines()]


def agrees(shown: str, printed: str) -> bool:
    """Whether the page shows what was printed; a line `...` stands for any lines."""
    pattern = ""
    for line in loosened(shown):
        pattern += "(?:.*\n)*?" if line.strip() == "..." else re.escape(line) + "\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in loosened(printed))) is not None


def reader_environment(environment: dict[str, str], data: Path) -> dict[str, str]:
    """That of *environment*, with our commands found first and the data for `run first`."""
    from pathlib import Path

    path = f"{Path(sys.executable).parent}:{environment['PATH']}"
    return environment | {"PATH": path, "DATA": str(data)}
