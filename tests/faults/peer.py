"""A scripted peer: a small XNAT in memory that answers as an old (1.6.4) or a new (1.8) one does, and fails on demand.

Written from recordings and from the server's source, independently of the local archive, so that the client cannot come to
rely on what only the archive does. Faults are added with `Peer.fail`; every request is kept in `Peer.requests`.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import tarfile
import threading
import zipfile
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, unquote_plus, urlsplit
from xml.etree import ElementTree as ET

from tests.faults.serving import DroppingHandler, DroppingServer, HangupError

OLD, NEW = "1.6.4", "1.8"
USER, PASSWORD = "ferry", "s3cret-Passw0rd"
UNFOUND = "Unable to find the specified experiment."
BELOW_SUBJECT = "xnat:subjectData/experiments/experiment/"
#: Types of sessions that a stock site of 1.8.11 has set up.
STOCK = frozenset(f"xnat:{kind}SessionData" for kind in ("mr", "pet", "ct", "petmr", "cr"))
XNAT = "{http://nrg.wustl.edu/xnat}"
XSI = "{http://www.w3.org/2001/XMLSchema-instance}type"
LOGIN_PAGE = '<!DOCTYPE html><html><head><title>XNAT</title></head><body><form action="/j_spring_security_check"><input type="password"></form></body></html>'


@dataclass
class Reply:
    """An answer to send."""

    status: int = 200
    body: bytes | str = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Resource:
    number: str
    label: str
    format: str = ""
    content: str = ""
    tags: str = ""
    disk: dict[str, bytes] = field(default_factory=dict)
    catalog: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass
class Thing:
    """A project, subject, session, scan or assessor."""

    id: str
    label: str
    xsi_type: str
    fields: dict[str, str] = field(default_factory=dict)
    subject: str = ""
    children: dict[str, Thing] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)
    custom: dict[str, object] = field(default_factory=dict)


@dataclass
class Seen:
    """One request as it came; *body* only as far as it was read."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class Fault:
    method: str
    pattern: re.Pattern[str]
    act: Callable[[Handler, Seen], Reply | None]
    left: int
    where: Callable[[Seen], bool] = lambda _: True


class Peer:
    """The state of the server; change it freely between requests.

    Attributes:
        era: ``OLD`` or ``NEW``.
        digests: Whether listings carry MD5s (never in the old era); ``stale`` keeps the one stored first.
        body_limit: Bytes of a body a proxy in front lets through, or None.
        may_edit: False answers uploads with 200 and stores nothing, as XNAT does.
        cookies: False refuses the login cookie, so that only Basic credentials work.
        set_up: Types of sessions that the site has set up: the stock ones of 1.8.11 in the new era, all in the old one.
        joins: How it answers the listing of subjects with field paths of their sessions: True as recorded, a status,
            or False with empty cells.
        version: What the new era tells; below 1.8.4 it has no JSON custom fields.
        forms: The rows of ``/xapi/customforms``.
    """

    def __init__(self, era: str = NEW) -> None:
        self.era = era
        self.digests: bool | str = era == NEW
        self.body_limit: int | None = None
        self.may_edit = True
        self.cookies = True
        self.guests = False
        self.set_up: frozenset[str] | None = STOCK if era == NEW else None
        self.joins: bool | int = True
        self.version = "1.8.11"
        self.forms: list[dict[str, object]] = []
        self._shares: list[tuple[str, str, str]] = []
        self.projects: dict[str, Thing] = {}
        self.logins: set[str] = set()
        self.requests: list[Seen] = []
        self.faults: list[Fault] = []
        self.url = ""
        self.lock = threading.RLock()
        self._numbers = itertools.count(1)

    def fail(
        self,
        method: str,
        pattern: str,
        act: Callable[[Handler, Seen], Reply | None] | Reply,
        *,
        times: int = 1,
        where: Callable[[Seen], bool] = lambda _: True,
    ) -> None:
        """Let *act* answer the next requests whose method and path match; None from it hands on to the server."""
        answer = act
        if isinstance(answer, Reply):
            self.faults.append(Fault(method, re.compile(pattern), lambda handler, seen: answer, times, where))
        else:
            self.faults.append(Fault(method, re.compile(pattern), answer, times, where))

    def share(self, thing: Thing, project: str, label: str = "") -> None:
        """Let a subject or session be seen in another project, under a label of its own."""
        self._shares.append((thing.id, project, label or thing.label))

    def expire_logins(self) -> None:
        self.logins.clear()

    def number(self) -> str:
        return str(next(self._numbers))

    def seen(self, method: str, pattern: str = "") -> list[Seen]:
        return [r for r in self.requests if r.method == method and re.search(pattern, r.path)]

    def files(self, *labels: str) -> dict[str, bytes]:
        """Bytes on the server by stored name; *labels* lead from the project to the resource."""
        thing = self.projects[labels[0]]
        for label in labels[1:-1]:
            thing = thing.children[label]
        return dict(thing.resources[labels[-1]].disk)

    # What a request does

    def answer(self, seen: Seen) -> Reply:
        parts = [part for part in seen.path.split("/") if part]
        if parts[:1] in (["data"], ["REST"]) and parts[1:2] == ["archive"]:
            del parts[1]
        match parts:
            case ["data", "JSESSION"]:
                return self._jsession(seen)
            case ["data", "auth"]:
                return Reply(200, f"User '{USER}' is logged in{'.' if self.era == OLD else ''}", TEXT)
            case ["data", "version"] if self.era == OLD:
                return Reply(200, "Unknown version", TEXT)
            case ["xapi", "siteConfig", "buildInfo"] if self.era == NEW:
                return Reply(200, json.dumps({"version": self.version, "buildNumber": "7"}), JSON)
            case ["xapi", "custom-fields", "projects", *rest] if self.era == NEW and self.version == "1.8.11":
                return self._custom_fields(seen, rest)
            case ["xapi", "customforms", "save"] if self.era == NEW and self.version == "1.8.11":
                return self._save_form(json.loads(seen.body))
            case ["xapi", "customforms"] if self.era == NEW and self.version == "1.8.11":
                return Reply(200, json.dumps(self.forms), JSON)
            case ["data", "services", "refresh", "catalog"]:
                return self._refresh(seen)
            case ["data", "projects"]:
                rows = [
                    {"ID": p.id, "secondary_ID": p.id, "name": p.fields.get("name", p.id)}
                    for p in self.projects.values()
                ]
                return listing(rows)
            case ["data", *_] if self.era == NEW and re.search("%25|%3B|;", seen.path):  # recorded from 1.8.11
                return page(405 if seen.method in {"PUT", "DELETE"} else 500, "site page")
            case ["data", "projects", *rest]:
                return self._below(seen, rest)
            case ["data", "experiments", sessions, "scans", scans, "files"] if seen.query.get("format") == "zip":
                return self._zip(list(self._scan_resources(sessions.split(","), scans.split(","))))
            case ["data", "experiments", number, *rest]:
                home = next((p for p in self.projects.values() if self._session(p, number)), None)
                if home is None:
                    return page(404, UNFOUND)
                subject = next(s for s in home.children.values() for e in s.children.values() if e.id == number)
                return self._below(seen, [home.id, "subjects", subject.label, "experiments", number, *rest])
            case ["data", "search", "elements"]:
                return listing([{"ELEMENT_NAME": name, "SECURED": "true"} for name in sorted(self.set_up or STOCK)])
        return page(404, "The server has not found anything matching the request URI")

    def _jsession(self, seen: Seen) -> Reply:
        if seen.method == "DELETE":
            self.logins.discard(cookie_of(seen))
            return Reply(200)
        session = cookie_of(seen)
        if session not in self.logins:
            session = f"{int(self.number()):032X}"
            self.logins.add(session)
        return Reply(200, session, {**TEXT, "Set-Cookie": f"JSESSIONID={session}; Path=/; HttpOnly"})

    def _custom_fields(self, seen: Seen, rest: list[str]) -> Reply:
        """As recorded: merged on the first level; a field that is null or missing cannot be deleted."""
        home, labels, last = (
            self.projects.get(rest[0]),
            rest[1 : rest.index("fields")],
            rest[rest.index("fields") + 1 :],
        )
        thing = home
        for label in labels[1::2]:
            thing = thing.children.get(label) if thing is not None else None
        if thing is None:
            return Reply(404, f"Unable to find requested file or resource: The following item(s) don't exist: {labels}")
        if seen.method == "PUT":
            if seen.headers.get("content-type") != "application/json":
                return Reply(415)
            thing.custom |= json.loads(seen.body)
        elif seen.method == "DELETE" and thing.custom.pop(unquote(last[0]), None) is None:
            return Reply(404, f"Unable to find requested file or resource: Field {last[0]} does not exist.", TEXT)
        return Reply(200, json.dumps(thing.custom), JSON)

    def _save_form(self, sent: dict[str, dict[str, object]]) -> Reply:
        """As read in the source: 201 with the UUID; a number that is not -1_-1 changes a form."""
        data = sent["submission"]["data"]
        use = data["idCustomVariableFormAppliesTo"]
        held = next(
            (row for row in self.forms if row["appliesToList"][0]["idCustomVariableFormAppliesTo"] == use), None
        )
        number = self.number()
        row = held or {"formUUID": f"{int(number):08x}-0000-4000-8000-000000000000"}
        (project,) = data["xnatProject"]
        uses = {"entityId": project["value"], "idCustomVariableFormAppliesTo": f"{number}_1", "status": "enabled"}
        row.setdefault("appliesToList", [uses])
        row |= {"path": f"datatype/{data['xnatDatatype']['value']}", "scope": "Project"}
        row["contents"] = json.dumps(sent["builder"])
        self.forms += [] if held else [row]
        return Reply(201, row["formUUID"], TEXT)

    def _below(self, seen: Seen, rest: list[str]) -> Reply:
        project, *tail = rest
        if not tail:
            return self._object(seen, self.projects, project, "xnat:projectData")
        home = self.projects.get(project)
        if home is None:
            if seen.method == "PUT" and tail[0] == "subjects" and len(tail) == 2:
                return page(422, "Submitted subject record must include the project attribute.")
            return page(404, "Unable to identify project" if "resources" in tail or "files" in tail else MISSING)
        match tail:
            case ["subjects"]:
                return self._subjects(seen, home)
            case ["experiments"]:
                return listing(self._sessions(home))
            case ["experiments", label] if seen.method == "GET":
                found = self._session(home, label)
                return self._item(found) if found is not None else page(404, UNFOUND)
            case ["subjects", label]:
                if seen.method == "DELETE" and label in home.children and self._undeletable(home.children[label]):
                    return page(403, f"User cannot delete experiments for project {home.id}")
                if seen.method == "GET" and (subject := self._subject(home, label)) is not None:
                    return self._item(subject)
                return self._object(seen, home.children, label, "xnat:subjectData")
            case ["subjects", subject, "experiments", label]:
                return self._put_session(seen, home, subject, label)
            case ["subjects", subject, "experiments", label, "scans"]:
                session = self._session(home, label)
                if session is None:
                    return page(500 if self.era == OLD else 404, "The server encountered an unexpected condition")
                return listing(
                    [
                        {
                            "xnat_imagescandata_id": "7",
                            "ID": s.id,
                            "type": s.fields.get("type", ""),
                            "quality": s.fields.get("quality", ""),
                            "xsiType": s.xsi_type,
                            "note": s.fields.get("note", ""),
                            "series_description": s.fields.get("series_description", ""),
                            "URI": f"/data/experiments/{session.id}/scans/{s.id}",
                        }
                        for s in session.children.values()
                        if "Scan" in s.xsi_type
                    ]
                )
            case ["subjects", subject, "experiments", label, "scans", scan]:
                session = self._session(home, label)
                if session is None:
                    return page(
                        417 if seen.method == "PUT" else 404, "Specified scan must reference a valid image session."
                    )
                return self._object(seen, session.children, scan, "")
        return self._resource_level(seen, home, tail)

    def _resource_level(self, seen: Seen, home: Thing, tail: list[str]) -> Reply:
        owners: list[tuple[Thing, str]] = [(home, f"/data/projects/{home.id}")]
        if tail[:1] == ["subjects"]:
            subject = self._subject(home, tail[1])
            if subject is None:
                return page(404, "Unable to identify subject")
            owners, tail = [(subject, f"/data/projects/{home.id}/subjects/{subject.id}")], tail[2:]
            if tail[:1] == ["experiments"]:
                session = self._session(home, tail[1])
                tail = tail[2:]
                if session is None:
                    return (
                        listing([])
                        if seen.method == "GET" and tail[-1] == "files"
                        else page(404, "Unable to identify experiment")
                    )
                owners = [(session, f"/data/experiments/{session.id}")]
                if tail in (["files"], ["resources"]) and seen.query.get("all") == "true":
                    owners += [(s, f"/data/experiments/{session.id}/scans/{s.id}") for s in session.children.values()]
                if tail[:1] == ["scans"]:
                    scans = [s for s in session.children.values() if tail[1] == "ALL" or s.id == tail[1]]
                    owners = [(s, f"/data/experiments/{session.id}/scans/{s.id}") for s in scans]
                    tail = tail[2:]
                    if not scans:
                        return (
                            listing([], title="Files")
                            if seen.method == "GET" and tail[-1] == "files"
                            else page(404, "Unable to identify scan")
                        )
        match tail:
            case ["resources"]:
                return listing([row for owner, _ in owners for row in resource_rows(owner)], title="Resources")
            case ["files"] if seen.method == "GET":
                if seen.query.get("format") == "zip":
                    return self._zip([(owner.label, r) for owner, _ in owners for r in owner.resources.values()])
                return self._files([(r, base) for owner, base in owners for r in owner.resources.values()])
            case ["resources", label]:
                return self._resource(seen, owners[0][0], label)
            case ["resources", label, "files"] if seen.method == "GET":
                found = owners[0][0].resources.get(label)
                if seen.query.get("format") == "zip":
                    return self._zip([(owners[0][0].label, found)] if found else [])
                return self._files([(found, owners[0][1])] if found else [])
            case ["resources", label, "files", *name]:
                raw = seen.path.split(f"/resources/{label}/files/", 1)[-1] if name else ""
                return self._file(seen, owners[0][0], label, raw)
        return page(400, "The request could not be understood by the server due to malformed syntax")

    def _object(self, seen: Seen, where: dict[str, Thing], label: str, xsi_type: str) -> Reply:
        held = where.get(label)
        if seen.method == "GET":
            return item(held) if held is not None else page(404, MISSING)
        if seen.method == "DELETE":
            if held is None:
                return page(404, MISSING) if xsi_type != "xnat:projectData" else Reply(200 if self.era == OLD else 400)
            del where[label]
            return Reply(200)
        prefixes = [key.partition("/")[0] for key in seen.query if ":" in key]
        xsi_type = xsi_type or seen.query.get("xsiType", "") or (prefixes[0] if prefixes else "")
        if not xsi_type:
            return page(417, "Need PUT Contents")
        fields = {
            k.partition("/")[2] if ":" in k else k: v for k, v in seen.query.items() if k not in {"xsiType", "format"}
        }
        numbered = xsi_type == "xnat:subjectData"
        if held is None:
            where[label] = Thing(f"XNAT_S{int(self.number()):05d}" if numbered else label, label, xsi_type, fields)
            return Reply(201, where[label].id, TEXT) if numbered else Reply(200)
        held.fields.update(fields)
        return Reply(200, held.id, TEXT) if numbered else Reply(200)

    def _things(self, home: Thing, level: str) -> Iterator[tuple[Thing, str, Thing]]:
        """The subjects or sessions of a project and those shared into it: each with its label there, and its subject."""
        shares = {number: label for number, project, label in self._shares if project == home.id}
        for project in self.projects.values():
            for subject in project.children.values():
                for thing in [subject] if level == "subject" else subject.children.values():
                    if project is home or thing.id in shares:
                        yield thing, shares.get(thing.id, thing.label) if project is not home else thing.label, subject

    def _subjects(self, seen: Seen, home: Thing) -> Reply:
        """A subject is a row for each of its sessions, of whatever type and project, where columns ask for them."""
        columns = seen.query.get("columns", "").split(",")
        joined = [column for column in columns if column.startswith(BELOW_SUBJECT)]
        if joined and isinstance(self.joins, int) and not isinstance(self.joins, bool):
            return page(self.joins, "The request could not be understood by the server due to malformed syntax")
        rows = []
        for subject, label, _ in self._things(home, "subject"):
            owner = next(p for p in self.projects.values() if subject in p.children.values())
            row = {"ID": subject.id, "label": label, "project": owner.id}
            for session in (list(subject.children.values()) if joined and self.joins else []) or [None]:
                cells = dict.fromkeys(joined, "")
                if session is not None:
                    values = {"ID": session.id, "label": session.label, "project": owner.id}
                    cells = {column: values[column.removeprefix(BELOW_SUBJECT)] for column in joined}
                rows.append({**row, **{column.lower(): cell for column, cell in cells.items()}})
        return listing(rows)

    def _sessions(self, home: Thing) -> list[dict[str, str]]:
        return [
            {
                "xnat:subjectassessordata/id": session.id,
                "ID": session.id,
                "project": home.id,
                "date": session.fields.get("date", ""),
                "xsiType": session.xsi_type,
                "label": label,
                "subject_ID": subject.id,
                "subject_label": subject.label,
                "URI": f"/data/experiments/{session.id}",
            }
            for session, label, subject in self._things(home, "session")
            if self.set_up is None or session.xsi_type in self.set_up
        ]

    def _session(self, home: Thing, name: str) -> Thing | None:
        found = (s for s, label, _ in self._things(home, "session") if name in {label, s.id})
        return next(found, None)

    def _subject(self, home: Thing, name: str) -> Thing | None:
        return next((s for s, label, _ in self._things(home, "subject") if name in {label, s.id}), None)

    def _undeletable(self, thing: Thing) -> bool:
        """Whether it is or holds a session whose type is not set up: nobody has the right to delete it."""
        sessions = thing.children.values() if thing.xsi_type == "xnat:subjectData" else [thing]
        return self.set_up is not None and any(session.xsi_type not in self.set_up for session in sessions)

    def _item(self, thing: Thing) -> Reply:
        """The document of a subject or session, with its project and its shares."""
        owner = next(
            p for p in self.projects.values() for s in p.children.values() if thing in (s, *s.children.values())
        )
        whole = item_of(thing)
        for one in [whole, *(below for child in whole["children"] for below in child["items"])]:
            if "Scan" not in one["meta"]["xsi:type"]:
                one["data_fields"]["project"] = owner.id
        shares = [
            {"children": [], "data_fields": {"project": project, "label": label}, "meta": {}}
            for number, project, label in self._shares
            if number == thing.id
        ]
        if shares:
            whole["children"].append({"field": "sharing/share", "items": shares})
        return Reply(200, json.dumps({"items": [whole]}), JSON)

    def _put_session(self, seen: Seen, home: Thing, subject_label: str, label: str) -> Reply:
        session = self._session(home, label)
        if seen.method == "GET":
            return self._item(session) if session is not None else page(404, UNFOUND)
        if seen.method == "DELETE":
            if session is None:
                return page(404, UNFOUND)
            if self._undeletable(session):
                return page(403, f"User cannot delete experiments for project {home.id}")
            for subject in home.children.values():
                subject.children.pop(label, None)
            return Reply(200)
        document = ET.fromstring(seen.body) if seen.body else None
        xsi_type = seen.query.get("xsiType", "")
        if document is not None:
            xsi_type = "xnat:" + document.tag.removeprefix(XNAT).replace("MR", "mr").replace("PET", "pet") + "Data"
        if not xsi_type and session is None:
            return page(417, "Need PUT Contents")
        if subject_label not in home.children:
            home.children[subject_label] = Thing(f"XNAT_S{int(self.number()):05d}", subject_label, "xnat:subjectData")
        subject = home.children[subject_label]
        status = 200
        if session is None:
            status = 201
            session = Thing(f"XNAT_E{int(self.number()):05d}", label, xsi_type)
        for other in home.children.values():
            other.children.pop(label, None)  # a label of another subject's session: it moves
        subject.children[label] = session
        session.subject = session.fields["subject_ID"] = subject.id
        session.fields.update({k.partition("/")[2]: v for k, v in seen.query.items() if "/" in k})
        for child in [] if document is None else document:
            if child.tag == f"{XNAT}scans":
                for scan in child:
                    fields = {"type": scan.get("type", "")} | dict(fields_of(scan))
                    session.children[scan.get("ID", "")] = Thing(
                        scan.get("ID", ""), scan.get("ID", ""), scan.get(XSI, ""), fields
                    )
            else:
                session.fields |= dict(fields_of([child]))
        return Reply(status, session.id, TEXT)

    def _resource(self, seen: Seen, owner: Thing, label: str) -> Reply:
        held = owner.resources.get(label)
        if seen.method == "DELETE":
            owner.resources.pop(label, None)
            return Reply(200)
        if seen.method == "GET":
            return (
                self._catalog_document(held) if held is not None else page(404, "Unable to find the specified catalog.")
            )
        if held is not None:
            return page(409, "Specified resource already exists.")
        owner.resources[label] = Resource(
            self.number(), label, *(seen.query.get(k, "") for k in ("format", "content", "tags"))
        )
        return Reply(200)

    # Files

    def stored_name(self, raw: str) -> str:
        """How a name of a URL is stored: 1.8 decodes it only when it holds a blank or a plus, 1.6.4 never."""
        return unquote_plus(raw) if self.era == NEW and ("%20" in raw or "%2B" in raw) else raw

    def _file(self, seen: Seen, owner: Thing, label: str, raw: str) -> Reply:
        if seen.method in {"GET", "HEAD"}:
            held = owner.resources.get(label)
            for name in (raw, unquote(raw)):
                if held is not None and name in held.catalog:
                    return Reply(200, held.disk[name], {"Content-Type": "application/octet-stream"})
            return Reply(404)
        if seen.method == "DELETE":
            return self._delete_file(owner.resources.get(label), raw, keep=seen.query.get("removeFiles") == "false")
        if not self.may_edit:
            return Reply(200, b"", TEXT)
        inbody = seen.query.get("inbody") == "true"
        if inbody and not seen.body:
            return page(500, "In-body File posts must include the file directly as the body of the message.")
        body = seen.body if inbody else form_part(seen)
        given = {key: seen.query[key] for key in ("format", "content") if key in seen.query}
        if label not in owner.resources:
            owner.resources[label] = Resource(self.number(), label, **given)
        elif self.era == NEW:  # the last file names its resource; on 1.6.4 the first does (both recorded)
            for key, value in given.items():
                setattr(owner.resources[label], key, value)
        return self.store(owner.resources[label], seen, raw, body)

    def store(self, resource: Resource, seen: Seen, raw: str, body: bytes) -> Reply:
        members = {self.stored_name(raw): body}
        if seen.query.get("extract") == "true":
            unpacked = unpack(raw, body)
            if unpacked is None:
                return Reply(200) if self.era == OLD else page(500, "error in opening zip file")
            members = unpacked
        kept = []
        for name, content in members.items():
            if name in resource.disk and seen.query.get("overwrite", "false") in {"false", "0"}:
                kept.append(name)
                if self.era == NEW and name not in resource.catalog:  # bytes that lay there unlisted
                    self.catalogue(resource, name, seen.query)
                continue
            resource.disk[name] = content
            self.catalogue(resource, name, seen.query)
        if kept:
            return Reply(200, json.dumps({"duplicates": kept}), {"Content-Type": "text/html"})
        return Reply(200, b"", TEXT if self.era == NEW else {})

    def catalogue(self, resource: Resource, name: str, query: dict[str, str] | None = None) -> None:
        first = resource.catalog.get(name, {}).get("digest")
        digest = hashlib.md5(resource.disk[name]).hexdigest()
        entry = {key: (query or {}).get(key, "") for key in ("format", "content", "tags")}
        keeps = self.era == OLD or self.digests == "stale"
        resource.catalog[name] = {
            **entry,
            "digest": first if first and keeps else digest,
            "modified": ""
            if first is None
            else ' modifiedBy="admin" modifiedEventId="2" modifiedTime="2024-01-02T03:04:05.678"',
        }

    def _catalog_document(self, resource: Resource) -> Reply:
        """As recorded: 1.6.4 keeps the MD5 of the bytes that were stored first, and marks the entry as modified."""
        entries = "".join(
            f'<cat:entry URI="{name}" digest="{entry["digest"] if self.digests or self.era == OLD else ""}"'
            f"{entry.get('modified', '')}/>"
            for name, entry in resource.catalog.items()
        )
        body = f'<cat:Catalog ID="1" xmlns:cat="http://nrg.wustl.edu/catalog"><cat:entries>{entries}</cat:entries></cat:Catalog>'
        return Reply(200, body, {"Content-Type": "text/xml"})

    def _delete_file(self, resource: Resource | None, raw: str, *, keep: bool) -> Reply:
        names = [] if resource is None else list(resource.catalog)
        gone = [n for n in names if n == raw or (self.era == NEW and n.startswith(raw))]
        for name in gone:
            assert resource is not None
            del resource.catalog[name]
            if not keep:
                del resource.disk[name]
        return Reply(200) if gone or self.era == OLD else page(404, "No matched files")

    def _files(self, resources: list[tuple[Resource, str]]) -> Reply:
        rows = []
        for resource, base in resources:
            for name, entry in resource.catalog.items():
                row = {
                    "Name": name.rsplit("/", 1)[-1],
                    "Size": str(len(resource.disk[name])),
                    "URI": f"{base}/resources/{resource.number}/files/{name}",
                    "collection": resource.label,
                    "file_tags": entry["tags"],
                    "file_format": entry["format"],
                    "file_content": entry["content"],
                    "cat_ID": resource.number,
                }
                if self.era == NEW:
                    row["digest"] = entry["digest"] if self.digests else ""
                rows.append(row)
        return listing(rows, title="Files", counted=False)

    def _scan_resources(self, sessions: list[str], scans: list[str]) -> Iterator[tuple[str, Resource]]:
        every = [
            s for p in self.projects.values() for subject in p.children.values() for s in subject.children.values()
        ]
        for session in every:
            for scan in session.children.values() if session.id in sessions else ():
                if {scan.id, scan.fields.get("type"), "ALL"} & set(scans):
                    kind = re.sub(r"\W", "_", scan.fields.get("type", ""))
                    place = f"{session.label}/scans/{scan.id}{'-' if kind else ''}{kind}"
                    yield from ((place, resource) for resource in scan.resources.values())

    def _zip(self, resources: list[tuple[str, Resource]]) -> Reply:
        if not any(resource.catalog for _, resource in resources):
            return page(404, MISSING)
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as packed:
            for place, resource in resources:
                for name in resource.catalog:
                    packed.writestr(f"{place}/resources/{resource.label}/files/{name}", resource.disk[name])
        return Reply(200, out.getvalue(), {"Content-Type": "application/zip"})

    def _refresh(self, seen: Seen) -> Reply:
        parts = seen.query["resource"].removeprefix("/archive/projects/").split("/")
        thing = self.projects[parts[0]]
        for label in parts[2:-2:2]:
            if label not in thing.children:
                return page(404, "Unable to identify resource")
            thing = thing.children[label]
        if parts[-1] not in thing.resources:
            return page(404, "Unable to identify resource")
        resource = thing.resources[parts[-1]]
        for name in resource.disk:
            if name not in resource.catalog or "checksum" in seen.query.get("options", ""):
                resource.catalog.setdefault(name, {"format": "", "content": "", "tags": "", "digest": ""})
                resource.catalog[name]["digest"] = hashlib.md5(resource.disk[name]).hexdigest()
        return Reply(200)


MISSING = "The server has not found anything matching the request URI"
TEXT = {"Content-Type": "text/plain; charset=UTF-8"}
JSON = {"Content-Type": "application/json"}


def page(status: int, message: str) -> Reply:
    body = f"<html>\n<head>\n   <title>Status page</title>\n</head>\n<body>\n<h3>{message}</h3><p>...</p>\n</body>\n</html>\n"
    return Reply(status, body, {"Content-Type": "text/html"})


def listing(rows: list[dict[str, str]], *, title: str = "", counted: bool = True) -> Reply:
    result: dict[str, object] = {"Result": rows}
    if counted:
        result["totalRecords"] = str(len(rows))
    if title:
        result["title"] = title
    return Reply(200, json.dumps({"ResultSet": result}), JSON)


def item(thing: Thing) -> Reply:
    return Reply(200, json.dumps({"items": [item_of(thing)]}), JSON)


def _field_of(thing: Thing) -> str:
    """The list of a document that contains an object."""
    if "Scan" in thing.xsi_type:
        return "scans/scan"
    return "experiments/experiment" if "Session" in thing.xsi_type else "assessors/assessor"


def item_of(thing: Thing) -> dict[str, object]:
    fields = {**thing.fields, "ID": thing.id, "id": thing.id, "label": thing.label}
    if thing.custom:
        fields["custom_fields"] = json.dumps(thing.custom)
    below: dict[str, list[dict[str, object]]] = {}
    for child in thing.children.values() if thing.xsi_type != "xnat:projectData" else ():
        below.setdefault(_field_of(child), []).append(item_of(child))
    return {
        "children": [{"field": field, "items": items} for field, items in below.items()],
        "data_fields": fields,
        "meta": {"xsi:type": thing.xsi_type, "isHistory": False},
    }


def resource_rows(owner: Thing) -> Iterator[dict[str, str]]:
    for r in owner.resources.values():
        yield {
            "xnat_abstractresource_id": r.number,
            "label": r.label,
            "format": r.format,
            "content": r.content,
            "tags": r.tags,
            "file_count": str(len(r.catalog)),
            "file_size": str(sum(len(r.disk[n]) for n in r.catalog)),
            "cat_id": owner.id if "Scan" in owner.xsi_type else "",
            "category": "scans" if "Scan" in owner.xsi_type else "resources",
        }


def unpack(name: str, body: bytes) -> dict[str, bytes] | None:
    try:
        if name.endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(body)) as packed:
                return {i.filename: packed.read(i) for i in packed.infolist() if not i.is_dir()}
        with tarfile.open(fileobj=io.BytesIO(body)) as tarred:
            return {e.name: file.read() for e in tarred if (file := tarred.extractfile(e)) is not None}
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError):
        return None


def fields_of(element: Iterable[ET.Element], above: str = "") -> Iterator[tuple[str, str]]:
    """Values of a document by path, attributes of elements below the top included."""
    for child in element:
        path = above + child.tag.removeprefix(XNAT)
        if (name := child.get("name")) and path in {"fields/field", "parameters/addParam"}:
            yield f"{path}[name={name}]/{'field' if path.startswith('fields') else 'addField'}", child.text or ""
            continue
        yield from ((f"{path}/{name}", value) for name, value in child.attrib.items())
        if (child.text or "").strip() or not len(child):
            yield path, child.text or ""
        yield from fields_of(child, f"{path}/")


def form_part(seen: Seen) -> bytes:
    boundary = seen.headers["content-type"].partition("boundary=")[2].encode()
    return seen.body.split(b"--" + boundary)[1].partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")


def cookie_of(seen: Seen) -> str:
    found = re.search(r"JSESSIONID=([^;]+)", seen.headers.get("cookie", ""))
    return found[1] if found else ""


class Handler(DroppingHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, *args: object) -> None:
        pass

    def _serve(self) -> None:
        peer = self.server.peer
        parts = urlsplit(self.path)
        headers = {key.lower(): value for key, value in self.headers.items()}
        seen = Seen(self.command, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)), headers)
        with peer.lock:
            peer.requests.append(seen)
        try:
            reply = self._faulty(seen)
            if reply is None:
                if peer.body_limit is not None and int(headers.get("content-length", 0)) > peer.body_limit:
                    reply = Reply(
                        413,
                        "<html><head><title>413 Request Entity Too Large</title></head></html>",
                        {"Connection": "close"},
                    )
                else:
                    self.read_body(seen)
                    reply = self.process(seen)
            self.send(reply)
        except (HangupError, ConnectionError):
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815

    def _faulty(self, seen: Seen) -> Reply | None:
        peer = self.server.peer
        with peer.lock:
            for fault in peer.faults:
                if (
                    fault.left
                    and fault.method in {seen.method, "*"}
                    and fault.pattern.search(seen.path)
                    and fault.where(seen)
                ):
                    fault.left -= 1
                    break
            else:
                return None
        reply = fault.act(self, seen)
        if reply is not None and not seen.body:
            self.read_body(seen)
        return reply

    def read_body(self, seen: Seen, most: int | None = None) -> None:
        size = int(seen.headers.get("content-length", 0)) - len(seen.body)
        seen.body += self.rfile.read(size if most is None else min(size, most))
        if most is None and len(seen.body) < int(seen.headers.get("content-length", 0)):
            raise HangupError

    def process(self, seen: Seen) -> Reply:
        """The real answer, with everything it does."""
        peer = self.server.peer
        with peer.lock:
            opened = ""
            if not self._known(seen):
                if not peer.guests:
                    headers = {"WWW-Authenticate": 'Basic realm="XNAT"'} if peer.era == NEW else {}
                    return Reply(
                        401,
                        page(401, "The request requires user authentication").body,
                        {"Content-Type": "text/html", **headers},
                    )
                opened = f"JSESSIONID={int(peer.number()):032X}; Path=/"
                reply = page(404, MISSING)
            else:
                reply = peer.answer(seen)
            reply.headers = {"Set-Cookie": opened, **reply.headers} if opened else dict(reply.headers)
            return reply

    def _known(self, seen: Seen) -> bool:
        peer = self.server.peer
        basic = seen.headers.get("authorization", "").removeprefix("Basic ")
        if basic:
            return b64decode(basic).decode() == f"{USER}:{PASSWORD}"
        return peer.cookies and cookie_of(seen) in peer.logins

    def send(self, reply: Reply) -> None:
        body = reply.body.encode() if isinstance(reply.body, str) else reply.body
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Set-Cookie", 'SESSION_EXPIRATION_TIME="1700000000000,900000"; Path=/')
        if "Transfer-Encoding" not in reply.headers:
            self.send_header("Content-Length", reply.headers.get("X-Length", str(len(body))))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()


class Server(DroppingServer):
    def __init__(self, peer: Peer) -> None:
        super().__init__(Handler)
        self.peer = peer


@contextmanager
def running_peer(era: str = NEW) -> Iterator[Peer]:
    """Serve a new peer on a free port until the block ends."""
    peer = Peer(era)
    server = Server(peer)
    peer.url = server.url
    with server.serving():
        yield peer


# Faults


def lost_reply(handler: Handler, seen: Seen) -> Reply | None:
    """Everything is done, and the connection drops before the answer."""
    handler.read_body(seen)
    handler.process(seen)
    handler.reset()
    return None


def reset_in_body(handler: Handler, seen: Seen) -> Reply | None:
    """The connection drops while the body is on its way; nothing is stored."""
    handler.read_body(seen, most=1000)
    handler.reset()
    return None


def cut_in_body(handler: Handler, seen: Seen) -> Reply | None:
    """The connection drops while the body is on its way; 1.8.11 leaves what came on its disk, unlisted (recorded)."""
    handler.read_body(seen, most=1000)
    peer = handler.server.peer
    keep = peer.catalogue
    peer.catalogue = lambda resource, name, query=None: None  # type: ignore[method-assign]
    try:
        handler.process(seen)
    finally:
        peer.catalogue = keep  # type: ignore[method-assign]
    handler.reset()
    return None


def closed(handler: Handler, seen: Seen) -> Reply | None:
    """The connection is closed without an answer, before anything is done."""
    handler.read_body(seen)
    raise HangupError


def empty_200(handler: Handler, seen: Seen) -> Reply | None:
    """200, and nothing was stored."""
    return Reply(200, b"", TEXT)


def landed_500(handler: Handler, seen: Seen) -> Reply | None:
    """The bytes are on the server's disk, the catalog was not written (``CatalogUtils.storeCatalogEntry``)."""
    handler.read_body(seen)
    peer = handler.server.peer
    keep = peer.catalogue
    peer.catalogue = lambda resource, name, query=None: None  # type: ignore[method-assign]
    try:
        handler.process(seen)
    finally:
        peer.catalogue = keep  # type: ignore[method-assign]
    return page(500, "Another thread or process modified the catalog since I last read it.")


def half_landed_500(handler: Handler, seen: Seen) -> Reply | None:
    """Other bytes than were sent lie on the server's disk under the name, unlisted (``CatalogUtils.storeCatalogEntry``)."""
    handler.read_body(seen)
    seen.body = seen.body[: len(seen.body) // 2]
    seen.headers["content-length"] = str(len(seen.body))
    return landed_500(handler, seen)


def expired(handler: Handler, seen: Seen) -> Reply | None:
    """All logins are gone; this request meets that first."""
    handler.server.peer.expire_logins()
    return None


def cut_answer(handler: Handler, seen: Seen) -> Reply | None:
    """Half of the answer, then the end of the connection."""
    handler.read_body(seen)
    reply = handler.process(seen)
    body = reply.body.encode() if isinstance(reply.body, str) else reply.body
    handler.send(Reply(reply.status, body[: len(body) // 2], {**reply.headers, "X-Length": str(len(body))}))
    raise HangupError


def busy(status: int = 503, after: str = "0") -> Reply:
    """A temporary refusal."""
    return Reply(status, "<html><head><title>Service Unavailable</title></head></html>", {"Retry-After": after})
