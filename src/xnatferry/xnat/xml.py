"""XML that came from outside: read without entities, with one kind of error for all that can be wrong with it."""

from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring


class XmlError(ValueError):
    """The text is no XML that may be read."""


class DoctypeError(XmlError):
    """The document has a DOCTYPE or entities, which can point at files of the machine or grow without end."""


def read_xml(text: str | bytes) -> Element:
    """The root element of a document.

    Raises:
        DoctypeError: It has a DOCTYPE.
        XmlError: It is not well-formed, or in an encoding that nobody knows.
    """
    try:
        root: Element = fromstring(text, forbid_dtd=True)
    except DefusedXmlException as error:
        raise DoctypeError("A document with a DOCTYPE or entities is refused.") from error
    except (ParseError, LookupError, ValueError) as error:  # LookupError: the encoding that it names
        raise XmlError(str(error)) from error
    return root
