"""Results of programs other than FreeSurfer: rules that recognise a folder, and that people can add to.

The rules that come with xnatferry are in ``results.toml`` beside this module, with the program that reads each label.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from xnatferry.errors import UsageError
from xnatferry.sources.folder_walk import is_desktop_file
from xnatferry.xnat.labels import resource_label_problem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LEVELS: Final = ("project", "subject", "session")


@dataclass(frozen=True, slots=True)
class ResultRule:
    """What a folder of results looks like, and where it belongs.

    Attributes:
        name: Name of the program.
        resource: Label of the resource.
        folder: Pattern that the folder's own name must fit.
        all: Patterns below the folder, each of which must be there.
        any: Patterns below the folder, one of which must be there.
        carry: The part of the folder that is uploaded; all of it when empty.
        level: Level of the resource: ``project``, ``subject`` or ``session``.
        format: Format of the resource.
        content: Content of the resource; the name in capitals when empty.
        about: Where the rule comes from.
    """

    name: str
    resource: str
    folder: str = "*"
    all: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    carry: str = ""
    level: str = "session"
    format: str = ""
    content: str = ""
    about: str = ""

    @property
    def depth(self) -> int:
        """How many folders deep its patterns look, from 1."""
        return max(pattern.count("/") + 1 for pattern in (*self.all, *self.any))

    def fits(self, name: str, inside: Sequence[str]) -> bool:
        """Whether a folder called *name* that holds *inside*, as paths below it, is such a result."""
        if not fnmatchcase(name, self.folder):
            return False
        there = [any(_fits(path, pattern) for path in inside) for pattern in self.all]
        return all(there) and (not self.any or any(_fits(path, p) for p in self.any for path in inside))


def _fits(path: str, pattern: str) -> bool:
    """``*`` stays within one part of a path, as in a shell."""
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(fnmatchcase(part, want) for part, want in zip(parts, wanted, strict=True))


@cache
def built_in_rules() -> tuple[ResultRule, ...]:
    """The rules that come with xnatferry."""
    text = files("xnatferry.sources").joinpath("results.toml").read_text(encoding="utf-8")
    return _rules(text, "results.toml")


def read_rules(path: Path) -> tuple[ResultRule, ...]:
    """The rules of a file, followed by those that come with xnatferry.

    Raises:
        UsageError: It cannot be read, or a rule in it cannot be used; the message names the rule.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}: the rules file cannot be read ({getattr(error, 'strerror', None) or error})"
        ) from None
    return (*_rules(text, str(path)), *built_in_rules())


def rule_for(folder: Path, rules: Sequence[ResultRule]) -> ResultRule | None:
    """The first rule that *folder* fits; None when none does, or it cannot be listed."""
    inside = _inside(folder, max((rule.depth for rule in rules), default=1))
    return next((rule for rule in rules if rule.fits(folder.name, inside)), None) if inside else None


def _inside(folder: Path, depth: int, prefix: str = "") -> list[str]:
    """Names below *folder*, as paths, down to *depth*; hidden ones are left out."""
    found: list[str] = []
    try:
        with os.scandir(folder) as listing:
            for child in listing:
                if child.name.startswith(".") or is_desktop_file(child.name):
                    continue
                found.append(prefix + child.name)
                if depth > 1 and child.is_dir(follow_symlinks=False):
                    found += _inside(folder / child.name, depth - 1, f"{prefix}{child.name}/")
    except OSError:
        return found
    return found


def _rules(text: str, where: str) -> tuple[ResultRule, ...]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: not valid TOML ({error})") from None
    rules = document.get("rule", [])
    if set(document) - {"rule"} or not isinstance(rules, list) or not rules:
        raise UsageError(f"{where}: the file needs [[rule]] tables with name, resource, and all or any")
    return tuple(_rule(one, f"{where}, rule {number}") for number, one in enumerate(rules, start=1))


def _rule(rule: dict[str, Any], where: str) -> ResultRule:
    known = {field.name for field in fields(ResultRule)}
    if not isinstance(rule, dict):
        raise UsageError(f"{where}: a rule is a table with name, resource, and all or any")
    if unknown := set(rule) - known:
        raise UsageError(
            f"{where}: unknown key {', '.join(sorted(unknown))}; known keys are {', '.join(sorted(known))}"
        )
    for word, value in rule.items():
        listed = word in {"all", "any"}
        texts = value if isinstance(value, list) else [value]
        if listed is not isinstance(value, list) or not all(isinstance(one, str) for one in texts):
            raise UsageError(f"{where}: {word} must be {'a list of strings' if listed else 'a string'}")
    if not rule.get("name") or not rule.get("resource") or not (rule.get("all") or rule.get("any")):
        raise UsageError(f"{where}: a rule needs name, resource, and patterns in all or any")
    if problem := resource_label_problem(rule["resource"]):
        raise UsageError(f"{where}: resource {rule['resource']!r}: {problem}")
    if rule.get("level", "session") not in _LEVELS:
        raise UsageError(f"{where}: level must be {', '.join(_LEVELS[:-1])} or {_LEVELS[-1]}, not {rule['level']!r}")
    carry = rule.get("carry", "")
    if carry.startswith("/") or any(part in {"", ".", ".."} for part in carry.split("/") if carry):
        raise UsageError(f"{where}: carry {carry!r} must be a folder below the result")
    lists: dict[str, Any] = {word: tuple(rule.get(word, ())) for word in ("all", "any")}
    return ResultRule(**(rule | lists))
