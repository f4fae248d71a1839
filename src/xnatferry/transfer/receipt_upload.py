"""Uploads the receipt of a push to the project (``--record``): resource ``XNATFERRY``, one JSON file per run."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from xnatferry import __version__
from xnatferry.errors import VerifyError
from xnatferry.transfer.events import Began, Outcome, Receipt
from xnatferry.transfer.journal import event_to_dict
from xnatferry.xnat.digest import Hasher
from xnatferry.xnat.model import Address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xnatferry.transfer.destination import Destination
    from xnatferry.transfer.events import PushResult
    from xnatferry.transfer.journal import Journal

#: Label of the project resource.
RESOURCE = "XNATFERRY"


def record_on_server(
    result: PushResult, about: Mapping[str, Any], project: str, destination: Destination, journal: Journal
) -> Address:
    """Upload the receipt; returns its address. It is in the journal, so an undo removes it.

    Args:
        result: The push.
        about: Attributes of the run; no secrets and no paths of this computer.
        project: Project ID.
        destination: The server.
        journal: The run's journal; its name becomes the name of the file.

    Raises:
        RemoteError: It cannot be stored.
        VerifyError: The server does not list it afterwards.
    """
    address = Address(project, resource=RESOURCE, file=f"{journal.name}.json")
    resource = replace(address, file=None)
    text = json.dumps(_receipt_of(result, about, journal.name), indent=1, ensure_ascii=False).encode()
    hasher = Hasher()
    hasher.update(text)
    journal(Began((resource,)))
    made = destination.ensure_resource(resource, format="JSON", content="RECEIPT")
    journal(Receipt(resource, Outcome.CREATED if made.created else Outcome.FOUND))
    journal(Began((address,)))
    destination.send_file(address, lambda: [text], len(text), format="JSON", content="RECEIPT")
    held = {file.name: file for file in destination.list_files(resource)}.get(address.file or "")
    if held is None or held.size_bytes != len(text) or held.digest not in {None, hasher.digest}:
        raise VerifyError(f"{address}: the receipt was sent, but the server does not have it")
    journal(Receipt(address, Outcome.STORED, len(text), hasher.digest))
    return address


def _receipt_of(result: PushResult, about: Mapping[str, Any], run: str) -> dict[str, Any]:
    return {
        "xnatferry_receipt": 1,
        "run": run,
        "xnatferry": __version__,
        **about,
        "exit_code": result.exit_code,
        "outcomes": dict(Counter(receipt.outcome.value for receipt in result.receipts)),
        "proofs": dict(Counter(verdict.proof.value for verdict in result.verdicts)),
        "receipts": [event_to_dict(receipt) for receipt in result.receipts],
        "verdicts": [event_to_dict(verdict) for verdict in result.verdicts],
    }
