"""Writes reports as HTML or PDF files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xnatferry.durable import replacing
from xnatferry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xnatferry.console.screen import Screen
    from xnatferry.reports.freesurfer_report import Report
    from xnatferry.reports.import_report import Import
    from xnatferry.sources.model import Discovery

_ENDINGS = (".html", ".htm", ".pdf")


def check_page_name(path: Path) -> None:
    """Check that a report can be written to *path*, before data is read.

    Raises:
        UsageError: It cannot.
    """
    if path.suffix.lower() not in _ENDINGS:
        raise UsageError(f"{path}: not a report file; use the ending .html or .pdf")
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"{path}: cannot be written; name a file in an existing folder")
    if path.suffix.lower() == ".pdf":
        _printer()


def freesurfer_report(discovery: Discovery, screen: Screen) -> Report:
    """Read the report of the FreeSurfer subjects that were found.

    Raises:
        DataError: There are none.
    """
    from xnatferry.reports.freesurfer_report import read_report

    name = discovery.root.name or discovery.root.resolve().name
    with screen.waiting("Reading statistics, volumes and surfaces"):
        return read_report(discovery.sources, f"FreeSurfer report of {name}")


def report_of_run(name: str, path: Path, screen: Screen) -> None:
    """Write the report about a past run.

    Raises:
        UsageError: There is no such run, it carried out no plan, or the page cannot be written.
    """
    from xnatferry.cli.runs import runs_folder
    from xnatferry.reports.import_report import Import
    from xnatferry.transfer.sharded_runs import find_run

    write_import(Import.of_run(find_run(runs_folder(), name)), path, screen)


def write_import(report: Import, path: Path, screen: Screen) -> None:
    """Write the report about a push, and print its path.

    Raises:
        UsageError: It cannot be written.
    """
    with screen.waiting("Drawing the images of the report"):
        html = report.html()
    write_page(html, path)
    screen.note(f"Report: {path}")


def write_page(html: str, path: Path) -> None:
    """Write a report atomically; as PDF when the ending is .pdf.

    Raises:
        UsageError: It cannot be written.
    """
    data = _printer()(html) if path.suffix.lower() == ".pdf" else html.encode()
    try:
        with replacing(path) as part:
            part.write_bytes(data)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from None


def _printer() -> Callable[[str], bytes]:
    """A function that converts HTML to PDF.

    Raises:
        UsageError: What it needs is not installed.
    """
    try:
        from weasyprint import HTML
    except ImportError:
        raise UsageError(
            "PDF reports need WeasyPrint; install the extra: pip install 'xnatferry[report-pdf]', or write .html"
        ) from None
    except OSError as error:  # a system library is missing
        raise UsageError(
            f"PDF reports need the Pango libraries of this system ({error}); install them, or write .html"
        ) from None
    return lambda html: bytes(HTML(string=html).write_pdf())
