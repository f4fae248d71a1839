"""The documentation as a site: built without a warning, whole, and asking nobody else for anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

TOP = Path(__file__).resolve().parents[2]
pytest.importorskip("mkdocs")
pytest.importorskip("material")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if not (TOP / "mkdocs.yml").exists():
        pytest.skip("built from a checkout only")
    folder = tmp_path_factory.mktemp("site") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder],
        cwd=TOP,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class References(HTMLParser):
    """What a page loads, and where it leads."""

    def __init__(self, page):
        super().__init__()
        self.loaded, self.linked = [], []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "a" or (tag == "link" and attributes.get("rel") in {"canonical", "edit", "next", "prev"}):
            self.linked.append(attributes.get("href") or "")
        else:
            self.loaded += [attributes[name] for name in ("src", "href", "data", "poster") if attributes.get(name)]


def test_nothing_is_loaded_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        for address in References(page).loaded:
            assert not urlsplit(address).netloc, f"{page.relative_to(site)} loads {address}"
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert "@import" not in text
        assert "url(http" not in text.replace('"', "").replace("'", "")


def test_links_lead_to_pages_of_the_site_or_to_the_repository(site):
    for page in site.rglob("*.html"):
        if page.name == "404.html":
            continue  # its links begin at the root of a server
        for address in References(page).linked:
            parts = urlsplit(address)
            if parts.scheme or not parts.path:
                continue
            found = (page.parent / unquote(parts.path)).resolve()
            assert (found / "index.html" if found.is_dir() else found).is_file(), f"{page.relative_to(site)}: {address}"


def test_links_into_the_repository_name_files_that_are_there(site):
    ours = re.compile(r"https://github\.com/xnatferry/xnatferry/(blob|tree)/main/([^#]+)")
    linked = {one for page in site.rglob("*.html") for one in References(page).linked}
    found = [match for match in map(ours.fullmatch, linked) if match]
    assert len(found) >= 3
    for match in found:
        there = TOP / match[2]
        assert there.is_file() if match[1] == "blob" else there.is_dir(), match[0]


def test_the_picture_of_the_concepts_is_shown(site):
    assert "concepts.svg" in References(site / "concepts.html").loaded
