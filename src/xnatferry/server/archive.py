"""One archive: a folder with its metadata, files and accounts, opened by one process and served over HTTP."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from xnatferry.durable import replacing
from xnatferry.errors import ArchiveError
from xnatferry.server.accounts import FERRY, Accounts
from xnatferry.server.alias_tokens import new_secret
from xnatferry.server.blob_store import BlobStore
from xnatferry.server.database import Database, archive_schema
from xnatferry.server.file_store import FileStore
from xnatferry.server.http_server import Server, server_for
from xnatferry.server.root_lock import RootLock
from xnatferry.server.settings import ServerSettings
from xnatferry.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ADMIN: Final = "admin"
CREDENTIAL_FILE: Final = "cli-credential.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Repairs:
    """Repairs made when opening an archive after a process was killed.

    Attributes:
        moves_undone: Renames that had moved files but were not committed; they are undone.
        deletions_finished: Deletions that had been started; they are completed.
        files_placed: Stored files that were not yet moved to their folder.
        removals_finished: Removed files and resources that were still on disk.
        leftovers_removed: Files of unfinished uploads.
    """

    moves_undone: int = 0
    deletions_finished: int = 0
    files_placed: int = 0
    removals_finished: int = 0
    leftovers_removed: int = 0

    def sentence(self) -> str:
        """The repairs as a log message; "" if there were none."""
        repairs = (
            (self.files_placed, "stored file", "moved to the archive"),
            (self.removals_finished, "removal", "completed"),
            (self.deletions_finished, "deletion", "completed"),
            (self.moves_undone, "unfinished rename", "undone"),
            (self.leftovers_removed, "file", "of interrupted uploads removed"),
        )
        done = [f"{counted(number, noun)} {what}" for number, noun, what in repairs if number]
        return "repaired after an unclean shutdown: " + ", ".join(done) if done else ""


class Archive:
    """An open archive. May be used from any thread.

    Attributes:
        settings: What it was opened with.
        started: When, by `time.monotonic`.
        database: Metadata.
        blob_store: Files.
        file_store: Stores and removes files, safe against a killed process.
        accounts: Who may log in.
        repairs: Repairs made by this start.
        first_password: Password of ``admin``, when this opening made that account; None otherwise.
    """

    def __init__(self, settings: ServerSettings, *, admin_password: str | None = None) -> None:
        """Open the archive of ``settings.root``, making it when there is none; finish what a killed process left.

        Args:
            settings: Where it is, and its limits.
            admin_password: Password for ``admin`` when the archive is new; None makes a random one.

        Raises:
            ArchiveError: Another process uses the folder, or it cannot be used.
        """
        self.settings = settings
        self.started = time.monotonic()
        settings.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._holder = RootLock(settings.root)
        self._holder.claim()
        try:
            self._open(admin_password)
        except BaseException:
            self._holder.release()
            raise

    def _open(self, admin_password: str | None) -> None:
        root = self.settings.root
        _require_metadata(root)
        self.blob_store = BlobStore(root)
        self.database = Database(root / "metadata.sqlite", archive_schema())
        try:
            self.accounts = Accounts(self.database, login_minutes=self.settings.login_minutes)
            self.file_store = FileStore(self.database, self.blob_store, strict=self.settings.strict)
            moves, deletions = self._finish_intents()
            replayed = self.file_store.redo.replay()
            self.repairs = Repairs(
                moves, deletions, replayed.placed, replayed.removed, self.blob_store.clean_incoming()
            )
            if sentence := self.repairs.sentence():
                log.warning("%s: %s", root, sentence)
            self.blob_store.empty_trash(older_than_days=self.settings.trash_days)
            self.first_password = self._first_accounts(admin_password)
        except BaseException:
            self.database.close()
            raise

    def announce(self, url: str) -> None:
        """Tell other processes that it answers at *url*."""
        self._holder.announce(url)

    def close(self) -> None:
        """Close the archive and release the folder."""
        self.file_store.redo.settle()
        self.database.close()
        self._holder.release()

    def _finish_intents(self) -> tuple[int, int]:
        """Complete or undo file operations of a killed process; returns moves and deletions.

        An intent is deleted in the transaction that carries it out, so one that is still there means that the rows are
        as before: a move is undone, a deletion is completed.
        """
        moves = deletions = 0
        with self.database.write() as connection:
            for intent in connection.execute("SELECT * FROM intents ORDER BY key DESC").fetchall():
                if intent["act"] == "move":
                    if self.blob_store.exists(intent["new"]) and not self.blob_store.exists(intent["old"]):
                        self.blob_store.move(intent["new"], intent["old"])
                        moves += 1
                else:
                    deletions += 1
                    connection.execute("DELETE FROM items WHERE key = ?", (intent["item_key"],))
                    self.blob_store.trash(intent["old"])
                connection.execute("DELETE FROM intents WHERE key = ?", (intent["key"],))
        return moves, deletions

    def _first_accounts(self, admin_password: str | None) -> str | None:
        """Make ``admin`` in a new archive, and the command line's own account where its credential is missing."""
        logins = {account.login for account in self.accounts.everyone()}
        made = None
        if ADMIN not in logins:
            made = admin_password or new_secret()
            self.accounts.create(
                ADMIN, made, admin=True, firstname="Admin", lastname="Admin", email="admin@example.org"
            )
        path = self.settings.root / CREDENTIAL_FILE
        if FERRY not in logins or not path.exists():
            password = new_secret(32)
            path.unlink(missing_ok=True)  # killed in between, the next start makes a new password and not a wrong file
            if FERRY in logins:
                self.accounts.set_password(FERRY, password)
            else:
                self.accounts.create(FERRY, password, admin=True, firstname="xnatferry", lastname="command line")
            with replacing(path, private=True) as part:
                part.write_text(json.dumps({"user": FERRY, "password": password}), encoding="utf-8")
        return made


def _require_metadata(root: Path) -> None:
    """Refuse a root whose database is gone: a new one would take the files for nobody's, and never list them."""
    path, files = root / "metadata.sqlite", root / "archive"
    if (not path.exists() or path.stat().st_size == 0) and files.is_dir() and any(files.iterdir()):
        raise ArchiveError(
            f"{path} is missing or empty, but {files} holds files; restore the database from a backup, or move the"
            " files to another folder"
        )


@dataclass(frozen=True, slots=True)
class RunningArchive:
    """An archive that is being served.

    Attributes:
        url: Its address, ``http://127.0.0.1:PORT``.
        user: Login name of the command line's own account.
        password: Its password.
        root: The folder.
        admin_password: Password of ``admin`` when this start made that account, else None.
        archive: The open archive behind it.
    """

    url: str
    user: str
    password: str
    root: Path
    admin_password: str | None
    archive: Archive

    @property
    def repairs(self) -> Repairs:
        """Repairs made by the start."""
        return self.archive.repairs

    def __repr__(self) -> str:
        return f"RunningArchive(url={self.url!r}, root={str(self.root)!r})"


def read_credential(root: Path) -> tuple[str, str]:
    """User and password of the command line's own account in the archive under *root*.

    Raises:
        ArchiveError: There is none, or it cannot be read.
    """
    path = root / CREDENTIAL_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found["user"], found["password"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArchiveError(f"{path} cannot be read ({error}); delete it and start the archive again") from error


@contextmanager
def running_archive(
    root: Path, *, port: int = 0, admin_password: str | None = None, settings: ServerSettings | None = None
) -> Iterator[RunningArchive]:
    """Serve the archive under *root* from a thread of this process, until the block ends.

    Args:
        root: Folder of the archive; made when missing.
        port: TCP port on 127.0.0.1; 0 takes a free one.
        admin_password: Password for ``admin`` when the archive is new; None makes a random one.
        settings: Other settings; ``root`` and ``port`` of them are replaced.

    Raises:
        ArchiveError: Another process uses the folder, or the port is in use.
    """
    chosen = replace(settings or ServerSettings(root=root), root=root, port=port)
    with _listening(chosen, admin_password) as (archive, sock, url):
        server = _server(archive)
        thread = threading.Thread(target=server.run, args=([sock],), name="xnatferry-archive", daemon=True)
        thread.start()
        try:
            server.ready.wait()
            if not server.started:
                raise ArchiveError(f"{root}: the archive cannot be served at {url}; see the error above")
            archive.announce(url)
            user, password = read_credential(root)
            yield RunningArchive(url, user, password, root, archive.first_password, archive)
        finally:
            server.should_exit = True
            thread.join(timeout=30)


def serve(
    settings: ServerSettings,
    *,
    admin_password: str | None = None,
    on_ready: Callable[[RunningArchive], None] | None = None,
) -> None:
    """Serve an archive until Ctrl-C or SIGTERM; running requests are finished first.

    Args:
        settings: What to serve, and where.
        admin_password: Password for ``admin`` when the archive is new; None makes a random one.
        on_ready: Called once the archive answers.

    Raises:
        ArchiveError: Another process uses the folder, or the address is in use.
    """
    with _listening(settings, admin_password) as (archive, sock, url):
        user, password = read_credential(settings.root)
        running = RunningArchive(url, user, password, settings.root, archive.first_password, archive)

        def ready() -> None:
            archive.announce(url)
            if on_ready is not None:
                on_ready(running)

        _server(archive, ready).run([sock])


@contextmanager
def _listening(settings: ServerSettings, admin_password: str | None) -> Iterator[tuple[Archive, socket.socket, str]]:
    """Bind first: an address that is taken is no reason to touch the folder."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((settings.host, settings.port))
        except OSError as error:
            raise ArchiveError(
                f"cannot listen on {settings.host} port {settings.port} ({error.strerror}); choose another --port"
            ) from error
        host = f"[{settings.host}]" if family == socket.AF_INET6 else settings.host
        scheme = "https" if settings.certfile else "http"
        url = f"{scheme}://{host}:{sock.getsockname()[1]}"
        archive = Archive(settings, admin_password=admin_password)
        try:
            yield archive, sock, url
        finally:
            archive.close()
    finally:
        sock.close()


def _server(archive: Archive, on_ready: Callable[[], object] = lambda: None) -> Server:
    from xnatferry.server.app import ArchiveApp  # noqa: PLC0415  the routes know the archive; the archive serves them

    return server_for(ArchiveApp(archive), archive.settings, on_ready)
