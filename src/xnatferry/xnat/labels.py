"""Rules for labels, scan IDs and file names in XNAT, and for file names in URLs.

Sources: XNAT's ``XftStringUtils.REGEX_VALID_ID`` for ids and labels; the resource endpoints for resource labels;
``CatalogUtils`` for file names.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

#: Longest label that we send, in characters. XNAT stores up to 255; a label is also a folder name on its disk.
LABEL_LIMIT = 64

#: Longest part of a path on the disks of servers.
_PART_BYTES = 255
# Unreserved characters and delimiters that a path may contain (RFC 3986, 3.3), except ";", which 1.8.11 refuses.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9/._~!$&'()*+,=:@-]*")
_UNRESERVED = re.compile(r"[A-Za-z0-9/._~-]")
_CODE = re.compile(r"%([0-9A-Fa-f]{2})")
# Escapes that 1.8.11 refuses in a URL (recorded).
_NEVER_SERVED = re.compile(r"%(25|3B)")
_LABEL = re.compile(r"[A-Za-z0-9_-]+")
# Words that make XNAT's query guard drop a resource request silently when the label holds a character such as "-".
_SQL = re.compile(r"(select|insert|update|delete|drop|alter|union|create|grant|exec)", re.IGNORECASE)
_ESCAPE = re.compile(r"-x([0-9A-F]{2})-")
_SPELLED = {"ß": "ss", "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"}


def label_problem(label: str) -> str | None:
    """Why XNAT refuses *label* for a project, subject, session or assessor; None when it accepts it."""
    if not label.strip():
        return "it is empty"
    bad = sorted({c for c in label if not _LABEL.fullmatch(c)})
    if bad:
        return "it contains " + " ".join(repr(c) for c in bad) + "; XNAT allows A-Z, a-z, 0-9, _ and -"
    if len(label) > LABEL_LIMIT:
        return f"it has {len(label)} characters; the limit is {LABEL_LIMIT}"
    if label == "Unassigned":
        return "this name is reserved by XNAT"
    return None


def scan_id_problem(scan_id: str) -> str | None:
    """Why *scan_id* is not safe as an XNAT scan ID (a folder and a part of URLs); None when it is."""
    if scan_id.upper() in {"ALL", "NULL"}:
        return "XNAT treats it as a wildcard"
    return label_problem(scan_id)


def resource_label_problem(label: str) -> str | None:
    """Why *label* is not safe as a resource label; None when it is.

    A label of digits is treated as a database id (``XNATTemplate``), and for a label with a special character and an
    SQL word some servers answer 200 and do nothing.
    """
    if problem := label_problem(label.replace(".", "_")):
        return problem
    if label.isdigit():
        return "it contains only digits, which XNAT treats as a database id"
    if not re.fullmatch(r"[A-Za-z0-9_.]+", label) and (word := _SQL.search(label)):
        return f"it contains {word[0]!r} and a '-'; XNAT silently ignores such labels"
    return None


def is_plain_name(name: str) -> bool:
    """Whether *name* needs no escapes in a URL, so that every version of XNAT stores it unchanged.

    XNAT stores the name as in the URL of a PUT: 1.6.4 percent-encoded, 1.8.11 too unless it contains ``%20`` or
    ``%2B`` (both recorded). Members of archives keep their names.
    """
    return _PLAIN_NAME.fullmatch(name) is not None


def is_encoded(name: str) -> bool:
    """Whether *name* is a valid percent-encoding, as servers list names that other programs sent by PUT.

    Everything that must be escaped is escaped, and nothing else. Such a name is requested unchanged: XNAT searches the
    name as it is in the URL before it decodes it.

    >>> is_encoded("%C3%A9.txt"), is_encoded("100%.txt"), is_encoded("a%41.txt")
    (True, False, False)
    """
    codes = _CODE.findall(name)
    if not codes or not is_plain_name(_CODE.sub("", name)):
        return False
    return not any(code != code.upper() or _UNRESERVED.fullmatch(chr(int(code, 16))) for code in codes)


def remote_name_problem(name: str) -> str | None:
    """Why *name* cannot be the path of a file in a resource; None when it can.

    The names refused here would be lost or hidden on a real XNAT, leave its folder, or could not be downloaded.
    """
    if any(0xD800 <= ord(c) <= 0xDFFF for c in name):
        return "it is not UTF-8; rename the file"
    if not name or name.startswith("/") or name.endswith("/"):
        return "it is not a relative path"
    if ";" in name or ("%" in name and (not is_encoded(name) or _NEVER_SERVED.search(name))):
        odd = ";" if ";" in name else "%"
        return f"it contains {odd!r}, and XNAT 1.8 refuses URLs with it (405, 500); rename the file"
    if problem := _unfit_problem(name):
        return problem
    if "%" in name and (problem := _unfit_problem(unquote(name))):
        return f"some servers decode it to {unquote(name)!r}, where {problem}; rename the file"
    for part in name.split("/"):
        if len(part.encode()) > _PART_BYTES:
            return f"a part of it has {len(part.encode())} bytes; the limit is {_PART_BYTES}"
    if name.endswith("_catalog.xml"):
        return "names ending with _catalog.xml are reserved by XNAT"
    return None


def _unfit_problem(name: str) -> str | None:
    """Characters and parts that a folder or an XML listing cannot contain."""
    if "\\" in name or any(unicodedata.category(c) == "Cc" for c in name):
        return "it contains a backslash or a control character"
    if odd := next((c for c in name if ord(c) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(c) <= 0xFDEF), ""):
        return f"it contains U+{ord(odd):04X}, which is not a Unicode character"
    for part in name.split("/"):
        if part in {"", ".", ".."}:
            return f"it contains the part {part!r}"
    return None


def clean_label(text: str) -> str:
    """Return a valid label for *text*: without accents, other invalid characters replaced by ``_``.

    The result passes `label_problem`, or is empty when nothing is left. Two texts can get the same label: callers must
    check for collisions.
    """
    spelled = "".join(_SPELLED.get(c, c) for c in text)
    plain = "".join(c for c in unicodedata.normalize("NFKD", spelled) if not unicodedata.combining(c))
    return re.sub(r"[^A-Za-z0-9_-]+", "_", plain).strip("_")[:LABEL_LIMIT].rstrip("_")


def encode_label(text: str) -> str:
    """Return a valid label that `decode_label` decodes to *text*: ``A+B`` is ``A-x2B-B``.

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
    """Return the text that `encode_label` encoded as *label*."""
    content = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), label)
    return content.encode("latin-1").decode("utf-8", "surrogateescape")
