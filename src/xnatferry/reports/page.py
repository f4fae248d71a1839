"""Renders report pages from templates with one stylesheet.

Pages contain everything (styles, pictures as ``data:`` addresses, drawings as SVG) and run no scripts. Every
value is escaped; what is markup on purpose is `Markup`.

    from xnatferry.reports.page import render

    html = render("freesurfer.html", title=..., subjects=...)      # the template begins with {% extends "base.html" %}
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

if TYPE_CHECKING:
    from collections.abc import Callable


def stylesheet() -> str:
    """The styles of all pages."""
    return _text("style.css")


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates, with escaping; an undefined name is an error."""
    load: Callable[[str], str] = _text
    made = Environment(
        loader=FunctionLoader(load),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["stylesheet"] = stylesheet
    return made


def render(template: str, **values: Any) -> str:
    """A whole page.

    Args:
        template: Name of a template.
        values: Its variables; escaped, unless it is ``markupsafe.Markup``.
    """
    return environment().get_template(template).render(**values)


def _text(name: str) -> str:
    return (files("xnatferry.reports") / "templates" / name).read_text(encoding="utf-8")
