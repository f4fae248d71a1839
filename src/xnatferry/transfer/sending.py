"""Sends the files of one resource, one writer at a time, and never believes a reply that did not come."""

from __future__ import annotations

import time
from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING

from xnatferry.errors import RefusedError, StoppedError, UnavailableError, XnatferryError
from xnatferry.planning.plan import Decision, Step, Transport
from xnatferry.planning.reconcile import Fingerprint
from xnatferry.transfer.content import (
    archive_digests,
    check_unchanged,
    file_pieces,
    fingerprint,
    payload_pieces,
    watched,
)
from xnatferry.transfer.events import Began, BytesSent, Event, Outcome, Receipt
from xnatferry.xnat.digest import Hasher
from xnatferry.xnat.zips import ZipMember, ZipStream

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence

    from xnatferry.transfer.destination import Body, Destination
    from xnatferry.xnat.model import Address

__all__ = ["ResourceSender"]

#: Tries of one upload, the first included.
ATTEMPTS = 4
#: Seconds before the second try; doubled each time, with jitter.
FIRST_PAUSE_S = 0.5


class ResourceSender:
    """One writer for one resource.

    XNAT rewrites a resource's catalog with every upload; two writers to one resource lose entries or get 500
    (``CatalogUtils.storeCatalogEntry``), so nothing here runs in parallel.

    Args:
        resource: The resource's step; its transport says how the files travel.
        files: The file steps to send.
        tell: Told of progress.
        stop: Checked between pieces.
    """

    def __init__(
        self,
        destination: Destination,
        resource: Step,
        files: Sequence[Step],
        tell: Callable[[Event], None],
        stop: threading.Event,
    ) -> None:
        self._destination = destination
        self._resource = resource
        self._files = files
        self._tell = tell
        self._stop = stop
        self._random = SystemRandom()

    def send(self) -> Iterator[Receipt]:
        """Send everything; yields a receipt for every file, whatever happens."""
        if self._resource.transport is Transport.SINGLE:
            for step in self._files:
                yield self._guarded(step, partial(self._send_single, step))
        elif self._files:
            send = self._send_ready if self._resource.transport is Transport.READY else self._send_packed
            yield from self._guarded_archive(send)

    def _guarded(self, step: Step, send: Callable[[], Receipt]) -> Receipt:
        try:
            self._check_stop()
            return send()
        except XnatferryError as error:
            return Receipt.failed(step.address, error)

    def _guarded_archive(self, send: Callable[[], list[Receipt]]) -> list[Receipt]:
        try:
            self._check_stop()
            return send()
        except XnatferryError as error:
            return [Receipt.failed(step.address, error) for step in self._files]

    def _send_single(self, step: Step) -> Receipt:
        payload = step.payload
        assert payload is not None  # noqa: S101  # file steps have one
        # A compressed body's length must be announced: it is made twice, once to measure it.
        known = fingerprint(payload.local, gzip=True) if payload.gzip else None
        size = payload.local.size_bytes if known is None else known.size_bytes
        hasher = Hasher()

        def body() -> Iterator[bytes]:
            nonlocal hasher
            hasher = Hasher()
            return self._counted(step.address, payload_pieces(payload), hasher)

        def act(overwrite: bool) -> list[str]:  # noqa: FBT001  # one caller
            return self._destination.send_file(
                step.address,
                body,
                size,
                overwrite=overwrite,
                format=step.fields.get("format", ""),
                content=step.fields.get("content", ""),
            )

        def arrived() -> bool:
            held = {file.name: file for file in self._destination.list_files(self._address)}.get(
                step.address.file or ""
            )
            if held is None or held.size_bytes != size:
                return False
            return held.digest is None or held.digest == fingerprint(payload.local, gzip=payload.gzip).digest

        self._tell(Began((step.address,)))
        kept = self._persist(act, arrived, overwrite=step.decision is Decision.UPDATE)
        sent = known or Fingerprint(
            size, hasher.digest if hasher.size_bytes == size else fingerprint(payload.local).digest
        )
        return self._receipt(step, sent, kept)

    def _send_packed(self) -> list[Receipt]:
        hashers: dict[Address, Hasher] = {}

        def member(step: Step) -> ZipMember:
            payload = step.payload
            assert payload is not None  # noqa: S101  # file steps have one

            def pieces() -> Iterator[bytes]:
                hashers[step.address] = Hasher()
                return self._counted(step.address, payload_pieces(payload), hashers[step.address])

            return ZipMember(step.address.file or "", payload.local.size_bytes, pieces)

        archive = ZipStream([member(step) for step in self._files])
        kept = self._send_archive(lambda: archive, archive.size_bytes, "upload.zip")
        return [
            self._receipt(step, Fingerprint(step.size_bytes, hashers[step.address].digest), kept)
            for step in self._files
        ]

    def _send_ready(self) -> list[Receipt]:
        payload = self._files[0].payload
        assert payload is not None  # noqa: S101  # file steps have one
        path = payload.local.path
        check_unchanged(payload.local)
        prints = archive_digests(path)
        kept = self._send_archive(
            lambda: self._counted(self._address, file_pieces(path)), path.stat().st_size, _extractable_name(path.name)
        )
        held = {step.address.file for step in self._files}
        return [
            self._receipt(step, prints[step.payload.local.member or ""], [name for name in kept if name in held])
            for step in self._files
            if step.payload is not None
        ]

    def _send_archive(self, body: Body, size_bytes: int, name: str) -> list[str]:
        fields = self._resource.fields

        def act(overwrite: bool) -> list[str]:  # noqa: FBT001  # one caller
            return self._destination.send_archive(
                self._address,
                body,
                size_bytes,
                name=name,
                overwrite=overwrite,
                format=fields.get("format", ""),
                content=fields.get("content", ""),
                tags=fields.get("tags", ""),
            )

        def arrived() -> bool:
            held = {file.name: file.size_bytes for file in self._destination.list_files(self._address)}
            return all(held.get(step.address.file or "") == step.size_bytes for step in self._files)

        self._tell(Began(tuple(step.address for step in self._files)))
        return self._persist(act, arrived, overwrite=any(step.decision is Decision.UPDATE for step in self._files))

    def _persist(self, act: Callable[[bool], list[str]], arrived: Callable[[], bool], *, overwrite: bool) -> list[str]:
        """Try an upload until its outcome is known: a repeat comes only after a look at the listing, and overwrites.

        Bytes of a failed try may lie on the server's disk without being listed (a catalog collision answers 500 after
        the bytes landed); a repeat without ``overwrite=true`` would be answered with *kept*.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return act(overwrite)
            except (UnavailableError, RefusedError) as error:
                if isinstance(error, RefusedError) and error.status != 500:
                    raise
                if attempt == ATTEMPTS:
                    raise
                pause = FIRST_PAUSE_S * 2 ** (attempt - 1) * (0.5 + self._random.random())
                asked = error.retry_after_s if isinstance(error, UnavailableError) else None
                self._pause(max(pause, asked or 0.0))
                if arrived():
                    return []
                overwrite = True
        raise AssertionError  # pragma: no cover  # the loop returns or raises

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self._stop.wait(min(left, 0.5)):
                raise StoppedError("stopped by the user")

    def _counted(self, address: Address, pieces: Iterator[bytes], hasher: Hasher | None = None) -> Iterator[bytes]:
        def seen(size_bytes: int) -> None:
            self._check_stop()
            self._tell(BytesSent(address, size_bytes))

        return watched(pieces, seen, hasher=hasher)

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise StoppedError("stopped by the user")

    @property
    def _address(self) -> Address:
        return self._resource.address

    @staticmethod
    def _receipt(step: Step, sent: Fingerprint, kept: Sequence[str]) -> Receipt:
        name = step.address.file or ""
        if name in kept or name.rsplit("/", 1)[-1] in kept:
            return Receipt(
                step.address, Outcome.KEPT, sent.size_bytes, sent.digest, "the server kept a file of this name"
            )
        return Receipt(step.address, Outcome.STORED, sent.size_bytes, sent.digest)


def _extractable_name(name: str) -> str:
    """A name by whose end XNAT knows the archive: it is case-sensitive and decides by suffix alone."""
    lower = name.lower()
    for ending in (".tar.gz", ".tgz", ".tar", ".zip"):
        if lower.endswith(ending):
            return "upload.tar.gz" if ending == ".tgz" else f"upload{ending}"
    return "upload.zip"
