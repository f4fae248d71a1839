"""docs/archive.md lists exactly the routes that there are."""

import re
from pathlib import Path

from xnatferry.server.app import ROUTES, SITE_ROUTES, matching

PAGE = (Path(__file__).parents[2] / "docs" / "archive.md").read_text()
SESSIONS = (
    "/projects/{project}/subjects/{subject}/experiments/{experiment}",
    "/projects/{project}/experiments/{experiment}",
    "/experiments/{experiment}",
)


def spelled_out(mark):
    """What the page lists with *mark*, each form of a session by itself."""
    return [
        place.replace("{session}", session)
        for place in re.findall(rf"^{mark} `(/projects.*|/subjects.*|\{{session\}}.*)`$", PAGE, re.MULTILINE)
        for session in (SESSIONS if "{session}" in place else ("",))
    ]


#: What the words in braces of some paths stand for.
FAMILIES = {"{place}": spelled_out(r"\*"), "{item}": spelled_out("-")}


def listed():
    """Method, path and verdict of every row of the tables, with ``{place}`` and ``{item}`` spelled out."""
    rows = re.findall(r"^\| ([A-Z ]+) \| `([^`]+)` \| (\w*) \| (.*?) ?\|$", PAGE, re.MULTILINE)
    for methods, path, verdict, words in rows:
        for method in methods.split():
            family = next((one for one in FAMILIES if one in path), "")
            for place in FAMILIES[family] if family else [""]:
                yield method, path.replace(family, place), verdict, words


def test_the_page_lists_every_route_once_and_nothing_else():
    there = [(method, "/data" + route.template) for route in ROUTES for method in route.methods]
    there += [(method, route.template) for route in SITE_ROUTES for method in route.methods]
    on_page = [(method, path) for method, path, _, _ in listed()]
    assert sorted(set(there) - set(on_page)) == [], "not on the page"
    assert sorted(set(on_page) - set(there)) == [], "on the page, but not in the archive"
    assert len(on_page) == len(set(on_page))


def test_every_difference_is_said():
    verdicts = {verdict for _, _, verdict, _ in listed()}
    assert verdicts == {"same", "differs"}
    assert all(words.strip() for _, _, verdict, words in listed() if verdict == "differs")


def test_what_is_said_to_be_absent_is(http):
    absent = re.findall(r"^\| `([^`]+)` \|[^|]*\|$", PAGE.partition("## Absent")[2], re.MULTILINE)
    assert len(absent) > 8
    for path in absent:
        assert matching(path) == [], path
        assert http.get(path).status_code == 404, path
