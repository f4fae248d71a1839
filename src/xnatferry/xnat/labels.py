"""Rules for the names that XNAT gives to things.

Sources: XNAT's ``XftStringUtils.REGEX_VALID_ID`` for ids and labels; the resource endpoints for resource labels;
``CatalogUtils`` for file names.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote, unquote

__all__ = [
    "LABEL_LIMIT",
    "clean_label",
    "decode_label",
    "encode_label",
    "label_problem",
    "remote_name_problem",
    "resource_label_problem",
    "scan_id_problem",
]

#: Longest label we send, in characters. XNAT stores up to 255; a label is also a folder name on its disk.
LABEL_LIMIT = 64

#: Longest part of a path on the disks of servers.
_PART_BYTES = 255
_LABEL = re.compile(r"[A-Za-z0-9_-]+")
# Words that make XNAT's query guard drop a resource request silently when the label holds a character such as "-".
_SQL = re.compile(r"(select|insert|update|delete|drop|alter|union|create|grant|exec)", re.IGNORECASE)
_ESCAPE = re.compile(r"-x([0-9A-F]{2})-")
_SPELLED = {"ß": "ss", "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"}


def label_problem(label: str) -> str | None:
    """Say why XNAT would refuse *label* for a project, subject, session or assessor; None when it would take it."""
    if not label.strip():
        return "it is empty"
    bad = sorted({c for c in label if not _LABEL.fullmatch(c)})
    if bad:
        return "it holds " + " ".join(repr(c) for c in bad) + "; XNAT takes letters A-Z a-z, digits, _ and -"
    if len(label) > LABEL_LIMIT:
        return f"it is {len(label)} characters long; the limit is {LABEL_LIMIT}"
    if label == "Unassigned":
        return "XNAT keeps this name for itself"
    return None


def scan_id_problem(scan_id: str) -> str | None:
    """Say why *scan_id* is not safe as an XNAT scan ID (it becomes a folder and a URL part); None when it is."""
    if scan_id.upper() in {"ALL", "NULL"}:
        return "XNAT reads it as a wildcard"
    return label_problem(scan_id)


def resource_label_problem(label: str) -> str | None:
    """Say why *label* is not safe as a resource label; None when it is.

    A label of digits only is read as a database id (``XNATTemplate``), and a label that holds both a special
    character and an SQL word makes some servers answer 200 without doing anything.
    """
    if problem := label_problem(label.replace(".", "_")):
        return problem
    if label.isdigit():
        return "it is all digits, which XNAT reads as a database id"
    if not re.fullmatch(r"[A-Za-z0-9_.]+", label) and (word := _SQL.search(label)):
        return f"it holds the word {word[0]!r} beside a '-', which XNAT drops without saying so"
    return None


def remote_name_problem(name: str, *, alone: bool = True) -> str | None:
    """Say why *name* cannot be the path of a file inside a resource; None when it can.

    Names go to the server percent-encoded; the ones refused here would be lost, hidden or escape on a real XNAT, whose
    disk keeps a name encoded unless it holds a blank or a plus, and which may decode one twice.

    Args:
        name: The path in the resource.
        alone: Whether it is sent in a URL of its own; members of an archive keep their names.
    """
    if any(0xD800 <= ord(c) <= 0xDFFF for c in name):
        return "it is not UTF-8; rename the file"
    if not name or name.startswith("/") or name.endswith("/"):
        return "a file needs a relative name"
    if problem := _unfit_problem(name):
        return problem
    if "%" in name and (problem := _unfit_problem(unquote(name))):
        return f"some servers decode it to {unquote(name)!r}, and then {problem}; rename the file"
    for part in name.split("/"):
        if len(part.encode()) > _PART_BYTES:
            return f"a part of it is {len(part.encode())} bytes long; the limit is {_PART_BYTES}"
        if alone and (encoded := len(quote(part, safe=""))) > _PART_BYTES:
            why = f"a part of it is {encoded} bytes long when percent-encoded, as XNAT keeps it on its disk"
            return f"{why}; the limit is {_PART_BYTES}, so give it a shorter name or plain letters"
    if name.endswith("_catalog.xml"):
        return "XNAT keeps names ending in _catalog.xml for its catalogs and would not list it"
    return None


def _unfit_problem(name: str) -> str | None:
    """What no folder or no XML listing of a server can hold."""
    if "\\" in name or any(unicodedata.category(c) == "Cc" for c in name):
        return "it holds a backslash or a control character"
    if odd := next((c for c in name if ord(c) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(c) <= 0xFDEF), ""):
        return f"it holds U+{ord(odd):04X}, which Unicode keeps out of texts"
    for part in name.split("/"):
        if part in {"", ".", ".."}:
            return f"it holds the path part {part!r}"
    return None


def clean_label(text: str) -> str:
    """Return the label we propose for *text*: accents dropped, every other run of bad characters made one ``_``.

    The result passes `label_problem`, or is empty when nothing usable is left. Two texts may become one label:
    whoever applies it must look for collisions.
    """
    spelled = "".join(_SPELLED.get(c, c) for c in text)
    plain = "".join(c for c in unicodedata.normalize("NFKD", spelled) if not unicodedata.combining(c))
    return re.sub(r"[^A-Za-z0-9_-]+", "_", plain).strip("_")[:LABEL_LIMIT].rstrip("_")


def encode_label(text: str) -> str:
    """Return a label that XNAT takes and `decode_label` turns back into *text*: ``A+B`` is ``A-x2B-B``.

    Letters, digits, ``_`` and ``-`` stay; every other byte of the UTF-8 form becomes ``-xHH-``, and so does a ``-``
    where text that looks like an escape begins.

    >>> encode_label("01"), encode_label("A+B"), encode_label("é"), encode_label("a-x2B-b")
    ('01', 'A-x2B-B', '-xC3--xA9-', 'a-x2D-x2B-b')
    """
    pieces: list[str] = []
    for position, character in enumerate(text):
        begins = character == "-" and _ESCAPE.match(text, position) is not None
        if _LABEL.fullmatch(character) and not begins:
            pieces.append(character)
        else:
            pieces += [f"-x{byte:02X}-" for byte in character.encode("utf-8", "surrogateescape")]
    return "".join(pieces)


def decode_label(label: str) -> str:
    """Return the text that `encode_label` made *label* of."""
    content = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), label)
    return content.encode("latin-1").decode("utf-8", "surrogateescape")
