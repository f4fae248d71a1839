"""Opening an archive: first and later starts, its credential, one holder, and what a killed process left."""

import json
import socket
import stat
import subprocess
import sys

import httpx2
import pytest

from xnatferry.errors import ArchiveError
from xnatferry.server import item_editing, objects
from xnatferry.server.archive import Archive, read_credential, running_archive
from xnatferry.server.objects import Item, Level
from xnatferry.server.request_scope import Refusal
from xnatferry.server.settings import ServerSettings


@pytest.fixture
def opened(tmp_path):
    """Opens the archive of one folder, again and again; the one before is closed."""
    archives = []

    def opened(**options):
        for one in archives:
            one.close()
        archives[:] = [Archive(ServerSettings(root=tmp_path / "root"), **options)]
        return archives[0]

    yield opened
    for one in archives:
        one.close()


def put(archive, level, label, parent=None, folder=None):
    with archive.database.write() as connection:
        project = parent.project if parent else label
        item = Item(
            0,
            level,
            project,
            f"{label}_ID",
            label,
            "xnat:mrSessionData",
            parent.key if parent else None,
            folder or label,
        )
        return item_editing.insert_item(connection, item, "admin")


class TestFirstStart:
    def test_makes_an_administrator_with_the_given_password(self, opened):
        archive = opened(admin_password="given-secret")
        assert archive.first_password == "given-secret"
        assert archive.accounts.verify("admin", "given-secret").admin

    def test_makes_a_random_password_that_is_told_once(self, opened):
        password = opened().first_password
        assert len(password) >= 16
        again = opened()
        assert again.first_password is None
        assert again.accounts.verify("admin", password)

    def test_a_later_password_changes_nothing(self, opened):
        opened(admin_password="first-secret")
        archive = opened(admin_password="other-secret")
        assert archive.first_password is None
        assert archive.accounts.verify("admin", "other-secret") is None

    def test_gives_the_command_line_an_account_of_its_own(self, opened, tmp_path):
        archive = opened()
        user, password = read_credential(tmp_path / "root")
        assert user == "ferry"
        assert archive.accounts.verify(user, password).admin
        assert stat.S_IMODE((tmp_path / "root" / "cli-credential.json").stat().st_mode) == 0o600
        opened()
        assert read_credential(tmp_path / "root") == (user, password)

    def test_a_lost_credential_is_made_anew(self, opened, tmp_path):
        opened()
        _, old = read_credential(tmp_path / "root")
        (tmp_path / "root" / "cli-credential.json").unlink()
        archive = opened()
        user, new = read_credential(tmp_path / "root")
        assert archive.accounts.verify(user, new)
        assert archive.accounts.verify(user, old) is None

    @pytest.mark.parametrize("text", ["", "{}", "[]", "no json"])
    def test_a_broken_credential_is_named(self, tmp_path, text):
        (tmp_path / "cli-credential.json").write_text(text)
        with pytest.raises(ArchiveError, match=r"cli-credential\.json cannot be read"):
            read_credential(tmp_path)

    def test_nothing_in_the_root_is_open_to_others(self, opened, tmp_path):
        opened()
        for path in [tmp_path / "root", *(tmp_path / "root").iterdir()]:
            if path.name not in {"metadata.sqlite-wal", "metadata.sqlite-shm"}:
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


class TestRunning:
    def test_serves_until_the_block_ends(self, tmp_path):
        with running_archive(tmp_path, admin_password="s3cret-word") as running:
            assert httpx2.get(f"{running.url}/data/auth", auth=(running.user, running.password)).status_code == 200
            assert "s3cret-word" not in repr(running)
            assert running.password not in repr(running)
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(running.url)

    def test_one_process_holds_a_root(self, tmp_path):
        code = "import sys, pathlib\nfrom xnatferry.server.archive import running_archive\nwith running_archive(pathlib.Path(sys.argv[1])): pass"
        with running_archive(tmp_path) as running:
            other = subprocess.run(
                [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
            )
        assert other.returncode == 1
        assert running.url in other.stderr

    def test_a_taken_port_is_named(self, tmp_path):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            sock.listen()
            port = sock.getsockname()[1]
            with (
                pytest.raises(ArchiveError, match=f"cannot listen on 127.0.0.1 port {port}"),
                running_archive(tmp_path, port=port),
            ):
                pass

    def test_the_holder_file_names_the_address(self, tmp_path):
        with running_archive(tmp_path) as running:
            assert json.loads((tmp_path / "holder.json").read_text())["url"] == running.url


class TestWhatAKilledProcessLeft:
    def test_a_half_made_move_is_taken_back(self, opened):
        archive = opened()
        item = put(archive, Level.SUBJECT, "S1", put(archive, Level.PROJECT, "P"), "P/subjects/S1")
        folder = archive.blob_store.path("P/subjects/S1/R")
        folder.mkdir(parents=True)
        (folder / "a.txt").write_text("hello")
        with archive.database.write() as connection:
            values = ("move", item.key, "P/subjects/S1", "P/subjects/S2")
            connection.execute("INSERT INTO intents (act, item_key, old, new) VALUES (?, ?, ?, ?)", values)
        archive.blob_store.move("P/subjects/S1", "P/subjects/S2")
        archive = opened()
        assert archive.blob_store.path("P/subjects/S1/R/a.txt").read_text() == "hello"
        assert not archive.blob_store.exists("P/subjects/S2")
        assert self.intents(archive) == 0

    @pytest.mark.parametrize("trashed", [False, True])
    def test_a_half_made_deletion_is_carried_out(self, opened, trashed):
        archive = opened()
        item = put(archive, Level.PROJECT, "P")
        archive.blob_store.path("P/resources/R").mkdir(parents=True)
        with archive.database.write() as connection:
            values = ("delete", item.key, "P", "")
            connection.execute("INSERT INTO intents (act, item_key, old, new) VALUES (?, ?, ?, ?)", values)
        if trashed:
            archive.blob_store.trash("P")
        archive = opened()
        with archive.database.read() as connection:
            assert objects.find_project(connection, "P_ID") is None
        assert not archive.blob_store.exists("P")
        assert self.intents(archive) == 0

    def intents(self, archive):
        with archive.database.read() as connection:
            return connection.execute("SELECT count(*) FROM intents").fetchone()[0]

    def test_a_rename_that_fails_leaves_everything_as_it_was(self, opened):
        archive = opened()
        item = put(archive, Level.SUBJECT, "S1", put(archive, Level.PROJECT, "P"), "P/subjects/S1")
        for label in ("S1", "S2"):
            archive.blob_store.path(f"P/subjects/{label}").mkdir(parents=True)
            archive.blob_store.path(f"P/subjects/{label}/of-{label}").touch()
        with pytest.raises(Refusal) as caught:
            item_editing.rename(archive, item, "S2", "admin")
        assert caught.value.status == 409
        with archive.database.read() as connection:
            assert objects.by_key(connection, item.key) == item
        assert archive.blob_store.exists("P/subjects/S1/of-S1")
        assert self.intents(archive) == 0
