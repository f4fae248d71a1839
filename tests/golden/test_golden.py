"""What a genuine XNAT 1.6.4 answered, step by step, against our archive; declared differences of 1.8 apart.

A declared difference (``era.json``) names the request, the reason, the source, and what is accepted instead; it counts only
where the answer really differs. Everything else must match.
"""

import fnmatch
import json
import random
import re
import string
from collections import Counter
from pathlib import Path

import pytest
from matching import described, matched
from playing import Player, narrow_steps, wide_steps
from shapes import narrow_shape, wide_shape

HERE = Path(__file__).parent


def scenarios(book):
    return sorted(path for path in (HERE / book / "scenarios").iterdir())


def era(book):
    return json.loads((HERE / book / "era.json").read_text(encoding="utf-8"))


def without(table_holder, column, marks):
    """Take *column* out of a table that has all columns *marks*; 1.6 lists no digest."""
    for table in table_holder.values() if isinstance(table_holder, dict) else []:
        if isinstance(table, dict) and set(marks) <= set(table.get("columns", [])):
            table["columns"] = [one for one in table["columns"] if one != column]
            for row in table["rows"] if isinstance(table["rows"], list) else []:
                row.pop(column, None)


def played(archive, path, steps, names):
    """Play a scenario; yields each step with its answer and the player."""
    letters = "".join(random.choices(string.ascii_uppercase, k=8))
    player = Player(archive.url, "admin", "admin-secret", {name: f"G{name}{letters}" for name in names})
    try:
        for step in steps(path):
            yield step, player.play(step), player
    finally:
        player.close()


def accepted(rules, shape, known):
    """The reason of the first of *rules* that allows *shape*."""
    for rule in rules:
        for one in rule.get("accept", []):
            if all(matched(one[key], shape[key], known) is not None for key in one):
                return rule["reason"]
    return None


def judged(failures, counts):
    counts_text = ", ".join(f"{number} {word}" for word, number in counts.items())
    assert not failures, f"{counts_text}\n" + "\n".join(failures)
    print(counts_text)


@pytest.mark.parametrize("path", scenarios("narrow"), ids=lambda path: path.stem)
def test_narrow(archive, path):
    recorded = json.loads((HERE / "narrow" / "recorded-1.6.4" / f"{path.stem}.json").read_text(encoding="utf-8"))
    failures, counts, known = [], Counter(), {}
    for (step, answer, player), expected in zip(played(archive, path, narrow_steps, "P"), recorded, strict=True):
        assert step.name == expected["request"]
        known["P"] = player.names["P"]
        shape = narrow_shape(answer)
        without(shape["body"], "digest", ["Name"])
        rules = [
            rule
            for rule in era("narrow")
            if re.search(rule["request"], step.name) and rule.get("scenario", path.stem) == path.stem
        ]
        parts = ["status", "media", "disposition", "range", "body"]
        for rule in rules:
            parts = [part for part in parts if part not in rule.get("only", [])]
        differing = []
        for part in parts:
            found = matched(expected[part], shape[part], known)
            known = known if found is None else found
            differing += [part] if found is None else []
        if not differing:
            counts["equal"] += 1
        elif accepted(rules, shape, known):
            counts["declared"] += 1
        else:
            failures += [f"  {step.name}"]
            failures += [described(expected[part], shape[part]) for part in differing]
    judged(failures, counts)


@pytest.mark.parametrize("path", scenarios("wide"), ids=lambda path: path.stem)
def test_wide(archive, path):
    recorded = json.loads((HERE / "wide" / "recorded-1.6.4" / f"{path.stem}.json").read_text(encoding="utf-8"))
    declared = era("wide")
    failures, counts, known = [], Counter(), {}
    for (step, answer, player), expected in zip(played(archive, path, wide_steps, "PQR"), recorded, strict=True):
        assert step.name == expected["step"]
        known |= {name: player.names[name] for name in "PQR"}
        known |= {"SECRET": player.names["secret"]} if "secret" in player.names else {}
        shape = wide_shape(answer)
        for rule in declared["columns"]:
            for column in rule["ignore"]:
                without(shape["body"], column, rule["tables_with"])
                without(expected["body"], column, rule["tables_with"])
        for rule in declared["headers"]:
            if rule["name"] not in expected["headers"]:
                shape["headers"].pop(rule["name"], None)
        of_container = isinstance(expected["body"], dict) and "container error page" in expected["body"]
        differing = []
        for part in ("status",) if of_container else ("status", "headers", "body"):
            found = matched(expected[part], shape[part], known, ordered=step.ordered or part == "headers")
            known = known if found is None else found
            differing += [part] if found is None else []
        rules = [rule for rule in declared["steps"] if any(fnmatch.fnmatch(step.name, one) for one in rule["step"])]
        if not differing:
            counts["equal"] += 1
        elif accepted(rules, shape, known):
            counts["declared"] += 1
        else:
            failures += [f"  {step.name}: {expected['request'][:160]}"]
            failures += [described(expected[part], shape[part]) for part in differing]
    judged(failures, counts)


@pytest.mark.parametrize("book", ["narrow", "wide"])
def test_every_declared_difference_has_a_reason_and_a_source(book):
    rules = era(book) if book == "narrow" else era(book)["steps"]
    assert all(rule["reason"] and rule["source"] and ("accept" in rule or "only" in rule) for rule in rules)
