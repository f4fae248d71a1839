"""Plays a scenario on an archive of ours and says of each exchange whether it is as recorded.

``declared.json`` is the table of what we answer otherwise on purpose; docs/archive.md shows it. What stands below "unless
strict" is equal on an archive of ``serve --strict``. ``open-differences.txt`` lists what we answer otherwise and should not.
"""

import json
import random
import string
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from matching import described, matched
from playing import Player, narrow_steps, wide_steps
from shapes import narrow_shape, reduced, wide_shape

HERE = Path(__file__).parent
BOOKS = ("narrow", "wide", "new")
#: The account without any role that the recordings call *second*.
SECOND = ("g18plain", "second-secret")
ADMIN = ("admin", "admin-secret")
PAGES = {"container error page", "container page", "html page", "html table"}
VERSION, OLDER = "1.8.11", "1.6.4"


@dataclass(frozen=True)
class Exchange:
    """One exchange, compared.

    Attributes:
        name: ``SCENARIO/STEP``.
        request: What was asked.
        status: What we answered.
        equal: Whether the answer is the one of 1.8.11.
        older: Whether it is the one of 1.6.4; None where that was not recorded.
        text: Both answers, where they differ.
    """

    name: str
    request: str
    status: int
    equal: bool
    older: bool | None
    text: str


def scenarios():
    return [path for book in BOOKS for path in sorted((HERE / book / "scenarios").iterdir())]


def declared(*, strict):
    """Name of an exchange -> the status that we answer otherwise on purpose."""
    table = json.loads((HERE / "declared.json").read_text(encoding="utf-8"))
    found = {}
    for rule in table.values():
        found |= rule.get("exchanges", {})
        found |= {} if strict else rule.get("unless strict", {})
    return found


def still_open():
    lines = (HERE / "open-differences.txt").read_text(encoding="utf-8").splitlines()
    return {line.split()[0] for line in lines if line and not line.startswith("#")}


def recorded(path, version):
    file = path.parent.parent / f"recorded-{version}" / f"{path.stem}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def compared(url, path):
    """Play one scenario; yields its exchanges."""
    narrow = path.suffix == ".txt"
    steps, shape = (narrow_steps, narrow_shape) if narrow else (wide_steps, wide_shape)
    parts = ("status", "media", "disposition", "range", "body") if narrow else ("status", "headers", "body")
    truth, older = recorded(path, VERSION), recorded(path, OLDER)
    letters = "".join(random.choices(string.ascii_uppercase, k=8))
    player = Player(url, ADMIN, SECOND, {name: f"G{name}{letters}" for name in ("P" if narrow else "PQR")})
    known = {name: value for name, value in player.names.items() if name in "PQR"}
    known |= {name.lower(): value.lower() for name, value in known.items()}
    known_older = dict(known)
    try:
        for number, (step, expected) in enumerate(zip(steps(path), truth, strict=True)):
            assert step.name == expected["request" if narrow else "step"]
            answer = player.play(step)
            found = reduced(shape(answer), step, answer.body, [known[name] for name in known if name in "PQR"])
            name = f"{path.stem}/{number + 1}" if narrow else step.name
            differing = _differing(parts, expected, found, known, ordered=step.ordered)
            as_older = (
                None
                if older is None
                else not _differing(parts, older[number], found, known_older, ordered=step.ordered)
            )
            text = "\n".join(described(expected[part], found[part]) for part in differing)
            yield Exchange(name, expected["request"], answer.status, not differing, as_older, text)
    finally:
        player.close()


def _differing(parts, expected, found, known, *, ordered):
    """The parts that differ; *known* learns what the names of the others stand for.

    Of a page for people only the status counts; cookies are the container's.
    """
    if isinstance(expected["body"], dict) and PAGES & set(expected["body"]):
        parts = ("status",)
    out = []
    for part in parts:
        left, right = expected[part], found[part]
        if part == "headers":
            left, right = ({key: value for key, value in one.items() if key != "Set-Cookie"} for one in (left, right))
        left, right = _unordered(left), _unordered(right)
        names = matched(left, right, known, ordered=ordered or part == "headers")
        if names is None:
            out.append(part)
        else:
            known |= names
    return out


def _unordered(body):
    """A catalog, with its entries in one order: they come in no order."""
    if not isinstance(body, dict) or "  cat:entries" not in body.get("xml", []):
        return body
    whole = "\n".join(body["xml"])
    head, *entries = whole.split("\n    cat:entry ")
    return {"xml": [head, *sorted(entries)]}


def verdicts(exchanges, *, strict):
    """Count the exchanges as *equal*, *declared*, *open*; and of those that 1.6.4 answered too, as it did."""
    counts, rules, listed = Counter(equal=0, declared=0, open=0), declared(strict=strict), still_open()
    for one in exchanges:
        counts["equal" if one.equal else "declared" if one.name in rules and one.name not in listed else "open"] += 1
        if one.older is not None:
            counts["as 1.6.4"] += one.older
            counts["of 1.6.4"] += 1
    return counts


def score(counts):
    total = counts["equal"] + counts["declared"] + counts["open"]
    return f"equal {counts['equal']}, declared {counts['declared']}, open {counts['open']} of {total}"
