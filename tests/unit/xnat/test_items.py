"""Item JSON and XML documents."""

import contextlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.xnat.item_json import encode_item_json
from xnatferry.xnat.item_xml import decode_item_xml, encode_item_xml
from xnatferry.xnat.items import DocumentError, ItemTree

#: What XML can hold; leading and trailing blanks are cut, as XNAT does.
words = (
    st.text(
        st.characters(exclude_categories=("Cc", "Cs", "Cn"), exclude_characters="\r\ufffe\uffff"),
        min_size=1,
        max_size=40,
    )
    .map(str.strip)
    .filter(bool)
)
names = st.text("abcXYZ019_-.", min_size=1, max_size=12)

scan_fields = st.fixed_dictionaries(
    {"ID": names},
    optional={
        "type": words,
        "quality": words,
        "series_description": words,
        "frames": st.integers(0, 10**9).map(str),
        "parameters/tr": st.sampled_from(["2000.0", "0.5"]),
        "parameters/voxelRes/x": st.just("1.5"),
        "scanner": words,
        "scanner/model": words,
    },
)
session_fields = st.fixed_dictionaries(
    {},
    optional={
        "note": words,
        "date": st.dates().map(str),
        "label": names,
        "fields/field[name=site]/field": words,
        "fields/field[name=arm]/field": words,
        "investigator/firstname": st.just("Ada"),
    },
)


@st.composite
def sessions(draw):
    scans = draw(st.lists(scan_fields, max_size=3))
    tree = ItemTree("xnat:mrSessionData", draw(session_fields))
    if scans:
        tree.nested["scans/scan"] = [ItemTree("xnat:mrScanData", one) for one in scans]
    return tree


def plain(tree):
    return tree.xsi_type, tree.fields, {path: [plain(one) for one in below] for path, below in tree.nested.items()}


@given(sessions())
def test_a_document_read_back_is_what_was_written(tree):
    assert plain(decode_item_xml(encode_item_xml(tree))) == plain(tree)


@given(sessions())
def test_the_json_of_an_item_holds_all_its_fields(tree):
    (item,) = json.loads(encode_item_json(tree))["items"]
    assert item["meta"]["xsi:type"] == "xnat:mrSessionData"
    shown = item["data_fields"]
    for path, text in tree.fields.items():
        if "/" not in path:
            assert shown[path] == text
    scans = [one["items"] for one in item["children"] if one["field"] == "scans/scan"]
    assert sum(map(len, scans)) == len(tree.nested.get("scans/scan", []))


def test_numbers_are_numbers_and_paths_are_flat():
    tree = ItemTree(
        "xnat:mrScanData", {"ID": "1", "frames": "3", "parameters/tr": "2000.0", "parameters/voxelRes/x": "0.5"}, key=7
    )
    (item,) = json.loads(encode_item_json(tree))["items"]
    assert item["data_fields"] == {
        "ID": "1",
        "frames": 3,
        "parameters/voxelRes/x": 0.5,
        "parameters/tr": 2000,
        "xnat_imageScanData_id": 7,
        "xnat_imagescandata_id": 7,
    }


def test_the_date_is_javas():
    (item,) = json.loads(encode_item_json(ItemTree("xnat:subjectData", started="2024-03-04 05:06:07.890")))["items"]
    assert item["meta"]["start_date"] == "Mon Mar 04 05:06:07 UTC 2024"


def test_what_ends_a_script_is_escaped():
    text = encode_item_json(ItemTree("xnat:subjectData", {"src": "</script>"}))
    assert "</script>" not in text
    assert json.loads(text)["items"][0]["data_fields"]["src"] == "</script>"


def test_hidden_numbers_stand_in_comments():
    written = encode_item_xml(ItemTree("xnat:mrScanData", {"ID": "1"}, key=5)).decode()
    assert '<!--hidden_fields[xnat_imageScanData_id="5"]-->' in written
    assert plain(decode_item_xml(written.encode())) == ("xnat:mrScanData", {"ID": "1"}, {})


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 422, "parsing the XML"),
        (b"<xnat:Subject", 422, "parsing the XML"),
        (b"<a/>", 422, "Invalid Element ':a'"),
        (b'<x:Subject xmlns:x="http://other"/>', 422, "Invalid Element 'http://other:Subject'"),
        (b'<!DOCTYPE a><x:Subject xmlns:x="http://nrg.wustl.edu/xnat"/>', 422, "DOCTYPE"),
        (b'<x:Subject xmlns:x="http://nrg.wustl.edu/xnat"><x:no/></x:Subject>', 422, "Invalid field 'no'"),
        (b'<x:MRScan xmlns:x="http://nrg.wustl.edu/xnat"><x:frames>x</x:frames></x:MRScan>', 400, "Valid Integer"),
    ],
)
def test_documents_that_are_none(body, status, words):
    with pytest.raises(DocumentError, match=re.escape(words)) as caught:
        decode_item_xml(body)
    assert caught.value.status == status


def test_provenance_is_refused_and_not_dropped():
    document = b'<x:%s xmlns:x="http://nrg.wustl.edu/xnat"><x:provenance>%s</x:provenance></x:%s>'
    for name in (b"QCManualAssessment", b"ReconstructedImage"):
        assert decode_item_xml(document % (name, b"", name)).fields == {}
        with pytest.raises(DocumentError, match="'provenance' is of the schema prov:process") as caught:
            decode_item_xml(document % (name, b"<x:processStep/>", name))
        assert caught.value.status == 422


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(body):
    with contextlib.suppress(DocumentError):
        decode_item_xml(body)
