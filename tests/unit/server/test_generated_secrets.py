"""Passwords that the archive makes can be typed after --password: none begins with a dash."""

from xnatferry.server.archive import read_credential, running_archive
from xnatferry.testing import local_archive


def test_generated_passwords_are_letters_and_digits(tmp_path):
    with local_archive() as archive:
        passwords = [archive.password, *(archive.new_account(f"user{number}").password for number in range(20))]
    with running_archive(tmp_path / "root") as running:
        accounts = running.archive.accounts
        made = [running.password, read_credential(tmp_path / "root")[1], running.admin_password]
        key = accounts.create("anna", "anna-secret").key
        made += [accounts.tokens.issue(key).secret for _ in range(20)]
    assert all(secret.isascii() and secret.isalnum() for secret in passwords + made)
    assert len(set(passwords)) == 21
