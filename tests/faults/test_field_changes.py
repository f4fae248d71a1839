"""Fields that a server refuses, ignores or changes: the object is created without them, and each is reported."""

import json

import pytest
from peer import page

from xnatferry.errors import RefusedError
from xnatferry.xnat.model import Address, Level
from xnatferry.xnat.records import ScanDocument

SESSION = Address("P", "s", "s_MR1")
FIELDS = {"date": "2020-05-06", "note": "a note"}
SCANS = [
    ScanDocument("1", "xnat:mrScanData", {"type": "T1w", "quality": "usable", "scanner/softwareVersion": "syngo"}),
    ScanDocument("2", "xnat:mrScanData", {"type": "dwi", "parameters/diffusion/bMax": "1000", "note": "x"}),
]
#: As 1.8.11 answers: recorded in experiments-xml, experiments and scans.
REFUSALS = {
    "softwareVersion": page(422, "org.xml.sax.SAXException: Invalid field 'softwareVersion'"),
    "bMax": page(422, "org.xml.sax.SAXException: Invalid Element 'http://nrg.wustl.edu/xnat:bMax'"),
    "note": page(400, "The content of element 'xnat:mrScanData' is not complete. 'note' Must Be Valid"),
}


def refusing(*words):
    """Refuses the document of a session if it contains one of *words*."""

    def act(handler, seen):
        handler.read_body(seen)
        text = seen.body.decode() + json.dumps(seen.query)
        return next((REFUSALS[word] for word in words if word in text), None)

    return act


def ignoring(*words):
    """Ignores fields of a query, as every version does with an unknown path (recorded)."""

    def act(handler, seen):
        seen.query = {key: value for key, value in seen.query.items() if not any(word in key for word in words)}

    return act


@pytest.fixture
def ready(peer, remote):
    remote.ensure_project("P")
    remote.ensure_subject(Address("P", "s"))
    return remote


def create(remote):
    return remote.create_session_document(SESSION, xsi_type="xnat:mrSessionData", fields=FIELDS, scans=SCANS)


def documents(peer):
    return [seen for seen in peer.seen("PUT", "/experiments/[^/]*$") if seen.body]


@pytest.mark.parametrize("words", [["softwareVersion"], ["bMax"], ["softwareVersion", "bMax"]])
def test_a_session_is_created_without_fields_that_an_older_schema_lacks(peer, ready, words, pauses):
    peer.fail("PUT", "/experiments/[^/]*$", refusing(*words), times=99)
    peer.fail("PUT", "/scans/", ignoring(*words), times=99)
    made = create(ready)
    assert made.created
    assert len(documents(peer)) == len(words) + 1, "one more for each field that is named"
    assert pauses == []
    changed = {change.field.rpartition("/")[2] for change in made.changes}
    assert changed == set(words)
    assert all(change.stored is None for change in made.changes if change.field.rpartition("/")[2] in words)
    session = peer.projects["P"].children["s"].children["s_MR1"]
    assert session.fields["note"] == "a note"
    assert session.children["1"].fields["quality"] == "usable"


def test_after_a_refusal_without_a_name_the_session_is_created_without_fields(peer, ready):
    def act(handler, seen):
        handler.read_body(seen)
        return page(422, "An error occurred") if b"bMax" in seen.body else None

    peer.fail("PUT", "/experiments/[^/]*$", act, times=99)
    made = create(ready)
    assert made.created
    assert len(documents(peer)) == 2
    session = peer.projects["P"].children["s"].children["s_MR1"]
    assert session.fields["date"] == "2020-05-06", "what was left out is set one by one"
    assert session.children["1"].fields["quality"] == "usable"


def test_an_object_that_is_refused_without_fields_too_fails_with_the_first_message(peer, ready):
    peer.fail("PUT", "/experiments/[^/]*$", page(422, "Only xnat:Subject documents"), times=2)
    peer.fail("PUT", "/experiments/[^/]*$", page(422, "other words"), times=99)
    with pytest.raises(RefusedError, match="Only xnat:Subject"):
        create(ready)
    assert len(documents(peer)) == 2


def test_a_422_is_not_repeated_while_the_project_is_new(peer, remote, pauses):
    remote.ensure_project("P")
    peer.fail("PUT", "/subjects/s$", page(422, "org.xml.sax.SAXException: Invalid field 'x'"), times=99)
    with pytest.raises(RefusedError):
        remote.ensure_subject(Address("P", "s"))
    assert len(peer.seen("PUT", "/subjects/s$")) == 1
    assert pauses == []


def changing(old, new):
    """The server stores another value, as 1.8.11 does with invalid dates and fractions of seconds."""

    def act(handler, seen):
        handler.read_body(seen)
        seen.body = seen.body.replace(old.encode(), new.encode())
        seen.headers["content-length"] = str(len(seen.body))
        seen.query = {key: value.replace(old, new) for key, value in seen.query.items()}

    return act


@pytest.mark.parametrize(
    ("field", "sent", "stored"),
    [("date", "2020-13-40", "2021-02-09"), ("time", "11:12:13.250000", "11:12:13"), ("note", "a <b> c", "a b c")],
)
def test_a_value_that_the_server_changes_is_reported(peer, ready, field, sent, stored):
    escaped = sent.replace("<", "&lt;").replace(">", "&gt;")
    peer.fail("PUT", "/experiments/[^/]*$", changing(escaped, stored), times=99)
    peer.fail("PUT", "/subjects/t$", changing(sent, stored), times=99)
    made = ready.create_session_document(SESSION, xsi_type="xnat:mrSessionData", fields={field: sent}, scans=[])
    (change,) = made.changes
    assert (change.field, change.sent, change.stored) == (field, sent, stored)
    (change,) = ready.ensure_subject(Address("P", "t"), fields={field: sent}).changes
    assert (change.sent, change.stored) == (sent, stored)


def test_a_value_that_is_stored_as_sent_is_not_reported(peer, ready):
    scans = [ScanDocument("1", "xnat:mrScanData", {"type": "T1w", "quality": "usable"})]
    made = ready.create_session_document(SESSION, xsi_type="xnat:mrSessionData", fields=FIELDS, scans=scans)
    assert made.changes == ()
    assert ready.set_fields(SESSION, {"note": "new"}) == ()
    scan = SESSION.child(Level.SCAN, "3")
    assert ready.ensure_scan(scan, fields={"note": "1.50"}).changes == ()


def test_a_field_that_set_fields_does_not_set_is_reported(peer, ready):
    """An unknown path is ignored with a 200 (recorded)."""
    create(ready)

    peer.fail("PUT", "/experiments/[^/]*$", ignoring("bMax"), times=9)
    (change,) = ready.set_fields(SESSION, {"bMax": "7"})
    assert str(change) == "bMax: sent '7', not stored by the server"


def test_a_session_of_another_client_is_found_after_a_refusal_of_fields(peer, ready):
    """The repeat without a field comes too late: it gets 409, and the session exists."""

    def made_by_another(handler, seen):
        handler.read_body(seen)
        handler.process(seen)
        return page(409, "Duplicate label")

    peer.fail("PUT", "/experiments/[^/]*$", refusing("bMax"))
    peer.fail("PUT", "/experiments/[^/]*$", made_by_another)
    made = create(ready)
    assert not made.created
    assert made.id == peer.projects["P"].children["s"].children["s_MR1"].id
    assert made.changes == ()


def test_a_new_project_that_cannot_be_read_yet_is_created(peer, remote):
    peer.fail("GET", "/data/projects/P$", page(404, "none"))
    peer.fail("GET", "/data/projects/P$", page(403, "no permission"))
    made = remote.ensure_project("P", fields={"name": "A name"})
    assert made.created
    assert peer.projects["P"].fields["name"] == "A name"
