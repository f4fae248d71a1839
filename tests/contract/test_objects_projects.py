"""Projects: made, changed, opened, listed, deleted; roles in them; addresses that mean nothing."""

import pytest


def field(http, name, column):
    params = {"format": "json", "columns": f"ID,{column}"}
    rows = http.get("/data/projects", params=params).json()["ResultSet"]["Result"]
    return next(row[column] for row in rows if row["ID"] == name)


def test_put_answers_an_empty_200_twice(http, new_id):
    name = new_id()
    for _ in range(2):
        answer = http.put(f"/data/projects/{name}")
        assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("prefix", ["/data", "/REST", "/data/archive", "/REST/archive", "/archive"])
def test_the_aliases_are_the_same(http, project, prefix):
    assert http.get(f"{prefix}/projects/{project}", params={"format": "json"}).json()["items"]
    assert http.get(f"{prefix}/projects/{project}/").status_code == 200


@pytest.mark.parametrize("name", ["a%20b", "a.b", "a+b", "%C3%A9", "Unassigned", "a'b"])
def test_a_bad_id_is_417(http, name):
    assert http.put(f"/data/projects/{name}").status_code == 417


def test_names_are_unique_whatever_they_are_used_for(http, project, new_id):
    http.put(f"/data/projects/{project}", params={"name": f"Name {project}", "secondary_ID": f"second{project}"})
    for taken in (f"name {project}", f"SECOND{project}", project.lower()):
        assert http.put(f"/data/projects/{new_id()}", params={"name": taken}).status_code == 409
        assert http.put(f"/data/projects/{new_id()}", params={"secondary_ID": taken}).status_code == 409


def test_ids_of_projects_differ_in_more_than_case(http, project):
    assert http.put(f"/data/projects/{project.lower()}").status_code == 200
    assert (
        http.get(f"/data/projects/{project.lower()}", params={"format": "json"}).json()["items"][0]["data_fields"]["ID"]
        == project
    )


def test_an_alias_leads_to_the_project(http, project):
    assert http.put(f"/data/projects/{project}", params={"alias": f"also{project}"}).status_code == 200
    item = http.get(f"/data/projects/also{project}", params={"format": "json"}).json()["items"][0]
    assert item["data_fields"]["ID"] == project


def test_a_document_makes_a_project(http, new_id):
    name = new_id()
    body = f"""<xnat:Project xmlns:xnat="http://nrg.wustl.edu/xnat" ID="{name}" secondary_ID="s{name}">
        <xnat:name>Brains of {name}</xnat:name><xnat:description>a &amp; b</xnat:description>
        <xnat:PI><xnat:firstname>Ada</xnat:firstname><xnat:lastname>Byron</xnat:lastname></xnat:PI></xnat:Project>"""
    answer = http.post("/data/projects", content=body, headers={"Content-Type": "text/xml"})
    assert answer.status_code == 200
    assert answer.text == answer.headers["location"]
    assert answer.text.endswith(f"/data/projects/{name}")
    assert field(http, name, "description") == "a & b"
    assert field(http, name, "pi_lastname") == "Byron"
    assert http.post("/data/projects", content=body, headers={"Content-Type": "text/xml"}).status_code == 409


def test_a_deleted_id_is_never_used_again(http, new_id):
    name = new_id()
    http.put(f"/data/projects/{name}")
    assert http.delete(f"/data/projects/{name}").status_code == 200
    assert http.get(f"/data/projects/{name}").status_code == 404
    assert http.delete(f"/data/projects/{name}").status_code == 400
    again = http.put(f"/data/projects/{name}")
    assert again.status_code == 403
    assert "cannot be reused" in again.text


def test_deleting_takes_everything_along(http, session):
    assert http.delete(f"/data/projects/{session.project}", params={"removeFiles": "true"}).status_code == 200
    for gone in (session.url, f"/data/subjects/{session.subject_id}", session.scan):
        assert http.get(gone, params={"format": "json"}).status_code == 404


@pytest.mark.parametrize("level", ["private", "protected", "public"])
def test_accessibility(http, project, level):
    assert http.get(f"/data/projects/{project}/accessibility").text == "protected"
    assert http.put(f"/data/projects/{project}/accessibility/{level}").text == level
    assert http.get(f"/data/projects/{project}/accessibility").text == level


def test_settings_of_a_project(http, project):
    url = f"/data/projects/{project}"
    assert [http.get(f"{url}/{name}").text for name in ("prearchive_code", "quarantine_code", "current_arc")] == [
        "4",
        "0",
        "arc001",
    ]
    assert http.put(f"{url}/prearchive_code/0").status_code == 200
    assert http.get(f"{url}/prearchive_code").text == "0"
    item = http.get(url, params={"format": "json"}).json()["items"]
    assert len(item) == 1  # a setting is no field
    assert item[0]["data_fields"].keys() == {"ID", "name", "secondary_ID", "active"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/data", 404),
        ("/data/nonsense", 404),
        ("/data/projects/{}/nonsense", 400),
        ("/data/projects/none{}/nonsense", 404),
    ],
)
def test_addresses_that_mean_nothing(http, project, path, status):
    assert http.get(path.format(project)).status_code == status


def test_a_method_that_means_nothing(http, project):
    answer = http.request("PATCH", f"/data/projects/{project}")
    assert answer.status_code == 405
    assert {"GET", "PUT", "DELETE"} <= set(answer.headers["allow"].split(", "))


def test_head_is_get_without_a_body(http, project):
    answer = http.head(f"/data/projects/{project}", params={"format": "json"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert http.head(f"/data/projects/none{project}").status_code == 404


@pytest.mark.parametrize("path", ["a%2Fb", "a%5Cb", "a%00b"])
def test_hidden_separators_are_refused(http, project, path):
    assert http.put(f"/data/projects/{project}/subjects/{path}").status_code == 400


class TestRoles:
    def rows(self, http, project):
        found = http.get(f"/data/projects/{project}/users", params={"format": "json"}).json()["ResultSet"]["Result"]
        return {(row["login"], row["displayname"], row["GROUP_ID"]) for row in found}

    def test_who_makes_a_project_owns_it(self, http, project, server):
        assert self.rows(http, project) == {(server.user, "Owners", f"{project}_owner")}

    @pytest.mark.parametrize("group", ["Members", "member", "{}_member"])
    def test_are_given_and_taken(self, http, project, new_account, group):
        login = new_account().login
        url = f"/data/projects/{project}/users/{group.format(project)}/{login}"
        assert http.put(url).status_code == 200
        assert (login, "Members", f"{project}_member") in self.rows(http, project)
        assert http.delete(url).status_code == 200
        assert login not in {row[0] for row in self.rows(http, project)}

    def test_what_each_role_may(self, http, session, new_account):
        owner, member, guest, nobody = (new_account() for _ in range(4))
        for account, group in ((owner, "Owners"), (member, "Members"), (guest, "Collaborators")):
            http.put(f"/data/projects/{session.project}/users/{group}/{account.login}")
        subject = f"/data/projects/{session.project}/subjects/NEW"
        assert [one.get(session.long).status_code for one in (owner, member, guest, nobody)] == [200, 200, 200, 404]
        assert [one.put(subject).status_code for one in (nobody, guest, member, owner)] == [403, 403, 201, 200]
        assert [one.delete(subject).status_code for one in (nobody, guest, member, owner)] == [404, 403, 403, 200]
        scan = {"xsiType": "xnat:mrScanData"}
        assert [one.put(f"{session.url}/scans/9", params=scan).status_code for one in (nobody, guest, member)] == [
            417,
            403,
            200,
        ]
        assert [one.delete(f"{session.url}/scans/9").status_code for one in (nobody, guest, member)] == [404, 403, 403]
        project = f"/data/projects/{session.project}"
        assert [one.delete(project).status_code for one in (nobody, guest, member)] == [403, 403, 403]
        assert [one.put(f"{project}/accessibility/public").status_code for one in (guest, member, owner)] == [
            403,
            403,
            200,
        ]
        assert nobody.get(session.long).status_code == 200  # public now

    def test_listings_hold_only_what_may_be_read(self, http, session, new_account):
        nobody = new_account()
        http.put(f"/data/projects/{session.project}/accessibility/private")
        for path in ("projects", "subjects", "experiments"):
            rows = nobody.get(f"/data/{path}", params={"format": "json"}).json()["ResultSet"]["Result"]
            assert session.project not in {row.get("project", row["ID"]) for row in rows}
        assert nobody.get(f"/data/projects/{session.project}").status_code == 404
        assert nobody.get(f"/data/projects/{session.project}/subjects").status_code in {403, 404}
        assert nobody.get(session.url).status_code == 404
        assert nobody.get(f"{session.url}/scans").status_code == 500  # as of a session that is not there
        search = nobody.get("/data/search/elements", params={"format": "json"}).json()["ResultSet"]["Result"]
        assert all(int(row["COUNT"]) == 0 or row["ELEMENT_NAME"] != "xnat:mrSessionData" for row in search)
