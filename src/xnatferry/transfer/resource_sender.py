"""Sends the files of one resource, one writer at a time, and never believes a reply that did not come."""

from __future__ import annotations

from dataclasses import dataclass
from random import SystemRandom
from typing import TYPE_CHECKING

from xnatferry.errors import FileChangedError, RefusedError, UnavailableError, XnatferryError
from xnatferry.planning.plan import Decision, Payload, Step, Transport
from xnatferry.planning.remote_state import Fingerprint
from xnatferry.transfer.batching import batches, halves
from xnatferry.transfer.events import Began, Event, Outcome, Receipt
from xnatferry.transfer.payload import fingerprint
from xnatferry.transfer.request_bodies import RequestBodies
from xnatferry.xnat.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from xnatferry.transfer.destination import Destination
    from xnatferry.transfer.run_context import RunContext

__all__ = ["ResourceSender"]

#: Tries of one upload, the first included.
ATTEMPTS = 5
#: Seconds before the second try; doubled each time, with jitter.
FIRST_PAUSE_S = 0.5
#: A server that asks to wait longer than this, in seconds, is left to the user.
LONGEST_PAUSE_S = 60.0
#: Connections lost over one archive, after which its size is held to be the reason.
CUTS_BEFORE_SPLIT = 2
#: No answer at all, or a gateway that did not wait for one.
_CUT_OFF = {None, 504}


@dataclass(slots=True)
class _Batch:
    """Files that travel in one request.

    Attributes:
        steps: What is still to be sent.
        overwrite: Whether what lies on the server's disk under these names may be replaced: by the plan, or because a
            failed try of ours put it there.
        whole: Whether this is all of the user's own archive, which can travel as it is.
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
        resource: The resource's step; its transport says how the files travel.
        files: The file steps to send.
        tell: Told of progress.
        context: Shared by all senders of a run.
        complete: Whether *files* are all files of the resource in the plan.
    """

    def __init__(
        self,
        destination: Destination,
        resource: Step,
        files: Sequence[Step],
        tell: Callable[[Event], None],
        context: RunContext,
        *,
        complete: bool = True,
    ) -> None:
        self._destination = destination
        self._resource = resource
        self._files = files
        self._tell = tell
        self._conditions = context
        self._complete = complete
        self._bodies = RequestBodies(resource, tell, context)
        self._random = SystemRandom()

    @property
    def describes(self) -> bool:
        """Whether the uploads by themselves leave a resource that is not there yet as the plan wants it.

        XNAT makes a missing resource for an upload and gives it the upload's format and content (recorded: 1.6.4;
        1.8: ``CatalogUtils.configureResource``). Two at once would lose entries, so this is for who is alone there.
        """
        fields = self._resource.fields
        if not self._files or not fields.get("format") or not fields.get("content"):
            return False
        if self._resource.transport is not Transport.SINGLE:
            return True
        last = self._image_last(self._files)[-1]
        said = self._said_with(last)
        return not fields.get("tags") and all(said.get(word) == fields[word] for word in ("format", "content"))

    def send(self) -> Iterator[Receipt]:
        """Send everything; yields a receipt for every file, whatever happens."""
        for batch in self._first_parcels():
            yield from self._delivered(batch)

    def _first_parcels(self) -> Iterator[_Batch]:
        """Files by decision: what the plan adds must not replace what came there since."""
        decisions = (Decision.CREATE, Decision.UPDATE)
        # The record of pictures must not come before those that it vouches for.
        for decision in reversed(decisions) if self._has_pictures() else decisions:
            steps = [step for step in self._files if step.decision is decision]
            overwrite = decision is Decision.UPDATE
            if not steps:
                continue
            if self._resource.transport is Transport.SINGLE:
                yield from (_Batch([step], overwrite) for step in self._image_last(steps))
                continue
            limit = self._conditions.body_size_limit.limit
            fits = limit is None or sum(step.size_bytes for step in steps) <= limit
            if fits and self._bodies.can_go_as_it_is(steps) and self._complete and len(steps) == len(self._files):
                yield _Batch(steps, overwrite, whole=True)
            else:
                steps = self._bodies.in_reading_order(steps)
                yield from (_Batch(group, overwrite) for group in batches(steps, limit))

    def _image_last(self, steps: Sequence[Step]) -> list[Step]:
        """XNAT gives a resource the format and content of the file stored last (``CatalogUtils.configureResource``)."""
        content = self._resource.fields.get("content")
        return sorted(
            steps,
            key=lambda step: (
                self._has_pictures() and step.fields.get("content") == content,
                self._speaks_for_resource(step),
            ),
        )

    def _has_pictures(self) -> bool:
        return any(_payload(step).local.made is not None for step in self._files)

    def _speaks_for_resource(self, step: Step) -> bool:
        return step.fields.get("format") == self._resource.fields.get("format")

    def _delivered(self, batch: _Batch) -> Iterator[Receipt]:
        try:
            self._conditions.check()
            yield from self._persist(batch)
        except XnatferryError as error:
            if isinstance(error, UnavailableError) and error.status != 429:
                self._conditions.outage.failed(error)
            yield from (Receipt.failed(step.address, error) for step in batch.steps)
            batch.steps = []

    def _persist(self, batch: _Batch) -> Iterator[Receipt]:
        """Try an upload until its outcome is known: a repeat comes only after a look at the listing.

        What has arrived is not sent again. Bytes of a failed try may lie on the server's disk without being listed (a
        catalog collision answers 500 after the bytes landed); a repeat without ``overwrite=true`` would be answered
        with *kept*. A body that is too large for the way, or is cut off again and again, travels in smaller parcels.

        Raises:
            XnatferryError: What is left in the parcel could not be delivered.
        """
        cuts = 0
        self._tell(Began(tuple(step.address for step in batch.steps)))
        for attempt in range(1, ATTEMPTS + 1):
            size = batch.size_bytes
            try:
                kept = self._send(batch)
            except (UnavailableError, RefusedError) as error:
                if _too_large(error) and len(batch.steps) > 1:
                    self._conditions.body_size_limit.refused(size)
                    yield from self._in_smaller(batch)
                    return
                self._wait_before_next(error, attempt)
                cuts += error.status in _CUT_OFF
            else:
                self._conditions.body_size_limit.taken(size)
                self._conditions.outage.worked()
                yield from (self._receipt(step, kept) for step in batch.steps)
                batch.steps = []
                return
            yield from self._settled(batch)
            if not batch.steps:
                return
            batch.whole = False
            if cuts == CUTS_BEFORE_SPLIT and len(batch.steps) > 1:
                self._conditions.body_size_limit.refused(size)
                yield from self._in_smaller(batch)
                return

    def _in_smaller(self, batch: _Batch) -> Iterator[Receipt]:
        steps = self._bodies.in_reading_order(batch.steps)
        limit = self._conditions.body_size_limit.limit
        groups = batches(steps, limit)
        if len(groups) < 2:
            groups = halves(steps)
        batch.steps = []
        for group in groups:
            yield from self._delivered(_Batch(group, batch.overwrite))

    def _wait_before_next(self, error: UnavailableError | RefusedError, attempt: int) -> None:
        """Wait before the next try.

        Raises:
            RemoteError: There is none: *error* is final, or was the last.
        """
        if attempt == ATTEMPTS or (isinstance(error, RefusedError) and error.status != 500):
            raise error
        pause = FIRST_PAUSE_S * 2 ** (attempt - 1) * (0.5 + self._random.random())
        query = error.retry_after_s if isinstance(error, UnavailableError) else None
        if query is not None and query > LONGEST_PAUSE_S:
            raise error
        self._conditions.pause(max(pause, query or 0.0))

    def _settled(self, batch: _Batch) -> Iterator[Receipt]:
        """After a failed try: receipts for what the server lists all the same; the rest stays in the parcel."""
        held = {file.name: file for file in self._destination.list_files(self._resource.address)}
        left = []
        for step in batch.steps:
            listed = held.get(step.address.file or "")
            if listed is None:
                left.append(step)
                continue
            here = self._print_of(step)
            same_size = listed.size_bytes == here.size_bytes
            # Where no digest is listed, a size proves nothing about a file that replaces another.
            blind = listed.digest is None and step.decision is Decision.CREATE
            if same_size and (blind or listed.digest == here.digest):
                yield self._receipt(step, ())
            elif step.decision is Decision.CREATE:
                yield self._receipt(step, (step.address.file or "",))
            else:
                left.append(step)
        batch.steps = left
        batch.overwrite = True

    def _send(self, batch: _Batch) -> list[str]:
        """One request; returns the names the server says it kept instead."""
        fields = self._resource.fields
        if self._resource.transport is Transport.SINGLE:
            step = batch.steps[0]
            body, size = self._bodies.single(step)
            said = self._said_with(step)
            return self._destination.send_file(
                step.address,
                body,
                size,
                overwrite=batch.overwrite,
                format=said.get("format", ""),
                content=said.get("content", ""),
            )
        body, size = self._bodies.as_it_is(batch.steps) if batch.whole else self._bodies.packed(batch.steps)
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

    def _said_with(self, step: Step) -> Mapping[str, str]:
        """Format and content that travel with a file; without an image its companions must not rename the resource."""
        fields = self._resource.fields
        alone = not any(self._speaks_for_resource(other) for other in self._files)
        return fields if alone and fields.get("format") else step.fields

    def _print_of(self, step: Step) -> Fingerprint:
        """Size and MD5 as they travelled; of a file that has not gone out in full, as it would."""
        payload = _payload(step)
        if (sent := self._bodies.sent(step)) is not None:
            return sent
        if payload.local.made is not None and self._conditions.snapshot_pool is not None:
            data = self._conditions.snapshot_pool.picture(payload.local)
            return Fingerprint(len(data), digest_of([data]))
        return fingerprint(payload.local, gzip=payload.gzip)

    def _receipt(self, step: Step, kept: Sequence[str]) -> Receipt:
        try:
            sent = self._print_of(step)
            self._bodies.complete(step)
        except XnatferryError as error:
            return Receipt.failed(step.address, error)
        name, expected = step.address.file or "", _payload(step).local.digest
        if name in kept or name.rsplit("/", 1)[-1] in kept:
            message = "the server kept a file of this name"
            return Receipt(step.address, Outcome.KEPT, sent.size_bytes, sent.digest, message)
        if expected not in {None, sent.digest} and not _payload(step).gzip:
            changed = FileChangedError(f"{_payload(step).local.path}: holds other bytes than when the plan was made")
            return Receipt.failed(step.address, changed)
        scrub = _payload(step).local.scrub
        return Receipt(step.address, Outcome.STORED, sent.size_bytes, sent.digest, "" if scrub is None else str(scrub))


def _too_large(error: XnatferryError) -> bool:
    return isinstance(error, RefusedError) and error.status == 413


def _payload(step: Step) -> Payload:
    assert step.payload is not None  # noqa: S101  # file steps have one
    return step.payload
