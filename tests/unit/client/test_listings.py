import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.client.listings import decode_item, decode_listing, remote_file
from xnatferry.client.responses import ServerResponse
from xnatferry.errors import NotXnatError
from xnatferry.xnat.labels import remote_name_problem
from xnatferry.xnat.records import RemoteFile


def response(text):
    return ServerResponse(200, {}, text.encode(), "GET", "http://h.org/data/x?format=json")


@given(st.text(min_size=1, max_size=30).filter(lambda name: remote_name_problem(name) is None))
def test_a_name_is_used_as_listed(name):
    row = {"URI": f"/data/experiments/E/resources/9/files/{name}", "Name": name.rpartition("/")[2], "collection": "R"}
    assert remote_file(row).name == name


def test_a_row_of_1_8():
    row = {
        "Name": "img.nii.gz",
        "Size": "1234",
        "URI": "/data/experiments/XNAT_E00001/scans/1/resources/17/files/sub/img.nii.gz",
        "collection": "NIFTI",
        "file_tags": "t",
        "file_format": "NIFTI",
        "file_content": "T1w",
        "cat_ID": "17",
        "digest": "D41D8CD98F00B204E9800998ECF8427E",
    }
    assert remote_file(row) == RemoteFile(
        "NIFTI", "sub/img.nii.gz", 1234, "d41d8cd98f00b204e9800998ecf8427e", row["URI"], "1", "NIFTI", "T1w", "t"
    )


@pytest.mark.parametrize("digest", [{}, {"digest": ""}, {"digest": "null"}])
def test_missing_digests_are_none(digest):
    row = {"Name": "a", "Size": "1", "URI": "/data/projects/P/resources/3/files/a", "collection": "DOCS", **digest}
    found = remote_file(row)
    assert (found.digest, found.scan, found.resource, found.name) == (None, None, "DOCS", "a")


def test_rows_that_say_less():
    found = remote_file({"name": "b.txt", "size": "", "absolutePath": "/archive/x/b.txt"})
    assert (found.name, found.size_bytes, found.uri) == ("b.txt", 0, "")
    unlabelled = remote_file(
        {"Name": "c", "Size": "2", "URI": "/data/experiments/E/resources/9/files/c", "collection": ""}
    )
    assert unlabelled.resource == "9"


def test_a_path_that_looks_like_a_resource_inside_a_resource():
    uri = "/data/experiments/E/resources/9/files/scans/2/resources/NIFTI/files/c.txt"
    found = remote_file({"Name": "c.txt", "Size": "2", "URI": uri, "collection": "OLD"})
    assert (found.name, found.scan) == ("scans/2/resources/NIFTI/files/c.txt", None)


def test_columns_whatever_their_case_or_path():
    row = {"id": "XNAT_E1", "xnat:mrsessiondata/date": "2020-01-02", "Subject_Label": "s1"}
    text = json.dumps({"ResultSet": {"Result": [row]}})
    found = decode_listing(response(text), ("ID", "date", "subject_label", "xsiType"))[0]
    assert {k: found[k] for k in ("ID", "date", "subject_label", "xsiType")} == {
        "ID": "XNAT_E1",
        "date": "2020-01-02",
        "subject_label": "s1",
        "xsiType": "",
    }


def test_values_of_queries_are_listed_as_they_were_meant():
    text = json.dumps({"ResultSet": {"Result": [{"note": "A &amp; B &lt;c&gt; &quot;d&quot; &apos;e&apos;"}]}})
    assert decode_listing(response(text))[0]["note"] == "A & B <c> \"d\" 'e'"


def test_names_that_hold_an_entity_are_names():
    text = json.dumps(
        {"ResultSet": {"Result": [{"Name": "a&amp;b.nii", "URI": "/data/x/resources/1/files/a&amp;b.nii"}]}}
    )
    assert remote_file(decode_listing(response(text))[0]).name == "a&amp;b.nii"


@pytest.mark.parametrize("text", ["", "null", "{}", "[1]", '{"items":[]}', "Unknown"])
def test_what_is_no_listing_or_item_is_no_xnat(text):
    with pytest.raises(NotXnatError, match=r"h\.org/data/x: the answer is not an XNAT"):
        decode_listing(response(text))
    with pytest.raises(NotXnatError, match=r"h\.org/data/x: the answer is not an XNAT"):
        decode_item(response(text))


def test_an_item():
    text = json.dumps(
        {
            "items": [
                {
                    "meta": {"xsi:type": "xnat:mrScanData"},
                    "children": [],
                    "data_fields": {"ID": "4", "frames": 176, "note": None},
                }
            ]
        }
    )
    assert decode_item(response(text)) == {"ID": "4", "frames": "176", "note": "", "xsi:type": "xnat:mrScanData"}
