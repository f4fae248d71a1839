"""The command line. Its modules stay light: a command imports what it needs when it runs."""

from __future__ import annotations

import io
import signal
import sys
import traceback
from typing import TYPE_CHECKING

import click

from xnatferry import __version__
from xnatferry.errors import StoppedError, XnatferryError

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["cli", "main"]

_MODULES = {
    "check": "look",
    "copy": "copy",
    "demo": "demo",
    "list": "look",
    "login": "login",
    "logout": "login",
    "plan": "push",
    "pull": "pull",
    "push": "push",
    "remove": "remove",
    "runs": "runs",
    "serve": "serve",
    "stats": "stats",
    "table": "table",
    "undo": "runs",
    "verify": "verify",
    "whoami": "look",
}


_STOPPED = "stopped; the same command goes on where this one ended"


class _Commands(click.Group):
    """Finds a command in its module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's
        from importlib import import_module

        module = _MODULES.get(cmd_name)
        if module is None:
            return None
        command = getattr(import_module(f"xnatferry.cli.{module}"), f"{cmd_name}_command")
        assert isinstance(command, click.Command)  # noqa: S101  # the table above is ours
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="xnatferry")
def cli() -> None:
    """Carry NIfTI, BIDS and FreeSurfer data into an XNAT archive, verified.

    Start with `xnatferry demo`. Without a server, data goes to the local archive of this computer.
    """


def main() -> int:
    """Run the command line; returns the exit code."""
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
