"""JSON custom fields and custom forms (xapi); codes and merging are recorded in tests/golden."""

import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from xnatferry.server.archive import running_archive

XNAT = "{http://nrg.wustl.edu/xnat}"


@pytest.fixture
def fields(session):
    return f"/xapi/custom-fields/experiments/{session.id}/fields"


def test_fields_written_at_the_same_time_are_all_kept(http, fields):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: http.put(fields, json={f"f{n}": n}).status_code, range(8)))
    assert answers == [200] * 8
    assert http.get(fields).json() == {f"f{n}": n for n in range(8)}


def test_every_level_has_its_own(http, session):
    project = f"/xapi/custom-fields/projects/{session.project}"
    places = (
        project,
        f"{project}/subjects/S01",
        f"{project}/subjects/S01/experiments/E01",
        f"{project}/experiments/E01/scans/1",
    )
    for number, place in enumerate(places):
        assert http.put(f"{place}/fields", json={"n": number}).json() == {"n": number}
    assert [http.get(f"{place}/fields/n").text for place in places] == ["0", "1", "2", "3"]
    assert http.get(f"/xapi/custom-fields/subjects/{session.subject_id}/fields").json() == {"n": 1}


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"a": NaN}', b'{"a": "\\u0000"}', b'{"a": "\\ud800"}', b"\xff", b"{", b""]
)
def test_what_cannot_be_kept_is_refused_and_changes_nothing(http, fields, body):
    http.put(fields, json={"a": 1})
    answer = http.put(fields, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 500
    assert answer.headers["content-type"].startswith("text/plain")
    assert http.get(fields).json() == {"a": 1}


def test_any_text_stays_a_readable_document(http, session, fields):
    odd = {"a": "<&>\"' \x01 \x7f \ufffe ☃ 😀", "name <&> \x1f": [1, 1.5, -0.25, True, None, {}]}
    assert http.put(fields, json=odd).json() == odd
    document = ET.fromstring(http.get(session.url, params={"format": "xml"}).content)
    assert http.get(fields).json() == odd
    assert '"a": "<&>' in document.findtext(f"{XNAT}custom_fields")


def test_a_document_with_fields_sets_them(http, session, fields):
    http.put(fields, json={"a": 1})
    document = http.get(session.url, params={"format": "xml"}).text
    http.put(session.url, content=document.replace('{"a": 1}', '{"b": 2}'), headers={"Content-Type": "text/xml"})
    assert http.get(fields).json() == {"b": 2}
    broken = document.replace('{"a": 1}', "no json")
    assert http.put(session.url, content=broken, headers={"Content-Type": "text/xml"}).status_code == 400
    assert http.get(fields).json() == {"b": 2}


def test_they_outlive_a_restart(tmp_path):
    place, login = "/xapi/custom-fields/projects/P/fields", ("admin", "admin-secret")
    with (
        running_archive(tmp_path, admin_password=login[1]) as running,
        httpx2.Client(base_url=running.url, auth=login) as http,
    ):
        http.put("/data/projects/P")
        http.put(place, json={"kept": "yes"})
    with running_archive(tmp_path) as running, httpx2.Client(base_url=running.url, auth=login) as http:
        assert http.get(place).json() == {"kept": "yes"}


FORM = {"title": "Visit", "components": [{"key": "fasting", "type": "checkbox"}]}


def form(*projects, row="-1_-1", kind="xnat:subjectData", **builder):
    data = {
        "idCustomVariableFormAppliesTo": row,
        "xnatDatatype": {"label": kind, "value": kind},
        "zIndex": 3,
        "xnatProject": [{"label": one, "value": one} for one in projects],
        "isThisASiteWideConfiguration": "no" if projects else "yes",
    }
    return {"submission": {"data": data}, "builder": FORM | builder}


def row_of(http, uuid):
    one = next(one for one in http.get("/xapi/customforms").json() if one["formUUID"] == uuid)
    return one["appliesToList"][0]["idCustomVariableFormAppliesTo"], one


class TestForms:
    @pytest.fixture
    def uuid(self, http, session):
        made = http.put("/xapi/customforms/save", json=form(session.project))
        assert made.status_code == 201
        yield made.text
        for one in http.get("/xapi/customforms").json():
            http.request("DELETE", "/xapi/customforms", json=one["appliesToList"])

    def shown(self, http, **params):
        query = {"xsiType": "xnat:subjectData", "appendPrevNextButtons": "false", **params}
        return [
            page["components"][0]["key"]
            for page in http.get("/xapi/customforms/element", params=query).json().get("components", [])
        ]

    def test_are_listed_for_their_project(self, http, session, uuid):
        (one,) = http.get("/xapi/customforms", params={"projectId": session.project}).json()
        assert (one["formUUID"], one["scope"], one["path"]) == (uuid, "Project", "datatype/xnat:subjectData")
        assert one["formDisplayOrder"] == 3
        assert not one["hasData"]
        assert http.get("/xapi/customforms", params={"projectId": "OTHER"}).json() == []

    def test_are_shown_for_items_of_their_type(self, http, session, uuid):
        assert self.shown(http, projectId=session.project) == [uuid]
        assert self.shown(http, id=session.subject_id) == [uuid]
        assert self.shown(http) == []
        assert self.shown(http, projectId=session.project, xsiType="xnat:mrSessionData") == []
        assert (
            http.get("/xapi/customforms/element", params={"xsiType": "x", "appendPrevNextButtons": "no"}).json() == {}
        )

    def test_can_be_changed_disabled_and_deleted(self, http, session, uuid):
        row, _ = row_of(http, uuid)
        changed = http.put("/xapi/customforms/save", json=form(session.project, row=row, title="Second"))
        assert (changed.status_code, changed.text) == (201, uuid)
        assert '"Second"' in row_of(http, uuid)[1]["contents"]
        which = [{"idCustomVariableFormAppliesTo": row}]
        assert http.post("/xapi/customforms/disable", json=which).text == "Form disabled"
        assert self.shown(http, projectId=session.project) == []
        assert http.post("/xapi/customforms/enable", json=which).text == "Form Enabled"
        assert http.request("DELETE", "/xapi/customforms", json=which).text == "Form deleted"
        assert self.shown(http, projectId=session.project) == []
        assert http.request("DELETE", "/xapi/customforms", json=which).status_code == 400

    def test_with_data_are_only_disabled(self, http, session, uuid):
        http.put(f"/xapi/custom-fields/subjects/{session.subject_id}/fields", json={uuid: {"fasting": True}})
        row, one = row_of(http, uuid)
        assert one["hasData"]
        which = [{"idCustomVariableFormAppliesTo": row}]
        assert http.request("DELETE", "/xapi/customforms", json=which).text == "Form disabled"
        assert row_of(http, uuid)[1]["appliesToList"][0]["status"] == "disabled"
        http.request("DELETE", f"/xapi/custom-fields/subjects/{session.subject_id}/fields/{uuid}")

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"submission": {}},
            {"submission": {"data": {}}},
            form() | {"builder": {}},
            form(title="<b>"),
            form("NO_SUCH_PROJECT"),
            form(kind="xnat:nonsense"),
            form(row="x"),
            [],
        ],
    )
    def test_that_make_no_sense_are_refused(self, http, body):
        assert http.put("/xapi/customforms/save", json=body).status_code == 400

    def test_are_made_by_administrators(self, new_account):
        assert new_account().put("/xapi/customforms/save", json=form()).status_code == 403
