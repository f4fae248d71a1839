"""The lock of an archive's root: one process at a time uses it; others can read its process id and address.

The claim is a lock of the operating system on ``ROOT/holder.json``: it ends with the process, however that ends. The
text in the file is for people and for the command line, which talks to a running archive instead of opening it. It
names an address only once the archive answers there, with all its accounts: who reads it may log in at once.
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from xnatferry.durable import try_lock
from xnatferry.errors import ArchiveError, ArchiveHeldError

if TYPE_CHECKING:
    from pathlib import Path

_NAME: Final = "holder.json"


@dataclass(frozen=True, slots=True)
class RootOwner:
    """The process that uses a root.

    Attributes:
        pid: Process id on *host*; 0 in the instant in which the holder writes all this down.
        host: Name of the computer.
        url: Where it answers; empty while it starts, and for a holder that does not serve the archive.
        started: Since when, ISO 8601 in UTC.
    """

    pid: int = 0
    host: str = ""
    url: str = ""
    started: str = ""

    def __str__(self) -> str:
        """Who it is, for a message."""
        return f"process {self.pid} on {self.host}, since {self.started}" if self.pid else "another process"


class RootLock:
    """The claim of this process on *root*."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._info = RootOwner()
        self._descriptor = -1

    def claim(self) -> None:
        """Take the lock.

        Raises:
            ArchiveHeldError: Another process holds it: the message names its process id, address and start.
            ArchiveError: It lies on a file system without locks.
        """
        descriptor = os.open(self._root / _NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            mine = _lock(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise ArchiveError(
                f"{self._root}: its file system has no file locks ({error.strerror}); choose a folder on a local disk"
            ) from None
        if not mine:
            info = _read(descriptor)
            os.close(descriptor)
            raise ArchiveHeldError(_refusal(self._root, info))
        self._descriptor = descriptor
        self._info = RootOwner(os.getpid(), socket.gethostname(), "", datetime.now(UTC).isoformat(timespec="seconds"))
        self._write()

    def announce(self, url: str) -> None:
        """Say that the archive answers at *url*."""
        self._info = replace(self._info, url=url)
        self._write()

    def _write(self) -> None:
        # The lock is on the file itself, so no other can take its place: a reader finds it cut short, and waits.
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(asdict(self._info)).encode(), 0)

    def release(self) -> None:
        """Release the lock; no effect without it."""
        if self._descriptor >= 0:
            # The file stays: removing it would let two processes lock two files of one name.
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1


def read_root_owner(root: Path) -> RootOwner | None:
    """The process that uses *root* now; None if there is none."""
    try:
        descriptor = os.open(root / _NAME, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return None if try_lock(descriptor, shared=True) else _read(descriptor)
    except OSError:  # no locks there: whoever wants to hold it is told so
        return None
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Take the lock; tried for a moment, because `read_root_owner` has it for an instant while it looks."""
    for pause_s in (0.02, 0.05, 0.1, 0.2, 0.0):
        if try_lock(descriptor):
            return True
        time.sleep(pause_s)
    return False


def _read(descriptor: int) -> RootOwner:
    try:
        return RootOwner(**json.loads(os.pread(descriptor, 4096, 0)))
    except (ValueError, TypeError):
        return RootOwner()  # being written at this moment


def _refusal(root: Path, info: RootOwner) -> str:
    if not info.pid:
        return f"the archive in {root} is already in use by another process: stop that one, or choose another folder"
    where = f" and listens on {info.url}" if info.url else ""
    return (
        f"the archive in {root} is in use by process {info.pid} on {info.host} since {info.started}{where};"
        " use that one, stop it, or choose another folder with --root"
    )
