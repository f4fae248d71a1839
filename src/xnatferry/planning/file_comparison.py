"""Whether a file on the server holds the contents of a local one: the one place where that is decided.

A file that is sent as it is has the same size and MD5 there. Of a file that is compressed on the way neither is known
beforehand: another computer, library or level makes other bytes of the same content. Such a file is the same when its
content is, whatever it is compressed with. What the server's file holds is found out by, the cheapest first:

1. the listed MD5, where it is that of our own compression now: nothing is asked;
2. the header that we write into each gzip stream, and the checksum at its end: 56 bytes are fetched;
3. the whole file, fetched and unpacked: where others compressed it, or when asked for (``verify --deep``).

The second counts as proof as the listed MD5 does: both were written when the file was stored, and guard against damage
and mistakes, not against somebody who forges both the header and the checksum. The message names what was compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xnatferry.errors import ForbiddenError, NotFoundError, RefusedError
from xnatferry.planning.remote_state import LISTED, Fingerprint
from xnatferry.sources.model import LocalFile

if TYPE_CHECKING:
    from xnatferry.planning.plan import Payload, Step
    from xnatferry.planning.remote_state import HeldFile
    from xnatferry.xnat.gzip_stream import Content
    from xnatferry.xnat.model import Address

NO_DIGEST = "size matches; the server lists no digest"
_FROM_HEADER = "content MD5 equal (from the gzip header)"
_FETCHED = "content MD5 equal (fetched and unpacked)"

#: Size and MD5 of a local file as it would arrive; the second argument says whether it is compressed on the way.
FingerprintOf = Callable[[LocalFile, bool], Fingerprint]
#: What a gzip file on the server unpacks to, by its address and listed size; None where it is no whole gzip stream.
#: The third argument asks for the file itself, not for what its header says.
ReadContent = Callable[["Address", int, bool], "Content | None"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison found.

    Attributes:
        same: Whether the server's file holds the contents; None where that could not be found out.
        message: How this is known where it is not by the listed MD5, or what differs.
    """

    same: bool | None
    message: str = ""


class FileComparer:
    """Compares files of the server with local ones, and remembers what it has read of compressed files on both sides.

    Args:
        fingerprint: Asked for local files only where a file of the same name, and of the same size unless it is
            compressed on the way, is on the server.
        read_content: Asked about a server's file only where the local one is compressed on the way, and our own
            compression has another MD5 than is listed.
    """

    def __init__(self, fingerprint: FingerprintOf, read_content: ReadContent) -> None:
        self._fingerprint = fingerprint
        self._read_content = read_content
        self._compressed: dict[LocalFile, Fingerprint] = {}
        self._contents: dict[tuple[Address, bool], Content | None] = {}

    def compare(
        self, payload: Payload, held: HeldFile, address: Address, *, ask: bool = True, deep: bool = False
    ) -> Comparison:
        """Compare *payload* with *held*, which the server lists at *address*.

        Args:
            payload: The local file.
            held: What the server lists.
            address: Where it lists it.
            ask: Whether the server may be asked about a file that was compressed on the way.
            deep: Whether such a file is unpacked in any case.

        Raises:
            FileChangedError: The local file is not what discovery saw.
            UnavailableError: The server cannot be asked now.
        """
        if payload.gzip:
            return self._compare_compressed(payload.local, held, address, ask=ask, deep=deep)
        local = payload.local
        if held.size_bytes != local.size_bytes:
            why = f"{held.size_bytes:,} bytes on the server, {local.size_bytes:,} local"
            return Comparison(same=False, message=why)
        if held.digest is None:
            return Comparison(same=True, message=NO_DIGEST)
        here = self._fingerprint(local, False)  # noqa: FBT003  # as its type says
        same = (here.size_bytes, here.digest) == (held.size_bytes, held.digest)
        return Comparison(same=same, message=_how_listed(held) if same else "the bytes differ")

    def _compare_compressed(
        self, local: LocalFile, held: HeldFile, address: Address, *, ask: bool, deep: bool
    ) -> Comparison:
        if local not in self._compressed:
            self._compressed[local] = self._fingerprint(local, True)  # noqa: FBT003  # as its type says
        here = self._compressed[local]
        if not deep and here.size_bytes == held.size_bytes and held.digest in {here.digest, None}:
            return Comparison(same=True, message=_how_listed(held) if held.digest else NO_DIGEST)
        if not ask:
            return Comparison(same=None)
        try:
            there = self._content(address, held, deep=deep)
        except (NotFoundError, ForbiddenError, RefusedError) as error:
            return Comparison(same=None, message=f"it cannot be fetched to compare what it unpacks to: {error}")
        if there is None:
            return Comparison(same=False, message="the file on the server is no whole gzip stream")
        if there == here.content:
            return Comparison(same=True, message=_FETCHED if there.fetched else _FROM_HEADER)
        how = "fetched and unpacked" if there.fetched else "from the gzip header and the checksum at its end"
        return Comparison(same=False, message=f"the content differs ({how})")

    def _content(self, address: Address, held: HeldFile, *, deep: bool) -> Content | None:
        key = (address, deep)
        if key not in self._contents:
            self._contents[key] = self._read_content(address, held.size_bytes, deep)
        return self._contents[key]


def _how_listed(held: HeldFile) -> str:
    return "" if held.evidence == LISTED else held.evidence


def proof_of(step: Step) -> str:
    """How a plan knew that the contents of *step* are there, where it was not by the listed MD5; else empty."""
    return next((how for how in (_FROM_HEADER, _FETCHED) if step.reason.endswith(how)), "")
