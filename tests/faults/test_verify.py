"""What a verdict is worth: which proof each server can give, and that no kind of evidence is taken for another."""

from dataclasses import replace

import pytest
from peer import OLD, Reply, Resource, Thing, busy, page

from xnatferry.errors import NotFoundError, UnavailableError
from xnatferry.planning.plan import Decision, Payload, Plan, Step
from xnatferry.planning.snapshot_steps import BY_RECORD
from xnatferry.sources.model import LocalFile, Made
from xnatferry.transfer.events import Outcome, Proof, Receipt
from xnatferry.transfer.payload import payload_pieces
from xnatferry.transfer.verify import BY_SIZE, COMPUTED, FETCHED, IN_CATALOG, LISTED, verdicts_of, verify_plan
from xnatferry.xnat.digest import digest_of
from xnatferry.xnat.model import Address, Level

SESSION = Address("P", "s", "s_MR1")
ON_SESSION = SESSION.child(Level.RESOURCE, "R")
ON_SCAN = SESSION.child(Level.SCAN, "1").child(Level.RESOURCE, "NIFTI")
DATA = b"the right bytes"
RIGHT, WRONG = digest_of([DATA]), digest_of([b"the wrong bytes"])


@pytest.fixture(params=[ON_SESSION, ON_SCAN], ids=["session", "scan"])
def address(request, peer):
    """A file, and an empty resource on the server for it."""
    project = peer.projects["P"] = Thing("P", "P", "xnat:projectData")
    subject = project.children["s"] = Thing("XNAT_S1", "s", "xnat:subjectData")
    session = subject.children["s_MR1"] = Thing("XNAT_E1", "s_MR1", "xnat:mrSessionData", subject="XNAT_S1")
    scan = session.children["1"] = Thing("1", "1", "xnat:mrScanData")
    owner = session if request.param is ON_SESSION else scan
    owner.resources[request.param.resource] = Resource("17", request.param.resource)
    return request.param.child(Level.FILE, "t1.nii")


@pytest.fixture
def resource(peer, address):
    session = peer.projects["P"].children["s"].children["s_MR1"]
    return (session if address.scan is None else session.children["1"]).resources[address.resource]


@pytest.fixture
def holds(peer, address, resource):
    """Let the server hold bytes; listed with their MD5, or with another."""

    def store(data=DATA, *, digest=None, listed=True):
        resource.disk[address.file] = data
        if listed:
            peer.catalogue(resource, address.file)
            resource.catalog[address.file]["digest"] = digest or digest_of([data])

    return store


@pytest.fixture
def verdict(remote, tmp_path, address):
    """The verdict on the file."""

    def verify(*, decision=Decision.CREATE, receipt=None, held_digest=None, deep=False, data=DATA):
        path = tmp_path / "t1.nii"
        path.write_bytes(data)
        local = LocalFile(path, "t1.nii", len(data), path.stat().st_mtime_ns)
        step = Step(address, decision, payload=Payload(local, held_digest=held_digest))
        sent = {} if receipt is None else {address: receipt}
        (found,) = verify_plan(Plan("", "P", (step,)), remote, sent, workers=1, deep=deep)
        assert found.address == address
        return found

    return verify


def stored(address, outcome=Outcome.STORED, digest=RIGHT):
    return Receipt(address, outcome, len(DATA), digest)


def test_a_listed_digest_decides(holds, verdict, address):
    holds()
    found = verdict()
    assert (found.proof, found.size_bytes, found.message) == (Proof.DIGEST, len(DATA), LISTED)
    holds(b"the wrong bytes")
    found = verdict()
    assert found.proof is Proof.DIFFERS
    assert LISTED in found.message
    assert WRONG in found.message
    assert RIGHT in found.message


def test_another_size_is_another_file_whatever_else_is_listed(holds, verdict, peer):
    holds(DATA + b"!", digest=RIGHT)
    found = verdict()
    assert (found.proof, found.size_bytes) == (Proof.DIFFERS, len(DATA) + 1)
    assert f"{len(DATA) + 1} bytes on the server, {len(DATA)} local" in found.message
    peer.digests = False
    assert verdict().proof is Proof.DIFFERS, "without a digest the size is all there is"


def test_without_digests_the_size_is_the_proof_and_the_verdict_says_so(holds, verdict, peer):
    peer.digests = False
    holds()
    found = verdict()
    assert (found.proof, found.message) == (Proof.SIZE, BY_SIZE)


def test_what_is_not_there_is_missing(verdict, address):
    failed = Receipt(address, Outcome.FAILED, message="no permission", exit_code=3)
    assert (verdict().proof, verdict().message) == (Proof.MISSING, "")
    assert (verdict(receipt=failed).proof, verdict(receipt=failed).message) == (Proof.MISSING, "no permission")


@pytest.mark.parametrize("era", [OLD], indirect=True)
def test_an_old_server_has_digests_in_its_catalog_documents_only(holds, verdict, era):
    holds()
    assert (verdict().proof, verdict().message) == (Proof.DIGEST, IN_CATALOG)


# --- digests that have to be looked for ------------------------------------------------------------------------------


def catalogue(address, digest=RIGHT):
    """The catalog document of the resource, as 1.6.4 and 1.8 give it."""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><cat:Catalog xmlns:cat="http://nrg.wustl.edu/catalog"><cat:entries>'
        f'<cat:entry URI="{address.file}" name="{address.file}" digest="{digest}"/></cat:entries></cat:Catalog>'
    )
    return Reply(200, text, {"Content-Type": "text/xml"})


def catalogs_of(peer, answer, times=99):
    peer.fail("GET", r"/resources/[^/]+$", answer, times=times)


def test_the_catalog_document_has_the_digest_that_the_listing_has_not(holds, verdict, peer, address):
    peer.digests = False
    holds()
    catalogs_of(peer, catalogue(address))
    assert (verdict().proof, verdict().message) == (Proof.DIGEST, IN_CATALOG)
    assert not peer.seen("POST", "/refresh/catalog"), "nothing is asked for that is known"
    peer.faults.clear()
    catalogs_of(peer, catalogue(address, WRONG))
    assert verdict().proof is Proof.DIFFERS
    assert IN_CATALOG in verdict().message


def computes(peer):
    """Digests are listed once the server was asked to compute them."""

    def act(handler, seen):
        assert seen.query["options"] == "checksum", "files that others put on the disk stay off the listing"
        peer.digests = True

    peer.fail("POST", "/refresh/catalog", act, times=99)


def test_the_server_computes_a_digest_when_it_is_asked(holds, verdict, peer):
    peer.digests = False
    holds()
    computes(peer)
    found = verdict()
    assert (found.proof, found.message) == (Proof.DIGEST, COMPUTED)


def test_a_computed_digest_may_stand_in_the_catalog_alone(holds, verdict, peer, address):
    peer.digests = False
    holds()
    peer.fail("POST", "/refresh/catalog", lambda handler, seen: catalogs_of(peer, catalogue(address)))
    found = verdict()
    assert (found.proof, found.message) == (Proof.DIGEST, COMPUTED)


@pytest.mark.parametrize("pattern", ["/refresh/catalog", r"/resources/[^/]+$"])
def test_a_rung_that_is_refused_is_passed_over_and_one_that_is_down_is_not(holds, verdict, peer, pattern):
    peer.digests = False
    holds()
    peer.fail("*", pattern, page(403, "no permission"), times=99)
    assert verdict().proof is Proof.SIZE
    if "refresh" in pattern:
        assert len(peer.seen("GET", r"/resources/[^/]+$")) == 1, "nothing has changed since"
    peer.faults.clear()
    peer.fail("*", pattern, busy(), times=99)
    with pytest.raises(UnavailableError):
        verdict()


def test_what_does_not_help_is_tried_once_for_all_sessions(peer, remote, tmp_path, address, resource, holds):
    peer.digests = False
    holds()
    subject = peer.projects["P"].children["s"]
    path, steps = tmp_path / "t1.nii", []
    path.write_bytes(DATA)
    local = LocalFile(path, "t1.nii", len(DATA), path.stat().st_mtime_ns)
    for number in range(1, 4):
        label = f"s_MR{number}"
        subject.children[label] = replace(subject.children["s_MR1"], id=f"XNAT_E{number}", label=label)
        steps.append(Step(replace(address, session=label), Decision.CREATE, payload=Payload(local)))
    found = verify_plan(Plan("", "P", tuple(steps)), remote, {}, workers=1)
    assert [verdict.proof for verdict in found] == [Proof.SIZE] * 3
    assert len(peer.seen("POST", "/refresh/catalog")) == 1
    assert len(peer.seen("GET", r"/resources/[^/]+$")) == 2, "before and after the server was asked to compute"


@pytest.fixture
def two(peer, remote, tmp_path, address):
    """Verdicts on two files of which this account may touch the resource of one only."""
    other = SESSION.child(Level.RESOURCE, "OTHER").child(Level.FILE, "t1.nii")
    held = peer.projects["P"].children["s"].children["s_MR1"].resources["OTHER"] = Resource("18", "OTHER")
    held.disk["t1.nii"] = DATA
    path = tmp_path / "t1.nii"
    path.write_bytes(DATA)
    local = LocalFile(path, "t1.nii", len(DATA), path.stat().st_mtime_ns)
    steps = tuple(Step(one, Decision.CREATE, payload=Payload(local)) for one in (other, address))
    peer.fail(
        "POST", "/refresh/catalog", page(403, "no"), times=99, where=lambda seen: "OTHER" in seen.query["resource"]
    )

    def verify(*, listed):
        if listed:
            peer.catalogue(held, "t1.nii")
        sent = {} if listed else {step.address: stored(step.address) for step in steps}
        return [verdict.proof for verdict in verify_plan(Plan("", "P", steps), remote, sent)]

    return verify


def test_one_resource_that_is_refused_keeps_no_other_from_being_looked_for(holds, two):
    holds(listed=False)
    assert two(listed=False) == [Proof.MISSING, Proof.DIGEST]


def test_one_resource_that_is_refused_keeps_no_other_from_being_computed(holds, two, peer):
    peer.digests = False
    holds()
    computes(peer)
    assert two(listed=True)[1] is Proof.DIGEST


# --- what was sent just now ------------------------------------------------------------------------------------------


def test_what_was_acknowledged_and_is_not_listed_is_looked_for_once(holds, verdict, address, peer):
    holds(listed=False)
    assert verdict(receipt=stored(address)).proof is Proof.DIGEST
    (asked,) = peer.seen("POST", "/refresh/catalog")
    assert sorted(asked.query["options"].split(",")) == ["append", "populateStats"]


def test_what_was_not_sent_is_not_put_on_the_listing(holds, verdict, address, peer):
    holds(listed=False)
    assert verdict().proof is Proof.MISSING
    assert verdict(receipt=Receipt(address, Outcome.FAILED)).proof is Proof.MISSING
    assert not peer.seen("POST", "/refresh/catalog")


def test_a_digest_of_bytes_that_were_there_before_is_not_believed(holds, verdict, address, peer):
    holds(digest=WRONG)
    found = verdict(receipt=stored(address))
    assert found.proof is Proof.DIGEST
    assert found.message.startswith(FETCHED)
    assert WRONG in found.message
    assert verdict().proof is Proof.DIFFERS, "what this run did not send is not fetched"
    assert len(peer.seen("GET", "/files/t1.nii")) == 1


@pytest.mark.parametrize("outcome", [Outcome.STORED, Outcome.KEPT])
def test_other_bytes_are_found_out_by_fetching_them(holds, verdict, address, outcome):
    holds(b"the wrong bytes")
    found = verdict(receipt=stored(address, outcome))
    assert found.proof is Proof.DIFFERS
    assert f"{FETCHED}: {WRONG} on the server, {RIGHT} local" in found.message


def test_what_travelled_counts_not_what_lies_here_by_now(holds, verdict, address):
    holds()
    assert verdict(receipt=stored(address), data=b"changed by now").proof is Proof.DIGEST
    gone = verdict(decision=Decision.SAME, held_digest=RIGHT, data=DATA)
    assert gone.proof is Proof.DIGEST


def test_deep_believes_no_listing(holds, verdict, peer):
    holds(b"the wrong bytes", digest=RIGHT)
    assert verdict().proof is Proof.DIGEST
    assert verdict(deep=True).proof is Proof.DIFFERS
    holds()
    found = verdict(deep=True)
    assert (found.proof, found.message) == (Proof.DIGEST, FETCHED)
    peer.digests = False
    found = verdict(deep=True)
    assert (found.proof, found.message) == (Proof.DIGEST, FETCHED)
    assert not peer.seen("POST", "/refresh/catalog")


def test_what_cannot_be_fetched_is_not_known(holds, verdict, peer):
    holds()
    peer.fail("GET", "/files/t1.nii", page(403, "no permission"), times=9)
    with pytest.raises(Exception, match="no permission"):
        verdict(deep=True)
    peer.faults.clear()
    peer.fail("GET", "/files/t1.nii", page(404, "no file"), times=9)
    found = verdict(deep=True)
    assert (found.proof, found.size_bytes) == (Proof.UNKNOWN, len(DATA))
    assert "cannot be downloaded" in found.message


# --- what is here ----------------------------------------------------------------------------------------------------


def test_a_file_that_changed_here_proves_nothing(holds, remote, tmp_path, address):
    holds()
    path = tmp_path / "t1.nii"
    path.write_bytes(DATA)
    step = Step(address, Decision.CREATE, payload=Payload(LocalFile(path, "t1.nii", len(DATA), 1)))
    (found,) = verify_plan(Plan("", "P", (step,)), remote, {})
    assert (found.proof, found.size_bytes) == (Proof.UNKNOWN, len(DATA))
    assert str(path) in found.message
    known = replace(step, decision=Decision.SAME, payload=replace(step.payload, held_digest=RIGHT))
    (found,) = verify_plan(Plan("", "P", (known,)), remote, {})
    assert found.proof is Proof.DIGEST, "it was compared when the plan was made"


def test_a_file_that_is_compressed_on_its_way_is_compared_as_it_arrives(holds, remote, tmp_path, address):
    path = tmp_path / "t1.nii"
    path.write_bytes(DATA)
    payload = Payload(LocalFile(path, "t1.nii", len(DATA), path.stat().st_mtime_ns), gzip=True)
    data = b"".join(payload_pieces(payload))
    assert data != DATA
    step = Step(address, Decision.SAME, payload=replace(payload, held_digest=digest_of([data])))
    holds(data)
    (found,) = verify_plan(Plan("", "P", (step,)), remote, {})
    assert (found.proof, found.size_bytes) == (Proof.DIGEST, len(data))
    holds()
    (found,) = verify_plan(Plan("", "P", (step,)), remote, {})
    assert found.proof is Proof.DIFFERS


def test_a_picture_is_vouched_for_by_its_record_unless_it_was_sent_now(holds, remote, tmp_path, address):
    holds()
    made = LocalFile(tmp_path / "image.nii", "t1.nii", 0, 1, made=Made("ORIGINAL", RIGHT))
    step = Step(address, Decision.SAME, payload=Payload(made))
    (found,) = verify_plan(Plan("", "P", (step,)), remote, {})
    assert (found.proof, found.size_bytes, found.message) == (Proof.SIZE, len(DATA), BY_RECORD)
    (found,) = verify_plan(Plan("", "P", (step,)), remote, {address: stored(address)})
    assert (found.proof, found.message) == (Proof.DIGEST, LISTED)


def test_a_session_that_is_gone_has_no_files_and_a_server_that_is_gone_is_an_error(
    peer, verdict, address, open_remote, tmp_path
):
    peer.projects.clear()
    assert verdict().proof is Proof.MISSING
    nowhere = open_remote(url="http://no-such-host.invalid")
    step = Step(address, Decision.CREATE, payload=Payload(LocalFile(tmp_path / "t1.nii", "t1.nii", 1, 1)))
    with pytest.raises(NotFoundError):
        verify_plan(Plan("", "P", (step,)), nowhere, {})


def test_a_fresh_plan_is_its_own_verdict(tmp_path):
    place = ON_SCAN.child(Level.FILE, "t1.nii")
    local = LocalFile(tmp_path / "t1.nii", "t1.nii", 10, 1)

    def verdict(decision, held=None, made=None):
        step = Step(place, decision, "why", payload=Payload(replace(local, made=made), held_digest=held))
        (found,) = verdicts_of(Plan("", "P", (Step(ON_SCAN, Decision.SAME), step)))
        return found.proof, found.size_bytes, found.message

    assert verdict(Decision.SAME, RIGHT) == (Proof.DIGEST, 10, LISTED)
    assert verdict(Decision.SAME) == (Proof.SIZE, 10, BY_SIZE)
    assert verdict(Decision.CREATE) == (Proof.MISSING, 0, "why")
    assert verdict(Decision.UPDATE, WRONG) == (Proof.DIFFERS, 10, "why")
    assert verdict(Decision.DIFFERS, WRONG) == (Proof.DIFFERS, 10, "why")
    assert verdict(Decision.SAME, made=Made("ORIGINAL", RIGHT)) == (Proof.SIZE, 10, "why")
