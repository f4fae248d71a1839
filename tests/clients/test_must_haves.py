"""What no client can do without: one test for each endpoint that one of them must have, on the wire.

Each test sends what the clients named in it were seen to send, and asks of the answer what they read in it. The list is
that of the endpoints which pyxnat, bx, dax, xnatpy, xnatutils, bxl, yaxil, xnatctl or datalad-xnat cannot connect or do
their main work without; the clients themselves run in the other modules of this folder.
"""

import csv
import hashlib
import io
import re
import tarfile
import zipfile
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import count
from xml.etree import ElementTree as ET

import httpx2
import pytest

USER, PASSWORD = "admin", "admin-secret"
XNAT = "{http://nrg.wustl.edu/xnat}"
RESOURCE_COLUMNS = [
    "xnat_abstractresource_id",
    "label",
    "element_name",
    "category",
    "cat_id",
    "cat_desc",
    "file_count",
    "file_size",
    "tags",
    "content",
    "format",
]
FILE_COLUMNS = ["Name", "Size", "URI", "collection", "file_tags", "file_format", "file_content", "cat_ID", "digest"]
SUBJECT_COLUMNS = {"ID", "project", "label", "insert_date", "insert_user", "URI"}
EXPERIMENT_COLUMNS = {
    "ID",
    "project",
    "date",
    "xsiType",
    "label",
    "insert_date",
    "xnat:subjectassessordata/id",
    "URI",
}
SCAN_COLUMNS = {
    "xnat_imagescandata_id",
    "ID",
    "type",
    "quality",
    "xsiType",
    "note",
    "series_description",
    "URI",
}

ROWS = {}
_numbers = count(1)


def row(name):
    """Register a test for the endpoint *name*."""

    def register(function):
        assert name not in ROWS
        ROWS[name] = function
        return function

    return register


@dataclass
class HttpClient:
    """A project with a session, and the ways in which clients log in.

    Attributes:
        url: Address of the archive.
        basic: Sends Basic credentials with every request, and no cookie at first (pyxnat, yaxil).
        cookie: Sends the login cookie only (xnatpy, bxl, xnatctl).
        bare: Sends nothing.
        project: ID of the project.
        subject_id: Accession ID of its one subject, ``sub01``.
        id: Accession ID of that one's session, ``sub01_MR1``.
    """

    url: str
    basic: httpx2.Client
    cookie: httpx2.Client
    bare: httpx2.Client
    project: str
    subject_id: str
    id: str

    @property
    def subject(self):
        return f"/data/projects/{self.project}/subjects/sub01"

    @property
    def session(self):
        return f"{self.subject}/experiments/sub01_MR1"

    @property
    def scan(self):
        return f"/data/experiments/{self.id}/scans/1"

    @property
    def resource(self):
        return f"{self.session}/resources/R"

    def json(self, url, **params):
        """The rows of a JSON listing, as xnatpy and xnatctl ask for it; every value must be a string."""
        answer = self.cookie.get(url, params={"format": "json", **params})
        assert answer.status_code == 200, answer.text
        rows = answer.json()["ResultSet"]["Result"]
        assert all(isinstance(value, str) for one in rows for value in one.values())
        return rows

    def csv(self, url, **params):
        """Header and rows of a CSV listing, as pyxnat asks for it."""
        answer = self.basic.get(url, params={"format": "csv", **params})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/csv")
        table = csv.DictReader(io.StringIO(answer.text))
        return table.fieldnames, list(table)

    def put_file(self, name="a.txt", data=b"hello", url=None):
        answer = self.cookie.put(
            f"{url or self.resource}/files/{name}",
            content=data,
            headers={"content-type": "application/octet-stream"},
            params={"overwrite": "true"},
        )
        assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def logins(archive):
    with (
        httpx2.Client(base_url=archive.url, auth=(USER, PASSWORD)) as basic,
        httpx2.Client(base_url=archive.url) as cookie,
    ):
        cookie.cookies.set("JSESSIONID", cookie.post("/data/JSESSION", auth=(USER, PASSWORD)).text)
        yield basic, cookie


@pytest.fixture
def http(archive, logins):
    basic, cookie = logins
    project = f"MUST{next(_numbers)}"
    cookie.put(f"/data/projects/{project}")
    session = f"/data/projects/{project}/subjects/sub01/experiments/sub01_MR1"
    subject_id = cookie.put(f"/data/projects/{project}/subjects/sub01").text
    id_ = cookie.put(session, params={"xsiType": "xnat:mrSessionData"}).text
    cookie.put(f"{session}/scans/1", params={"xsiType": "xnat:mrScanData", "type": "T1w"})
    cookie.put(f"{session}/resources/R")
    with httpx2.Client(base_url=archive.url) as bare:
        yield HttpClient(archive.url, basic, cookie, bare, project, subject_id, id_)


def is_no_error_page(answer):
    """pyxnat and xnatpy take any body for an error that begins so."""
    return not answer.text.startswith(("<html>", "<!DOCTYPE"))


# --- logging in ------------------------------------------------------------------------------------------------------


@row("GET /data/JSESSION")
def login_by_get(http):
    first = http.bare.get("/data/JSESSION", auth=(USER, PASSWORD))  # pyxnat, yaxil
    assert first.status_code == 200
    assert re.fullmatch(r"[0-9A-Fa-f]{32}", first.text.strip())
    assert first.cookies["JSESSIONID"] == first.text.strip()
    again = http.bare.get("/data/JSESSION")  # xnatpy's heartbeat
    assert (again.status_code, again.text) == (200, first.text)
    expiry = next(one for one in again.headers.get_list("set-cookie") if one.startswith("SESSION_EXPIRATION_TIME="))
    assert re.match(r'SESSION_EXPIRATION_TIME="\d+,\d+"', expiry)
    http.bare.cookies.clear()
    ended = http.bare.get("/data/JSESSION", headers={"Cookie": f"JSESSIONID={'0' * 32}"})
    assert (ended.status_code, ended.text == first.text) == (200, False)  # a guest's, as recorded


@row("POST /data/JSESSION")
def login_by_post(http):
    answer = http.bare.post("/data/JSESSION", auth=(USER, PASSWORD))  # bxl, xnatctl, datalad-xnat: exactly 200
    assert answer.status_code == 200
    assert "<html" not in answer.text
    assert http.bare.get("/data/projects", headers={"Cookie": f"JSESSIONID={answer.text}"}).status_code == 200
    http.bare.cookies.clear()
    assert http.bare.post("/data/JSESSION", auth=(USER, "wrong")).status_code == 401


@row("DELETE /data/JSESSION")
def logout(http):
    token = http.bare.get("/data/JSESSION", auth=(USER, PASSWORD)).text
    assert http.bare.delete("/data/JSESSION", headers={"Connection": "close"}).status_code == 200  # xnatpy
    http.bare.cookies.clear()
    assert http.bare.get("/data/projects", headers={"Cookie": f"JSESSIONID={token}"}).status_code == 401
    # dax logs out at once, with Basic and the cookie that has just been given, and goes on with Basic.
    http.bare.cookies.clear()
    one = http.bare.get("/data/JSESSION", auth=(USER, PASSWORD)).text
    assert http.bare.delete("/data/JSESSION", auth=(USER, PASSWORD)).status_code == 200
    two = http.bare.get("/data/JSESSION", auth=(USER, PASSWORD))
    assert two.status_code == 200
    assert two.text != one


@row("PUT /data/services/auth")
def login_by_form(http):
    answer = http.bare.put("/data/services/auth", data={"username": USER, "password": PASSWORD})  # xnatpy
    assert answer.status_code == 200
    assert answer.cookies["JSESSIONID"] == answer.text.strip()
    wrong = http.bare.put("/data/services/auth", data={"username": USER, "password": "wrong"})
    assert wrong.status_code == 401


@row("GET /data/auth")
def who_is_logged_in(http):
    answer = http.cookie.get("/data/auth")
    assert answer.status_code == 200
    assert re.search(r"User '(.*?)' is logged in", answer.text)[1] == USER
    assert http.bare.get("/data/auth").status_code == 401


@row("GET / and HEAD /")
def front_page(http):
    for method in ("GET", "HEAD"):
        for client in (http.bare, http.cookie):
            answer = client.request(method, "/", follow_redirects=False)
            assert answer.status_code == 200  # a redirect changes what xnatpy takes for the base, and bxl goes offline


@row("GET /data/version")
def version_of_old(http):
    assert http.cookie.get("/data/version").status_code == 404  # else pyxnat and xnatpy take the ways of 1.6


@row("GET /xapi/siteConfig/buildInfo")
def build_info(http):
    info = http.cookie.get("/xapi/siteConfig/buildInfo", params={"format": "json"}).json()
    assert re.match(r"1\.[789]\.", info["version"])
    assert all(isinstance(value, str) for value in info.values())


@row("GET /xapi/schemas, /xapi/schemas/{name}")
def schemas(http):
    names = http.cookie.get("/xapi/schemas", params={"format": "json"}).json()
    assert {"xdat", "xnat"} <= set(names)
    for name in names:  # one that cannot be had ends xnatpy's connection
        answer = http.cookie.get(f"/xapi/schemas/{name}", headers={"Accept-Encoding": "identity"})
        assert answer.status_code == 200
        assert "content-encoding" not in answer.headers
        assert ET.fromstring(answer.content).tag.endswith("}schema")


@row("GET /data/search/elements, .../elements/{type}")
def search_elements(http):
    elements = http.json("/data/search/elements")
    assert {"ELEMENT_NAME", "SINGULAR", "PLURAL", "SECURED", "COUNT"} <= elements[0].keys()
    for element in elements:
        fields = http.json(f"/data/search/elements/{element['ELEMENT_NAME']}")
        assert all("FIELD_ID" in one for one in fields)  # a missing key ends xnatpy's connection
    header, _ = http.csv("/data/search/elements")  # dax looks for its own types there
    assert "ELEMENT_NAME" in header


@row("GET /xapi/users/username")
def user_name(http):
    answer = http.cookie.get("/xapi/users/username")
    assert (answer.status_code, answer.text.strip()) == (200, USER)


# --- projects --------------------------------------------------------------------------------------------------------


@row("GET e/projects")
def projects(http):
    header, found = http.csv("/data/projects", columns="ID,xsiType")  # pyxnat
    assert "ID" in header
    assert http.project in {one["ID"] for one in found}
    found = http.json("/data/archive/projects", columns="ID,URI,name")  # xnatpy
    (mine,) = [one for one in found if one["ID"] == http.project]
    assert mine["URI"] == f"/data/projects/{http.project}"
    rows = http.basic.get("/REST/projects").json()  # dax's prefix; no format asked for is JSON (yaxil)
    assert {"ID", "secondary_ID", "name", "description", "pi_firstname", "pi_lastname", "URI"} == set(
        rows["ResultSet"]["Result"][0]
    )
    assert int(rows["ResultSet"]["totalRecords"]) >= 1


@row("GET e/projects/P")
def project(http):
    item = http.cookie.get(f"/data/projects/{http.project}", params={"format": "json"}).json()["items"][0]
    assert item["meta"]["isHistory"] is False
    assert item["meta"]["xsi:type"] == "xnat:projectData"
    assert item["data_fields"]["ID"] == http.project
    document = http.basic.get(f"/data/projects/{http.project}", params={"format": "xml"})  # pyxnat
    assert ET.fromstring(document.content).tag == f"{XNAT}Project"


@row("PUT e/projects/P")
def new_project(http):
    name = f"{http.project}_new"
    made = http.basic.put(f"/data/projects/{name}?xsiType=xnat:projectData")  # pyxnat
    assert (made.status_code, made.content) == (200, b"")  # a body would become the URI of xnatpy's object
    made = http.cookie.put(f"/data/archive/projects/{name}", params={"xnat:projectData/description": "x"})
    assert made.status_code == 200
    fields = http.cookie.get(f"/data/projects/{name}", params={"format": "json"}).json()["items"][0]["data_fields"]
    assert fields["description"] == "x"


@row("DELETE e/projects/P?removeFiles=true")
def delete_project(http):
    http.put_file()
    gone = http.basic.delete(f"/data/projects/{http.project}", params={"removeFiles": "true"})
    assert (gone.status_code, gone.content) == (200, b"")
    assert http.cookie.get(f"/data/projects/{http.project}").status_code == 404
    assert http.project not in {one["ID"] for one in http.json("/data/projects")}


# --- subjects --------------------------------------------------------------------------------------------------------


@row("GET e/projects/P/subjects, e/subjects")
def subjects(http):
    (found,) = http.json(f"/data/projects/{http.project}/subjects")  # bxl reads it keyed by ID
    assert found.keys() == SUBJECT_COLUMNS
    assert (found["ID"], found["URI"]) == (http.subject_id, f"/data/subjects/{http.subject_id}")
    header, found = http.csv(f"/data/projects/{http.project}/subjects", columns="label,ID")  # pyxnat's exists()
    assert {"label", "ID"} <= set(header)
    assert [(one["label"], one["ID"]) for one in found] == [("sub01", http.subject_id)]
    answer = http.basic.get(
        "/data/subjects", params={"columns": "ID,label,project", "label": "sub01", "project": http.project}
    ).json()["ResultSet"]  # yaxil
    assert int(answer["totalRecords"]) == 1
    assert answer["Result"][0].keys() >= {"URI", "ID", "project", "label"}
    columns = "ID,project,label,URI,last_modified,src,handedness,gender,yob,dob"  # dax
    _, found = http.csv("/REST/subjects", columns=columns, project=http.project)
    assert found[0].keys() >= set(columns.split(","))
    empty = f"{http.project}_empty"
    http.cookie.put(f"/data/projects/{empty}")
    assert http.csv(f"/data/projects/{empty}/subjects")[0]  # without a header line pyxnat fails


@row("PUT/DELETE .../subjects/S")
def new_subject(http):
    url = f"/data/projects/{http.project}/subjects/subject02"
    made = http.cookie.put(url)  # bxl: bare
    assert made.status_code == 201
    assert re.fullmatch(r"\w+_S\d{5,}", made.text)
    again = http.basic.put(f"{url}?xsiType=xnat:subjectData")  # pyxnat
    assert (again.status_code, again.text) == (200, made.text)
    xnatpy = http.cookie.put(
        f"/data/projects/{http.project}/subjects/sub03?xsiType=xnat%3AsubjectData&req_format=qs"
        "&xnat%3AsubjectData/label=sub03"
    )
    assert xnatpy.status_code == 201
    gender = "xnat:subjectData/demographics[@xsi:type=xnat:demographicData]/gender"
    assert http.cookie.put(url, params={"xsiType": "xnat:subjectData", gender: "male"}).status_code == 200
    found = http.json(f"/data/projects/{http.project}/subjects", columns="label,gender")
    assert {"subject02": "male"}.items() <= {one["label"]: one["gender"] for one in found}.items()
    gone = http.cookie.delete(url, params={"removeFiles": "true"})
    assert (gone.status_code, gone.content) == (200, b"")  # 204 is an error for bxl and xnatpy
    assert http.cookie.delete(url).status_code == 404


@row("GET .../subjects/S?format=json")
def subject(http):
    for url in (http.subject, f"/data/projects/{http.project}/subjects/{http.subject_id}"):
        item = http.cookie.get(url, params={"format": "json"}).json()["items"][0]
        assert item["meta"]["xsi:type"] == "xnat:subjectData"
        assert item["data_fields"]["ID"] == http.subject_id
        assert item["data_fields"]["label"] == "sub01"
        assert {child["field"] for child in item["children"]} == {"experiments/experiment"}
        # Java's Date.toString, of which xnatpy takes the earliest
        assert re.fullmatch(r"\w{3} \w{3} \d{2} [\d:]{8} \w+ \d{4}", item["meta"]["start_date"])


# --- experiments -----------------------------------------------------------------------------------------------------


@row("GET e/projects/P/experiments, .../subjects/S/experiments")
def experiments(http):
    for url in (f"/data/projects/{http.project}/experiments", f"{http.subject}/experiments"):
        (found,) = http.json(url)
        assert found.keys() == EXPERIMENT_COLUMNS
        assert found["URI"] == f"/data/experiments/{http.id}"
        _, found = http.csv(url, columns="xsiType,label,ID")  # pyxnat
        assert [(one["xsiType"], one["label"], one["ID"]) for one in found] == [
            ("xnat:mrSessionData", "sub01_MR1", http.id)
        ]
    (found,) = http.json(f"/data/projects/{http.project}/experiments", columns="ID,URI,label,xsiType")  # xnatpy
    assert found["xsiType"] == "xnat:mrSessionData"


@row("GET e/experiments?xsiType=&project=&ID=&label=&columns=")
def all_experiments(http):
    header, found = http.csv(  # pyxnat's array, which bx begins with
        "/data/experiments",
        xsiType="xnat:subjectAssessorData",
        project=http.project,
        columns="ID,project,xnat:subjectAssessorData/subject_id,label,subject_label",
    )
    assert {"ID", "project", "subject_ID", "label", "subject_label"} <= set(header)
    assert [(one["ID"], one["subject_ID"]) for one in found] == [(http.id, http.subject_id)]
    columns = "ID,label,project,xnat:subjectassessordata/subject_id,subject_label,insert_date,note"  # yaxil
    answer = http.basic.get("/data/experiments", params={"columns": columns, "label": "sub01_MR1"})
    keys = {"URI", "ID", "project", "label", "subject_ID", "subject_label", "insert_date", "note"}
    assert keys <= answer.json()["ResultSet"]["Result"][0].keys()
    (found,) = http.json("/data/experiments", ID=http.id, columns="ID,label,project,subject_ID")  # bxl
    assert found["subject_ID"] == http.subject_id
    _, found = http.csv(  # dax: a row for every scan
        "/REST/experiments",
        project=http.project,
        xsiType="xnat:imagesessiondata",
        columns="ID,label,xnat:imagesessiondata/subject_id,xnat:imagesessiondata/scans/scan/id,"
        "xnat:imagesessiondata/scans/scan/type,xnat:imagesessiondata/original",
    )
    assert [
        (one["xnat:imagesessiondata/scans/scan/id"], one["xnat:imagesessiondata/scans/scan/type"]) for one in found
    ] == [("1", "T1w")]
    assert found[0]["xnat:imagesessiondata/subject_id"] == http.subject_id
    assert found[0]["xnat:imagesessiondata/original"] == ""  # a column that nobody knows


@row("PUT .../experiments/E?xsiType=")
def new_experiment(http):
    url = f"{http.subject}/experiments/sub01_MR2"
    made = http.cookie.put(f"{url}?xsiType=xnat%3AmrSessionData")  # bxl
    assert made.status_code == 201
    assert re.fullmatch(r"\w+_E\d{5,}", made.text)
    again = http.basic.put(f"{url}?xsiType=xnat:mrSessionData&xnat:mrSessionData/age=42")  # pyxnat's attrs.set
    assert (again.status_code, again.text) == (200, made.text)
    _, found = http.csv("/data/experiments", ID=made.text, columns="ID,xnat:mrSessionData/age")
    assert float(found[0]["xnat:mrsessiondata/age"]) == 42  # the header in lower case
    assert http.cookie.put(f"{http.subject}/experiments/X").status_code == 417  # no type is said
    xnatpy = http.cookie.put(
        f"/data/archive/projects/{http.project}/subjects/{http.subject_id}/experiments/sub01_MR3"
        "?xsiType=xnat%3AmrSessionData&req_format=qs&xnat%3AmrSessionData/label=sub01_MR3"
    )
    assert xnatpy.status_code == 201


@row("GET .../experiments/E?format=json")
def experiment(http):
    for url in (
        f"/data/experiments/{http.id}",
        f"/data/projects/{http.project}/experiments/sub01_MR1",
        http.session,
        f"/data/archive/projects/{http.project}/subjects/{http.subject_id}/experiments/{http.id}",
    ):
        item = http.cookie.get(url, params={"format": "json"}).json()["items"][0]
        assert item["meta"]["xsi:type"] == "xnat:mrSessionData"
        fields = item["data_fields"]  # xnatctl and datalad-xnat
        assert (fields["ID"], fields["subject_ID"], fields["project"]) == (http.id, http.subject_id, http.project)
        assert {child["field"] for child in item["children"]} == {"scans/scan", "resources/resource"}


# --- scans -----------------------------------------------------------------------------------------------------------


@row("GET/PUT/DELETE .../scans[/N]")
def scans(http):
    (found,) = http.json(f"/data/experiments/{http.id}/scans")
    assert found.keys() == SCAN_COLUMNS
    assert (found["ID"], found["type"], found["URI"]) == ("1", "T1w", http.scan)
    two = f"/data/experiments/{http.id}/scans/2"
    bxl = "xsiType=xnat%3AmrScanData&type=DWI&series_description=DWI&quality=usable"
    made = http.cookie.put(f"{two}?{bxl}")
    assert (made.status_code, made.content) == (200, b"")
    xnatpy = http.cookie.put(
        f"{http.session}/scans/3?xsiType=xnat%3AmrScanData&req_format=qs&xnat%3AmrScanData/type=T2w&xnat%3AmrScanData/id=3"
    )
    assert (xnatpy.status_code, xnatpy.content) == (200, b"")
    pyxnat = http.basic.put(f"{http.session}/scans/4?xsiType=xnat:mrScanData&xnat:mrScanData/type=T1")
    assert pyxnat.status_code == 200
    _, found = http.csv(f"{http.session}/scans", columns="ID,type,quality,xsiType")
    assert [(one["ID"], one["type"]) for one in found] == [("1", "T1w"), ("2", "DWI"), ("3", "T2w"), ("4", "T1")]
    assert found[1]["quality"] == "usable"
    wanted = "xnat:mrscandata/id,xnat:mrscandata/type,xnat:mrscandata/parameters/tr,xnat:mrscandata/frames"  # yaxil
    found = http.json(f"/data/experiments/{http.id}/scans", xsiType="xnat:mrScanData", columns=wanted)
    assert set(wanted.split(",")) <= found[0].keys()
    assert found[0]["xnat:mrscandata/id"] == "1"  # it drops rows where this is empty
    item = http.cookie.get(two, params={"format": "json"}).json()["items"][0]
    assert item["data_fields"]["series_description"] == "DWI"
    gone = http.cookie.delete(two, params={"removeFiles": "true"})
    assert (gone.status_code, gone.content) == (200, b"")
    assert http.cookie.get(two).status_code == 404
    # xnatpy reads the lists below what it has deleted once more; 1.8.11 answers so (recorded).
    assert http.cookie.get(f"{two}/resources", params={"format": "json"}).status_code == 404
    assert http.cookie.get(f"{two}/resources/R/files", params={"format": "json"}).status_code == 500


@row("GET .../scans/ALL/resources, /scans/ALL/files")
def all_scans(http):
    http.cookie.put(f"{http.session}/scans/2", params={"xsiType": "xnat:mrScanData", "type": "T2w"})
    for number in ("1", "2"):
        http.put_file(f"{number}.nii", url=f"{http.session}/scans/{number}/resources/NIFTI")
    found = http.json(f"{http.session}/scans/ALL/resources")  # bxl
    assert [(one["category"], one["cat_id"], one["cat_desc"]) for one in found] == [
        ("scans", "1", "T1w"),
        ("scans", "2", "T2w"),
    ]
    for which in ("ALL", "1,2", "T1w,2"):
        found = http.json(f"/data/experiments/{http.id}/scans/{which}/files")  # bxl, datalad-xnat
        assert [one["Name"] for one in found] == ["1.nii", "2.nii"]
        assert all(http.cookie.get(one["URI"]).content == b"hello" for one in found)


# --- resources -------------------------------------------------------------------------------------------------------


@row("GET .../resources")
def resources(http):
    http.put_file()
    for url in (f"{http.session}/resources", f"/data/experiments/{http.id}/resources"):
        header, _ = http.csv(url, columns="xnat_abstractresource_id,label")  # asks for two and needs what there is
        assert set(header) == set(RESOURCE_COLUMNS)
    (found,) = http.json(f"{http.session}/resources")
    assert found.keys() == set(RESOURCE_COLUMNS)  # xnatpy relies on there being neither ID nor URI
    assert found["xnat_abstractresource_id"].isdecimal()
    assert (found["element_name"], found["label"]) == ("xnat:resourceCatalog", "R")
    assert (found["file_count"], found["file_size"]) == ("1", "5")
    assert http.json(f"{http.subject}/resources") == http.json(f"/data/projects/{http.project}/resources") == []


@row("PUT .../resources/LABEL")
def new_resource(http):
    for place in (f"/data/projects/{http.project}", http.subject, http.session, http.scan):
        url = f"{place}/resources/FREESURFER6"
        made = http.basic.put(url)  # pyxnat, bxl
        assert (made.status_code, made.content) == (200, b"")
        assert http.basic.put(url).status_code == 409
    http.cookie.put(f"{http.scan}/resources/NIFTI", params={"format": "NIFTI", "content": "T1w"})
    (found,) = [one for one in http.json(f"{http.scan}/resources") if one["label"] == "NIFTI"]
    assert (found["format"], found["content"]) == ("NIFTI", "T1w")


@row("GET .../resources/LABEL?format=json")
def resource(http):
    http.put_file("sub/a.txt")
    answer = http.cookie.get(http.resource, params={"format": "json"})
    assert answer.status_code == 200
    assert re.match(r'<\?xml version="1.0" encoding="UTF-8"\?>\n<cat:(DCM)?Catalog', answer.text)  # xnatpy's test
    entry = ET.fromstring(answer.content).find(".//{*}entry")
    assert (entry.get("URI"), entry.get("digest")) == ("sub/a.txt", hashlib.md5(b"hello").hexdigest())


@row("HEAD on any entity")
def head(http):
    http.put_file()
    there = [
        f"/data/projects/{http.project}",
        http.subject,
        f"/data/subjects/{http.subject_id}",
        http.session,
        f"/data/experiments/{http.id}",
        http.scan,
        http.resource,
        f"{http.resource}/files/a.txt",
    ]
    for url in there:  # bxl asks before it makes anything
        answer = http.cookie.head(url)
        assert (answer.status_code, answer.content) == (200, b""), url
        assert http.cookie.head(url.rstrip("1") + "9").status_code == 404, url


# --- files -----------------------------------------------------------------------------------------------------------


@row("GET .../resources/R/files")
def files(http):
    http.put_file("sub/x%20y.txt")
    (found,) = http.json(f"{http.resource}/files", columns="ID,URI,Name")  # xnatpy: and needs all nine
    assert found.keys() == set(FILE_COLUMNS)
    assert (found["Name"], found["Size"], found["collection"]) == ("x y.txt", "5", "R")
    assert found["digest"] == hashlib.md5(b"hello").hexdigest()
    assert re.search(r"/resources/\d+/files/sub/x y\.txt$", found["URI"])
    header, _ = http.csv(f"{http.resource}/files", columns="path,xsiType")  # pyxnat
    assert set(header) == set(FILE_COLUMNS)
    assert http.cookie.get(found["URI"]).content == b"hello"
    assert http.json(f"{http.session}/resources/NONE/files") == []


@row("POST .../files/NAME?inbody=true")
def post_file(http):
    (found,) = http.json(f"{http.session}/resources")
    url = f"/data/experiments/{http.id}/resources/{found['xnat_abstractresource_id']}/files/image.nii"
    query = "format=U&content=U&tags=U&overwrite=false&inbody=true"
    request = http.basic.build_request("POST", f"{url}?{query}", content=b"bytes")
    assert "content-type" not in request.headers  # pyxnat sends none
    answer = http.basic.send(request)
    assert answer.status_code == 200
    assert is_no_error_page(answer)
    (stored,) = http.json(f"{http.resource}/files")
    assert (stored["file_format"], stored["file_content"], stored["file_tags"]) == ("U", "U", "U")
    again = http.basic.post(f"{url}?{query}", content=b"other")
    assert (again.status_code, again.json()) == (200, {"duplicates": ["image.nii"]})
    assert http.basic.post(f"{url}?{query.replace('false', 'true')}", content=b"other").content == b""
    assert http.basic.get(url).content == b"other"


@row("PUT .../files/NAME (raw octet-stream)")
def put_raw(http):
    data = bytes(range(256)) * 2_000
    url = f"{http.resource}/files/a/b.json"
    answer = http.cookie.put(url, content=data, headers={"content-type": "application/octet-stream"})  # no inbody
    assert (answer.status_code, answer.content) == (200, b"")
    assert http.cookie.get(url).content == data
    xnatctl = {"content-type": "application/json"}
    url = f"{http.scan}/resources/NIFTI/files/side.json"  # makes the resource as well
    assert http.cookie.put(url, content=b"{}", headers=xnatctl, params={"inbody": "true"}).status_code == 200
    assert http.cookie.get(url).content == b"{}"


@row("PUT .../files/NAME (multipart/form-data)")
def put_form(http):
    url = f"{http.scan}/resources/NIFTI/files/x.nii.gz"
    options = {"format": "NIFTI", "content": "RAW", "extract": "false", "overwrite": "true"}
    for data in (b"\x1f\x8bimage", b""):  # an empty file too
        answer = http.cookie.put(url, params=options, files={"x.nii.gz": ("x.nii.gz", data)})
        assert (answer.status_code, answer.content) == (200, b"")  # bxl: exactly 200
        assert http.cookie.get(url).content == data
    (found,) = http.json(f"{http.scan}/resources/NIFTI/files")
    assert (found["file_format"], found["file_content"]) == ("NIFTI", "RAW")


def _zipped(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def _tarred(members, mode):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


@row(".../files/NAME with extract=true")
def extract(http):
    fs = {"sub01/stats/aseg.stats": b"stats", "sub01/touch/empty": b""}
    octets = {"content-type": "application/octet-stream"}

    def listed():
        return sorted(one["URI"].partition("/files/")[2] for one in http.json(f"{http.resource}/files"))

    pyxnat = f"{http.resource}/files/fs.zip?overwrite=false&inbody=true&extract=true"
    assert http.basic.post(pyxnat, content=_zipped(fs)).status_code == 200
    assert listed() == sorted(fs)
    assert http.basic.post(pyxnat, content=_zipped({"dir/a.txt": b"a"})).status_code == 200  # put_dir, put(list)
    for name, data in (
        ("upload.tar.gz", _tarred({"./t/one": b"1"}, "w:gz")),  # xnatpy's upload_dir
        ("upload.tar", _tarred({"t/two": b"2"}, "w")),
        ("upload.zip", _zipped({"t/three": b"3"})),
    ):
        url = f"{http.resource}/files/{name}?extract=true&overwrite=true"
        assert http.cookie.put(url, content=data, headers=octets).status_code == 200
    form = {"file": ("fs.zip", _zipped({"t/four": b"4"}))}  # bxl
    assert http.cookie.put(f"{http.resource}/files/fs.zip?extract=true", files=form).status_code == 200
    assert listed() == sorted([*fs, "dir/a.txt", "t/one", "t/two", "t/three", "t/four"])


@row("GET .../files/NAME")
def get_file(http):
    http.put_file("stats/aseg.stats", b"# Measure")
    answer = http.basic.get(f"{http.resource}/files/stats/aseg.stats")
    assert (answer.status_code, answer.content) == (200, b"# Measure")
    assert answer.headers["content-length"] == "9"
    assert http.basic.get(f"{http.resource}/files/none").status_code == 404


@row("HEAD .../files/NAME with Last-Modified")
def head_file(http):
    http.put_file()
    (found,) = http.json(f"{http.resource}/files")
    answer = http.basic.head(found["URI"])  # pyxnat's last_modified
    assert (answer.status_code, answer.content) == (200, b"")
    assert parsedate_to_datetime(answer.headers["last-modified"])
    assert http.cookie.head(f"{http.resource}/files/none.txt").status_code == 404  # bxl adds a file only then


@row("DELETE .../files/NAME, .../resources/R?removeFiles=true")
def delete_files(http):
    http.put_file("a.txt")
    http.put_file("b.txt")
    (number,) = [one["xnat_abstractresource_id"] for one in http.json(f"{http.session}/resources")]
    gone = http.basic.delete(f"{http.session}/resources/{number}/files/a.txt")  # pyxnat
    assert (gone.status_code, gone.content) == (200, b"")
    assert [one["Name"] for one in http.json(f"{http.resource}/files")] == ["b.txt"]
    gone = http.cookie.delete(http.resource, params={"removeFiles": "true"})
    assert (gone.status_code, gone.content) == (200, b"")
    assert http.json(f"{http.session}/resources") == []
    assert http.json(f"{http.resource}/files") == []  # xnatpy looks again, and takes a 404 for a failure


@row("GET .../resources/R/files?format=zip")
def zip_of_resource(http):
    http.put_file("stats/aseg.stats")
    answer = http.basic.get(f"{http.resource}/files", params={"format": "zip"})
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        # pyxnat cuts at the first "files", xnatctl wants /resources/LABEL/files/
        assert archive.namelist() == ["sub01_MR1/resources/R/files/stats/aseg.stats"]
        assert archive.read(archive.namelist()[0]) == b"hello"
    assert http.cookie.get(f"{http.session}/resources/NONE/files", params={"format": "zip"}).status_code == 404


@row("GET .../scans/{ALL or a,b}/files?format=zip")
def zip_of_scans(http):
    http.cookie.put(f"{http.session}/scans/2", params={"xsiType": "xnat:mrScanData", "type": "T2w"})
    for number in ("1", "2"):
        http.put_file("f.nii", number.encode(), url=f"{http.session}/scans/{number}/resources/NIFTI")
    names = {number: f"sub01_MR1/scans/{number}-{kind}/resources/NIFTI/files/f.nii" for number, kind in
             (("1", "T1w"), ("2", "T2w"))}  # fmt: skip
    for which, wanted in (("ALL", "12"), ("1,2", "12"), ("2", "2")):
        answer = http.basic.get(f"/data/experiments/{http.id}/scans/{which}/files", params={"format": "zip"})  # yaxil
        assert answer.status_code == 200
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            found = {name: archive.read(name) for name in archive.namelist()}
        assert found == {names[number]: number.encode() for number in wanted}


@row("GET .../{subjects,experiments}/X/projects")
def shares(http):
    other = f"{http.project}_other"
    http.cookie.put(f"/data/projects/{other}")
    for url, label in ((f"/data/experiments/{http.id}", "sub01_MR1"), (http.subject, "sub01")):
        found = http.json(f"{url}/projects")  # xnatctl's session show
        assert [(one["ID"], one["label"]) for one in found] == [(http.project, label)]
    assert http.cookie.put(f"{http.session}/projects/{other}").status_code == 200
    _, found = http.csv(f"{http.session}/projects", columns="ID,xsiType")  # pyxnat: with the owner
    assert [one["ID"] for one in found] == [http.project, other]


@pytest.mark.parametrize("name", ROWS)
def test_must_have(http, name):
    ROWS[name](http)
