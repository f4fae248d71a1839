"""The tree of routes finds what a regular expression of every template finds, in the same order."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.server.app import ROUTES
from xnatferry.server.request_scope import Route
from xnatferry.server.router import Router

ROUTER = Router(ROUTES)


def pattern(template):
    out = ""
    for piece in re.split(r"(/\{\w+\*?\})", template):
        if not (variable := re.fullmatch(r"/\{(\w+)(\*?)\}", piece)):
            out += re.escape(piece)
        else:
            out += f"(?:/(?P<{variable[1]}>.*))?" if variable[2] else f"/(?P<{variable[1]}>[^/]+)"
    return re.compile(out + ("" if template.endswith("*}") else "/?"))


PATTERNS = [(route, pattern(route.template)) for route in ROUTES]


def expected(path):
    hits = [(route, one.fullmatch(path)) for route, one in PATTERNS]
    return [(route, {key: value or "" for key, value in hit.groupdict().items()}) for route, hit in hits if hit]


@given(st.data())
def test_agrees_with_the_templates(data):
    template = data.draw(st.sampled_from(ROUTES)).template
    part = st.sampled_from(["P", "S", "1", "files", "resources", "scans", "in", "", "x/y", "a%20b", "/"])
    path = re.sub(r"\{\w+\*?\}", lambda _: data.draw(part), template)
    path += data.draw(st.sampled_from(["", "/", "//", "/more", "/files/", "/files/a/b/"]))
    assert [(one.template, raw) for one, raw in ROUTER.match(path)] == [
        (one.template, raw) for one, raw in expected(path)
    ]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/a", [("1", {})]),
        ("/a/", [("1", {})]),
        ("/a/b", [("2", {"x": "b"})]),
        ("/a/b/files", [("3", {"x": "b", "file": ""})]),
        ("/a/b/files/", [("3", {"x": "b", "file": ""})]),
        ("/a/b/files/c//d/", [("3", {"x": "b", "file": "c//d/"})]),
        ("/a//files", []),
        ("/", []),
        ("", []),
    ],
)
def test_variables_and_rests(path, found):
    templates = {"1": "/a", "2": "/a/{x}", "3": "/a/{x}/files/{file*}"}
    router = Router(Route((name,), template, None) for name, template in templates.items())
    assert [(route.methods[0], raw) for route, raw in router.match(path)] == found
