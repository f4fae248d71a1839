"""Downloads files, one by one or many as one zip; a file gets its final name only when it is complete and verified."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xnatferry.client.http import Request, StreamedResponse
from xnatferry.client.responses import error_of
from xnatferry.client.streaming import relay_stream
from xnatferry.durable import replacing
from xnatferry.errors import (
    ConflictError,
    DiskFullError,
    NotFoundError,
    NotXnatError,
    RefusedError,
    TransferError,
    UnavailableError,
    VerifyError,
)
from xnatferry.xnat.archives import ARCHIVE_ERRORS, read_archive
from xnatferry.xnat.digest import PIECE_BYTES, Hasher
from xnatferry.xnat.gzip_stream import HEAD_BYTES, TAIL_BYTES, Content, GzipError, content_of, is_marked, read_marks
from xnatferry.xnat.thread_map import thread_map
from xnatferry.xnat.zip_reader import ZipFormatError, zip_members

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from xnatferry.client.requester import Requester
    from xnatferry.xnat.model import Address
    from xnatferry.xnat.records import RemoteFile

#: Called with the number of received bytes; negative when a download starts again.
Seen = Callable[[int], None]

log = logging.getLogger(__name__)

#: Members of a zip of at most this many bytes are read into memory and written in parallel.
_SMALL_BYTES = 1 << 17
_WRITERS = 8
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, slots=True)
class WantedFile:
    """A file to download.

    Attributes:
        address: The file.
        held: Its row of the listing.
        target: Path of the new file; its folder is created if it does not exist.
        replace: Whether an existing file is replaced.
        seen: Called with progress; an exception ends the download.
    """

    address: Address
    held: RemoteFile
    target: Path
    replace: bool
    seen: Seen


class Downloads:
    """Downloads over one `Requester`; *path* returns the URL path of an address."""

    def __init__(self, talk: Requester, path: Callable[[Address], str]) -> None:
        self._requester = talk
        self._path = path
        self._gives_parts = True

    def file(
        self, address: Address, target: Path, listed: Sequence[RemoteFile], *, digest: str | None = None
    ) -> RemoteFile:
        """Fetch one file to *target*.

        It is written beside *target*, compared with its listed size and MD5, flushed to the disk and renamed: *target*
        is always either unchanged or complete.

        Args:
            address: The file.
            target: Path of the new file; its folder is created if it does not exist.
            listed: The listing of its resource.
            digest: Expected MD5; None uses the one of the listing, if any.

        Raises:
            NotFoundError: The resource does not contain it.
            VerifyError: The download differs from the listing.
            TransferError: It cannot be written here.
        """
        held = next((file for file in listed if file.name == address.file), None)
        if held is None:
            raise NotFoundError(f"{address}: file not found", status=404, url=address.path)
        self.listed(address, target, held, digest=digest)
        return held

    def listed(
        self,
        address: Address,
        target: Path,
        held: RemoteFile,
        *,
        digest: str | None = None,
        replace: bool = True,
        seen: Seen = lambda _: None,
    ) -> str:
        """Fetch one file whose row of the listing is known already; returns the MD5 of what came.

        Args:
            address: The file.
            target: Path of the new file; its folder is created if it does not exist.
            held: Its row.
            digest: Expected MD5; None uses the one of the row, if any.
            replace: Whether an existing file is replaced.
            seen: Called with progress; an exception ends the download.

        Raises:
            NotFoundError: It no longer exists.
            VerifyError: The download differs from the listing.
            ConflictError: *target* exists and must not be replaced.
            DiskFullError: The disk is full.
            TransferError: It cannot be written here.
        """
        expected = digest or held.digest
        wanted = WantedFile(address, held, target, replace, seen)
        return self._requester.receive(
            Request("GET", self._path(address)),
            lambda streamed: _stored(wanted, _checked(streamed, page_expected=_is_page(address)), expected),
        )

    def from_zip(
        self, path: str, choose: Callable[[str], WantedFile | None], done: Callable[[WantedFile, str], None]
    ) -> None:
        """Download many files in one request; each is verified like a file that is downloaded alone.

        Files that are missing in the zip, differ from the listing or cannot be written are left out: *done* is not
        called with them. The request is repeated after temporary errors; files that are done are kept.

        Args:
            path: URL path of a listing of files, which the server offers as a zip too.
            choose: Returns the file for the name of a member; None if it is not wanted, or is done.
            done: Called with each stored file and its MD5.

        Raises:
            RemoteError: The zip cannot be downloaded or read.
            DiskFullError: The disk is full.
        """

        def store(wanted: WantedFile, pieces: Iterable[bytes]) -> None:
            try:
                done(wanted, _stored(wanted, pieces, wanted.held.digest))
            except DiskFullError:
                raise
            except (VerifyError, TransferError, ConflictError) as error:
                log.info("%s: left out of the zip download: %s", wanted.address, error)

        def small(streamed: StreamedResponse) -> Iterator[tuple[WantedFile, bytes]]:
            for name, pieces in zip_members(_checked(streamed, page_expected=False)):
                wanted = choose(name)
                if wanted is None:
                    continue
                if wanted.held.size_bytes > _SMALL_BYTES:
                    store(wanted, pieces)
                elif len(data := _at_most(pieces, wanted.held.size_bytes)) == wanted.held.size_bytes:
                    yield wanted, data

        def take(streamed: StreamedResponse) -> None:
            try:
                # Small files are written in parallel: a disk flushes several files in the time of one.
                for _ in thread_map(lambda one: store(one[0], [one[1]]), small(streamed), workers=_WRITERS):
                    pass
            except ZipFormatError as error:
                raise NotXnatError(f"{path}: the downloaded zip cannot be read: {error}", url=path) from None

        self._requester.receive(Request("GET", path, (("format", "zip"),)), take)

    def relay_stream(self, address: Address, held: RemoteFile) -> Iterator[bytes]:
        """The bytes of one file as a stream, compared with its row at the end; see `streaming.relay_stream`."""

        def receive(take: Callable[[Iterable[bytes]], None]) -> None:
            self._requester.receive(
                Request("GET", self._path(address)),
                lambda streamed: take(_checked(streamed, page_expected=_is_page(address))),
            )

        return relay_stream(receive, address, held)

    def digest(self, address: Address) -> str:
        """MD5 of one file, downloaded and not stored."""

        def take(streamed: StreamedResponse) -> str:
            return _store(streamed, lambda _: None, page_expected=True).digest

        return self._requester.receive(Request("GET", self._path(address)), take)

    def content(self, address: Address, size_bytes: int, *, deep: bool = False) -> Content | None:
        """What a gzip file unpacks to; None where it is no whole gzip stream.

        Of a file with our header, that and the checksum at its end are fetched, 56 bytes; of any other, and *deep*, all
        of it, in bounded memory. A server or a proxy that gives no parts of files (RFC 9110, 14.2) gives all as well.

        Args:
            address: The file.
            size_bytes: Its listed size.
            deep: Whether to fetch all of it in any case.

        Raises:
            NotFoundError: It is not there any more.
        """
        if not deep and size_bytes > HEAD_BYTES + TAIL_BYTES:
            head = self._part(address, 0, HEAD_BYTES, size_bytes)
            tail = self._part(address, size_bytes - TAIL_BYTES, TAIL_BYTES, size_bytes) if is_marked(head) else b""
            if (said := read_marks(head, tail, size_bytes)) is not None:
                return said

        def take(streamed: StreamedResponse) -> Content | None:
            try:
                return content_of(_checked(streamed, page_expected=False))
            except GzipError:
                return None

        return self._requester.receive(Request("GET", self._path(address)), take)

    def _part(self, address: Address, start: int, length: int, size_bytes: int) -> bytes:
        """A part of a file that is listed with *size_bytes*; empty where just this part does not come."""
        if not self._gives_parts:
            return b""
        last = start + length - 1

        def take(streamed: StreamedResponse) -> bytes:
            if streamed.head.status != 206:
                self._gives_parts = False  # all of it is on its way; it is asked for again when its turn comes
                return b""
            said = "".join(streamed.head.headers.get("content-range", "").lower().split())
            try:
                return streamed.read().body if said == f"bytes{start}-{last}/{size_bytes}" else b""
            except UnavailableError:
                return b""  # 1.8.11 breaks off where a part ends behind the file: it is shorter than listed

        asked = Request("GET", self._path(address), headers=(("Range", f"bytes={start}-{last}"),))
        try:
            part = self._requester.receive(asked, take)
        except RefusedError:  # 416: the file is shorter than listed
            return b""
        return part if len(part) == length else b""

    def archive(self, address: Address, target: Path) -> int:
        """Fetch all files below *address* as one zip to *target*; returns its size in bytes.

        Raises:
            NotFoundError: There is nothing to download.
            VerifyError: The download is not a complete zip.
        """

        def take(streamed: StreamedResponse) -> int:
            with _partial_file(target) as stream:
                hasher = _store(streamed, stream.write, page_expected=False)
                stream.flush()
                try:
                    for _ in read_archive(Path(stream.name)):
                        pass
                except ARCHIVE_ERRORS as error:
                    raise VerifyError(f"{address}: the downloaded zip is damaged ({error}); file not stored") from error
                return hasher.size_bytes

        return self._requester.receive(Request("GET", f"{self._path(address)}/files", (("format", "zip"),)), take)


def _check_content(address: Address, path: Path, digest: str) -> None:
    with path.open("rb") as stream:
        try:
            found = content_of(iter(lambda: stream.read(PIECE_BYTES), b"")).digest
        except GzipError as error:
            found = str(error)
    if found != digest:
        raise VerifyError(f"{address}: unpacks to {found}, not to {digest} as when it was pushed; nothing was kept")


def _is_page(address: Address) -> bool:
    return (address.file or "").lower().endswith((".html", ".htm", ".xhtml"))


def _stored(wanted: WantedFile, pieces: Iterable[bytes], expected: str | None) -> str:
    """Write a file beside its target, verify it and give it its final name; returns its MD5."""
    held, hasher, came = wanted.held, Hasher(), 0
    with _partial_file(wanted.target, replace=wanted.replace) as stream:
        try:
            for piece in pieces:
                hasher.update(piece)
                if hasher.size_bytes > held.size_bytes:
                    break
                stream.write(piece)
                came += len(piece)
                wanted.seen(len(piece))
            _check_same(wanted, hasher, expected)
            if held.content_digest is not None:
                stream.flush()
                _check_content(wanted.address, Path(stream.name), held.content_digest)
        except (UnavailableError, ZipFormatError, VerifyError):
            wanted.seen(-came)
            raise
    return hasher.digest


def _at_most(pieces: Iterable[bytes], size_bytes: int) -> bytes:
    """The bytes of a member; if it is longer than *size_bytes*, one byte more."""
    data = b""
    for piece in pieces:
        data += piece
        if len(data) > size_bytes:
            break
    return data[: size_bytes + 1]


def _check_same(wanted: WantedFile, received: Hasher, expected: str | None) -> None:
    held = wanted.held
    if received.size_bytes != held.size_bytes or (expected is not None and received.digest != expected):
        raise VerifyError(
            f"{wanted.address}: received {received.size_bytes} bytes with MD5 {received.digest}, but the server lists "
            f"{held.size_bytes} bytes with {f'MD5 {expected}' if expected else 'no MD5'}; file not stored"
        )


def _store(streamed: StreamedResponse, write: Callable[[bytes], object], *, page_expected: bool) -> Hasher:
    hasher = Hasher()
    for piece in _checked(streamed, page_expected=page_expected):
        hasher.update(piece)
        write(piece)
    return hasher


def _checked(streamed: StreamedResponse, *, page_expected: bool) -> Iterator[bytes]:
    """The pieces of a complete answer with a file.

    Raises:
        RemoteError: It is an error page.
        UnavailableError: It is incomplete.
    """
    head = streamed.head
    if head.headers.get("content-type", "").startswith("text/html") and not page_expected:
        response = streamed.read()
        if (error := error_of(response)) is not None:
            raise error
        pieces: Iterator[bytes] = iter([response.body])
    else:
        pieces = streamed.pieces()
    came = 0
    for piece in pieces:
        came += len(piece)
        yield piece
    announced = head.headers.get("content-length", "")
    if "content-encoding" not in head.headers and announced.isdecimal() and int(announced) != came:
        raise UnavailableError(
            f"{head.url}: connection closed after {came} of {announced} bytes; try again later", url=head.url
        )


@contextmanager
def _partial_file(target: Path, *, replace: bool = True) -> Iterator[Any]:
    """A file beside *target* that becomes *target* when the block ends well, and vanishes when it does not."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target, follow_links=False) as part:
            with part.open("wb") as stream:
                yield stream
            if not replace and os.path.lexists(target):
                raise ConflictError(f"{target}: appeared while it was fetched; nothing was replaced")
    except OSError as error:
        raise _unwritable(target, error) from None


def _unwritable(target: Path, error: OSError) -> TransferError:
    kind = DiskFullError if error.errno in _NO_ROOM else TransferError
    return kind(f"{target}: cannot be written ({error.strerror})")
