"""Python users' client: every write returns what the server holds, and raises when that is not what was sent."""

import hashlib
import json
import tarfile
import zipfile

import pytest
from peer import (
    NEW,
    OLD,
    PASSWORD,
    USER,
    Reply,
    busy,
    closed,
    empty_200,
    half_landed_500,
    landed_500,
    lost_reply,
    reset_in_body,
    running_peer,
)

import xnatferry
from xnatferry import retry
from xnatferry.client.client import Client
from xnatferry.client.remote import Remote
from xnatferry.client.settings import Connection, Secret
from xnatferry.errors import (
    AuthenticationError,
    ConflictError,
    DataError,
    FileChangedError,
    NotFoundError,
    NotXnatError,
    UnavailableError,
    UsageError,
    VerifyError,
)
from xnatferry.server.archive import running_archive

SESSION = "P/s1/s1_MR1"
SCAN = f"{SESSION}/scans/1"
NIFTI = f"{SCAN}/resources/NIFTI"
FS = f"{SESSION}/resources/FREESURFER7"


@pytest.fixture
def xnat(remote, pauses):
    """A client of the scripted peer, with a session and a scan."""
    client = Client(remote, pause=pauses.append)
    client.ensure_project("P")
    client.ensure_session(SESSION)
    client.ensure_scan(SCAN, fields={"type": "T1w"})
    return client


@pytest.fixture(params=[OLD, NEW, "archive"])
def anywhere(request, tmp_path_factory):
    """A client of each kind of server, nothing in it."""
    if request.param == "archive":
        with (
            running_archive(tmp_path_factory.mktemp("archive")) as running,
            Remote(Connection(running.url, running.user, Secret(running.password))) as remote,
        ):
            yield Client(remote)
    else:
        with running_peer(request.param) as peer, Remote(Connection(peer.url, USER, Secret(PASSWORD))) as remote:
            yield Client(remote)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "t1.nii.gz"
    path.write_bytes(b"\x1f\x8bimage" * 50000)
    return path


@pytest.fixture
def subject(tmp_path):
    folder = tmp_path / "sub01"
    (folder / "stats").mkdir(parents=True)
    (folder / "mri").mkdir()
    (folder / "stats" / "aseg.stats").write_text("# Measure\n")
    (folder / "mri" / "orig.mgz").write_bytes(b"\x1f\x8b" * 200000)
    (folder / "mri" / "empty file.txt").write_bytes(b"")
    return folder


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_the_first_recipe(anywhere, image, tmp_path):
    xnat = anywhere
    assert xnat.ensure_project("P").created
    made = xnat.ensure_session(SESSION, fields={"date": "2020-01-02"})
    assert made.created
    assert made.label == "s1_MR1"
    assert xnat.ensure_scan(SCAN, fields={"type": "T1w", "series_description": "a & b", "quality": "usable"}).created
    assert xnat.ensure_resource(NIFTI, format="NIFTI", content="NIFTI_RAW").created
    stored = xnat.put_file(image, NIFTI, format="NIFTI", content="NIFTI_RAW")
    assert (stored.name, stored.size_bytes, stored.scan) == ("t1.nii.gz", image.stat().st_size, "1")
    assert stored.digest in {md5(image), None}
    assert xnat.put_file(image, NIFTI) == stored, "again is no error"
    assert [row["ID"] for row in xnat.list_projects()] == ["P"]
    assert [row["label"] for row in xnat.list_subjects("P")] == ["s1"]
    assert [row["date"] for row in xnat.list_sessions("P")] == ["2020-01-02"]
    assert [row["series_description"] for row in xnat.list_scans(SESSION)] == ["a & b"]
    assert [row["label"] for row in xnat.list_resources(SCAN)] == ["NIFTI"]
    assert xnat.list_files(NIFTI) == [stored]
    fetched = xnat.get_file(f"{NIFTI}/files/t1.nii.gz", tmp_path / "back")
    assert fetched.read_bytes() == image.read_bytes()
    assert xnat.get_file(f"{NIFTI}/files/t1.nii.gz", tmp_path).name == "t1.nii.gz"
    xnat.remove(SESSION, remove_files=True)
    assert xnat.list_sessions("P") == []


def test_the_second_recipe(anywhere, subject, tmp_path):
    xnat = anywhere
    xnat.ensure_project("P")
    xnat.ensure_session(SESSION)
    stored = xnat.put_archive(subject, FS, format="MGZ", content="FREESURFER", tags="7.4.1")
    assert [file.name for file in stored] == [
        "sub01/mri/empty file.txt",
        "sub01/mri/orig.mgz",
        "sub01/stats/aseg.stats",
    ]
    assert xnat.put_archive(subject, FS) == stored
    assert xnat.get_file(f"{FS}/files/sub01/stats/aseg.stats", tmp_path).read_text() == "# Measure\n"
    with zipfile.ZipFile(xnat.download_zip(FS, tmp_path / "fs.zip")) as got:
        assert len(got.namelist()) == 3
    (subject / "stats" / "aseg.stats").write_text("# Changed\n")
    with pytest.raises(ConflictError, match=r"aseg\.stats"):
        xnat.put_archive(subject, FS)
    xnat.put_archive(subject, FS, overwrite=True)
    assert xnat.get_file(f"{FS}/files/sub01/stats/aseg.stats", tmp_path).read_text() == "# Changed\n"


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tgz"])
def test_ready_archives(anywhere, subject, tmp_path, ending):
    anywhere.ensure_project("P")
    anywhere.ensure_session(SESSION)
    path = tmp_path / f"sub01.{ending}"
    if ending == "zip":
        with zipfile.ZipFile(path, "w") as packed:
            for file in subject.rglob("*.*"):
                packed.write(file, file.relative_to(tmp_path))
    else:
        with tarfile.open(path, "w:gz" if ending.endswith("gz") else "w") as tarred:
            tarred.add(subject, "sub01")
    assert [file.name for file in anywhere.put_archive(path, FS)][1:] == [
        "sub01/mri/orig.mgz",
        "sub01/stats/aseg.stats",
    ]


def test_stored_files_come_in_the_order_of_their_names(xnat, subject):
    (subject / "z.txt").write_bytes(b"packed first, as it lies in the top folder")
    names = [file.name for file in xnat.put_archive(subject, FS)]
    assert names == sorted(names)
    assert names[-1] == "sub01/z.txt"


def test_another_file_of_the_same_name_is_a_conflict(anywhere, image):
    anywhere.ensure_project("P")
    anywhere.ensure_session(SESSION)
    place = f"{SESSION}/resources/MISC/files/sub dir/x.bin"
    anywhere.put_file(image, place)
    before = md5(image)
    image.write_bytes(bytes(image.stat().st_size))
    with pytest.raises(ConflictError, match=r"x\.bin.*overwrite") as caught:
        anywhere.put_file(image, place)
    assert caught.value.exit_code == 6
    held = anywhere.list_files(f"{SESSION}/resources/MISC")[0]
    assert held.digest in {None, before}
    anywhere.put_file(image, place, overwrite=True)
    assert anywhere.remote.read_digest(xnatferry.Address.parse(place)) == md5(image)


@pytest.mark.parametrize(
    "fault",
    [busy(), closed, lost_reply, reset_in_body, landed_500],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
@pytest.mark.parametrize("what", ["file", "folder"])
def test_an_upload_that_fails_once_arrives_once(peer, era, xnat, image, subject, fault, what):
    peer.fail("PUT", "/files/", fault)
    stored = [xnat.put_file(image, NIFTI)] if what == "file" else xnat.put_archive(subject, FS)
    assert len(stored) == (1 if what == "file" else 3)
    assert {file.size_bytes for file in stored} == {
        len(data)
        for data in peer.files("P", "s1", "s1_MR1", *(["1", "NIFTI"] if what == "file" else ["FREESURFER7"])).values()
    }


def test_what_a_failed_try_left_on_the_disk_is_replaced(peer, era, xnat, image):
    """Nobody else's file is there: a second try that does not overwrite would be told that a file was kept."""
    peer.fail("PUT", "/files/", half_landed_500)
    assert xnat.put_file(image, NIFTI).size_bytes == image.stat().st_size
    assert list(peer.files("P", "s1", "s1_MR1", "1", "NIFTI").values()) == [image.read_bytes()]


def test_an_archive_of_which_a_part_arrived_is_sent_again(peer, era, xnat, subject):
    """A server unpacks while it reads: the first files are stored when the connection drops."""

    def first_member_only(handler, seen):
        handler.read_body(seen, most=120000)
        resource = handler.server.peer.projects["P"].children["s1"].children["s1_MR1"].resources["FREESURFER7"]
        resource.disk["sub01/mri/empty file.txt"] = b""
        handler.server.peer.catalogue(resource, "sub01/mri/empty file.txt")
        handler.reset()

    peer.fail("PUT", "/files/", first_member_only)
    (subject / "mri" / "orig.mgz").write_bytes(bytes(30_000_000))
    assert len(xnat.put_archive(subject, FS)) == 3
    assert len(peer.seen("PUT", "/files/")) == 2


def test_a_file_that_was_there_is_not_overwritten_by_a_second_try(peer, era, xnat, image, tmp_path):
    xnat.put_file(image, NIFTI)
    before = image.read_bytes()
    image.write_bytes(b"other")
    peer.fail("PUT", "/files/", busy(), times=2)
    with pytest.raises(ConflictError):
        xnat.put_file(image, NIFTI)
    assert list(peer.files("P", "s1", "s1_MR1", "1", "NIFTI").values()) == [before]


def test_an_upload_is_given_up_in_the_end(peer, xnat, image):
    peer.fail("PUT", "/files/", busy(), times=99)
    with pytest.raises(UnavailableError):
        xnat.put_file(image, NIFTI)
    assert len(peer.seen("PUT", "/files/")) == retry.ATTEMPTS


def test_an_answer_that_lies_is_found_out(peer, era, xnat, image, subject):
    peer.fail("PUT", "/files/", empty_200, times=2)
    with pytest.raises(VerifyError, match="can edit this project") as caught:
        xnat.put_file(image, NIFTI)
    assert caught.value.exit_code == 8
    with pytest.raises(VerifyError, match=r"aseg\.stats"):
        xnat.put_archive(subject, FS)


def test_bytes_that_changed_on_the_way_are_found_out(peer, xnat, image):
    def spoilt(handler, seen):
        handler.read_body(seen)
        seen.body = b"X" + seen.body[1:]
        return handler.process(seen)

    peer.fail("PUT", "/files/", spoilt)
    with pytest.raises(VerifyError, match=r"differ from what was sent: t1\.nii\.gz"):
        xnat.put_file(image, NIFTI)


def test_a_stale_digest_is_computed_anew(peer, xnat, image):
    peer.digests = "stale"
    xnat.put_file(image, NIFTI)
    image.write_bytes(image.read_bytes()[::-1])
    assert xnat.put_file(image, NIFTI, overwrite=True).digest == md5(image)


def test_without_digests_a_new_file_is_not_fetched_to_be_compared(peer, xnat, image):
    peer.digests = False
    assert xnat.put_file(image, NIFTI).digest is None
    assert not peer.seen("GET", r"/files/t1\.nii\.gz")


@pytest.mark.parametrize("same", [True, False])
def test_without_digests_a_kept_file_is_read_to_be_compared(peer, xnat, image, same):
    peer.digests = False
    xnat.put_file(image, NIFTI)
    if not same:
        image.write_bytes(image.read_bytes()[::-1])
        with pytest.raises(ConflictError):
            xnat.put_file(image, NIFTI)
    else:
        assert xnat.put_file(image, NIFTI).digest is None


def test_local_files_that_cannot_be_sent(peer, xnat, tmp_path):
    sent = len(peer.seen("PUT"))
    for path in (tmp_path / "missing.nii", tmp_path):
        with pytest.raises(DataError, match=path.name):
            xnat.put_file(path, NIFTI)
    with pytest.raises(DataError, match="missing"):
        xnat.put_archive(tmp_path / "missing.zip", FS)
    assert len(peer.seen("PUT")) == sent


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("ensure_session", "P/s1"),
        ("ensure_session", "P/s 1/s1_MR1"),
        ("ensure_subject", "P"),
        ("ensure_scan", "P/s1/s1_MR1"),
        ("ensure_scan", "P/s1/s1_MR1/scans/ALL"),
        ("ensure_resource", "P/s1/s1_MR1"),
        ("ensure_resource", "P/s1/s1_MR1/resources/select-run1"),
        ("ensure_resource", "P/s1/s1_MR1/resources/123"),
        ("ensure_project", "my project"),
        ("list_scans", "P/s1"),
    ],
)
def test_addresses_that_are_meant_otherwise(xnat, peer, method, given):
    sent = len(peer.requests)
    with pytest.raises(UsageError, match=r"\w"):
        getattr(xnat, method)(given)
    assert len(peer.requests) == sent


def test_a_file_needs_a_resource(xnat, image):
    with pytest.raises(UsageError, match="use the address of a resource"):
        xnat.put_file(image, SCAN)
    with pytest.raises(UsageError, match="_catalog"):
        xnat.put_file(image, f"{NIFTI}/files/x_catalog.xml")


def test_connect(peer, era, tmp_path):
    with xnatferry.connect(server=peer.url, user=USER, password=PASSWORD) as xnat:
        assert xnat.list_projects() == []
        assert "ferry at" in repr(xnat)
    assert peer.logins == set()
    config = tmp_path / "xnat.json"
    config.write_text(json.dumps({"server": peer.url + "/", "user": USER, "password": PASSWORD, "verify": True}))
    with xnatferry.connect(config=config) as xnat:
        assert xnat.remote.connection.url == peer.url


def test_connect_says_what_is_wrong(peer, monkeypatch, tmp_path):
    monkeypatch.setenv("XNAT_PASS", PASSWORD)
    with pytest.raises(UsageError, match="no server is named"):
        xnatferry.connect()
    with pytest.raises(AuthenticationError, match="no password"):
        xnatferry.connect(server=peer.url, user=USER)
    with pytest.raises(AuthenticationError, match="wrong user name or password"):
        xnatferry.connect(server=peer.url, user=USER, password="wrong")
    peer.fail("*", "/", Reply(404, "<html><title>404 Not Found</title></html>"), times=9)
    with pytest.raises(NotXnatError):
        xnatferry.connect(server=peer.url, user=USER, password=PASSWORD)
    with pytest.raises(NotFoundError), pytest.warns(UserWarning, match="not encrypted"):
        xnatferry.connect(server="http://no-such-host.invalid", user=USER, password=PASSWORD)


def changes_on_the_way(path, *, place):
    """Another program writes into *path* when its first bytes have come."""

    def act(handler, seen):
        handler.read_body(seen, most=1000)
        with path.open("r+b") as stream:
            stream.seek(place)
            stream.write(b"changed")

    return act


def parts_of(peer):
    return list(peer.files("P", "s1", "s1_MR1", "1", "NIFTI").values())


@pytest.mark.parametrize("as_archive", [False, True])
def test_a_mixture_of_two_versions_replaces_nothing(peer, xnat, tmp_path, as_archive):
    """More than the network holds, so that the change comes while the rest is still to be read."""
    path = tmp_path / ("big.zip" if as_archive else "big.nii")
    data = b"A" * (32 << 20)
    if as_archive:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("big.nii", data)
    else:
        path.write_bytes(data)
    send = xnat.put_archive if as_archive else xnat.put_file
    send(path, NIFTI)
    before = parts_of(peer)
    peer.fail("PUT", "/files/", changes_on_the_way(path, place=31 << 20))
    with pytest.raises(FileChangedError):
        send(path, NIFTI, overwrite=True)
    assert parts_of(peer) == before == [data]


def test_a_folder_that_changes_on_the_way_replaces_nothing(peer, xnat, tmp_path):
    folder = tmp_path / "sub01"
    folder.mkdir()
    (folder / "big.nii").write_bytes(b"A" * (32 << 20))
    xnat.put_archive(folder, NIFTI)
    peer.fail("PUT", "/files/", changes_on_the_way(folder / "big.nii", place=31 << 20))
    with pytest.raises(FileChangedError):
        xnat.put_archive(folder, NIFTI, overwrite=True)
    assert parts_of(peer) == [b"A" * (32 << 20)]


def test_a_server_that_wants_a_long_pause_is_left_to_the_caller(peer, xnat, image, pauses):
    peer.fail("PUT", "/files/", busy(429, after="3600"), times=99)
    with pytest.raises(UnavailableError) as caught:
        xnat.put_file(image, NIFTI)
    assert caught.value.retry_after_s == 3600
    assert len(peer.seen("PUT", "/files/")) == 1
    assert pauses == []
