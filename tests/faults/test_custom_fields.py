"""Custom fields: JSON where the server keeps it, else custom variables; read back, compared, undone; one PUT an object."""

import json

import pytest
from peer import NEW, PASSWORD, USER, Thing, lost_reply, page, running_peer

from xnatferry.client.remote import Remote
from xnatferry.client.settings import Connection, Secret
from xnatferry.errors import ForbiddenError, UsageError
from xnatferry.planning.undo_plan import RunEffects
from xnatferry.results.operations import copy, plan_copy
from xnatferry.transfer.events import Outcome
from xnatferry.transfer.undo_run import plan_of, undo
from xnatferry.xnat.custom_fields import custom_path
from xnatferry.xnat.model import Address, Level
from xnatferry.xnat.records import FieldChange, ScanDocument

SUBJECT, SESSION = Address("P", "s"), Address("P", "s", "s_MR1")
SITE, SCORE = custom_path("bids_site"), custom_path("bids_score")
ON_SUBJECT = {f"xnat:subjectData/{SITE}": "BCN", f"xnat:subjectData/{SCORE}": "7"}
SCANS = [ScanDocument("1", "xnat:mrScanData", {"type": "T1w", custom_path("bids_operator"): "XY"})]
FORM = "0b7a0f1e-5c53-4b4b-9c36-2f3a5d1c9e01"


def form(*components, kind="xnat:subjectData", status="enabled", uuid=FORM):
    return {
        "appliesToList": [{"entityId": "P", "idCustomVariableFormAppliesTo": "1_1", "status": status}],
        "contents": json.dumps({"title": "t", "components": [{"type": "panel", "components": list(components)}]}),
        "formUUID": uuid,
        "path": f"datatype/{kind}",
        "scope": "Project",
    }


def component(key, kind="textfield"):
    return {"key": key, "type": kind, "input": True}


@pytest.fixture
def ready(peer, remote):
    remote.ensure_project("P")
    return remote


def create(remote):
    subject = remote.ensure_subject(SUBJECT, fields={"gender": "female", **ON_SUBJECT})
    session = remote.create_session_document(
        SESSION, xsi_type="xnat:mrSessionData", fields={"note": "n", SCORE: "8"}, scans=SCANS
    )
    return subject.changes, session.changes


def things(peer):
    subject = peer.projects["P"].children["s"]
    session = subject.children["s_MR1"]
    return subject, session, session.children["1"]


def custom_requests(peer, method="PUT"):
    return [seen.path for seen in peer.seen(method, "^/xapi/custom-fields/")]


def test_each_new_object_gets_its_fields_in_one_request_as_json(peer, ready):
    before = len(peer.requests)
    assert create(ready) == ((), ())
    subject, session, scan = things(peer)
    assert (subject.custom, session.custom, scan.custom) == (
        {"bids_site": "BCN", "bids_score": "7"},
        {"bids_score": "8"},
        {"bids_operator": "XY"},
    )
    assert not [path for one in (subject, session, scan) for path in one.fields if "bids_" in path]
    session_path = "/xapi/custom-fields/projects/P/subjects/s/experiments/s_MR1"
    assert custom_requests(peer) == [
        "/xapi/custom-fields/projects/P/subjects/s/fields",
        f"{session_path}/fields",
        f"{session_path}/scans/1/fields",
    ]
    # Once: two to learn the version, one for the forms. Objects: subject and session each GET, PUT, GET.
    assert len(peer.requests) - before == 3 + 3 + 2 * 3
    held = ready.attributes(SESSION)
    assert held.fields[SCORE] == "8"
    assert held.scans["1"].fields[custom_path("bids_operator")] == "XY"


def test_a_server_before_1_8_4_gets_custom_variables_and_parameters_of_scans(peer, ready):
    peer.version = "1.8.3"
    assert create(ready) == ((), ())
    subject, _, scan = things(peer)
    assert not custom_requests(peer)
    assert subject.fields[SITE] == "BCN"
    assert scan.fields["parameters/addParam[name=bids_operator]/addField"] == "XY"
    assert ready.attributes(SESSION).scans["1"].fields[custom_path("bids_operator")] == "XY"
    assert ready.set_fields(SESSION.child(Level.SCAN, "1"), {custom_path("bids_operator"): "Z"}) == ()
    assert things(peer)[2].fields["parameters/addParam[name=bids_operator]/addField"] == "Z"


@pytest.mark.parametrize("version", ["1.8.4", "1.8.11-SNAPSHOT", "1.9", "2.0.1"])
def test_the_version_decides_once_for_a_connection(peer, ready, version):
    peer.version = version
    assert ready.custom_fields.are_json()
    assert ready.custom_fields.are_json()
    assert len(peer.seen("GET", "buildInfo")) == 1


@pytest.mark.parametrize("version", ["1.8.3", "1.8", "1.7.6", "unknown"])
def test_an_older_version_or_none_has_custom_variables(peer, ready, version):
    peer.version = version
    assert not ready.custom_fields.are_json()


def test_the_old_era_gets_custom_variables(open_remote, request, peer):
    peer.era = "1.6.4"
    remote = open_remote()
    remote.ensure_project("P")
    remote.ensure_subject(SUBJECT, fields=ON_SUBJECT)
    assert peer.projects["P"].children["s"].fields[SITE] == "BCN"
    assert not custom_requests(peer)


def test_objects_without_custom_fields_cost_no_request_more(peer, ready):
    ready.ensure_subject(SUBJECT, fields={"gender": "female"})
    ready.attributes(SUBJECT)
    assert not peer.seen("GET", "^/xapi/|/data/auth")


def test_what_the_server_refuses_is_reported_and_the_objects_are_created(peer, ready):
    peer.fail("PUT", "^/xapi/custom-fields/.*/s_MR1/", page(403, "no"), times=99)
    subject, session = create(ready)
    assert subject == ()
    assert session == (
        FieldChange("", SCORE, "8", None),
        FieldChange("scan 1", custom_path("bids_operator"), "XY", None),
    )
    with pytest.raises(ForbiddenError):
        ready.set_fields(SESSION, {SCORE: "9"})


def test_what_is_refused_is_reported_if_nothing_can_be_read_back(peer, ready):
    peer.fail("PUT", "^/xapi/custom-fields/", page(403, "no"), times=99)

    def unreadable(handler, seen):
        return page(403, "not yet") if "s" in peer.projects["P"].children else None

    peer.fail("GET", "/subjects/s$", unreadable, times=99)
    changes = ready.ensure_subject(SUBJECT, fields=ON_SUBJECT).changes
    assert {(change.field, change.stored) for change in changes} == {(path, None) for path in ON_SUBJECT}


def test_a_lost_reply_is_sent_again(peer, ready):
    peer.fail("PUT", "^/xapi/custom-fields/", lost_reply)
    assert create(ready) == ((), ())
    assert things(peer)[0].custom == {"bids_site": "BCN", "bids_score": "7"}


def test_a_value_that_another_client_overwrites_is_reported(peer, ready):
    def overwritten(handler, seen):
        handler.read_body(seen)
        reply = handler.process(seen)
        peer.projects["P"].children["s"].custom = {"by": "another"}
        return reply

    peer.fail("PUT", "^/xapi/custom-fields/", overwritten)
    changes = ready.ensure_subject(SUBJECT, fields=ON_SUBJECT).changes
    assert {(change.field, change.stored) for change in changes} == {(path, None) for path in ON_SUBJECT}


def test_a_change_sends_only_json_and_keeps_the_other_fields(peer, ready):
    create(ready)
    subject = things(peer)[0]
    subject.custom["other"] = {"a": [1, 2]}
    peer.requests.clear()
    assert ready.set_fields(SUBJECT, {f"xnat:subjectData/{SITE}": "MAD"}) == ()
    assert subject.custom == {"bids_site": "MAD", "bids_score": "7", "other": {"a": [1, 2]}}
    assert [seen.method for seen in peer.requests] == ["GET", "PUT", "GET"]


def test_an_undo_restores_the_former_value_and_removes_a_new_one(peer, ready):
    create(ready)
    subject = things(peer)[0]
    old, new = f"xnat:subjectData/{SITE}", f"xnat:subjectData/{custom_path('bids_new')}"
    changes = {old: ("BCN", "MAD"), new: ("", "1")}
    ready.set_fields(SUBJECT, {path: after for path, (_, after) in changes.items()})
    assert subject.custom["bids_new"] == "1"
    effects = RunEffects({}, {}, changed={SUBJECT: changes})
    receipts = undo(plan_of(effects, ready, "P"), ready)
    assert [receipt.outcome for receipt in receipts] == [Outcome.RESTORED]
    assert subject.custom == {"bids_site": "BCN", "bids_score": "7"}


def test_values_of_a_form_are_stored_under_its_uuid(peer, ready):
    peer.forms = [form(component("bids_score", "number"), component("bids_other"))]
    create(ready)
    subject, session, _ = things(peer)
    assert subject.custom == {"bids_site": "BCN", FORM: {"bids_score": 7}}
    assert session.custom == {"bids_score": "8"}, "the form is of subjects"
    assert len(peer.seen("GET", "customforms")) == 1
    subject.custom[FORM]["typed"] = "in the page"
    assert ready.set_fields(SUBJECT, {f"xnat:subjectData/{SCORE}": "9"}) == ()
    assert subject.custom[FORM] == {"bids_score": 9, "typed": "in the page"}
    ready.set_fields(SUBJECT, {f"xnat:subjectData/{SCORE}": ""})
    assert subject.custom[FORM] == {"typed": "in the page"}


@pytest.mark.parametrize("row", [form(component("bids_score"), status="disabled"), {"contents": "[", "path": None}])
def test_a_form_that_is_disabled_or_unreadable_is_none(peer, ready, row):
    peer.forms = [row]
    create(ready)
    assert things(peer)[0].custom == {"bids_site": "BCN", "bids_score": "7"}


def test_a_value_where_the_pages_do_not_look_is_no_value_of_the_field(peer, ready):
    """After a form is installed, and after an update from custom variables, an update of fields stores the value again."""
    peer.projects["P"].children["s"] = Thing("XNAT_S1", "s", "xnat:subjectData", {SITE: "BCN", "gender": "female"})
    fields = ready.attributes(SUBJECT).fields
    assert fields == {custom_path("bids_site", former=True): "BCN", "gender": "female"}
    ready.set_fields(SUBJECT, {f"xnat:subjectData/{SITE}": "BCN"})
    assert ready.attributes(SUBJECT).fields == {SITE: "BCN", "gender": "female"}
    ready.custom_fields.install_form("P", "xnat:subjectData", {"title": "t", "components": [component("bids_site")]})
    assert SITE not in ready.attributes(SUBJECT).fields
    ready.set_fields(SUBJECT, {f"xnat:subjectData/{SITE}": "BCN"})
    assert ready.attributes(SUBJECT).fields[SITE] == "BCN"


def test_every_json_value_has_a_text_and_a_name_without_a_path_is_listed(peer, ready):
    assert peer.era == NEW
    custom = {"age": 7, "ok": True, "none": None, "list": [1, 2], "deep": {"a": 1}, "a/b": 2, FORM: {"x": "y"}}
    peer.projects["P"].children["s"] = Thing("XNAT_S1", "s", "xnat:subjectData", custom=custom)
    held = ready.attributes(SUBJECT)
    assert held.fields == {
        custom_path("age"): "7",
        custom_path("ok"): "true",
        custom_path("list"): "[1,2]",
        custom_path("deep"): '{"a":1}',
        custom_path("x", former=True): "y",
    }
    assert held.unsettable == ("custom_fields/a/b",)
    ready.ensure_subject(Address("P", "t"), fields={custom_path("list"): "[1,2]", custom_path("id"): "007"})
    assert peer.projects["P"].children["t"].custom == {"list": [1, 2], "id": "007"}


def test_a_form_is_installed_updated_and_left_when_equal(peer, ready):
    def install(*components, kind="xnat:subjectData"):
        return ready.custom_fields.install_form("P", kind, {"title": "t", "components": list(components)})

    first, outcome = install(component("a"))
    assert (outcome, len(peer.forms)) == ("installed", 1)
    assert install(component("a")) == (first, "up to date")
    assert install(component("a"), component("b")) == (first, "updated")
    assert len(peer.seen("PUT", "customforms/save")) == 2
    second, outcome = install(component("a"), kind="xnat:mrSessionData")
    assert (second != first, outcome) == (True, "installed")
    assert set(ready.custom_fields.places("P", "xnat:subjectData")) == {"a", "b"}


def test_an_account_or_server_that_installs_no_forms_is_named(peer, ready):
    peer.fail("PUT", "customforms/save", page(403, "no"))
    with pytest.raises(ForbiddenError, match="may not install custom forms"):
        ready.custom_fields.install_form("P", "xnat:subjectData", {"title": "t", "components": []})
    peer.version = "1.8.3"
    with pytest.raises(UsageError, match=r"1\.8\.8 or later"):
        ready.custom_fields.install_form("P", "xnat:subjectData", {"title": "t", "components": []})


@pytest.mark.parametrize("version", ["1.8.11", "1.8.3"])
def test_a_copy_stores_them_in_the_way_of_the_target(peer, ready, pauses, version):
    """From JSON of the source to JSON, or to variables; a second copy changes nothing."""
    create(ready)
    subject = things(peer)[0]
    subject.custom[FORM] = {"bids_rated": "9"}
    subject.fields["fields/field[name=colour]/field"] = "red"
    with running_peer() as there:
        there.version = version
        with Remote(Connection(there.url, USER, Secret(PASSWORD)), pause=pauses.append) as target:
            assert copy("P", ready, target).exit_code == 0
            copied = there.projects["P"].children["s"]
            values = {"bids_site": "BCN", "bids_score": "7", "bids_rated": "9", "colour": "red"}
            variables = {name: copied.fields.get(custom_path(name), "") for name in values}
            json_kept = version == "1.8.11"
            assert (copied.custom, variables) == ((values, dict.fromkeys(values, "")) if json_kept else ({}, values))
            scan = copied.children["s_MR1"].children["1"]
            assert (scan.custom == {"bids_operator": "XY"}) is json_kept
            assert plan_copy("P", ready, target, update_fields=True).nothing_to_do
