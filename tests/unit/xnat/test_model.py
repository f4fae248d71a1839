from itertools import pairwise, product
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.errors import UsageError
from xnatferry.xnat.model import Address, Level, quote_name

WORDS = ["subjects", "experiments", "scans", "assessors", "resources", "files"]
label = st.one_of(st.text(alphabet="abcXYZ019_-", min_size=1, max_size=12), st.sampled_from(WORDS))


@st.composite
def addresses(draw):
    depth = draw(st.integers(1, 3))
    labels = [draw(label) for _ in range(depth)]
    address = Address(*labels)
    if depth == 3 and draw(st.booleans()):
        address = address.child(draw(st.sampled_from([Level.SCAN, Level.ASSESSOR])), draw(label))
    if draw(st.booleans()):
        address = address.child(Level.RESOURCE, draw(label))
        if draw(st.booleans()):
            address = address.child(Level.FILE, "/".join(draw(st.lists(label, min_size=1, max_size=3))))
    return address


@given(addresses())
def test_an_address_survives_text(address):
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "depth", [("subject",), ("subject", "session"), ("subject", "session", "scan"), ("subject", "session", "assessor")]
)
def test_labels_that_are_words_of_addresses_survive_text(depth):
    for tail in ((), ("resource",), ("resource", "file")):
        names = (*depth, *tail)
        for labels in product(["subjects", "resources", "scans", "files", "x"], repeat=len(names)):
            address = Address("P", **dict(zip(names, labels, strict=True)))
            assert Address.parse(str(address)) == address


def test_ordinary_addresses_can_be_marked_too():
    marked = "P/subjects/S/experiments/E/scans/1/resources/R/files/a/b"
    assert Address.parse(marked) == Address.parse("P/S/E/scans/1/resources/R/files/a/b")
    assert Address.parse("P/subjects/resources/resources/R") == Address("P", "resources", resource="R")


@given(addresses())
def test_ancestors_lead_from_the_project_down(address):
    chain = [*address.ancestors(), address]
    assert chain[0].level is Level.PROJECT
    assert all(upper == lower.parent for upper, lower in pairwise(chain))


@given(addresses(), addresses())
def test_an_address_holds_what_it_is_an_ancestor_of_and_nothing_else(address, other):
    above = address.ancestors()
    assert all(one.holds(address) for one in above)
    assert not address.holds(address)
    assert other.holds(address) == (other in above)


def test_a_resource_does_not_hold_the_files_of_one_of_its_name_further_down():
    upper, lower = (Address.parse(f"{text}/resources/NOTES/files/a.txt") for text in ("P/S", "P/S/S_MR1"))
    assert upper.parent.holds(upper)
    assert not upper.parent.holds(lower)
    assert Address("P", "S").holds(lower)


@given(st.lists(addresses()))
def test_a_container_is_sorted_before_what_it_holds(found):
    ordered = sorted(found)
    for index, address in enumerate(ordered):
        assert not set(ordered[index + 1 :]) & set(address.ancestors())


@pytest.mark.parametrize(
    "text", ["", "a//b", "P/S/E/x", "P/S/E/scans", "P/resources", "P/resources/R/x", "P/S/E/scans/1/y"]
)
def test_text_that_is_no_address_is_refused(text):
    with pytest.raises(UsageError, match=r"address|resources"):
        Address.parse(text)


def test_a_hole_in_an_address_is_a_mistake():
    with pytest.raises(ValueError, match="incomplete"):
        Address("P", session="S")


@given(st.text(min_size=1).filter(lambda text: "\x00" not in text))
def test_a_quoted_name_comes_back(name):
    quoted = quote_name(name.encode("utf-8", "ignore").decode())
    assert unquote(quoted) == name.encode("utf-8", "ignore").decode()
    assert "+" not in quoted or quoted == name
    assert "?" not in quoted
    assert "#" not in quoted
