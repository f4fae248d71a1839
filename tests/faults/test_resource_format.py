"""A NIFTI resource has the format NIFTI, on servers that use the first file (1.6.4) or the last one (1.8.11)."""

import pytest
from peer import listing

from xnatferry.planning.plan import Decision, Payload, Plan, Step, Transport
from xnatferry.sources.model import LocalFile
from xnatferry.transfer.engine import carry_out
from xnatferry.xnat.model import Address, Level

SESSION = Address("P", "s", "s_MR1")
NIFTI = Address("P", "s", "s_MR1", "1", resource="NIFTI")
IMAGE = {"format": "NIFTI", "content": "NIFTI_RAW"}
JSON = {"format": "JSON", "content": "SIDECAR"}


@pytest.mark.parametrize("already", [False, True], ids=["new session", "session that was there"])
@pytest.mark.parametrize("names", [["a.nii", "a.json", "b é.json"], ["a.nii"], ["b.json", "a.nii"]])
def test_the_resource_has_the_format_of_the_image(era, peer, remote, tmp_path, names, already):
    if already:
        remote.ensure_project("P")
        remote.ensure_session(SESSION)
    steps = [
        Step(Address("P"), Decision.CREATE),
        Step(Address("P", "s"), Decision.CREATE),
        Step(SESSION, Decision.CREATE, xsi_type="xnat:mrSessionData"),
        Step(NIFTI.container, Decision.CREATE, xsi_type="xnat:mrScanData", fields={"type": "T1w"}),
        Step(NIFTI, Decision.CREATE, fields=IMAGE, transport=Transport.SINGLE),
    ]
    for name in names:
        path = tmp_path / name
        path.write_bytes(b"bytes")
        local = LocalFile(path, name, 5, path.stat().st_mtime_ns)
        fields = IMAGE if name.endswith(".nii") else JSON
        steps.append(Step(NIFTI.child(Level.FILE, name), Decision.CREATE, fields=fields, payload=Payload(local)))
    assert carry_out(Plan(peer.url, "P", tuple(steps)), remote).exit_code == 0
    (row,) = remote.list_resources(NIFTI.container)
    assert (row["format"], row["content"]) == ("NIFTI", "NIFTI_RAW")
    assert {file.format for file in remote.list_files(NIFTI)} == {"NIFTI", "JSON"} & {
        "NIFTI",
        *("JSON" for n in names if "json" in n),
    }
    made_before = bool(peer.seen("PUT", "/resources/NIFTI$"))
    assert made_before == (already or (peer.era == "1.6.4" and len(names) > 1))


def test_files_of_scans_are_not_listed_as_files_of_the_session(peer, remote):
    """A session and its scans have a resource of one label; the ID of a scan is the type of another."""
    remote.ensure_project("P")
    remote.ensure_session(SESSION)
    rows = [
        {"Name": "a", "Size": "1", "URI": f"/data/experiments/E/{place}resources/9/files/a", "collection": "R"}
        for place in ("", "scans/1/", "scans/T1w/")
    ]
    peer.fail("GET", "/files$", listing(rows), times=2)
    assert [file.scan for file in remote.list_files(Address("P", "s", "s_MR1", resource="R"))] == [None]
    peer.requests.clear()
    peer.faults.clear()
    peer.fail("GET", "/files$", listing(rows[1:]))
    assert [file.scan for file in remote.list_files(Address("P", "s", "s_MR1", "T1w", resource="R"))] == ["T1w"]
