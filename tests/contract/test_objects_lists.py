"""Listings: columns, formats, filters, sorting, paging, joins; and search."""

import csv
import io
import json
import xml.etree.ElementTree as ET

import pytest

MR = {"xsiType": "xnat:mrSessionData"}


@pytest.fixture
def study(http, project):
    """Three sessions of two people, two of them with scans."""
    url = f"/data/projects/{project}/subjects"
    http.put(f"{url}/Ann", params={"gender": "female", "yob": "1980", "group": "control"})
    http.put(f"{url}/Bob", params={"gender": "male", "group": "patient, old"})
    dates = {"A1": ("Ann", "2020-01-02"), "A2": ("Ann", "2020-06-01"), "B1": ("Bob", "2021-01-01")}
    for label, (subject, date) in dates.items():
        xsi = "xnat:petSessionData" if label == "A2" else "xnat:mrSessionData"
        http.put(f"{url}/{subject}/experiments/{label}", params={"xsiType": xsi, "date": date})
    for number, kind in (("1", "T1w"), ("2", "bold")):
        http.put(f"{url}/Ann/experiments/A1/scans/{number}", params={"xsiType": "xnat:mrScanData", "type": kind})
    return project


@pytest.fixture
def labels(rows, study):
    def labels(path=None, **params):
        return [row["label"] for row in rows(path or f"/data/projects/{study}/experiments", **params)]

    return labels


class TestFormats:
    def test_say_the_same(self, http, study):
        url = f"/data/projects/{study}/subjects"
        answers = {name: http.get(url, params={"format": name}) for name in ("json", "csv", "xml", "html")}
        assert [one.headers["content-type"].partition(";")[0] for one in answers.values()] == [
            "application/json",
            "text/csv",
            "text/xml",
            "text/html",
        ]
        rows = answers["json"].json()["ResultSet"]["Result"]
        assert list(csv.DictReader(io.StringIO(answers["csv"].text))) == rows
        root = ET.fromstring(answers["xml"].text)
        columns = [one.text for one in root.iter("column")]
        cells = [[one.text or "" for one in row.iter("cell")] for row in root.iter("row")]
        assert [dict(zip(columns, row, strict=True)) for row in cells] == rows
        assert answers["html"].text.startswith("<table")

    def test_json_is_the_default_and_accept_is_heard(self, http, study):
        url = f"/data/projects/{study}/subjects"
        assert http.get(url).headers["content-type"] == "application/json"
        assert http.get(url, headers={"Accept": "text/html,*/*"}).headers["content-type"].startswith("text/html")
        assert http.get(url, headers={"Accept": "text/xml"}).headers["content-type"].startswith("text/xml")

    def test_every_value_is_a_string(self, rows, study):
        assert all(isinstance(value, str) for row in rows("/data/experiments", project=study) for value in row.values())

    def test_an_empty_csv_has_its_header(self, http, project):
        text = http.get(f"/data/projects/{project}/subjects", params={"format": "csv"}).text
        assert text == "ID,project,label,insert_date,insert_user,URI\n"

    def test_awkward_values_survive(self, http, study, rows):
        xml = '<xnat:Subject xmlns:xnat="http://nrg.wustl.edu/xnat" group="{}"/>'
        value = 'a "quoted", </b> & é\u2028'
        body = xml.format(value.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")).encode()
        url = f"/data/projects/{study}/subjects"
        http.put(f"{url}/Odd", content=body, headers={"Content-Type": "text/xml"})
        params = {"columns": "group", "label": "Odd"}
        assert rows(url, **params)[0]["group"] == value
        assert "<\\/b>" in http.get(url, params={"format": "json", **params}).text
        root = ET.fromstring(http.get(url, params={"format": "xml", **params}).content)
        assert [one.text for one in root.iter("cell")][1] == value


class TestColumns:
    def test_defaults_in_xnats_order(self, http, study):
        def header(path, **params):
            return http.get(path, params={"format": "csv", **params}).text.splitlines()[0].split(",")

        below = f"/data/projects/{study}"
        key = "xnat:subjectassessordata/id"
        default = ["ID", "project", "date", "xsiType", "label", "insert_date"]
        assert header("/data/projects") == [
            "ID",
            "secondary_ID",
            "name",
            "description",
            "pi_firstname",
            "pi_lastname",
            "URI",
        ]
        assert header(f"{below}/subjects") == ["ID", "project", "label", "insert_date", "insert_user", "URI"]
        assert header(f"{below}/experiments") == [key, *default, "URI"]
        assert header(f"{below}/subjects/Ann/experiments") == [key, *default, "URI"]
        assert header("/data/experiments", project=study) == [*default, "URI"]
        scans = ["xnat_imagescandata_id", "ID", "type", "quality", "xsiType", "note", "series_description", "URI"]
        assert header(f"{below}/subjects/Ann/experiments/A1/scans") == scans

    @pytest.mark.parametrize(
        ("asked", "got"),
        [
            ("label", "label"),
            ("xnat:subjectData/label", "label"),
            ("XNAT:SUBJECTDATA/GROUP", "group"),
            ("xnat:subjectData/demographics[@xsi:type=xnat:demographicData]/gender", "gender"),
            ("xnat:subjectData/demographics/yob", "xnat:subjectdata/demographics/yob"),
        ],
    )
    def test_headers_of_subjects(self, rows, study, asked, got):
        row = rows(f"/data/projects/{study}/subjects", columns=asked)[0]
        assert set(row) == {"ID", got, "URI"}
        assert row[got]

    @pytest.mark.parametrize("asked", ["nonsense", "xnat:nonsense/x", "a/b/c"])
    def test_unknown_ones_are_no_error(self, rows, study, asked):
        assert len(rows(f"/data/projects/{study}/subjects", columns=f"label,{asked}")) == 2

    @pytest.mark.parametrize(
        ("path", "asked", "status"),
        [
            ("/data/projects/{}/subjects", {"columns": "label,xnat:subjectData/nonsense"}, 500),
            ("/data/subjects", {"columns": "label,xnat:subjectData/experiments/experiment/nonsense"}, 500),
            ("/data/subjects", {"columns": "label,xnat:subjectData/nonsense/nonsense/ID"}, 500),
            ("/data/experiments", {"columns": "label,subject_label"}, 500),
            ("/data/experiments", {"xsiType": "xnat:nonsense"}, 500),
            ("/data/projects/{}/subjects", {"yob": "abc"}, 500),
            ("/data/projects/{}/experiments", {"columns": "label,xnat:mrSessionData/nonsense"}, 200),
            ("/data/projects/{}/experiments", {"xsiType": "xnat:nonsense"}, 200),
            ("/data/projects/{}/experiments", {"date": "tomorrow"}, 200),
            ("/data/projects/{}/experiments", {"date": "2020-01-02"}, 200),
        ],
    )
    def test_what_the_database_refuses_has_no_table(self, http, study, path, asked, status):
        answer = http.get(path.format(study), params={"format": "json", **asked})
        assert answer.status_code == status
        assert "ResultSet" not in answer.text

    def test_about_the_subject_of_an_experiment(self, rows, study):
        found = rows(
            "/data/experiments", project=study, columns="label,subject_label,xnat:subjectAssessorData/subject_id"
        )
        assert {(row["label"], row["subject_label"]) for row in found} == {("A1", "Ann"), ("A2", "Ann"), ("B1", "Bob")}
        assert all("_S" in row["subject_ID"] for row in found)

    def test_of_scans_give_a_row_a_scan(self, rows, study):
        paths = "xnat:imagesessiondata/scans/scan/id,xnat:imagesessiondata/scans/scan/type"
        found = rows("/data/experiments", project=study, xsiType="xnat:imageSessionData", columns=f"label,{paths}")
        first, second = paths.split(",")
        cells = {(row["label"], row[first], row[second]) for row in found}
        assert cells == {("A1", "1", "T1w"), ("A1", "2", "bold"), ("A2", "", ""), ("B1", "", "")}

    def test_of_a_type_narrow_the_listing_to_it(self, labels):
        assert labels(columns="label,xnat:petSessionData/date") == ["A2"]

    def test_encoded_twice_are_understood(self, rows, study):
        assert rows(f"/data/projects/{study}/subjects", columns="label%2Cgender")[0]["gender"] == "female"


class TestFilters:
    @pytest.mark.parametrize(
        ("params", "expected"),
        [
            ({"label": "A1"}, ["A1"]),
            ({"label": "A1,B1"}, ["A1", "B1"]),
            ({"label": "a*"}, ["A1", "A2"]),
            ({"label": "%1"}, ["A1", "B1"]),
            ({"date": "01/02/2020"}, ["A1"]),
            ({"date": "01/01/2020-12/31/2020"}, ["A1", "A2"]),
            ({"xsiType": "xnat:mrSessionData"}, ["A1", "B1"]),
            ({"xsiType": "xnat:imagesessiondata"}, ["A1", "A2", "B1"]),
            ({"xsiType": "xnat:mrSessionData,xnat:petSessionData"}, ["A1", "A2", "B1"]),
            ({"xnat:mrSessionData/date": "01/01/2021"}, ["B1"]),
            ({"subject_label": "Ann", "label": "A2"}, ["A2"]),
            ({"label": "NONE"}, []),
            ({"nonsense": "A1"}, ["A1", "A2", "B1"]),
        ],
    )
    def test_of_experiments(self, labels, params, expected):
        assert labels(**params) == expected

    def test_of_subjects(self, rows, study):
        for params, expected in (
            ({"gender": "female"}, ["Ann"]),
            ({"xnat:subjectData/group": "control"}, ["Ann"]),
            ({"yob": "1970-1990"}, ["Ann"]),
            ({"ID": "none"}, []),
        ):
            found = rows(f"/data/projects/{study}/subjects", columns="label", **params)
            assert [row["label"] for row in found] == expected

    def test_of_the_site_listing(self, labels, study, rows):
        person = rows(f"/data/projects/{study}/subjects", label="Ann")[0]["ID"]
        assert labels("/data/experiments", project=study, subject_ID=person) == ["A1", "A2"]


class TestOrder:
    def test_follows_a_column(self, labels):
        assert labels(sortBy="date", sortOrder="DESC", columns="label,date") == ["B1", "A2", "A1"]
        assert labels(sortBy="subject_label,date", columns="label,subject_label,date") == ["A1", "A2", "B1"]

    def test_pages_and_their_missing_total(self, http, study):
        url = f"/data/projects/{study}/experiments"

        def page(**params):
            result = http.get(url, params={"format": "json", "sortBy": "label", **params}).json()["ResultSet"]
            return [row["label"] for row in result["Result"]], result.get("totalRecords")

        assert page() == (["A1", "A2", "B1"], "3")
        assert page(limit="2") == (["A1", "A2"], None)
        assert page(limit="2", offset="1") == (["A2", "B1"], None)
        assert page(limit="*", offset="2") == (["B1"], None)
        assert page(limit="nonsense", offset="-1") == (["A1", "A2", "B1"], None)


class TestSearch:
    def bundle(self, root, columns, *criteria, method="AND"):
        fields = "".join(
            f"<xdat:search_field><xdat:element_name>{one.partition('/')[0]}</xdat:element_name><xdat:field_ID>{one.partition('/')[2]}"
            f"</xdat:field_ID><xdat:sequence>0</xdat:sequence><xdat:type>string</xdat:type></xdat:search_field>"
            for one in columns
        )
        tests = "".join(
            f"<xdat:criteria><xdat:schema_field>{field}</xdat:schema_field><xdat:comparison_type>{how}</xdat:comparison_type>"
            f"<xdat:value>{value}</xdat:value></xdat:criteria>"
            for field, how, value in criteria
        )
        return (
            f'<xdat:bundle xmlns:xdat="http://nrg.wustl.edu/security" ID="@{root}"><xdat:root_element_name>{root}'
            f'</xdat:root_element_name>{fields}<xdat:search_where method="{method}">{tests}</xdat:search_where></xdat:bundle>'
        )

    @pytest.mark.parametrize(
        ("criteria", "method", "expected"),
        [
            ([], "AND", {"Ann", "Bob"}),
            ([("xnat:subjectData/SUBJECT_LABEL", "=", "Ann")], "AND", {"Ann"}),
            ([("xnat:subjectData/SUBJECT_LABEL", "LIKE", "%n%")], "AND", {"Ann"}),
            ([("xnat:subjectData/GENDER_TEXT", "!=", "female")], "AND", {"Bob"}),
            (
                [("xnat:subjectData/YOB", "&gt;", "1979"), ("xnat:subjectData/SUB_GROUP", "=", "control")],
                "AND",
                {"Ann"},
            ),
            (
                [("xnat:subjectData/YOB", "&gt;", "1990"), ("xnat:subjectData/demographics/gender", "=", "male")],
                "OR",
                {"Bob"},
            ),
        ],
    )
    def test_finds_subjects(self, http, study, criteria, method, expected):
        columns = ["xnat:subjectData/SUBJECT_LABEL", "xnat:subjectData/PROJECT"]
        answer = http.post(
            "/data/search",
            params={"format": "json"},
            content=self.bundle("xnat:subjectData", columns, *criteria, method=method),
        )
        rows = answer.json()["ResultSet"]["Result"]
        assert {row["subject_label"] for row in rows if row["project"] == study} == expected

    def test_finds_sessions_with_columns_of_the_subject(self, http, study):
        columns = ["xnat:mrSessionData/LABEL", "xnat:subjectData/SUBJECT_LABEL"]
        body = self.bundle("xnat:mrSessionData", columns, ("xnat:mrSessionData/PROJECT", "=", study))
        rows = list(csv.DictReader(io.StringIO(http.post("/data/search", params={"format": "csv"}, content=body).text)))
        assert {(row["label"], row["xnat_subjectdata_subject_label"]) for row in rows} == {("A1", "Ann"), ("B1", "Bob")}

    def test_tells_what_can_be_searched(self, http, study):
        rows = http.get("/data/search/elements", params={"format": "json"}).json()["ResultSet"]["Result"]
        names = {row["ELEMENT_NAME"]: row["COUNT"] for row in rows}
        assert {"xnat:projectData", "xnat:subjectData", "xnat:mrSessionData"} <= names.keys()
        for name in names:
            fields = http.get(f"/data/search/elements/{name}", params={"format": "json"}).json()["ResultSet"]["Result"]
            assert all(row["FIELD_ID"] for row in fields)
        assert http.get("/data/search/elements/xnat:nonsense").status_code == 404

    @pytest.mark.parametrize(
        "body",
        ["", "no xml", "<a/>", '<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>', "<b>" * 3000 + "</b>" * 3000],
    )
    def test_refuses_what_is_no_search(self, http, body):
        assert http.post("/data/search", content=body).status_code == 422

    def test_refuses_a_comparison_it_does_not_know(self, http, study):
        body = self.bundle(
            "xnat:subjectData", ["xnat:subjectData/PROJECT"], ("xnat:subjectData/PROJECT", "; DROP", "x")
        )
        assert http.post("/data/search", content=body).status_code == 422


def test_item_json_is_json_whatever_is_in_it(http, study):
    url = f"/data/projects/{study}/subjects/Ann"
    http.put(url, params={"src": '</script>"\\'})
    assert json.loads(http.get(url, params={"format": "json"}).text)["items"][0]["data_fields"]["src"].startswith(
        "&lt;/script"
    )


def test_short_names_and_their_paths(rows, session):
    """``fields=`` asks for what may be asked for (xnat-rest.md 11.3)."""
    found = {row["key"]: row["xpath"] for row in rows("/data/subjects", fields="x")}
    assert found["label"] == "xnat:subjectData/label"
    assert found["gender"].endswith("/gender")
    assert "quality" in {row["key"] for row in rows(f"{session.url}/scans", fields="x")}


def test_assessors_join_their_session(http, rows, session):
    for label in ("QC1", "QC2"):
        http.put(f"{session.long}/assessors/{label}", params={"xsiType": "xnat:qcAssessmentData"})
    column = "xnat:mrsessiondata/assessors/assessor/label"
    found = rows("/data/experiments", project=session.project, columns=f"ID,{column}")
    assert [(row["ID"], row[column]) for row in found] == [(session.id, "QC1"), (session.id, "QC2")]
