"""Profiles: log in once, work, log out; and the order in which credentials are looked for."""

import json
import os
import pty
import subprocess
import sys
import tomllib

import httpx2
import pytest

PASSWORD = "admin-pw"


@pytest.fixture
def login(ferry, archive):
    def run(*more, stdin=PASSWORD + "\n", env=None):
        return ferry("login", "-s", archive.url, "-u", "admin", "--password-stdin", *more, stdin=stdin, env=env)

    return run


def secrets_of(ferry) -> dict:
    return json.loads((ferry.home / "config" / "credentials.json").read_text())


def test_login_whoami_push_logout(ferry, archive, images, login):
    done = login()
    assert done.code == 0, done.text
    assert f"Logged in to {archive.url}" in done.out
    assert "no working keyring" in done.err  # and says where the secret is instead
    assert tomllib.loads((ferry.home / "config" / "config.toml").read_text()) == {
        "profiles": {"default": {"server": archive.url, "user": "admin"}}
    }

    assert "of profile default" in ferry("whoami").out
    pushed = ferry("push", images, "-p", "P", "--yes")
    assert pushed.code == 0, pushed.text
    assert not (ferry.home / "archive").exists(), "a profile is asked before the local archive"
    assert '"user": "admin"' in next((ferry.home / "state").rglob("run.json")).read_text()

    (held,) = secrets_of(ferry).values()
    assert held["token"]
    alias = (held["login"], held["password"])
    assert httpx2.get(f"{archive.url}/data/auth", auth=alias).status_code == 200
    gone = ferry("logout", "--json")
    assert gone.record("logout")["withdrawn"] is True
    assert httpx2.get(f"{archive.url}/data/auth", auth=alias).status_code == 401
    assert ferry("logout").code == 2
    assert secrets_of(ferry) == {}


KEEPING = """
import pathlib, sys
from xnatferry.cli.profiles import Profiles, SavedProfile
from xnatferry.client.settings import Secret
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
for number in range(15):
    Profiles(folder).keep(SavedProfile(f"{name}{number}", "https://x.org", "me"), "me", Secret("pw"), token=False)
"""


def test_who_logs_in_at_the_same_time_loses_nothing(ferry):
    folder = ferry.home / "config"
    keeping = [
        subprocess.Popen([sys.executable, "-c", KEEPING, folder, name], env=ferry.environment)
        for name in ("a", "b", "c")
    ]
    assert [process.wait() for process in keeping] == [0, 0, 0]
    wanted = {f"{name}{number}" for name in "abc" for number in range(15)}
    assert set(tomllib.loads((folder / "config.toml").read_text())["profiles"]) == wanted
    assert {key.partition("@")[0] for key in secrets_of(ferry)} == wanted


def test_the_password_is_nowhere_when_the_server_gives_tokens(ferry, login):
    done = login()
    for path in (ferry.home / "config").iterdir():
        assert PASSWORD not in path.read_text()
        assert path.stat().st_mode & 0o077 == 0, f"{path} can be read by others"
    assert PASSWORD not in done.text


def test_the_secret_goes_into_a_keyring_where_there_is_one(ferry, archive, login):
    pytest.importorskip("keyrings.alt")
    env = {"PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring"}
    done = login(env=env)
    assert "Alias token stored in the keyring (" in done.err
    assert not (ferry.home / "config" / "credentials.json").exists()
    assert ferry("whoami", env=env).code == 0
    lost = ferry("whoami")  # the keyring does not answer now
    assert lost.code == 3
    assert "run: xnatferry login --profile default" in lost.err
    assert ferry("logout", env=env).code == 0
    assert ferry("login", "--profile", "x", env=env).code == 2


def test_a_keyring_that_keeps_nothing_is_not_trusted(ferry, login):
    env = {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
    assert "(mode 600; no working keyring" in login(env=env).err
    assert ferry("whoami", env=env).code == 0


def test_a_wrong_password_stores_nothing(ferry, login):
    done = login(stdin="wrong\n")
    assert done.code == 3
    assert "wrong user name or password (user admin" in done.err
    assert not (ferry.home / "config").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("login",), "Server".lower()),
        (("login", "-s", "http://127.0.0.1:9", "-u", "me"), "--password-stdin"),
        (("login", "--profile", "a b"), "is not a profile name"),
        (("login", "-s", "http://127.0.0.1:9", "-u", "a:b", "--password-stdin"), "colon"),
        (("login", "-s", "http://127.0.0.1:9", "-u", "me", "--password-stdin"), "password is empty"),
        (("logout", "--profile", "lab"), "profile 'lab' does not exist"),
        (("whoami", "--profile", "lab"), "run: xnatferry login --profile lab"),
        (("whoami", "--ca", "a.pem", "--insecure", "-s", "http://127.0.0.1:9"), "cannot be used together"),
    ],
)
def test_what_cannot_be_used_is_said(ferry, arguments, words):
    done = ferry(*arguments)
    assert done.code == 2, done.text
    assert words in done.err


def test_profiles_by_name_by_server_and_beside_a_persons_own_lines(ferry, archive, login):
    config = ferry.home / "config" / "config.toml"
    config.parent.mkdir()
    config.write_text('# mine\n[profiles.other]\nserver = "https://other.example.org" # far\nuser = "x"\n')
    assert login("--profile", "lab").code == 0
    assert config.read_text().startswith('# mine\n[profiles.other]\nserver = "https://other.example.org" # far\n')
    assert "of profile lab" in ferry("whoami", "--profile", "lab").out
    assert "of profile lab" in ferry("whoami", "-s", archive.url).out  # its server alone leads to it
    assert "of the local archive" in ferry("whoami").out  # only the default profile names a server by itself
    assert ferry("logout", "--profile", "lab").code == 0
    assert "# mine" in config.read_text()
    assert "lab" not in config.read_text()


def test_the_order_of_sources(ferry, archive, login, tmp_path):
    """Each source is added before the one that beats it; all lead to the same server with other accounts."""
    for number, name in enumerate(("net", "pro", "con", "env", "opt")):
        archive.archive.accounts.create(name, f"pw-{number}-{name}", admin=True)
    host = archive.url.removeprefix("http://")
    netrc = ferry.home / ".netrc"
    netrc.write_text(f"machine {host.partition(':')[0]} login net password pw-0-net\n")
    assert "of the local archive" in ferry("whoami").out
    assert ferry("whoami", "-s", archive.url, "--json").record("whoami")["user"] == "net"
    done = ferry("login", "-s", archive.url, "-u", "pro", "--password-stdin", stdin="pw-1-pro\n")
    assert done.code == 0
    assert ferry("whoami", "--json").record("whoami")["user"] == "pro"
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"server": archive.url, "user": "con", "password": "pw-2-con"}))
    said = ("--config", config, "--json")
    assert ferry("whoami", *said).record("whoami")["user"] == "con"
    env = {"XNAT_HOST": archive.url, "XNAT_USER": "env", "XNAT_PASS": "pw-3-env"}
    assert ferry("whoami", *said, env=env).record("whoami")["user"] == "env"
    options = ("-s", archive.url, "-u", "opt", "--password", "pw-4-opt")
    assert ferry("whoami", *options, *said, env=env).record("whoami")["user"] == "opt"
    assert ferry("whoami", "-u", "pro", "--json").record("whoami")["credentials"] == "of profile default"


def test_a_profile_and_another_server_are_not_mixed(ferry, login):
    assert login("--profile", "lab").code == 0
    done = ferry(
        "whoami", "--profile", "lab", env={"XNAT_HOST": "https://other.example.org", "XNAT_USER": "a", "XNAT_PASS": "b"}
    )
    assert done.code == 2
    assert "names https://other.example.org" in done.err


def test_an_expired_token_says_how_to_go_on(ferry, archive, login):
    login("--profile", "lab")
    (held,) = secrets_of(ferry).values()
    archive.archive.accounts.tokens.revoke(held["login"])
    done = ferry("whoami", "--profile", "lab")
    assert done.code == 3
    assert "run: xnatferry login --profile lab" in done.err
    assert held["login"] not in done.text
    assert login("--profile", "lab").code == 0
    assert ferry("whoami", "--profile", "lab").code == 0


def test_a_token_is_renewed_while_it_is_used(ferry, archive, login):
    login()
    file = ferry.home / "config" / "credentials.json"
    ((key, held),) = secrets_of(ferry).items()
    assert ferry("whoami").code == 0
    assert secrets_of(ferry)[key] == held, "a young token stays"
    file.write_text(json.dumps({key: held | {"taken": "2020-01-01T00:00:00+00:00"}}))
    assert ferry("whoami").code == 0
    fresh = secrets_of(ferry)[key]
    assert fresh["login"] != held["login"]
    assert archive.archive.accounts.account_of_token(fresh["login"], fresh["password"])
    assert archive.archive.accounts.account_of_token(held["login"], held["password"]), "another run may be using it"


def test_secrets_that_others_can_read_are_refused(ferry, login):
    login()
    file = ferry.home / "config" / "credentials.json"
    file.chmod(0o644)
    done = ferry("whoami")
    assert done.code == 2
    assert f"chmod 600 {file}" in done.err


def test_a_server_that_is_gone_can_be_forgotten(ferry, login, archive):
    config = ferry.home / "config"
    login()
    for name in ("config.toml", "credentials.json"):
        path = config / name
        path.write_text(path.read_text().replace(archive.url, "http://127.0.0.1:9"))
    done = ferry("logout")
    assert done.code == 0
    assert "could not be invalidated" in done.err
    assert secrets_of(ferry) == {}


def test_a_person_at_a_terminal_is_asked(ferry, archive):
    leader, follower = pty.openpty()
    running = subprocess.Popen(
        ferry.command("login"),
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=ferry.environment | {"TERM": "dumb"},
        start_new_session=True,
    )
    os.close(follower)
    shown = ""
    for prompt, answer in (("Server: ", archive.url), ("User at", "admin"), ("Password of admin: ", PASSWORD)):
        while prompt not in shown or not shown.rstrip("\n").endswith(": "):
            shown += os.read(leader, 1000).decode()
        os.write(leader, f"{answer}\n".encode())
        asked, shown = shown, ""
        assert prompt in asked
    while True:
        try:
            shown += os.read(leader, 1000).decode()
        except OSError:  # the other end is closed
            break
    os.close(leader)
    assert running.wait(500) == 0, shown
    assert PASSWORD not in shown
    assert ferry("whoami", "--json").record("whoami")["server"] == archive.url
