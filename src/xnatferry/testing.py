"""A local XNAT archive for the tests of your own software: ``local_archive`` starts one on a free port.

As a context manager::

    from xnatferry.testing import local_archive

    with local_archive() as archive:
        client = pyxnat.Interface(server=archive.url, user=archive.user, password=archive.password)

As a pytest fixture, with ``pytest_plugins = ["xnatferry.testing"]`` in the top ``conftest.py``::

    def test_upload(local_xnat):
        with xnat.connect(local_xnat.url, user=local_xnat.user, password=local_xnat.password) as session:
            ...
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xnatferry.server.alias_tokens import new_secret
from xnatferry.server.archive import ADMIN, running_archive
from xnatferry.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xnatferry.server.archive import Archive

__all__ = ["LocalArchive", "Login", "local_archive"]


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials.

    Attributes:
        user: Login name.
        password: Password.
    """

    user: str
    password: str


@dataclass(frozen=True, slots=True)
class LocalArchive:
    """A running archive.

    Attributes:
        url: Its address, ``http://127.0.0.1:PORT``.
        user: Login name of its administrator.
        password: The administrator's password, different for every archive.
        root: Folder of the archive; files are in ``root/archive``, with the layout of a real XNAT.
    """

    url: str
    user: str
    password: str
    root: Path
    _archive: Archive

    def new_account(self, user: str, *, admin: bool = False) -> Login:
        """Make an account that has no role in any project, unless it is an administrator.

        Raises:
            UsageError: The name exists, or is invalid.
        """
        password = new_secret()
        self._archive.accounts.create(user, password, admin=admin)
        return Login(user, password)

    def give_role(self, login: Login, project: str, role: str) -> None:
        """Make *login* ``owner``, ``member`` or ``collaborator`` of *project*, which must exist.

        Raises:
            LookupError: The project does not exist.
        """
        with self._archive.database.write() as connection:
            row = connection.execute("SELECT key FROM items WHERE level = 'project' AND id = ?", (project,)).fetchone()
            if row is None:
                raise LookupError(f"project {project} not found; create it first")
            connection.execute("INSERT OR IGNORE INTO roles VALUES (?, ?, ?)", (row["key"], login.user, role))

    def files(self) -> dict[str, bytes]:
        """All stored files: path below ``root/archive``, such as ``P/arc001/E/SCANS/1/NIFTI/a.nii.gz``, to bytes."""
        top = self.root / "archive"
        return {path.relative_to(top).as_posix(): path.read_bytes() for path in top.rglob("*") if path.is_file()}


@contextmanager
def local_archive(*, root: Path | None = None, guests: bool = False, strict: bool = True) -> Iterator[LocalArchive]:
    """Run an archive in a thread of this process, for the block.

    Args:
        root: Folder of the archive, kept afterwards; None takes a new one and removes it at the end.
        guests: Whether public projects can be seen without a login.
        strict: Whether it fails where a stock XNAT fails; False makes it as kind as the archive of ``serve``.

    Raises:
        ArchiveError: Another process uses *root*.
    """
    with tempfile.TemporaryDirectory(prefix="xnatferry-", ignore_cleanup_errors=True) as made:
        folder = root if root is not None else Path(made) / "root"
        settings = ServerSettings(root=folder, require_login=not guests, strict=strict)
        password = new_secret()
        with running_archive(folder, admin_password=password, settings=settings) as running:
            if running.admin_password is None:  # a folder that was used before
                running.archive.accounts.set_password(ADMIN, password)
            yield LocalArchive(running.url, ADMIN, password, folder, running.archive)


try:
    import pytest
except ImportError:  # used without pytest
    pass
else:

    @pytest.fixture
    def local_xnat() -> Iterator[LocalArchive]:
        """An empty archive for one test."""
        with local_archive() as archive:
            yield archive

    @pytest.fixture(scope="session")
    def shared_xnat() -> Iterator[LocalArchive]:
        """One archive for all tests of the run; use a separate project in each."""
        with local_archive() as archive:
            yield archive
