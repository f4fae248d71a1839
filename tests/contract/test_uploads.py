"""Files sent to the archive: forms of bodies, names, what counts as there, archives unpacked."""

import hashlib
import http.client
import io
import json
import os
import socket
import stat
import tarfile
import threading
import time
import zipfile
from base64 import b64encode
from dataclasses import replace

import pytest

from xnatferry.server.archive import running_archive
from xnatferry.server.settings import ServerSettings
from xnatferry.server.unpack import UnpackLimits

BASIC = {"Authorization": "Basic " + b64encode(b"admin:admin-secret").decode()}
CONTENT = b"sixteen bytes..."


def md5(data):
    return hashlib.md5(data).hexdigest()


@pytest.fixture
def files(session):
    """Address of the files of a resource that does not exist yet."""
    return f"{session.scan}/resources/NIFTI/files"


class TestOneBody:
    @pytest.mark.parametrize("method", ["PUT", "POST"])
    @pytest.mark.parametrize(
        ("query", "media"),
        [
            ("?inbody=true", None),
            ("?inbody=true", "application/x-odd"),
            ("", "application/octet-stream"),
            ("", "text/plain"),
        ],
    )
    def test_is_stored_with_its_digest(self, http, files, rows, method, query, media):
        headers = {"content-type": media} if media else {}
        answer = http.request(method, f"{files}/d/a.nii.gz{query}", content=CONTENT, headers=headers)
        assert (answer.status_code, answer.content) == (200, b"")
        (row,) = rows(files)
        assert (row["Name"], row["Size"], row["digest"]) == ("a.nii.gz", "16", md5(CONTENT))
        assert http.get(f"{files}/d/a.nii.gz").content == CONTENT

    def test_says_format_content_and_tags(self, http, session, files, rows):
        http.put(f"{session.scan}/resources/NIFTI?format=OLD&content=OLD")
        http.put(f"{files}/a?inbody=true&format=F&content=C&tags=x&tags=y&description=words", content=b"1")
        (row,) = rows(files)
        assert [row[key] for key in ("file_format", "file_content", "file_tags", "collection")] == [
            "F",
            "C",
            "x,y",
            "NIFTI",
        ]
        (resource,) = rows(f"{session.scan}/resources")
        assert [resource[key] for key in ("format", "content", "tags")] == ["F", "C", "x,y"]
        http.put(f"{files}/a?inbody=true&overwrite=true", content=b"22")  # says nothing: leaves it
        (row,) = rows(files)
        assert (row["file_format"], row["Size"]) == ("F", "2")

    @pytest.mark.parametrize(
        ("query", "media", "body", "status", "words"),
        [
            ("", "application/x-odd", b"hello", 400, "You tried to PUT a payload of 5 B to this service"),
            ("", "application/x-odd", b"h" * 5000, 400, "a payload of 4 KB"),
            ("", None, b"", 400, "found request entity size of 0"),
            ("?inbody=true", "text/plain", b"", 500, "must include the file directly as the body of the message."),
            ("?inbody=true", None, b"", 500, 'getMediaType()" is null'),
            ("?inbody=true", "multipart/form-data; boundary=x", b"--x--", 400, "didn't provide any data"),
            ("?reference=/etc/passwd", None, b"", 400, "from its own disk"),
        ],
    )
    def test_is_refused_as_xnat_does(self, http, files, rows, heading, query, media, body, status, words):
        headers = {"content-type": media} if media else {}
        answer = http.put(f"{files}/a{query}", content=body, headers=headers)
        assert answer.status_code == status
        assert words in heading(answer)
        assert rows(files) == []

    def test_of_unknown_length_is_refused_unless_it_is_a_zip(self, http, files, zipped, names, left_over):
        def pieces(data):
            yield data

        answer = http.put(f"{files}/a.txt?inbody=true", content=pieces(b"hello"))
        assert answer.status_code == 500
        data = zipped(("a.txt", b"hello"))
        zip_type = {"content-type": "application/zip"}
        assert http.put(f"{files}/x.zip?extract=true", content=pieces(data), headers=zip_type).status_code == 200
        assert names(files) == ["a.txt"]
        assert left_over() == []

    def test_without_a_name_is_called_upload(self, http, files, names):
        http.post(f"{files}?inbody=true", content=b"x", headers={"content-type": "text/plain"})
        http.post(f"{files}?inbody=true", content=b"x", headers={"content-type": "application/x-odd"})
        assert names(files) == ["upload.txt", "upload.unsupported"]

    def test_without_a_resource_goes_to_the_first_one(self, http, session, rows):
        http.put(f"{session.url}/files/loose.txt?inbody=true", content=b"x")
        http.put(f"{session.scan}/resources/R")
        http.put(f"{session.scan}/files/loose.txt?inbody=true", content=b"x")
        assert [row["collection"] for row in rows(f"{session.url}/files", all="true")] == ["", "R"]

    def test_counts_are_kept_unless_told_not_to(self, http, session, files, rows):
        def counts():
            return [(row["file_count"], row["file_size"]) for row in rows(f"{session.scan}/resources")]

        http.put(f"{files}/a?inbody=true", content=b"1")
        assert counts() == [("1", "1")]
        http.put(f"{files}/b?inbody=true&update-stats=false", content=b"22")
        assert counts() == [("1", "1")]
        http.put(f"{files}/a?inbody=true&overwrite=true", content=b"333")
        assert counts() == [("2", "5")]
        http.delete(f"{files}/b")
        assert counts() == [("1", "3")]

    def test_large_bodies_pass_through_in_pieces(self, http, files, rows):
        data = os.urandom(1 << 20) * 5 + b"end"
        assert http.put(f"{files}/big.bin?inbody=true", content=data).status_code == 200
        assert rows(files)[0]["digest"] == md5(data)
        assert http.get(f"{files}/big.bin").content == data


class TestNames:
    @pytest.mark.parametrize(
        ("sent", "stored"),
        [
            ("n%20ame.txt", "n ame.txt"),
            ("a%20b%23.nii", "a b#.nii"),
            ("a%2Bb.txt", "a+b.txt"),
            ("pl+us.txt", "pl+us.txt"),
            ("pl+us%20.txt", "pl us .txt"),
            ("ha%23sh.txt", "ha%23sh.txt"),
            ("%C3%A9t%C3%A9.txt", "%C3%A9t%C3%A9.txt"),
            ("%C3%A9%20t.txt", "é t.txt"),
            ("a(1),b.txt", "a(1),b.txt"),
        ],
    )
    def test_are_decoded_only_where_xnat_does(self, archive, session, files, names, sent, stored, http):
        answer = request(archive, "PUT", f"{files}/{sent}?inbody=true", b"hello")
        assert answer[0] == 200, answer
        assert names(files) == [stored]
        assert request(archive, "GET", f"{files}/{sent}") == (200, b"hello")

    @pytest.mark.parametrize(
        "sent",
        [
            "%2E%2E%2Fx.txt",
            "../../x.txt",
            "a/%2e%2e/x.txt",
            "a//b.txt",
            "/x.txt",
            "a%00b",
            "a%0Ab",
            "a%5Cb",
            "%20%ff",
            "x" * 300,
        ],
    )
    def test_that_would_leave_or_break_are_refused(self, archive, session, files, names, sent, left_over):
        status, _ = request(archive, "PUT", f"{files}/{sent}?inbody=true", b"hello")
        assert status == 400
        assert names(files) == []
        assert left_over() == []

    def test_of_catalogs_are_taken_once(self, http, files, names):
        assert http.put(f"{files}/x_catalog.xml?inbody=true", content=b"<a/>").status_code == 200
        assert http.put(f"{files}/x_catalog.xml?inbody=true&overwrite=true", content=b"<b/>").status_code == 500
        assert names(files) == ["x_catalog.xml"]
        assert http.get(f"{files}/x_catalog.xml").content == b"<a/>"

    def test_of_a_folder_are_taken(self, http, files, names):
        http.put(f"{files}/sub/a.txt?inbody=true", content=b"x")
        assert http.put(f"{files}/sub?inbody=true", content=b"x").json() == {"duplicates": ["sub"]}
        assert http.put(f"{files}/sub?inbody=true&overwrite=true", content=b"x").status_code == 400
        assert http.put(f"{files}/sub/a.txt/b?inbody=true&overwrite=true", content=b"x").status_code == 400
        assert names(files) == ["sub/a.txt"]


class TestForms:
    def test_file_parts_are_files(self, http, files, names, rows):
        parts = [("f1", ("a.txt", b"hello")), ("f2", ("empty.txt", b"")), ("f3", ("C:\\data\\w.txt", b"x"))]
        answer = http.put(f"{files}?format=TXT", files=parts, data={"note": "ignored"})
        assert (answer.status_code, answer.content) == (200, b"")
        assert names(files) == ["a.txt", "empty.txt", "w.txt"]
        assert [row["Size"] for row in rows(files)] == ["5", "0", "1"]
        assert {row["file_format"] for row in rows(files)} == {"TXT"}

    def test_the_name_in_the_address_wins(self, http, files, names):
        http.put(f"{files}/sub/b.txt", files={"file": ("other.txt", b"hello")})
        assert names(files) == ["sub/b.txt"]

    def test_large_parts_pass_through_in_pieces(self, http, files, rows):
        data = b"\r\n--boundary".join(os.urandom(700_000) for _ in range(4))
        http.put(files, files={"file": ("big.bin", data)})
        assert [(row["Name"], row["digest"]) for row in rows(files)] == [("big.bin", md5(data))]

    def test_of_a_path_the_last_part_is_kept(self, http, files, names):
        assert http.put(files, files=[("f", ("sub/a.txt", b"1")), ("g", ("C:\\data\\b.txt", b"2"))]).status_code == 200
        assert names(files) == ["a.txt", "b.txt"]

    @pytest.mark.parametrize(
        ("media", "body", "status", "words"),
        [
            ("multipart/form-data", b"x", 400, "no boundary"),
            ("multipart/form-data; boundary=b", b"nonsense", 400, "cannot be read"),
            ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nhel', 400, "ends before"),
            ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\nv\r\n--b--\r\n', 400, "didn't provide any data"),
        ],
    )  # fmt: skip
    def test_broken_ones_leave_nothing(self, http, files, names, heading, left_over, media, body, status, words):
        answer = http.put(f"{files}/h.txt", content=body, headers={"content-type": media})
        assert answer.status_code == status
        assert words in heading(answer)
        assert names(files) == []
        assert left_over() == []


class TestFilesThatAreThere:
    def test_are_kept_and_named(self, http, files, left_over):
        http.put(f"{files}/sub/a.nii.gz?inbody=true", content=b"one")
        for query in ("", "&overwrite=false", "&overwrite=0"):
            answer = http.put(f"{files}/sub/a.nii.gz?inbody=true{query}", content=b"two")
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/html")
            assert answer.text == '{"duplicates":["sub/a.nii.gz"]}'
        assert http.get(f"{files}/sub/a.nii.gz").content == b"one"
        assert left_over() == []

    def test_are_replaced_when_asked(self, http, files, rows):
        http.put(f"{files}/a?inbody=true", content=b"one")
        assert http.put(f"{files}/a?inbody=true&overwrite=true", content=b"two two").content == b""
        (row,) = rows(files)
        assert (row["Size"], row["digest"]) == ("7", md5(b"two two"))
        assert http.get(f"{files}/a").content == b"two two"

    def test_of_a_form_are_told_apart(self, http, files, names):
        http.put(f"{files}/a?inbody=true", content=b"one")
        answer = http.put(files, files=[("f", ("a", b"x")), ("g", ("b", b"y"))])
        assert answer.json() == {"duplicates": ["a"]}
        assert names(files) == ["a", "b"]

    def test_count_when_they_lie_unlisted_on_disk(self, http, files, session, archive, names):
        folder = archive.root / "archive" / session.project / "arc001" / "E01" / "SCANS" / "1" / "NIFTI"
        folder.mkdir(parents=True)
        (folder / "left.txt").write_text("left over")
        assert http.put(f"{files}/left.txt?inbody=true", content=b"new").json() == {"duplicates": ["left.txt"]}
        assert http.put(f"{files}/left.txt?inbody=true&overwrite=true", content=b"new").content == b""
        assert http.get(f"{files}/left.txt").content == b"new"


class TestUnpacking:
    @pytest.mark.parametrize("how", ["body", "form"])
    @pytest.mark.parametrize("name", ["fs.zip", "fs.zar", "fs.tar", "fs.tgz", "fs.tar.gz"])
    def test_keeps_folders_and_drops_the_archive(self, http, files, names, rows, zipped, tarred, name, how, left_over):
        members = [("S01/mri/orig.mgz", b"orig"), ("S01/scripts/done", b""), ("S01//lead", b"x"), ("./S01/dot", b"y")]
        mode = {"fs.tar": "w"}.get(name, "w:gz")
        data = zipped(*members, ("S01/label/", b"")) if name[3] == "z" else tarred(*members, mode=mode)
        if how == "body":
            answer = http.post(f"{files}/some/folder/{name}?inbody=true&extract=true&format=U", content=data)
        else:
            answer = http.put(f"{files}?extract=true&format=U", files={"file": (name, data)})
        assert (answer.status_code, answer.text) == (200, "")
        assert names(files) == ["S01/dot", "S01/lead", "S01/mri/orig.mgz", "S01/scripts/done"]
        assert [row["digest"] for row in rows(files)] == [md5(data) for data in (b"y", b"x", b"orig", b"")]
        assert {row["file_format"] for row in rows(files)} == {"U"}
        assert left_over() == []

    def test_of_a_plain_gz_drops_the_ending(self, http, files, names):
        import gzip

        http.put(f"{files}/a.nii.gz?inbody=true&extract=true", content=gzip.compress(b"NIFTI"))
        assert names(files) == ["a.nii"]
        assert http.get(f"{files}/a.nii").content == b"NIFTI"

    @pytest.mark.parametrize("name", ["U.ZIP", "a.txt", "a.tar.bz2", "a.mgz"])
    def test_leaves_other_files_alone(self, http, files, names, zipped, name):
        data = zipped(("x", b"y"))
        http.put(f"{files}/{name}?inbody=true&extract=true", content=data)
        http.put(f"{files}/k.zip?inbody=true&extract=false", content=data)
        assert names(files) == sorted([name, "k.zip"])

    def test_names_duplicates_and_stores_the_rest(self, http, files, names, zipped):
        url = f"{files}/fs.zip?inbody=true&extract=true"
        http.put(url, content=zipped(("a", b"1"), ("b", b"2")))
        answer = http.put(url, content=zipped(("b", b"other"), ("c", b"3")))
        assert (answer.status_code, answer.json()) == (200, {"duplicates": ["b"]})
        assert names(files) == ["a", "b", "c"]
        assert http.get(f"{files}/b").content == b"2"
        assert http.put(url + "&overwrite=true", content=zipped(("b", b"other"))).content == b""
        assert http.get(f"{files}/b").content == b"other"

    @pytest.mark.parametrize("bad", ["../../climb", "a/../../climb", "C:/x", "a\\b"])
    def test_refuses_members_that_climb_out(self, http, files, names, zipped, tarred, heading, left_over, archive, bad):
        for name, data in (
            ("c.zip", zipped((bad, b"x"), ("ok.txt", b"ok"))),
            ("c.tar", tarred((bad, b"x"), ("ok.txt", b"ok"))),
        ):
            answer = http.put(f"{files}/{name}?inbody=true&extract=true", content=data)
            assert answer.status_code == 400
            assert "Nothing was stored" in heading(answer)
        assert names(files) == []
        assert left_over() == []
        assert not list(archive.root.rglob("climb"))

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
    def test_refuses_links_and_devices(self, http, files, names, heading, kind, left_over):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            member = tarfile.TarInfo("odd")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        answer = http.put(f"{files}/c.tar?inbody=true&extract=true", content=out.getvalue())
        assert (answer.status_code, names(files), left_over()) == (400, [], [])
        assert "odd" in heading(answer)

    def test_refuses_a_link_in_a_zip(self, http, files, names):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            link = zipfile.ZipInfo("odd")
            link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
            archive.writestr(link, "/etc/passwd")
        assert http.put(f"{files}/c.zip?inbody=true&extract=true", content=out.getvalue()).status_code == 400
        assert names(files) == []

    @pytest.mark.parametrize("name", ["b.zip", "b.tar", "b.tgz", "b.nii.gz"])
    def test_of_something_broken_stores_nothing(self, http, session, files, rows, heading, name, left_over):
        answer = http.put(f"{files}/{name}?inbody=true&extract=true", content=b"this is no archive")
        assert answer.status_code == 500
        assert "Nothing was stored" in heading(answer)
        assert rows(f"{session.scan}/resources") == []
        assert left_over() == []

    def test_hides_catalogs_of_other_servers(self, http, files, names, zipped):
        http.put(f"{files}/c.zip?inbody=true&extract=true", content=zipped(("S/x_catalog.xml", b"<a/>"), ("S/a", b"1")))
        assert names(files) == ["S/a"]

    def test_has_limits(self, tmp_path, zipped):
        limits = UnpackLimits(max_members=3, ratio_free_bytes=1000, max_ratio=2)
        settings = replace(ServerSettings(root=tmp_path / "a"), limits=limits)
        bomb = io.BytesIO()
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("zeros", bytes(100_000))
        with running_archive(tmp_path / "a", admin_password="admin-secret", settings=settings) as running:
            for path in ("", "/subjects/S", "/subjects/S/experiments/E?xsiType=xnat:mrSessionData"):
                assert request(running, "PUT", f"/data/projects/P{path}")[0] in {200, 201}
            url = "/data/projects/P/subjects/S/experiments/E/resources/R/files/x.zip?inbody=true&extract=true"
            for data in (bomb.getvalue(), zipped(*((str(n), b"") for n in range(4)))):
                status, text = request(running, "PUT", url, data)
                assert status == 400
                assert b"Nothing was stored" in text
            assert list((tmp_path / "a" / "incoming").iterdir()) == []
            assert not list((tmp_path / "a" / "archive").rglob("R"))


class TestManyAtOnce:
    def test_writers_to_one_new_resource_all_land(self, archive, session, files, names):
        statuses = []

        def write(number):
            statuses.append(request(archive, "PUT", f"{files}/{number:02}?inbody=true", b"x" * number)[0])

        threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 17)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [200] * 16
        assert names(files) == [f"{number:02}" for number in range(1, 17)]

    def test_writers_of_one_file_leave_one_of_them(self, archive, session, files, rows, http):
        bodies = [bytes([65 + number]) * (1 + number) * 1000 for number in range(8)]
        threads = [
            threading.Thread(target=request, args=(archive, "PUT", f"{files}/a?inbody=true&overwrite=true", body))
            for body in bodies
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (row,) = rows(files)
        data = http.get(f"{files}/a").content
        assert data in bodies
        assert (row["Size"], row["digest"]) == (str(len(data)), md5(data))


class TestClientsThatBreakOff:
    @pytest.mark.parametrize("form", [False, True])
    @pytest.mark.parametrize("sent", [10, 300_000, 3_000_000])
    def test_leave_nothing(self, archive, session, files, names, rows, left_over, form, sent):
        headers = "Content-Type: multipart/form-data; boundary=b\r\n" if form else ""
        body = b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n' if form else b""
        host, port = archive.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = f"PUT {files}/a{'' if form else '?inbody=true'} HTTP/1.1\r\nHost: x\r\n{headers}"
            head += f"Authorization: {BASIC['Authorization']}\r\nContent-Length: 5000000\r\n\r\n"
            connection.sendall(head.encode() + body + b"x" * sent)
            time.sleep(0.2)
        deadline = time.monotonic() + 500
        while left_over() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert left_over() == []
        assert names(files) == []
        assert rows(f"{session.scan}/resources") == []


class TestPermissions:
    def test_a_member_may_add_and_not_delete_and_a_collaborator_only_reads(self, archive, session, files, http, names):
        for login, role in (("mem", "Members"), ("col", "Collaborators"), ("str", None)):
            name = f"{login}{session.project}"
            archive.archive.accounts.create(name, "secret-of-them")
            if role:
                assert http.put(f"/data/projects/{session.project}/users/{role}/{name}").status_code == 200
        http.put(f"{files}/a?inbody=true", content=b"x")

        def tried(login):
            basic = {
                "Authorization": "Basic " + b64encode(f"{login}{session.project}:secret-of-them".encode()).decode()
            }
            return [
                request(archive, "GET", f"{files}/a", headers=basic)[0],
                request(archive, "PUT", f"{files}/{login}?inbody=true", b"x", headers=basic)[0],
                request(archive, "PUT", f"{session.long}/resources/{login}", headers=basic)[0],
                request(archive, "DELETE", f"{files}/a", headers=basic)[0],
                request(archive, "DELETE", f"{session.scan}/resources/NIFTI", headers=basic)[0],
            ]

        assert tried("mem") == [200, 200, 200, 403, 403]
        assert tried("col") == [200, 403, 403, 403, 403]
        assert tried("str") == [500, 404, 404, 404, 404]
        assert names(files) == ["a", "mem"]

    def test_a_refusal_is_readable_after_a_large_body(self, archive, session, files):
        status, text = request(
            archive, "PUT", "/data/experiments/NONE_X/resources/R/files/a?inbody=true", bytes(8 << 20)
        )
        assert status == 404
        assert b"Unable to identify experiment" in text


def request(archive, method, path, body=None, headers=BASIC):
    """One request with the path exactly as given; status and body."""
    connection = http.client.HTTPConnection(archive.url.removeprefix("http://"), timeout=60)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_the_duplicates_answer_is_json_in_any_alphabet(archive, session, files):
    path = f"{files}/%C3%A9%20t.txt?inbody=true"
    request(archive, "PUT", path, b"x")
    assert json.loads(request(archive, "PUT", path, b"x")[1]) == {"duplicates": ["é t.txt"]}
