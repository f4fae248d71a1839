import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.client.session_documents import has_document, session_document
from xnatferry.errors import UsageError
from xnatferry.xnat.records import ScanDocument

NS = {"xnat": "http://nrg.wustl.edu/xnat"}
XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"


def document(fields=None, scans=(), xsi_type="xnat:mrSessionData"):
    return ET.fromstring(session_document("P", "E01", xsi_type=xsi_type, fields=fields or {}, scans=scans))


def names(element):
    return [child.tag.rpartition("}")[2] for child in element]


@pytest.mark.parametrize(
    ("xsi_type", "element"),
    [
        ("xnat:mrSessionData", "MRSession"),
        ("xnat:petSessionData", "PETSession"),
        ("xnat:petmrSessionData", "PETMRSession"),
        ("xnat:ctSessionData", "CTSession"),
        ("xnat:eegSessionData", "EEGSession"),
        ("xnat:otherDicomSessionData", "OtherDicomSession"),
        ("xnat:dx3DCraniofacialSessionData", "DX3DCraniofacialSession"),
        ("xnat:xa3DSessionData", "XA3DSession"),
    ],
)
def test_elements_are_named_as_in_the_schema(xsi_type, element):
    assert has_document(xsi_type)
    assert document(xsi_type=xsi_type).tag == f"{{{NS['xnat']}}}{element}"


@pytest.mark.parametrize("xsi_type", ["fs:fsData", "xnat:mrScanData", "xnat:subjectData", "nonsense"])
def test_other_types_have_no_document(xsi_type):
    assert not has_document(xsi_type)
    with pytest.raises(UsageError):
        document(xsi_type=xsi_type)


def test_fields_stand_in_schema_order_whatever_order_they_came_in():
    fields = {
        "fieldStrength": "3.0",
        "note": "n",
        "date": "2020-01-02",
        "scanner/model": "Skyra",
        "scanner": "MR1",
        "visit_id": "V1",
    }
    scan_fields = {
        "parameters/te": "30",
        "parameters/addParam[name=shape]/addField": "64x64",
        "parameters/tr": "2000",
        "frames": "200",
        "parameters/voxelRes/z": "3",
        "parameters/voxelRes/x": "1.5",
        "parameters/addParam[name=axcodes]/addField": "RAS",
        "quality": "usable",
        "type": "bold",
        "series_description": "rest",
        "note": "a & b <c>",
    }
    root = document(fields, [ScanDocument("1", "xnat:mrScanData", scan_fields), ScanDocument("2", "xnat:petScanData")])
    assert names(root) == ["date", "note", "scanner", "scans", "fieldStrength"]
    assert (root.get("label"), root.get("project"), root.get("visit_id")) == ("E01", "P", "V1")
    scanner = root.find("xnat:scanner", NS)
    assert (scanner.text, scanner.get("model")) == ("MR1", "Skyra")
    scan, other = root.findall("xnat:scans/xnat:scan", NS)
    assert (scan.get("ID"), scan.get("type"), scan.get(XSI_TYPE)) == ("1", "bold", "xnat:mrScanData")
    assert names(scan) == ["note", "quality", "series_description", "frames", "parameters"]
    assert names(scan.find("xnat:parameters", NS)) == ["voxelRes", "tr", "te", "addParam", "addParam"]
    assert scan.find("xnat:parameters/xnat:voxelRes", NS).attrib == {"x": "1.5", "z": "3"}
    assert {e.get("name"): e.text for e in scan.iter(f"{{{NS['xnat']}}}addParam")} == {
        "shape": "64x64",
        "axcodes": "RAS",
    }
    assert scan.find("xnat:note", NS).text == "a & b <c>"
    assert other.get(XSI_TYPE) == "xnat:petScanData"


@given(st.text(max_size=50))
def test_every_text_makes_a_document_that_can_be_read(text):
    root = document({"note": text}, [ScanDocument("1", "xnat:mrScanData", {"series_description": text, "type": text})])
    assert len(root.findall("xnat:scans/xnat:scan", NS)) == 1
    if text.isprintable():
        assert (root.find("xnat:note", NS).text or "") == text


def test_a_path_that_cannot_be_read_is_named():
    with pytest.raises(UsageError, match="'a b'"):
        document({"a b": "x"})
