import re
import threading

import argon2
import pytest

from xnatferry.errors import UsageError
from xnatferry.server.accounts import Accounts
from xnatferry.server.database import Database, archive_schema


class Clock:
    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "m.sqlite", archive_schema())
    yield database
    database.close()


@pytest.fixture
def accounts(database, clock):
    accounts = Accounts(database, login_minutes=15, clock=clock, wall_clock=clock)
    accounts.create("anna", "anna-secret", firstname="Anna", email="a@example.org")
    return accounts


def test_a_right_password_and_wrong_ones(accounts):
    account = accounts.verify("anna", "anna-secret")
    assert (account.login, account.firstname, account.admin, account.enabled) == ("anna", "Anna", False, True)
    assert accounts.verify("ANNA", "anna-secret") == account  # known by now, under any case
    for password in ("", "Anna-secret", "anna-secret ", "\ud800"):
        assert accounts.verify("anna", password) is None
    assert accounts.verify("nobody", "anna-secret") is None
    assert accounts.verify("", "") is None


def test_an_account_that_is_not_there_costs_as_much_to_refuse(accounts, database, monkeypatch):
    compared = []
    matches = accounts._matches
    monkeypatch.setattr(accounts, "_matches", lambda *given: compared.append(given[0]) or matches(*given))
    for login in ("anna", "nobody"):
        assert accounts.verify(login, "wrong") is None
    theirs, decoy = map(argon2.extract_parameters, compared)
    assert decoy == theirs


def test_no_password_is_on_the_disk(accounts, database):
    token = accounts.tokens.issue(accounts.verify("anna", "anna-secret").key)
    alias, secret = token.alias, token.secret
    everything = b"".join(path.read_bytes() for path in database.path.parent.iterdir())
    assert b"anna" in everything
    assert b"$argon2id$" in everything
    assert alias.encode() in everything
    assert secret.encode() not in everything
    assert b"secret\0" not in everything


@pytest.mark.parametrize(
    "login", ["", "guest", "GUEST", "a:b", "a/b", "a b", "-a", "é", "x" * 65, "6b8a1e0c-3f0e-4d0a-9d3e-0123456789ab"]
)
def test_names_that_cannot_be(accounts, login):
    with pytest.raises(UsageError, match="not a valid login name"):
        accounts.create(login, "password")


def test_a_name_is_given_once(accounts):
    with pytest.raises(UsageError, match="account 'Anna' already exists"):
        accounts.create("Anna", "other-secret")
    with pytest.raises(UsageError, match="too short"):
        accounts.create("bert", "")
    assert [account.login for account in accounts.everyone()] == ["anna"]


def test_guessing_is_slowed_down_and_the_owner_is_not(accounts, clock):
    for _ in range(4):
        assert accounts.verify("anna", "guess") is None
    assert accounts.verify("anna", "anna-secret")  # and the count begins anew
    accounts.create("bert", "password")
    for _ in range(5):
        assert accounts.verify("bert", "guess") is None
        assert accounts.verify("anna", "guess") is None
    assert accounts.verify("bert", "password") is None  # refused unseen for a second
    assert accounts.verify("anna", "anna-secret")  # was right before
    clock.now += 1.01
    assert accounts.verify("bert", "guess") is None
    clock.now += 1.01
    assert accounts.verify("bert", "password") is None  # two seconds now
    clock.now += 1.01
    assert accounts.verify("bert", "password")
    for _ in range(30):
        accounts.verify("bert", "guess")
        clock.now += 61
    assert accounts.verify("bert", "password")


def test_a_new_password_ends_what_the_old_one_opened(accounts):
    account = accounts.verify("anna", "anna-secret")
    cookie = accounts.open_login(account)
    token = accounts.tokens.issue(account.key)
    alias, secret = token.alias, token.secret
    accounts.set_password("anna", "new-secret")
    assert accounts.verify("anna", "anna-secret") is None
    assert accounts.account_of_login(cookie) is None
    assert accounts.account_of_token(alias, secret) is None
    assert accounts.verify("anna", "new-secret") == account


def test_a_disabled_account_is_out_everywhere(accounts):
    account = accounts.verify("anna", "anna-secret")
    cookie = accounts.open_login(account)
    token = accounts.tokens.issue(account.key)
    alias, secret = token.alias, token.secret
    accounts.disable("anna")
    assert accounts.verify("anna", "anna-secret") is None
    assert accounts.account_of_login(cookie) is None
    assert accounts.account_of_token(alias, secret) is None
    assert not accounts.find("anna").enabled
    accounts.disable("anna", disabled=False)
    assert accounts.verify("anna", "anna-secret")
    with pytest.raises(UsageError, match="account 'nobody' not found"):
        accounts.disable("nobody")


def test_a_login_lasts_while_it_is_used(accounts, clock):
    account = accounts.verify("anna", "anna-secret")
    cookie = accounts.open_login(account)
    assert re.fullmatch("[0-9A-F]{32}", cookie)
    for _ in range(5):
        clock.now += 14 * 60
        assert accounts.account_of_login(cookie) == account
    clock.now += 15 * 60
    assert accounts.account_of_login(cookie) is None
    assert accounts.account_of_login(cookie) is None
    assert accounts.account_of_login("") is None


def test_a_login_ends(accounts):
    account = accounts.verify("anna", "anna-secret")
    first, second = accounts.open_login(account), accounts.open_login(account)
    accounts.close_login(first)
    accounts.close_login(first)
    assert accounts.account_of_login(first) is None
    assert accounts.account_of_login(second) == account


def test_the_oldest_of_too_many_logins_ends(accounts):
    account = accounts.verify("anna", "anna-secret")
    bert = accounts.open_login(accounts.create("bert", "password"))
    cookies = [accounts.open_login(account) for _ in range(1001)]
    assert accounts.account_of_login(cookies[0]) is None
    assert accounts.account_of_login(cookies[1]) == account
    assert accounts.account_of_login(bert).login == "bert"


def test_tokens(accounts, clock):
    account = accounts.verify("anna", "anna-secret")
    token = accounts.tokens.issue(account.key)
    alias, secret = token.alias, token.secret
    assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", alias)
    assert accounts.account_of_token(alias, secret) == account
    assert accounts.account_of_token(alias.upper(), secret) == account
    assert accounts.account_of_token(alias, secret + "x") is None
    assert accounts.account_of_token(alias, "") is None
    assert accounts.account_of_token("unknown", "") is None
    other = accounts.tokens.issue(account.key)
    assert accounts.account_of_token(alias, other.secret) is None
    assert [one.alias for one in accounts.tokens.of(account.key)] == [alias, other.alias]
    assert accounts.tokens.find(str(other.number)).alias == other.alias
    accounts.tokens.revoke(other.alias)
    accounts.tokens.revoke(other.alias)
    assert accounts.account_of_token(other.alias, other.secret) is None
    clock.now += 2 * 86_400
    assert accounts.account_of_token(alias, secret) is None


def test_tokens_and_accounts_outlive_a_restart_and_logins_do_not(accounts, database):
    account = accounts.verify("anna", "anna-secret")
    cookie = accounts.open_login(account)
    token = accounts.tokens.issue(account.key)
    alias, secret = token.alias, token.secret
    again = Accounts(database, clock=Clock(), wall_clock=Clock())
    assert again.verify("anna", "anna-secret") == account
    assert again.account_of_token(alias, secret) == account
    assert again.account_of_login(cookie) is None


def test_many_threads(accounts):
    found = []

    def work():
        for _ in range(20):
            account = accounts.verify("anna", "anna-secret")
            cookie = accounts.open_login(account)
            found.append(accounts.account_of_login(cookie))
            accounts.close_login(cookie)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [account.login for account in found] == ["anna"] * 80


def test_a_burst_of_guesses_is_counted(accounts, clock):
    """However many come at once, five are looked at; the right one among them gains nothing."""
    compared = []
    matches = accounts._matches
    accounts._matches = lambda *given: compared.append(given) or matches(*given)
    threads = [threading.Thread(target=accounts.verify, args=("anna", f"wrong {number}")) for number in range(40)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(compared) == 5
    assert accounts.verify("anna", "anna-secret") is None
    clock.now += 1.1
    assert accounts.verify("anna", "anna-secret") is not None


def test_many_at_once_with_the_right_password_all_get_in(accounts):
    found = []
    threads = [threading.Thread(target=lambda: found.append(accounts.verify("anna", "anna-secret"))) for _ in range(40)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert None not in found


def test_failures_of_other_names_push_none_of_an_account_out(accounts, clock, monkeypatch):
    monkeypatch.setattr(accounts, "_matches", lambda *given: False)
    for _ in range(5):
        accounts.verify("anna", "wrong")
    for number in range(1100):
        accounts.verify(f"nobody{number}", "wrong")
    monkeypatch.undo()
    assert accounts.verify("anna", "anna-secret") is None


def test_many_failures_make_no_delay_longer_than_a_minute(accounts, clock, monkeypatch):
    for _ in range(1100):
        accounts._failures["anna"] = accounts._failed_again(accounts._failures, "anna")
    assert accounts.verify("anna", "anna-secret") is None
    clock.now += 60.1
    assert accounts.verify("anna", "anna-secret") is not None


def test_nothing_depends_on_the_time_of_day(database):
    """The clock of a computer may be set back: delays and logins go on."""
    clock, day = Clock(), Clock()
    accounts = Accounts(database, login_minutes=15, clock=clock, wall_clock=day)
    accounts.create("anna", "anna-secret")
    for _ in range(5):
        accounts.verify("anna", "wrong")
    day.now -= 86_400
    clock.now += 2
    account = accounts.verify("anna", "anna-secret")
    cookie = accounts.open_login(account)
    day.now += 30 * 86_400
    assert accounts.account_of_login(cookie) == account
    clock.now += 16 * 60
    assert accounts.account_of_login(cookie) is None


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_a_login_ends_with_the_token_that_opened_it(accounts, clock, end):
    account = accounts.find("anna")
    token, other = accounts.tokens.issue(account.key), accounts.open_login(account)
    cookie = accounts.open_login(accounts.account_of_token(token.alias, token.secret))
    assert accounts.account_of_login(cookie) == account
    if end == "revoked":
        accounts.tokens.revoke(token.alias)
    else:
        accounts.tokens._clock = lambda: clock.now + 2 * 86_400 + 1
    assert accounts.account_of_login(cookie) is None
    assert accounts.account_of_login(other) == account
    assert accounts.verify("anna", "anna-secret") == account


@pytest.mark.parametrize("password", ["", "short", "7 chars"])
def test_short_passwords_are_refused(accounts, password):
    with pytest.raises(UsageError, match="at least 8 characters"):
        accounts.create("bert", password)
    with pytest.raises(UsageError, match="at least 8 characters"):
        accounts.set_password("anna", password)
    assert accounts.verify("anna", "anna-secret") is not None
