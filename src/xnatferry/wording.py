"""Numbers as people read them: counts with their noun, sizes, durations."""

from __future__ import annotations

#: How many messages of one kind are printed.
EXAMPLES = 3
#: Longest line of output, in characters.
LINE_LIMIT = 300


def shortened(text: str, beside: int = 0) -> str:
    """The text so that a line with *beside* other characters is not too long: its beginning and its end.

    >>> len(shortened("x" * 1000, 20)), shortened("short")
    (280, 'short')
    """
    room = LINE_LIMIT - beside
    if len(text) <= room:
        return text
    end = room // 3
    return f"{text[: room - end - 5]} ... {text[-end:]}"


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


def counted(number: int, noun: str, verb: str = "") -> str:
    """A number with its noun, and a verb that agrees with it.

    Args:
        number: How many.
        noun: The noun in the singular.
        verb: The verb in the plural (``are``, ``differ``); none when empty.

    >>> counted(1, "file"), counted(2000, "file"), counted(2, "entry"), counted(2, "day")
    ('1 file', '2,000 files', '2 entries', '2 days')
    >>> counted(1, "file", "are"), counted(3, "file", "are"), counted(1, "file", "differ"), counted(1, "file", "have")
    ('1 file is', '3 files are', '1 file differs', '1 file has')
    """
    text = f"{number:,} {one_or_many(number, noun, _plural(noun))}"
    if not verb:
        return text
    return f"{text} {one_or_many(number, _SINGULAR_VERBS.get(verb, f'{verb}s'), verb)}"


_SINGULAR_VERBS = {"are": "is", "were": "was", "have": "has"}


def one_or_many(number: int, one: str, many: str) -> str:
    """The word for one thing, or the word for any other number.

    >>> one_or_many(1, "it", "them"), one_or_many(0, "it", "them")
    ('it', 'them')
    """
    return one if number == 1 else many


def _plural(noun: str) -> str:
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"
