"""Subjects: made, changed, renamed, read, listed, shared, deleted."""

import re
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

XNAT = 'xmlns:xnat="http://nrg.wustl.edu/xnat" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
XML = {"Content-Type": "text/xml"}


@pytest.fixture
def subject(project):
    return f"/data/projects/{project}/subjects/S1"


@pytest.fixture
def shown(http, project):
    """Columns of the project's one subject."""

    def shown(*columns):
        params = {"format": "json", "columns": ",".join(("label", *columns))}
        rows = http.get(f"/data/projects/{project}/subjects", params=params).json()["ResultSet"]["Result"]
        assert len(rows) == 1
        return [rows[0][column] for column in columns]

    return shown


def test_put_answers_201_and_the_id_then_200(http, subject):
    made, again = http.put(subject), http.put(subject)
    assert (made.status_code, again.status_code) == (201, 200)
    assert made.text == again.text
    assert re.fullmatch(r"[A-Za-z0-9_]+_S\d{5,}", made.text)


def test_ids_are_not_used_again(http, project):
    url = f"/data/projects/{project}/subjects"
    first = http.put(f"{url}/A").text
    http.delete(f"{url}/A")
    assert http.put(f"{url}/A").text != first


@pytest.mark.parametrize(
    ("sent", "path", "stored"),
    [
        ("gender", "xnat:subjectData/demographics[@xsi:type=xnat:demographicData]/gender", "female"),
        ("yob", "xnat:subjectData/demographics/yob", "1980"),
        ("weight", "xnat:subjectData/demographics[@xsi:type='xnat:demographicData']/weight", "70.5"),
        ("group", "xnat:subjectData/group", "control"),
        ("src", "xnat:subjectData/SRC", "here"),
    ],
)
def test_a_short_name_and_its_path_say_the_same(http, subject, shown, sent, path, stored):
    http.put(subject, params={sent: stored})
    assert shown(sent) == [stored]
    http.put(subject, params={sent: ""})
    assert shown(sent) == [""]
    assert http.put(subject, params={path: stored}).status_code == 200
    assert shown(sent) == [stored]


@pytest.mark.parametrize("equals", ["=", "%3D"])
def test_an_equals_sign_in_brackets_belongs_to_the_key(http, subject, shown, equals):
    key = f"xnat:subjectData/demographics%5B@xsi:type{equals}xnat:demographicData%5D/gender"
    field = f"xnat:subjectData/fields/field%5Bname{equals}a%5D/field"
    assert http.put(f"{subject}?{key}=male&{field}=x%5By=z%5D&group=g=h%5B1%5D").status_code == 201
    assert shown("gender", "group") == ["male", "g=h[1]"]
    item = http.get(subject, params={"format": "json"}).json()["items"][0]
    fields = next(one["items"][0]["data_fields"] for one in item["children"] if one["field"] == "fields/field")
    assert (fields["name"], fields["field"]) == ("a", "x[y=z]")


@pytest.mark.parametrize("raw", ["{", "}", "|", "^", "`"])
def test_characters_that_a_query_may_not_hold_are_400(server, http, project, raw):
    connection = HTTPConnection(urlsplit(server.url).netloc)
    cookie = http.post("/data/JSESSION").text
    connection.request("GET", f"/data/projects/{project}?x={raw}", headers={"Cookie": f"JSESSIONID={cookie}"})
    assert connection.getresponse().status == 400
    connection.close()


def test_xnatpy_takes_a_field_away_with_null(http, subject, shown):
    http.put(subject, params={"group": "control", "gender": "male"})
    http.put(subject, params={"xnat:subjectData/group": "NULL", "gender": "NULL"})
    assert shown("group", "gender") == ["", ""]


def test_keys_of_other_types_and_unknown_keys_are_passed_over(http, subject, shown):
    params = {"xnat:mrSessionData/note": "x", "nonsense": "1", "xnat:subjectData/nonsense": "2", "group": "kept"}
    assert http.put(subject, params=params).status_code == 201
    assert shown("group") == ["kept"]


@pytest.mark.parametrize(
    "bad", [{"gender": "robot"}, {"yob": "old"}, {"dob": "yesterday"}, {"weight": "heavy"}, {"group": "x" * 256}]
)
def test_a_value_that_may_not_be_is_400_and_changes_nothing(http, subject, shown, bad):
    http.put(subject, params={"race": "kept"})
    assert http.put(subject, params={"race": "lost", **bad}).status_code == 400
    assert shown("race") == ["kept"]


@pytest.mark.parametrize("sent", ["1980-03-04", "03/04/1980", "Tue Mar 04 00:00:00 UTC 1980"])
def test_dates_are_taken_in_three_spellings(http, subject, shown, sent):
    http.put(subject, params={"dob": sent})
    assert shown("dob") == ["1980-03-04"]


def test_custom_fields_are_read_back(http, subject):
    for name, value in (("site", "north"), ("arm", "a/b"), ("site", "south")):
        http.put(subject, params={f"xnat:subjectData/fields/field[name={name}]/field": value})
    item = http.get(subject, params={"format": "json"}).json()["items"][0]
    fields = next(one["items"] for one in item["children"] if one["field"] == "fields/field")
    assert {one["data_fields"]["name"]: one["data_fields"]["field"] for one in fields} == {
        "site": "south",
        "arm": "a/b",
    }


@pytest.mark.parametrize("label", ["a.b", "a%20b", "a+b", "%C3%A9", "%3Cb%3E"])
def test_a_bad_label_is_500_and_nothing_is_made(http, project, label, rows):
    assert http.put(f"/data/projects/{project}/subjects/{label}").status_code == 500
    assert rows(f"/data/projects/{project}/subjects") == []


def test_labels_differ_in_case(http, project):
    url = f"/data/projects/{project}/subjects"
    assert http.put(f"{url}/a").text != http.put(f"{url}/A").text


def test_post_takes_a_label_once(http, project):
    url = f"/data/projects/{project}/subjects"
    made = http.post(url, params={"label": "S9"})
    assert made.status_code == 200
    assert made.text == made.headers["location"]
    number = made.text.rpartition("/")[2]
    assert (
        http.get(f"/data/subjects/{number}", params={"format": "json"}).json()["items"][0]["data_fields"]["label"]
        == "S9"
    )
    assert http.post(url, params={"label": "S9"}).status_code == 409


class TestRename:
    def test_moves_rows_and_files(self, http, session, names, archive):
        url = f"/data/projects/{session.project}/subjects"
        http.put(f"{url}/S01/resources/NOTES/files/a.txt", params={"inbody": "true"}, content=b"hello")
        answer = http.put(f"{url}/S01", params={"label": "S02"})
        assert (answer.status_code, answer.content) == (200, b"")
        assert http.get(f"{url}/S01").status_code == 404
        assert http.get(f"{url}/S02/resources/NOTES/files/a.txt").content == b"hello"
        assert http.get(f"{url}/S02/experiments/E01").status_code == 200
        folder = archive.root / "archive" / session.project / "subjects"
        assert sorted(path.name for path in folder.iterdir()) == ["S02"]

    def test_changes_nothing_else(self, http, subject, shown):
        http.put(subject, params={"group": "kept"})
        assert http.put(subject, params={"label": "S1", "group": "lost"}).status_code == 200
        assert shown("group") == ["kept"]

    def test_to_a_label_in_use_is_409(self, http, project, subject):
        http.put(subject)
        http.put(f"/data/projects/{project}/subjects/S2")
        assert http.put(subject, params={"label": "S2"}).status_code == 409

    def test_to_a_bad_label_is_refused(self, http, subject):
        http.put(subject)
        assert http.put(subject, params={"label": "a b"}).status_code == 500
        assert http.get(subject).status_code == 200

    def test_onto_files_of_somebody_gone_is_409(self, http, project, subject, archive):
        http.put(subject)
        http.put(f"{subject}/resources/R/files/a.txt", params={"inbody": "true"}, content=b"mine")
        left = archive.root / "archive" / project / "subjects" / "S2"
        left.mkdir(parents=True)
        (left / "b.txt").write_text("theirs")
        assert http.put(subject, params={"label": "S2"}).status_code == 409
        assert http.get(f"{subject}/resources/R/files/a.txt").content == b"mine"
        assert (left / "b.txt").read_text() == "theirs"


class TestDocuments:
    def test_merge_into_what_is_there(self, http, project, subject, shown):
        http.put(subject, params={"education": "12", "gender": "male"})
        body = f'<xnat:Subject {XNAT} project="{project}" label="S1" group="g"><xnat:demographics xsi:type="xnat:demographicData"><xnat:gender>female</xnat:gender></xnat:demographics></xnat:Subject>'
        assert http.put(subject, content=body, headers=XML).status_code == 200
        assert shown("education", "gender", "group") == ["12", "female", "g"]

    def test_keep_characters_that_queries_store_as_entities(self, http, project, subject, shown):
        http.put(subject, params={"group": "a & b"})
        assert shown("group") == ["a &amp; b"]
        body = f'<xnat:Subject {XNAT} project="{project}" label="S1" group="a &amp; b"/>'
        http.put(subject, content=body, headers=XML)
        assert shown("group") == ["a & b"]

    def test_come_in_multipart_as_pyxnat_sends_them(self, http, project, subject, shown):
        body = f'<xnat:Subject {XNAT} project="{project}" label="S1" group="g"/>'.encode()
        answer = http.put(
            subject, files={"data.xml": ("data.xml", body, "text/xml")}, params={"allowDataDeletion": "true"}
        )
        assert answer.status_code == 201
        assert shown("group") == ["g"]

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ("<xnat:Subject", 422),
            ("<other/>", 422),
            (f"<xnat:MRSession {XNAT}/>", 422),
            (f"<xnat:Subject {XNAT}><xnat:nonsense/></xnat:Subject>", 422),
            (f'<xnat:Subject {XNAT} nonsense="1"/>', 422),
            (f'<!DOCTYPE a [<!ENTITY e "x">]><xnat:Subject {XNAT} group="&e;"/>', 422),
            (f'<!DOCTYPE a SYSTEM "file:///etc/passwd"><xnat:Subject {XNAT}/>', 422),
            (
                f"<xnat:Subject {XNAT}>"
                + "<xnat:demographics>" * 200
                + "</xnat:demographics>" * 200
                + "</xnat:Subject>",
                422,
            ),
            (
                f'<xnat:Subject {XNAT}><xnat:demographics xsi:type="xnat:demographicData"><xnat:gender>robot</xnat:gender></xnat:demographics></xnat:Subject>',
                400,
            ),
            (f'<xnat:Subject {XNAT}><xnat:demographics xsi:type="xnat:mrScanData"/></xnat:Subject>', 422),
            (f'<xnat:Subject {XNAT} label="OTHER"/>', 201),
        ],
    )
    def test_that_are_none_are_refused(self, http, subject, body, status):
        assert http.put(subject, content=body, headers=XML).status_code == status

    def test_that_are_too_long_are_refused(self, http, subject):
        body = f'<xnat:Subject {XNAT} group="' + "x" * (17 << 20) + '"/>'
        assert http.put(subject, content=body, headers=XML).status_code == 413

    def test_are_read_back_as_they_were_written(self, http, project, subject, new_id):
        http.put(subject, params={"gender": "F", "yob": "1980", "xnat:subjectData/fields/field[name=site]/field": "n"})
        written = http.get(subject, params={"format": "xml"})
        assert written.headers["content-type"].startswith("text/xml")
        other = new_id()
        http.put(f"/data/projects/{other}")
        numbers = r' (ID|project)="[^"]*"|<!--hidden_fields\[[^]]*\]-->'  # of this archive
        body = re.sub(numbers, "", written.text)
        assert http.put(f"/data/projects/{other}/subjects/S1", content=body, headers=XML).status_code == 201
        again = http.get(f"/data/projects/{other}/subjects/S1", params={"format": "xml"})
        assert re.sub(numbers, "", again.text) == body


class TestSharing:
    def test_shows_the_subject_under_another_label(self, http, session, new_id, rows):
        other = new_id()
        http.put(f"/data/projects/{other}")
        share = f"{session.subject}/projects/{other}"
        first = http.put(share, params={"label": "FIRST", "format": "json"}).json()["ResultSet"]
        assert [(row["ID"], row["label"]) for row in first["Result"]] == [(session.project, "S01"), (other, "FIRST")]
        assert "totalRecords" not in first
        again = http.put(share, params={"label": "GUEST"})
        assert (again.status_code, again.text[:6]) == (200, "<table")
        assert [http.put(share).status_code, http.put(share, params={"label": "GUEST"}).status_code] == [409, 409]
        assert http.get(f"/data/projects/{other}/subjects/FIRST").status_code == 404
        assert http.put(f"{session.subject}/projects/{session.project}").status_code == 200
        assert [(row["label"], row["project"]) for row in rows(f"/data/projects/{other}/subjects")] == [
            ("GUEST", session.project)
        ]
        found = http.get(f"/data/projects/{other}/subjects/GUEST", params={"format": "json"}).json()["items"][0]
        assert found["data_fields"]["ID"] == session.subject_id
        assert [row["ID"] for row in rows(f"{session.subject}/projects")] == [session.project, other]
        assert http.delete(f"/data/projects/{other}/subjects/GUEST").status_code == 200
        assert rows(f"/data/projects/{other}/subjects") == []
        assert http.get(session.subject).status_code == 200

    def test_of_an_experiment(self, http, session, new_id, rows):
        other = new_id()
        http.put(f"/data/projects/{other}")
        share = f"{session.long}/projects/{other}"
        shared = http.put(share)
        assert (shared.status_code, shared.text) == (200, session.id)
        (row,) = rows(f"/data/projects/{other}/experiments", columns="ID,label,project,subject_label")
        assert [row[key] for key in ("ID", "label", "project", "subject_label")] == [session.id, "E01", other, "S01"]
        http.put(f"{session.subject}/projects/{other}", params={"label": "GUEST"})
        (row,) = rows(f"/data/projects/{other}/experiments", columns="label,subject_label")
        assert row["subject_label"] == "GUEST"
        assert http.delete(share).status_code == 200
        assert rows(f"/data/projects/{other}/experiments") == []
        assert http.get(session.url).status_code == 200

    def test_of_an_assessor(self, http, session, new_id, rows):
        other = new_id()
        http.put(f"/data/projects/{other}")
        assessor = f"{session.url}/assessors/QC"
        id_ = http.put(assessor, params={"xsiType": "xnat:qcAssessmentData", "project": session.project}).text
        share = f"{assessor}/projects/{other}"
        assert http.put(share, params={"label": "GUEST"}).status_code == 200
        assert http.put(share).status_code == 409
        assert [(row["ID"], row["label"]) for row in rows(f"{assessor}/projects")] == [
            (session.project, "QC"),
            (other, "GUEST"),
        ]
        found = http.get(f"/data/projects/{other}/experiments/GUEST", params={"format": "json"}).json()["items"][0]
        assert found["data_fields"]["ID"] == id_
        assert http.put(share, params={"primary": "true"}).status_code == 501
        assert http.delete(share).status_code == 200
        assert http.get(f"/data/projects/{other}/experiments/GUEST").status_code == 404
        assert http.get(assessor).status_code == 200

    def test_into_a_label_in_use_or_a_project_that_is_not_there(self, http, session, new_id):
        other = new_id()
        http.put(f"/data/projects/{other}")
        http.put(f"/data/projects/{other}/subjects/S01")
        assert http.put(f"{session.subject}/projects/{other}").status_code == 409
        assert http.put(f"{session.subject}/projects/none{other}").status_code == 404

    def test_is_for_who_may_change_what_is_shared(self, http, session, new_id, new_account):
        other, reader = new_id(), new_account()
        reader.put(f"/data/projects/{other}")
        for url in (session.subject, session.url, f"{session.subject}NONE"):
            http.put(f"/data/projects/{session.project}/accessibility/public")
            refused = reader.put(f"{url}/projects/{other}")
            assert (refused.status_code, "Sharing is not allowed." in refused.text) == (403, True)
        assert http.put(f"{session.subject}NONE/projects/{other}").status_code == 403


def test_deleting_takes_the_sessions_along(http, session, archive):
    http.put(f"{session.scan}/resources/R/files/a.txt", params={"inbody": "true"}, content=b"hello")
    assert http.delete(session.subject, params={"removeFiles": "true"}).status_code == 200
    assert http.get(session.url).status_code == 404
    assert http.delete(session.subject).status_code == 404
    assert not (archive.root / "archive" / session.project / "arc001" / "E01").exists()


def test_many_at_once_get_ids_of_their_own(http, project):
    url = f"/data/projects/{project}/subjects"
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: http.put(f"{url}/S{number % 12}"), range(24)))
    assert sorted(one.status_code for one in answers) == [200] * 12 + [201] * 12
    assert len({one.text for one in answers}) == 12


def test_missing_ones_are_named(http, project):
    answer = http.get(f"/data/projects/{project}/subjects/S99")
    assert answer.status_code == 404
    assert f"The project {project} does not contain a subject identifiable by the ID or label S99." in answer.text
    assert "accession number" in http.get("/data/subjects/S99").text
    assert http.put("/data/projects/NONE/subjects/S1").status_code == 422
