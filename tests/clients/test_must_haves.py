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
class Wire:
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
def wire(archive, logins):
    basic, cookie = logins
    project = f"MUST{next(_numbers)}"
    cookie.put(f"/data/projects/{project}")
    session = f"/data/projects/{project}/subjects/sub01/experiments/sub01_MR1"
    subject_id = cookie.put(f"/data/projects/{project}/subjects/sub01").text
    id_ = cookie.put(session, params={"xsiType": "xnat:mrSessionData"}).text
    cookie.put(f"{session}/scans/1", params={"xsiType": "xnat:mrScanData", "type": "T1w"})
    cookie.put(f"{session}/resources/R")
    with httpx2.Client(base_url=archive.url) as bare:
        yield Wire(archive.url, basic, cookie, bare, project, subject_id, id_)


def is_no_error_page(answer):
    """pyxnat and xnatpy take any body for an error that begins so."""
    return not answer.text.startswith(("<html>", "<!DOCTYPE"))


# --- logging in ------------------------------------------------------------------------------------------------------


@row("GET /data/JSESSION")
def login_by_get(wire):
    first = wire.bare.get("/data/JSESSION", auth=(USER, PASSWORD))  # pyxnat, yaxil
    assert first.status_code == 200
    assert re.fullmatch(r"[0-9A-Fa-f]{32}", first.text.strip())
    assert first.cookies["JSESSIONID"] == first.text.strip()
    again = wire.bare.get("/data/JSESSION")  # xnatpy's heartbeat
    assert (again.status_code, again.text) == (200, first.text)
    expiry = next(one for one in again.headers.get_list("set-cookie") if one.startswith("SESSION_EXPIRATION_TIME="))
    assert re.match(r'SESSION_EXPIRATION_TIME="\d+,\d+"', expiry)
    wire.bare.cookies.clear()
    ended = wire.bare.get("/data/JSESSION", headers={"Cookie": f"JSESSIONID={'0' * 32}"})
    assert (ended.status_code, ended.text == first.text) == (200, False)  # a guest's, as recorded


@row("POST /data/JSESSION")
def login_by_post(wire):
    answer = wire.bare.post("/data/JSESSION", auth=(USER, PASSWORD))  # bxl, xnatctl, datalad-xnat: exactly 200
    assert answer.status_code == 200
    assert "<html" not in answer.text
    assert wire.bare.get("/data/projects", headers={"Cookie": f"JSESSIONID={answer.text}"}).status_code == 200
    wire.bare.cookies.clear()
    assert wire.bare.post("/data/JSESSION", auth=(USER, "wrong")).status_code == 401


@row("DELETE /data/JSESSION")
def logout(wire):
    token = wire.bare.get("/data/JSESSION", auth=(USER, PASSWORD)).text
    assert wire.bare.delete("/data/JSESSION", headers={"Connection": "close"}).status_code == 200  # xnatpy
    wire.bare.cookies.clear()
    assert wire.bare.get("/data/projects", headers={"Cookie": f"JSESSIONID={token}"}).status_code == 401
    # dax logs out at once, with Basic and the cookie that has just been given, and goes on with Basic.
    wire.bare.cookies.clear()
    one = wire.bare.get("/data/JSESSION", auth=(USER, PASSWORD)).text
    assert wire.bare.delete("/data/JSESSION", auth=(USER, PASSWORD)).status_code == 200
    two = wire.bare.get("/data/JSESSION", auth=(USER, PASSWORD))
    assert two.status_code == 200
    assert two.text != one


@row("PUT /data/services/auth")
def login_by_form(wire):
    answer = wire.bare.put("/data/services/auth", data={"username": USER, "password": PASSWORD})  # xnatpy
    assert answer.status_code == 200
    assert answer.cookies["JSESSIONID"] == answer.text.strip()
    wrong = wire.bare.put("/data/services/auth", data={"username": USER, "password": "wrong"})
    assert wrong.status_code == 401


@row("GET /data/auth")
def who_is_logged_in(wire):
    answer = wire.cookie.get("/data/auth")
    assert answer.status_code == 200
    assert re.search(r"User '(.*?)' is logged in", answer.text)[1] == USER
    assert wire.bare.get("/data/auth").status_code == 401


@row("GET / and HEAD /")
def front_page(wire):
    for method in ("GET", "HEAD"):
        for client in (wire.bare, wire.cookie):
            answer = client.request(method, "/", follow_redirects=False)
            assert answer.status_code == 200  # a redirect changes what xnatpy takes for the base, and bxl goes offline


@row("GET /data/version")
def version_of_old(wire):
    assert wire.cookie.get("/data/version").status_code == 404  # else pyxnat and xnatpy take the ways of 1.6


@row("GET /xapi/siteConfig/buildInfo")
def build_info(wire):
    info = wire.cookie.get("/xapi/siteConfig/buildInfo", params={"format": "json"}).json()
    assert re.match(r"1\.[789]\.", info["version"])
    assert all(isinstance(value, str) for value in info.values())


@row("GET /xapi/schemas, /xapi/schemas/{name}")
def schemas(wire):
    names = wire.cookie.get("/xapi/schemas", params={"format": "json"}).json()
    assert {"xdat", "xnat"} <= set(names)
    for name in names:  # one that cannot be had ends xnatpy's connection
        answer = wire.cookie.get(f"/xapi/schemas/{name}", headers={"Accept-Encoding": "identity"})
        assert answer.status_code == 200
        assert "content-encoding" not in answer.headers
        assert ET.fromstring(answer.content).tag.endswith("}schema")


@row("GET /data/search/elements, .../elements/{type}")
def search_elements(wire):
    elements = wire.json("/data/search/elements")
    assert {"ELEMENT_NAME", "SINGULAR", "PLURAL", "SECURED", "COUNT"} <= elements[0].keys()
    for element in elements:
        fields = wire.json(f"/data/search/elements/{element['ELEMENT_NAME']}")
        assert all("FIELD_ID" in one for one in fields)  # a missing key ends xnatpy's connection
    header, _ = wire.csv("/data/search/elements")  # dax looks for its own types there
    assert "ELEMENT_NAME" in header


@row("GET /xapi/users/username")
def user_name(wire):
    answer = wire.cookie.get("/xapi/users/username")
    assert (answer.status_code, answer.text.strip()) == (200, USER)


# --- projects --------------------------------------------------------------------------------------------------------


@row("GET e/projects")
def projects(wire):
    header, found = wire.csv("/data/projects", columns="ID,xsiType")  # pyxnat
    assert "ID" in header
    assert wire.project in {one["ID"] for one in found}
    found = wire.json("/data/archive/projects", columns="ID,URI,name")  # xnatpy
    (mine,) = [one for one in found if one["ID"] == wire.project]
    assert mine["URI"] == f"/data/projects/{wire.project}"
    rows = wire.basic.get("/REST/projects").json()  # dax's prefix; no format asked for is JSON (yaxil)
    assert {"ID", "secondary_ID", "name", "description", "pi_firstname", "pi_lastname", "URI"} == set(
        rows["ResultSet"]["Result"][0]
    )
    assert int(rows["ResultSet"]["totalRecords"]) >= 1


@row("GET e/projects/P")
def project(wire):
    item = wire.cookie.get(f"/data/projects/{wire.project}", params={"format": "json"}).json()["items"][0]
    assert item["meta"]["isHistory"] is False
    assert item["meta"]["xsi:type"] == "xnat:projectData"
    assert item["data_fields"]["ID"] == wire.project
    document = wire.basic.get(f"/data/projects/{wire.project}", params={"format": "xml"})  # pyxnat
    assert ET.fromstring(document.content).tag == f"{XNAT}Project"


@row("PUT e/projects/P")
def new_project(wire):
    name = f"{wire.project}_new"
    made = wire.basic.put(f"/data/projects/{name}?xsiType=xnat:projectData")  # pyxnat
    assert (made.status_code, made.content) == (200, b"")  # a body would become the URI of xnatpy's object
    made = wire.cookie.put(f"/data/archive/projects/{name}", params={"xnat:projectData/description": "x"})
    assert made.status_code == 200
    fields = wire.cookie.get(f"/data/projects/{name}", params={"format": "json"}).json()["items"][0]["data_fields"]
    assert fields["description"] == "x"


@row("DELETE e/projects/P?removeFiles=true")
def delete_project(wire):
    wire.put_file()
    gone = wire.basic.delete(f"/data/projects/{wire.project}", params={"removeFiles": "true"})
    assert (gone.status_code, gone.content) == (200, b"")
    assert wire.cookie.get(f"/data/projects/{wire.project}").status_code == 404
    assert wire.project not in {one["ID"] for one in wire.json("/data/projects")}


# --- subjects --------------------------------------------------------------------------------------------------------


@row("GET e/projects/P/subjects, e/subjects")
def subjects(wire):
    (found,) = wire.json(f"/data/projects/{wire.project}/subjects")  # bxl reads it keyed by ID
    assert found.keys() == SUBJECT_COLUMNS
    assert (found["ID"], found["URI"]) == (wire.subject_id, f"/data/subjects/{wire.subject_id}")
    header, found = wire.csv(f"/data/projects/{wire.project}/subjects", columns="label,ID")  # pyxnat's exists()
    assert {"label", "ID"} <= set(header)
    assert [(one["label"], one["ID"]) for one in found] == [("sub01", wire.subject_id)]
    answer = wire.basic.get(
        "/data/subjects", params={"columns": "ID,label,project", "label": "sub01", "project": wire.project}
    ).json()["ResultSet"]  # yaxil
    assert int(answer["totalRecords"]) == 1
    assert answer["Result"][0].keys() >= {"URI", "ID", "project", "label"}
    columns = "ID,project,label,URI,last_modified,src,handedness,gender,yob,dob"  # dax
    _, found = wire.csv("/REST/subjects", columns=columns, project=wire.project)
    assert found[0].keys() >= set(columns.split(","))
    empty = f"{wire.project}_empty"
    wire.cookie.put(f"/data/projects/{empty}")
    assert wire.csv(f"/data/projects/{empty}/subjects")[0]  # without a header line pyxnat fails


@row("PUT/DELETE .../subjects/S")
def new_subject(wire):
    url = f"/data/projects/{wire.project}/subjects/subject02"
    made = wire.cookie.put(url)  # bxl: bare
    assert made.status_code == 201
    assert re.fullmatch(r"\w+_S\d{5,}", made.text)
    again = wire.basic.put(f"{url}?xsiType=xnat:subjectData")  # pyxnat
    assert (again.status_code, again.text) == (200, made.text)
    xnatpy = wire.cookie.put(
        f"/data/projects/{wire.project}/subjects/sub03?xsiType=xnat%3AsubjectData&req_format=qs"
        "&xnat%3AsubjectData/label=sub03"
    )
    assert xnatpy.status_code == 201
    gender = "xnat:subjectData/demographics[@xsi:type=xnat:demographicData]/gender"
    assert wire.cookie.put(url, params={"xsiType": "xnat:subjectData", gender: "male"}).status_code == 200
    found = wire.json(f"/data/projects/{wire.project}/subjects", columns="label,gender")
    assert {"subject02": "male"}.items() <= {one["label"]: one["gender"] for one in found}.items()
    gone = wire.cookie.delete(url, params={"removeFiles": "true"})
    assert (gone.status_code, gone.content) == (200, b"")  # 204 is an error for bxl and xnatpy
    assert wire.cookie.delete(url).status_code == 404


@row("GET .../subjects/S?format=json")
def subject(wire):
    for url in (wire.subject, f"/data/projects/{wire.project}/subjects/{wire.subject_id}"):
        item = wire.cookie.get(url, params={"format": "json"}).json()["items"][0]
        assert item["meta"]["xsi:type"] == "xnat:subjectData"
        assert item["data_fields"]["ID"] == wire.subject_id
        assert item["data_fields"]["label"] == "sub01"
        assert {child["field"] for child in item["children"]} == {"experiments/experiment"}
        # Java's Date.toString, of which xnatpy takes the earliest
        assert re.fullmatch(r"\w{3} \w{3} \d{2} [\d:]{8} \w+ \d{4}", item["meta"]["start_date"])


# --- experiments -----------------------------------------------------------------------------------------------------


@row("GET e/projects/P/experiments, .../subjects/S/experiments")
def experiments(wire):
    for url in (f"/data/projects/{wire.project}/experiments", f"{wire.subject}/experiments"):
        (found,) = wire.json(url)
        assert found.keys() == EXPERIMENT_COLUMNS
        assert found["URI"] == f"/data/experiments/{wire.id}"
        _, found = wire.csv(url, columns="xsiType,label,ID")  # pyxnat
        assert [(one["xsiType"], one["label"], one["ID"]) for one in found] == [
            ("xnat:mrSessionData", "sub01_MR1", wire.id)
        ]
    (found,) = wire.json(f"/data/projects/{wire.project}/experiments", columns="ID,URI,label,xsiType")  # xnatpy
    assert found["xsiType"] == "xnat:mrSessionData"


@row("GET e/experiments?xsiType=&project=&ID=&label=&columns=")
def all_experiments(wire):
    header, found = wire.csv(  # pyxnat's array, which bx begins with
        "/data/experiments",
        xsiType="xnat:subjectAssessorData",
        project=wire.project,
        columns="ID,project,xnat:subjectAssessorData/subject_id,label,subject_label",
    )
    assert {"ID", "project", "subject_ID", "label", "subject_label"} <= set(header)
    assert [(one["ID"], one["subject_ID"]) for one in found] == [(wire.id, wire.subject_id)]
    columns = "ID,label,project,xnat:subjectassessordata/subject_id,subject_label,insert_date,note"  # yaxil
    answer = wire.basic.get("/data/experiments", params={"columns": columns, "label": "sub01_MR1"})
    keys = {"URI", "ID", "project", "label", "subject_ID", "subject_label", "insert_date", "note"}
    assert keys <= answer.json()["ResultSet"]["Result"][0].keys()
    (found,) = wire.json("/data/experiments", ID=wire.id, columns="ID,label,project,subject_ID")  # bxl
    assert found["subject_ID"] == wire.subject_id
    _, found = wire.csv(  # dax: a row for every scan
        "/REST/experiments",
        project=wire.project,
        xsiType="xnat:imagesessiondata",
        columns="ID,label,xnat:imagesessiondata/subject_id,xnat:imagesessiondata/scans/scan/id,"
        "xnat:imagesessiondata/scans/scan/type,xnat:imagesessiondata/original",
    )
    assert [
        (one["xnat:imagesessiondata/scans/scan/id"], one["xnat:imagesessiondata/scans/scan/type"]) for one in found
    ] == [("1", "T1w")]
    assert found[0]["xnat:imagesessiondata/subject_id"] == wire.subject_id
    assert found[0]["xnat:imagesessiondata/original"] == ""  # a column that nobody knows


@row("PUT .../experiments/E?xsiType=")
def new_experiment(wire):
    url = f"{wire.subject}/experiments/sub01_MR2"
    made = wire.cookie.put(f"{url}?xsiType=xnat%3AmrSessionData")  # bxl
    assert made.status_code == 201
    assert re.fullmatch(r"\w+_E\d{5,}", made.text)
    again = wire.basic.put(f"{url}?xsiType=xnat:mrSessionData&xnat:mrSessionData/age=42")  # pyxnat's attrs.set
    assert (again.status_code, again.text) == (200, made.text)
    _, found = wire.csv("/data/experiments", ID=made.text, columns="ID,xnat:mrSessionData/age")
    assert float(found[0]["xnat:mrsessiondata/age"]) == 42  # the header in lower case
    assert wire.cookie.put(f"{wire.subject}/experiments/X").status_code == 417  # no type is said
    xnatpy = wire.cookie.put(
        f"/data/archive/projects/{wire.project}/subjects/{wire.subject_id}/experiments/sub01_MR3"
        "?xsiType=xnat%3AmrSessionData&req_format=qs&xnat%3AmrSessionData/label=sub01_MR3"
    )
    assert xnatpy.status_code == 201


@row("GET .../experiments/E?format=json")
def experiment(wire):
    for url in (
        f"/data/experiments/{wire.id}",
        f"/data/projects/{wire.project}/experiments/sub01_MR1",
        wire.session,
        f"/data/archive/projects/{wire.project}/subjects/{wire.subject_id}/experiments/{wire.id}",
    ):
        item = wire.cookie.get(url, params={"format": "json"}).json()["items"][0]
        assert item["meta"]["xsi:type"] == "xnat:mrSessionData"
        fields = item["data_fields"]  # xnatctl and datalad-xnat
        assert (fields["ID"], fields["subject_ID"], fields["project"]) == (wire.id, wire.subject_id, wire.project)
        assert {child["field"] for child in item["children"]} == {"scans/scan", "resources/resource"}


# --- scans -----------------------------------------------------------------------------------------------------------


@row("GET/PUT/DELETE .../scans[/N]")
def scans(wire):
    (found,) = wire.json(f"/data/experiments/{wire.id}/scans")
    assert found.keys() == SCAN_COLUMNS
    assert (found["ID"], found["type"], found["URI"]) == ("1", "T1w", wire.scan)
    two = f"/data/experiments/{wire.id}/scans/2"
    bxl = "xsiType=xnat%3AmrScanData&type=DWI&series_description=DWI&quality=usable"
    made = wire.cookie.put(f"{two}?{bxl}")
    assert (made.status_code, made.content) == (200, b"")
    xnatpy = wire.cookie.put(
        f"{wire.session}/scans/3?xsiType=xnat%3AmrScanData&req_format=qs&xnat%3AmrScanData/type=T2w&xnat%3AmrScanData/id=3"
    )
    assert (xnatpy.status_code, xnatpy.content) == (200, b"")
    pyxnat = wire.basic.put(f"{wire.session}/scans/4?xsiType=xnat:mrScanData&xnat:mrScanData/type=T1")
    assert pyxnat.status_code == 200
    _, found = wire.csv(f"{wire.session}/scans", columns="ID,type,quality,xsiType")
    assert [(one["ID"], one["type"]) for one in found] == [("1", "T1w"), ("2", "DWI"), ("3", "T2w"), ("4", "T1")]
    assert found[1]["quality"] == "usable"
    wanted = "xnat:mrscandata/id,xnat:mrscandata/type,xnat:mrscandata/parameters/tr,xnat:mrscandata/frames"  # yaxil
    found = wire.json(f"/data/experiments/{wire.id}/scans", xsiType="xnat:mrScanData", columns=wanted)
    assert set(wanted.split(",")) <= found[0].keys()
    assert found[0]["xnat:mrscandata/id"] == "1"  # it drops rows where this is empty
    item = wire.cookie.get(two, params={"format": "json"}).json()["items"][0]
    assert item["data_fields"]["series_description"] == "DWI"
    gone = wire.cookie.delete(two, params={"removeFiles": "true"})
    assert (gone.status_code, gone.content) == (200, b"")
    assert wire.cookie.get(two).status_code == 404
    # xnatpy reads the lists below what it has deleted once more; 1.8.11 answers so (recorded).
    assert wire.cookie.get(f"{two}/resources", params={"format": "json"}).status_code == 404
    assert wire.cookie.get(f"{two}/resources/R/files", params={"format": "json"}).status_code == 500


@row("GET .../scans/ALL/resources, /scans/ALL/files")
def all_scans(wire):
    wire.cookie.put(f"{wire.session}/scans/2", params={"xsiType": "xnat:mrScanData", "type": "T2w"})
    for number in ("1", "2"):
        wire.put_file(f"{number}.nii", url=f"{wire.session}/scans/{number}/resources/NIFTI")
    found = wire.json(f"{wire.session}/scans/ALL/resources")  # bxl
    assert [(one["category"], one["cat_id"], one["cat_desc"]) for one in found] == [
        ("scans", "1", "T1w"),
        ("scans", "2", "T2w"),
    ]
    for which in ("ALL", "1,2", "T1w,2"):
        found = wire.json(f"/data/experiments/{wire.id}/scans/{which}/files")  # bxl, datalad-xnat
        assert [one["Name"] for one in found] == ["1.nii", "2.nii"]
        assert all(wire.cookie.get(one["URI"]).content == b"hello" for one in found)


# --- resources -------------------------------------------------------------------------------------------------------


@row("GET .../resources")
def resources(wire):
    wire.put_file()
    for url in (f"{wire.session}/resources", f"/data/experiments/{wire.id}/resources"):
        header, _ = wire.csv(url, columns="xnat_abstractresource_id,label")  # asks for two and needs what there is
        assert set(header) == set(RESOURCE_COLUMNS)
    (found,) = wire.json(f"{wire.session}/resources")
    assert found.keys() == set(RESOURCE_COLUMNS)  # xnatpy relies on there being neither ID nor URI
    assert found["xnat_abstractresource_id"].isdecimal()
    assert (found["element_name"], found["label"]) == ("xnat:resourceCatalog", "R")
    assert (found["file_count"], found["file_size"]) == ("1", "5")
    assert wire.json(f"{wire.subject}/resources") == wire.json(f"/data/projects/{wire.project}/resources") == []


@row("PUT .../resources/LABEL")
def new_resource(wire):
    for place in (f"/data/projects/{wire.project}", wire.subject, wire.session, wire.scan):
        url = f"{place}/resources/FREESURFER6"
        made = wire.basic.put(url)  # pyxnat, bxl
        assert (made.status_code, made.content) == (200, b"")
        assert wire.basic.put(url).status_code == 409
    wire.cookie.put(f"{wire.scan}/resources/NIFTI", params={"format": "NIFTI", "content": "T1w"})
    (found,) = [one for one in wire.json(f"{wire.scan}/resources") if one["label"] == "NIFTI"]
    assert (found["format"], found["content"]) == ("NIFTI", "T1w")


@row("GET .../resources/LABEL?format=json")
def resource(wire):
    wire.put_file("sub/a.txt")
    answer = wire.cookie.get(wire.resource, params={"format": "json"})
    assert answer.status_code == 200
    assert re.match(r'<\?xml version="1.0" encoding="UTF-8"\?>\n<cat:(DCM)?Catalog', answer.text)  # xnatpy's test
    entry = ET.fromstring(answer.content).find(".//{*}entry")
    assert (entry.get("URI"), entry.get("digest")) == ("sub/a.txt", hashlib.md5(b"hello").hexdigest())


@row("HEAD on any entity")
def head(wire):
    wire.put_file()
    there = [
        f"/data/projects/{wire.project}",
        wire.subject,
        f"/data/subjects/{wire.subject_id}",
        wire.session,
        f"/data/experiments/{wire.id}",
        wire.scan,
        wire.resource,
        f"{wire.resource}/files/a.txt",
    ]
    for url in there:  # bxl asks before it makes anything
        answer = wire.cookie.head(url)
        assert (answer.status_code, answer.content) == (200, b""), url
        assert wire.cookie.head(url.rstrip("1") + "9").status_code == 404, url


# --- files -----------------------------------------------------------------------------------------------------------


@row("GET .../resources/R/files")
def files(wire):
    wire.put_file("sub/x%20y.txt")
    (found,) = wire.json(f"{wire.resource}/files", columns="ID,URI,Name")  # xnatpy: and needs all nine
    assert found.keys() == set(FILE_COLUMNS)
    assert (found["Name"], found["Size"], found["collection"]) == ("x y.txt", "5", "R")
    assert found["digest"] == hashlib.md5(b"hello").hexdigest()
    assert re.search(r"/resources/\d+/files/sub/x y\.txt$", found["URI"])
    header, _ = wire.csv(f"{wire.resource}/files", columns="path,xsiType")  # pyxnat
    assert set(header) == set(FILE_COLUMNS)
    assert wire.cookie.get(found["URI"]).content == b"hello"
    assert wire.json(f"{wire.session}/resources/NONE/files") == []


@row("POST .../files/NAME?inbody=true")
def post_file(wire):
    (found,) = wire.json(f"{wire.session}/resources")
    url = f"/data/experiments/{wire.id}/resources/{found['xnat_abstractresource_id']}/files/image.nii"
    query = "format=U&content=U&tags=U&overwrite=false&inbody=true"
    request = wire.basic.build_request("POST", f"{url}?{query}", content=b"bytes")
    assert "content-type" not in request.headers  # pyxnat sends none
    answer = wire.basic.send(request)
    assert answer.status_code == 200
    assert is_no_error_page(answer)
    (stored,) = wire.json(f"{wire.resource}/files")
    assert (stored["file_format"], stored["file_content"], stored["file_tags"]) == ("U", "U", "U")
    again = wire.basic.post(f"{url}?{query}", content=b"other")
    assert (again.status_code, again.json()) == (200, {"duplicates": ["image.nii"]})
    assert wire.basic.post(f"{url}?{query.replace('false', 'true')}", content=b"other").content == b""
    assert wire.basic.get(url).content == b"other"


@row("PUT .../files/NAME (raw octet-stream)")
def put_raw(wire):
    data = bytes(range(256)) * 2_000
    url = f"{wire.resource}/files/a/b.json"
    answer = wire.cookie.put(url, content=data, headers={"content-type": "application/octet-stream"})  # no inbody
    assert (answer.status_code, answer.content) == (200, b"")
    assert wire.cookie.get(url).content == data
    xnatctl = {"content-type": "application/json"}
    url = f"{wire.scan}/resources/NIFTI/files/side.json"  # makes the resource as well
    assert wire.cookie.put(url, content=b"{}", headers=xnatctl, params={"inbody": "true"}).status_code == 200
    assert wire.cookie.get(url).content == b"{}"


@row("PUT .../files/NAME (multipart/form-data)")
def put_form(wire):
    url = f"{wire.scan}/resources/NIFTI/files/x.nii.gz"
    options = {"format": "NIFTI", "content": "RAW", "extract": "false", "overwrite": "true"}
    for data in (b"\x1f\x8bimage", b""):  # an empty file too
        answer = wire.cookie.put(url, params=options, files={"x.nii.gz": ("x.nii.gz", data)})
        assert (answer.status_code, answer.content) == (200, b"")  # bxl: exactly 200
        assert wire.cookie.get(url).content == data
    (found,) = wire.json(f"{wire.scan}/resources/NIFTI/files")
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
def extract(wire):
    fs = {"sub01/stats/aseg.stats": b"stats", "sub01/touch/empty": b""}
    octets = {"content-type": "application/octet-stream"}

    def listed():
        return sorted(one["URI"].partition("/files/")[2] for one in wire.json(f"{wire.resource}/files"))

    pyxnat = f"{wire.resource}/files/fs.zip?overwrite=false&inbody=true&extract=true"
    assert wire.basic.post(pyxnat, content=_zipped(fs)).status_code == 200
    assert listed() == sorted(fs)
    assert wire.basic.post(pyxnat, content=_zipped({"dir/a.txt": b"a"})).status_code == 200  # put_dir, put(list)
    for name, data in (
        ("upload.tar.gz", _tarred({"./t/one": b"1"}, "w:gz")),  # xnatpy's upload_dir
        ("upload.tar", _tarred({"t/two": b"2"}, "w")),
        ("upload.zip", _zipped({"t/three": b"3"})),
    ):
        url = f"{wire.resource}/files/{name}?extract=true&overwrite=true"
        assert wire.cookie.put(url, content=data, headers=octets).status_code == 200
    form = {"file": ("fs.zip", _zipped({"t/four": b"4"}))}  # bxl
    assert wire.cookie.put(f"{wire.resource}/files/fs.zip?extract=true", files=form).status_code == 200
    assert listed() == sorted([*fs, "dir/a.txt", "t/one", "t/two", "t/three", "t/four"])


@row("GET .../files/NAME")
def get_file(wire):
    wire.put_file("stats/aseg.stats", b"# Measure")
    answer = wire.basic.get(f"{wire.resource}/files/stats/aseg.stats")
    assert (answer.status_code, answer.content) == (200, b"# Measure")
    assert answer.headers["content-length"] == "9"
    assert wire.basic.get(f"{wire.resource}/files/none").status_code == 404


@row("HEAD .../files/NAME with Last-Modified")
def head_file(wire):
    wire.put_file()
    (found,) = wire.json(f"{wire.resource}/files")
    answer = wire.basic.head(found["URI"])  # pyxnat's last_modified
    assert (answer.status_code, answer.content) == (200, b"")
    assert parsedate_to_datetime(answer.headers["last-modified"])
    assert wire.cookie.head(f"{wire.resource}/files/none.txt").status_code == 404  # bxl adds a file only then


@row("DELETE .../files/NAME, .../resources/R?removeFiles=true")
def delete_files(wire):
    wire.put_file("a.txt")
    wire.put_file("b.txt")
    (number,) = [one["xnat_abstractresource_id"] for one in wire.json(f"{wire.session}/resources")]
    gone = wire.basic.delete(f"{wire.session}/resources/{number}/files/a.txt")  # pyxnat
    assert (gone.status_code, gone.content) == (200, b"")
    assert [one["Name"] for one in wire.json(f"{wire.resource}/files")] == ["b.txt"]
    gone = wire.cookie.delete(wire.resource, params={"removeFiles": "true"})
    assert (gone.status_code, gone.content) == (200, b"")
    assert wire.json(f"{wire.session}/resources") == []
    assert wire.json(f"{wire.resource}/files") == []  # xnatpy looks again, and takes a 404 for a failure


@row("GET .../resources/R/files?format=zip")
def zip_of_resource(wire):
    wire.put_file("stats/aseg.stats")
    answer = wire.basic.get(f"{wire.resource}/files", params={"format": "zip"})
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        # pyxnat cuts at the first "files", xnatctl wants /resources/LABEL/files/
        assert archive.namelist() == ["sub01_MR1/resources/R/files/stats/aseg.stats"]
        assert archive.read(archive.namelist()[0]) == b"hello"
    assert wire.cookie.get(f"{wire.session}/resources/NONE/files", params={"format": "zip"}).status_code == 404


@row("GET .../scans/{ALL or a,b}/files?format=zip")
def zip_of_scans(wire):
    wire.cookie.put(f"{wire.session}/scans/2", params={"xsiType": "xnat:mrScanData", "type": "T2w"})
    for number in ("1", "2"):
        wire.put_file("f.nii", number.encode(), url=f"{wire.session}/scans/{number}/resources/NIFTI")
    names = {number: f"sub01_MR1/scans/{number}-{kind}/resources/NIFTI/files/f.nii" for number, kind in
             (("1", "T1w"), ("2", "T2w"))}  # fmt: skip
    for which, wanted in (("ALL", "12"), ("1,2", "12"), ("2", "2")):
        answer = wire.basic.get(f"/data/experiments/{wire.id}/scans/{which}/files", params={"format": "zip"})  # yaxil
        assert answer.status_code == 200
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            found = {name: archive.read(name) for name in archive.namelist()}
        assert found == {names[number]: number.encode() for number in wanted}


@row("GET .../{subjects,experiments}/X/projects")
def shares(wire):
    other = f"{wire.project}_other"
    wire.cookie.put(f"/data/projects/{other}")
    for url, label in ((f"/data/experiments/{wire.id}", "sub01_MR1"), (wire.subject, "sub01")):
        found = wire.json(f"{url}/projects")  # xnatctl's session show
        assert [(one["ID"], one["label"]) for one in found] == [(wire.project, label)]
    assert wire.cookie.put(f"{wire.session}/projects/{other}").status_code == 200
    _, found = wire.csv(f"{wire.session}/projects", columns="ID,xsiType")  # pyxnat: with the owner
    assert [one["ID"] for one in found] == [wire.project, other]


@pytest.mark.parametrize("name", ROWS)
def test_must_have(wire, name):
    ROWS[name](wire)
