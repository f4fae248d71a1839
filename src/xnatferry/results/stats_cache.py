"""Statistics files that were fetched once, kept by the digest of their bytes."""

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

__all__ = ["StatsCache"]


class StatsCache:
    """A folder of files named by their MD5: what is in it can never be out of date, and may be deleted at any time.

    Safe for many threads and processes. Files of servers that list no digest are fetched anew each time: nothing says
    whether they changed.

    Args:
        folder: Where; made where missing, readable by its owner only, as statistics name users and computers. Without
            one, or where it cannot be made, files are kept no longer than the object.

    Attributes:
        fetched: How many files came from the server.
        reused: How many were there.
    """

    def __init__(self, folder: Path | None) -> None:
        self.fetched = 0
        self.reused = 0
        self._lock = Lock()
        self._passing: tempfile.TemporaryDirectory[str] | None = None
        self._folder = self._made(folder)

    def close(self) -> None:
        """Delete what is not to be kept."""
        if self._passing is not None:
            self._passing.cleanup()

    def content(self, remote: RemoteReader, address: Address, held: RemoteFile) -> bytes:
        """The bytes of a file, fetched where they are not at hand.

        Raises:
            RemoteError: It cannot be fetched.
            VerifyError: What came is not what is listed.
            TransferError: It cannot be written here.
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
