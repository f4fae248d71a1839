"""Sends the files of one resource, with one writer, and checks the listing after a lost reply."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from xnatferry.errors import FileChangedError, NotFoundError, RefusedError, UnavailableError, XnatferryError
from xnatferry.planning.plan import Decision, Payload, Step, Transport
from xnatferry.planning.remote_state import Fingerprint
from xnatferry.retry import pause_before_next
from xnatferry.transfer.batching import batches, halves
from xnatferry.transfer.digest_ladder import NO_DIGEST, DigestLadder
from xnatferry.transfer.events import Began, Event, Outcome, Receipt
from xnatferry.transfer.payload import fingerprint
from xnatferry.transfer.request_bodies import RequestBodies
from xnatferry.xnat.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from xnatferry.transfer.destination import Destination
    from xnatferry.transfer.run_context import RunContext
    from xnatferry.xnat.records import RemoteFile

#: Lost connections during one archive after which its size is assumed to be the reason.
CUTS_BEFORE_SPLIT = 2
#: No answer at all, or a gateway that did not wait for one.
_CUT_OFF = {None, 504}


@dataclass(slots=True)
class _Batch:
    """Files that are sent in one request.

    Attributes:
        steps: What is still to be sent.
        overwrite: Whether existing files of these names may be replaced: by the plan, or because a failed try of this
            run stored them.
        whole: Whether this is the complete archive of the user, which can be sent unchanged.
    """

    steps: list[Step]
    overwrite: bool
    whole: bool = False

    @property
    def size_bytes(self) -> int:
        return sum(step.size_bytes for step in self.steps)


class ResourceSender:
    """One writer for one resource.

    XNAT rewrites a resource's catalog with every upload; two writers to one resource lose entries or get 500
    (``CatalogUtils.storeCatalogEntry``), so nothing here runs in parallel.

    Args:
        destination: The server.
        resource: The step of the resource; its transport defines how the files are sent.
        files: The file steps to send.
        emit: Called with progress.
        context: Shared by all senders of a run.
        remake: Creates the session once more, if this run created it and it does not exist on the server.
        complete: Whether *files* are all files of the resource in the plan.
        overwrite: Whether files of an earlier try of this run on the disk of the server are replaced.
    """

    def __init__(
        self,
        destination: Destination,
        resource: Step,
        files: Sequence[Step],
        emit: Callable[[Event], None],
        context: RunContext,
        *,
        remake: Callable[[], None] = lambda: None,
        complete: bool = True,
        overwrite: bool = False,
    ) -> None:
        self._destination = destination
        self._resource = resource
        self._files = files
        self._emit = emit
        self._context = context
        self._remake = remake
        self._complete = complete
        self._overwrite = overwrite
        self._bodies = RequestBodies(resource, emit, context)

    @property
    def sets_resource_fields(self) -> bool:
        """Whether the uploads alone give a new resource the format, content and tags of the plan.

        XNAT creates a missing resource for an upload and gives it the format and content of the upload. 1.6.4 keeps
        those of the first file, 1.8.11 those of the last file (both recorded). Only for sessions that no other writer
        uses.
        """
        fields = self._resource.fields
        if not self._files or not fields.get("format") or not fields.get("content"):
            return False
        if self._resource.transport is not Transport.SINGLE:
            return True
        order = self._image_last(self._files)
        fields_sent = self._entry_fields(order[-1])
        if any(fields_sent.get(word) != fields[word] for word in ("format", "content")) or fields.get("tags"):
            return False
        return self._entry_fields(order[0]) == fields_sent or self._destination.last_file_names_resource()

    def send(self) -> Iterator[Receipt]:
        """Send everything; yields one receipt per file, also after errors."""
        for batch in self._first_batches():
            yield from self._deliver(batch)

    def _first_batches(self) -> Iterator[_Batch]:
        """Files by decision: new files must not replace files that others stored since the plan."""
        groups = self._by_overwrite()
        # The record of snapshots is sent after the snapshots.
        for overwrite in reversed(groups) if self._has_pictures() else groups:
            steps = groups[overwrite]
            if not steps:
                continue
            if self._resource.transport is Transport.SINGLE:
                yield from (_Batch([step], overwrite) for step in self._image_last(steps))
                continue
            limit = self._context.body_size_limit.limit
            fits = limit is None or sum(step.size_bytes for step in steps) <= limit
            if fits and self._bodies.has_ready_archive(steps) and self._complete and len(steps) == len(self._files):
                yield _Batch(steps, overwrite, whole=True)
            else:
                steps = self._bodies.in_archive_order(steps)
                yield from (_Batch(group, overwrite) for group in batches(steps, limit))

    def _by_overwrite(self) -> dict[bool, list[Step]]:
        """Files by whether they may replace a file of their name: by the plan, or because an earlier run left it."""
        replacing = {step.address for step in self._files if step.decision is Decision.UPDATE}
        earlier, new = self._context.earlier, [s.address for s in self._files if s.decision is Decision.CREATE]
        if earlier is not None and not earlier.unfinished.keys().isdisjoint(new):
            listed = DigestLadder(self._destination).listed(self._resource.address)
            replacing |= earlier.replaceable(new, self._destination, listed)
        groups: dict[bool, list[Step]] = {False: [], True: []}
        for step in self._files:
            groups[self._overwrite or step.address in replacing].append(step)
        return groups

    def _image_last(self, steps: Sequence[Step]) -> list[Step]:
        """XNAT gives a resource the format and content of the file stored last (``CatalogUtils.configureResource``)."""
        content = self._resource.fields.get("content")
        return sorted(
            steps,
            key=lambda step: (
                self._has_pictures() and step.fields.get("content") == content,
                self._has_resource_format(step),
            ),
        )

    def _has_pictures(self) -> bool:
        return any(_payload(step).local.made is not None for step in self._files)

    def _has_resource_format(self, step: Step) -> bool:
        return step.fields.get("format") == self._resource.fields.get("format")

    def _deliver(self, batch: _Batch) -> Iterator[Receipt]:
        """Send a batch; if a file cannot be read, it is left out and the others are sent."""
        while batch.steps:
            try:
                self._context.check()
                yield from self._send_until_settled(batch)
            except XnatferryError as error:
                unread = self._bodies.unread(batch.steps)
                if unread is not None and len(batch.steps) > 1:
                    yield Receipt.failed(unread.address, error)
                    batch.steps = [step for step in batch.steps if step is not unread]
                    batch.whole = False
                    yield from self._settled_or_failed(batch)
                    continue
                if unread is None and isinstance(error, UnavailableError) and error.status != 429:
                    self._context.outage.failed(error)
                yield from (Receipt.failed(step.address, error) for step in batch.steps)
                batch.steps = []

    def _settled_or_failed(self, batch: _Batch) -> Iterator[Receipt]:
        try:
            yield from self._settled(batch)
        except XnatferryError as error:
            yield from (Receipt.failed(step.address, error) for step in batch.steps)
            batch.steps = []

    def _send_until_settled(self, batch: _Batch) -> Iterator[Receipt]:
        """Repeat an upload until its result is known; the listing is read before each repeat.

        Stored files are not sent again. Bytes of a failed try may be on the server's disk without being listed (a
        catalog collision answers 500 after the bytes are stored); a repeat without ``overwrite=true`` would be answered
        with *kept*. A body that is too large, or is cut off several times, is split into smaller batches.

        Raises:
            XnatferryError: The remaining files of the batch could not be sent.
        """
        cuts = 0
        self._emit(Began(tuple(step.address for step in batch.steps)))
        for attempt in count(1):
            size = batch.size_bytes
            try:
                kept = self._send(batch)
            except (UnavailableError, RefusedError, NotFoundError) as error:
                if self._bodies.unread(batch.steps) is not None:
                    raise
                if _too_large(error) and len(batch.steps) > 1:
                    self._context.body_size_limit.refused(size)
                    yield from self._split(batch)
                    return
                if isinstance(error, NotFoundError) and error.status is not None and attempt == 1:
                    self._remake()
                else:
                    self._context.pause(pause_before_next(error, attempt))
                    cuts += error.status in _CUT_OFF
            else:
                self._context.body_size_limit.taken(size)
                self._context.outage.succeeded()
                left_over = self._left_over(batch, kept)
                yield from (self._receipt(step, kept) for step in batch.steps if step not in left_over)
                batch.steps = left_over
                if not left_over:
                    return
                batch.overwrite, batch.whole = True, False
                continue
            yield from self._settled(batch)
            if not batch.steps:
                return
            batch.whole = False
            if cuts == CUTS_BEFORE_SPLIT and len(batch.steps) > 1:
                self._context.body_size_limit.refused(size)
                yield from self._split(batch)
                return

    def _split(self, batch: _Batch) -> Iterator[Receipt]:
        steps = self._bodies.in_archive_order(batch.steps)
        limit = self._context.body_size_limit.limit
        groups = batches(steps, limit)
        if len(groups) < 2:
            groups = halves(steps)
        batch.steps = []
        for group in groups:
            yield from self._deliver(_Batch(group, batch.overwrite))

    def _left_over(self, batch: _Batch, kept: Sequence[str]) -> list[Step]:
        """New files that the server did not store, because an earlier run left a file there: they are sent again."""
        earlier = self._context.earlier
        steps = [step for step in batch.steps if not batch.overwrite and _is_named(step, kept)]
        if earlier is None or not steps:
            return []
        ladder = DigestLadder(self._destination)
        listed = ladder.listed(self._resource.address)
        ladder.climb(listed, [step.address for step in steps], fetch=NO_DIGEST)
        found = {step.address: listed.get(step.address) for step in steps}
        return [
            step
            for step in steps
            if earlier.is_left_over(step.address, held := found[step.address])
            and (held is None or held.digest != self._fingerprint_of(step).digest)
        ]

    def _settled(self, batch: _Batch) -> Iterator[Receipt]:
        """After a failed try: receipts for files that the server lists; the others remain in the batch."""
        held = {file.name: file for file in self._listed()}
        left = []
        for step in batch.steps:
            listed = held.get(step.address.file or "")
            if listed is None:
                left.append(step)
                continue
            here = self._fingerprint_of(step)
            same_size = listed.size_bytes == here.size_bytes
            # Without a listed digest, an equal size proves nothing for a file that replaces another.
            unknown = listed.digest is None and step.decision is Decision.CREATE
            if same_size and (unknown or listed.digest == here.digest):
                yield self._receipt(step, ())
            elif step.decision is Decision.CREATE:
                yield self._receipt(step, (step.address.file or "",))
            else:
                left.append(step)
        batch.steps = left
        batch.overwrite = True

    def _listed(self) -> list[RemoteFile]:
        try:
            return self._destination.list_files(self._resource.address)
        except NotFoundError:  # another client is creating its container
            return []

    def _send(self, batch: _Batch) -> list[str]:
        """Send one request; returns the names of files that the server did not replace."""
        fields = self._resource.fields
        if self._resource.transport is Transport.SINGLE:
            step = batch.steps[0]
            body, size = self._bodies.single(step)
            fields_sent = self._entry_fields(step)
            return self._destination.send_file(
                step.address,
                body,
                size,
                overwrite=batch.overwrite,
                format=fields_sent.get("format", ""),
                content=fields_sent.get("content", ""),
            )
        body, size = self._bodies.ready_archive(batch.steps) if batch.whole else self._bodies.packed(batch.steps)
        return self._destination.send_archive(
            self._resource.address,
            body,
            size,
            name="upload.zip",
            overwrite=batch.overwrite,
            format=fields.get("format", ""),
            content=fields.get("content", ""),
            tags=fields.get("tags", ""),
        )

    def _entry_fields(self, step: Step) -> Mapping[str, str]:
        """Format and content sent with a file; without an image, other files must not change those of the resource."""
        fields = self._resource.fields
        alone = not any(self._has_resource_format(other) for other in self._files)
        return fields if alone and fields.get("format") else step.fields

    def _fingerprint_of(self, step: Step) -> Fingerprint:
        """Size and MD5 of what was sent; of a file that was not sent completely, of what would be sent."""
        payload = _payload(step)
        if (sent := self._bodies.sent(step)) is not None:
            return sent
        if payload.local.made is not None and self._context.snapshot_pool is not None:
            data = self._context.snapshot_pool.picture(payload.local)
            return Fingerprint(len(data), digest_of([data]))
        return fingerprint(payload.local, gzip=payload.gzip)

    def _receipt(self, step: Step, kept: Sequence[str]) -> Receipt:
        try:
            sent = self._fingerprint_of(step)
            self._bodies.complete(step)
        except XnatferryError as error:
            return Receipt.failed(step.address, error)
        expected = _payload(step).local.digest
        if _is_named(step, kept):
            message = "the server did not replace an existing file of this name"
            return Receipt(step.address, Outcome.KEPT, sent.size_bytes, sent.digest, message)
        if expected not in {None, sent.digest} and not _payload(step).gzip:
            changed = FileChangedError(f"{_payload(step).local.path}: content changed since the plan was made")
            return Receipt.failed(step.address, changed)
        scrub = _payload(step).local.scrub
        return Receipt(step.address, Outcome.STORED, sent.size_bytes, sent.digest, "" if scrub is None else str(scrub))


def _is_named(step: Step, kept: Sequence[str]) -> bool:
    name = step.address.file or ""
    return name in kept or name.rsplit("/", 1)[-1] in kept


def _too_large(error: XnatferryError) -> bool:
    return isinstance(error, RefusedError) and error.status == 413


def _payload(step: Step) -> Payload:
    assert step.payload is not None  # noqa: S101  # file steps have one
    return step.payload
