r"""Labels from the path of an image, when no template is given.

The first rule that matches is used:

1. ``.../SESSION/scans/ID-TYPE/resources/LABEL/files/...``: a tree as XNAT downloads it. Nothing is guessed.
2. A part ``sub-01`` (of a folder or of the file's name) gives subject ``01``, ``ses-2`` session ``01_2``; the name's
   last part is the type: ``sub-01/ses-2/anat/sub-01_ses-2_run-1_T1w.nii.gz`` is a ``T1w`` described as ``run-1_T1w``.
3. ``SUBJECT/SESSION/NUMBER_SERIES/any.nii.gz``: scan NUMBER of type SERIES; the session is ``SUBJECT_SESSION``, or
   SESSION when that begins with the subject, as a word, already.
4. ``SUBJECT/SESSION/TYPE.nii.gz``: likewise, the type from the file's name. A folder named after a kind of image
   (``anat``, ``func``, ``dwi``, ``nifti`` ...) is no session.
5. ``SUBJECT/TYPE.nii.gz``. The subject in front of the file's name is not taken into the type.
6. ``SUBJECT_TYPE.nii.gz``, where TYPE begins with a known word (``T1``, ``bold``, ``dwi`` ...); a file named by such a
   word alone has no subject.
7. ``SUBJECT.nii.gz``.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from xnatferry.sources.model import Claims

_DOWNLOAD: Final = re.compile(
    r"(?:.*/)?(?P<session>[^/]+)/scans/(?P<scan>[A-Za-z0-9_]+)(?:-(?P<type>[^/]+))?"
    r"/resources/(?P<resource>[^/]+)/(?:files/)?.+"
)
_ENTITY: Final = re.compile(r"(?:^|[/_])(sub|ses)-([A-Za-z0-9+]+)(?=[/_.]|$)")
_NUMBERED: Final = re.compile(r"0*([0-9]+)[-_. ](.+)")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8}(?:[0-9]{6})?")
_STUDY_TIME: Final = re.compile(r"(?<![0-9])(?:19|20)[0-9]{6}(?:[01][0-9]|2[0-3])[0-5][0-9][0-5][0-9](?![0-9])")
#: Folders that sort images by kind within a subject or session.
_KINDS: Final = frozenset(
    [
        *("anat", "func", "dwi", "fmap", "perf", "pet", "mrs", "beh", "eeg", "meg", "ieeg", "nirs", "motion", "micr"),
        *("nifti", "nii", "niftis", "mri", "mr", "images", "raw", "unprocessed"),
    ]
)
_TYPE_WORDS: Final = re.compile(
    r"(t1|t2|pd|flair|mprage|mp2rage|spgr|bravo|tfe|dwi|dti|hardi|bold|fmri|func|rest|rs|task|asl|pcasl|swi|qsm"
    r"|fieldmap|b0map|fmap|epi|adc|fa|md|anat|pet|ct|inv|unit1|tof|mra|localizer|sbref|gre)(w|[0-9]+|star)?"
    r"(?=[^A-Za-z]|$)",
    re.IGNORECASE,
)


def claims_of_path(relative: str, stem: str) -> Claims:
    """The labels that a path gives to an image.

    Args:
        relative: Path below the root of discovery, with ``/``.
        stem: The file's name without the ending of the image.
    """
    if (match := _DOWNLOAD.fullmatch(relative)) is not None:
        return Claims(
            session=match["session"], scan=match["scan"], type=match["type"], resource=match["resource"].upper()
        )
    entities = entities_of(relative)
    if "sub" in entities:
        return _claims_of_entities(entities, stem)
    places = _places(relative)
    if not places:
        return _claims_of_name(stem)
    subject = places[0]
    session = joined_session(subject, places[1]) if len(places) > 1 else None
    if len(places) > 2 and (match := _NUMBERED.fullmatch(places[-1])) is not None:
        return Claims(subject=subject, session=session, scan=match[1], type=match[2])
    return Claims(subject=subject, session=session, type=_without(subject, places[1:2], stem))


def names_its_place(relative: str) -> bool:
    """Whether a path says what each part of it is (rules 1 and 2), so that nothing is guessed."""
    return _DOWNLOAD.fullmatch(relative) is not None or "sub" in entities_of(relative)


def problem_of_path(relative: str) -> tuple[str, str] | None:
    """Finding id and message when the rules may have misread a path, else None."""
    if _DOWNLOAD.fullmatch(relative) is not None:
        return None
    for entity, word in (("sub", "subjects"), ("ses", "sessions")):
        labels = dict.fromkeys(match[2] for match in _ENTITY.finditer(relative) if match[1] == entity)
        if len(labels) > 1:
            why = f"the path names {len(labels)} {word}: {', '.join(labels)}"
            return "NII35", f"{why}; rename the file or its folder, or use --subject, --template or a table"
    if "sub" in entities_of(relative):
        return None
    places = _places(relative)
    if places and (match := _TYPE_WORDS.match(places[0])) is not None and match.end() == len(places[0]):
        why = f"the folder {places[0]!r} would be the subject, but it is named like an image type"
        return "NII26", f"{why}; use a template such as --template '{{type}}/{{subject}}.nii.gz', or a table"
    unread = places[2:] if len(places) < 3 or _NUMBERED.fullmatch(places[-1]) is None else places[2:-1]
    if unread:
        why = f"subject {places[0]!r}, session {places[1]!r}: the folder {', '.join(map(repr, unread))}"
        return "NII27", f"{why} is not used; if it is a label, use --template or a table"
    return None


def subject_folder(relative: str) -> str | None:
    """The folder that rules 3-5 take for the subject of an image, else None."""
    if _DOWNLOAD.fullmatch(relative) is not None or "sub" in entities_of(relative):
        return None
    return next(iter(_places(relative)), None)


def _places(relative: str) -> list[str]:
    """Folders that may be labels."""
    return [folder for folder in relative.split("/")[:-1] if folder.lower() not in _KINDS]


def claims_of_folder(name: str) -> Claims:
    """Labels from the name of a results folder: ``sub-01_ses-2`` as for images, else the subject's label."""
    entities = entities_of(name)
    if "sub" in entities:
        subject = entities["sub"]
        session = f"{subject}_{entities['ses']}" if "ses" in entities else None
        return Claims(subject=subject, session=session)
    return Claims(subject=name)


def iso_date(text: str) -> str | None:
    """A date as ``yyyy-mm-dd``, also when written without hyphens or followed by the time; None if it is none."""
    digits = text.replace("-", "")[:8]
    try:
        return date.fromisoformat(digits).isoformat() if _DATE.fullmatch(text) else None
    except ValueError:
        return None


def date_in_name(stem: str) -> str | None:
    """The date of the study in a name by dcm2niix (``%t``: ``P1_T1_20240501093000_2``), as ``yyyy-mm-dd``."""
    return next((day for match in _STUDY_TIME.finditer(stem) if (day := iso_date(match[0])) is not None), None)


def joined_session(subject: str, session: str) -> str:
    """A session label that is unique in a project, as XNAT requires: it begins with the subject's label as a word.

    >>> joined_session("P7", "P7_MR2"), joined_session("1", "10"), joined_session("1", "1")
    ('P7_MR2', '1_10', '1_1')
    """
    after = session[len(subject) :]
    begins = session.casefold().startswith(subject.casefold()) and after and not after[0].isalnum()
    return session if begins else f"{subject}_{session}"


def entities_of(relative: str) -> dict[str, str]:
    """The last ``sub-`` and ``ses-`` of a path."""
    return {match[1]: match[2] for match in _ENTITY.finditer(relative)}


def _claims_of_entities(entities: dict[str, str], stem: str) -> Claims:
    subject = entities["sub"]
    session = f"{subject}_{entities['ses']}" if "ses" in entities else None
    rest = [part for part in stem.split("_") if part and not part.startswith(("sub-", "ses-"))]
    return Claims(
        subject=subject,
        session=session,
        type=rest[-1] if rest else None,
        series_description="_".join(rest) or None,
    )


def is_type_word(name: str) -> bool:
    """Whether a name begins with a word for a kind of image: ``T1w_run-01``."""
    return _TYPE_WORDS.match(name) is not None


def _claims_of_name(stem: str) -> Claims:
    for match in re.finditer(r"[_-]", stem):
        if _TYPE_WORDS.match(stem, match.end()):
            first = _TYPE_WORDS.match(stem)
            if first is not None and first.end() == match.start():  # t1_mprage names no subject
                return Claims(type=stem)
            return Claims(subject=stem[: match.start()] or None, type=stem[match.end() :])
    if _TYPE_WORDS.match(stem):
        return Claims(type=stem)
    return Claims(subject=stem)


def _without(subject: str, sessions: list[str], stem: str) -> str:
    """The stem without subject and session in front, when something is left."""
    for label in (subject, *sessions):
        if stem.casefold().startswith(label.casefold()):
            rest = stem[len(label) :]
            if rest[:1] in {"_", "-", "."} and rest[1:]:
                stem = rest[1:]
    return stem
