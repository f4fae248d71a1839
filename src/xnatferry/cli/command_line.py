"""The running command as text that can be typed again, without secrets: for reports and journals."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xnatferry.planning.plan import Plan

#: Left out: a secret, options for one run only, and the server, whose address is added.
_OMITTED = frozenset({"password", "json", "quiet", "verbose", "yes", "report", "server"})


def command_again(verb: str, plan: Plan, *, without: tuple[str, ...] = ()) -> str:
    """The command line with which *verb* does the same as this command, from any folder.

    Args:
        verb: ``push``, also where this command is ``plan``.
        plan: Names the server.
        without: Options of this command that *verb* does not have.
    """
    context = click.get_current_context()
    words = ["xnatferry", verb]
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in _OMITTED and name not in without:
            words += _words_of(parameter, context.params[name])
    if "--profile" not in words:
        words += ["--server", "local" if plan.local else plan.server]
    return shlex.join(words)


def _words_of(parameter: click.Parameter, value: object) -> Iterator[str]:
    values = value if isinstance(value, tuple) else (value,)
    for one in values:
        text = str(one.absolute()) if isinstance(one, Path) else str(one)
        if isinstance(parameter, click.Argument):
            yield text
        else:
            yield max(parameter.opts, key=len)
            if not (isinstance(parameter, click.Option) and parameter.is_flag):
                yield text
