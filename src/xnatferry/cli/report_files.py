"""Pages that commands write: where they go, and what they are about."""

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

__all__ = ["check_page_name", "freesurfer_report", "report_of_run", "write_import", "write_page"]

_ENDINGS = (".html", ".htm", ".pdf")


def check_page_name(path: Path) -> None:
    """Look whether a page can be written to *path*, before minutes of reading.

    Raises:
        UsageError: It cannot.
    """
    if path.suffix.lower() not in _ENDINGS:
        raise UsageError(f"{path}: a report is a page; name it .html or .pdf")
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"{path}: a report is stored in a file of a folder that exists")
    if path.suffix.lower() == ".pdf":
        _printer()


def freesurfer_report(discovery: Discovery, screen: Screen) -> Report:
    """Read the report of the FreeSurfer subjects that were found.

    Raises:
        DataError: There are none.
    """
    from xnatferry.reports.freesurfer_report import read_report

    name = discovery.root.name or discovery.root.resolve().name
    with screen.waiting("reading statistics, volumes and surfaces"):
        return read_report(discovery.sources, f"FreeSurfer report of {name}")


def report_of_run(name: str, path: Path, screen: Screen) -> None:
    """Write the page about a past run.

    Raises:
        UsageError: There is no such run, it carried out no plan, or the page cannot be written.
    """
    from xnatferry.cli.state import runs_folder
    from xnatferry.reports.import_report import Import
    from xnatferry.transfer.sharded_runs import find_run

    write_import(Import.of_run(find_run(runs_folder(), name)), path, screen)


def write_import(report: Import, path: Path, screen: Screen) -> None:
    """Draw and write the page about an import, and say where it is.

    Raises:
        UsageError: It cannot be written.
    """
    with screen.waiting("drawing the images of the report"):
        html = report.html()
    write_page(html, path)
    screen.note(f"report: {path}")


def write_page(html: str, path: Path) -> None:
    """Write a page, whole or not at all; as PDF where the name says so.

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
    """Makes PDF of a page.

    Raises:
        UsageError: What it needs is not installed.
    """
    try:
        from weasyprint import HTML
    except ImportError:
        raise UsageError("a PDF needs one more package: pip install 'xnatferry[report-pdf]'; HTML needs none") from None
    except OSError as error:  # its libraries are not Python's
        raise UsageError(f"a PDF needs the Pango libraries of this system ({error}); HTML needs none") from None
    return lambda html: bytes(HTML(string=html).write_pdf())
