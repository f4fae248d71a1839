"""XNAT's status page, where the message of an error stands in ``<h3>`` (Restlet's page, recorded)."""

from __future__ import annotations

import html
import re

_HEADING = re.compile(r"<h3>(.*?)</h3>", re.DOTALL | re.IGNORECASE)
_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL | re.IGNORECASE)


def error_page(status: int, message: str) -> str:
    """Make the status page for *status*, as clients know it.

    pyxnat and xnatpy take any body that starts with ``<html>`` for an error and read ``<h3>``.
    """
    anchor = f"10.{str(status)[0]}.{status % 100 + 1}"
    link = f'<a href="http://www.w3.org/Protocols/rfc2616/rfc2616-sec10.html#sec{anchor}">here</a>'
    return (
        "<html>\n<head>\n   <title>Status page</title>\n</head>\n<body>\n"
        f"<h3>{html.escape(message, quote=False)}</h3><p>You can get technical details {link}.<br>\n"
        'Please continue your visit at our <a href="/">home page</a>.\n</p>\n</body>\n</html>\n'
    )


def is_error_page(text: str) -> bool:
    """Whether *text* starts as an HTML page does: an error, or a login page, even under status 200."""
    return text.lstrip()[:9].lower().startswith(("<html", "<!doctype"))


def message_of_page(text: str) -> str:
    """The message of a status page: its ``<h3>``, else title, else first words; one line of at most 300 characters."""
    found = _HEADING.search(text) or _TITLE.search(text)
    words = found[1] if found else re.sub(r"<(style|script).*?</\1>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    plain = html.unescape(re.sub(r"<[^>]+>", " ", words))
    return " ".join(plain.split())[:300]
