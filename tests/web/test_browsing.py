"""People look around: log in, browse, sort, filter, download, log out; with a mouse, and with keys only."""

import re

import pytest

SESSION = "/projects/BRAIN/subjects/colin27/sessions/colin27_MR1"


def column(page, number):
    return page.locator(f"tbody tr > :nth-child({number})").all_inner_texts()


def test_a_stranger_is_led_to_the_login_and_from_there_to_where_they_wanted(stranger, site):
    stranger.goto("/projects/MANY?sort=-session")
    assert "/login?next=" in stranger.url
    stranger.get_by_label("User name").fill("admin")
    stranger.get_by_label("Password").fill("admin-secret")
    stranger.get_by_role("button", name="Log in").click()
    assert stranger.url == f"{site.url}/projects/MANY?sort=-session"
    stranger.get_by_role("button", name="Log out").click()
    assert stranger.url == f"{site.url}/login"
    stranger.goto("/projects")
    assert "/login?next=" in stranger.url, "the cookie is worth nothing any more"


def test_a_wrong_password_is_told_and_the_name_kept(stranger):
    stranger.goto("/")
    stranger.get_by_label("User name").fill("admin")
    stranger.get_by_label("Password").fill("wrong")
    stranger.get_by_role("button", name="Log in").click()
    assert "Wrong user name or password" in stranger.get_by_role("alert").inner_text()
    assert stranger.get_by_label("User name").input_value() == "admin"
    assert [text for text in stranger.complaints if "401" not in text] == []
    stranger.complaints.clear()


def test_from_the_front_page_to_a_file(page):
    page.goto("/")
    for name in ("BRAIN", "colin27_MR1", "T1w.nii.gz"):
        page.get_by_role("link", name=name, exact=True).first.click()
    assert page.url.endswith(f"{SESSION}/scans/1/resources/NIFTI/files/T1w.nii.gz")
    assert "digest matched" in page.locator("main").inner_text()
    page.get_by_role("link", name="20240517-push-BRAIN").click()
    assert page.get_by_role("heading", level=1).inner_text() == "20240517-push-BRAIN"


def test_tables_are_sorted_filtered_and_paged(page, site):
    page.goto("/projects/MANY")
    assert f"50 of {site.sessions} sessions" in page.locator(".pager").inner_text()
    labels = column(page, 1)
    assert labels == sorted(labels)
    page.get_by_role("link", name="Next →").click()
    assert len(column(page, 1)) == site.sessions - 50
    page.get_by_role("link", name="Size").click()
    page.get_by_role("link", name="Size").click()
    assert column(page, 1)[0] == "S001_MR1"
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("Size")
    page.get_by_label("Find").fill("s00")
    page.get_by_role("button", name="Apply").click()
    assert len(column(page, 1)) == 10
    page.get_by_label("Modality", exact=True).select_option(label="PET (6)")
    page.get_by_role("button", name="Apply").click()
    assert column(page, 1) == ["S000_PET1"]
    page.get_by_role("link", name="Clear").click()
    assert f"of {site.sessions} sessions" in page.locator(".pager").inner_text()


def test_a_file_and_a_whole_session_are_downloaded(page, site):
    page.goto(f"{SESSION}/resources/TEXTS/files/notes.txt")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download").click()
    assert waiting.value.path().read_bytes() == b"plain words\n"
    page.goto(SESSION)
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download all").click()
    assert waiting.value.path().read_bytes()[:4] == b"PK\3\4"


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("notes.txt", "plain words"),
        ("side.json", '"RepetitionTime": 2.0'),
        ("table.tsv", "hippocampus"),
        ("empty.txt", "The file is empty"),
        ("bytes.bin", "No preview for this file type"),
    ],
)
def test_previews(page, name, seen):
    page.goto(f"{SESSION}/resources/TEXTS/files/{name}")
    assert seen in page.locator("main").inner_text()


def test_it_can_be_used_with_keys_only(stranger, site):
    stranger.goto("/login")
    stranger.wait_for_selector("[name=username]:focus")  # the cursor is in the first field
    stranger.keyboard.type("admin")
    stranger.keyboard.press("Tab")
    stranger.wait_for_selector("[name=password]:focus")
    stranger.keyboard.type("admin-secret")
    stranger.keyboard.press("Enter")
    stranger.wait_for_url(f"{site.url}/")
    stranger.keyboard.press("Tab")
    skip = stranger.locator(":focus")
    assert skip.inner_text() == "Skip to content"
    assert skip.bounding_box()["x"] >= 0, "what has the focus can be seen"
    stranger.keyboard.press("Enter")
    for _ in range(12):
        stranger.keyboard.press("Tab")
        if stranger.locator(":focus").inner_text() == "BRAIN":
            break
    stranger.keyboard.press("Enter")
    stranger.wait_for_url(f"{site.url}/projects/BRAIN")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    stranger.keyboard.press("Tab")
    assert stranger.evaluate(outline) == "solid"


def test_without_scripts_everything_but_the_view_works(browser, site):
    context = browser.new_context(base_url=site.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/projects/MANY")
    page.fill("#username", "admin")
    page.fill("#password", "admin-secret")
    page.click("main button")
    page.click("th >> text=Date")
    assert "sort=date" in page.url
    page.goto(f"{SESSION}/view")
    assert "needs JavaScript" in page.content() or "came without" in page.content()
    context.close()


def test_an_administrator_adds_shuts_out_and_gives_roles(page, browser, site):
    page.goto("/accounts")
    page.get_by_label("Login name").fill("anna")
    page.get_by_label("Password (at least 8 characters)").fill("anna-secret")
    page.get_by_role("button", name="Add").click()
    page.goto("/projects/MANY/members")
    page.get_by_label("Login name").fill("anna")
    page.get_by_label("Role", exact=True).select_option("collaborator")
    page.get_by_role("button", name="Add").click()
    assert page.get_by_role("row", name=re.compile("^anna")).get_by_text("collaborator").is_visible()
    with site.http("anna", "anna-secret") as anna:
        assert anna.get("/projects/MANY").status_code == 200
        assert anna.get("/projects/MANY/members").status_code == 403
        assert anna.get("/accounts").status_code == 403
        page.get_by_role("button", name="Remove the role collaborator from anna").click()
        assert anna.get("/projects/MANY").status_code == 404
        page.goto("/accounts")
        page.get_by_role("button", name="Disable anna").click()
        assert anna.get("/projects").status_code == 401


def test_a_telephone_shows_all_of_it(browser, site, page):
    page.set_viewport_size({"width": 360, "height": 740})
    for path in ("/", "/projects/MANY", SESSION, f"{SESSION}/resources/TEXTS", "/accounts", "/imports"):
        page.goto(path)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path} is {wide} pixels wider than the screen"
