"""What earlier runs of this computer sent to a project, so that a push finishes their uploads.

XNAT 1.8.11 keeps the part of an upload that arrived before the connection was lost: on its disk, not listed. It answers
the next upload of that name with *duplicates* and lists the part (recorded); only ``overwrite=true`` replaces it. The
same happens to files that were removed with their bytes kept. Only the journal shows whether such bytes are our own.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from xnatferry.errors import TransferError
from xnatferry.planning.remote_state import Fingerprint, HeldFile
from xnatferry.transfer.events import Outcome
from xnatferry.transfer.payload import payload_pieces
from xnatferry.transfer.runs import Run, list_runs
from xnatferry.xnat.digest import Hasher
from xnatferry.xnat.model import Address

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from xnatferry.planning.plan import Payload
    from xnatferry.planning.remote_state import RemoteState
    from xnatferry.transfer.destination import Destination


@dataclass
class EarlierRuns:
    """Runs to one project of one server, read when needed.

    Attributes:
        folder: Where runs are kept.
        server: Address of the server.
        project: Project ID.
        local: Whether the server is the archive of this computer, whose address changes.
        before: Name of the current run, which is excluded.
    """

    folder: Path
    server: str
    project: str
    local: bool = False
    before: str = ""

    @cached_property
    def _runs(self) -> list[Run]:
        """Oldest first; without runs that are still running."""
        found = [run for run in reversed(list_runs(self.folder)) if run.undoable and run.name != self.before]
        return [run for run in found if self._came_here(run.attributes) and not run.running]

    def _came_here(self, about: Mapping[str, object]) -> bool:
        same = bool(about.get("local")) if self.local else about.get("server") == self.server
        return same and about.get("project") == self.project

    @cached_property
    def unfinished(self) -> Mapping[Address, Payload]:
        """Files whose upload began and has no known result, with what was sent."""
        found: dict[Address, Payload] = {}
        for run in self._runs:
            if (run.end or {}).get("exit_code") == 0:  # the listing has shown every file
                continue
            open_files: set[Address] = set()
            for record in run.records():
                if record.get("record") == "began":
                    open_files |= {a for text in record["addresses"] if (a := Address.parse(text)).file is not None}
            for receipt in run.receipts():
                if receipt.outcome is Outcome.STORED or not (receipt.exit_code and receipt.may_have_acted):
                    open_files.discard(receipt.address)
                    found.pop(receipt.address, None)
            steps = run.plan.files if open_files and run.has_plan and run.plan is not None else ()
            found |= {s.address: s.payload for s in steps if s.address in open_files and s.payload is not None}
        return found

    @cached_property
    def _sent(self) -> Mapping[Address, set[Fingerprint]]:
        found: dict[Address, set[Fingerprint]] = defaultdict(set)
        for run in self._runs:
            for receipt in run.receipts():
                if receipt.outcome is Outcome.STORED and receipt.digest is not None:
                    found[receipt.address].add(Fingerprint(receipt.size_bytes, receipt.digest))
        return found

    def is_left_over(self, address: Address, held: HeldFile | None) -> bool:
        """Whether a run stored a file at *address*, and the server has that file, or does not list it."""
        sent = self._sent.get(address, set())
        return (
            bool(sent)
            if held is None
            else held.digest is not None and Fingerprint(held.size_bytes, held.digest) in sent
        )

    def is_part(self, destination: Destination, address: Address, held: HeldFile) -> bool:
        """Whether the listed file is the beginning of a file that a run did not finish; downloads it.

        Raises:
            RemoteError: The file cannot be read.
        """
        payload = self.unfinished.get(address)
        if payload is None or not (payload.gzip or held.size_bytes < payload.local.size_bytes):
            return False
        return _beginning(payload, held.size_bytes) == destination.read_digest(address)

    def without_parts(self, state: RemoteState, destination: Destination) -> RemoteState:
        """*state* without parts of files that interrupted runs left.

        Raises:
            RemoteError: A part cannot be read.
        """
        listed = ((address, state.held_file(address)) for address in self.unfinished)
        return state.without(a for a, held in listed if held is not None and self.is_part(destination, a, held))

    def replaceable(
        self, addresses: Iterable[Address], destination: Destination, listed: Mapping[Address, HeldFile]
    ) -> set[Address]:
        """New files that may replace a file of their name: a part that a run left, listed or not."""
        begun = [address for address in addresses if address in self.unfinished]
        return {a for a in begun if (held := listed.get(a)) is None or self.is_part(destination, a, held)}


def _beginning(payload: Payload, size_bytes: int) -> str | None:
    """MD5 of the first bytes of a file as it would be sent; None if it changed or is shorter."""
    hasher = Hasher()
    try:
        for piece in payload_pieces(payload):
            hasher.update(piece[: size_bytes - hasher.size_bytes])
            if hasher.size_bytes == size_bytes:
                return hasher.digest
    except TransferError:
        return None
    return hasher.digest if hasher.size_bytes == size_bytes else None
