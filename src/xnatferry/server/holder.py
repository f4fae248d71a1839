"""One process at a time holds an archive's root. Others find out who, and where it listens.

The claim is a lock of the operating system on ``ROOT/holder.json``: it ends with the process, however that ends. The
text in the file is for people and for the command line, which talks to a running archive instead of opening it.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from xnatferry.errors import ArchiveError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Holder", "HolderInfo", "read_holder"]

_NAME: Final = "holder.json"


@dataclass(frozen=True, slots=True)
class HolderInfo:
    """Who holds a root.

    Attributes:
        pid: Process id on *host*.
        host: Name of the computer.
        url: Where it listens; may be empty.
        started: Since when, ISO 8601 in UTC.
    """

    pid: int
    host: str
    url: str
    started: str


class Holder:
    """The claim of this process on *root*, which listens on *url*."""

    def __init__(self, root: Path, url: str = "") -> None:
        self._root = root
        self._url = url
        self._descriptor = -1

    def claim(self) -> None:
        """Take the root; from now on others are refused.

        Raises:
            ArchiveError: Another process holds it: the message names its process id, address and start.
        """
        descriptor = os.open(self._root / _NAME, os.O_RDWR | os.O_CREAT, 0o600)
        if not _lock(descriptor):
            info = _read(descriptor)
            os.close(descriptor)
            raise ArchiveError(_refusal(self._root, info))
        self._descriptor = descriptor
        now = datetime.now(UTC).isoformat(timespec="seconds")
        text = json.dumps(asdict(HolderInfo(os.getpid(), socket.gethostname(), self._url, now)))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)

    def release(self) -> None:
        """Give the root free; without a claim there is nothing to do."""
        if self._descriptor >= 0:
            # The file stays: removing it would let two processes lock two files of one name.
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1


def read_holder(root: Path) -> HolderInfo | None:
    """Who holds *root* now; None when nobody does. The file may be older than a process that has died."""
    try:
        descriptor = os.open(root / _NAME, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return _read(descriptor)
        return None
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Take the lock; tried for a moment, because `read_holder` has it for an instant while it looks."""
    for pause_s in (0.02, 0.05, 0.1, 0.2, 0.0):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(pause_s)
        else:
            return True
    return False


def _read(descriptor: int) -> HolderInfo | None:
    try:
        return HolderInfo(**json.loads(os.pread(descriptor, 4096, 0)))
    except (ValueError, TypeError):
        return None  # being written at this moment


def _refusal(root: Path, info: HolderInfo | None) -> str:
    if info is None:
        return f"the archive in {root} is already in use by another process: stop that one, or choose another folder"
    where = f" and listens on {info.url}" if info.url else ""
    return (
        f"the archive in {root} is already in use: process {info.pid} on {info.host} holds it since {info.started}"
        f"{where}. Use that one, stop it, or choose another folder with --root"
    )
