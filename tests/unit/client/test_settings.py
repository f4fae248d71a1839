import copy
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.client.settings import Connection, Secret, normal_url, resolve_connection
from xnatferry.errors import AuthenticationError, UsageError


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("https://xnat.example.org", "https://xnat.example.org"),
        ("https://xnat.example.org/", "https://xnat.example.org"),
        ("xnat.example.org", "https://xnat.example.org"),
        ("  XNAT.Example.ORG  ", "https://xnat.example.org"),
        ("xnat.example.org/xnat/", "https://xnat.example.org/xnat"),
        ("localhost:8080", "http://localhost:8080"),
        ("127.0.0.1:8080/xnat", "http://127.0.0.1:8080/xnat"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("http://xnat.example.org:80", "http://xnat.example.org"),
        ("https://xnat.example.org:443/", "https://xnat.example.org"),
        ("https://xnat.example.org:8443", "https://xnat.example.org:8443"),
        ("https://h.org/app/template/Index.vm?x=1#top", "https://h.org"),
        ("https://h.org/xnat/app/action/DisplayItemAction/search_value/P", "https://h.org/xnat"),
        ("https://h.org/data/projects/P?format=html", "https://h.org"),
        ("https://h.org/xnat/REST/projects", "https://h.org/xnat"),
        ("https://h.org//xnat//", "https://h.org/xnat"),
    ],
)
def test_an_address_becomes_the_address_of_the_site(typed, url):
    assert normal_url(typed) == url
    assert normal_url(url) == url


@pytest.mark.parametrize(
    "typed", ["", "ftp://h.org", "https://", "http://h:99999", "my server", "https://[::1", "/data"]
)
def test_what_is_no_address_is_refused(typed):
    with pytest.raises(UsageError, match="address"):
        normal_url(typed)


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(UsageError) as caught:
        normal_url("https://me:hunter2@h.org/xnat")
    assert "hunter2" not in str(caught.value)
    assert "https://h.org/xnat" in str(caught.value)


@given(st.text(max_size=40))
def test_an_address_is_normal_after_one_pass_or_refused(text):
    try:
        url = normal_url(text)
    except UsageError:
        return
    assert normal_url(url) == url
    assert url.startswith(("http://", "https://"))
    assert not url.endswith("/")


def files(tmp_path, *, config=None, netrc=None):
    found = {}
    if config is not None:
        found["config"] = tmp_path / "xnat.json"
        found["config"].write_text(config if isinstance(config, str) else json.dumps(config))
    if netrc is not None:
        found["netrc"] = tmp_path / "netrc"
        found["netrc"].write_text(netrc)
    return found


CONFIG = {"server": "https://config.org", "user": "carl", "password": "pw-config"}
ENVIRONMENT = {"XNAT_HOST": "https://env.org", "XNAT_USER": "eve", "XNAT_PASS": "pw-env"}
NETRC = "machine netrc.org login nora password pw-netrc\nmachine env.org login ned password pw-ned\n"


def test_options_come_first(tmp_path):
    found = resolve_connection(
        server="option.org",
        user="olga",
        password="pw-option",
        environment=ENVIRONMENT,
        **files(tmp_path, config=CONFIG),
    )
    assert found == Connection("https://option.org", "olga", Secret("pw-option"), source="from the options")


def test_the_environment_comes_before_the_config_file(tmp_path):
    found = resolve_connection(environment=ENVIRONMENT, **files(tmp_path, config=CONFIG, netrc=NETRC))
    assert (found.url, found.user, found.password.reveal()) == ("https://env.org", "eve", "pw-env")
    assert "XNAT_PASS" in found.source


def test_the_config_file_of_pyxnat(tmp_path):
    given = files(tmp_path, config={**CONFIG, "verify": False, "proxy": "http://proxy:3128"}, netrc=NETRC)
    found = resolve_connection(environment={}, **given)
    assert (found.url, found.user, found.password.reveal()) == ("https://config.org", "carl", "pw-config")
    assert found.verify_tls is False
    assert found.source == f"from --config {given['config']}"
    assert any("certificate" in warning for warning in found.warnings)


def test_netrc_is_asked_for_the_named_host_only(tmp_path):
    found = resolve_connection(server="https://netrc.org/xnat", environment={}, **files(tmp_path, netrc=NETRC))
    assert (found.url, found.user, found.password.reveal()) == ("https://netrc.org/xnat", "nora", "pw-netrc")
    with pytest.raises(AuthenticationError, match="no user"):
        resolve_connection(server="https://other.org", environment={}, **files(tmp_path, netrc=NETRC))


def test_netrc_knows_hosts_with_a_port(tmp_path):
    netrc = "machine h.org login a password pw-a\nmachine h.org:8443 login b password pw-b\n"
    assert resolve_connection(server="https://h.org:8443", **files(tmp_path, netrc=netrc)).user == "b"
    assert resolve_connection(server="https://h.org", **files(tmp_path, netrc=netrc)).user == "a"


def test_a_host_of_the_environment_finds_its_password_in_netrc(tmp_path):
    found = resolve_connection(environment={"XNAT_HOST": "env.org"}, **files(tmp_path, netrc=NETRC))
    assert (found.user, found.password.reveal()) == ("ned", "pw-ned")


def test_credentials_never_go_to_another_server(tmp_path):
    """--server X must not send the password that the environment holds for Y."""
    with pytest.raises(AuthenticationError):
        resolve_connection(server="https://x.org", environment=ENVIRONMENT, **files(tmp_path, config=CONFIG))


def test_a_password_of_another_user_is_not_taken(tmp_path):
    with pytest.raises(AuthenticationError, match="no password for user olga"):
        resolve_connection(
            server="https://env.org", user="olga", environment=ENVIRONMENT, **files(tmp_path, netrc=NETRC)
        )


def test_user_and_password_without_a_host_belong_to_the_named_server():
    found = resolve_connection(server="h.org", environment={"XNAT_USER": "eve", "XNAT_PASS": "pw"})
    assert (found.user, found.password.reveal()) == ("eve", "pw")


def test_no_server_anywhere_is_no_connection(tmp_path):
    assert resolve_connection(environment={}) is None
    assert resolve_connection(environment={"XNAT_USER": "eve"}, **files(tmp_path, netrc=NETRC)) is None
    assert resolve_connection(environment={}, netrc=tmp_path / "missing") is None


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"server": 3}', '{"password": "hunter2", "server":'])
def test_a_broken_config_file_is_named_and_not_quoted(tmp_path, text):
    given = files(tmp_path, config=text)
    with pytest.raises(UsageError, match=r"xnat\.json") as caught:
        resolve_connection(**given)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_missing_config_and_broken_netrc_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere.json: file not found"):
        resolve_connection(config=tmp_path / "nowhere.json")
    with pytest.raises(UsageError, match="netrc, line 1") as caught:
        resolve_connection(server="h.org", **files(tmp_path, netrc="macine h.org hunter2"))
    assert "hunter2" not in str(caught.value)


def test_http_to_another_computer_is_warned_of():
    def warnings(url):
        return Connection(url, "u", Secret("p")).warnings

    assert "not encrypted" in warnings("http://xnat.example.org")[0]
    assert warnings("http://localhost:8080") == warnings("http://127.0.0.1") == warnings("http://[::1]:1") == ()
    assert warnings("https://xnat.example.org") == ()


def test_a_secret_shows_itself_only_when_asked():
    secret = Secret("hunter2")
    connection = Connection("https://h.org", "me", secret)
    for shown in (repr(secret), str(secret), f"{secret}", repr(connection), repr([connection]), f"{secret!r:>20}"):
        assert "hunter2" not in shown
    assert secret.reveal() == "hunter2"
    assert secret == Secret("hunter2") != Secret("other")
    assert len({secret, Secret("hunter2")}) == 1
    for copied in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError):
            copied(secret)
