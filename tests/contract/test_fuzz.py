"""Thousands of bad requests: the archive answers or hangs up, never crashes, and never writes outside its folder.

2,000 requests, the same each time, so that whoever changes something else is not told of it by chance; with
``XNATFERRY_TORTURE`` set (``make torture``) at least 20,000, new ones each time.
"""

import base64
import gzip
import io
import logging
import os
import random
import socket
import tarfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import quote, urlsplit

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xnatferry.server.app import ROUTES, SITE_ROUTES
from xnatferry.server.archive import running_archive
from xnatferry.server.audit import audit
from xnatferry.server.settings import ServerSettings
from xnatferry.server.unpack import UnpackLimits

TORTURE = int(os.environ.get("XNATFERRY_TORTURE", "0"))
REQUESTS = max(20_000, 100 * TORTURE) if TORTURE else 2_000
SEED = os.environ.get("XNATFERRY_TORTURE_SEED", str(time.time_ns()) if TORTURE else "0")
TEMPLATES = ["/data" + route.template for route in ROUTES] + [route.template for route in SITE_ROUTES]
LONG = "/data/projects/P/subjects/S/experiments/E"
#: XNAT answers these with a 5xx (xnat-rest.md 3.1, 8.2, 8.4), and so does the archive; none of them is a crash.
SAID_WITH_5XX = (
    "The server encountered an unexpected condition",  # a bad label: XNAT says no more than that
    "XNAT cannot catalog",
    "MediaType.equals(Object)",
    "XnatProjectdata.getId()",  # nothing of the address is there, and it names no project
    "In-body File posts must include",
    "Nothing was stored:",
    "does not move things between projects",
    "An error occurred initializing the user",
    "JSON parse error: ",
    "Required request body is missing",
    "There was an error in the request: Required",
)


class Crashes(logging.Handler):
    """Keeps what is logged about errors that nobody expected."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.found = []

    def emit(self, record):
        if record.exc_info or record.levelno >= logging.ERROR:
            self.found.append(self.format(record))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """An archive that lies between canaries, and what it logs."""
    around = tmp_path_factory.mktemp("fuzz")
    root = around / "root"
    (around / "canary").write_text("untouched")
    crashes = Crashes()
    loggers = [logging.getLogger(name) for name in ("", "uvicorn.error", "xnatferry", "asyncio")]
    for logger in loggers:
        logger.addHandler(crashes)
    limits = UnpackLimits(max_members=500, max_total_bytes=50 << 20, ratio_free_bytes=1 << 20)
    options = ServerSettings(root=root, require_login=False, limits=limits, max_upload_bytes=8 << 20)
    with running_archive(root, admin_password="admin-secret", settings=options) as running:
        running.archive.accounts.create("member", "member-secret")
        yield running, crashes
    for logger in loggers:
        logger.removeHandler(crashes)
    assert sorted(path.name for path in around.iterdir()) == ["canary", "root"]
    assert (around / "canary").read_text() == "untouched"
    found = audit(root, deep=True)
    assert found.clean, found.findings


def prepare(running):
    """Something to aim at, for the fuzzing may have deleted it; returns accession IDs."""
    with httpx2.Client(base_url=running.url, auth=("admin", "admin-secret"), timeout=60) as http:
        http.put("/data/projects/P")
        http.put("/data/projects/P/users/member/member")
        session = http.put(LONG, params={"xsiType": "xnat:mrSessionData"}).text
        subject = http.put("/data/projects/P/subjects/S").text
        http.put(f"{LONG}/scans/1", params={"xsiType": "xnat:mrScanData", "type": "T1w"})
        http.put(
            f"{LONG}/assessors/A",
            params={"xsiType": "xnat:qcManualAssessorData", "xnat:qcManualAssessorData/pass": "1"},
        )
        http.put(f"{LONG}/reconstructions/RC")
        for place in (LONG, f"{LONG}/scans/1"):
            http.put(f"{place}/resources/R/files/f.txt", params={"inbody": "true"}, content=b"data")
            http.put(f"{place}/resources/R/files/z.zip", params={"inbody": "true"}, content=zip_of({"a": b"1"}))
    return {"experiment": session, "subject": subject}


def zip_of(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return out.getvalue()


def tar_of(*members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            archive.addfile(member)
    return out.getvalue()


OUT = ["../../../canary", "/etc/canary", "..\\..\\canary", "a/../../../../canary", "C:/canary", "\u2025/canary"]
PIECES = [
    "", ".", "..", "...", "%2e%2e", "%2E%2E%2F%2e%2e%2fcanary", "..%2f..%2fcanary", "..%5c..%5ccanary", "%c0%ae%c0%ae",
    "%252e%252e%252fcanary", "%00", "a%00b", "%", "%z", "%u2215", "\xff\xfe", "%ff%fe", "%ed%a0%80", "%e2%80%ae",
    "%ef%bc%8f%ef%bc%8f", "\u0130".encode().decode("latin-1"), "a" * 300, "a/" * 500, "%F0%9F%92%A9", ";x=1", "*", "**", "a*b*c*",
    "ALL", ",", "1,2,,", "[SLASH]", "-1", "0", "9" * 40, "9" * 5_000, "1e9", "NaN", "NULL", "'", "\"", "<script>", "&amp;",
    "P", "S", "E", "1", "A", "RC", "R", "f.txt", "z.zip", "x.tar", "x.tar.gz", "x.gz", "z.zip!/a", "z.zip!../../canary", "x_catalog.xml", "in", "out",
    "files", "resources", "data", "CON", "aux.", "a ", " ", "%20", "%09", "%0d%0aX-Injected:%201", "~", "$HOME", "`id`", "{x}",
    "%d9%a3", "\xb2", "xnat:mrSessionData", "XNAT_E00001", "XNAT_S00001", "xdat", "../canary",
]  # fmt: skip
KEYS = [
    "format", "columns", "xsiType", "label", "inbody", "extract", "overwrite", "content", "tags", "limit", "offset", "sortBy",
    "sortOrder", "resource", "options", "removeFiles", "accessibility", "date", "gender", "ID", "project", "subject_ID",
    "req_format", "allowDataDeletion", "structure", "all", "locator", "recursive", "file_format", "listContents", "index",
    "xnat:mrSessionData/date", "xnat:subjectData/demographics[@xsi:type=xnat:demographicData]/age", "fields/field[name=x]/field",
    "xnat:subjectData/fields/field[name=x]/field", "restrict", "accessible", "reference", "update-stats", "accept-not-found",
    "includeRootPath", "cache_file_stats", "projectIncludedInPath", "primary", "event_reason", "username", "a" * 200,
    "xnat:mrSessionData/scans/scan/ID", "%ff", "x[", "]=", "ELEMENT_0",
]  # fmt: skip
VALUES = [
    *PIECES, "true", "false", "json", "xml", "csv", "html", "zip", "tar.gz", "xnat:subjectData", "xnat:mrScanData",
    "xnat:qcManualAssessorData", "xnat:nothing", "ID,label,URI", ",,,", "a" * 3_000, "2024-13-45", "x.zip", "0001-01-01", "99/99/9999",
    "-9" * 30, "1" * 400, "1e400", "-inf", "%25*%25*%25*%25*%25*%25*%25*%25", "/archive/projects/P", "/archive/../../..",
    "append,delete,checksum", "xnat:mrSessionData/scans/scan/ID,xnat:subjectData/label", "improved", "absolutePath",
]  # fmt: skip
XML = [
    b"<x/>", b"<", b"<?xml version='1.0'?>", b"<xnat:Subject/>", b"\x00\xff<x/>", b"<a>" * 5_000,
    b'<!DOCTYPE x [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><x>&c;</x>',
    b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>',
    b'<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x"> %p;]><x/>',
    b'<xnat:Subject xmlns:xnat="http://nrg.wustl.edu/xnat" ID="../x" label="a/b"><xnat:demographics/></xnat:Subject>',
    (
        b'<xnat:MRSession xmlns:xnat="http://nrg.wustl.edu/xnat"><xnat:scans><xnat:scan ID="../../canary" '
        b'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="xnat:mrScanData"/></xnat:scans></xnat:MRSession>'
    ),
    b'<xnat:MRSession xmlns:xnat="http://nrg.wustl.edu/xnat"><xnat:date>never</xnat:date></xnat:MRSession>',
    b'<xdat:bundle xmlns:xdat="http://nrg.wustl.edu/security"><xdat:root_element_name>xnat:subjectData'
    b"</xdat:root_element_name><xdat:search_where method='OR'>" + b"<xdat:child_set>" * 60 + b"</xdat:child_set>" * 60
    + b"</xdat:search_where></xdat:bundle>",
    b'<?xml version="1.0" encoding="UTF-7"?><x/>', b'<?xml version="1.0" encoding="no-such"?><x/>',
]  # fmt: skip
ARCHIVES = [
    *(zip_of({name: b"x"}) for name in OUT),
    *(tar_of((name, tarfile.REGTYPE, "")) for name in OUT),
    tar_of(("link", tarfile.SYMTYPE, "/tmp"), ("link/canary", tarfile.REGTYPE, "")),
    tar_of(("hard", tarfile.LNKTYPE, "/etc/passwd")),
    tar_of(("device", tarfile.CHRTYPE, ""), ("pipe", tarfile.FIFOTYPE, "")),
    zip_of({"bomb": bytes(30 << 20)}),
    zip_of({f"{n}": b"" for n in range(600)}),
    zip_of({"a": b"1", "a/b": b"2"}),
    zip_of({"x_catalog.xml": b"1"}),
    zip_of({"a": b"1"})[:-9],
    gzip.compress(bytes(60 << 20)),
    gzip.compress(b"x")[:-3],
    b"PK\x03\x04" + bytes(26),
    b"PK\x05\x06" + b"\xff" * 18,
]


GOOD = {"project": "P", "subject": "S", "experiment": "E", "scan": "1", "resource": "R", "assessor": "A",
        "reconstruction": "RC", "file*": "f.txt", "type": "xnat:subjectData"}  # fmt: skip
USUAL = (
    ("/files", "inbody=true"),
    ("/files", "overwrite=true"),
    ("/files", "extract=true"),
    ("/scans/", "xsiType=xnat:mrScanData"),
    ("/assessors/", "xsiType=xnat:qcManualAssessorData&xnat:qcManualAssessorData/pass=1"),
    ("/refresh", "resource=/archive/projects/P"),
)


class Maker:
    """Makes bad requests, each the wire bytes of one, from a random number generator."""

    def __init__(self, seed, host):
        self._random = random.Random(seed)
        self._host = host
        self.ids = {}

    def request(self):
        """The bytes to send, and whether an answer must come (else the server may also hang up or wait for more)."""
        body, headers = self._body()
        head, whole = self._head(headers, body)
        if self._random.random() < 0.05:  # broken off, or garbled, anywhere
            wire = bytearray(head + body)
            for _ in range(self._random.randrange(1, 8)):
                wire[self._random.randrange(len(wire))] = self._random.randrange(256)
            return bytes(wire[: self._random.randrange(1, len(wire) + 1)]), False
        return head + body, whole

    def _pick(self, *choices):
        return self._random.choice(choices)

    def _target(self):
        path = self._random.choice(TEMPLATES)
        good = GOOD if path.startswith("/data/projects") else GOOD | self.ids
        while "{" in path:
            name = path[path.index("{") + 1 : path.index("}")]
            nasty = self._random.random() < 0.12 or name not in good
            path = path.replace("{" + name + "}", self._piece() if nasty else good[name], 1)
        if self._random.random() < 0.05:
            path = self._pick(
                "//", "*", "", "/data", "/data/", "/..", "/data/../../etc/passwd", "http://other/data/projects"
            )
        if self._random.random() < 0.05:
            path = path.replace("/data", self._pick("/REST", "/data/archive", "/archive", "/DATA"), 1)
        # What most requests of the kind bring; without it they would be refused before anything is looked at.
        pairs = [pair for word, pair in USUAL if word in path and self._random.random() < 0.6]
        for _ in range(self._random.choice([0, 0, 1, 2, 3, 6])):
            key, value = self._random.choice(KEYS), self._random.choice(VALUES)
            pairs.append(f"{key}={value}" if self._random.random() < 0.05 else f"{quote(key)}={quote(value)}")
        query = "?" + "&".join(pairs) if pairs else ""
        return (path + query).replace(" ", "%20").replace("\n", "")

    def _piece(self):
        """A nasty segment; as it is only now and then, for the server's own parser refuses most of them at once."""
        piece = self._random.choice(PIECES).strip("{}")
        return piece if self._random.random() < 0.3 else quote(piece, safe="%*,;:!@~$&'=/")

    def _body(self):
        """A body, and the headers that go with it."""
        kind = self._random.randrange(8)
        if kind < 2:
            return b"", []
        if kind == 2:
            return self._random.choice(XML), [("content-type", self._pick("text/xml", "application/xml", "text/plain"))]
        if kind == 3:
            return self._random.choice(ARCHIVES), [("content-type", self._pick("application/zip", "application/x-tar"))]
        if kind == 4:
            return self._form()
        if kind == 5:
            pairs = "&".join(f"{self._random.choice(KEYS)}={self._random.choice(VALUES)}" for _ in range(4))
            return pairs.encode("utf-8", "replace"), [("content-type", "application/x-www-form-urlencoded")]
        return self._random.randbytes(self._pick(1, 100, 5_000, 300_000)), [
            ("content-type", self._pick("application/octet-stream", "text/plain", "x", "", "a/b; charset=no", "\xff"))
        ]

    def _form(self):
        boundary = self._pick("b", "b" * 70, "", "\xff", 'b"', "----")
        name = self._pick(*OUT, "f.txt", "", "x.xml", 'a"b', "a" * 5_000, "x.zip", "\x00", "x_catalog.xml")
        part = f'--{boundary}\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\n'
        part += self._pick("", "Content-Type: text/xml\r\n", "X: " + "y" * 30_000 + "\r\n", "no colon\r\n") + "\r\n"
        data = self._pick(b"data", self._random.choice(XML), self._random.choice(ARCHIVES[:6]))
        end = self._pick(f"\r\n--{boundary}--\r\n", f"\r\n--{boundary}", "", f"\r\n--{boundary}\r\n" * 50)
        body = part.encode("utf-8", "surrogatepass") + data + end.encode()
        return body, [("content-type", f"multipart/form-data; boundary={boundary}")]

    def _head(self, headers, body):
        method = self._random.choices(
            ["GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "OPTIONS", "BREW"], [6, 8, 6, 3, 0.6, 0.3, 0.3, 0.3]
        )[0]
        user = self._pick(*["admin:admin-secret"] * 8, *["member:member-secret"] * 3, "nobody:wrong", "")
        headers = [("host", self._host), ("connection", "close"), *headers]
        if user:
            headers.append(("authorization", "Basic " + base64.b64encode(user.encode()).decode()))
        whole, length = True, str(len(body))
        if self._random.random() < 0.05:
            length = self._pick("-1", "0", "1", "99999999999999999999", "x", str(len(body) + 7), "")
            whole = False
        if body or length != "0":
            headers.append(("content-length", length))
        if self._random.random() < 0.08:
            headers.append(self._pick(
                ("transfer-encoding", "chunked"), ("content-length", "5"), ("range", "bytes=9-1"), ("range", "bytes=-" + "9" * 30),
                ("range", "bytes=\xb2-"), ("cookie", "JSESSIONID=" + "A" * 5_000), ("cookie", "=;;=\xff"), ("authorization", "Basic ="),
                ("authorization", "Basic " + "A" * 9_999), ("accept", "q;;=,"), ("origin", "http://evil.example"),
                ("origin", "null"), ("referer", "\xff"), ("expect", "100-continue"), ("upgrade", "websocket"), ("x", "y" * 70_000),
                ("host", ""), ("host", "a b"), ("host", "[::1"), ("if-modified-since", "x"), ("accept-encoding", "\x01"),
            ))  # fmt: skip
            whole = False
        version = self._pick(*["HTTP/1.1"] * 20, "HTTP/1.0", "HTTP/9.9", "")
        target = self._target()
        if any(ord(letter) < 33 or ord(letter) > 126 for letter in target) or version != "HTTP/1.1":
            whole = False
        lines = [f"{method} {target} {version}", *(f"{name}: {value}" for name, value in headers)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace"), whole


def send(address, wire, *, whole):
    """What the server says; "" when it hangs up without a word. Waits for an answer only where one must come."""
    with socket.create_connection(address, timeout=30) as one:
        with suppress(ConnectionError):
            one.sendall(wire)
        answer = b""
        one.settimeout(30 if whole else 0.05)
        with suppress(TimeoutError, ConnectionError):
            while piece := one.recv(65_536):
                answer += piece
        return answer


def problem_of(answer, *, whole):
    """What is wrong with an answer, if anything."""
    status = answer.split(b" ", 2)[1:2]
    if not answer:
        return "no answer" if whole else None
    if not answer.startswith(b"HTTP/1.") or not status[0].isdigit():
        return "this is no HTTP"
    text = answer.decode("latin-1")
    if "Traceback" in text or 'File "/' in text or "x-injected" in text.lower().partition("\r\n\r\n")[0]:
        return "gives its inside away, or a header was injected"
    said_something = bool(text.partition("\r\n\r\n")[2])  # an answer to HEAD says nothing
    if status[0] >= b"500" and said_something and not any(said in text for said in SAID_WITH_5XX):
        return "a 5xx that XNAT does not give"
    return None


@pytest.mark.timeout(300 + REQUESTS // 10)
def test_bad_requests_on_the_wire(site):
    running, crashes = site
    parts = urlsplit(running.url)
    address = (parts.hostname, parts.port)
    number, wrong = int(REQUESTS * 0.8), []
    maker = Maker(f"{SEED} wire", parts.netloc)

    def one(request):
        wire, whole = request
        if problem := problem_of(send(address, wire, whole=whole), whole=whole):
            wrong.append(f"{problem}: {wire[:600]!r}")

    with ThreadPoolExecutor(8) as pool:
        for _ in range(0, number, 200):
            maker.ids = prepare(running)
            list(pool.map(one, [maker.request() for _ in range(200)]))
            assert not crashes.found, f"seed {SEED}: {crashes.found[0]}"
    assert not wrong, f"seed {SEED}, {len(wrong)}:\n" + "\n".join(wrong[:20])


names = st.one_of(
    st.sampled_from(PIECES),
    st.text(max_size=40),
    st.text("./\\%\x00 ~*;:?#é\u202e\ud7ff", max_size=12),
)


@pytest.mark.timeout(300 + REQUESTS // 10)
def test_bad_names_everywhere(site):
    running, crashes = site
    prepare(running)
    with httpx2.Client(base_url=running.url, auth=("admin", "admin-secret"), timeout=60) as http:

        @settings(
            max_examples=REQUESTS // 5,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            derandomize=not TORTURE,
        )
        @given(
            st.sampled_from(["GET", "PUT", "POST", "DELETE"]),
            st.sampled_from(TEMPLATES),
            st.lists(names, min_size=9, max_size=9),
            st.dictionaries(st.sampled_from(KEYS) | names, names | st.sampled_from(VALUES), max_size=4),
            st.sampled_from([b"", b"x", XML[9], XML[10], ARCHIVES[0]]) | st.binary(max_size=50),
        )
        def tried(method, template, values, query, body):
            path = template
            for value in values:
                if "{" not in path:
                    break
                start, end = path.index("{"), path.index("}")
                path = path[:start] + quote(value, safe="*,!:;@") + path[end + 1 :]
            try:
                answer = http.request(method, path, params=query, content=body)
            except (httpx2.InvalidURL, ValueError):
                return  # the client itself refuses to send it
            said = answer.text
            assert answer.status_code < 500 or any(one in said for one in SAID_WITH_5XX), said
            assert "Traceback" not in said
            assert not crashes.found

        tried()
