"""``demo``: pushes sample data to a temporary archive."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from xnatferry.cli.options import screen_from

if TYPE_CHECKING:
    from xnatferry.client.remote import Remote
    from xnatferry.console.screen import Screen

_PROJECT = "FERRY_DEMO"
_WHAT_NEXT = """
Next steps
  xnatferry check  FOLDER              read and validate your data; uses no network
  xnatferry plan   FOLDER -p PROJECT   show what a push would do
  xnatferry push   FOLDER -p PROJECT   upload to the archive of this computer, or to an XNAT with --server URL
  xnatferry serve                      run the archive as a server; its web pages at http://127.0.0.1:8080/
                                       show scans, files and receipts"""


@click.command("demo")
@click.option("-q", "--quiet", is_flag=True, help="Print only results and errors.")
def demo_command(**options: object) -> int:
    """Try xnatferry with sample data and a temporary archive.

    Pushes sample images and a FreeSurfer subject, verifies them, pushes them again, and reads one number.
    """
    from xnatferry.client.remote import Remote
    from xnatferry.client.settings import Connection, Secret
    from xnatferry.samples import write_to
    from xnatferry.server.archive import running_archive

    screen = screen_from({**options, "json": False, "verbose": False, "yes": True})
    started = time.monotonic()
    with TemporaryDirectory(prefix="xnatferry-demo-") as name:
        data = write_to(Path(name) / "data")
        with running_archive(Path(name) / "archive") as running:
            connection = Connection(running.url, running.user, Secret(running.password), source="of the demo archive")
            with Remote(connection) as remote:
                code = _run_steps(screen, remote, data.nifti, data.freesurfer)
    screen.lines([f"\nThe demo took {time.monotonic() - started:.1f} s. Its archive is deleted."])
    screen.lines([_WHAT_NEXT])
    return code


def _run_steps(screen: Screen, remote: Remote, images: Path, subjects: Path) -> int:
    from xnatferry.console.tree_view import tree_lines
    from xnatferry.results.remote_tree import read_tree
    from xnatferry.xnat.model import Address

    codes = []
    _title(screen, f"1. xnatferry push {images.name} -p {_PROJECT}")
    codes.append(_push(screen, remote, images))
    _title(screen, f"2. xnatferry push {subjects.name} -p {_PROJECT} --allow-incomplete")
    codes.append(_push(screen, remote, subjects))
    _title(screen, "3. The same push again")
    codes.append(_push(screen, remote, images))
    _title(screen, f"4. xnatferry list {_PROJECT}")
    nodes = read_tree(remote, Address(_PROJECT))
    screen.lines(tree_lines(nodes))
    _title(screen, "5. One number from the archive")
    screen.lines([_hippocampus(remote, images.parent)])
    return max(codes)


def _title(screen: Screen, text: str) -> None:
    from rich.text import Text

    screen.lines([Text(f"\n{text}", style="bold cyan")])


def _push(screen: Screen, remote: Remote, source: Path) -> int:
    from xnatferry import pipeline
    from xnatferry.cli.push import show_plan
    from xnatferry.cli.push_run import PushOptions, push_plan
    from xnatferry.planning.mapping import MappingRules
    from xnatferry.sources.discovery import discover

    discovery = discover(source, allow_incomplete=True)
    plan = pipeline.plan(discovery, remote, MappingRules(project=_PROJECT))
    plan = replace(plan, local=True)
    show_plan(plan, screen)
    return push_plan(plan, remote, screen, PushOptions())


def _hippocampus(remote: Remote, folder: Path) -> str:
    """The volume of the left hippocampus, from the aseg table in the archive."""
    from xnatferry.xnat.model import Address, Level

    for row in remote.list_sessions(_PROJECT):
        session = Address(_PROJECT, row["subject_label"], row["label"])
        for resource in remote.list_resources(session):
            address = session.child(Level.RESOURCE, resource["label"])
            for file in remote.list_files(address):
                if file.name.endswith("stats/aseg.stats"):
                    fetched = folder / "aseg.stats"
                    remote.get_file(address.child(Level.FILE, file.name), fetched)
                    lines = fetched.read_text(encoding="utf-8").splitlines()
                    columns = next(line.split() for line in lines if "Left-Hippocampus" in line)
                    return f"{address}/files/{file.name}\nLeft-Hippocampus  {columns[3]} mm³"
    return "no aseg.stats in the archive"
