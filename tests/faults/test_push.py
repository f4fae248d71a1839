"""A push, disturbed in every way we know: it ends proven, or it names every file that is not."""

import pytest
from peer import running_peer
from scripts import SCRIPTS, another_session_remains

from xnatferry import retry
from xnatferry.client.http import Timeouts
from xnatferry.client.remote import Remote
from xnatferry.client.settings import Connection, Secret
from xnatferry.errors import XnatferryError
from xnatferry.planning.plan import Decision, Payload, Plan, Step, Transport
from xnatferry.sources.model import LocalFile
from xnatferry.transfer.engine import carry_out
from xnatferry.transfer.events import Outcome, Proof
from xnatferry.xnat.labels import remote_name_problem
from xnatferry.xnat.model import Address, Level

SESSION = Address("P", "s1", "s1_MR1")
NIFTI = Address("P", "s1", "s1_MR1", "1", resource="NIFTI")
FS = Address("P", "s1", "s1_MR1", resource="FREESURFER7")
CONTENT = {
    NIFTI.child(Level.FILE, "t1,(a)=+@1.nii.gz"): b"\x1f\x8bimage" * 3000,
    FS.child(Level.FILE, "s1/stats/aseg.stats"): b"# Measure\n" * 300,
    FS.child(Level.FILE, "s1/mri/orig é.mgz"): b"\x1f\x8b" * 20000,
    FS.child(Level.FILE, "s1/touch/empty"): b"",
}


@pytest.fixture
def plan(tmp_path):
    def file(address, data):
        assert remote_name_problem(address.file) is None
        path = tmp_path / address.file.replace("/", "_")
        path.write_bytes(data)
        return Step(
            address, Decision.CREATE, payload=Payload(LocalFile(path, address.file, len(data), path.stat().st_mtime_ns))
        )

    containers = [
        Step(Address("P"), Decision.CREATE),
        Step(Address("P", "s1"), Decision.CREATE),
        Step(SESSION, Decision.CREATE, xsi_type="xnat:mrSessionData"),
        Step(NIFTI.container, Decision.CREATE, xsi_type="xnat:mrScanData", fields={"type": "T1w"}),
        Step(NIFTI, Decision.CREATE, transport=Transport.SINGLE, fields={"format": "NIFTI"}),
        Step(FS, Decision.CREATE, transport=Transport.PACKED),
    ]
    return Plan("http://peer", "P", (*containers, *(file(address, data) for address, data in CONTENT.items())))


CASES = [pytest.param(script, era, id=f"{script}, {era}") for script in SCRIPTS for era in script.eras]


@pytest.mark.parametrize(("script", "era"), CASES)
def test_a_push_ends_proven_or_names_every_file(script, era, plan, monkeypatch):
    monkeypatch.setattr(retry, "FIRST_PAUSE_S", 0.001)
    with running_peer(era) as peer:
        script.prepare(peer)
        connection = Connection(peer.url, "ferry", Secret("s3cret-Passw0rd"))
        with Remote(connection, Timeouts(read_s=5, stored_s=5), pause=lambda _: None) as remote:
            try:
                result = carry_out(plan, remote, workers=2)
            except XnatferryError:
                if script.heals:
                    raise
                return
        stored = {}
        for address in (NIFTI, FS):
            labels = [label for label in (address.project, address.subject, address.session, address.scan) if label]
            try:
                stored[address] = sorted(peer.files(*labels, address.resource).values())
            except KeyError:
                stored[address] = []
        verdicts = {verdict.address: verdict for verdict in result.verdicts}
        named = {r.address for r in result.receipts if r.outcome in {Outcome.FAILED, Outcome.STOPPED}}
        for address, data in CONTENT.items():
            verdict = verdicts.get(address)
            if verdict is not None and verdict.proof.good:
                assert verdict.proof is (Proof.DIGEST if era == "1.6.4" or peer.digests else Proof.SIZE)
                assert data in stored[address.parent], "sworn, and not there"
            else:
                assert not script.heals, (verdict, [r for r in result.receipts if r.message])
                unproven = {v.address for v in result.unproven}
                assert address in named | unproven or SESSION in named, "neither proven nor named"
        assert script.heals or any(not (verdicts.get(a) and verdicts[a].proof.good) for a in CONTENT), (
            "it healed after all"
        )


def test_files_that_are_sent_again_replace_those_of_the_first_try(plan, peer, remote):
    """The folder of a session whose label another client took can still contain the bytes."""
    peer.fail("GET", "/scans/ALL/files$", another_session_remains)
    assert carry_out(plan, remote, workers=1).exit_code == 0
    sent = [seen.query.get("overwrite") for seen in peer.seen("PUT", "/resources/NIFTI/files/")]
    assert sent == ["false", "true"]
