import pytest

from xnatferry.xnat.xml import DoctypeError, XmlError, read_xml


def test_a_document_is_read():
    assert read_xml(b'<?xml version="1.0" encoding="latin-1"?><x a="\xe9"/>').get("a") == "é"
    assert read_xml("<x/>").tag == "x"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<",
        b"\x00\xff<x/>",
        b'<?xml version="1.0" encoding="no-such"?><x/>',
        b'<?xml version="1.0" encoding="UTF-7"?><x/>',
        b'<?xml version="1.0" encoding="utf-32"?><x/>',
        b'<?xml version="1.0" encoding="hex"?><x/>',
        b'<?xml version="1.0" encoding="rot13"?><x/>',
        b'<?xml version="1.0" encoding="idna"?><x/>',
    ],
)
def test_what_is_no_xml_is_one_kind_of_error(text):
    with pytest.raises(XmlError):
        read_xml(text)


def test_a_doctype_is_refused():
    with pytest.raises(DoctypeError, match="DOCTYPE"):
        read_xml('<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>')
