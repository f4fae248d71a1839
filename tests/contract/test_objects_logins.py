"""Logins: cookies, Basic, tokens, guests, and what a stranger is told."""

import re

import httpx2
import pytest


def client(server, **options):
    return httpx2.Client(base_url=server.url, timeout=60, **options)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_jsession_gives_a_cookie_that_stands_for_the_account(server, method):
    with client(server) as one:
        answer = one.request(method, "/data/JSESSION", auth=(server.user, server.password))
        assert answer.status_code == 200
        assert re.fullmatch("[0-9A-F]{32}", answer.text)
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.cookies["JSESSIONID"] == answer.text
        assert one.get("/data/auth").text == f"User '{server.user}' is logged in"
        assert one.get("/data/JSESSION").text == answer.text


def test_the_expiry_cookie_is_quoted_as_xnatpy_wants_it(http):
    cookies = http.get("/data/auth").headers.get_list("set-cookie")
    assert any(re.match(r'SESSION_EXPIRATION_TIME="\d+,\d+"', one) for one in cookies)


def test_a_login_ends_and_stays_ended(server):
    with client(server) as one:
        cookie = one.post("/data/JSESSION", auth=(server.user, server.password)).text
        assert one.delete("/data/JSESSION").status_code == 200
        answer = httpx2.get(f"{server.url}/data/projects", headers={"Cookie": f"JSESSIONID={cookie}"})
        assert answer.status_code == 401


def test_services_auth_logs_in_with_a_form(server):
    with client(server) as one:
        answer = one.put("/data/services/auth", data={"username": server.user, "password": server.password})
        assert answer.status_code == 200
        assert one.cookies["JSESSIONID"] == answer.text
        assert one.get("/data/projects").status_code == 200


def test_services_auth_refuses_in_h3(server):
    answer = httpx2.put(f"{server.url}/data/services/auth", data={"username": server.user, "password": "wrong"})
    assert answer.status_code == 401
    assert "<h3>Authentication failed.</h3>" in answer.text


@pytest.mark.parametrize("path", ["/data/projects", "/data/auth", "/xapi/siteConfig", "/data/nonsense", "/nonsense"])
def test_a_stranger_is_told_to_log_in(stranger, path):
    answer = stranger.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic realm=")


def test_a_wrong_password_is_401_and_writes_nothing(server, http, new_id):
    name = new_id()
    answer = httpx2.put(f"{server.url}/data/projects/{name}", auth=(server.user, "wrong"))
    assert answer.status_code == 401
    assert http.get(f"/data/projects/{name}").status_code == 404


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic YWRtaW4=", "Bearer x", "Basic OjpA"])
def test_a_broken_authorization_header_is_401(stranger, header):
    assert stranger.get("/data/projects", headers={"Authorization": header}).status_code == 401


def test_basic_of_another_user_wins_over_the_cookie(server, http, new_account):
    other = new_account()
    cookie = http.post("/data/JSESSION").text
    assert (
        other.get("/data/auth", headers={"Cookie": f"JSESSIONID={cookie}"}).text == f"User '{other.login}' is logged in"
    )


def test_a_token_stands_for_name_and_password_until_it_is_invalidated(server, http):
    token = http.get("/data/services/tokens/issue").json()
    auth = (token["alias"], token["secret"])
    assert httpx2.get(f"{server.url}/data/auth", auth=auth).text == f"User '{server.user}' is logged in"
    valid = http.get(f"/data/services/tokens/validate/{token['alias']}/{token['secret']}").json()
    assert valid == {"valid": server.user}
    assert http.get(f"/data/services/tokens/invalidate/{token['alias']}").json() == {"result": "OK"}
    assert httpx2.get(f"{server.url}/data/auth", auth=auth).status_code == 401


def test_the_front_page_answers_everybody_without_redirect(server, stranger):
    assert stranger.get("/").status_code == stranger.head("/").status_code == 200
    assert "JSESSIONID" in httpx2.get(server.url, auth=(server.user, server.password)).cookies


def test_version_is_asked_as_clients_of_1_8_do(http):
    assert http.get("/data/version").status_code == 404
    assert http.get("/xapi/siteConfig/buildInfo").json()["version"].startswith("1.8")
    assert http.get("/xapi/siteConfig/buildInfo/version").text.startswith("1.8")


def test_users_and_who_one_is(http, server):
    assert http.get("/xapi/users/username").text == http.get("/data/user").text == server.user
    rows = http.get("/data/users", params={"format": "json"}).json()["ResultSet"]["Result"]
    assert server.user in {row["login"] for row in rows}
    assert http.get(f"/xapi/users/{server.user}").json()["username"] == server.user
    assert http.get("/xapi/users/nobody").status_code == 500  # recorded


@pytest.mark.parametrize("name", ["xnat", "xdat"])
def test_every_listed_schema_can_be_read(http, name):
    assert name in http.get("/xapi/schemas").json()
    answer = http.get(f"/xapi/schemas/{name}")
    assert answer.status_code == 200
    assert b"http://www.w3.org/2001/XMLSchema" in answer.content


@pytest.mark.parametrize(
    ("origin", "status"), [("http://elsewhere.example", 403), ("null", 403), ("https://127.0.0.1:1", 403), (None, 200)]
)
def test_pages_of_other_sites_change_nothing(http, server, project, origin, status):
    origin = origin or server.url
    url = f"/data/projects/{project}"
    assert http.put(url, params={"description": "x"}, headers={"Origin": origin}).status_code == status
    assert http.get(url, headers={"Origin": origin}).status_code == 200


class TestGuest:
    @pytest.fixture
    def open_site(self, tmp_path_factory):
        from xnatferry.server.archive import running_archive
        from xnatferry.server.settings import ServerSettings

        root = tmp_path_factory.mktemp("open")
        settings = ServerSettings(root=root, require_login=False)
        with running_archive(root, admin_password="admin-secret", settings=settings) as running:
            yield running

    def test_sees_public_projects_and_writes_nothing(self, open_site):
        admin = {"auth": ("admin", "admin-secret")}
        for level in ("public", "protected", "private"):
            url = f"{open_site.url}/data/projects/{level}"
            assert httpx2.put(url, params={"accessibility": level}, **admin).status_code == 200
            httpx2.put(f"{url}/subjects/S1", **admin)
        rows = httpx2.get(f"{open_site.url}/data/projects", params={"format": "json"}).json()["ResultSet"]["Result"]
        assert [row["ID"] for row in rows] == ["public"]
        assert httpx2.get(f"{open_site.url}/data/projects/public/subjects/S1").status_code == 200
        assert httpx2.get(f"{open_site.url}/data/projects/protected").status_code == 200
        assert httpx2.get(f"{open_site.url}/data/projects/protected/subjects/S1").status_code == 404
        assert httpx2.get(f"{open_site.url}/data/projects/private").status_code == 404
        for path in ("public/subjects/S2", "new"):
            assert httpx2.put(f"{open_site.url}/data/projects/{path}").status_code == 403
        assert httpx2.delete(f"{open_site.url}/data/projects/public").status_code == 403
        assert httpx2.get(f"{open_site.url}/data/JSESSION").status_code == 200


def test_lists_of_users(http, new_account, server):
    other = new_account(firstname="Ann")
    names = http.get("/xapi/users").json()
    assert {server.user, other.login} <= set(names)
    assert other.get("/xapi/users").json() == names
    profiles = {one["username"]: one for one in http.get("/xapi/users/profiles").json()}
    assert profiles[other.login]["firstName"] == "Ann"
    assert profiles[other.login] == http.get(f"/xapi/users/{other.login}").json()
    assert other.get("/xapi/users/profiles").json() == http.get("/xapi/users/profiles").json()
    assert http.get(f"/xapi/users/profile/{other.login}").json() == profiles[other.login]
    assert http.get("/xapi/users/profile").json()["username"] == server.user
    assert http.get("/xapi/users/profile/nobody").status_code == 404
    assert [http.get(f"/xapi/users/{one}/roles").json() for one in (server.user, other.login)] == [
        ["Administrator"],
        [],
    ]


def test_groups_follow_roles(http, new_account, project):
    other = new_account()
    assert http.get(f"/xapi/users/{other.login}/groups").json() == []
    http.put(f"/data/projects/{project}/users/member/{other.login}")
    assert other.get(f"/xapi/users/{other.login}/groups").json() == [f"{project}_member"]
    (row,) = other.get("/xapi/access/projects").json()
    assert (row["ID"], row["role"], row["URI"]) == (project, "Members", f"/data/projects/{project}")


def test_types_that_one_may_make(http, new_account):
    names = {one["elementName"] for one in http.get("/xapi/access/displays/createable").json()}
    assert {"xnat:subjectData", "xnat:mrSessionData", "xnat:petmrSessionData"} <= names
    assert http.get("/xapi/access/displays/nonsense").status_code == 400
    assert "createable" in http.get("/xapi/access/displays").json()
    searchable = new_account().get("/xapi/schemas/datatypes/searchable").json()
    assert "xnat:mrSessionData" in searchable
    assert "xnat:subjectData" not in searchable


def test_settings_of_the_site_by_name(http, stranger, new_account):
    site = http.get("/xapi/siteConfig").json()
    assert stranger.get("/xapi/siteConfig/siteId").text == site["siteId"]
    assert http.get("/xapi/siteConfig/requireLogin").json() is True
    assert "archivePath" in site
    assert "archivePath" not in new_account().get("/xapi/siteConfig").json()
    assert new_account().get("/xapi/siteConfig/archivePath").status_code == 404
    assert float(http.get("/xapi/siteConfig/uptime").json()["seconds"]) >= 0


def test_tokens_of_others(http, new_account):
    ann, bob = new_account(), new_account()
    token = ann.get("/data/services/tokens/issue").json()
    url = "/data/services/tokens"
    assert bob.get(f"{url}/validate/{token['alias']}/{token['secret']}").status_code == 403
    assert bob.get(f"{url}/invalidate/{token['alias']}").status_code == 403
    assert bob.get(f"{url}/issue/user/{ann.login}").status_code == 403
    assert bob.get(f"{url}/show").json() == []
    (shown,) = ann.get(f"{url}/show").json()
    assert shown == {name: value for name, value in token.items() if name != "secret"}
    assert http.get(f"{url}/validate/{token['alias']}/wrong").json() == {}
    assert http.get(f"{url}/validate/{token['id']}/{token['secret']}").json() == {"valid": ann.login}
    assert http.get(f"{url}/issue/user/{ann.login}").json()["xdatUserId"] == ann.login
    assert http.get(f"{url}/issue/user/nobody").status_code == 400
    assert ann.get(f"{url}/invalidate/{token['alias']}").json() == {"result": "OK"}
    assert ann.get(f"{url}/validate/{token['alias']}/{token['secret']}").status_code == 404
