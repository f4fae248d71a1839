"""Fetches files so that what stands under the final name is complete and proven."""

from __future__ import annotations

import os
import zipfile
from contextlib import contextmanager
from secrets import token_hex
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from xnatferry.client.answers import error_of
from xnatferry.client.http import Request, StreamedAnswer
from xnatferry.errors import NotFoundError, TransferError, UnavailableError, VerifyError
from xnatferry.xnat.digest import Hasher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from xnatferry.client.conversation import Conversation
    from xnatferry.xnat.model import Address
    from xnatferry.xnat.records import RemoteFile

__all__ = ["Downloads"]


class Downloads:
    """Fetches over one conversation."""

    def __init__(self, talk: Conversation) -> None:
        self._talk = talk

    def file(
        self, address: Address, target: Path, listed: Sequence[RemoteFile], *, digest: str | None = None
    ) -> RemoteFile:
        """Fetch one file to *target*.

        It is written beside *target*, compared with its listed size and digest, flushed to disk and renamed; whatever
        happens, *target* is either as before or complete.

        Args:
            address: The file.
            target: Where it goes; its folder is made where missing.
            listed: The listing of its resource.
            digest: MD5 it must have; None takes the one of the listing, if that has one.

        Raises:
            NotFoundError: The resource does not list it.
            VerifyError: What came is not what is listed.
            TransferError: It cannot be written here.
        """
        held = next((file for file in listed if file.name == address.file), None)
        if held is None:
            raise NotFoundError(f"{address}: there is no such file", status=404, url=address.path)
        expected = digest or held.digest
        page_expected = (address.file or "").lower().endswith((".html", ".htm", ".xhtml"))

        def take(streamed: StreamedAnswer) -> None:
            with _landing(target) as stream:
                hasher = _store(streamed, stream.write, page_expected=page_expected)
                if hasher.size_bytes != held.size_bytes or (expected is not None and hasher.digest != expected):
                    raise VerifyError(
                        f"{address}: {hasher.size_bytes} bytes with digest {hasher.digest} came, "
                        f"{held.size_bytes} with {expected or 'no digest'} are listed; nothing was kept"
                    )

        try:
            self._talk.receive(Request("GET", address.path), take)
        except NotFoundError:
            if not held.uri.startswith("/data/"):
                raise
            # Stored under a spelling of its name that only the listing knows.
            self._talk.receive(Request("GET", quote(held.uri, safe="/-._~")), take)
        return held

    def digest(self, address: Address) -> str:
        """MD5 of one file, whose bytes are read and not kept."""

        def take(streamed: StreamedAnswer) -> str:
            return _store(streamed, lambda _: None, page_expected=True).digest

        return self._talk.receive(Request("GET", address.path), take)

    def archive(self, address: Address, target: Path) -> int:
        """Fetch all files below *address* as one zip to *target*; returns its size in bytes.

        Raises:
            NotFoundError: There is nothing to fetch.
            VerifyError: What came is no whole zip.
        """

        def take(streamed: StreamedAnswer) -> int:
            with _landing(target) as stream:
                hasher = _store(streamed, stream.write, page_expected=False)
                stream.flush()
                try:
                    with zipfile.ZipFile(stream.name) as packed:
                        broken = packed.testzip()
                except zipfile.BadZipFile:
                    broken = "the archive"
                if broken is not None:
                    raise VerifyError(f"{address}: {broken} came damaged; nothing was kept")
                return hasher.size_bytes

        return self._talk.receive(Request("GET", f"{address.path}/files", (("format", "zip"),)), take)


def _store(streamed: StreamedAnswer, write: Callable[[bytes], object], *, page_expected: bool) -> Hasher:
    head = streamed.head
    if head.headers.get("content-type", "").startswith("text/html") and not page_expected:
        answer = streamed.read()
        if (error := error_of(answer)) is not None:
            raise error
        pieces: Iterator[bytes] = iter([answer.body])
    else:
        pieces = streamed.pieces()
    hasher = Hasher()
    for piece in pieces:
        hasher.update(piece)
        write(piece)
    announced = head.headers.get("content-length", "")
    if "content-encoding" not in head.headers and announced.isdecimal() and int(announced) != hasher.size_bytes:
        raise UnavailableError(f"{head.url}: {hasher.size_bytes} of {announced} bytes came", url=head.url)
    return hasher


@contextmanager
def _landing(target: Path) -> Iterator[Any]:
    """A file beside *target* that becomes *target* when the block ends well, and vanishes when it does not."""
    part = target.with_name(f".{target.name[:100]}.{token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        stream = part.open("xb")
    except OSError as error:
        raise TransferError(f"{target}: cannot be written ({error.strerror})") from None
    try:
        try:
            with stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(target)
        except OSError as error:
            raise TransferError(f"{target}: cannot be written ({error.strerror})") from None
    finally:
        part.unlink(missing_ok=True)
