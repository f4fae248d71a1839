"""Bodies of upload requests: one file, a zip made on the fly, or the user's archive; counted, hashed, rate-limited."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from xnatferry.errors import XnatferryError
from xnatferry.planning.plan import Payload, Step, Transport
from xnatferry.planning.remote_state import Fingerprint
from xnatferry.transfer.events import BytesSent, Event
from xnatferry.transfer.payload import (
    ArchiveWalk,
    archive_digests,
    archive_names,
    check_unchanged,
    file_pieces,
    measured,
    payload_pieces,
    watched,
)
from xnatferry.xnat.archives import is_zip
from xnatferry.xnat.digest import Hasher, held_back
from xnatferry.xnat.zips import ZipMember, ZipStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from xnatferry.transfer.destination import Body
    from xnatferry.transfer.run_context import RunContext
    from xnatferry.xnat.gzip_stream import Measured
    from xnatferry.xnat.model import Address


class RequestBodies:
    """Makes the bodies of one resource's uploads, again for every try, and stores size and MD5 of what was sent.

    Args:
        resource: The resource's step.
        emit: Called with progress; the bytes of a failed try are subtracted again.
        context: Rate limit and stop event.
    """

    def __init__(self, resource: Step, emit: Callable[[Event], None], context: RunContext) -> None:
        self._resource = resource
        self._emit = emit
        self._context = context
        self._hashers: dict[Address, Hasher] = {}
        self._sizes: dict[Address, int] = {}
        self._measured: dict[Address, Measured] = {}
        self._reported: dict[Address, int] = {}
        self._unread: set[Address] = set()
        self._member_digests: dict[str, Fingerprint] | None = None
        self._walk: ArchiveWalk | None = None

    def single(self, step: Step) -> tuple[Body, int]:
        """The body of one file, and its size."""
        payload = _payload(step)
        if payload.local.made is not None:
            return self._picture(step, payload)
        size = self._size_of(step)
        return lambda: self._hashed(step), size

    def _size_of(self, step: Step) -> int:
        """How many bytes of *step* go out. What is compressed is made twice: its length must be announced."""
        payload, address = _payload(step), step.address
        if payload.gzip and address not in self._measured:
            with self._noting_unread(step):
                self._measured[address] = measured(payload.local)
        found = self._measured.get(address)
        self._sizes[address] = payload.local.size_bytes if found is None else found.size_bytes
        return self._sizes[address]

    def _picture(self, step: Step, payload: Payload) -> tuple[Body, int]:
        """The body of a snapshot, and its size."""
        check_unchanged(payload.local)
        assert self._context.snapshot_pool is not None  # noqa: S101  # a plan with snapshots has one
        data = self._context.snapshot_pool.picture(payload.local)
        check_unchanged(payload.local)
        self._sizes[step.address] = len(data)

        def body() -> Iterator[bytes]:
            self._rewind(step.address)
            hasher = self._hashers[step.address] = Hasher()
            return self._counted(step.address, iter((data,)), hasher)

        return body, len(data)

    def packed(self, steps: Sequence[Step]) -> tuple[Body, int]:
        """A zip of *steps*, made while it is sent, and its size."""
        members = []
        for step in steps:
            size = self._size_of(step)
            members.append(ZipMember(step.address.file or "", size, lambda step=step: self._hashed(step)))  # type: ignore[misc]
        archive = ZipStream(members)
        return lambda: archive, archive.size_bytes

    def ready_archive(self, steps: Sequence[Step]) -> tuple[Body, int]:
        """The user's own archive, and its size."""
        local = _payload(steps[0]).local
        check_unchanged(local)
        self._digests_of_archive(local.path)
        self._rewind(self._resource.address)

        def body() -> Iterator[bytes]:
            pieces = held_back(file_pieces(local.path), partial(check_unchanged, local))
            return self._counted(self._resource.address, pieces)

        return body, local.path.stat().st_size

    def has_ready_archive(self, steps: Sequence[Step]) -> bool:
        """Whether the user's archive can be sent unchanged: a zip of exactly these files, without scrubbing.

        Tars are converted to zips, as XNAT extracts them only from 1.8.
        """
        if self._resource.transport is not Transport.READY or any(_payload(step).local.scrub for step in steps):
            return False
        paths = {_payload(step).local.path for step in steps}
        if len(paths) != 1 or not is_zip(path := paths.pop()):
            return False
        return {_payload(step).local.member for step in steps} == self._digests_of_archive(path).keys()

    def in_archive_order(self, steps: Sequence[Step]) -> list[Step]:
        """Members of an archive in its order, so that it is read once; other files in the given order."""
        local = _payload(steps[0]).local
        if local.member is None:
            return list(steps)
        if self._resource.transport is Transport.READY:
            names: Iterable[str] = self._digests_of_archive(local.path)
        else:  # converted: a tar would be read from its start for every member
            names = archive_names(local.path)
            self._walk = ArchiveWalk(local.path)
        order = {name: place for place, name in enumerate(names)}
        return sorted(steps, key=lambda step: order.get(_payload(step).local.member or "", len(order)))

    def sent(self, step: Step) -> Fingerprint | None:
        """Size and MD5 of what was sent for *step*; None when it was not sent completely."""
        local = _payload(step).local
        member = local.member
        if self._member_digests is not None and member is not None and local.scrub is None:
            return self._member_digests.get(member)
        hasher = self._hashers.get(step.address)
        if hasher is None or hasher.size_bytes != self._sizes[step.address]:
            return None
        return Fingerprint(hasher.size_bytes, hasher.digest)

    def complete(self, step: Step) -> None:
        """Report the remaining bytes of a finished file, saved by compression or not sent again."""
        if self._resource.address in self._reported:
            self._rewind(self._resource.address)
        if rest := step.size_bytes - self._reported.pop(step.address, 0):
            self._emit(BytesSent(step.address, rest))

    def _digests_of_archive(self, path: Path) -> dict[str, Fingerprint]:
        if self._member_digests is None:
            self._member_digests = archive_digests(path)
            self._walk = ArchiveWalk(path)
        return self._member_digests

    def _hashed(self, step: Step) -> Iterator[bytes]:
        self._rewind(step.address)
        hasher = self._hashers[step.address] = Hasher()
        return self._counted(step.address, self._read(step), hasher)

    def _read(self, step: Step) -> Iterator[bytes]:
        with self._noting_unread(step):
            yield from payload_pieces(_payload(step), self._walk, self._measured.get(step.address))

    @contextmanager
    def _noting_unread(self, step: Step) -> Iterator[None]:
        self._unread.discard(step.address)
        try:
            yield
        except XnatferryError:
            self._unread.add(step.address)
            raise

    def unread(self, steps: Sequence[Step]) -> Step | None:
        """The one of *steps* that could not be read from the disk, or from the server that it is copied from."""
        return next((step for step in steps if step.address in self._unread), None)

    def _rewind(self, address: Address) -> None:
        if reported := self._reported.pop(address, 0):
            self._emit(BytesSent(address, -reported))

    def _counted(self, address: Address, pieces: Iterator[bytes], hasher: Hasher | None = None) -> Iterator[bytes]:
        rate_limit = self._context.rate_limit
        self._reported[address] = 0

        def seen(size_bytes: int) -> None:
            self._context.check_stop()
            self._reported[address] = self._reported.get(address, 0) + size_bytes
            self._emit(BytesSent(address, size_bytes))

        return watched(rate_limit.limited(pieces) if rate_limit is not None else pieces, seen, hasher=hasher)


def _payload(step: Step) -> Payload:
    assert step.payload is not None  # noqa: S101  # file steps have one
    return step.payload
