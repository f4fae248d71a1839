"""Files read back: whole, in part, listed, packed on the fly, and out of stored archives."""

import csv
import hashlib
import io
import os
import tarfile
import xml.etree.ElementTree as ET
import zipfile

import pytest

FILE_COLUMNS = ["Name", "Size", "URI", "collection", "file_tags", "file_format", "file_content", "cat_ID", "digest"]


@pytest.fixture
def files(http, session):
    """Address of a resource's files: ``a.txt`` and ``sub/b.nii.gz``."""
    url = f"{session.scan}/resources/NIFTI/files"
    http.put(f"{url}/a.txt?inbody=true&format=TXT&content=NOTE&tags=t1", content=b"hello")
    http.put(f"{url}/sub/b.nii.gz?inbody=true", content=b"0123456789")
    return url


class TestListings:
    def test_have_xnats_columns_in_every_format(self, http, session, files):
        answer = http.get(files, params={"format": "json", "columns": "ID,URI,Name"}).json()["ResultSet"]
        assert answer["title"] == "Files"
        assert answer["Columns"] == [{"key": "URI", "serverRoot": ""}]
        assert "totalRecords" not in answer
        number = answer["Result"][0]["cat_ID"]
        assert answer["Result"][0] == {
            "Name": "a.txt",
            "Size": "5",
            "URI": f"{session.scan}/resources/{number}/files/a.txt",
            "collection": "NIFTI",
            "file_tags": "t1",
            "file_format": "TXT",
            "file_content": "NOTE",
            "cat_ID": number,
            "digest": hashlib.md5(b"hello").hexdigest(),
        }
        table = list(csv.reader(io.StringIO(http.get(f"{files}?format=csv").text)))
        assert table[0] == FILE_COLUMNS
        assert [row[0] for row in table[1:]] == ["a.txt", "b.nii.gz"]
        tree = ET.fromstring(http.get(f"{files}?format=xml").text)
        assert [cell.text for cell in tree.iter("column")] == FILE_COLUMNS
        assert "<table" in http.get(files, headers={"accept": "text/html"}).text

    def test_spell_addresses_as_they_were_asked_for(self, http, session, files, rows):
        number = rows(files)[0]["cat_ID"]
        by_labels = f"{session.long}/scans/T1w/resources/NIFTI/files"
        ids = f"/data/projects/{session.project}/subjects/{session.subject_id}/experiments/{session.id}"
        assert rows(by_labels)[0]["URI"] == f"{ids}/scans/1/resources/{number}/files/a.txt"
        assert rows(f"{session.long}/scans/1/files")[0]["URI"] == f"{session.scan}/resources/{number}/files/a.txt"
        http.put(f"{session.subject}/resources/N/files/n.txt?inbody=true", content=b"x")
        (row,) = rows(f"/data/subjects/{session.subject_id}/files")
        assert row["URI"].startswith(f"/data/projects/{session.project}/subjects/{session.subject_id}/resources/")

    def test_of_folders_and_patterns(self, files, names):
        assert names(f"{files}/sub/") == ["sub/b.nii.gz"]
        assert names(f"{files}/su*") == ["sub/b.nii.gz"]
        assert names(files, recursive="false") == ["a.txt"]
        assert names(f"{files}/nothing/") == []

    def test_filter_by_format_and_content(self, files, names):
        assert names(files, file_format="TXT") == ["a.txt"]
        assert names(files, file_format="NULL") == ["sub/b.nii.gz"]
        assert names(files, file_format=["TXT", "NULL"], file_content="NOTE") == ["a.txt"]

    def test_show_server_paths(self, session, files, rows, archive):
        row = rows(files, locator="absolutePath")[0]
        assert "URI" not in row
        assert row["absolutePath"] == f"{archive.root}/archive/{session.project}/arc001/E01/SCANS/1/NIFTI/a.txt"
        assert rows(files, locator="projectPath")[0]["projectPath"] == "arc001/E01/SCANS/1/NIFTI/a.txt"


class TestOneFile:
    def test_comes_with_its_headers(self, http, files):
        answer = http.get(f"{files}/sub/b.nii.gz")
        assert answer.content == b"0123456789"
        wanted = {
            "content-type": "application/octet-stream",
            "content-disposition": 'attachment; filename="b.nii.gz";',
            "content-length": "10",
            "cache-control": "must-revalidate",
        }
        assert {key: answer.headers[key] for key in wanted} == wanted
        assert "etag" not in answer.headers
        assert answer.headers["last-modified"].endswith(" GMT")
        head = http.head(f"{files}/sub/b.nii.gz")
        assert (head.status_code, head.content) == (200, b"")
        assert {key: head.headers[key] for key in wanted} == wanted
        assert http.get(f"{files}/a.txt").headers["content-type"] == "text/plain"

    def test_is_found_without_its_resource(self, http, session, files):
        assert http.get(f"{session.scan}/files/sub/b.nii.gz").content == b"0123456789"
        assert http.get(f"{session.url}/scans/ALL/files/a.txt").content == b"hello"

    @pytest.mark.parametrize(
        ("asked", "status", "content", "said"),
        [
            ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
            ("bytes=7-", 206, b"789", "bytes 7-9/10"),
            ("bytes=-4", 206, b"6789", "bytes 6-9/10"),
            ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
            ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
            ("bytes=0-1,4-5", 200, b"0123456789", None),
            ("lines=1-2", 200, b"0123456789", None),
            ("bytes=-", 200, b"0123456789", None),
        ],
    )
    def test_comes_in_parts(self, http, files, asked, status, content, said):
        answer = http.get(f"{files}/sub/b.nii.gz", headers={"range": asked})
        assert (answer.status_code, answer.content, answer.headers.get("content-range")) == (status, content, said)

    def test_has_no_part_beyond_its_end(self, http, files):
        assert http.get(f"{files}/sub/b.nii.gz", headers={"range": "bytes=10-"}).status_code == 416
        http.put(f"{files}", files={"f": ("empty", b"")})
        assert http.get(f"{files}/empty", headers={"range": "bytes=0-"}).status_code == 200
        assert http.get(f"{files}/empty").content == b""

    def test_that_is_missing(self, http, session, files):
        missing = http.get(f"{files}/nope")
        assert (missing.status_code, missing.content) == (404, b"")
        assert http.get(f"{files}/nope?accept-not-found=true").status_code == 204
        assert http.head(f"{files}/nope").status_code == 404
        assert http.get(f"{files}/sub").status_code == 404
        assert "<h3>" in http.get(f"{session.scan}/resources/NONE/files/nope").text

    def test_of_many_megabytes(self, http, files):
        data = os.urandom(1 << 20) * 3 + b"end"
        http.put(f"{files}/big?inbody=true", content=data)
        assert http.get(f"{files}/big").content == data
        part = http.get(f"{files}/big", headers={"range": "bytes=5-2500000"})
        assert part.content == data[5:2_500_001]

    def test_with_an_odd_name_has_a_header_for_it(self, http, files):
        http.put(f"{files}/%C3%A9%20%22t%22.txt?inbody=true", content=b"x")
        said = http.get(f"{files}/%C3%A9%20%22t%22.txt").headers["content-disposition"]
        assert said == "attachment; filename=\"_ _t_.txt\"; filename*=UTF-8''%C3%A9%20%22t%22.txt;"

    def test_that_was_packed_on_disk_comes_packed(self, http, files, session, archive):
        folder = archive.root / "archive" / session.project / "arc001" / "E01" / "SCANS" / "1" / "NIFTI"
        (folder / "a.txt").rename(folder / "a.txt.gz")
        assert http.get(f"{files}/a.txt").content == b"hello"
        (folder / "a.txt.gz").unlink()
        assert http.get(f"{files}/a.txt").status_code == 404

    def test_is_not_read_through_a_link(self, http, files, session, archive):
        path = archive.root / "archive" / session.project / "arc001" / "E01" / "SCANS" / "1" / "NIFTI" / "a.txt"
        path.unlink()
        path.symlink_to("/etc/passwd")
        assert b"root" not in http.get(f"{files}/a.txt").content


class TestPackedOnTheFly:
    @pytest.fixture
    def whole(self, http, session, files, zipped):
        """Files on every level."""
        http.put(
            f"{session.url}/resources/FS6/files/x.zip?inbody=true&extract=true",
            content=zipped(("S/a", b"1"), ("S/b", b"")),
        )
        http.put(f"{session.url}/scans/2?xsiType=xnat:mrScanData&type=BOLD run-1")
        http.put(f"{session.url}/scans/2/resources/NIFTI/files/c.nii?inbody=true", content=b"333")
        http.put(f"{session.subject}/resources/N/files/n.txt?inbody=true", content=b"x")
        http.put(f"/data/projects/{session.project}/resources/D/files/d.txt?inbody=true", content=b"x")

    @pytest.mark.parametrize(
        ("path", "name", "members"),
        [
            ("{e}/resources/FS6/files", "E01", ["E01/resources/FS6/files/S/a", "E01/resources/FS6/files/S/b"]),
            ("{e}/resources/FS6/files/S/", "E01", ["E01/resources/FS6/files/S/a", "E01/resources/FS6/files/S/b"]),
            (
                "{e}/scans/ALL/files",
                "E01",
                [
                    "E01/scans/1-T1w/resources/NIFTI/files/a.txt",
                    "E01/scans/1-T1w/resources/NIFTI/files/sub/b.nii.gz",
                    "E01/scans/2-BOLD_run_1/resources/NIFTI/files/c.nii",
                ],
            ),
            ("{e}/scans/2/files", "E01", ["E01/scans/2-BOLD_run_1/resources/NIFTI/files/c.nii"]),
            (
                "{e}/scans/1,2/files?structure=simplified",
                "E01",
                ["E01/scans/1/NIFTI/a.txt", "E01/scans/1/NIFTI/sub/b.nii.gz", "E01/scans/2/NIFTI/c.nii"],
            ),
            ("{e}/scans/2/files?structure=improved", "E01", ["scans/2_BOLD_run_1/NIFTI/c.nii"]),
            ("{e}/scans/2/files?structure=legacy", "E01", ["E01/SCANS/2/NIFTI/c.nii"]),
            (
                "{e}/scans/2/files?projectIncludedInPath=true&subjectIncludedInPath=true",
                "E01",
                ["{p}/S01/E01/scans/2-BOLD_run_1/resources/NIFTI/files/c.nii"],
            ),
            ("{s}/resources/N/files", "S01", ["S01/resources/N/files/n.txt"]),
            ("/data/projects/{p}/files", "{p}", ["{p}/resources/D/files/d.txt"]),
        ],
    )
    @pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
    def test_has_xnats_names(self, http, session, whole, kind, path, name, members):
        values = {"e": session.url, "s": session.subject, "p": session.project}
        url = path.format(**values)
        answer = http.get(url + ("&" if "?" in url else "?") + f"format={kind}")
        assert answer.status_code == 200
        media = {"zip": "application/zip", "tar": "application/x-tar", "tar.gz": "application/x-gtar"}
        assert answer.headers["content-type"] == media[kind]
        assert answer.headers["content-disposition"] == f'attachment; filename="{name.format(**values)}.{kind}";'
        found = unpacked(answer.content, kind)
        assert sorted(found) == [member.format(**values) for member in members]
        for member, data in found.items():
            assert data == {"a": b"1", "b": b"", "c.nii": b"333", "a.txt": b"hello", "b.nii.gz": b"0123456789"}.get(
                member.rpartition("/")[2], b"x"
            )

    def test_of_a_whole_session(self, http, session, whole):
        answer = http.get(f"{session.url}/files?format=zip&all=true")
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert sorted(unpacked(answer.content, "zip")) == [
            "E01/resources/FS6/files/S/a",
            "E01/resources/FS6/files/S/b",
            "E01/scans/1/resources/NIFTI/files/a.txt",
            "E01/scans/1/resources/NIFTI/files/sub/b.nii.gz",
            "E01/scans/2/resources/NIFTI/files/c.nii",
        ]

    def test_of_nothing_is_not_found(self, http, session):
        assert http.get(f"{session.scan}/resources/NONE/files?format=zip").status_code == 404

    def test_of_one_file(self, http, files):
        one = http.get(f"{files}/a.txt?format=zip")
        assert unpacked(one.content, "zip") == {"a.txt": b"hello"}
        assert one.headers["content-disposition"] == 'attachment; filename="E01.zip";'

    def test_of_large_and_many_files(self, http, session):
        data = os.urandom(1 << 20) * 3
        url = f"{session.url}/resources/R/files"
        for number in range(40):
            http.put(f"{url}/{number}?inbody=true", content=str(number).encode())
        http.put(f"{url}/big?inbody=true", content=data)
        for kind in ("zip", "tar", "tar.gz"):
            found = unpacked(http.get(f"{url}?format={kind}").content, kind)
            assert found["E01/resources/R/files/big"] == data
            assert len(found) == 41

    def test_two_resources_without_label_do_not_collide(self, http, session, rows):
        for _ in range(2):
            number = http.post(f"{session.scan}/resources?format=X").text.rpartition("/")[2]
            http.put(f"{session.scan}/resources/{number}/files/a?inbody=true", content=number.encode())
        found = unpacked(http.get(f"{session.scan}/files?format=zip&structure=improved").content, "zip")
        assert len(found) == 2


class TestStoredArchives:
    @pytest.fixture
    def stored(self, http, files, zipped):
        data = zipped(("S/stats/aseg.stats", b"numbers"), ("S/a.txt", b"text"))
        http.put(f"{files}/fs.zip?inbody=true", content=data)
        return f"{files}/fs.zip"

    @pytest.mark.parametrize("mark", ["!", "!/", "/"])
    def test_show_one_member(self, http, stored, mark):
        answer = http.get(f"{stored}{mark}S/a.txt")
        assert (answer.content, answer.headers["content-type"]) == (b"text", "text/plain")
        assert "content-disposition" not in answer.headers
        assert http.get(f"{stored}{mark}S/stats/aseg.stats").content == b"numbers"
        missing = http.get(f"{stored}{mark}S/none")
        assert (missing.status_code, missing.content) == (404, b"")

    def test_list_their_members(self, http, stored):
        table = http.get(f"{stored}?listContents=true").json()["ResultSet"]["Result"]
        assert table == [{"File Name": "S/stats/aseg.stats", "Size": "7"}, {"File Name": "S/a.txt", "Size": "4"}]

    def test_that_are_broken_say_so(self, http, files):
        http.put(f"{files}/broken.zip?inbody=true", content=b"no zip")
        assert http.get(f"{files}/broken.zip/a").status_code == 415
        assert http.get(f"{files}/broken.zip").content == b"no zip"


class TestRemoving:
    def test_takes_one_file(self, http, files, names, session, archive):
        assert http.delete(f"{files}/sub/b.nii.gz").status_code == 200
        assert names(files) == ["a.txt"]
        folder = archive.root / "archive" / session.project / "arc001" / "E01" / "SCANS" / "1" / "NIFTI"
        assert [path.name for path in folder.iterdir()] == ["a.txt"]  # the empty folder has gone too
        assert http.delete(f"{files}/sub/b.nii.gz").status_code == 404
        assert http.delete(f"{files}/sub/b.nii.gz?accept-not-found=true").status_code == 204

    def test_does_not_take_what_merely_starts_alike(self, http, files, names):
        for name in ("sub-1/x", "sub-10/x", "sub-1.txt"):
            http.put(f"{files}/{name}?inbody=true", content=b"x")
        assert http.delete(f"{files}/sub-1").status_code == 404
        assert http.delete(f"{files}/sub-1/").status_code == 200
        assert names(files) == ["a.txt", "sub-1.txt", "sub-10/x", "sub/b.nii.gz"]
        assert http.delete(f"{files}/sub-*").status_code == 200
        assert names(files) == ["a.txt", "sub/b.nii.gz"]

    def test_takes_all_of_a_resource_but_not_of_a_session(self, http, session, files, names, rows):
        assert http.delete(f"{session.scan}/files").status_code == 400
        assert http.delete(files).status_code == 200
        assert names(files) == []
        (row,) = rows(f"{session.scan}/resources")
        assert (row["file_count"], row["file_size"]) == ("0", "0")

    def test_may_keep_the_bytes(self, http, files, names):
        assert http.delete(f"{files}/a.txt?removeFiles=false").status_code == 200
        assert names(files) == ["sub/b.nii.gz"]
        assert http.put(f"{files}/a.txt?inbody=true", content=b"new").json() == {"duplicates": ["a.txt"]}

    def test_in_a_resource_that_is_not_there(self, http, session):
        assert http.delete(f"{session.scan}/resources/NONE/files/a").status_code == 400


class TestRefreshing:
    @pytest.fixture
    def folder(self, files, session, archive):
        return archive.root / "archive" / session.project / "arc001" / "E01" / "SCANS" / "1" / "NIFTI"

    def refresh(self, http, uri, **params):
        return http.post("/data/services/refresh/catalog", params={"resource": uri, **params})

    def test_files_in_1000_folders_are_listed_read_and_removed(self, archive, http, session, names):
        """Stored by an earlier version; a new one is refused."""
        url, name = f"{session.url}/resources/DEEP", "a/" * 1000 + "f"
        assert http.put(f"{url}/files/{name}?inbody=true", content=b"x").status_code == 400
        assert http.put(f"{url}/files/x?inbody=true", content=b"x").status_code == 200
        folder = archive.root / "archive" / session.project / "arc001" / "E01" / "RESOURCES" / "DEEP"
        for path in reversed((folder / name).parents):  # mkdir(parents=True) calls itself
            path.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
        uri = f"{session.url.replace('/data', '/archive', 1)}/resources/DEEP"
        assert self.refresh(http, uri).status_code == 200
        assert names(f"{url}/files") == [name, "x"]
        assert http.get(f"{url}/files/{name}").content == b"x"
        assert http.delete(f"{url}/files/{name}").status_code == 200
        assert names(f"{url}/files") == ["x"]
        assert http.delete(url).status_code == 200
        archive.archive.blob_store.empty_trash(older_than_days=-1)  # pytest's own removal calls itself
        assert list((archive.root / "trash").iterdir()) == []

    def test_lists_what_was_put_there_and_drops_what_has_gone(self, http, session, files, folder, rows):
        (folder / "new").mkdir()
        (folder / "new" / "n.txt").write_bytes(b"new")
        (folder / "a.txt").unlink()
        uri = session.scan.replace("/data", "/archive", 1)
        answer = self.refresh(http, uri, options="append,delete,checksum,populateStats")
        assert (answer.status_code, answer.content) == (200, b"")
        assert [(row["URI"].partition("/files/")[2], row["digest"]) for row in rows(files)] == [
            ("new/n.txt", hashlib.md5(b"new").hexdigest()),
            ("sub/b.nii.gz", hashlib.md5(b"0123456789").hexdigest()),
        ]
        (row,) = rows(f"{session.scan}/resources")
        assert (row["file_count"], row["file_size"]) == ("2", "13")

    def test_does_only_what_it_is_told(self, http, session, files, folder, rows):
        (folder / "n.txt").write_bytes(b"new")
        (folder / "a.txt").unlink()
        uri = f"{session.scan}/resources/NIFTI".replace("/data", "/archive", 1)
        assert self.refresh(http, uri, options=["append"]).status_code == 200
        assert [(row["Name"], bool(row["digest"])) for row in rows(files)] == [
            ("a.txt", True),
            ("n.txt", False),
            ("b.nii.gz", True),
        ]
        assert self.refresh(http, uri, delete="true").status_code == 200
        assert [row["Name"] for row in rows(files)] == ["n.txt", "b.nii.gz"]
        (row,) = rows(f"{session.scan}/resources")
        assert row["file_count"] == "2"
        assert self.refresh(http, uri, checksum="true").status_code == 200
        assert all(row["digest"] for row in rows(files))

    def test_notices_bytes_that_changed(self, http, session, files, folder, rows):
        (folder / "a.txt").write_bytes(b"other bytes")
        assert self.refresh(http, session.url.replace("/data", "/archive", 1)).status_code == 200
        assert rows(files)[0]["Size"] == "11"
        assert rows(files)[0]["digest"] == hashlib.md5(b"other bytes").hexdigest()

    @pytest.mark.parametrize(
        ("uri", "status"),
        [
            ("", 200),
            ("/archive/nonsense", 400),
            ("/archive/experiments/NONE_X", 400),
            ("/archive/projects/NONE", 400),
            ("/data/projects/NONE", 400),
        ],
    )
    def test_of_nothing_is_refused(self, http, uri, status):
        assert (
            http.post("/data/services/refresh/catalog", params={"resource": uri} if uri else {}).status_code == status
        )

    def test_is_asked_for_as_json_too(self, http, session, files, folder, rows):
        (folder / "n.txt").write_bytes(b"new")
        uri = session.scan.replace("/data", "/archive", 1)
        assert http.put("/xapi/archive/catalogs/refresh/delete", json=[uri]).status_code == 200
        assert len(rows(files)) == 2
        assert http.put("/xapi/archive/catalogs/refresh", json=[uri]).status_code == 200
        assert len(rows(files)) == 3
        assert http.put("/xapi/archive/catalogs/refresh", content=b"[").status_code == 415
        assert http.put("/xapi/archive/catalogs/refresh", json="x").status_code == 400


def unpacked(data, kind):
    if kind == "zip":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert archive.testzip() is None
            return {name: archive.read(name) for name in archive.namelist()}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}
