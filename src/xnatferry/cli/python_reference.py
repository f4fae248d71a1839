"""The Python API as a page of the documentation, from signatures and docstrings.

python -m xnatferry.cli.python_reference > docs/python-api.md
"""

from __future__ import annotations

import inspect
import re
import sys
from enum import Enum
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["python_page"]

#: Modules whose public names the page holds, with the words above them.
_MODULES = (
    ("xnatferry", "What `import xnatferry` gives. How it goes together is in [Python](python.md)."),
    ("xnatferry.pictures", "Pictures of images."),
    ("xnatferry.testing", "An archive for the tests of other programs: [testing](testing.md)."),
)
_SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Attributes|Examples?):$")


def python_page() -> str:
    """``docs/python-api.md``."""
    lines = [
        "# Python, every name",
        "",
        "<!-- Made by `make reference` from the docstrings; changes belong there. -->",
        "",
        "Errors are in [a page of their own](errors.md).",
    ]
    for module_name, words in _MODULES:
        module = import_module(module_name)
        lines += ["", f"## {module_name}", "", words]
        named = ((name, getattr(module, name)) for name in sorted(module.__all__, key=str.lower))
        lines += [line for name, found in named if callable(found) for line in _entry(name, found)]
    return "\n".join(lines) + "\n"


def _entry(name: str, found: Callable[..., object]) -> Iterator[str]:
    """One name with its signature and docstring, and the methods and properties of a class below it."""
    yield from ("", f"### {name}", "", "```python", f"{_keyword(found)}{name}{_signature(found)}", "```")
    yield from _prose(found)
    if not inspect.isclass(found):
        return
    if issubclass(found, Enum):
        yield from ("", "Members: " + ", ".join(f"`{member}`" for member in found.__members__) + ".")
    for member, value in vars(found).items():
        plain = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if member.startswith("_") or not inspect.isfunction(plain) or not plain.__doc__:
            continue
        shown = "" if isinstance(value, property) else _signature(plain)
        yield from ("", f"#### {name}.{member}", "", "```python", f"{member}{shown}", "```")
        yield from _prose(plain)


def _keyword(found: object) -> str:
    return "class " if inspect.isclass(found) else ""


def _signature(found: Callable[..., object]) -> str:
    """With annotations as they are written; on several lines where one would be too long."""
    if inspect.isclass(found) and issubclass(found, Enum):
        return ""  # differs between versions of Python, and nobody calls it
    signature = inspect.signature(found)
    kept = [one for one in signature.parameters.values() if one.name not in {"self", "cls"}]
    shown = _with_marker(kept, [_parameter(one) for one in kept])
    gives = (
        "" if signature.return_annotation in {signature.empty, None, "None"} else f" -> {signature.return_annotation}"
    )
    line = f"({', '.join(shown)}){gives}"
    return line if len(line) < 90 else "(\n    " + ",\n    ".join(shown) + f",\n){gives}"


def _parameter(one: inspect.Parameter) -> str:
    stars = "*" * (one.kind is one.VAR_POSITIONAL) + "**" * (one.kind is one.VAR_KEYWORD)
    kind = "" if one.annotation is one.empty else f": {one.annotation}"
    default = "" if one.default is one.empty else f" = {_default(one.default)}"
    return f"{stars}{one.name}{kind}{default if kind else default.replace(' ', '')}"


def _default(value: object) -> str:
    """A default as source would say it; one that has an address in memory or a factory is only hinted at."""
    text = repr(value)
    return "..." if "<" in text or len(text) > 40 else text


def _with_marker(kept: list[inspect.Parameter], shown: list[str]) -> list[str]:
    """With the star after which parameters need their names."""
    for number, one in enumerate(kept):
        if one.kind is inspect.Parameter.KEYWORD_ONLY:
            return [*shown[:number], "*", *shown[number:]]
        if one.kind is inspect.Parameter.VAR_POSITIONAL:
            break
    return shown


def _prose(found: object) -> list[str]:
    """The docstring as Markdown: sections as lists, ``code`` as `code`."""
    doc = inspect.cleandoc(getattr(found, "__doc__", None) or "").replace("``", "`")
    lines = [""]
    section = ""
    for line in doc.splitlines():
        if heading := _SECTION.match(line):
            section = heading[1]
            lines += [f"**{section}**", ""]
        elif section and re.match(r"^ {4}\S", line):
            name, colon, words = line.strip().partition(": ")
            lines.append(
                f"* `{name.strip('`')}`: {words}"
                if colon and section not in {"Returns", "Yields"}
                else f"* {line.strip()}"
            )
        elif section and line.startswith("     "):
            lines.append(f"  {line.strip()}")
        else:
            section = "" if line else section
            lines.append(f"    {line}" if line.startswith(">>> ") or lines[-1].startswith("    >>> ") else line)
    return lines


if __name__ == "__main__":
    sys.stdout.write(python_page())
