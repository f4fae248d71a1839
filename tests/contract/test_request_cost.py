"""What a request costs the metadata does not depend on how much the project holds.

Counted in steps of SQLite's virtual machine, which visits of rows make and which no clock disturbs.
"""

import sqlite3
from collections import Counter
from functools import partial

import httpx2
import pytest

from xnatferry.server import database, item_editing
from xnatferry.server.archive import running_archive
from xnatferry.server.objects import Item, Level

SESSION = "/data/projects/P/subjects/NEW/experiments/NEW_MR1"
FILE = f"{SESSION}/scans/1/resources/NIFTI/files/t1.nii"
#: Every request that a push of one session makes, and those of reading it again.
REQUESTS = (
    ("PUT", f"{SESSION}?xsiType=xnat:mrSessionData", b""),
    ("PUT", f"{SESSION}/scans/1?xsiType=xnat:mrScanData&type=T1w", b""),
    ("PUT", f"{SESSION}/scans/1/resources/NIFTI?format=NIFTI", b""),
    ("PUT", f"{FILE}?inbody=true", b"bytes"),
    ("GET", f"{SESSION}/scans?format=json", b""),
    ("GET", f"{SESSION}/scans/ALL/files?format=json", b""),
    ("GET", FILE, b""),
    ("GET", f"{SESSION}?format=json", b""),
    ("GET", "/data/projects/P/subjects/NEW?format=json", b""),
    ("DELETE", FILE, b""),
)


@pytest.fixture
def steps(monkeypatch):
    """Counts the steps of all connections that are made from now on."""
    counted = Counter()

    def connect(*arguments, **options):
        connection = real(*arguments, **options)
        connection.set_progress_handler(lambda: counted.update(steps=1), 1)
        connection.set_trace_callback(lambda _: counted.update(statements=1))
        return connection

    real = sqlite3.connect
    monkeypatch.setattr(database.sqlite3, "connect", connect)
    return counted


def fill(archive, sessions):
    """A project with so many subjects of one session with one scan each, half of them shared into another project."""
    with archive.database.write() as connection:
        make = partial(item_editing.insert_item, connection, user="admin")
        project, other = (
            make(Item(0, Level.PROJECT, name, name, name, "xnat:projectData", None, name)) for name in ("P", "Q")
        )
        for number in range(sessions):
            owner = other if number % 2 else project
            name = f"{owner.id}{number}"
            below = f"{owner.id}/subjects/{name}"
            subject = make(Item(0, Level.SUBJECT, owner.id, f"X_S{name}", name, "xnat:subjectData", owner.key, below))
            folder = f"{owner.id}/arc001/{name}"
            kind = "xnat:mrSessionData"
            session = make(Item(0, Level.EXPERIMENT, owner.id, f"X_E{name}", name, kind, subject.key, folder))
            make(Item(0, Level.SCAN, owner.id, "1", "1", "xnat:mrScanData", session.key, f"{folder}/SCANS/1"))
            if owner is other:
                for one in (subject, session):
                    connection.execute("INSERT INTO shares VALUES (?, 'P', ?)", (one.key, f"shared{number}"))


def costs(root, sessions, steps, login):
    """Steps of each request beside so many other sessions."""
    found = {}
    with running_archive(root, admin_password="admin-secret") as running:
        fill(running.archive, sessions)
        if login != "admin":
            running.archive.accounts.create(login, "admin-secret")
            with running.archive.database.write() as connection:
                connection.execute("INSERT INTO roles SELECT key, ?, 'owner' FROM items WHERE id = 'P'", (login,))
        with httpx2.Client(base_url=running.url, auth=(login, "admin-secret"), timeout=60) as client:
            for method, path, body in REQUESTS:
                steps.clear()
                answer = client.request(method, path, content=body)
                assert answer.status_code in {200, 201}, (method, path, answer.text)
                found[f"{method} {path}"] = steps["steps"]
    return found


@pytest.mark.parametrize("login", ["admin", "owner"])
def test_requests_about_one_session_cost_the_same_in_a_large_project(tmp_path, steps, login):
    small = costs(tmp_path / "small", 4, steps, login)
    large = costs(tmp_path / "large", 204, steps, login)
    assert all(small.values())
    grown = {request: (small[request], cost) for request, cost in large.items() if cost > small[request] + 50}
    assert not grown


S = "xnat:subjectData/experiments/experiment%5B@xsi:type=xnat:imageSessionData%5D"
#: One request each for all that a project holds.
LISTINGS = (
    f"/data/projects/P/subjects?format=json&columns=label,{S}/label,{S}/scans/scan/ID,{S}/scans/scan/file/label",
    f"/data/projects/P/subjects?format=json&columns=label,{S}/resources/resource/label",
    (
        "/data/projects/P/experiments?format=json&xsiType=xnat:imageSessionData&columns=label,subject_label,"
        "xnat:imageSessionData/scans/scan/ID,xnat:imageSessionData/scans/scan/file/file_count"
    ),
    "/data/experiments?format=json&columns=label,xnat:imageScanData/type",
)


def listing_costs(root, sessions, steps):
    """Steps and statements of each listing of so many sessions, a row each."""
    found = {}
    with running_archive(root, admin_password="admin-secret") as running:
        fill(running.archive, sessions)
        with httpx2.Client(base_url=running.url, auth=("admin", "admin-secret"), timeout=60) as client:
            for path in LISTINGS:
                steps.clear()
                answer = client.get(path)
                assert len(answer.json()["ResultSet"]["Result"]) == sessions
                found[path] = Counter(steps)
    return found


def test_a_listing_of_a_whole_project_costs_as_much_for_every_row(tmp_path, steps):
    few, some, many = (listing_costs(tmp_path / str(number), number, steps) for number in (40, 240, 440))
    for path in LISTINGS:
        first, second = (
            one["steps"] - other["steps"] for one, other in ((some[path], few[path]), (many[path], some[path]))
        )
        assert 0 < second <= first * 1.1, path
        assert many[path]["statements"] <= few[path]["statements"] + 5, path
