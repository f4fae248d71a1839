"""Experiments, scans, assessors and reconstructions."""

import re
from types import MappingProxyType

import pytest

XNAT = 'xmlns:xnat="http://nrg.wustl.edu/xnat" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
XML = {"Content-Type": "text/xml"}
MR = {"xsiType": "xnat:mrSessionData"}
SCAN = {"xsiType": "xnat:mrScanData"}


@pytest.fixture
def item(http):
    def item(url):
        answer = http.get(url, params={"format": "json"})
        assert answer.status_code == 200, answer.text
        return answer.json()["items"][0]

    return item


class TestExperiments:
    def test_need_a_type_when_they_are_new(self, http, project):
        url = f"/data/projects/{project}/subjects/S1/experiments/E1"
        answer = http.put(url)
        assert answer.status_code == 417
        assert "<h3>Need PUT Contents</h3>" in answer.text
        assert http.get(f"/data/projects/{project}/subjects/S1").status_code == 404  # and no subject is made for it

    @pytest.mark.parametrize(
        ("params", "status"),
        [
            ({"xsiType": "xnat:mrSessionData"}, 201),
            ({"xnat:petSessionData/date": "2020-01-02"}, 201),
            ({"xsiType": "XNAT:MRSESSIONDATA"}, 201),
            ({"xsiType": "xnat:nonsense"}, 400),
            ({"xsiType": "xnat:subjectData"}, 422),
            ({"xsiType": "xnat:imageSessionData"}, 400),
            ({"xsiType": "xnat:mrSessionData", "date": "tomorrow"}, 400),
        ],
    )
    def test_are_made_with_their_subject_or_not_at_all(self, http, project, params, status, rows):
        answer = http.put(f"/data/projects/{project}/subjects/S1/experiments/E1", params=params)
        assert answer.status_code == status
        assert len(rows(f"/data/projects/{project}/subjects")) == (status == 201)

    def test_are_found_by_label_and_by_id(self, item, session):
        by_project = f"/data/projects/{session.project}/experiments"
        for url in (session.long, session.url, f"{by_project}/E01", f"{by_project}/{session.id}"):
            assert item(url)["data_fields"]["ID"] == session.id

    def test_are_put_by_id_and_below_the_project_too(self, http, session, item):
        assert http.put(session.url, params={"xnat:mrSessionData/note": "n", "date": "2020-02-03"}).text == session.id
        assert item(session.url)["data_fields"]["note"] == "n"
        url = f"/data/projects/{session.project}/experiments"
        for label, more in (
            ("E2", {"subject_ID": session.subject_id}),
            ("E3", {"subject_ID": "S01", "project": session.project}),
        ):
            made = http.put(f"{url}/{label}", params={**MR, **more})
            assert made.status_code == 201
            assert item(f"/data/experiments/{made.text}")["data_fields"]["subject_ID"] == session.subject_id
        assert http.put(f"{url}/E4", params={**MR, "subject_ID": "S01"}).status_code == 500
        assert http.put(f"{url}/E4", params=MR).status_code == 400

    def test_move_to_the_subject_they_are_put_under(self, http, session, item, rows):
        url = f"/data/projects/{session.project}/subjects/S02"
        assert http.put(f"{url}/experiments/E01", params=MR).text == session.id
        assert http.get(url).status_code == 404  # without that subject it stays
        assert len(rows(f"/data/projects/{session.project}/subjects/S01/experiments")) == 1
        http.put(url)
        http.put(f"{url}/experiments/E01", params=MR)
        assert len(rows(f"/data/projects/{session.project}/experiments")) == 1
        assert rows(f"/data/projects/{session.project}/subjects/S01/experiments") == []

    def test_are_renamed_with_their_files(self, http, session, archive, item):
        http.put(f"{session.scan}/resources/R/files/a.txt", params={"inbody": "true"}, content=b"hello")
        answer = http.put(session.long, params={"label": "E02", "note": "not this"})
        assert (answer.status_code, answer.content) == (200, b"")
        assert http.get(session.long).status_code == 404
        assert http.get(f"{session.scan}/resources/R/files/a.txt").content == b"hello"
        assert "note" not in item(session.url)["data_fields"]
        folder = archive.root / "archive" / session.project / "arc001"
        assert [path.relative_to(folder).as_posix() for path in folder.rglob("a.txt")] == ["E02/SCANS/1/R/a.txt"]
        http.put(session.long, params=MR)
        assert http.put(session.url, params={"label": "E01"}).status_code == 409

    def test_keep_their_earlier_forms(self, http, session):
        http.put(session.long, params={"note": "one"})
        http.put(session.long, params={"note": "two"})
        http.put(session.long, params={"note": "two"})
        assert len(http.get(session.url, params={"format": "json"}).json()["items"]) == 1
        items = http.get(session.url, params={"format": "json", "includeHistory": "true"}).json()["items"]
        assert [one["meta"]["isHistory"] for one in items] == [False, True, True]
        assert [one["data_fields"].get("note") for one in items] == ["two", "one", None]

    def test_are_put_into_quarantine_and_out_of_it(self, http, session, item):
        url = f"/data/projects/{session.project}"
        assert http.get(f"{session.long}/status").text == "active"
        assert http.put(session.long, params={"quarantine": "true"}).text == session.id
        assert http.get(f"{session.long}/status").text == "quarantine"
        assert "setting" not in str(item(session.long)) + http.get(session.long, params={"format": "xml"}).text
        assert http.put(session.long, params={"note": "n"}).status_code == 200
        assert http.get(f"{session.long}/status").text == "quarantine"
        http.put(session.long, params={"activate": "true"})
        assert http.get(f"{session.long}/status").text == "active"
        http.put(f"{url}/quarantine_code/1")
        http.put(f"{url}/subjects/S01/experiments/E02", params=MR)
        assert http.get(f"{url}/subjects/S01/experiments/E02/status").text == "quarantine"

    @pytest.mark.parametrize(
        ("change", "status"),
        [({"xsiType": "xnat:petSessionData"}, 200), ({"ID": "OTHER"}, 400), ({"project": "OTHER"}, 409)],
    )
    def test_keep_type_id_and_project(self, http, session, rows, change, status):
        assert http.put(session.long, params=change).status_code == status
        (row,) = rows(f"/data/projects/{session.project}/experiments")
        assert (row["ID"], row["xsiType"], row["project"]) == (session.id, "xnat:mrSessionData", session.project)

    @pytest.mark.parametrize("remove", [True, False])
    def test_are_deleted_with_or_without_files(self, http, session, archive, remove):
        http.put(f"{session.scan}/resources/R/files/a.txt", params={"inbody": "true"}, content=b"hello")
        params = {"removeFiles": "true"} if remove else {}
        assert http.delete(session.long, params=params).status_code == 200
        assert http.get(session.url).status_code == http.delete(session.long).status_code == 404
        file = archive.root / "archive" / session.project / "arc001" / "E01" / "SCANS" / "1" / "R" / "a.txt"
        assert file.exists() is not remove
        if remove:
            assert [path.read_bytes() for path in (archive.root / "trash").rglob(f"{session.project}/**/a.txt")] == [
                b"hello"
            ]

    def test_a_document_makes_session_and_scans_or_nothing(self, http, project, rows):
        url = f"/data/projects/{project}/subjects/S1/experiments/E1"
        scans = '<xnat:scans><xnat:scan ID="1" type="T1w" xsi:type="xnat:mrScanData"><xnat:frames>3</xnat:frames></xnat:scan>{}</xnat:scans>'
        bad = scans.format('<xnat:scan ID="2" type="x"/>')  # a scan of no modality
        assert http.put(url, content=f"<xnat:MRSession {XNAT}>{bad}</xnat:MRSession>", headers=XML).status_code == 400
        assert rows(f"/data/projects/{project}/subjects") == []
        good = scans.format('<xnat:scan ID="2" type="bold" xsi:type="xnat:mrScanData"/>')
        assert http.put(url, content=f"<xnat:MRSession {XNAT}>{good}</xnat:MRSession>", headers=XML).status_code == 201
        assert [(row["ID"], row["type"]) for row in rows(f"{url}/scans")] == [("1", "T1w"), ("2", "bold")]

    def test_a_chunked_document_does_not_count(self, http, project):
        url = f"/data/projects/{project}/subjects/S1/experiments/E1"
        body = iter([f"<xnat:MRSession {XNAT}/>".encode()])
        assert http.put(url, content=body, headers=XML).status_code == 417

    def test_a_whole_document_takes_away_what_it_leaves_out(self, http, session, item):
        http.put(session.long, params={"note": "n", "operator": "o"})
        body = (
            f'<xnat:MRSession {XNAT} project="{session.project}" label="E01"><xnat:note>m</xnat:note></xnat:MRSession>'
        )
        http.put(session.long, content=body, headers=XML)
        assert item(session.url)["data_fields"]["operator"] == "o"
        http.put(session.long, content=body, headers=XML, params={"allowDataDeletion": "true"})
        assert "operator" not in item(session.url)["data_fields"]
        assert item(session.url)["data_fields"]["note"] == "m"

    def test_document_read_back_makes_the_same_session(self, http, session, new_id):
        http.put(
            session.scan,
            params={
                "xnat:mrScanData/parameters/tr": "2300",
                "xnat:mrScanData/parameters/voxelRes/x": "0.5",
                "quality": "usable",
            },
        )
        http.put(
            session.long,
            params={
                "xnat:mrSessionData/fields/field[name=k]/field": "v",
                "date": "2020-01-02",
                "xnat:imageSessionData/scanner/model": "Skyra",
            },
        )
        taken = r' (ID="\w+_E\d+"|project="[^"]*"| xsi:schemaLocation="[^"]*")|<xnat:(subject_ID|image_session_ID)>\w+</xnat:\2>|<!--.*?-->'
        written = re.sub(taken, "", http.get(session.url, params={"format": "xml"}).text)
        other = new_id()
        http.put(f"/data/projects/{other}")
        url = f"/data/projects/{other}/subjects/S1/experiments/E01"
        assert http.put(url, content=written, headers=XML).status_code == 201
        assert re.sub(taken, "", http.get(url, params={"format": "xml"}).text) == written


class TestScans:
    def test_put_answers_an_empty_200(self, http, session):
        for _ in range(2):
            answer = http.put(f"{session.url}/scans/2", params=SCAN)
            assert (answer.status_code, answer.content) == (200, b"")

    def test_keep_their_type_when_none_is_said(self, http, session, item):
        assert http.put(session.scan, params={"quality": "usable"}).status_code == 200
        assert item(session.scan)["data_fields"]["quality"] == "usable"
        assert http.put(session.scan, params={"xsiType": "xnat:petScanData"}).status_code == 409
        assert http.put(session.scan, params={"xnat:ctScanData/note": "lost"}).status_code == 417
        assert "note" not in item(session.scan)["data_fields"]

    def test_another_id_makes_another_scan(self, http, session, rows):
        assert http.put(session.scan, params={"ID": "7"}).status_code == 200
        assert [(row["ID"], row["type"]) for row in rows(f"{session.url}/scans")] == [("1", "T1w"), ("7", "")]

    @pytest.mark.parametrize(
        ("params", "status"),
        [
            ({}, 417),
            ({"xsiType": "xnat:imageScanData"}, 400),
            ({"xsiType": "xnat:mrSessionData"}, 400),
            ({"xsiType": "xnat:mrScanData", "frames": "many"}, 400),
        ],
    )
    def test_that_cannot_be_made(self, http, session, params, status, rows):
        assert http.put(f"{session.url}/scans/9", params=params).status_code == status
        assert len(rows(f"{session.url}/scans")) == 1

    def test_xnatpy_sends_the_id_in_lower_case(self, http, session, item):
        url = f"{session.url}/scans/7"
        http.put(url, params={**SCAN, "xnat:mrScanData/id": "7", "xnat:mrScanData/type": "T2w"})
        assert item(url)["data_fields"]["ID"] == "7"

    def test_ids_are_labels(self, http, session, rows):
        assert http.put(f"{session.url}/scans/anat-T1w_run-1", params=SCAN).status_code == 200
        assert "anat-T1w_run-1" in {row["ID"] for row in rows(f"{session.url}/scans")}

    @pytest.mark.parametrize("name", ["1.2.3", "a b", "é", "MR1 ", "a:b", "%2E%2E", "x" * 300, "a%07b"])
    def test_other_letters_in_ids_are_500(self, http, session, name, rows):
        assert http.put(f"{session.url}/scans/{name}", params=SCAN).status_code == 500
        assert http.post(f"{session.url}/scans", params={"ID": "a b", "type": "posted"}).status_code == 500
        assert len(rows(f"{session.url}/scans")) == 1

    @pytest.mark.parametrize("name", ["..", "a%2Fb", "a%5Cb"])
    def test_ids_that_are_no_folder_are_refused(self, http, session, name, rows):
        assert http.put(f"{session.url}/scans/{name}", params=SCAN).status_code in {400, 404, 405, 422}
        assert len(rows(f"{session.url}/scans")) == 1

    def test_are_listed_in_the_order_of_their_numbers(self, http, session, rows):
        for name in ("10", "2", "b", "a"):
            http.put(f"{session.url}/scans/{name}", params=SCAN)
        assert [row["ID"] for row in rows(f"{session.url}/scans")] == ["1", "2", "10", "a", "b"]

    def test_post_takes_the_smallest_free_number(self, http, session):
        answer = http.post(f"{session.url}/scans", params={"type": "posted"})
        assert answer.text == answer.headers["location"]
        assert answer.text.endswith("/scans/2")
        assert http.post(f"{session.url}/scans", params={"ID": "2"}).status_code == 409

    @pytest.mark.parametrize("remove", [True, False])
    def test_are_deleted_with_or_without_files(self, http, session, archive, remove):
        http.put(f"{session.scan}/resources/R/files/a.txt", params={"inbody": "true"}, content=b"hello")
        assert http.delete(session.scan, params={"removeFiles": str(remove).lower()}).status_code == 200
        assert http.get(session.scan).status_code == 404
        folder = archive.root / "archive" / session.project / "arc001" / "E01" / "SCANS" / "1"
        assert folder.exists() is not remove

    def test_made_again_have_the_files_that_were_kept(self, http, session, rows):
        url = f"{session.scan}/resources/R/files"
        http.put(f"{url}/a.txt", params={"inbody": "true"}, content=b"hello")
        before = rows(url)
        assert http.delete(session.scan).status_code == 200
        http.put(session.scan, params=SCAN)
        assert http.put(f"{session.scan}/resources/R").status_code == 200
        kept = ("Name", "Size", "digest")
        assert [[row[key] for key in kept] for row in rows(url)] == [[row[key] for key in kept] for row in before]
        assert http.get(f"{url}/a.txt").content == b"hello"

    def test_made_again_by_a_file_have_the_other_files_too(self, http, session, rows):
        url = f"{session.scan}/resources/R/files"
        http.put(f"{url}/a.txt", params={"inbody": "true"}, content=b"hello")
        http.delete(session.scan)
        http.put(session.scan, params=SCAN)
        http.put(f"{url}/b.txt", params={"inbody": "true"}, content=b"2")
        assert sorted(row["Name"] for row in rows(url)) == ["a.txt", "b.txt"]

    def test_of_sessions_that_are_not_there(self, http, project):
        assert http.get("/data/experiments/NONE_X/scans").status_code == 500
        assert http.get(f"/data/projects/{project}/subjects/S1/experiments/E1/scans").status_code == 404
        assert http.put("/data/experiments/NONE_X/scans/1", params=SCAN).status_code == 417
        assert http.get(f"/data/projects/{project}/subjects/S1/experiments/E1/scans/1").status_code == 404

    def test_a_session_that_is_not_an_imaging_session_has_none(self, http, project):
        url = f"/data/projects/{project}/subjects/S1/experiments/V1"
        assert http.put(url, params={"xsiType": "xnat:subjectVariablesData"}).status_code == 201
        assert http.put(f"{url}/scans/1", params=SCAN).status_code == 417


class TestAssessors:
    QC = MappingProxyType({"xsiType": "xnat:qcManualAssessorData", "xnat:qcManualAssessorData/pass": "1"})

    def test_are_made_read_listed_renamed_and_deleted(self, http, session, item, rows):
        url = f"{session.url}/assessors/QC1"
        made = http.put(url, params={**self.QC, "date": "2020-01-02", "project": session.project})
        assert (made.status_code, http.put(url, params={"note": "n"}).text) == (201, made.text)
        assert item(url)["data_fields"]["note"] == item(f"/data/experiments/{made.text}")["data_fields"]["note"] == "n"
        (row,) = rows(f"{session.long}/assessors")
        assert (row["label"], row["session_ID"], row["session_label"]) == ("QC1", session.id, "E01")
        assert row["xnat:imageassessordata/id"] == row["ID"] == made.text
        assert http.put(url, params={"label": "QC2"}).status_code == 200
        assert http.delete(f"{session.url}/assessors/QC2").status_code == 200
        assert rows(f"{session.url}/assessors") == []

    def test_need_a_project_and_the_fields_of_their_type(self, http, session):
        assert http.put(f"{session.url}/assessors/A", params=self.QC).status_code == 422
        incomplete = http.put(f"{session.long}/assessors/A", params={"xsiType": self.QC["xsiType"]})
        assert (incomplete.status_code, "pass}' Required Field" in incomplete.text) == (400, True)
        assert http.put(f"{session.long}/assessors/A", params=self.QC).status_code == 201

    def test_their_resources_are_what_came_out(self, http, session, rows):
        url = f"{session.long}/assessors/A"
        http.put(url, params=self.QC)
        for direction in ("in", "out"):
            http.put(f"{url}/{direction}/resources/R{direction}/files/a", params={"inbody": "true"}, content=b"1")
        assert [row["label"] for row in rows(f"{url}/resources")] == ["Rout"]
        assert [row["label"] for row in rows(f"{url}/in/resources")] == ["Rin"]
        assert [row["collection"] for row in rows(f"{url}/files")] == ["Rout"]
        assert {row["cat_desc"] for row in rows(f"{session.long}/resources", all="true")} == {"Manual QC"}

    def test_need_a_type_of_their_own(self, http, session):
        assert http.put(f"{session.url}/assessors/A", params={}).status_code == 417
        assert http.put(f"{session.url}/assessors/A", params=MR).status_code == 422

    def test_share_labels_with_experiments(self, http, session):
        assert http.put(f"{session.long}/assessors/E01", params=self.QC).status_code == 500
        assert http.get(f"{session.url}/assessors/NONE").status_code == 404

    def test_are_posted(self, http, session):
        answer = http.post(f"{session.url}/assessors", params={**self.QC, "label": "QC3", "project": session.project})
        assert answer.status_code == 200
        assert http.get(f"{session.url}/assessors/QC3").status_code == 200

    def test_provenance_is_refused_as_a_field_and_in_a_document(self, http, session):
        url, field = f"{session.url}/assessors/QC4", "xnat:qcManualAssessorData/provenance/processStep/program"
        document = (
            f"<xnat:QCManualAssessment {XNAT}><xnat:provenance><xnat:processStep/></xnat:provenance>"
            f"</xnat:QCManualAssessment>"
        )
        for answer in (
            http.put(url, params={**self.QC, field: "recon-all"}),
            http.put(url, content=document, headers=XML, params=self.QC),
        ):
            assert (answer.status_code, "of which the archive keeps nothing" in answer.text) == (422, True)
        assert http.get(url).status_code == 404


def test_reconstructions(http, session, rows, item):
    url = f"{session.url}/reconstructions/R1"
    for params in ({}, {"type": "mean"}):
        answer = http.put(url, params=params)
        assert (answer.status_code, answer.content) == (200, b"")
    assert item(url)["data_fields"]["type"] == "mean"
    (row,) = rows(f"{session.long}/reconstructions")
    assert list(row) == ["xnat_reconstructedimagedata_id", "ID", "type", "baseScanType", "URI"]
    assert http.delete(url).status_code == 200
    assert http.get(url).status_code == 404
