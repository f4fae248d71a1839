"""Compares the files of a server with what was sent, file by file; `digest_ladder` lists the kinds of evidence.

Files are downloaded and hashed if asked for (``--deep``), and files of this run whose digest is not the one that was
sent, because servers keep the MD5 of replaced bytes.

Of a file that was compressed on the way, the bytes say no more than who compressed it. Where they are not those that
this run sent, its content is compared (`FileComparer`).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from xnatferry.errors import FileChangedError
from xnatferry.planning.file_comparison import NO_DIGEST, FileComparer, proof_of
from xnatferry.planning.plan import Decision, Plan, Step
from xnatferry.planning.remote_state import Fingerprint, HeldFile
from xnatferry.planning.snapshot_steps import BY_RECORD
from xnatferry.transfer.digest_ladder import (
    BY_SIZE,
    COMPUTED,
    FETCHED,
    IN_CATALOG,
    LISTED,
    REPLACED,
    DigestLadder,
    resources_of,
)
from xnatferry.transfer.events import Outcome, Proof, Receipt, Verdict
from xnatferry.transfer.payload import fingerprint
from xnatferry.wording import counted
from xnatferry.xnat.model import Address
from xnatferry.xnat.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from xnatferry.transfer.destination import Destination

_PROOFS = {Decision.CREATE: Proof.MISSING, Decision.UPDATE: Proof.DIFFERS, Decision.DIFFERS: Proof.DIFFERS}


def verdicts_of(plan: Plan) -> tuple[Verdict, ...]:
    """Verdicts of a new plan, which has just compared source and server; no requests are sent."""
    found: list[Verdict] = []
    for step in plan.files:
        payload = step.payload
        held = payload.held_digest if payload is not None else None
        proof = _PROOFS.get(step.decision, Proof.DIGEST if held is not None else Proof.SIZE)
        evidence = {Proof.DIGEST: _evidence_of(step), Proof.SIZE: BY_SIZE}.get(proof, step.reason)
        if payload is not None and payload.local.made is not None:
            evidence = step.reason
        size = step.size_bytes if step.decision is not Decision.CREATE else 0
        found.append(Verdict(step.address, proof, size, evidence))
    return tuple(found)


def _evidence_of(step: Step) -> str:
    """How the plan knew that the server has the file of *step*."""
    return proof_of(step) or next((how for how in (IN_CATALOG, COMPUTED, FETCHED) if step.reason.endswith(how)), LISTED)


def verify_plan(
    plan: Plan,
    destination: Destination,
    sent: Mapping[Address, Receipt],
    *,
    workers: int = 4,
    deep: bool = False,
) -> tuple[Verdict, ...]:
    """Verify every file of *plan*, session by session.

    Args:
        plan: A plan that has been carried out.
        destination: The server.
        sent: Receipts with the digests of what was sent, by address.
        workers: How many sessions are read at the same time.
        deep: Whether to download every file and compute its MD5.

    Raises:
        RemoteError: The server cannot be read.
    """
    by_session: dict[Address, list[Step]] = defaultdict(list)
    for step in plan.files:
        address = step.address
        by_session[Address(address.project, address.subject, address.session)].append(step)
    verifier = Verifier(destination, deep=deep)
    found = thread_map(lambda pair: verifier.session(pair[0], pair[1], sent), by_session.items(), workers=workers)
    return tuple(verdict for verdicts in found for verdict in verdicts)


class Verifier:
    """Verifies files, and remembers which kinds of evidence the server does not offer. Thread-safe.

    Args:
        destination: The server.
        deep: Whether to download every file and compute its MD5.
    """

    def __init__(self, destination: Destination, *, deep: bool = False) -> None:
        self._ladder = DigestLadder(destination)
        self._comparer = FileComparer(fingerprint, destination.read_content)
        self._deep = deep

    def session(self, session: Address, files: Sequence[Step], sent: Mapping[Address, Receipt]) -> list[Verdict]:
        """List the resources of one session once, and verify every file step.

        A file that the server acknowledged but does not list may be on its disk without a catalog entry; the catalog
        is refreshed once, and the listing is read again.

        Args:
            session: Where the files are.
            files: All file steps of the session.
            sent: Receipts of files that were sent, by address, with the digests of the bytes that were sent.

        Raises:
            RemoteError: The server cannot be read.
        """
        listed = self._listed(session, files)
        unlisted = [s.address for s in files if s.address not in listed and _acknowledged(sent.get(s.address))]
        refreshed = [self._ladder.refresh(resource, "append", "populateStats") for resource in resources_of(unlisted)]
        if any(refreshed):
            listed = self._listed(session, files)
        expected = {step.address: _expected(step, sent.get(step.address)) for step in files if step.address in listed}
        if not self._deep:
            self._ladder.climb(listed, [step.address for step in files])
        return [self._verdict(step, listed.get(step.address), expected, sent.get(step.address)) for step in files]

    def _listed(self, session: Address, files: Iterable[Step]) -> dict[Address, HeldFile]:
        resources = resources_of(step.address for step in files)
        found: dict[Address, HeldFile] = {}
        if any(resource.scan is not None for resource in resources):
            found |= self._ladder.listed(session, all_scans=True)
        for resource in resources:
            if resource.scan is None:
                found |= self._ladder.listed(resource)
        return found

    def _verdict(
        self,
        step: Step,
        held: HeldFile | None,
        expected: Mapping[Address, Fingerprint | FileChangedError],
        receipt: Receipt | None,
    ) -> Verdict:
        address = step.address
        if held is None:
            return Verdict(address, Proof.MISSING, message=receipt.message if receipt is not None else "")
        if _is_recorded(step, receipt):
            return Verdict(address, Proof.SIZE, held.size_bytes, BY_RECORD)
        here = expected[address]
        if _was_compressed(step) and not _was_sent(receipt):
            return self._by_content(step, held)
        found = self._by_bytes(held, here, address, receipt)
        if found.proof is Proof.DIFFERS and _was_compressed(step):
            return self._by_content(step, held, otherwise=found)
        return found

    def _by_bytes(
        self, held: HeldFile, here: Fingerprint | FileChangedError, address: Address, receipt: Receipt | None
    ) -> Verdict:
        if isinstance(here, FileChangedError):
            return Verdict(address, Proof.UNKNOWN, held.size_bytes, str(here))
        if here.size_bytes != held.size_bytes:
            why = f"{counted(held.size_bytes, 'byte')} on the server, {here.size_bytes:,} local"
            return Verdict(address, Proof.DIFFERS, held.size_bytes, why)
        if not self._deep and held.digest == here.digest:
            return Verdict(address, Proof.DIGEST, held.size_bytes, held.evidence)
        # A digest that is not ours may be that of the bytes that were there before ours.
        doubtful = held.digest is not None or held.evidence == REPLACED
        if self._deep or (doubtful and _acknowledged(receipt)):
            return self._fetched(address, held, here)
        if held.digest is None:
            return Verdict(address, Proof.SIZE, held.size_bytes, held.evidence)
        why = f"{held.evidence}: {held.digest} on the server, {here.digest} local"
        return Verdict(address, Proof.DIFFERS, held.size_bytes, why)

    def _by_content(self, step: Step, held: HeldFile, otherwise: Verdict | None = None) -> Verdict:
        """The verdict of a file that is compressed on the way; *otherwise* where the local file is no longer there."""
        payload, address, size = step.payload, step.address, held.size_bytes
        assert payload is not None  # noqa: S101  # file steps have one
        as_planned = step.decision is Decision.SAME and held.digest is not None and held.digest == payload.held_digest
        if as_planned and not self._deep:
            return Verdict(address, Proof.DIGEST, size, proof_of(step) or held.evidence)
        try:
            found = self._comparer.compare(payload, held, address, deep=self._deep)
        except FileChangedError as error:
            return otherwise or Verdict(address, Proof.UNKNOWN, size, str(error))
        if found.same is None:
            return Verdict(address, Proof.UNKNOWN, size, found.message)
        if found.message == NO_DIGEST:
            return Verdict(address, Proof.SIZE, size, held.evidence)
        return Verdict(address, Proof.DIGEST if found.same else Proof.DIFFERS, size, found.message or held.evidence)

    def _fetched(self, address: Address, held: HeldFile, here: Fingerprint) -> Verdict:
        there = self._ladder.read(address)
        if there is None:
            return Verdict(address, Proof.UNKNOWN, held.size_bytes, "the file cannot be downloaded")
        if there != here.digest:
            why = f"{FETCHED}: {there} on the server, {here.digest} local"
            return Verdict(address, Proof.DIFFERS, held.size_bytes, why)
        stale = f"; the listing has another digest ({held.digest})" if held.digest not in {None, there} else ""
        return Verdict(address, Proof.DIGEST, held.size_bytes, FETCHED + stale)


def _is_recorded(step: Step, receipt: Receipt | None) -> bool:
    """Whether *step* is a snapshot that this run did not send: it is not drawn again to compare its bytes."""
    made = step.payload is not None and step.payload.local.made is not None
    return made and (receipt is None or receipt.digest is None)


def _was_compressed(step: Step) -> bool:
    return step.payload is not None and step.payload.gzip


def _was_sent(receipt: Receipt | None) -> bool:
    return receipt is not None and receipt.digest is not None


def _acknowledged(receipt: Receipt | None) -> bool:
    return receipt is not None and receipt.outcome in {Outcome.STORED, Outcome.KEPT}


def _expected(step: Step, receipt: Receipt | None) -> Fingerprint | FileChangedError:
    if receipt is not None and receipt.digest is not None:
        return Fingerprint(receipt.size_bytes, receipt.digest)
    payload = step.payload
    assert payload is not None  # noqa: S101  # file steps have one
    if payload.gzip or payload.local.made is not None:
        return Fingerprint(step.size_bytes, "")  # compared by content, or vouched for by a record
    if step.decision is Decision.SAME and payload.held_digest is not None:
        return Fingerprint(payload.local.size_bytes, payload.held_digest)  # compared when the plan was made
    try:
        return fingerprint(payload.local)
    except FileChangedError as error:
        return error
