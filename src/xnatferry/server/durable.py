"""Making files and folders outlive a power cut."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

__all__ = ["flush_files", "flush_folders"]

# From this many files on, one flush of their whole file system is faster than one flush each (measured on ext4:
# 1,000 files 0.02 s against 0.3 s).
_MANY: Final = 32


def flush_files(paths: Sequence[Path], folder: Path) -> None:
    """Make the files at *paths* durable; all lie in *folder*'s file system."""
    if len(paths) >= _MANY and _flush_file_system(folder):
        return
    for path in paths:
        _flush(path)


def flush_folders(folders: Iterable[Path]) -> None:
    """Make the entries of *folders*, all in one file system, durable.

    One that has gone meanwhile needs nothing: who took it away has flushed, or will flush, what is above it. It may
    also be a file by now, or lie below one.
    """
    folders = list(folders)
    if len(folders) >= _MANY:
        for folder in folders:
            with suppress(FileNotFoundError, NotADirectoryError):
                if _flush_file_system(folder):
                    return
                break
    for folder in folders:
        with suppress(FileNotFoundError, NotADirectoryError):
            _flush(folder)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_file_system(folder: Path) -> bool:
    """Flush everything of one file system (Linux ``syncfs``); False where the system cannot."""
    if sys.platform != "linux":
        return False
    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except (AttributeError, OSError):
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)
    return True
