"""``PUT .../projects/OTHER?primary=true``: an item gets another owner, and its files go with it."""

import pytest

MOVE = {"primary": "true"}


@pytest.fixture
def other(http, new_id):
    name = new_id()
    assert http.put(f"/data/projects/{name}").status_code == 200
    yield name
    http.delete(f"/data/projects/{name}", params={"removeFiles": "true"})


@pytest.fixture
def full(http, session):
    """The session with files at every level of it, and of its subject."""
    long = session.long
    http.put(f"{long}/assessors/A1", params={"xsiType": "xnat:qcAssessmentData"})
    http.put(f"{long}/reconstructions/RC{session.id}")
    places = [
        session.subject,
        long,
        f"{session.scan}",
        f"{long}/assessors/A1/out",
        f"{long}/reconstructions/RC{session.id}/in",
    ]
    for place in places:
        answer = http.put(f"{place}/resources/R/files/sub/f.txt", params={"inbody": "true"}, content=place.encode())
        assert answer.status_code == 200
    return session


def test_of_a_session(http, full, other, rows):
    moved = http.put(f"{full.long}/projects/{other}", params=MOVE)
    assert (moved.status_code, moved.text) == (200, full.id)
    assert rows(f"/data/projects/{full.project}/experiments") == []
    assert [(row["ID"], row["project"]) for row in rows(f"/data/projects/{other}/experiments")] == [(full.id, other)]
    assert http.get(full.long).status_code == 404
    # What hangs below it went along, with the same numbers and ids; the subject stayed.
    long = f"/data/projects/{other}/experiments/E01"
    for place, was in (
        ("", full.long),
        ("/scans/1", full.scan),
        ("/assessors/A1/out", f"{full.long}/assessors/A1/out"),
        (f"/reconstructions/RC{full.id}/in", f"{full.long}/reconstructions/RC{full.id}/in"),
    ):
        assert http.get(f"{long}{place}/resources/R/files/sub/f.txt").text == was
    assert [row["ID"] for row in rows(f"/data/projects/{full.project}/subjects")] == [full.subject_id]
    assert rows(f"/data/projects/{other}/subjects") == []
    assert http.get(full.url, params={"format": "json"}).json()["items"][0]["data_fields"]["subject_ID"] == (
        full.subject_id
    )
    assert [row["ID"] for row in rows(f"{full.url}/projects")] == [other]
    (assessor,) = rows(f"{full.url}/assessors")
    assert assessor["project"] == other
    event = http.get(f"{full.url}/history").json()["events"][-1]
    assert event["event_action"] == "Modified project"


def test_files_lie_where_xnat_keeps_them(archive, http, full, other):
    http.put(f"{full.long}/projects/{other}", params=MOVE | {"label": "E02"})
    http.put(f"{full.subject}/projects/{other}", params=MOVE)
    blob_store = archive.root / "archive"
    found = sorted(
        str(path.relative_to(blob_store / other)) for path in (blob_store / other).rglob("*") if path.is_file()
    )
    assert found == sorted(
        [
            "arc001/E02/RESOURCES/R/sub/f.txt",
            "arc001/E02/SCANS/1/R/sub/f.txt",
            "arc001/E02/ASSESSORS/A1/out/R/sub/f.txt",
            f"arc001/E02/PROCESSED/RC{full.id}/in/R/sub/f.txt",
            "subjects/S01/R/sub/f.txt",
        ]
    )
    assert [path for path in (blob_store / full.project).rglob("*") if path.is_file()] == []


def test_of_a_subject_leaves_its_sessions(http, full, other, rows):
    assert http.put(f"{full.subject}/projects/{other}", params=MOVE).status_code == 200
    assert [row["ID"] for row in rows(f"/data/projects/{other}/subjects")] == [full.subject_id]
    assert rows(f"/data/projects/{full.project}/subjects") == []
    assert [row["ID"] for row in rows(f"/data/projects/{full.project}/experiments")] == [full.id]
    assert http.get(f"/data/projects/{other}/subjects/S01/resources/R/files/sub/f.txt").text == full.subject
    # Back again: everything is as it was.
    assert http.put(f"/data/subjects/{full.subject_id}/projects/{full.project}", params=MOVE).status_code == 200
    assert http.get(f"{full.subject}/resources/R/files/sub/f.txt").text == full.subject


def test_ends_the_share_that_was_there(http, session, other, rows):
    share = f"{session.long}/projects/{other}"
    assert http.put(share, params={"label": "GUEST"}).status_code == 200
    assert http.put(share, params={"primary": "yes"}).status_code == 409  # nothing but "true" moves an experiment
    assert http.put(share, params=MOVE).status_code == 200
    assert [(row["ID"], row["label"]) for row in rows(f"{session.url}/projects")] == [(other, "E01")]
    assert http.put(share.replace(session.project, other), params=MOVE).status_code == 409


def test_into_labels_in_use(http, full, other, project, new_id, rows):
    taken = f"/data/projects/{other}/subjects/X/experiments"
    http.put(f"{taken}/E01", params={"xsiType": "xnat:mrSessionData"})
    assert http.put(f"{full.long}/projects/{other}", params=MOVE).status_code == 409
    # The label of an assessor that would come along.
    http.put(f"{taken}/A1", params={"xsiType": "xnat:mrSessionData"})
    assert http.put(f"{full.long}/projects/{other}", params=MOVE | {"label": "E02"}).status_code == 409
    # A label that something shared has there.
    third = new_id()
    http.put(f"/data/projects/{third}")
    guest = f"/data/projects/{other}/experiments/E01/projects/{third}"
    assert http.put(guest, params={"label": "E03"}).status_code == 200
    assert http.put(f"{full.long}/projects/{third}", params=MOVE | {"label": "E03"}).status_code == 409
    assert http.put(f"{full.long}/projects/{other}", params=MOVE | {"label": "E.4"}).status_code == 500
    assert http.put(f"{full.long}/projects/none{other}", params=MOVE).status_code == 404
    assessor = f"/data/projects/{full.project}/experiments/A1/projects/{other}"
    assert http.put(assessor, params=MOVE).status_code == 501  # it goes with its session
    assert http.get(f"{full.long}/resources/R/files/sub/f.txt").text == full.long
    assert rows(f"/data/projects/{third}/subjects") == []


def test_onto_files_that_lie_there(http, full, other):
    """Deleted without ``removeFiles``: the files stay on disk, and nothing is mixed with them."""
    there = f"/data/projects/{other}/subjects/X/experiments/E01"
    http.put(there, params={"xsiType": "xnat:mrSessionData"})
    http.put(f"{there}/resources/R/files/old.txt", params={"inbody": "true"}, content=b"old")
    assert http.delete(there).status_code == 200
    assert http.put(f"{full.long}/projects/{other}", params=MOVE).status_code == 409
    assert http.get(f"{full.long}/resources/R/files/sub/f.txt").text == full.long


def test_an_empty_item_does_not_carry_off_files_that_lie_there(archive, http, session, other):
    there = f"/data/projects/{session.project}/subjects/X/experiments/E02"
    http.put(there, params={"xsiType": "xnat:mrSessionData"})
    http.put(f"{there}/resources/R/files/old.txt", params={"inbody": "true"}, content=b"old")
    http.delete(there)
    assert http.put(session.long, params={"label": "E02"}).status_code == 409
    arc = archive.root / "archive" / session.project / "arc001"
    assert [path.name for path in arc.iterdir()] == ["E02"]


def test_needs_rights_in_both_projects(http, full, other, new_account):
    asking = new_account()

    def role(project, name):
        http.put(f"/data/projects/{project}/users/{name}/{asking.login}")

    move = f"{full.long}/projects/{other}"
    assert asking.put(move, params=MOVE).status_code == 404
    role(full.project, "member")
    assert asking.put(move, params=MOVE).status_code == 404  # nothing is known of the other project
    role(other, "collaborator")
    assert asking.put(move, params=MOVE).status_code == 403  # it may not be written to
    role(other, "member")
    assert asking.put(move, params=MOVE).status_code == 403  # a member may not give away
    assert asking.put(f"{full.subject}/projects/{other}", params=MOVE).status_code == 403
    role(full.project, "owner")
    assert asking.put(move, params=MOVE).status_code == 200
    assert asking.get(f"/data/projects/{other}/experiments/E01/resources/R/files/sub/f.txt").text == full.long


def test_sessions_of_others_are_neither_shown_nor_deleted_with_their_subject(http, full, other, new_account):
    """The subject stays with its project while its session has gone to one that its owner may not read."""
    assert http.put(f"/data/projects/{other}/accessibility/private").status_code == 200
    assert http.put(f"{full.long}/projects/{other}", params=MOVE).status_code == 200
    asking = new_account()
    http.put(f"/data/projects/{full.project}/users/owner/{asking.login}")
    seen = asking.get(full.subject, params={"format": "json"}).json()["items"][0]
    assert full.id not in str(seen)
    assert full.id in http.get(full.subject, params={"format": "json"}).text
    assert asking.get(full.url).status_code == 404
    for path in (full.subject, f"/data/projects/{full.project}"):
        assert asking.delete(path, params={"removeFiles": "true"}).status_code == 403
    assert http.get(f"{full.url}/resources/R/files/sub/f.txt").text == full.long
    http.put(f"/data/projects/{other}/users/owner/{asking.login}")
    assert asking.delete(f"/data/projects/{full.project}", params={"removeFiles": "true"}).status_code == 200
    assert http.get(full.url).status_code == 404


def test_a_project_takes_sessions_of_subjects_that_went_along(http, full, other):
    assert http.put(f"{full.subject}/projects/{other}", params=MOVE).status_code == 200
    assert http.delete(f"/data/projects/{full.project}", params={"removeFiles": "true"}).status_code == 200
    assert http.get(full.url).status_code == 404
    assert http.get(f"/data/subjects/{full.subject_id}").status_code == 200


def test_nothing_is_lost_on_the_way(http, full, other, archive):
    """Metadata and vault agree after moves there and back."""
    for project in (other, full.project, other):
        assert http.put(f"{full.url}/projects/{project}", params=MOVE).status_code == 200
    archive.archive.file_store.redo.settle()
    with archive.archive.database.read() as connection:
        folders = {row["folder"] for row in connection.execute("SELECT folder FROM items WHERE project = ?", (other,))}
        assert not list(connection.execute("SELECT 1 FROM intents"))
    assert all(folder.startswith(other) for folder in folders)
