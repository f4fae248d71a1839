"""The schema as XNAT publishes it, and paths in it."""

import pytest

from xnatferry.xnat.datatypes import data_type, extends, kind_of, of_element, resolve, split_path, type_names


def test_every_type_of_the_schema_is_there():
    assert len(type_names()) > 100
    assert {"xnat:mrSessionData", "xnat:petScanData", "xnat:subjectData", "xnat:qcManualAssessorData"} <= set(
        type_names()
    )


@pytest.mark.parametrize(
    ("name", "ancestor", "expected"),
    [
        ("xnat:mrSessionData", "xnat:imageSessionData", True),
        ("xnat:mrsessiondata", "XNAT:EXPERIMENTDATA", True),
        ("xnat:mrSessionData", "xnat:mrSessionData", True),
        ("xnat:imageSessionData", "xnat:mrSessionData", False),
        ("xnat:mrScanData", "xnat:experimentData", False),
        ("xnat:nonsense", "xnat:nonsense", False),
    ],
)
def test_what_extends_what(name, ancestor, expected):
    assert extends(name, ancestor) is expected


@pytest.mark.parametrize(
    ("type_name", "path", "found", "kind"),
    [
        ("xnat:mrScanData", "id", "ID", "string"),
        ("xnat:mrScanData", "parameters/voxelres/X", "parameters/voxelRes/x", "float"),
        ("xnat:mrScanData", "frames", "frames", "integer"),
        ("xnat:mrSessionData", "date", "date", "date"),
        ("xnat:mrSessionData", "scanner", "scanner", "string"),
        ("xnat:mrSessionData", "scanner/model", "scanner/model", "string"),
        ("xnat:subjectData", "demographics[@xsi:type=xnat:demographicData]/yob", "demographics/yob", "integer"),
        ("xnat:subjectData", "demographics[@xsi:type='xnat:demographicData']/yob", "demographics/yob", "integer"),
        ("xnat:subjectData", "demographics/yob", "demographics/yob", "integer"),
        ("xnat:subjectData", "fields/field[name=a/b]/field", "fields/field[name=a/b]/field", "string"),
        ("xnat:subjectData", "addID[name=x]", "addID[name=x]/addID", "string"),
        ("xnat:projectData", "aliases/alias", "aliases/alias[1]/alias", "string"),
        ("xnat:mrScanData", "parameters/addParam[name=k]/addField", "parameters/addParam[name=k]/addField", "string"),
    ],
)
def test_paths_are_found_in_the_schemas_spelling(type_name, path, found, kind):
    resolved = resolve(type_name, path)
    assert (resolved.path, kind_of(resolved.node)) == (found, kind)


@pytest.mark.parametrize(
    ("type_name", "path"),
    [
        ("xnat:mrScanData", "nonsense"),
        ("xnat:mrScanData", "parameters"),
        ("xnat:mrScanData", "parameters/nonsense"),
        ("xnat:mrScanData", ""),
        ("xnat:mrScanData", "a[b"),
        ("xnat:subjectData", "demographics[@xsi:type=xnat:mrScanData]/type"),
        ("xnat:nonsense", "ID"),
    ],
)
def test_paths_that_lead_nowhere(type_name, path):
    assert resolve(type_name, path) is None


def test_a_concrete_type_is_told():
    assert resolve("xnat:subjectData", "demographics/gender").types == {"demographics": "xnat:demographicData"}


def test_inherited_fields_come_first_in_the_schemas_order():
    names = [node.name for node in data_type("xnat:mrScanData").nodes]
    assert (
        names.index("quality")
        < names.index("series_description")
        < names.index("fieldStrength")
        < names.index("parameters")
    )


def test_document_elements():
    assert of_element("MRSession").name == "xnat:mrSessionData"
    assert of_element("Nonsense") is None
    assert data_type("xnat:subjectData").element == "Subject"


def test_steps_of_a_path():
    assert split_path("a/b[name=x/y][@z]/c") == [("a", []), ("b", ["name=x/y", "@z"]), ("c", [])]
