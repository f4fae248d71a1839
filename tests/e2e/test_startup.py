"""What the command line imports before it has anything to do: this decides how fast it answers.

No time is asserted; measured on two cores, ``--version`` needs the interpreter and nothing else, ``--help`` click.
"""

import subprocess
import sys

import pytest

#: Every module of ours, and every package of others, that may be imported.
ALLOWED = {
    ("--version",): {"xnatferry", "xnatferry.cli"},
    ("--help",): {"xnatferry", "xnatferry.cli", "xnatferry.cli.commands", "xnatferry.errors", "click"},
    ("push", "--help"): {
        "xnatferry",
        "xnatferry.cli",
        "xnatferry.cli.commands",
        "xnatferry.cli.completion",
        "xnatferry.cli.connection",
        "xnatferry.cli.help_sections",
        "xnatferry.cli.options",
        "xnatferry.cli.push",
        "xnatferry.cli.report_files",
        "xnatferry.cli.command_line",
        "xnatferry.cli.push_run",
        "xnatferry.durable",
        "xnatferry.errors",
        "click",
    },
}
#: Parts of the standard library that take more than a few milliseconds.
SLOW = {
    "asyncio",
    "concurrent.futures",
    "email",
    "http",
    "importlib.metadata",
    "ssl",
    "sqlite3",
    "subprocess",
    "tempfile",
    "typing",
    "traceback",
    "unittest",
    "urllib.request",
    "xml",
    "zipfile",
}

ASK = """
import sys
before = set(sys.modules)
sys.argv = ["xnatferry", *{arguments!r}]
from xnatferry.cli import main
try:
    main()
except SystemExit:
    pass
sys.stderr.write("\\n".join(sorted(set(sys.modules) - before)))
"""


def imported(arguments) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n" + ASK.format(arguments=arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", ALLOWED, ids=" ".join)
def test_only_what_is_needed_is_imported(arguments):
    found = imported(arguments)
    foreign = {name.partition(".")[0] for name in found} - sys.stdlib_module_names - {"xnatferry"}
    ours = {name for name in found if name.partition(".")[0] == "xnatferry"}
    assert ours | foreign == ALLOWED[arguments]


def test_the_slow_parts_of_the_standard_library_wait_too():
    assert imported(("--version",)) & SLOW == set()
    # click needs typing, and gettext's neighbours
    assert imported(("--help",)) & SLOW <= {"typing"}


def test_the_package_alone_imports_nothing():
    code = "import sys; before = set(sys.modules); import xnatferry; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    foreign = {name.partition(".")[0] for name in done.stdout.split()} - sys.stdlib_module_names
    assert foreign == {"xnatferry"}
    assert "xnatferry.api" not in done.stdout.split()


def test_the_list_of_commands_says_what_the_commands_say():
    import click

    from xnatferry.cli.commands import _COMMANDS, cli

    context = click.Context(cli)
    for name, (_, line) in _COMMANDS.items():
        command = cli.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert (command.help or "").partition("\n\n")[0].replace("\n", " ") == line
    assert list(_COMMANDS) == sorted(_COMMANDS)
