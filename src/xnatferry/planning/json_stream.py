"""Reads a JSON object with long lists, without keeping its text in memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

__all__ = ["read_members"]

_PIECE: Final = 1 << 16
_WHITE: Final = " \t\n\r"
#: What may follow a value.
_AFTER: Final = frozenset(_WHITE + ",:]}")


def read_members(stream: TextIO, element: Callable[[str, Any], Any]) -> dict[str, Any]:
    """The members of the JSON object in *stream*, read in pieces.

    Args:
        stream: The text.
        element: Called with the name of a member that is a list and with each element of it; the list then has what
            this returns.

    Raises:
        ValueError: It is not a JSON object; the message says what was expected in which line.
    """
    text = _Window(stream)
    found: dict[str, Any] = {}
    text.take("{")
    more = not text.follows("}")
    while more:
        name = text.value()
        if not isinstance(name, str):
            text.fail("a name in quotes")
        text.take(":")
        if text.follows("["):
            found[name] = elements = []
            left = not text.follows("]")
            while left:
                elements.append(element(name, text.value()))
                left = text.take(",]") == ","
        else:
            found[name] = text.value()
        more = text.take(",}") == ","
    text.end()
    return found


class _Window:
    """The part of a text that is being read."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text = ""
        self._at = 0
        self._line = 1
        self._decoder = json.JSONDecoder()

    def follows(self, sign: str) -> bool:
        """Take *sign* when it comes next."""
        if self._next() != sign:
            return False
        self._at += 1
        return True

    def take(self, signs: str) -> str:
        """Take one of *signs*, which must come next."""
        sign = self._next()
        if not sign or sign not in signs:
            self.fail(" or ".join(signs))
        self._at += 1
        return sign

    def value(self) -> Any:
        """Take a whole value."""
        self._next()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._fill():
                    raise ValueError(f"{error.msg} in line {self._line}") from None
                continue
            if self._text[end : end + 1] not in _AFTER and self._fill():  # a number may continue
                continue
            self._at = end
            return value

    def end(self) -> None:
        """Nothing may follow."""
        if self._next():
            self.fail("the end")

    def fail(self, expected: str) -> None:
        """Raise an error with what was expected."""
        line = self._line + self._text.count("\n", 0, self._at)
        raise ValueError(f"expected {expected} in line {line}")

    def _next(self) -> str:
        """The next character that is no white space, empty at the end; it is not taken."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _WHITE:
                    return self._text[self._at]
                self._at += 1
            if not self._fill():
                return ""

    def _fill(self) -> bool:
        """Drop what was read, and read at least as much as is left, so that long values take linear time."""
        self._line += self._text.count("\n", 0, self._at)
        rest = self._text[self._at :]
        piece = self._stream.read(max(_PIECE, len(rest)))
        self._text, self._at = rest + piece, 0
        return bool(piece)
