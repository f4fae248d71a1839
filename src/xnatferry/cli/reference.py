"""The command line as a manual page and as a page of the documentation, both from the commands themselves.

python -m xnatferry.cli.reference man > xnatferry.1
python -m xnatferry.cli.reference markdown > docs/cli.md
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from typing import TYPE_CHECKING

import click

from xnatferry import __version__
from xnatferry.cli.commands import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["manual_page", "markdown_page"]

#: Of this version; a page must not differ by the day on which it is made.
_DATE = "2026-11-21"
_EXIT_CODES = (
    ("0", "done and verified"),
    ("1", "some items failed"),
    ("2", "usage"),
    ("3", "not authenticated or forbidden"),
    ("4", "target not found"),
    ("5", "temporary, try later"),
    ("6", "stopped by a conflict"),
    ("7", "data refused by checks"),
    ("8", "verification failed"),
    ("130", "interrupted, can be resumed"),
)
_ENVIRONMENT = (
    ("XNAT_HOST, XNAT_USER, XNAT_PASS", "server and account"),
    ("XNATFERRY_TO_USER, XNATFERRY_TO_PASS", "account at the other server of a copy"),
    ("XNATFERRY_ROOT", "folder of the local archive"),
    ("XNATFERRY_STATE", "folder of the journals of runs"),
    ("XNATFERRY_CONFIG", "folder of config.toml, with the profiles"),
    ("XNATFERRY_ADMIN_PASSWORD", "password that a new archive gives its account admin"),
    ("NETRC", "file to read in place of ~/.netrc"),
    ("SSL_CERT_FILE", "certificate authorities (PEM)"),
    ("HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY", "proxies"),
)


def manual_page() -> str:
    """``xnatferry.1`` in the man macros of groff and mandoc."""
    lines = [
        f'.TH XNATFERRY 1 {_DATE} "xnatferry {__version__}" "User Commands"',
        ".SH NAME",
        "xnatferry \\- carry NIfTI, BIDS and FreeSurfer data into an XNAT archive, and back",
        ".SH SYNOPSIS",
        ".B xnatferry",
        ".I COMMAND",
        "[options]",
        ".SH DESCRIPTION",
        *(_roff(part) for part in _paragraphs(cli)),
        ".SH COMMANDS",
    ]
    for context in _contexts():
        usage = context.command.collect_usage_pieces(context)
        title = " ".join(["xnatferry", context.info_name or "", *usage])
        lines += [f".SS {_roff(title).replace(chr(10), ' ')}"]
        for number, part in enumerate(_paragraphs(context.command)):
            lines += [".PP"] * (number > 0) + [_roff(part)]
        for names, words in _options(context):
            lines += [".TP", f"\\fB{_roff(names)}\\fR", _roff(words)]
    for title, pairs in (("ENVIRONMENT", _ENVIRONMENT), ("EXIT STATUS", _EXIT_CODES)):
        lines.append(f".SH {title}")
        for name, words in pairs:
            lines += [".TP", f"\\fB{_roff(name)}\\fR", _roff(words)]
    return "\n".join(lines) + "\n"


def markdown_page() -> str:
    """``docs/cli.md``."""
    lines = [
        "# The command line",
        "",
        "<!-- Made by `make reference` from the commands; changes belong there. -->",
    ]
    for context in _contexts():
        usage = " ".join(context.command.collect_usage_pieces(context))
        lines += ["", f"## {context.info_name}", "", f"    xnatferry {context.info_name} {usage}", ""]
        lines += "\n\n".join(_paragraphs(context.command)).split("\n")
        rows = [(_cell(f"`{names}`"), _cell(words)) for names, words in _options(context)]
        if rows:
            lines += ["", "| option | |", "|---|---|", *(f"| {names} | {words} |" for names, words in rows)]
    for title, pairs in (("Environment", _ENVIRONMENT), ("Exit codes", _EXIT_CODES)):
        lines += ["", f"## {title}", "", "| | |", "|---|---|", *(f"| `{name}` | {words} |" for name, words in pairs)]
    return "\n".join(lines) + "\n"


def _contexts() -> Iterator[click.Context]:
    top = click.Context(cli, info_name="xnatferry")
    for name in cli.list_commands(top):
        command = cli.get_command(top, name)
        if command is not None and not command.hidden:
            yield click.Context(command, info_name=name, parent=top)


def _paragraphs(command: click.Command) -> list[str]:
    """The help text in paragraphs of one line."""
    return [" ".join(part.split()) for part in inspect.cleandoc(command.help or "").split("\n\n") if part.strip()]


def _options(context: click.Context) -> list[tuple[str, str]]:
    """Names and words of each option; arguments are told of in the text above."""
    shown = (one for one in context.command.params if isinstance(one, click.Option))
    records = (one.get_help_record(context) for one in shown)
    return [(names, " ".join(words.split())) for names, words in filter(None, records)]


def _roff(text: str) -> str:
    """Escaped for roff, a sentence a line as its readers expect."""
    for plain, escaped in (("\\", "\\e"), ("-", "\\-"), ("~", "\\(ti"), ("^", "\\(ha"), ("`", "\\(ga")):
        text = text.replace(plain, escaped)
    return "\n".join(
        f"\\&{line}" if line.startswith((".", "'")) else line
        for line in textwrap.wrap(text, 78, break_long_words=False)
    )


def _cell(text: str) -> str:
    return re.sub(r"([|])", r"\\\1", text)


if __name__ == "__main__":
    sys.stdout.write(manual_page() if sys.argv[1:] == ["man"] else markdown_page())
