"""Probes that store, read and remove data in the scratch project."""

from __future__ import annotations

import json
import os
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from xnatferry.client.http import Request
from xnatferry.errors import ConflictError, XnatferryError
from xnatferry.pipeline import verify_source
from xnatferry.results.operations import find_run, undo
from xnatferry.results.pull_plan import plan_pull
from xnatferry.results.pull_run import fetch_all
from xnatferry.results.remote_files import list_files_below
from xnatferry.selftest.site import ProbeFailedError, require
from xnatferry.transfer.events import BytesSent
from xnatferry.wording import counted
from xnatferry.xnat.model import Address, Level

if TYPE_CHECKING:
    from xnatferry.selftest.site import Site
    from xnatferry.transfer.events import Event, PushResult


def _image(size_bytes: int = 64 * 64 * 2) -> bytes:
    """A NIfTI-1 image of random voxels: 2 bytes a voxel, 64 columns, 16 rows."""
    slices = size_bytes // 2048
    header = struct.pack("<i", 348) + bytes(36) + struct.pack("<8h", 3, 64, 16, slices, 1, 1, 1, 1) + bytes(14)
    header += struct.pack("<2h", 4, 16) + bytes(2) + struct.pack("<8f", 1, 1, 1, 1, 1, 1, 1, 1)
    header += struct.pack("<3f", 352, 1, 0) + bytes(348 - 120 - 4) + b"n+1\0"
    return header + bytes(4) + os.urandom(slices * 2048)


def _good(result: PushResult, files: int) -> None:
    failed = (receipt.message for receipt in result.failures)
    first = next(failed, "") or next((f"{v.address} {v.proof}: {v.message}" for v in result.unproven), "")
    require(result.exit_code == 0, f"exit code {result.exit_code} {first}".strip())
    digests = sum(verdict.proof.value == "digest matched" for verdict in result.verdicts)
    require(digests == files, f"{digests} of {counted(files, 'file')} verified by MD5")


def push(site: Site) -> str:
    """Images with sidecars are stored, verified, verified again later, and not sent twice."""
    source = site.data("push", {f"T1w_{n}.nii": _image() for n in range(3)} | {"T1w_0.json": b"{}"})
    plan = site.plan(source)
    files = len(plan.files)
    _good(site.push(plan), files)
    again = site.plan(source)
    require(again.nothing_to_do, "a second push would send files again")
    proven = sum(verdict.proof.good for verdict in verify_source(again, site.remote))
    require(proven == files, f"{proven} of {counted(files, 'file')} verified later")
    return f"{counted(files, 'file')} sent and verified by MD5; a second push sends nothing"


def resource_format(site: Site) -> str:
    """The resource of an image with a sidecar has the format NIFTI."""
    session = site.session("push")
    rows = site.remote.list_resources(session, all_scans=True)
    formats = {row["format"] for row in rows if row["label"] == "NIFTI"}
    require(formats == {"NIFTI"}, f"formats of NIFTI resources: {sorted(formats)}")
    return "resources of images have the format NIFTI"


def conflict(site: Site) -> str:
    """An image that differs on the server is not replaced."""
    source = site.data("conflict", {"T1w.nii": _image()})
    _good(site.push(site.plan(source)), 1)
    site.data("conflict", {"T1w.nii": _image()})
    plan = site.plan(source)
    require(plan.conflicts, "the difference was not detected")
    try:
        site.push(plan)
    except ConflictError:
        return "a file that differs is detected and not replaced"
    raise ProbeFailedError("the file was replaced without permission")


def interrupted(site: Site) -> str:
    """A push that was interrupted within a file is completed by the next push."""
    source = site.data("interrupted", {"T1w.nii": _image(8 << 20), "T2w.nii": _image()})
    plan, stop = site.plan(source), threading.Event()

    def cut(event: Event) -> None:
        if isinstance(event, BytesSent) and event.size_bytes >= 1 << 20:
            stop.set()

    site.push(plan, listener=cut, stop=stop)
    require(stop.is_set(), "the push ended before it could be interrupted")
    resumed = site.plan(source)
    _good(site.push(resumed), len(plan.files))
    return "after an interruption within a file, the next push sends the rest and verifies all files"


def pull(site: Site) -> str:
    """Many small files are downloaded in one request and verified."""
    session = site.session("pull")
    site.remote.ensure_session(session)
    site.remote.ensure_scan(session.child(Level.SCAN, "1"), fields={"type": "T1w"})
    resource = replace(session, scan="1", resource="TXT")
    for number in range(6):
        place = resource.child(Level.FILE, f"sub/{number}.txt")
        site.remote.send_file(place, lambda number=number: [str(number).encode()], 1)  # type: ignore[misc]
    held = list_files_below(site.remote, session)
    before = site.remote.requests
    plan = plan_pull(held, site.folder / "pulled", server="", address=session)
    result = fetch_all(plan, site.remote)
    asked = site.remote.requests - before
    require(result.exit_code == 0 and len(result.verdicts) == 6, f"exit code {result.exit_code}")
    require(asked == 1, f"the zip is not complete: 6 files needed {counted(asked, 'request')}")
    return "6 files downloaded in one request and verified"


def names(site: Site) -> str:
    """File names with special characters are stored, listed and downloaded unchanged."""
    session = site.session("names")
    site.remote.ensure_session(session)
    resource = session.child(Level.RESOURCE, "NAMES")
    wanted = ["plain.txt", "a b+c.txt", "été 脳.txt", "q'(1),@=:$!*&.txt", "h#sh [1]{2}?.txt", "sub/dir é/x.txt"]
    for name in wanted:
        site.remote.send_file(resource.child(Level.FILE, name), lambda: [b"x"], 1)
    listed = {file.name for file in site.remote.list_files(resource)}
    require(listed == set(wanted), f"not listed as sent: {sorted(set(wanted) - listed)}")
    unread = []
    for name in wanted:
        try:
            site.remote.read_digest(resource.child(Level.FILE, name))
        except XnatferryError:
            unread.append(name)
    require(not unread, f"cannot be downloaded alone: {unread}; a pull takes them from the zip")
    return f"{counted(len(wanted), 'name')} stored, listed and downloaded unchanged"


def dates(site: Site) -> str:
    """Fields of a session are returned as they were sent."""
    session = site.session("dates")
    fields = {"date": "2020-05-06", "time": "11:12:13", "note": "a < b & c", "scanner/manufacturer": "SIEMENS"}
    made = site.remote.create_session_document(session, xsi_type="xnat:mrSessionData", fields=fields, scans=[])
    require(not made.changes, "; ".join(map(str, made.changes)))
    return f"{counted(len(fields), 'field')} returned as sent"


def undone(site: Site) -> str:
    """All objects of a run are removed, by its journal."""
    plan = site.plan(site.data("undone", {"T1w.nii": _image()}))
    site.push(plan)
    receipts = undo(find_run(folder=site.runs), site.remote)
    failed = [receipt.message for receipt in receipts if receipt.exit_code]
    require(not failed, failed[0] if failed else "")
    session = site.session("undone")
    left = site.remote.item(session) or site.remote.item(Address(session.project, session.subject))
    require(left is None, "the session or its subject still exists")
    return f"{counted(len(receipts), 'object')} removed, none left"


def custom_fields(site: Site) -> str:
    """JSON custom fields of a session are stored (1.8.4 and later)."""
    session = site.session("fields")
    made = site.remote.ensure_session(session)
    path = f"/xapi/custom-fields/projects/{site.project}/experiments/{made.id}/fields"
    body = json.dumps({"selftest": 7}).encode()
    headers = (("Content-Type", "application/json"),)
    site.remote.requester.ask(Request("PUT", path, headers=headers, body=lambda: [body], size_bytes=len(body)))
    held = site.ask_json(path)
    require(isinstance(held, dict) and held.get("selftest") == 7, f"the server answers {held!r}")
    return "a custom field of a session is stored"


def sharing(site: Site) -> str:
    """The server lists the projects of a session. Nothing is shared, as this needs a second project."""
    session = site.session("sharing")
    site.remote.ensure_session(session)
    rows = site.ask_json(f"{session.path}/projects?format=json")
    listed = rows.get("ResultSet", {}).get("Result", []) if isinstance(rows, dict) else []
    require(listed, "the server does not list the projects of a session")
    return f"the server lists the projects of a session: {', '.join(str(row.get('ID', '')) for row in listed)}"


def concurrency(site: Site) -> str:
    """Eight parallel uploads to eight resources, and eight to one resource, are all accepted."""
    session = site.session("parallel")
    site.remote.ensure_session(session)
    places = [replace(session, resource=f"R{n}", file="f.txt") for n in range(8)]
    places += [replace(session, resource="ONE", file=f"{n}.txt") for n in range(8)]
    site.remote.ensure_resource(session.child(Level.RESOURCE, "ONE"))

    def send(place: Address) -> bool:
        try:
            site.remote.send_file(place, lambda: [b"x"], 1)
        except XnatferryError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(send, places))
    listed = {(file.resource, file.name) for file in site.remote.list_files(session)}
    lost = [place for place, ok in zip(places, taken, strict=True) if ok and (place.resource, place.file) not in listed]
    require(not lost, f"{len(lost)} of {counted(len(places), 'file')} answered with 200 but not listed")
    require(all(taken[:8]), f"{8 - sum(taken[:8])} of 8 uploads to different resources refused")
    require(all(taken[8:]), f"{8 - sum(taken[8:])} of 8 uploads to one resource refused (500)")
    return "all parallel uploads are accepted"
