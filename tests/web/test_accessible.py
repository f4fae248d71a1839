"""axe-core finds nothing to complain about, in light and in dark."""

import pytest
from axe_playwright_python.base import AXE_FILE_PATH

PAGES = (
    "/projects",
    "/projects/MANY",
    "/projects/MANY/subjects",
    "/projects/MANY/members",
    "/projects/BRAIN/subjects/colin27",
    "/projects/BRAIN/subjects/colin27/sessions/colin27_MR1",
    "/projects/BRAIN/subjects/ball/sessions/ball_MR1/view?surface=resources/FREESURFER7/files/ball/surf/pial",
    "/projects/BRAIN/subjects/colin27/sessions/colin27_MR1/resources/TEXTS",
    "/projects/BRAIN/subjects/colin27/sessions/colin27_MR1/resources/TEXTS/files/table.tsv",
    "/imports",
    "/projects/BRAIN/imports/20240517-push-BRAIN",
    "/accounts",
    "/account",
)
RUN = "() => axe.run().then(found => found.violations.map(one => one.id + ': ' + one.nodes.map(node => node.html + ' ' + node.failureSummary).join(' | ')))"


def violations(page):
    # Added by the test tool, not by the page: the policy of the page would not let it in.
    page.evaluate(AXE_FILE_PATH.read_text(encoding="utf-8"))
    return page.evaluate(RUN)


def test_pages(page):
    for path in PAGES:
        page.goto(path)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert violations(page) == [], (path, scheme)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_login_page(stranger, scheme):
    stranger.emulate_media(color_scheme=scheme)
    stranger.goto("/login")
    assert violations(stranger) == []


def test_every_page_has_one_heading_a_language_and_a_title_of_its_own(page):
    titles = set()
    for path in (path for path in PAGES if "/view" not in path):
        page.goto(path)
        assert page.locator("h1").count() == 1, path
        assert page.locator("html").get_attribute("lang") == "en"
        assert page.title() not in titles, path
        titles.add(page.title())
