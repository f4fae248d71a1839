"""Catalog XML: what one server writes, another reads."""

import string
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.xnat.catalog import Catalog, CatalogEntry, CatalogError, decode_catalog, encode_catalog

WORDS = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc", "Cn")), max_size=12)
NAMES = st.text(string.ascii_letters + string.digits + " ._-+#%&<>\"'é/\t\n", min_size=1, max_size=30)
ENTRIES = st.builds(
    CatalogEntry,
    name=NAMES,
    size_bytes=st.none() | st.integers(0, 1 << 50),
    digest=st.just("") | st.text("0123456789abcdef", min_size=32, max_size=32),
    format=WORDS,
    content=WORDS,
    description=WORDS,
    tags=st.lists(WORDS.filter(str.strip), max_size=3).map(tuple),
    created_by=WORDS,
    created_at=WORDS,
)


@given(
    st.builds(Catalog, id=st.text(string.ascii_letters, min_size=1), entries=st.lists(ENTRIES, max_size=4).map(tuple))
)
def test_a_catalog_comes_back_as_it_was_written(catalog):
    assert decode_catalog(encode_catalog(catalog)) == catalog


def test_the_beginning_is_what_xnatpy_looks_for():
    text = encode_catalog(Catalog("NIFTI"))
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<cat:Catalog ')
    assert ET.fromstring(text.encode()).get("ID") == "NIFTI"


def test_a_recorded_catalog_of_an_older_server_is_read():
    catalog = decode_catalog("""<?xml version="1.0" encoding="UTF-8"?>
        <cat:DCMCatalog UID="1.2.3" xmlns:cat="http://nrg.wustl.edu/catalog" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
        <cat:metaFields><cat:metaField name="AUDIT">12:Added:1</cat:metaField></cat:metaFields>
        <cat:entries>
        <cat:entry ID="NIFTI/b.txt" URI="sub/b.txt" name="b.txt" content="NOTE" createdBy="admin" digest="135bf26348041512fc6163dffb59066f">
          <cat:metaFields><cat:metaField name="size_in_bytes">7</cat:metaField></cat:metaFields>
          <cat:tags><cat:tag>x</cat:tag></cat:tags>
        </cat:entry></cat:entries></cat:DCMCatalog>""")
    (entry,) = catalog.entries
    assert (catalog.id, catalog.meta) == ("1.2.3", {"AUDIT": "12:Added:1"})
    assert (entry.name, entry.size_bytes, entry.digest) == ("sub/b.txt", 7, "135bf26348041512fc6163dffb59066f")
    assert entry.tags == ("x",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no xml",
        "<cat:Catalog",
        "<html><body/></html>",
        '<!DOCTYPE x [<!ENTITY a "b">]><cat:Catalog ID="&a;" xmlns:cat="http://nrg.wustl.edu/catalog"/>',
        '<cat:Catalog xmlns:cat="http://nrg.wustl.edu/catalog"><cat:entries><cat:entry/></cat:entries></cat:Catalog>',
    ],
)
def test_what_is_no_catalog_is_refused(text):
    with pytest.raises(CatalogError):
        decode_catalog(text)
