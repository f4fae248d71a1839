"""What a sender takes for its own, and what it leaves to others, when a try has failed."""

import pytest
from peer import busy

from xnatferry import retry
from xnatferry.planning.plan import Decision, Payload, Plan, Step, Transport
from xnatferry.sources.model import LocalFile
from xnatferry.transfer.engine import carry_out
from xnatferry.transfer.events import Outcome
from xnatferry.xnat.model import Address, Level

SESSION = Address("P", "s", "s_MR1")
RESOURCE = SESSION.child(Level.RESOURCE, "R")
PLACE = RESOURCE.child(Level.FILE, "a.txt")
OURS, THEIRS = b"our bytes", b"not ours."


@pytest.fixture
def push(remote, tmp_path, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE_S", 0.001)
    containers = [Step(Address("P"), Decision.CREATE), Step(Address("P", "s"), Decision.CREATE)]
    containers.append(Step(SESSION, Decision.CREATE, xsi_type="xnat:mrSessionData"))

    def push(resource, decision=None):
        steps = [*containers, resource]
        if decision is not None:
            path = tmp_path / "a.txt"
            path.write_bytes(OURS)
            local = LocalFile(path, "a.txt", len(OURS), path.stat().st_mtime_ns)
            steps.append(Step(PLACE, decision, payload=Payload(local)))
        return carry_out(Plan(remote.connection.url, "P", tuple(steps)), remote, workers=1)

    return push


def comes_before(peer, data):
    """Somebody stores a file under our name while our first try fails."""

    def act(handler, seen):
        handler.read_body(seen)
        resource = peer.projects["P"].children["s"].children["s_MR1"].resources["R"]
        resource.disk["a.txt"] = data
        peer.catalogue(resource, "a.txt")
        return busy()

    peer.fail("PUT", "/files/a.txt", act)


def held(peer):
    return peer.files("P", "s", "s_MR1", "R")


@pytest.mark.parametrize(("data", "outcome"), [(OURS, Outcome.STORED), (THEIRS, Outcome.KEPT)])
def test_a_new_file_of_our_name_is_ours_when_it_has_our_bytes(peer, push, data, outcome):
    assert len(OURS) == len(THEIRS)
    comes_before(peer, data)
    result = push(Step(RESOURCE, Decision.CREATE), Decision.CREATE)
    assert {receipt.address: receipt.outcome for receipt in result.receipts}[PLACE] is outcome
    assert held(peer) == {"a.txt": data}
    assert len(peer.seen("PUT", "/files/a.txt")) == 1
    assert bool(result.exit_code) == (data is THEIRS)


@pytest.mark.parametrize("digests", [True, False])
def test_a_file_that_is_to_be_replaced_is_sent_again_unless_it_is_proven_there(peer, push, digests):
    peer.digests = digests
    comes_before(peer, THEIRS)
    push(Step(RESOURCE, Decision.CREATE), Decision.UPDATE)
    assert held(peer) == {"a.txt": OURS}
    assert len(peer.seen("PUT", "/files/a.txt")) == 2


@pytest.mark.parametrize("transport", [Transport.SINGLE, Transport.PACKED])
def test_a_resource_without_files_is_made_all_the_same(peer, push, transport):
    fields = {"format": "TXT", "content": "STATS"}
    result = push(Step(RESOURCE, Decision.CREATE, fields=fields, transport=transport))
    assert result.exit_code == 0
    assert held(peer) == {}
