"""All commands. An error becomes a message and an exit code."""

from __future__ import annotations

import io
import signal
import sys
from typing import TYPE_CHECKING

import click

from xnatferry import __version__
from xnatferry.errors import StoppedError, XnatferryError

if TYPE_CHECKING:
    from types import FrameType

#: The module of each command, and its line in the list of commands: that list must not import what commands need.
_COMMANDS = {
    "check": ("check", "Read and validate local data; uses no network."),
    "completion": ("completion", "Print the completion script of a shell."),
    "copy": ("copy", "Copy a project, subject or session to another server."),
    "demo": ("demo", "Try xnatferry with sample data and a temporary archive."),
    "forms": ("forms", "Make a custom form, so that XNAT's pages show custom fields."),
    "list": ("server_info", "List projects, subjects, sessions and files of a server."),
    "login": ("login", "Save a server and an account for later commands."),
    "logout": ("login", "Invalidate the token of a profile and delete the profile."),
    "plan": ("push", "Show what a push would do; sends nothing."),
    "pull": ("pull", "Download a project, subject, session or resource, and verify it."),
    "push": ("push", "Upload data, and verify it."),
    "remove": ("remove", "Delete an object of a server, after showing what is in it."),
    "runs": ("runs", "List past runs, or show one."),
    "samples": ("samples", "Write sample data to try xnatferry with."),
    "selftest": ("selftest", "Check on a server, in a scratch project, that xnatferry works."),
    "serve": ("serve", "Run the local archive as a server until Ctrl-C."),
    "stats": ("stats", "Collect FreeSurfer measurements in one table."),
    "table": ("table", "Write a mapping table of a folder, to edit and push."),
    "undo": ("runs", "Remove what a run created."),
    "verify": ("verify", "Compare data or a past run with the server, by MD5."),
    "whoami": ("server_info", "Show server, version, account and where the credentials come from."),
}

#: Where people report faults.
_ISSUES = "https://github.com/xnatferry/xnatferry/issues"
_STOPPED = "Stopped. Run the same command again to continue."


class _Commands(click.Group):
    """Imports the module of a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's
        from importlib import import_module

        if cmd_name not in _COMMANDS:
            return None
        command = getattr(import_module(f"xnatferry.cli.{_COMMANDS[cmd_name][0]}"), f"{cmd_name}_command")
        assert isinstance(command, click.Command)  # noqa: S101  # the table above is ours
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="xnatferry")
def cli() -> None:
    """Upload NIfTI, BIDS and FreeSurfer data into an XNAT archive, verify it, and download it again.

    Start with `xnatferry demo`. If you name no server, xnatferry uses the local archive of this computer.
    """


def run() -> int:
    """Run the command that was typed; returns the exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show must not end a push
    json = "--json" in sys.argv
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        return _end(_STOPPED, StoppedError.exit_code, "StoppedError", json=json)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        return _end(_STOPPED, StoppedError.exit_code, "StoppedError", json=json)
    except XnatferryError as error:
        return _end(str(error), error.exit_code, type(error).__name__, json=json)
    except BrokenPipeError:  # the reader of our output has closed the pipe
        sys.stderr.close()
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _end(f"{where}{error.strerror or error}", 1, "OSError", json=json)
    except Exception as error:  # noqa: BLE001  # the last resort: one message, the traceback in a file
        if "-v" in sys.argv or "--verbose" in sys.argv:
            import traceback

            traceback.print_exc()
        return _end(_internal_error(error), 1, "internal", json=json)
    return code if isinstance(code, int) else 0


def _internal_error(error: Exception) -> str:
    """The message about a fault of the program, whose traceback goes into a file."""
    import traceback

    from xnatferry.cli.runs import runs_folder
    from xnatferry.transfer.log_file import without_secrets

    file = runs_folder().parent / "internal-error.log"
    log = f"the log is {file}"
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.write_text(without_secrets("".join(traceback.format_exception(error))), encoding="utf-8")
    except OSError:
        log = "run the command again with -v to see the log"
    return f"Internal error: {type(error).__name__}: {error}. Please report it: {_ISSUES}; {log}"


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end(message: str, exit_code: int, kind: str, *, json: bool) -> int:
    from xnatferry.console.screen import Screen

    screen = Screen(json=json)
    screen.error(message)
    screen.records([{"record": "error", "error": kind, "message": message, "exit_code": exit_code}])
    return exit_code
