from hypothesis import given
from hypothesis import strategies as st

from xnatferry.xnat.error_page import error_page, is_error_page, message_of_page


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=100))
def test_the_message_of_a_page_comes_back(message):
    page = error_page(404, message)
    assert page.startswith("<html>")
    assert is_error_page(page)
    if message.strip():
        assert message_of_page(page) == " ".join(message.split())


def test_other_pages_are_reduced_to_a_line():
    page = "<!DOCTYPE html><html><head><title>Log in</title></head><body>" + "x" * 900
    assert message_of_page(page) == "Log in"
    assert len(message_of_page("<p>" + "word " * 200)) <= 300
