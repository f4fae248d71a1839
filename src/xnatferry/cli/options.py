"""The options that several commands share, and what they come to."""

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

__all__ = [
    "BWLIMIT",
    "DEEP",
    "DEPTH",
    "MAX_BODY",
    "MAX_SESSIONS",
    "REPORT",
    "SHARD",
    "SOURCE",
    "WORKERS",
    "mapping_options",
    "output_options",
    "rate_limit_from",
    "read_source",
    "rules_from",
    "screen_from",
    "selection_from",
    "selection_options",
    "server_options",
    "shard_from",
    "size_from",
    "source_options",
    "take",
    "together",
    "workers_from",
]

P = ParamSpec("P")
R = TypeVar("R")

#: Existence is checked by discovery, whose words are better than the option parser's.
SOURCE = click.argument("source", type=click.Path(path_type=Path))
WORKERS = click.option("--workers", type=click.IntRange(1, 32), default=4, show_default=True, help="Transfers at once.")

MAX_SESSIONS = click.option(
    "--max-sessions", type=click.IntRange(1), metavar="N", help="Only the first N sessions that need something."
)
SHARD = click.option(
    "--shard",
    metavar="I/N",
    help="Only the I-th of N shares, for the I-th job of an array; shares are whole subjects and do not overlap.",
)
BWLIMIT = click.option("--bwlimit", metavar="RATE", help="Bytes a second for all transfers together: 500k, 2.5M.")

DEEP = click.option(
    "--deep", is_flag=True, help="Read FreeSurfer volumes and surfaces to their end, not only their headers."
)

DEPTH = click.option(
    "--depth", type=click.IntRange(0), metavar="N", help="Levels of the tree below its root; 0 is the root alone."
)

REPORT = click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a page about the run: tree, pictures, findings, what stands out. FILE.html.",
)

MAX_BODY = click.option(
    "--max-body", metavar="SIZE", help="Bytes of files in one request, where a server or proxy takes no more: 100M, 1G."
)

_SELECTION = (
    click.option(
        "--only",
        multiple=True,
        metavar="PATTERN",
        help="Subjects or sessions to carry: 'sub-0*', 'SUBJECT/SESSION'. May be repeated.",
    ),
    click.option("--exclude", multiple=True, metavar="PATTERN", help="Subjects or sessions to leave out."),
)
_SERVER = (
    click.option("-s", "--server", metavar="URL|local", help="XNAT server, or 'local' for this computer's archive."),
    click.option("-u", "--user", metavar="NAME", help="Login name."),
    click.option("--password", metavar="TEXT", help="Password; better in XNAT_PASS, --config or ~/.netrc."),
    click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="JSON with server, user, password (pyxnat, bxl).",
    ),
    click.option(
        "--profile",
        metavar="NAME",
        shell_complete=completes(profile_names),
        help="Server and account that 'xnatferry login' has remembered.",
    ),
    click.option("--ca", type=click.Path(path_type=Path), metavar="FILE", help="Certificate authorities (PEM)."),
    click.option("--insecure", is_flag=True, help="Do not check the server's certificate."),
)
_OUTPUT = (
    click.option("--json", is_flag=True, help="One JSON object a line on stdout, nothing else there."),
    click.option("-q", "--quiet", is_flag=True, help="Only results and errors."),
    click.option("-v", "--verbose", is_flag=True, help="Every file and every note."),
)
_SOURCE = (
    click.option(
        "--as",
        "kind",
        type=click.Choice(["nifti", "bids", "freesurfer", "table", "files"]),
        help="What SOURCE is, where it is not recognised by itself.",
    ),
    click.option(
        "--template",
        "templates",
        multiple=True,
        metavar="TEXT",
        help="Where labels stand in a path: '{subject}/{session}/{type}.nii.gz', or 're:' and a regular expression "
        "with groups (?P<subject>...). The first that matches counts.",
    ),
    click.option(
        "--rules",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="TOML file with more rules that recognise results of programs.",
    ),
    click.option(
        "--allow-incomplete",
        is_flag=True,
        help="Carry incomplete FreeSurfer subjects, and BIDS images that are empty or cut off.",
    ),
    click.option(
        "--force",
        is_flag=True,
        help="Carry a BIDS dataset in which the official validator finds errors, with its report.",
    ),
    click.option(
        "--scrub",
        is_flag=True,
        help="Take out, on the way, what the privacy check flags; your files stay as they are (docs/privacy.md).",
    ),
    click.option("--allow-private", is_flag=True, help="Carry files that name a person, which otherwise stay behind."),
    click.option("--sourcedata", is_flag=True, help="Carry the sourcedata folder of a BIDS dataset."),
    click.option(
        "--custom-fields", is_flag=True, help="BIDS table columns without an XNAT field become custom fields."
    ),
)
_MAPPING = (
    click.option(
        "-p",
        "--project",
        metavar="ID",
        shell_complete=completes(project_names),
        help="Project to push into; created where missing.",
    ),
    click.option("--subject", metavar="LABEL", help="Subject of everything in SOURCE."),
    click.option("--session", metavar="LABEL", help="Session of everything in SOURCE."),
    click.option("--session-template", metavar="TEXT", help="Session label from the subject  [{subject}_MR1]"),
    click.option("--session-type", metavar="TYPE", help="MR, PET, CT, ... or an XNAT data type  [MR]"),
    click.option("--resource", metavar="LABEL", help="Resource label  [NIFTI; FREESURFER and its major version]"),
    click.option(
        "--level",
        type=click.Choice(["project", "subject", "session", "scan", "assessor"]),
        help="What results of other programs hang on  [session]",
    ),
    click.option("--assessor", metavar="TEXT", help="Assessor label from the session  [{session}_RESOURCE]"),
    click.option("--assessor-type", metavar="TYPE", help="XNAT data type of the assessor  [xnat:qcAssessmentData]"),
    click.option("--format", metavar="TEXT", help="Format of the resource  [NIFTI]"),
    click.option("--content", metavar="TEXT", help="Content of the resource  [NIFTI_RAW]"),
    click.option("--tags", metavar="TEXT", help="Tags of the resource."),
    click.option("--type", metavar="TEXT", help="Scan type of every image."),
    click.option("--series-description", metavar="TEXT", help="Series description of every scan."),
    click.option("--quality", metavar="TEXT", help="Quality of every scan  [usable]"),
    click.option("--date", metavar="YYYY-MM-DD", help="Date of new sessions."),
    click.option("--clean-labels", is_flag=True, help="Use the proposed label where XNAT refuses the one found."),
    click.option(
        "--existing-only", is_flag=True, help="Keep back what would make a new subject or session on the server."
    ),
    click.option("--gzip", is_flag=True, help="Compress .nii to .nii.gz while sending."),
)


def together(
    *options: Callable[[Callable[P, R]], Callable[P, R]],
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Several options as one; the help shows them in this order."""

    def add(command: Callable[P, R]) -> Callable[P, R]:
        return functools.reduce(lambda made, option: option(made), reversed(options), command)

    return add


def server_options(command: Callable[P, R]) -> Callable[P, R]:
    """``-s``, ``-u``, ``--password``, ``--config``, ``--profile``, ``--ca``, ``--insecure``."""
    return together(*_SERVER)(command)


def output_options(command: Callable[P, R]) -> Callable[P, R]:
    """``--json``, ``-q``, ``-v``."""
    return together(*_OUTPUT)(command)


def source_options(command: Callable[P, R]) -> Callable[P, R]:
    """What SOURCE is, and what of it is carried: ``--as``, ``--template``, ``--scrub`` and the like."""
    return together(*_SOURCE)(command)


def selection_options(command: Callable[P, R]) -> Callable[P, R]:
    """``--only``, ``--exclude``."""
    return together(*_SELECTION)(command)


def mapping_options(command: Callable[P, R]) -> Callable[P, R]:
    """Everything that says where things go and what they are."""
    return together(*_MAPPING)(command)


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
        UsageError: It is no share.
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
        raise UsageError(f"--bwlimit {text}: write bytes a second, such as 500k or 2.5M")
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
        raise UsageError(f"--max-body {text}: write bytes, such as 100M or 1.5G")
    return int(size)


def _scaled(text: str) -> float:
    """A number with k, M or G behind it; 0 when it is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKmMgG]?)", text)
    return float(found[1]) * {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}[found[2].lower()] if found else 0.0


def screen_from(options: dict[str, object]) -> Screen:
    """The screen that ``--json``, ``-q``, ``-v`` and ``--yes`` describe."""
    from xnatferry.console.screen import Screen

    chosen = {name: bool(value) for name, value in take(options, "json", "quiet", "verbose", "yes").items()}
    return Screen(json=chosen["json"], quiet=chosen["quiet"], verbose=chosen["verbose"], yes=chosen.get("yes", False))


def read_source(source: Path, options: dict[str, object], screen: Screen) -> Discovery:
    """Discover *source* as its options say.

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
    discovery = discover(
        source,
        kind=Kind(str(kind)) if kind else None,
        template=templates if isinstance(templates, tuple) else (),
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
        raise DataError(f"{source}: nothing in it that could be pushed")
    return discovery


def _bids_choices(options: dict[str, object]) -> BidsChoices:
    from xnatferry.sources.bids.dataset import BidsChoices

    flags = take(options, "sourcedata", "custom_fields", "force")
    only, exclude = options.get("only"), options.get("exclude")
    selection = selection_from({"only": only or (), "exclude": exclude or ()})
    return BidsChoices(
        takes=selection.takes_part,
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
    said = {name: str(value) for name, value in texts.items() if value is not None}
    if "project" not in said:
        raise UsageError("which project? say it with -p/--project")
    flags = {name: bool(value) for name, value in take(options, "clean_labels", "gzip", "existing_only").items()}
    rules = replace(MappingRules(said.pop("project")), **flags)  # type: ignore[arg-type]  # all of them are flags
    return replace(rules, **said)  # type: ignore[arg-type]  # every text field of the rules has an option of its name
