"""Every page answers, whatever is stored: resources without a label, odd fields, names, receipts, images and headers."""

import http.client
import json
import re
from contextlib import closing
from urllib.parse import quote, urlencode, urlsplit

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xnatferry.server.archive import running_archive
from xnatferry.server.pages import PAGE_ROUTES

TOP = "/data/projects/P"
SUBJECT = f"{TOP}/subjects/S"
SESSION = f"{SUBJECT}/experiments/E"
PLACES = (TOP, SUBJECT, SESSION, f"{SESSION}/scans/1", f"{SESSION}/assessors/A")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with (
        running_archive(tmp_path_factory.mktemp("odd"), admin_password="admin-secret") as running,
        httpx2.Client(base_url=running.url, auth=("admin", "admin-secret"), timeout=60) as client,
    ):
        types = {"E": "xnat:mrSessionData", "1": "xnat:mrScanData", "A": "xnat:qcAssessmentData"}
        for place in PLACES:
            kind = types.get(place.rpartition("/")[2])
            made = client.put(place, params={"xsiType": kind} if kind else {})
            assert made.status_code in {200, 201}, made.text
        yield running, client


odd_text = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["\ud800", "\u202e", "0" * 500, "{{7*7}}", "<b>", "//", "%", "%41", "\u2028", "0000-00-00", "9" * 40]
    ),
)
odd_number = st.one_of(
    st.integers(), st.floats(), st.sampled_from([10**400, -(10**18), 1e308, float("inf"), float("nan"), True, None, "7", [], {}])
)  # fmt: skip
row = st.dictionaries(
    st.sampled_from(["address", "proof", "good", "message", "outcome"]), odd_text | odd_number, max_size=4
)
receipt = st.fixed_dictionaries(
    {"xnatferry_receipt": st.just(1)},
    optional={
        "exit_code": odd_number,
        "run": odd_text | odd_number,
        "started": odd_text,
        "outcomes": st.dictionaries(odd_text, odd_number, max_size=3) | odd_number,
        "proofs": st.dictionaries(odd_text, odd_number, max_size=3) | odd_text,
        "verdicts": st.lists(row, max_size=3) | odd_number,
        "receipts": st.lists(row | odd_number, max_size=3),
    },
)
NIFTI = (348).to_bytes(4, "little") + bytes(340) + b"n+1\0" + bytes(64)
file_names = st.sampled_from(
    ["a.json", "t.tsv", "t.csv", "v.nii", "v.nii.gz", "v.mgz", "lh.pial", "p.png", "x", "ü/..ü.txt", "a b#?&.txt", "z.zip"]
)  # fmt: skip
contents = st.one_of(
    st.binary(min_size=1, max_size=60),
    st.just(b'["\\ud800", 1e999, NaN]'),
    st.just(b'"\0\0'),
    st.just(b"a\tb\n" + b"x" * 200_000),
    st.dictionaries(st.integers(0, 351), st.integers(0, 255), max_size=8).map(
        lambda changes: bytes(changes.get(at, value) for at, value in enumerate(NIFTI))
    ),
)
stored_files = st.lists(
    st.tuples(st.sampled_from(PLACES), st.sampled_from(["", "/resources/R", "/resources/SNAPSHOTS", "/resources/7"]),
              file_names, contents, st.sampled_from(["ORIGINAL", "THUMBNAIL", "é", ""])),
    max_size=6,
)  # fmt: skip
fields = st.dictionaries(
    st.sampled_from(["label", "name", "description", "type", "quality", "note", "date", "group", "gender", "yob", "operator",
                     "age", "scanner", "keywords", "visit_id", "series_description"]),
    odd_text,
    max_size=5,
)  # fmt: skip


def store(client, place, values):
    pairs = {key: value.encode(errors="surrogatepass") for key, value in values.items()}
    answer = client.put(f"{place}?{urlencode(pairs)}")
    assert answer.status_code in {200, 201, 400, 409, 500}
    if "label" in values:  # back to the name that the next requests use
        for name in {values["label"]} - {"", place.rpartition("/")[2]}:
            changed = f"{place.rpartition('/')[0]}/{quote(name, safe='', errors='replace')}"
            client.put(changed, params={"label": place.rpartition("/")[2]})


def addresses(running):
    """All pages of all items, resources and files that are stored."""
    with running.archive.database.read() as connection:
        held = connection.execute("SELECT id, label FROM resources").fetchall()
        files = {one[0] for one in connection.execute("SELECT DISTINCT name FROM files")}
    values = {
        "project": ["P"], "subject": ["S"], "experiment": ["E"], "scan": ["1"], "assessor": ["A"],
        "reconstruction": ["none"], "run": ["r"], "login": ["admin"],
        "resource": [one["label"] or str(one["id"]) for one in held], "file": sorted(files),
    }  # fmt: skip
    for route in PAGE_ROUTES:
        if "GET" not in route.methods:
            continue
        found = [route.template]
        for name, chosen in values.items():
            found = [
                re.sub(rf"\{{{name}\*?\}}", lambda _, value=value: quote(value, safe="/"), one)
                for one in found
                for value in (chosen if re.search(rf"\{{{name}\*?\}}", one) else [""])
            ]
        yield from found


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.sampled_from(PLACES), fields), max_size=4),
    st.lists(receipt, max_size=2),
    stored_files,
    odd_text,
)
def test_every_page_answers_whatever_is_stored(site, items, receipts, files, query):
    running, client = site
    for place, values in items:
        store(client, place, values)
    for number, one in enumerate(receipts):
        target = f"{TOP}/resources/XNATFERRY/files/r{number or ''}.json?inbody=true&overwrite=true"
        assert client.put(target, content=json.dumps(one).encode()).status_code == 200
    for place, resource, name, data, content in files:
        target = f"{place}{resource}/files/{quote(name)}"
        client.put(target, params={"inbody": "true", "overwrite": "true", "content": content}, content=data)
    asked = urlencode({"q": query, "sort": query, "page": query, "next": query, "image": query}, errors="replace")
    pages = list(addresses(running))
    assert len(pages) > 15
    failed = [one for one in pages if client.get(f"{one}?{asked}").status_code >= 500]
    for place in ("resources/R", "resources/SNAPSHOTS"):
        client.delete(f"{SESSION}/{place}?removeFiles=true")
    client.delete(f"{TOP}/resources/XNATFERRY?removeFiles=true")
    assert failed == []


ODD_HEADERS = [
    {"Origin": "http://["},
    {"Origin": "http://[::1"},
    {"Referer": "http://]"},
    {"Host": "["},
    {"Host": "[::1"},
    {"Host": "a b"},
    {"Host": "x/y@z"},
    {"Host": "\xe9"},
    {"Cookie": "JSESSIONID=\xe9; XNATFERRY_FORM=\xe9"},
    {"Authorization": "Basic \xe9"},
    {"Authorization": "Basic gICA"},
    {"Content-Type": "multipart/form-data; boundary=\xe9"},
    {"Content-Length": "0", "Content-Type": "text/xml; charset=nothing"},
    {"Accept": "\xe9;q=x"},
    {"Range": "bytes=9-\xe9"},
    {"If-None-Match": "\xe9"},
]


@pytest.mark.parametrize("headers", ODD_HEADERS, ids=str)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_odd_headers_are_answered(site, headers, method):
    running, client = site
    cookie = client.get("/data/JSESSION").text
    parts = urlsplit(running.url)
    for path in (
        "/login",
        "/projects",
        "/projects/P",
        "/data/projects/P/resources/NONE",
        "/data/services/auth",
        "/nothing",
    ):
        with closing(http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)) as one:
            one.putrequest(method, path, skip_host="Host" in headers)
            for name, value in {"Cookie": f"JSESSIONID={cookie}", "Content-Length": "0", **headers}.items():
                one.putheader(name, value.encode("latin-1"))
            one.endheaders()
            assert one.getresponse().status < 500


@pytest.mark.parametrize(
    "target", ["/projects?q=é", "/日本", "/\ud800", "/%ff", "/a\nb", "//evil.example", "/[", "/😀#x"]
)
def test_a_login_leads_to_any_local_address_and_nowhere_else(site, target):
    running, _ = site
    sent = quote(target, safe="", errors="surrogatepass")
    with httpx2.Client(base_url=running.url, timeout=60) as client:
        form = client.get(f"/login?next={sent}")
        assert form.status_code == 200
        token = re.search(r'name="XNAT_CSRF" value="([0-9a-f]+)"', form.text)[1]
        body = f"XNAT_CSRF={token}&username=admin&password=admin-secret&next={sent}"
        answer = client.post("/login", content=body, headers={"content-type": "application/x-www-form-urlencoded"})
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/")
        assert not answer.headers["location"].startswith("//")
        assert client.get(f"/login?next={sent}").status_code == 303


FORM = {"zIndex": 1, "xnatDatatype": {"value": "xnat:mrSessionData"}, "isThisASiteWideConfiguration": "NO"}


@pytest.mark.parametrize(
    ("target", "document"),
    [
        ("/xapi/archive/catalogs/refresh", ["\ud800"]),
        (
            "/xapi/customforms/save",
            {"submission": {"data": FORM | {"xnatProject": ["\ud800"]}}, "builder": {"title": "t"}},
        ),
        ("/xapi/customforms/save", {"submission": {"data": FORM | {"zIndex": 10**30}}, "builder": {"title": "t"}}),
    ],
)
def test_json_with_half_of_a_letter_is_refused(site, target, document):
    _, client = site
    headers = {"content-type": "application/json"}
    answer = client.put(target, content=json.dumps(document).encode(), headers=headers)
    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize("number", ["9" * 25, "٣", "²", "0x1", "-1", "9" * 5000])
def test_odd_numbers_are_answered(site, number):
    _, client = site
    for path in (
        "/projects/P/resources/{}",
        "/data/projects/P/resources/{}",
        "/data/projects/P/resources/{}/files",
        "/projects?page={}",
        "/imports?page={}",
        "/data/services/tokens/validate/{}/x",
        "/data/projects/P/subjects/S/experiments/E/scans/{}",
        "/data/search/saved/{}",
    ):
        assert client.get(path.format(quote(number))).status_code < 500
