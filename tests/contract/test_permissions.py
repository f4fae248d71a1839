"""Who may do what: every route x method x role x accessibility of the project, taken from the real route table.

What is expected stands in one place, `RULES` and `expected`, written from XNAT's rules: owners read, edit and delete;
members read and edit; collaborators read; strangers see that a protected project exists and read a public one; what may
not be read is answered as if it were not there.
"""

import json
import re
import shutil
import sqlite3
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

import httpx2
import pytest

from xnatferry.server.app import ROUTES, SITE_ROUTES
from xnatferry.server.archive import running_archive
from xnatferry.server.settings import ServerSettings

ROLES = ("guest", "outsider", "collaborator", "member", "owner", "admin")
WRITERS = {"member", "owner", "admin"}
ACCESSIBILITIES = ("public", "protected", "private")
DONE = "2xx"

#: Methods, the route template as a pattern, and the rule; the first that fits counts. A route that none fits fails.
RULES = (
    # Logins and what is the same for everybody.
    ("GET POST PUT DELETE", r"/JSESSION|/auth|/services/auth", "anyone"),
    ("GET", r"/services/tokens/(issue|show)|/users|/xapi/users|/xapi/users/profiles?(/\{name\})?", "account"),
    ("GET", r"/services/tokens/.*", "other account"),
    (
        "GET",
        r"/user|/search/elements.*|/search/saved|/prearchive.*|/workflows|/projects|/subjects|/experiments",
        "anyone",
    ),
    ("POST", r"/search", "anyone"),
    ("GET", r"/search/saved/\{search\}(/results)?", "anyone"),  # an open one; others' are tried below
    ("PUT DELETE", r"/search/saved/\{search\}", "account"),
    ("GET", r"/|/xapi/siteConfig.*|/xapi/schemas.*|/schemas/.*|/xapi/users/username|/xapi/access/.*", "anyone"),
    ("GET", r"/xapi/users/\{name\}(/roles|/groups)?", "other account"),
    ("GET", r"/services/refresh/catalog", "nobody"),
    ("POST PUT", r"/services/refresh/catalog|/xapi/archive/catalogs/refresh(/\{operations\})?", "refresh"),
    ("GET", r"/xapi/customforms(/element)?", "account"),
    ("PUT POST DELETE", r"/xapi/customforms(/.*)?", "admin"),
    ("GET", r"/xapi/custom-fields/.*", "read custom fields"),
    ("PUT DELETE", r"/xapi/custom-fields/.*", "edit custom fields"),
    ("POST", r"/services/import", "account, then 400"),
    # Projects.
    ("POST", r"/projects", "account"),
    (
        "GET",
        r"/projects/\{project\}(/accessibility|/(quarantine_code|prearchive_code|current_arc|scan_type_mapping))?",
        "see",
    ),
    ("GET", r"/projects/\{project\}/\{rest\*\}", "see, then 400"),
    ("PUT POST", r"/projects/\{project\}", "change project"),
    ("DELETE", r"/projects/\{project\}", "delete project"),
    ("PUT", r"/projects/\{project\}/accessibility", "own, then 400"),
    (
        "GET PUT DELETE",
        r"/projects/\{project\}/(accessibility|users|\w+_code|current_arc|scan_type_mapping)(/.*)?",
        "own",
    ),
    # Lists that say 403 for a project which is known to exist (3.5, 4.3).
    ("GET", r"/projects/\{project\}(/subjects|/experiments|/subjects/\{subject\}/experiments)", "list"),
    # Sharing: what is shared must be readable and editable, and so must be the project that gets it.
    ("DELETE", r".*/projects/\{other\}", "unshare"),
    ("PUT", r"(/projects/\{project\})?/subjects/\{subject\}/projects/\{other\}", "share subject"),
    # Writes to places that XNAT looks up in its own ways (3.1, 5.1).
    ("PUT", r"/projects/\{project\}/subjects/\{subject\}", "put subject"),
    ("PUT", r"/subjects/\{subject\}", "put subject by id"),
    ("PUT", r"/experiments/\{experiment\}", "put experiment by id"),
    ("PUT POST", r".*/scans(/\{scan\})?", "put scan"),
    # Without a project in the address, files and scans of what is not there fail (recorded).
    ("GET", r"/experiments/\{experiment\}(/.*)?/files(/\{file\*\})?|/experiments/\{experiment\}/scans", "read or 500"),
    # Everything else in a project.
    ("GET", r"(/projects/|/subjects/|/experiments/).*", "read"),
    ("PUT POST", r"(/projects/|/subjects/|/experiments/).*", "edit"),
    ("DELETE", r"(/projects/|/subjects/|/experiments/).*", "delete"),
)


def rule_of(method, template):
    for methods, pattern, rule in RULES:
        if method in methods.split() and re.fullmatch(pattern, template):
            return rule
    pytest.fail(f"no rule says who may {method} {template}: add one to RULES")


def expected(rule, role, accessibility):
    """The answers that XNAT's rules allow; usually one."""
    inside = role in {"collaborator", "member", "owner", "admin"}
    reads = inside or accessibility == "public"
    sees = reads or accessibility == "protected"
    edits = role in {"member", "owner", "admin"}
    owns = role in {"owner", "admin"}
    # A guest's write is refused as such (1.3), or because there is nothing to write to.
    hidden = {404} if role != "guest" else {403, 404}
    if role == "guest" and rule in {
        "put subject",
        "put subject by id",
        "put scan",
        "put experiment by id",
        "change project",
        "delete project",
    }:
        return {403}
    match rule:
        case "anyone":
            return {DONE}
        case "account":
            return {403} if role == "guest" else {DONE}
        case "admin":
            return {DONE} if role == "admin" else {403}
        case "account, then 400":
            return {403} if role == "guest" else {400}
        case "other account":
            return {DONE} if role == "admin" else {403}
        case "nobody":
            return {404}
        case "refresh":  # words of a request, not of what is there
            return {DONE} if edits else {403} if sees else {400}
        case "read custom fields":
            return {DONE} if reads else {403} if sees else {404}
        case "edit custom fields":
            return {DONE} if edits else {403} if sees else {404}
        case "see":
            return {DONE} if sees else {404}
        case "see, then 400":
            return {400} if sees else {404}
        case "read":
            return {DONE} if reads else {404}
        case "read or 500":
            return {DONE} if reads else {500}
        case "share subject":
            return {DONE} if edits else {403}
        case "list":
            return {DONE} if reads else {403} if sees else {404}
        case "edit":
            return {DONE} if edits else {403} if reads else hidden
        case "delete":
            return {DONE} if owns else {403} if reads else hidden
        case "own":
            return {DONE} if owns else {403} if sees else hidden
        case "own, then 400":
            return {400} if owns else {403} if sees else hidden
        case "change project":  # a name that is taken cannot be hidden (2.1)
            return {DONE} if edits else {403}
        case "delete project":
            return {DONE} if owns else {403} if sees else {400}
        case "unshare":  # everybody here owns the other project
            return {DONE} if reads and role != "guest" else {403} if reads else hidden
        case "put subject":
            return {DONE} if edits else {403} if sees else {422}
        case "put subject by id":
            return {DONE} if edits else {403} if reads else {422}
        case "put experiment by id":  # as a new one, whose type is not said
            return {DONE} if edits else {403} if reads else {417}
        case "put scan":
            return {DONE} if edits else {403} if reads else {417}
    pytest.fail(f"{rule} is no rule")


@dataclass
class Site:
    """An archive with a project of every accessibility, and a client for every role."""

    running: object
    clients: dict
    ids: dict
    token: dict
    form: str
    kept: sqlite3.Connection
    blob_store: Path

    @cached_property
    def files(self):
        return [path for path in self.blob_store.rglob("*") if path.is_file()]

    def restore(self):
        """Everything as it was before a test changed it."""
        database = self.running.archive.database
        with database._lock:
            self.kept.backup(database._writer)
        for kept in self.files:  # copies keep times, so what nobody touched is told without reading it
            place = self.running.archive.blob_store.archive / kept.relative_to(self.blob_store)
            if not place.exists() or place.stat().st_mtime_ns != kept.stat().st_mtime_ns:
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(kept, place)


def build(admin, accounts):
    """The projects, each with everything that a route can name."""
    ids = {}
    _done(admin.put("/data/search/saved/open", content=SEARCH.replace("<xdat:bundle", '<xdat:bundle secure="0"', 1)))
    admin.put("/data/projects/Q", params={"accessibility": "private"})
    for login in accounts:
        admin.put(f"/data/projects/Q/users/owner/{login}")
    for access in ACCESSIBILITIES:
        p = f"/data/projects/P_{access}"
        put = lambda path, p=p, **params: _done(admin.put(p + path, params=params))  # noqa: E731
        put("", accessibility=access)
        for role in ("collaborator", "member", "owner"):
            put(f"/users/{role}/{role}")
        put("/users/collaborator/extra")
        subject = put("/subjects/S").text
        session = put("/subjects/S/experiments/E", xsiType="xnat:mrSessionData").text
        long = "/subjects/S/experiments/E"
        put(f"{long}/scans/1", xsiType="xnat:mrScanData", type="T1w")
        for place in ("", "/subjects/S", long):
            _done(admin.put(f"/xapi/custom-fields{p.removeprefix('/data')}{place}/fields", json={"f": "secret"}))
        put(f"{long}/assessors/A", xsiType="xnat:qcAssessmentData")
        put(f"{long}/reconstructions/RC_{access}")
        for place in ("scans/1", "assessors/A"):
            _done(admin.put(f"/xapi/custom-fields/experiments/{session}/{place}/fields", json={"f": "secret"}))
        ids[access] = {
            "project": f"P_{access}",
            "subject": subject,
            "experiment": session,
            "reconstruction": f"RC_{access}",
        }
        below = [
            f"{long}/{word}{way}" for word in ("assessors/A", f"reconstructions/RC_{access}") for way in ("/in", "/out")
        ]
        for place in ("", "/subjects/S", long, f"{long}/scans/1", *below):
            _done(admin.put(f"{p}{place}/resources/R/files/f.txt", params={"inbody": "true"}, content=b"secret"))
    return ids


def _done(answer):
    assert answer.status_code in {200, 201}, (answer.request.url, answer.text)
    return answer


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    root = tmp_path_factory.mktemp("permissions")
    settings = ServerSettings(root=root, require_login=False)
    with running_archive(root, admin_password="admin-secret", settings=settings) as running:
        names = ("outsider", "collaborator", "member", "owner", "extra")
        for login in names:
            running.archive.accounts.create(login, f"{login}-secret")
        clients = {
            login: httpx2.Client(base_url=running.url, auth=(login, f"{login}-secret")) for login in ("admin", *names)
        }
        clients["guest"] = httpx2.Client(base_url=running.url)
        ids = build(clients["admin"], ("admin", *names))
        _done(clients["admin"].put("/xapi/customforms/save", json=FORM))
        form = clients["admin"].get("/xapi/customforms").json()[0]["appliesToList"][0][USE]
        token = clients["extra"].get("/data/services/tokens/issue").json()
        kept = sqlite3.connect(root / "kept.sqlite", check_same_thread=False)
        with running.archive.database._lock:
            running.archive.database._writer.backup(kept)
        blob_store = root.with_name(root.name + "-vault")
        shutil.copytree(root / "archive", blob_store)
        yield Site(running, clients, ids, token, form, kept, blob_store)
        kept.close()
        for client in clients.values():
            client.close()


_fresh = count(1)
NAMES = {"users": "admin", "siteConfig": "siteId", "access": "createable"}
MISSING = {"project": "P_nowhere", "subject": "XNAT_S99999", "experiment": "XNAT_E99999", "reconstruction": "RC_none"}


def requests_for(site, method, template, ids):
    """The requests that try *method* on *template*: path, query and body, such that whoever is allowed succeeds."""
    under_project = "/projects/{project}/" in template
    values = {
        "project": ids["project"],
        "subject": "S" if under_project and ids is not MISSING else ids["subject"],
        "experiment": "E" if under_project and ids is not MISSING else ids["experiment"],
        "reconstruction": ids["reconstruction"],
        "scan": "1",
        "assessor": "A",
        "resource": "R",
        "file*": "f.txt",
        "rest*": "",
        "other": "Q",
        "level": ids["project"].removeprefix("P_"),
        "group": "collaborator",
        "login": "extra",
        "value": {"current_arc": "arc001"}.get(template.split("/")[-2], "1"),
        "alias": site.token["alias"],
        "secret": site.token["secret"],
        "type": "xnat:subjectData",
        "name": next((value for word, value in NAMES.items() if f"/{word}/" in template), "xnat"),
        "user": "admin",
        "field": "f",
        "operations": "append,checksum",
        "folder": "xnat",
        "property": "version",
        "search": "open" if method == "GET" else f"new{next(_fresh)}",
    }
    params, body = {}, b""
    fresh = f"N{next(_fresh)}"
    writes = method in {"PUT", "POST"}
    if writes and template.startswith("/xapi/custom-fields/"):
        body = json.dumps({"f": fresh}).encode()
    elif writes and "/files/" in template:
        params, body = {"inbody": "true", "overwrite": "true"}, b"new"
    elif writes and template.endswith("/resources/{resource}/{rest*}"):
        values["resource"] = fresh
    elif writes and template.endswith("/resources"):
        params = {"format": "X"}
    elif writes and "/scans" in template:
        params = {"xsiType": "xnat:mrScanData"} | ({"note": fresh} if method == "PUT" else {})
    elif writes and "/assessors" in template:
        params = {"xsiType": "xnat:qcAssessmentData", "note": fresh, "project": ids["project"]} | (
            {"label": fresh} if method == "POST" else {}
        )
    elif writes and template.endswith("/experiments"):
        params = {"xsiType": "xnat:mrSessionData", "label": fresh}
    elif writes and template.endswith("/subjects"):
        params = {"label": fresh}
    elif template == "/projects" and method == "POST":
        params = {"ID": fresh}
    elif template == "/services/refresh/catalog":
        params = {"resource": f"/archive/projects/{ids['project']}"}
    elif "/catalogs/refresh" in template:
        body = json.dumps([f"/archive/projects/{ids['project']}"]).encode()
    elif template.startswith("/xapi/customforms"):
        params = {"xsiType": "xnat:subjectData", "appendPrevNextButtons": "false"}
        body = b"" if method == "GET" else json.dumps(FORM if method == "PUT" else [{USE: site.form}]).encode()
    elif template == "/services/auth":
        body = b"username=extra&password=extra-secret"
    elif template == "/search" or (template == "/search/saved/{search}" and writes):
        body = SEARCH.encode()
    if template == "/projects/{project}/{rest*}":
        values["rest*"] = "nonsense"
    if template.endswith("/{rest*}") and "experiments/{experiment}/{rest*}" in template:
        values["rest*"] = "anything"
    paths = [re.sub(r"\{(\w+\*?)\}", lambda hit: values[hit[1]], template)]
    if method == "GET" and template.endswith("/files/{file*}"):
        paths += [paths[0].removesuffix("f.txt"), paths[0].removesuffix("f.txt") + "?format=zip"]
    return [(path.rstrip("/") or "/", params, body) for path in paths]


SEARCH = """<xdat:bundle xmlns:xdat="http://nrg.wustl.edu/security"><xdat:root_element_name>xnat:subjectData</xdat:root_element_name>
<xdat:search_field><xdat:element_name>xnat:subjectData</xdat:element_name><xdat:field_ID>PROJECT</xdat:field_ID></xdat:search_field>
</xdat:bundle>"""


USE = "idCustomVariableFormAppliesTo"
FORM = {
    "submission": {
        "data": {"xnatDatatype": {"value": "xnat:subjectData"}, "isThisASiteWideConfiguration": "yes", "zIndex": 1}
    },
    "builder": {"title": "Form", "components": [{"key": "a", "type": "textfield"}]},
}


def table():
    """Every method of every route, with the path it is served under."""
    rows = []
    for prefix, routes in (("/data", ROUTES), ("", SITE_ROUTES)):
        for route in routes:
            rows += [(method, route.template, prefix) for method in route.methods]
    return rows


def ask(client, method, prefix, request):
    client.cookies.clear()  # a login that the request before opened must not answer for a guest
    path, params, body = request
    if "?" in path:
        path, _, query = path.partition("?")
        params = dict(part.split("=") for part in query.split("&"))
    headers = {} if prefix else {"Content-Type": "application/json"}
    return client.request(method, prefix + path, params=params, content=body, headers=headers)


def fits(answer, wanted):
    return any(answer.is_success if one == DONE else answer.status_code == one for one in wanted)


def family(template):
    """Tests are grouped by what a route is about, to name what fails."""
    words = [word for word in template.split("/") if word and not word.startswith("{")]
    return words[-1] if words else "front page"


CHANGES_RIGHTS_OR_TAKES_AWAY = re.compile(r"DELETE|/users/|invalidate|\{other\}")
FAMILIES = sorted({family(template) for _, template, _ in table()})


def test_every_route_has_a_rule():
    for method, template, _ in table():
        rule_of(method, template)
    assert len(table()) > 500


@pytest.mark.parametrize("access", ACCESSIBILITIES)
@pytest.mark.parametrize("name", FAMILIES)
def test_the_matrix(site, name, access):
    wrong, changed = [], False
    watching = sqlite3.connect(site.running.archive.database.path)
    version = watching.execute("PRAGMA data_version").fetchone()
    for method, template, prefix in (row for row in table() if family(row[1]) == name):
        for role in ROLES:
            requests = requests_for(site, method, template, site.ids[access])
            # Who may write reads by the same right as a collaborator, so one way to read shows it.
            for request in requests[:1] if role in WRITERS else requests:
                # A listing has rules of its own where it shares its route with the files.
                rule = rule_of(method, template.removesuffix("/{file*}") if request[0].endswith("/files") else template)
                wanted = expected(rule, role, access)
                answer = ask(site.clients[role], method, prefix, request)
                before, version = version, watching.execute("PRAGMA data_version").fetchone()
                shown = f"{role} {method} {request[0]} ({access}, {rule}): {answer.status_code}, wanted {wanted}"
                if not fits(answer, wanted):
                    wrong.append(f"{shown} {answer.text[:300]!r}")
                if DONE not in wanted and version != before:
                    wrong.append(f"{shown}, but something was written")
                if DONE not in wanted and b"secret" in answer.content:
                    wrong.append(f"{shown}, and gives away what it refuses")
                changed = changed or version != before
                if version != before and CHANGES_RIGHTS_OR_TAKES_AWAY.search(f"{method} {template}"):
                    site.restore()
                    version = watching.execute("PRAGMA data_version").fetchone()
    watching.close()
    if changed:
        site.restore()
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong[:40])


@pytest.mark.parametrize("name", FAMILIES)
def test_what_may_not_be_read_looks_like_what_is_not_there(site, name):
    """Same status and same words for a private project and for none, but where XNAT's own rules differ (2.1, 2.7)."""
    wrong = []
    for method, template, prefix in (row for row in table() if family(row[1]) == name):
        if rule_of(method, template) in {"anyone", "account", "other account", "change project"}:
            continue
        there = requests_for(site, method, template, site.ids["private"])
        missing = requests_for(site, method, template, MISSING)
        for one, other in zip(there, missing, strict=True):
            answers = [ask(site.clients["outsider"], method, prefix, request) for request in (one, other)]
            said = [(answer.status_code, _nameless(answer.text)) for answer in answers]
            if said[0] != said[1]:
                wrong.append(f"{method} {one[0]}: {said[0]}\n    {other[0]}: {said[1]}")
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong[:40])


def _nameless(text):
    heading = text.partition("<h3>")[2].partition("</h3>")[0]
    return re.sub(r"P_private|P_nowhere|XNAT_[SE]\d+|\bS\b|\bE\b|RC_\w+", "...", heading or text)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "url", ["/data/projects", "/data/subjects", "/data/experiments", "/data/search", "/xapi/access/projects"]
)
def test_lists_of_the_site_show_what_may_be_read(site, role, url):
    client = site.clients[role]
    answer = client.post(url, content=SEARCH) if url == "/data/search" else client.get(url, params={"format": "json"})
    answer.raise_for_status()
    seen = {access for access in ACCESSIBILITIES if f'"P_{access}"' in json.dumps(answer.json())}
    inside = role in {"collaborator", "member", "owner", "admin"}
    if url == "/xapi/access/projects":  # only where one has a role
        assert seen == (set(ACCESSIBILITIES) if inside else set())
    elif url == "/data/projects" and role == "outsider":  # that there is a protected one may be known
        assert seen == {"public", "protected"}
    else:
        assert seen == (set(ACCESSIBILITIES) if inside else {"public"})


def test_sharing_needs_a_right_in_both_projects(site):
    owner, url = site.clients["owner"], "/data/projects/P_private/subjects/S"
    _done(site.clients["admin"].put("/data/projects/Foreign?accessibility=private"))
    assert owner.put(f"{url}/projects/Foreign").status_code == 404
    assert owner.delete(f"{url}/projects/Foreign").status_code == 404
    _done(site.clients["admin"].put("/data/projects/Foreign/accessibility/public"))
    assert owner.put(f"{url}/projects/Foreign").status_code == 403
    assert owner.delete(f"{url}/projects/Foreign").status_code == 403
    site.restore()


def test_a_share_lets_the_other_project_read_and_not_delete(site):
    """Who has a role only in the project that an item is shared into reads it there, and cannot touch the original."""
    admin, outsider = site.clients["admin"], site.clients["outsider"]
    _done(admin.put("/data/projects/P_private/subjects/S/projects/Q"))
    _done(admin.put("/data/projects/P_private/experiments/E/projects/Q"))
    assert outsider.get("/data/projects/Q/subjects/S").status_code == 200
    assert outsider.get("/data/projects/Q/experiments/E/resources/R/files/f.txt").content == b"secret"
    assert outsider.get("/data/projects/P_private/experiments/E").status_code == 404
    file = "/data/projects/Q/experiments/E/resources/R/files/f.txt"
    assert outsider.put(file, params={"inbody": "true", "overwrite": "true"}, content=b"x").status_code in {403, 404}
    assert outsider.delete(file).status_code in {403, 404}
    assert outsider.put("/data/projects/Q/experiments/E", params={"note": "x"}).status_code in {403, 404}
    assert outsider.put("/data/projects/Q/experiments/E/scans/1", params={"note": "x"}).status_code in {
        403,
        404,
        405,
        417,
    }
    assert outsider.delete("/data/projects/Q/experiments/E").status_code == 200  # ends the share
    assert admin.get("/data/projects/P_private/experiments/E/resources/R/files/f.txt").content == b"secret"
    site.restore()


def test_nothing_but_the_login_is_open_where_a_login_is_required(tmp_path):
    with (
        running_archive(tmp_path, admin_password="admin-secret") as running,
        httpx2.Client(base_url=running.url) as client,
    ):
        with httpx2.Client(base_url=running.url, auth=("admin", "admin-secret")) as admin:
            ids = {"project": "P", "subject": "XNAT_S1", "experiment": "XNAT_E1", "reconstruction": "RC"}
            admin.put("/data/projects/P?accessibility=public")
        site = Site(running, {}, {}, {"alias": "a" * 8, "secret": "s"}, "1_1", None, None)
        opened = set()
        for method, template, prefix in table():
            for request in requests_for(site, method, template, ids):
                if ask(client, method, prefix, request).status_code != 401:
                    opened.add((method, template))
        open_settings = {("GET", "/xapi/siteConfig/buildInfo"), ("GET", "/xapi/siteConfig/{name}")}
        assert opened == {
            ("GET", "/"),
            *open_settings,
            *((one, "/JSESSION") for one in ("GET", "POST", "PUT", "DELETE")),
        }
        assert client.get("/data/nothing").status_code == client.patch("/data/projects").status_code == 401
