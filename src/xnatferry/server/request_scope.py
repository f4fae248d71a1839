"""One request as a route function sees it, and how a route function refuses it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote_plus
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from xnatferry.server.accounts import Account
    from xnatferry.server.archive import Archive


class Refusal(Exception):  # noqa: N818  a response, not a failure
    """The request is answered with *status* and XNAT's status page holding *message*.

    An empty *message* is the standard sentence of the status; ``bare`` sends no body at all, ``plain`` the message
    alone, as XAPI does.
    """

    def __init__(self, status: int, message: str = "", *, bare: bool = False, plain: bool = False) -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.message = message.encode(errors="replace").decode()  # it may repeat an unpaired surrogate
        self.bare = bare
        self.plain = plain


_MOST_FIELDS: Final = 1000
# Line ends and tabs are text; C1 controls begin escape sequences, too.
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
_MARKS = re.compile("%5B|%5D|=", re.IGNORECASE)


class Query:
    """The query of a request, read by XNAT's rules (``SecureResource.getQueryVariable``).

    Keys are found as written, else in any case; the first of repeated values counts.
    """

    __slots__ = ("_pairs",)

    def __init__(self, text: str) -> None:
        self._pairs = [_pair(piece) for piece in text.split("&") if piece]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)

    def get(self, key: str, default: str = "") -> str:
        """The first value of *key*, or *default*."""
        return next(iter(self.all(key)), default)

    def all(self, key: str) -> list[str]:
        """Every value of *key*, in order."""
        exact = [value for name, value in self._pairs if name == key]
        return exact or [value for name, value in self._pairs if name.lower() == key.lower()]

    def has(self, key: str) -> bool:
        """Whether *key* was sent at all."""
        return bool(self.all(key))

    def require_text(self) -> None:
        """Refuse characters that no document can hold, and terminals obey.

        Raises:
            Refusal: 400, there is one.
        """
        _require_text(self._pairs)

    def page(self) -> int:
        """The number of the page that is asked for; 1 where it is none."""
        text = self.get("page")
        return max(1, int(text)) if text.isdecimal() and len(text) < 8 else 1

    def is_true(self, key: str) -> bool:
        """Present and neither ``false`` nor ``0``: so ``extract``, ``extract=`` and ``extract=no`` are all true."""
        return any(value.lower() not in {"false", "0"} for value in self.all(key)[:1])

    def is_false(self, key: str) -> bool:
        """Present and ``false`` or ``0``."""
        return any(value.lower() in {"false", "0"} for value in self.all(key)[:1])

    def escaped(self) -> list[tuple[str, str]]:
        """All pairs, values as XNAT stores them: ``& < > " '`` as entities (``TurbineUtils.escapeParam``)."""
        return [(key, escape(value, {'"': "&quot;", "'": "&apos;"})) for key, value in self._pairs]


def _require_text(pairs: Iterable[tuple[str, str]]) -> None:
    for key, value in pairs:
        if found := _CONTROL.search(key + value):
            raise Refusal(400, f"{key[:40]!r} contains the control character U+{ord(found[0]):04X}.")


def _pair(piece: str) -> tuple[str, str]:
    """Key and value of a piece of a query. A ``=`` within brackets belongs to the key.

    pyxnat sends ``demographics%5B@xsi:type=xnat:demographicData%5D/gender=male``.
    """
    depth = 0
    equals = piece.find("=")
    for mark in _MARKS.finditer(piece):
        if mark[0] == "=" and depth == 0:
            equals = mark.start()
            break
        depth += {"%5b": 1, "%5d": -1}.get(mark[0].lower(), 0)
    if equals < 0:
        return unquote_plus(piece), ""
    return unquote_plus(piece[:equals]), unquote_plus(piece[equals + 1 :])


@dataclass(slots=True, kw_only=True)
class Scope:
    """A request on its way through a route function.

    Attributes:
        request: The framework's request; its body is unread only in ``async`` route functions.
        archive: The archive.
        account: The account of the request; None is the guest.
        params: Path variables, percent-decoded once.
        raw_params: The same as they were sent (XNAT decodes file names only when they hold ``%20`` or ``%2B``).
        query: The query.
        body: The whole body (at most ``max_document_bytes``); empty in ``async`` route functions, which read it.
        login: The login cookie of the request, "" when it brought none that is valid.
    """

    request: Request
    archive: Archive
    account: Account | None
    params: Mapping[str, str]
    raw_params: Mapping[str, str]
    query: Query
    body: bytes = b""
    login: str = ""

    @property
    def method(self) -> str:
        """HTTP method, in upper case."""
        return self.request.method

    @property
    def user_name(self) -> str:
        """Login name of the account; ``guest`` without a login."""
        return self.account.login if self.account else "guest"

    def form(self) -> list[tuple[str, str]]:
        """The fields of a form in the body.

        Raises:
            Refusal: 413, there are more than 1,000, as millions of empty ones fit into a small body; 400, there is a
                control character.
        """
        try:
            text = self.body.decode("utf-8", "replace")
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        except ValueError as error:
            raise Refusal(413, f"A form may have at most {_MOST_FIELDS} fields.") from error
        _require_text(pairs)
        return pairs

    @property
    def media_type(self) -> str:
        """Content-Type of the body without its parameters, in lower case."""
        return self.request.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Route:
    """What answers *methods* under *template*.

    Attributes:
        methods: Upper-case methods; GET answers HEAD as well.
        template: Path below ``/data``: ``/projects/{project}/resources/{resource}/files/{file*}``. A last ``{name*}``
            takes the rest of the path, empty too, with its slashes and a trailing one.
        handler: ``def`` runs in the thread pool with the body read; ``async def`` reads the body itself and hands
            blocking work to threads.
        hashing: Whether it checks a password: such requests wait for each other, and nobody else waits for them.
        archived: Whether the path exists below ``/data/archive`` as well (XNAT doubles only its archive routes).
    """

    methods: Sequence[str]
    template: str
    handler: Callable[[Scope], Response] | Callable[[Scope], Awaitable[Response]]
    archived: bool = True
    hashing: bool = False
