"""Compares the files of a server with what was sent, file by file.

Kinds of evidence, from the cheapest to the most expensive; the message of a verdict names the one that was used:

1. the MD5 in the listing (XNAT 1.8 with checksums enabled);
2. the MD5 in the catalog document of the resource (1.6.4, whose listings have none);
3. the MD5 that the server computes when its catalog is refreshed, if the account has the permission;
4. size and name;
5. the bytes themselves, fetched and hashed: for every file when asked for (``--deep``), and for files of this run whose
   listed MD5 is not the one that was sent, because servers keep the MD5 of replaced bytes.

Of a file that was compressed on the way, the bytes say no more than who compressed it. Where they are not those that
this run sent, its content is compared (`FileComparer`).
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from xnatferry.errors import FileChangedError, NotFoundError, RefusedError, RemoteError, UnavailableError
from xnatferry.planning.file_comparison import NO_DIGEST, FileComparer, proof_of
from xnatferry.planning.plan import Decision, Plan, Step
from xnatferry.planning.remote_state import Fingerprint, HeldFile
from xnatferry.planning.snapshot_steps import BY_RECORD
from xnatferry.transfer.events import Outcome, Proof, Receipt, Verdict
from xnatferry.transfer.payload import fingerprint
from xnatferry.wording import counted
from xnatferry.xnat.model import Address
from xnatferry.xnat.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from xnatferry.transfer.destination import Destination
    from xnatferry.xnat.records import RemoteFile

__all__ = ["Verifier", "verdicts_of", "verify_plan"]

LISTED = "digest in the listing"
IN_CATALOG = "digest in the catalog document"
COMPUTED = "digest computed by the server when asked"
FETCHED = "bytes fetched and hashed"
BY_SIZE = "size and name; the server gives no digest"

_PROOFS = {Decision.CREATE: Proof.MISSING, Decision.UPDATE: Proof.DIFFERS, Decision.DIFFERS: Proof.DIFFERS}


def verdicts_of(plan: Plan) -> tuple[Verdict, ...]:
    """Verdicts of a new plan, which has just compared source and server; no requests are sent."""
    found: list[Verdict] = []
    for step in plan.files:
        payload = step.payload
        held = payload.held_digest if payload is not None else None
        proof = _PROOFS.get(step.decision, Proof.DIGEST if held is not None else Proof.SIZE)
        evidence = {Proof.DIGEST: proof_of(step) or LISTED, Proof.SIZE: BY_SIZE}.get(proof, step.reason)
        if payload is not None and payload.local.made is not None:
            evidence = step.reason
        size = step.size_bytes if step.decision is not Decision.CREATE else 0
        found.append(Verdict(step.address, proof, size, evidence))
    return tuple(found)


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
        self._destination = destination
        self._comparer = FileComparer(fingerprint, destination.read_content)
        self._deep = deep
        self._first_try = threading.Lock()
        self._documents_have_digests = True
        self._server_computes: bool | None = None

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
        evidence_of = dict.fromkeys(listed, LISTED)
        unlisted = [s for s in files if s.address not in listed and _acknowledged(sent.get(s.address))]
        if unlisted:
            refreshed = [self._refresh(resource, "append", "populateStats") for resource in _resources(unlisted)]
            if any(refreshed):
                listed = self._listed(session, files)
                evidence_of = dict.fromkeys(listed, LISTED)
        expected = {step.address: _expected(step, sent.get(step.address)) for step in files if step.address in listed}
        if not self._deep:
            self._find_digests(session, files, listed, evidence_of)
        return [self._verdict(step, listed, evidence_of, expected, sent.get(step.address)) for step in files]

    def _find_digests(
        self,
        session: Address,
        files: Sequence[Step],
        listed: dict[Address, RemoteFile],
        evidence_of: dict[Address, str],
    ) -> None:
        """Find digests that are not in the listing: in the catalog documents, then by a refresh of the catalog."""
        if self._documents_have_digests and (without_digest := _without_digest(files, listed)):
            found = {a: digest for resource in _resources(without_digest) for a, digest in self._documented(resource)}
            _note(found, IN_CATALOG, without_digest, listed, evidence_of)
            self._documents_have_digests = self._documents_have_digests and bool(found)
        if self._server_computes is not False and (without_digest := _without_digest(files, listed)):
            if self._server_computes is None:
                with self._first_try:  # the other sessions wait until one knows whether the server does this
                    found = self._computed(session, without_digest) if self._server_computes is not False else {}
            else:
                found = self._computed(session, without_digest)
            _note(found, COMPUTED, without_digest, listed, evidence_of)

    def _computed(self, session: Address, without_digest: Sequence[Step]) -> dict[Address, str]:
        """Digests that the server computes on request."""
        query = [self._refresh(resource, "checksum") for resource in _resources(without_digest)]
        fresh = self._listed(session, without_digest) if any(query) else {}
        found = {address: file.digest for address, file in fresh.items() if file.digest is not None}
        if any(query) and not found:
            found = {a: digest for resource in _resources(without_digest) for a, digest in self._documented(resource)}
        self._server_computes = bool(found)
        return found

    def _documented(self, resource: Address) -> list[tuple[Address, str]]:
        """Digests in the catalog document of one resource."""
        try:
            found = self._destination.list_digests(resource)
        except UnavailableError:
            raise
        except RemoteError:
            return []
        return [(replace(resource, file=name), digest) for name, digest in found.items()]

    def _refresh(self, resource: Address, *options: str) -> bool:
        """Refresh the catalog with *options*; False when this is not permitted or not offered."""
        try:
            self._destination.refresh_catalog(resource, options)
        except UnavailableError:
            raise
        except RemoteError:
            return False
        return True

    def _listed(self, session: Address, files: Iterable[Step]) -> dict[Address, RemoteFile]:
        found: dict[Address, RemoteFile] = {}
        resources = _resources(files)
        if any(resource.scan is not None for resource in resources):
            for file in self._held(session, all_scans=True):
                found[replace(session, scan=file.scan, resource=file.resource, file=file.name)] = file
        for resource in resources:
            if resource.scan is None:
                for file in self._held(resource):
                    found[replace(resource, file=file.name)] = file
        return found

    def _held(self, address: Address, *, all_scans: bool = False) -> list[RemoteFile]:
        """One listing; empty when the container of the files does not exist, as after a push that was stopped."""
        try:
            return self._destination.list_files(address, all_scans=all_scans)
        except NotFoundError as error:
            if error.status is None:  # the server itself is not found
                raise
            return []

    def _verdict(
        self,
        step: Step,
        listed: Mapping[Address, RemoteFile],
        evidence_of: Mapping[Address, str],
        expected: Mapping[Address, Fingerprint | FileChangedError],
        receipt: Receipt | None,
    ) -> Verdict:
        address = step.address
        held = listed.get(address)
        if held is None:
            return Verdict(address, Proof.MISSING, message=receipt.message if receipt is not None else "")
        if _is_recorded(step, receipt):
            return Verdict(address, Proof.SIZE, held.size_bytes, BY_RECORD)
        here = expected[address]
        if _was_compressed(step) and not _was_sent(receipt):
            return self._by_content(step, held, evidence_of[address])
        found = self._by_bytes(held, here, evidence_of[address], address, receipt)
        if found.proof is Proof.DIFFERS and _was_compressed(step):
            return self._by_content(step, held, evidence_of[address], otherwise=found)
        return found

    def _by_bytes(
        self,
        held: RemoteFile,
        here: Fingerprint | FileChangedError,
        rung: str,
        address: Address,
        receipt: Receipt | None,
    ) -> Verdict:
        if isinstance(here, FileChangedError):
            return Verdict(address, Proof.UNKNOWN, held.size_bytes, str(here))
        if here.size_bytes != held.size_bytes:
            why = f"{counted(held.size_bytes, 'byte')} on the server, {here.size_bytes:,} local"
            return Verdict(address, Proof.DIFFERS, held.size_bytes, why)
        if not self._deep and held.digest == here.digest:
            return Verdict(address, Proof.DIGEST, held.size_bytes, rung)
        # A digest that is not ours may be that of the bytes that were there before ours.
        stale = held.digest is not None and _acknowledged(receipt)
        if self._deep or stale:
            return self._fetched(address, held, here)
        if held.digest is None:
            return Verdict(address, Proof.SIZE, held.size_bytes, BY_SIZE)
        why = f"{rung}: {held.digest} there, {here.digest} here"
        return Verdict(address, Proof.DIFFERS, held.size_bytes, why)

    def _by_content(self, step: Step, held: RemoteFile, rung: str, otherwise: Verdict | None = None) -> Verdict:
        """The verdict of a file that is compressed on the way; *otherwise* where the local file is no longer there."""
        payload, address, size = step.payload, step.address, held.size_bytes
        assert payload is not None  # noqa: S101  # file steps have one
        as_planned = step.decision is Decision.SAME and held.digest is not None and held.digest == payload.held_digest
        if as_planned and not self._deep:
            return Verdict(address, Proof.DIGEST, size, proof_of(step) or rung)
        try:
            found = self._comparer.compare(payload, HeldFile(size, held.digest), address, deep=self._deep)
        except FileChangedError as error:
            return otherwise or Verdict(address, Proof.UNKNOWN, size, str(error))
        if found.same is None:
            return Verdict(address, Proof.UNKNOWN, size, found.message)
        if found.message == NO_DIGEST:
            return Verdict(address, Proof.SIZE, size, BY_SIZE)
        return Verdict(address, Proof.DIGEST if found.same else Proof.DIFFERS, size, found.message or rung)

    def _fetched(self, address: Address, held: RemoteFile, here: Fingerprint) -> Verdict:
        try:
            there = self._destination.read_digest(address)
        except (NotFoundError, RefusedError) as error:
            return Verdict(address, Proof.UNKNOWN, held.size_bytes, f"the file cannot be downloaded: {error}")
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


def _resources(files: Iterable[Step]) -> list[Address]:
    """The resources of *files*, without duplicates, in order."""
    return list(dict.fromkeys(replace(step.address, file=None) for step in files))


def _without_digest(files: Iterable[Step], listed: Mapping[Address, RemoteFile]) -> list[Step]:
    return [step for step in files if (held := listed.get(step.address)) is not None and held.digest is None]


def _note(
    found: Mapping[Address, str],
    evidence: str,
    steps: Iterable[Step],
    listed: dict[Address, RemoteFile],
    evidence_of: dict[Address, str],
) -> None:
    for step in steps:
        if (digest := found.get(step.address)) is not None:
            listed[step.address] = replace(listed[step.address], digest=digest)
            evidence_of[step.address] = evidence


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
