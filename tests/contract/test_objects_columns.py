"""Listings whose columns are field paths: one request for everything that a project holds."""

import csv
import io
import zipfile

import pytest

SESSION = "xnat:subjectData/experiments/experiment[@xsi:type=xnat:imageSessionData]"
RESOURCE = f"{SESSION}/resources/resource[@xsi:type=xnat:resourceCatalog]"
SCANS = "xnat:imageSessionData/scans/scan"
MR = {"xsiType": "xnat:mrSessionData"}


@pytest.fixture
def study(http, project):
    """Ann has a session of two scans, one of them with two resources; Bob has none; Cat has an empty EEG session."""
    url = f"/data/projects/{project}/subjects"
    for name in ("Ann", "Bob", "Cat"):
        http.put(f"{url}/{name}")
    http.put(f"{url}/Ann/experiments/A1", params={**MR, "date": "2020-01-02"})
    http.put(f"{url}/Cat/experiments/C1", params={"xsiType": "xnat:eegSessionData"})
    for number, kind in (("1", "T1w"), ("2", "bold")):
        http.put(f"{url}/Ann/experiments/A1/scans/{number}", params={"xsiType": "xnat:mrScanData", "type": kind})
    for path in (
        "scans/1/resources/NIFTI/files/a.nii",
        "scans/1/resources/BIDS/files/a.json",
        "resources/NOTES/files/n",
    ):
        stored = http.put(f"{url}/Ann/experiments/A1/{path}", params={"inbody": "true"}, content=b"12345")
        assert stored.status_code == 200
    return project


def cells(rows, *names):
    return sorted(tuple(row[name.lower()] for name in names) for row in rows)


class TestBelowSubjects:
    def test_every_scan_with_its_resources(self, rows, study):
        asked = [f"{SESSION}/label", *(f"{SESSION}/scans/scan/{one}" for one in ("ID", "type", "file/label"))]
        counted = [f"{SESSION}/scans/scan/file/{one}" for one in ("file_count", "file_size")]
        found = rows(f"/data/projects/{study}/subjects", columns=",".join(["label", *asked, *counted]))
        assert cells(found, "label", *asked, *counted) == [
            ("Ann", "A1", "1", "T1w", "BIDS", "1", "5"),
            ("Ann", "A1", "1", "T1w", "NIFTI", "1", "5"),
            ("Ann", "A1", "2", "bold", "", "", ""),
            ("Bob", "", "", "", "", "", ""),
            ("Cat", "C1", "", "", "", "", ""),
        ]

    def test_resources_of_sessions_by_their_type(self, rows, study):
        asked = [f"{SESSION}/label", f"{RESOURCE}/label", f"{RESOURCE}/file_count"]
        found = rows(f"/data/projects/{study}/subjects", columns=",".join(["label", *asked]))
        assert cells(found, "label", *asked) == [
            ("Ann", "A1", "NOTES", "1"),
            ("Bob", "", "", ""),
            ("Cat", "C1", "", ""),
        ]

    def test_csv_says_the_same_and_keys_are_lower_case(self, http, rows, study):
        columns = f"label,{SESSION}/ID,{SESSION}/scans/scan/ID"
        url = f"/data/projects/{study}/subjects"
        text = http.get(url, params={"format": "csv", "columns": columns}).text
        listed = list(csv.DictReader(io.StringIO(text)))
        assert listed == rows(url, columns=columns)
        assert listed[0].keys() == {
            "ID",
            "label",
            "xnat:subjectdata/experiments/experiment[@xsi:type=xnat:imagesessiondata]/id",
            "xnat:subjectdata/experiments/experiment[@xsi:type=xnat:imagesessiondata]/scans/scan/id",
            "URI",
        }

    def test_two_lists_of_a_session_multiply(self, rows, study):
        columns = f"label,{SESSION}/scans/scan/ID,{SESSION}/resources/resource/label,{SESSION}/scans/scan/file/label"
        found = rows(f"/data/projects/{study}/subjects", columns=columns)
        assert [row["label"] for row in found].count("Ann") == 3

    def test_equal_rows_are_there_once(self, http, rows, study):
        url = f"/data/projects/{study}/subjects/Ann/experiments/A1/scans/3"
        http.put(url, params={"xsiType": "xnat:mrScanData", "type": "bold"})
        found = rows(f"/data/projects/{study}/subjects", columns=f"{SESSION}/scans/scan/type")
        assert sorted(row[f"{SESSION}/scans/scan/type".lower()] for row in found) == ["", "", "T1w", "bold"]

    def test_sessions_of_one_type(self, rows, study):
        path = "xnat:subjectData/experiments/experiment[@xsi:type=xnat:eegSessionData]/label"
        found = rows(f"/data/projects/{study}/subjects", columns=f"label,{path}")
        assert cells(found, "label", path) == [("Ann", ""), ("Bob", ""), ("Cat", "C1")]

    def test_shares_are_a_list_as_well(self, http, rows, study, new_id):
        other = new_id()
        http.put(f"/data/projects/{other}")
        http.put(f"/data/projects/{study}/subjects/Bob/projects/{other}", params={"label": "Robert"})
        path = "xnat:subjectData/sharing/share"
        found = rows(f"/data/projects/{study}/subjects", columns=f"label,{path}/project,{path}/label")
        assert ("Bob", other, "Robert") in cells(found, "label", f"{path}/project", f"{path}/label")
        http.delete(f"/data/projects/{other}")

    def test_strangers_get_nothing(self, new_account, study):
        reader = new_account()
        assert reader.get(f"/data/projects/{study}/subjects", params={"columns": f"{SESSION}/label"}).status_code == 403


class TestBelowExperiments:
    def test_every_scan_with_its_resources(self, rows, study):
        asked = [f"{SCANS}/{one}" for one in ("ID", "type", "file/label", "file/file_size")]
        found = rows(
            f"/data/projects/{study}/experiments",
            xsiType="xnat:imageSessionData",
            columns=",".join(["ID", "label", "subject_label", "date", *asked]),
        )
        assert cells(found, "label", "subject_label", "date", *asked) == [
            ("A1", "Ann", "2020-01-02", "1", "T1w", "BIDS", "5"),
            ("A1", "Ann", "2020-01-02", "1", "T1w", "NIFTI", "5"),
            ("A1", "Ann", "2020-01-02", "2", "bold", "", ""),
            ("C1", "Cat", "", "", "", "", ""),
        ]
        assert all(row["URI"] == f"/data/experiments/{row['session_ID']}" for row in found)

    def test_shared_ones_are_there_by_the_share(self, http, rows, study, new_id):
        other = new_id()
        http.put(f"/data/projects/{other}")
        http.put(f"/data/projects/{study}/subjects/Ann/experiments/A1/projects/{other}", params={"label": "SHARED"})
        found = rows(
            f"/data/projects/{other}/experiments",
            xsiType="xnat:imageSessionData",
            columns=f"label,{SCANS}/ID,{SCANS}/file/label",
        )
        assert cells(found, "label", f"{SCANS}/ID", f"{SCANS}/file/label") == [
            ("SHARED", "1", "BIDS"),
            ("SHARED", "1", "NIFTI"),
            ("SHARED", "2", ""),
        ]
        assert not rows(f"/data/projects/{other}/subjects", columns=f"label,{SESSION}/label")
        http.delete(f"/data/projects/{other}")


class TestListsOfIds:
    @pytest.fixture
    def two(self, http, study):
        """IDs of two sessions with a scan of one file each, and a file of their own."""
        made = []
        for label in ("L1", "L2"):
            url = f"/data/projects/{study}/subjects/Bob/experiments/{label}"
            made.append(http.put(url, params=MR).text)
            http.put(f"{url}/scans/1", params={"xsiType": "xnat:mrScanData", "type": "T1w"})
            for path in ("scans/1/resources/NIFTI/files/a.nii", "resources/NOTES/files/n.txt"):
                http.put(f"{url}/{path}", params={"inbody": "true"}, content=label.encode())
        return ",".join(made)

    def test_what_is_below_several_sessions_is_one_list(self, http, rows, two):
        url = f"/data/experiments/{two}"
        digests = [row["digest"] for row in rows(f"{url}/scans/ALL/files")]
        assert len(digests) == len(set(digests)) == 2
        for path in ("scans/ALL/resources/NIFTI/files", "scans/1,2/files"):
            assert [row["digest"] for row in rows(f"{url}/{path}")] == digests
        assert [row["label"] for row in rows(f"{url}/scans/ALL/resources")] == ["NIFTI"] * 2
        assert sorted(row["label"] for row in rows(f"{url}/resources", all="true")) == [
            "NIFTI",
            "NIFTI",
            "NOTES",
            "NOTES",
        ]
        packed = http.get(f"{url}/scans/ALL/files", params={"format": "zip"})
        assert sorted(zipfile.ZipFile(io.BytesIO(packed.content)).namelist()) == [
            f"{label}/scans/1-T1w/resources/NIFTI/files/a.nii" for label in ("L1", "L2")
        ]

    def test_what_is_their_own_is_not(self, http, rows, two, study):
        assert rows(f"/data/experiments/{two}/files") == rows(f"/data/experiments/{two}/resources") == []
        assert http.get(f"/data/experiments/{two}/scans").status_code == 500
        for path in ("scans/ALL/files", "resources"):
            assert http.get(f"/data/projects/{study}/experiments/{two}/{path}").status_code == 404
