"""All commands, and how each ends: an error becomes a sentence and an exit code."""

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

__all__ = ["cli", "run"]

#: The module of each command, and its line in the list of commands: that list must not import what commands need.
_COMMANDS = {
    "check": ("look", "Read and validate SOURCE; no network."),
    "completion": ("completion", "Print the completion script of a shell."),
    "copy": ("copy", "Copy ADDRESS to another server: objects, attributes, resources, files."),
    "demo": ("demo", "A first crossing on a throw-away archive."),
    "list": ("look", "Show what is on the server, as a tree."),
    "login": ("login", "Log in to a server once; later commands use it."),
    "logout": ("login", "Withdraw the token of a profile and forget both."),
    "plan": ("push", "Show what a push would do; nothing is sent."),
    "pull": ("pull", "Bring ADDRESS to the folder DEST, proven by digest."),
    "push": ("push", "Plan, ask, send, verify."),
    "remove": ("remove", "Delete ADDRESS, after showing what it holds."),
    "runs": ("runs", "Past runs, newest first, or one of them."),
    "serve": ("serve", "Run the local archive until Ctrl-C."),
    "stats": ("stats", "Collect FreeSurfer's measurements."),
    "table": ("table", "Write a draft table of the images or FreeSurfer subjects in SOURCE."),
    "undo": ("runs", "Take back what a run created."),
    "verify": ("verify", "Compare with the server again, by digest."),
    "whoami": ("look", "Show server, version, account, credentials."),
}

_STOPPED = "stopped; the same command goes on where this one ended"


class _Commands(click.Group):
    """Finds a command in its module when it is asked for."""

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
    """Carry NIfTI, BIDS and FreeSurfer data into an XNAT archive, verified.

    Start with `xnatferry demo`. Without a server, data goes to the local archive of this computer.
    """


def run() -> int:
    """Run the command that was typed; returns the exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a name must not end a push
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
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stderr.close()
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _end(f"{where}{error.strerror or error}", 1, "OSError", json=json)
    except Exception as error:  # noqa: BLE001  # the last net: people get a sentence, -v the whole story
        if "-v" in sys.argv or "--verbose" in sys.argv:
            import traceback

            traceback.print_exc()
        what = f"{type(error).__name__}: {error}"
        return _end(f"this should not happen ({what}); run it with -v and report it", 1, "internal", json=json)
    return code if isinstance(code, int) else 0


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end(message: str, exit_code: int, kind: str, *, json: bool) -> int:
    from xnatferry.console.screen import Screen

    screen = Screen(json=json)
    screen.error(message)
    screen.records([{"record": "error", "error": kind, "message": message, "exit_code": exit_code}])
    return exit_code
