"""Numbers as people read them."""

from __future__ import annotations

__all__ = ["counted", "human_bytes", "human_seconds"]


def human_bytes(size_bytes: float) -> str:
    """A size in the decimal units of disks and networks: ``1.4 MB``.

    >>> human_bytes(1_400_000), human_bytes(999), human_bytes(0)
    ('1.4 MB', '999 bytes', '0 bytes')
    """
    if size_bytes < 1000:
        return counted(int(size_bytes), "byte")
    value = float(size_bytes)
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        value /= 1000
        if value < 999.95 or unit == "PB":
            break
    return f"{value:.1f} {unit}"


def human_seconds(seconds: float) -> str:
    """A duration: ``0.4 s``, ``2 min 5 s``, ``1 h 3 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 file``, ``2,000 files``, ``3 subject folders``."""
    plural = noun if number == 1 else (f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s")
    return f"{number:,} {plural}"
