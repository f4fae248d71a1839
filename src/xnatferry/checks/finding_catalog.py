"""Every finding that local data can give: its stable id, how much it weighs, and its title.

docs/findings.md says for each what it means and what to do; a test keeps both in step. Ids are never given a second
meaning.
"""

from __future__ import annotations

from sys import intern
from typing import TYPE_CHECKING

from xnatferry.sources.model import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["CATALOGUE", "found", "listed"]

_ERROR, _WARNING, _INFO = Severity.ERROR, Severity.WARNING, Severity.INFO

#: Severity and title by id.
CATALOGUE: Mapping[str, tuple[Severity, str]] = {
    "NII01": (_ERROR, "file is empty"),
    "NII02": (_ERROR, "not a regular file"),
    "NII03": (_ERROR, "cannot be read"),
    "NII04": (_ERROR, "content is elsewhere (dangling link, git-annex or Git LFS pointer)"),
    "NII05": (_ERROR, "a web page in place of an image"),
    "NII06": (_ERROR, "DICOM under a NIfTI name"),
    "NII07": (_ERROR, "named as gzip, but not compressed"),
    "NII08": (_ERROR, "compressed, but not named so"),
    "NII09": (_ERROR, "gzip stream is cut off or damaged"),
    "NII10": (_ERROR, "not a NIfTI image"),
    "NII11": (_ERROR, "header contradicts itself"),
    "NII12": (_ERROR, "holds fewer bytes than its header promises"),
    "NII13": (_WARNING, "holds more bytes than its header promises"),
    "NII14": (_ERROR, "half of a .hdr/.img pair"),
    "NII15": (_ERROR, "Analyze 7.5, not NIfTI"),
    "NII16": (_WARNING, "voxel size, unit or orientation is doubtful"),
    "NII17": (_WARNING, "no place in space"),
    "NII18": (_ERROR, "several images share one name"),
    "NII19": (_INFO, "files that stay behind"),
    "NII20": (_ERROR, "matches no template"),
    "NII21": (_ERROR, "a template reads it in two ways"),
    "NII22": (_ERROR, "nothing to carry"),
    "NII23": (_WARNING, "same bytes twice"),
    "NII24": (_WARNING, "bytes after the end of the gzip stream"),
    "NII25": (_ERROR, "a name that is not UTF-8"),
    "NII26": (_ERROR, "subject named as a kind of image"),
    "NII27": (_WARNING, "folder that says nothing"),
    "SID01": (_ERROR, "sidecar cannot be read"),
    "SID02": (_WARNING, "sidecar and header disagree"),
    "DWI01": (_ERROR, "gradient table does not fit the image"),
    "DWI02": (_ERROR, "gradient table cannot be read"),
    "DWI03": (_WARNING, "gradient table is unusual"),
    "PRV01": (_ERROR, "sidecar names a person"),
    "PRV02": (_WARNING, "sidecar identifies a place, a device or a day"),
    "PRV03": (_WARNING, "header text may identify a person"),
    "PRV04": (_WARNING, "header extension"),
    "PRV05": (_ERROR, "header extension names a person"),
    "PRV06": (_WARNING, "name may identify a person"),
    "PRV07": (_WARNING, "table may identify people"),
    "PRV08": (_WARNING, "report or log tells who ran it"),
    "PRV09": (_INFO, "not evidently defaced"),
    "PRV10": (_WARNING, "picture that may hold text"),
    "PRV11": (_WARNING, "scrubbed on the way"),
    "PRV12": (_ERROR, "cannot be scrubbed"),
    "BIDS01": (_ERROR, "dataset_description.json is missing"),
    "BIDS02": (_ERROR, "dataset_description.json cannot be read"),
    "BIDS03": (_WARNING, "dataset description is not complete"),
    "BIDS04": (_WARNING, "name is not BIDS"),
    "BIDS05": (_WARNING, "paths differ in case alone"),
    "BIDS06": (_ERROR, "two images for one scan"),
    "BIDS07": (_ERROR, "subject labels differ in case alone"),
    "BIDS08": (_WARNING, "table cannot be used"),
    "BIDS09": (_WARNING, "table has odd rows"),
    "BIDS10": (_WARNING, "participants and folders disagree"),
    "BIDS11": (_INFO, "columns without an XNAT field"),
    "BIDS12": (_WARNING, "IntendedFor leads nowhere"),
    "BIDS13": (_INFO, "files apart, as .bidsignore says"),
    "BIDS14": (_WARNING, "not carried"),
    "BIDS15": (_WARNING, "scans table names files that are not there"),
    "BIDS16": (_WARNING, "table tells a birth date or a great age"),
    "BIDS17": (_ERROR, "folder or file cannot be read"),
    "BIDS18": (_WARNING, "derivatives of unknown subjects"),
    "BIDS19": (_ERROR, "nothing of it is asked for"),
    "BIDS20": (_ERROR, "error of the official validator"),
    "BIDS21": (_WARNING, "warning of the official validator"),
    "BIDS22": (_WARNING, "table without a header"),
    "PIC01": (_INFO, "no picture can be made"),
    "TAB01": (_ERROR, "table cannot be read"),
    "TAB02": (_ERROR, "column is missing or stands twice"),
    "TAB03": (_WARNING, "column is not known"),
    "TAB04": (_ERROR, "required cell is empty"),
    "TAB05": (_ERROR, "file is not there"),
    "TAB06": (_ERROR, "file stands in two rows"),
    "TAB07": (_ERROR, "not a date"),
    "TAB08": (_ERROR, "not a quality"),
    "TAB09": (_ERROR, "row has too many cells"),
    "TAB10": (_ERROR, "two rows claim one place"),
    "TAB11": (_ERROR, "neither image nor FreeSurfer subject, and no resource given"),
    "TAB12": (_ERROR, "column looks misspelt"),
    "FS01": (_ERROR, "files of a complete run are missing or empty"),
    "FS02": (_ERROR, "run did not finish"),
    "FS03": (_WARNING, "version is inferred or unknown"),
    "FS04": (_ERROR, "file is damaged"),
    "FS05": (_ERROR, "volumes do not share one grid"),
    "FS06": (_WARNING, "segmentation is incomplete"),
    "FS07": (_ERROR, "surfaces and their values have different vertex counts"),
    "FS08": (_WARNING, "many holes in the surfaces before fixing"),
    "FS09": (_ERROR, "statistics file cannot be parsed"),
    "FS10": (_WARNING, "measure is out of the usual range"),
    "FS11": (_WARNING, "Talairach transform is doubtful"),
    "FS12": (_INFO, "signal to noise"),
    "FS13": (_WARNING, "subject has another name inside"),
    "FS14": (_WARNING, "link that is left out"),
    "FS15": (_WARNING, "logs name user, host and folders"),
    "FS16": (_INFO, "not carried as a subject"),
    "FS17": (_INFO, "files that stay behind"),
    "FS18": (_ERROR, "archive cannot be used"),
    "FS19": (_ERROR, "link whose target is missing"),
    "FS20": (_ERROR, "longitudinal base belongs to no session"),
    "FS21": (_WARNING, "high-resolution run"),
    "FS22": (_INFO, "archive is packed anew"),
    "FS23": (_ERROR, "files of two versions are mixed"),
    "FS24": (_INFO, "what BBRC's validator would say"),
    "FS25": (_INFO, "no session on the server"),
    "FIL01": (_WARNING, "files that stay behind"),
    "FIL02": (_ERROR, "a file of a result cannot be read"),
    "FIL03": (_ERROR, "two files for one place"),
    "FIL04": (_ERROR, "a result without files"),
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
    """A finding with the severity that its id has in the catalogue; *seen* is what was found in *file*."""
    severity = CATALOGUE[finding_id][0]
    message = intern(message)  # thousands of images have the same doubts
    return Finding(finding_id, severity, message, path, line, file=file, found=seen, expected=expected)


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first *most* names and the number of the others."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
