"""Compares what a server lists with what it should hold, file by file."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from xnatferry.errors import RemoteError
from xnatferry.planning.plan import Decision, Plan, Step
from xnatferry.planning.reconcile import Fingerprint
from xnatferry.transfer.content import fingerprint
from xnatferry.transfer.events import Outcome, Proof, Receipt, Verdict
from xnatferry.xnat.model import Address

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from xnatferry.transfer.destination import Destination
    from xnatferry.xnat.records import RemoteFile

__all__ = ["verdicts_of", "verify_plan", "verify_session"]

_PROOFS = {Decision.CREATE: Proof.MISSING, Decision.UPDATE: Proof.DIFFERS, Decision.DIFFERS: Proof.DIFFERS}


def verdicts_of(plan: Plan) -> tuple[Verdict, ...]:
    """What a fresh plan says about each file: it has just compared source and server, so nothing is asked again."""
    found: list[Verdict] = []
    for step in plan.files:
        payload = step.payload
        held = payload.held_digest if payload is not None else None
        same = Proof.DIGEST if held is not None else Proof.SIZE
        size = step.size_bytes if step.decision is not Decision.CREATE else 0
        found.append(Verdict(step.address, _PROOFS.get(step.decision, same), size, step.reason))
    return tuple(found)


def verify_plan(
    plan: Plan, destination: Destination, sent: Mapping[Address, Receipt], *, workers: int = 4
) -> tuple[Verdict, ...]:
    """Give every file of *plan* its verdict, session by session.

    Args:
        plan: A plan that has been carried out, or should have been.
        destination: The server.
        sent: Receipts with the digests of what travelled, by address.
        workers: How many sessions are listed at the same time.

    Raises:
        RemoteError: The server cannot be asked.
    """
    by_session: dict[Address, list[Step]] = defaultdict(list)
    for step in plan.files:
        address = step.address
        by_session[Address(address.project, address.subject, address.session)].append(step)
    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(lambda pair: verify_session(pair[0], pair[1], destination, sent), by_session.items())
        return tuple(verdict for verdicts in found for verdict in verdicts)


def verify_session(
    session: Address, files: Sequence[Step], destination: Destination, sent: Mapping[Address, Receipt]
) -> list[Verdict]:
    """List the resources of one session once and give every file step its verdict.

    A file that the server acknowledged but does not list may lie on its disk without a catalog entry; the catalog is
    refreshed once, and the listing read again.

    Args:
        session: Where the files are.
        files: Every file step of the session, sent or found.
        destination: The server.
        sent: Receipts of files that were sent in this run, by address: their digests are of the bytes that travelled.

    Raises:
        RemoteError: The server cannot be asked.
    """
    listed = _listing(session, files, destination)
    unlisted = {
        step.address.parent
        for step in files
        if step.address not in listed and _acknowledged(sent.get(step.address)) and step.address.parent is not None
    }
    if unlisted:
        for resource in unlisted:
            _refresh(destination, resource)
        listed = _listing(session, files, destination)
    return [_verdict(step, listed.get(step.address), sent.get(step.address)) for step in files]


def _acknowledged(receipt: Receipt | None) -> bool:
    return receipt is not None and receipt.outcome in {Outcome.STORED, Outcome.KEPT}


def _refresh(destination: Destination, resource: Address) -> None:
    try:
        destination.refresh_catalog(resource, ["append", "populateStats", "checksum"])
    except RemoteError:
        return  # not permitted or not offered: the verdict will say that the file is missing


def _listing(session: Address, files: Iterable[Step], destination: Destination) -> dict[Address, RemoteFile]:
    found: dict[Address, RemoteFile] = {}
    resources = {step.address.parent for step in files}
    if any(resource is not None and resource.scan is not None for resource in resources):
        for file in destination.list_files(session, all_scans=True):
            address = Address(
                session.project, session.subject, session.session, file.scan, None, file.resource, file.name
            )
            found[address] = file
    for resource in resources:
        if resource is not None and resource.scan is None:
            for file in destination.list_files(resource):
                address = Address(
                    session.project, session.subject, session.session, None, None, file.resource, file.name
                )
                found[address] = file
    return found


def _verdict(step: Step, held: RemoteFile | None, receipt: Receipt | None) -> Verdict:
    if held is None:
        return Verdict(step.address, Proof.MISSING, message=receipt.message if receipt is not None else "")
    expected = _expected(step, receipt)
    if expected.size_bytes != held.size_bytes:
        why = f"{held.size_bytes} bytes there, {expected.size_bytes} here"
        return Verdict(step.address, Proof.DIFFERS, held.size_bytes, why)
    if held.digest is None:
        return Verdict(step.address, Proof.SIZE, held.size_bytes, "the server lists no digest")
    if held.digest == expected.digest:
        return Verdict(step.address, Proof.DIGEST, held.size_bytes)
    return Verdict(step.address, Proof.DIFFERS, held.size_bytes, f"digest {held.digest} there, {expected.digest} here")


def _expected(step: Step, receipt: Receipt | None) -> Fingerprint:
    if receipt is not None and receipt.digest is not None:
        return Fingerprint(receipt.size_bytes, receipt.digest)
    payload = step.payload
    assert payload is not None  # noqa: S101  # file steps have one
    if step.decision is Decision.SAME and payload.held_digest is not None and not payload.gzip:
        return Fingerprint(payload.local.size_bytes, payload.held_digest)  # compared when the plan was made
    return fingerprint(payload.local, gzip=payload.gzip)
