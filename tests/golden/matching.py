"""Whether an answer is the recorded one: the recording has placeholders, and each name stands for one thing throughout.

    <P> <Q> <R> <p> <q> <r>              the projects of this run, and their names in lower case
    <SUBJECT_ID_1> <EXPERIMENT_ID_2>     an accession ID of that kind, the same one wherever the name comes again
    <ID1>                                an accession ID of either kind
    <TIME> <N> <LOGIN> <UUID> <SECRET> <TEXT> <BASE> <ARCHIVE> <CONTEXT> <HEX>     anything of that kind

Rows of a table and children of an item come in no order, so they are paired by what they hold.
"""

import json
import re
from collections.abc import Iterator

_ANYTHING = {
    "TIME": r"(?:\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?|\w{3} \w{3} +\d+ [\d:]+ [\w+-]+ \d{4}|\d{8}_\d{6,9})",
    "N": r"\d+",
    "LOGIN": r"[0-9A-F]{32}",
    "UUID": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "SECRET": r"\S+",
    "BASE": r"https?://[^/\s\"'<]+",
    "ARCHIVE": r"/[^\s\"'<>]*",
    "HEX": r"[0-9a-f]{5,8}",
    "CONTEXT": r"[^\s\"'<>]*",
}
_NAMED = {
    "SUBJECT_ID": r"[A-Za-z]\w*_S\d{4,}",
    "EXPERIMENT_ID": r"[A-Za-z]\w*_E\d{4,}",
    "ID": r"[A-Za-z]\w*_[SE]\d{4,}",
}
_PLACEHOLDER = re.compile(r"<((?:SUBJECT_ID_|EXPERIMENT_ID_|ID)\d+|[A-Z]+|[pqr])>")

Bindings = dict[str, str]


def matched(recorded: object, actual: object, known: Bindings, *, ordered: bool = False) -> Bindings | None:
    """What the names stand for when *actual* is as *recorded*; None when it is not."""
    return next(_value(recorded, actual, known, ordered=ordered), None)


def _value(recorded: object, actual: object, known: Bindings, *, ordered: bool) -> Iterator[Bindings]:
    if isinstance(recorded, dict) and isinstance(actual, dict):
        if recorded.keys() == actual.keys():
            yield from _members(sorted(recorded), recorded, actual, known, ordered=ordered)
    elif isinstance(recorded, list) and isinstance(actual, list):
        if len(recorded) == len(actual):
            loose = not ordered and any(isinstance(one, dict | list) for one in recorded)
            yield from _list(recorded, actual, known, ordered=ordered, loose=loose)
    elif recorded == "<TIME>" or recorded == "<TEXT>":
        if not isinstance(actual, dict | list) and actual not in {"", None}:
            yield known
    elif recorded == "<N>" and re.fullmatch(r"\d+", str(actual)):
        yield known
    elif isinstance(recorded, str) and isinstance(actual, str):
        if (found := _text(recorded, actual, known)) is not None:
            yield found
    elif recorded == actual and isinstance(recorded, bool) == isinstance(actual, bool):
        yield known


def _members(keys: list[str], recorded: dict, actual: dict, known: Bindings, *, ordered: bool) -> Iterator[Bindings]:
    if not keys:
        yield known
        return
    for found in _value(recorded[keys[0]], actual[keys[0]], known, ordered=ordered):
        yield from _members(keys[1:], recorded, actual, found, ordered=ordered)


def _list(recorded: list, actual: list, known: Bindings, *, ordered: bool, loose: bool) -> Iterator[Bindings]:
    """Pair the elements: in order, or with *loose* in any."""
    if not recorded:
        yield known
        return
    for number, candidate in enumerate(actual if loose else actual[:1]):
        rest = actual[:number] + actual[number + 1 :]
        for found in _value(recorded[0], candidate, known, ordered=ordered):
            yield from _list(recorded[1:], rest, found, ordered=ordered, loose=loose)


def _text(recorded: str, actual: str, known: Bindings) -> Bindings | None:
    pattern, names = [], []
    for number, piece in enumerate(_PLACEHOLDER.split(recorded)):
        if number % 2 == 0:
            pattern.append(re.escape(piece))
        elif piece in known:
            pattern.append(re.escape(known[piece]))
        elif piece in _ANYTHING:
            pattern.append(_ANYTHING[piece])
        elif (kind := re.sub(r"_?\d+$", "", piece)) in _NAMED:
            pattern.append(f"\\{names.index(piece) + 1}" if piece in names else f"({_NAMED[kind]})")
            names += [] if piece in names else [piece]
        else:
            pattern.append(re.escape(f"<{piece}>"))
    found = re.fullmatch("".join(pattern), actual, re.DOTALL)
    if found is None or set(found.groups()) & set(known.values()) or len(set(found.groups())) < len(names):
        return None
    return known | dict(zip(names, found.groups(), strict=True))


def described(recorded: object, actual: object) -> str:
    """Both, shortened, one below the other."""
    lines = (json.dumps(one, ensure_ascii=False, sort_keys=True) for one in (recorded, actual))
    return "\n".join(f"      {word} {line[:700]}" for word, line in zip(("recorded", "answered"), lines, strict=True))
