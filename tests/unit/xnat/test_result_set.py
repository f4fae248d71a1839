import csv
import io
import json
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.xnat.result_set import Table, TableError, decode_rows, encode_csv, encode_html, encode_json, encode_xml

text = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20)
tables = st.lists(text, min_size=1, max_size=4, unique=True).flatmap(
    lambda columns: st.lists(st.fixed_dictionaries(dict.fromkeys(columns, text)), max_size=4).map(
        lambda rows: Table(columns, rows)
    )
)


@given(tables)
def test_json_comes_back(table):
    assert decode_rows(encode_json(table)) == [dict(row) for row in table.rows]


@given(tables)
def test_csv_comes_back(table):
    rows = list(csv.reader(io.StringIO(encode_csv(table), newline="")))
    assert rows[0] == list(table.columns)
    assert len(rows) == len(table.rows) + 1


@given(tables)
def test_xml_parses_and_keeps_values(table):
    root = ET.fromstring(encode_xml(table))
    cells = [[cell.text or "" for cell in row] for row in root.iter("row")]
    assert cells == [[row[column] for column in table.columns] for row in table.rows]


def test_json_has_the_shape_that_clients_read():
    answer = json.loads(encode_json(Table(["ID"], [{"ID": "1"}], title="Things")))
    assert answer == {"ResultSet": {"Result": [{"ID": "1"}], "totalRecords": "1", "title": "Things"}}


def test_html_escapes_values():
    assert "<script>" not in encode_html(Table(["a"], [{"a": "<script>"}]))


def test_numbers_and_nulls_of_other_servers_become_text():
    assert decode_rows('{"ResultSet":{"Result":[{"a":null,"b":3}]}}') == [{"a": "", "b": "3"}]


@pytest.mark.parametrize("text", ["", "<html>", "[]", '{"ResultSet":{}}', '{"ResultSet":{"Result":[1]}}'])
def test_what_is_no_listing_is_refused(text):
    with pytest.raises(TableError):
        decode_rows(text)
