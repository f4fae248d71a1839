"""Reads the two kinds of scenario files and sends their requests as they are written."""

import base64
import gzip
import http.client
import io
import json
import re
import tarfile
import urllib.parse
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MARK = "golden-multipart-7d1"  # as long as the recorded one: an answer names the length of the body
EPOCH = (2020, 1, 1, 0, 0, 0)


@dataclass
class Step:
    """One request of a scenario. Braces in *target* and in the body name what earlier answers gave."""

    name: str
    method: str
    target: str
    who: str = "user"
    headers: dict = field(default_factory=dict)
    body: object = None
    media: str | None = None
    chunked: bool = False
    ordered: bool = False
    shape: bool = False
    own_rows: bool = False
    capture: dict = field(default_factory=dict)


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes
    cut_short: bool = False


def narrow_steps(path: Path) -> Iterator[Step]:
    """``METHOD /path?query [@who] [-> name] [:: body]``, one a line; the line itself is the step's name."""
    for line in map(str.strip, path.read_text(encoding="utf-8").splitlines()):
        if not line or line.startswith("#"):
            continue
        head, _, spec = line.partition(" :: ")
        head, _, capture = head.partition(" -> ")
        method, target, *rest = head.split()
        body, media = ("", None) if not spec else _narrow_body(*spec.split(" ", 1))
        who = rest[0][1:] if rest else "user"
        yield Step(
            line, method, target, who, body=body or None, media=media, capture={capture: "text"} if capture else {}
        )


def _narrow_body(kind: str, rest: str = "") -> tuple[object, str | None]:
    files = [(name, _repeated(value)) for name, _, value in (part.partition("=") for part in rest.split())]
    if kind == "xml":
        return rest, "text/xml"
    if kind == "form":
        parts = [{"field": name, "filename": name, "content": value} for name, value in files]
        return multipart(parts), f"multipart/form-data; boundary={MARK}"
    if kind == "zip":
        return zipped(files), "application/zip"
    made = {
        "text": lambda: _repeated(rest),
        "gz": lambda: gzip.compress(_repeated(rest), mtime=0),
        "tgz": lambda: gzip.compress(tarred(files), mtime=0),
    }
    return made[kind](), "application/octet-stream"


def _repeated(text: str) -> bytes:
    times = re.fullmatch(r"(\d+)\*(.*)", text, re.DOTALL)
    return times[2].encode() * int(times[1]) if times else text.encode()


_KEPT = ("method", "headers", "chunked", "ordered", "shape", "own_rows", "capture")


def wide_steps(path: Path) -> Iterator[Step]:
    """An object a step."""
    for one in json.loads(path.read_text(encoding="utf-8"))["steps"]:
        target = one["path"] + (f"?{_query(one['query'])}" if "query" in one else "")
        body, media = _wide_body(one.get("body"))
        kept = {key: one[key] for key in _KEPT if key in one}
        name = f"{path.stem}/{one['id']}"
        yield Step(name, target=target, who=one.get("as", "user"), body=body, media=media, **kept)


def _query(query: object) -> str:
    if isinstance(query, str):
        return query
    pairs = [(key, one) for key, value in query.items() for one in (value if isinstance(value, list) else [value])]
    quoted = [
        (urllib.parse.quote(key, safe="/:,@{}"), urllib.parse.quote(str(value), safe="/:,@*{}")) for key, value in pairs
    ]
    return "&".join(f"{key}={value}" for key, value in quoted)


def _wide_body(spec: dict | None) -> tuple[object, str | None]:
    if not spec or spec["kind"] == "none":
        return None, None
    made = {
        "text": lambda: (content(spec["content"]), "text/plain"),
        "bytes": lambda: (content(spec["content"]), "application/octet-stream"),
        "xml": lambda: (spec["content"], "text/xml"),
        "form": lambda: (urllib.parse.urlencode(spec["fields"], safe="/{}"), "application/x-www-form-urlencoded"),
        "zip": lambda: (zipped(spec["members"]), "application/zip"),
        "tar": lambda: (tarred(spec["members"]), "application/octet-stream"),
        "tgz": lambda: (gzip.compress(tarred(spec["members"]), mtime=0), "application/octet-stream"),
        "multipart": lambda: (multipart(spec["parts"]), f"multipart/form-data; boundary={MARK}"),
    }
    body, media = made[spec["kind"]]()
    return body, spec.get("type", media)


def content(spec: object) -> bytes:
    """Text, or an object that says hex, base64, what to repeat, and whether to gzip."""
    if isinstance(spec, bytes):
        return spec
    if isinstance(spec, str):
        return spec.encode()
    readers = {
        "hex": bytes.fromhex,
        "base64": base64.b64decode,
        "repeat": lambda text: text.encode() * spec["times"],
        "text": str.encode,
    }
    data = next(read(spec[key]) for key, read in readers.items() if key in spec)
    return gzip.compress(data, mtime=0) if spec.get("gzip") else data


def zipped(members: list) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, warnings.catch_warnings(action="ignore"):  # one name comes twice
        for name, spec in members:
            archive.writestr(zipfile.ZipInfo(name, EPOCH), b"" if name.endswith("/") else content(spec))
    return out.getvalue()


def tarred(members: list) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, spec in members:
            member, data = tarfile.TarInfo(name), content(spec)
            member.size, member.mtime = len(data), 1577836800
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def multipart(parts: list[dict]) -> bytes:
    out = bytearray()
    for part in parts:
        out += f'--{MARK}\r\nContent-Disposition: form-data; name="{part.get("field", "file")}"'.encode()
        if "filename" in part:
            media = part.get("type", "application/octet-stream")
            out += f'; filename="{part["filename"]}"\r\nContent-Type: {media}'.encode()
        out += b"\r\n\r\n" + content(part["content"]) + b"\r\n"
    return bytes(out) + f"--{MARK}--\r\n".encode()


class Player:
    """Plays the steps of one scenario, on projects of its own."""

    def __init__(self, url: str, user: tuple[str, str], second: tuple[str, str], projects: dict[str, str]) -> None:
        self._url = urllib.parse.urlsplit(url.rstrip("/"))
        self._secrets = {"basic": user, "bad": (user[0], f"{user[1]}x"), "second": second}
        self.names = {**projects, "user": user[0], "second": second[0]}
        self._cookies = {"user": self._login("basic"), "second": self._login("second")}

    def _login(self, who: str) -> str:
        return self._request("POST", "/data/JSESSION", _basic(*self._secrets[who])).body.decode()

    def play(self, step: Step) -> Answer:
        headers = {"User-Agent": "golden", "Accept": "*/*", **self._credentials(step.who)}
        if step.media is not None:
            headers["Content-Type"] = step.media
        headers |= {key: self._filled(value) for key, value in step.headers.items()}
        body = self._filled(step.body).encode() if isinstance(step.body, str) else step.body
        if isinstance(body, bytes) and body[:2] not in {b"PK", b"\x1f\x8b"}:
            body = re.sub(rb"\{(\w+)\}", lambda found: self._filled(found[0].decode()).encode(), body)
        answer = self._request(step.method, self._filled(step.target), headers, body, chunked=step.chunked)
        for name, how in step.capture.items():
            self.names[name] = (_captured(how, answer.body) if answer.status < 400 else "") or "MISSING"
        return answer

    def _filled(self, text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: self.names.get(found[1], found[0]), text)

    def _credentials(self, who: str) -> dict[str, str]:
        if who == "none":
            return {}
        if who.startswith("pair "):
            return _basic(*(self.names.get(name, "MISSING") for name in who.split()[1:]))
        if who in {"basic", "bad"}:
            return _basic(*self._secrets[who])
        return {"Cookie": f"JSESSIONID={self._cookies.get(who) or self.names.get(who, 'MISSING')}"}

    def _request(
        self, method: str, target: str, headers: dict, body: bytes | None = None, *, chunked: bool = False
    ) -> Answer:
        connection = http.client.HTTPConnection(self._url.hostname, self._url.port, timeout=60)
        try:
            connection.putrequest(method, self._url.path + target, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if chunked:
                connection.putheader("Transfer-Encoding", "chunked")
            elif body is not None or method in {"PUT", "POST"}:
                connection.putheader("Content-Length", str(len(body or b"")))
            connection.endheaders(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body or b""), body) if chunked else body)
            response = connection.getresponse()
            try:
                return Answer(response.status, response.headers, response.read())
            except http.client.IncompleteRead as short:
                return Answer(response.status, response.headers, short.partial, cut_short=True)
        finally:
            connection.close()

    def close(self) -> None:
        for project in ("P", "Q", "R"):
            if project in self.names:
                self._request(
                    "DELETE", f"/data/projects/{self.names[project]}?removeFiles=true", self._credentials("user")
                )
        for who in self._cookies:
            self._request("DELETE", "/data/JSESSION", self._credentials(who))


def _basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def _captured(how: str, body: bytes) -> str:
    """``text``: last part of the body; ``row COLUMN=VALUE COLUMN2``: of a listing; ``json KEY KEY``: of an object."""
    text = body.decode("utf-8", "replace").strip()
    if how == "text":
        return text.rpartition("/")[2]
    answer = json.loads(text)
    if how.startswith("row "):
        test, column = how[4:].rsplit(" ", 1)
        key, value = test.split("=", 1)
        return next((row[column] for row in answer["ResultSet"]["Result"] if row.get(key) == value), "")
    for key in how.split()[1:]:
        answer = answer[int(key)] if key.isdigit() else answer[key]
    return str(answer)
