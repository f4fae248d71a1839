"""Options that several commands share, and the values they give."""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from xnatferry.cli.completion import completes, profile_names, project_names
from xnatferry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from xnatferry.console.screen import Screen
    from xnatferry.planning.mapping import MappingRules
    from xnatferry.planning.selection import Selection
    from xnatferry.planning.shards import Shard
    from xnatferry.sources.bids.dataset import BidsChoices
    from xnatferry.sources.model import Discovery
    from xnatferry.transfer.rate_limit import RateLimit

P = ParamSpec("P")
R = TypeVar("R")


def together(
    *options: Callable[[Callable[P, R]], Callable[P, R]],
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Several options as one; the help shows them in this order."""

    def add(command: Callable[P, R]) -> Callable[P, R]:
        return functools.reduce(lambda made, option: option(made), reversed(options), command)

    return add


#: Discovery checks that it exists: its message is better than the one of the option parser.
SOURCE = click.argument("source", type=click.Path(path_type=Path))
WORKERS = click.option(
    "--workers", type=click.IntRange(1, 32), default=4, show_default=True, help="Number of parallel transfers."
)

MAX_SESSIONS = click.option(
    "--max-sessions", type=click.IntRange(1), metavar="N", help="Push only the first N sessions that have changes."
)
SHARD = click.option(
    "--shard",
    metavar="I/N",
    help="Push only part I of N, for job I of a job array. A part is a set of whole subjects.",
)
BWLIMIT = click.option(
    "--bwlimit", metavar="RATE", help="Limit of all transfers together in bytes per second: 500k, 2.5M."
)

DEEP = click.option(
    "--deep", is_flag=True, help="Read FreeSurfer volumes and surfaces completely, not only their headers."
)

DEPTH = click.option(
    "--depth", type=click.IntRange(0), metavar="N", help="Show N levels of the tree; 0 shows only the root."
)

REPORT = click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a report about the run: tree, images, findings. FILE.html or FILE.pdf.",
)

MAX_BODY = click.option(
    "--max-body", metavar="SIZE", help="Limit of one request in bytes, if a server or proxy has one: 100M, 1G."
)

#: ``--only``, ``--exclude``.
selection_options = together(
    click.option(
        "--only",
        multiple=True,
        metavar="PATTERN",
        help="Use only these subjects or sessions: 'sub-0*', 'SUBJECT/SESSION'. May be repeated.",
    ),
    click.option(
        "--exclude", multiple=True, metavar="PATTERN", help="Leave out these subjects or sessions. May be repeated."
    ),
)
#: ``-s``, ``-u``, ``--password``, ``--config``, ``--profile``, ``--ca``, ``--insecure``.
server_options = together(
    click.option(
        "-s", "--server", metavar="URL|local", help="XNAT server, or 'local' for the archive of this computer."
    ),
    click.option("-u", "--user", metavar="NAME", help="User name."),
    click.option("--password", metavar="TEXT", help="Password. XNAT_PASS, --config or ~/.netrc are safer."),
    click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="JSON file with server, user and password, as pyxnat and bxl use it.",
    ),
    click.option(
        "--profile",
        metavar="NAME",
        shell_complete=completes(profile_names),
        help="Server and account saved by 'xnatferry login'.",
    ),
    click.option(
        "--ca", type=click.Path(path_type=Path), metavar="FILE", help="File with certificate authorities (PEM)."
    ),
    click.option("--insecure", is_flag=True, help="Do not check the certificate of the server."),
)
#: ``--json``, ``-q``, ``-v``.
output_options = together(
    click.option("--json", is_flag=True, help="Print one JSON object per line on stdout."),
    click.option("-q", "--quiet", is_flag=True, help="Print only results and errors."),
    click.option("-v", "--verbose", is_flag=True, help="Print every file and every note."),
)
#: Kind of SOURCE and what of it is used: ``--as``, ``--template``, ``--scrub`` and others.
source_options = together(
    click.option(
        "--as",
        "kind",
        type=click.Choice(["nifti", "bids", "freesurfer", "table", "files"]),
        help="Kind of SOURCE  [recognised automatically]",
    ),
    click.option(
        "--template",
        "templates",
        multiple=True,
        metavar="TEXT",
        help="Pattern of file paths: '{subject}/{session}/{type}.nii.gz', or 're:' and a regular expression with "
        "groups (?P<subject>...). May be repeated; the first match is used.",
    ),
    click.option(
        "--preset",
        type=click.Choice(["none", "dcm2niix", "dcm2nii", "spm"]),
        help="Converter that named the images; none: do not look for series numbers  [recognised automatically]",
    ),
    click.option(
        "--rules",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="TOML file with rules that recognise results of other programs, or with --as nifti names of series and "
        "types of scans.",
    ),
    click.option(
        "--allow-incomplete",
        is_flag=True,
        help="Accept incomplete FreeSurfer subjects, and BIDS images that are empty or truncated.",
    ),
    click.option(
        "--force",
        is_flag=True,
        help="Accept a BIDS dataset with errors of the BIDS validator; its report is uploaded too.",
    ),
    click.option(
        "--scrub",
        is_flag=True,
        help="Remove what the privacy check finds from the uploaded copy; local files are unchanged (docs/privacy.md).",
    ),
    click.option("--allow-private", is_flag=True, help="Accept files that name a person; otherwise they are refused."),
    click.option("--sourcedata", is_flag=True, help="Include the sourcedata folder of a BIDS dataset."),
    click.option(
        "--custom-fields", is_flag=True, help="Store columns of BIDS tables that have no XNAT field as custom fields."
    ),
)
#: Labels, types and fields of the objects on the server.
mapping_options = together(
    click.option(
        "-p",
        "--project",
        metavar="ID",
        shell_complete=completes(project_names),
        help="Project ID; the project is created if it does not exist.",
    ),
    click.option("--subject", metavar="LABEL", help="Subject label for everything in SOURCE."),
    click.option("--session", metavar="LABEL", help="Session label for everything in SOURCE."),
    click.option("--session-template", metavar="TEXT", help="Pattern of session labels  [{subject}_MR1]"),
    click.option(
        "--session-type", metavar="TYPE", help="Type of new sessions: MR, PET, CT, ... or an XNAT data type  [MR]"
    ),
    click.option("--resource", metavar="LABEL", help="Resource label  [NIFTI, or FREESURFER and its major version]"),
    click.option(
        "--level",
        type=click.Choice(["project", "subject", "session", "scan", "assessor"]),
        help="Object that results of other programs are attached to  [session]",
    ),
    click.option("--assessor", metavar="TEXT", help="Pattern of assessor labels  [{session}_RESOURCE]"),
    click.option("--assessor-type", metavar="TYPE", help="XNAT data type of new assessors  [xnat:qcAssessmentData]"),
    click.option("--format", metavar="TEXT", help="Format of the resource  [NIFTI]"),
    click.option("--content", metavar="TEXT", help="Content of the resource  [NIFTI_RAW]"),
    click.option("--tags", metavar="TEXT", help="Tags of the resource."),
    click.option("--type", metavar="TEXT", help="Scan type of all images."),
    click.option("--series-description", metavar="TEXT", help="Series description of all scans."),
    click.option("--quality", metavar="TEXT", help="Quality of all scans  [usable]"),
    click.option("--date", metavar="YYYY-MM-DD", help="Date of new sessions."),
    click.option("--clean-labels", is_flag=True, help="Replace labels that XNAT does not accept by the proposed ones."),
    click.option(
        "--existing-only",
        is_flag=True,
        help="Create no subjects and sessions: refuse data for those that do not exist.",
    ),
    click.option("--gzip", is_flag=True, help="Compress .nii files to .nii.gz during the upload."),
)


def take(options: dict[str, object], *names: str) -> dict[str, object]:
    """Take *names* out of the options of a command."""
    return {name: options.pop(name) for name in names if name in options}


def workers_from(options: dict[str, object]) -> int:
    """``--workers``."""
    workers = options.get("workers")
    return workers if isinstance(workers, int) else 4


def shard_from(options: dict[str, object]) -> Shard | None:
    """``--shard``; None is everything.

    Raises:
        UsageError: It is not I/N.
    """
    from xnatferry.planning.shards import Shard

    text = options.get("shard")
    if not isinstance(text, str):
        return None
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise UsageError(f"--shard: {error}") from None


def selection_from(options: dict[str, object]) -> Selection:
    """``--only`` and ``--exclude``."""
    from xnatferry.planning.selection import Selection

    only, exclude = options.pop("only", ()), options.pop("exclude", ())
    return Selection(
        only if isinstance(only, tuple) else (),
        exclude if isinstance(exclude, tuple) else (),
    )


def rate_limit_from(options: dict[str, object]) -> RateLimit | None:
    """``--bwlimit``: a number of bytes a second, with k, M or G for thousands, millions and more.

    Raises:
        UsageError: It cannot be read.
    """
    from xnatferry.transfer.rate_limit import RateLimit

    text = options.pop("bwlimit", None)
    if text is None:
        return None
    rate = _scaled(str(text).strip().removesuffix("/s").removesuffix("B").removesuffix("b"))
    if rate < 1:
        raise UsageError(f"--bwlimit {text}: not a number of bytes per second; write for example 500k or 2.5M")
    return RateLimit(rate)


def size_from(options: dict[str, object]) -> int | None:
    """``--max-body``: bytes, with k, M or G for thousands, millions and more.

    Raises:
        UsageError: It cannot be read.
    """
    text = options.pop("max_body", None)
    if text is None:
        return None
    if (size := _scaled(str(text).strip().removesuffix("B").removesuffix("b"))) < 1:
        raise UsageError(f"--max-body {text}: not a number of bytes; write for example 100M or 1.5G")
    return int(size)


def _scaled(text: str) -> float:
    """A number with the suffix k, M or G; 0 when it is not a number."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKmMgG]?)", text)
    return float(found[1]) * {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}[found[2].lower()] if found else 0.0


def screen_from(options: dict[str, object]) -> Screen:
    """The `Screen` for ``--json``, ``-q``, ``-v`` and ``--yes``."""
    from xnatferry.console.screen import Screen

    chosen = {name: bool(value) for name, value in take(options, "json", "quiet", "verbose", "yes").items()}
    return Screen(json=chosen["json"], quiet=chosen["quiet"], verbose=chosen["verbose"], yes=chosen.get("yes", False))


def read_source(source: Path, options: dict[str, object], screen: Screen) -> Discovery:
    """Discover *source* with the options of a command.

    Raises:
        DataError: There is nothing there to push.
        UsageError: Its options cannot be used.
    """
    from xnatferry.console.findings_view import discovery_line
    from xnatferry.errors import DataError
    from xnatferry.sources.discovery import discover
    from xnatferry.sources.model import Kind

    kind = options.pop("kind", None)
    templates = options.pop("templates", ())
    rules = options.pop("rules", None)
    preset = options.pop("preset", None)
    discovery = discover(
        source,
        kind=Kind(str(kind)) if kind else None,
        template=templates if isinstance(templates, tuple) else (),
        preset=str(preset) if preset else None,
        allow_incomplete=bool(options.pop("allow_incomplete", False)),
        deep=bool(options.pop("deep", False)),
        bids=_bids_choices(options),
        rules=rules if isinstance(rules, Path) else None,
        allow_private=bool(options.pop("allow_private", False)),
        scrub=bool(options.pop("scrub", False)),
        together=options.get("level") == "project" or options.get("subject") is not None,
    )
    screen.note(discovery_line(discovery))
    if not discovery.sources and not discovery.findings:
        raise DataError(f"{source}: contains nothing to push")
    return discovery


def _bids_choices(options: dict[str, object]) -> BidsChoices:
    from xnatferry.sources.bids.dataset import BidsChoices

    flags = take(options, "sourcedata", "custom_fields", "force")
    selection = selection_from({name: options.get(name) or () for name in ("only", "exclude")})
    return BidsChoices(
        takes=selection.takes_part,
        unmatched=selection.unmatched_parts,
        sourcedata=bool(flags.get("sourcedata")),
        custom_fields=bool(flags.get("custom_fields")),
        validate=True,
        force=bool(flags.get("force")),
    )


_LEVEL_NAMES = ("level", "assessor", "assessor_type")


def rules_from(options: dict[str, object]) -> MappingRules:
    """The mapping rules that the options of a command describe.

    Raises:
        UsageError: No project is named.
    """
    from xnatferry.planning.mapping import MappingRules

    names = ("project", "subject", "session", "session_template", "session_type", "resource", "format", "content")
    texts = take(options, *names, "tags", "type", "series_description", "quality", "date", *_LEVEL_NAMES)
    given = {name: str(value) for name, value in texts.items() if value is not None}
    if "project" not in given:
        raise UsageError("no project is named; use -p/--project ID")
    flags = {name: bool(value) for name, value in take(options, "clean_labels", "gzip", "existing_only").items()}
    rules = replace(MappingRules(given.pop("project")), **flags)  # type: ignore[arg-type]  # all of them are flags
    return replace(rules, **given)  # type: ignore[arg-type]  # every text field of the rules has an option of its name
