"""Control characters: refused where they come in; what earlier versions stored gives well-formed XML."""

import xml.etree.ElementTree as ET

import pytest

CONTROL = ["\x00", "\x07", "\x0b", "\x1b]0;owned\x07", "\x7f", "\x9b2J", "\ufffe", "\uffff"]


@pytest.mark.parametrize("text", CONTROL)
def test_they_are_refused_in_every_field(http, session, text):
    targets = [
        (f"/data/projects/{session.project}", {"name": text}),
        (f"/data/projects/{session.project}", {"description": text}),
        (session.subject, {"group": text}),
        (session.long, {"note": text}),
        (session.scan, {"type": text, "xsiType": "xnat:mrScanData"}),
        (f"{session.scan}/resources/R", {"format": text, "content": text, "tags": text}),
        (f"{session.scan}/resources/R/files/x", {"inbody": "true", "description": text}),
        (f"{session.long}/assessors/A", {"xsiType": "xnat:qcAssessmentData", text: "key"}),
    ]
    for target, query in targets:
        answer = http.put(target, params=query, content=b"")
        assert answer.status_code == 400, (target, query)
        assert not set(answer.text) & set(text) - set("]0;owned2J")
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = http.put(f"{session.subject}?req_format=form", data={"group": text}, headers=form)
    assert answer.status_code == 400


def test_lines_and_tabs_are_text(http, session, rows):
    assert http.put(session.long, params={"note": "one\ttwo\r\nthree"}).status_code == 200


def test_what_was_stored_before_gives_well_formed_xml(archive, http, session):
    http.put(f"{session.scan}/resources/R/files/x?inbody=true", content=b"x")
    odd = "".join(CONTROL)
    with archive.archive.database.write() as connection:
        connection.execute(
            "UPDATE items SET fields = json_set(fields, '$.note', ?1, '$.name', ?1, '$.type', ?1, '$.group', ?1)"
            " WHERE project = ?2",
            (odd.replace("\x00", ""), session.project),
        )
        connection.execute("UPDATE files SET description = ?1, tags = ?1, content = ?1", (odd.replace("\x00", ""),))
    for path in (
        "/data/projects",
        f"/data/projects/{session.project}",
        f"/data/projects/{session.project}/subjects?columns=label,group",
        session.subject,
        session.long,
        f"{session.long}/scans",
        f"{session.scan}/resources",
        f"{session.scan}/resources/R",
        f"{session.scan}/files",
    ):
        answer = http.get(path, params={"format": "xml"})
        assert answer.status_code == 200
        ET.fromstring(answer.content)
        if "note" in answer.text or "group" in answer.text:
            assert "]0;owned" in answer.text or "columns" in path
