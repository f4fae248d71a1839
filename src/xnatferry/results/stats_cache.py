"""Caches downloaded statistics files by their MD5."""

from __future__ import annotations

import tempfile
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import TYPE_CHECKING

from xnatferry.xnat.digest import digest_of

if TYPE_CHECKING:
    from xnatferry.client.remote_reader import RemoteReader
    from xnatferry.xnat.model import Address
    from xnatferry.xnat.records import RemoteFile


class StatsCache:
    """A folder of files named by their MD5: they are never out of date, and can be deleted at any time.

    Safe for many threads and processes. Files of servers that list no MD5 are downloaded each time.

    Args:
        folder: The folder; created if it does not exist, readable by its owner only, as statistics contain names of
            users and computers. If None or not writable, files are deleted with the object.

    Attributes:
        fetched: Number of downloaded files.
        reused: Number of files from the cache.
    """

    def __init__(self, folder: Path | None) -> None:
        self.fetched = 0
        self.reused = 0
        self._lock = Lock()
        self._passing: tempfile.TemporaryDirectory[str] | None = None
        self._folder = self._made(folder)

    def close(self) -> None:
        """Delete temporary files."""
        if self._passing is not None:
            self._passing.cleanup()

    def content(self, remote: RemoteReader, address: Address, held: RemoteFile) -> bytes:
        """The bytes of a file, from the cache or downloaded.

        Raises:
            RemoteError: It cannot be downloaded.
            VerifyError: The download differs from the listing.
            TransferError: It cannot be written.
        """
        if held.digest is None:
            return self._fetched(remote, address, held, self._folder / f"undated-{token_hex(8)}", keep=False)
        path = self._folder / held.digest[:2] / f"{held.digest}.txt"
        try:
            content = path.read_bytes()
        except OSError:
            content = None
        if content is not None and digest_of([content]) == held.digest:
            with self._lock:
                self.reused += 1
            return content
        return self._fetched(remote, address, held, path, keep=True)

    def _fetched(self, remote: RemoteReader, address: Address, held: RemoteFile, path: Path, *, keep: bool) -> bytes:
        try:
            remote.fetch(address, held, path)
            content = path.read_bytes()
        finally:
            if not keep:
                path.unlink(missing_ok=True)
        with self._lock:
            self.fetched += 1
        return content

    def _made(self, folder: Path | None) -> Path:
        if folder is not None:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder):
                    return folder
            except OSError:
                pass
        self._passing = tempfile.TemporaryDirectory(prefix="xnatferry-stats-")
        return Path(self._passing.name)
