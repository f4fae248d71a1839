"""The catalogue of findings: stable id, severity and title of each.

docs/findings.md explains each finding; a test compares both lists. An id is never reused for another meaning.
"""

from __future__ import annotations

from sys import intern
from typing import TYPE_CHECKING

from xnatferry.sources.model import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_ERROR, _WARNING, _INFO = Severity.ERROR, Severity.WARNING, Severity.INFO

#: Severity and title by id.
CATALOGUE: Mapping[str, tuple[Severity, str]] = {
    "NII01": (_ERROR, "file is empty"),
    "NII02": (_ERROR, "not a regular file"),
    "NII03": (_ERROR, "cannot be read"),
    "NII04": (_ERROR, "content is missing (broken link, git-annex or Git LFS pointer)"),
    "NII05": (_ERROR, "web page saved as an image"),
    "NII06": (_ERROR, "DICOM file with a NIfTI name"),
    "NII07": (_ERROR, "named .gz, but not compressed"),
    "NII08": (_ERROR, "compressed, but not named .gz"),
    "NII09": (_ERROR, "gzip stream is truncated or damaged"),
    "NII10": (_ERROR, "not a NIfTI image"),
    "NII11": (_ERROR, "invalid header"),
    "NII12": (_ERROR, "fewer bytes than the header states"),
    "NII13": (_WARNING, "more bytes than the header states"),
    "NII14": (_ERROR, "incomplete .hdr/.img pair"),
    "NII15": (_ERROR, "Analyze 7.5, not NIfTI"),
    "NII16": (_WARNING, "doubtful voxel size, unit or repetition time"),
    "NII17": (_WARNING, "no orientation"),
    "NII18": (_ERROR, "several images share one name"),
    "NII19": (_INFO, "files that are not uploaded"),
    "NII20": (_ERROR, "path matches no template"),
    "NII21": (_ERROR, "ambiguous template"),
    "NII22": (_ERROR, "nothing to upload"),
    "NII23": (_WARNING, "duplicate image"),
    "NII24": (_WARNING, "bytes after the end of the gzip stream"),
    "NII25": (_ERROR, "file name is not UTF-8"),
    "NII26": (_ERROR, "subject folder is named like an image type"),
    "NII27": (_WARNING, "folder name is not used"),
    "NII28": (_WARNING, "data that is not uploaded"),
    "NII34": (_WARNING, "name and sidecar give different series numbers"),
    "NII35": (_ERROR, "path names two subjects or sessions"),
    "SID01": (_ERROR, "sidecar cannot be read"),
    "SID02": (_WARNING, "sidecar and header disagree"),
    "SID03": (_WARNING, "value is not possible"),
    "DWI01": (_ERROR, "gradient table does not match the image"),
    "DWI02": (_ERROR, "gradient table cannot be read"),
    "DWI03": (_WARNING, "unusual gradient table"),
    "DWI04": (_WARNING, "diffusion image without gradient tables"),
    "PRV01": (_ERROR, "sidecar or table names a person"),
    "PRV02": (_WARNING, "sidecar identifies a place, a device or a date"),
    "PRV03": (_WARNING, "header text may identify a person"),
    "PRV04": (_WARNING, "header extension"),
    "PRV05": (_ERROR, "header extension names a person"),
    "PRV06": (_WARNING, "path may identify a person"),
    "PRV07": (_WARNING, "table may identify people"),
    "PRV08": (_WARNING, "report, log or text identifies people"),
    "PRV09": (_INFO, "face may be visible"),
    "PRV10": (_WARNING, "image may contain burned-in text"),
    "PRV11": (_WARNING, "scrubbed for the upload"),
    "PRV12": (_ERROR, "cannot be scrubbed"),
    "PRV13": (_WARNING, "gzip header contains text"),
    "BIDS01": (_ERROR, "dataset_description.json is missing"),
    "BIDS02": (_ERROR, "dataset_description.json cannot be read"),
    "BIDS03": (_WARNING, "dataset_description.json is incomplete"),
    "BIDS04": (_WARNING, "not a BIDS name"),
    "BIDS05": (_WARNING, "paths differ only in case"),
    "BIDS06": (_ERROR, "two images for one scan"),
    "BIDS07": (_ERROR, "subject labels differ only in case"),
    "BIDS08": (_WARNING, "table cannot be used"),
    "BIDS09": (_WARNING, "table has invalid rows"),
    "BIDS10": (_WARNING, "participants.tsv and folders disagree"),
    "BIDS11": (_INFO, "columns without an XNAT field"),
    "BIDS12": (_WARNING, "IntendedFor names a missing file"),
    "BIDS13": (_INFO, "files listed in .bidsignore"),
    "BIDS14": (_WARNING, "files that are not uploaded"),
    "BIDS15": (_WARNING, "scans table names missing files"),
    "BIDS16": (_WARNING, "table contains birth dates or ages above 89"),
    "BIDS17": (_ERROR, "folder or file cannot be read"),
    "BIDS18": (_WARNING, "derivatives of unknown subjects"),
    "BIDS19": (_ERROR, "no subject or session selected"),
    "BIDS20": (_ERROR, "error of the official BIDS validator"),
    "BIDS21": (_WARNING, "warning of the official BIDS validator"),
    "BIDS22": (_WARNING, "table without a header"),
    "BIDS23": (_WARNING, "required metadata are missing"),
    "BIDS24": (_WARNING, "unexpected number of axes"),
    "BIDS25": (_WARNING, "values do not match the volumes"),
    "BIDS26": (_WARNING, "required file is missing"),
    "BIDS27": (_WARNING, "empty file"),
    "BIDS28": (_WARNING, "several metadata files apply"),
    "PIC01": (_INFO, "no snapshot possible"),
    "TAB01": (_ERROR, "table cannot be read"),
    "TAB02": (_ERROR, "column is missing or duplicated"),
    "TAB03": (_WARNING, "unknown column"),
    "TAB04": (_ERROR, "required cell is empty"),
    "TAB05": (_ERROR, "file not found"),
    "TAB06": (_ERROR, "file listed twice"),
    "TAB07": (_ERROR, "not a date"),
    "TAB08": (_ERROR, "unknown quality"),
    "TAB09": (_ERROR, "row has too many cells"),
    "TAB10": (_ERROR, "two rows for one scan"),
    "TAB11": (_ERROR, "unknown kind of file, and no resource given"),
    "TAB12": (_ERROR, "misspelt column"),
    "TAB13": (_WARNING, "cell and path name different subjects"),
    "TAB14": (_ERROR, "labels differ only in zeros"),
    "TAB15": (_WARNING, "hidden rows are not used"),
    "FS01": (_ERROR, "files of a complete run are missing or empty"),
    "FS02": (_ERROR, "run did not finish"),
    "FS03": (_WARNING, "version is inferred or unknown"),
    "FS04": (_ERROR, "file is damaged"),
    "FS05": (_ERROR, "volumes have different grids"),
    "FS06": (_WARNING, "segmentation is incomplete"),
    "FS07": (_ERROR, "surfaces and their values have different vertex counts"),
    "FS08": (_WARNING, "many surface defects"),
    "FS09": (_ERROR, "statistics file cannot be parsed"),
    "FS10": (_WARNING, "measure outside the usual range"),
    "FS11": (_WARNING, "Talairach transform is doubtful"),
    "FS12": (_INFO, "image quality"),
    "FS13": (_WARNING, "files name another subject"),
    "FS14": (_WARNING, "link that is not uploaded"),
    "FS15": (_INFO, "logs name user, host and folders"),
    "FS16": (_INFO, "not uploaded as a subject"),
    "FS17": (_INFO, "files that are not uploaded"),
    "FS18": (_ERROR, "archive is not usable"),
    "FS19": (_ERROR, "broken link"),
    "FS20": (_ERROR, "base of a longitudinal series"),
    "FS21": (_WARNING, "high-resolution run"),
    "FS22": (_INFO, "archive is repacked"),
    "FS23": (_ERROR, "files of two FreeSurfer versions"),
    "FS24": (_INFO, "result of the BBRC validator rules"),
    "FS25": (_INFO, "no session on the server"),
    "FS26": (_INFO, "segmentation without surfaces"),
    "FS27": (_ERROR, "path and files name different subjects"),
    "FIL01": (_WARNING, "files that are not uploaded"),
    "FIL02": (_ERROR, "result file cannot be read"),
    "FIL03": (_ERROR, "two files with one name"),
    "FIL04": (_ERROR, "result without files"),
    "FIL05": (_ERROR, "data file is empty or truncated"),
    "FLD01": (_WARNING, "pages do not show custom fields"),
    "TYP01": (_WARNING, "session type is not set up"),
}


def found(
    finding_id: str,
    message: str,
    path: Path | None = None,
    *,
    line: int | None = None,
    file: str = "",
    seen: str = "",
    expected: str = "",
) -> Finding:
    """A finding with the severity of its id in the catalogue; *seen* is what was found in *file*."""
    severity = CATALOGUE[finding_id][0]
    message = intern(message)  # thousands of images give the same message
    return Finding(finding_id, severity, message, path, line, file=file, found=seen, expected=expected)


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first *most* names and the number of the others."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
