"""Sessions of other kinds than MR, from images and tables that are no BIDS: ``--session-type``, or a column."""

import pytest

import xnatferry
from tests.e2e.conftest import write_image
from xnatferry import api
from xnatferry.planning.mapping import MappingRules
from xnatferry.testing import local_archive
from xnatferry.xnat.model import Address


@pytest.fixture
def server(archive):
    """Options of a push to the archive, and a client that looks at it."""
    with xnatferry.connect(server=archive.url, user="admin", password="admin-pw") as client:
        yield ["-s", archive.url, "-y"], {"XNAT_USER": "admin", "XNAT_PASS": "admin-pw"}, client.remote


KINDS = [
    ("PET", "ann_PET1", "pet", "pet"), ("CT", "ann_CT1", "ct", "ct"), ("EEG", "ann_EEG1", "eeg", "eeg"),
    ("MEG", "ann_MEG1", "meg", "meg"), ("PETMR", "ann_PETMR1", "petmr", "mr"),
    ("OTHER", "ann_OTHER1", "otherDicom", "otherDicom"), ("xnat:usSessionData", "ann_OTHER1", "us", "us"),
]  # fmt: skip


def test_the_type_of_the_session_is_that_of_its_scans(server, tmp_path):
    _, _, remote = server
    write_image(tmp_path / "data" / "ann" / "first.nii.gz", shape=(8, 9, 5, 3))
    discovery = api.discover(tmp_path / "data")
    for number, (said, label, session, scan) in enumerate(KINDS):
        rules = MappingRules(f"KIND{number}", session_type=said)
        assert api.push(api.plan(discovery, remote, rules), remote).exit_code == 0
        (row,) = remote.list_sessions(rules.project)
        assert (row["label"], row["xsiType"]) == (label, f"xnat:{session}SessionData")
        item = remote.item(Address(rules.project, "ann", label, "1"))
        assert item["xsi:type"] == f"xnat:{scan}ScanData"
        assert {"mr": "1.5", "ct": "1.5"}.get(scan) == item.get("parameters/voxelRes/x")
        assert ("0.15" if scan == "pet" else None) == item.get("parameters/pixelSize/x")
        assert api.plan(discovery, remote, rules, update_fields=True).nothing_to_do


def test_the_option(ferry, server, tmp_path):
    options, login, remote = server
    write_image(tmp_path / "data" / "ann" / "first.nii.gz")
    done = ferry("push", tmp_path / "data", "-p", "KINDS", "--session-type", "CT", *options, env=login)
    assert done.code == 0, done.text
    assert [row["xsiType"] for row in remote.list_sessions("KINDS")] == ["xnat:ctSessionData"]


def test_a_type_that_nobody_knows_is_refused(ferry, images):
    done = ferry("push", images, "-p", "KINDS", "--session-type", "XRAY", "-y")
    assert done.code == 2
    assert "PETMR" in done.text


def test_a_table_gives_each_row_its_own_kind(ferry, server, tmp_path):
    options, login, remote = server
    write_image(tmp_path / "pet.nii.gz")
    header = b"0       ".ljust(184) + b"256".ljust(52) + b"0".ljust(16) + b"0".ljust(4)
    (tmp_path / "rest.edf").write_bytes(header)  # of no signals
    (tmp_path / "map.csv").write_text(
        "file,subject,session,session_type,scan,type,resource\n"
        "pet.nii.gz,s,s_PET,PET,1,FDG,NIFTI\n"
        "rest.edf,s,s_EEG,EEG,1,rest,EEG\n"
    )
    done = ferry("push", tmp_path / "map.csv", "-p", "TABLED", *options, env=login)
    assert done.code == 0, done.text
    found = {row["label"]: row["xsiType"] for row in remote.list_sessions("TABLED")}
    assert found == {"s_PET": "xnat:petSessionData", "s_EEG": "xnat:eegSessionData"}
    for kind, name in (("PET", "pet.nii.gz"), ("EEG", "rest.edf")):
        address = Address("TABLED", "s", f"s_{kind}", "1")
        assert remote.item(address)["xsi:type"] == f"xnat:{kind.lower()}ScanData"
        assert [file.name for file in remote.list_files(address)] == [name]


class TestTypesThatAreNotSetUp:
    """A stock site of 1.8.11 hides these sessions in every listing of their project, and lets nobody delete them."""

    @pytest.fixture
    def stock(self, tmp_path):
        with local_archive(strict=True) as archive:
            write_image(tmp_path / "data" / "ann" / "first.nii.gz")
            login = {"XNAT_HOST": archive.url, "XNAT_USER": archive.user, "XNAT_PASS": archive.password}
            with xnatferry.connect(server=archive.url, user=archive.user, password=archive.password) as client:
                yield tmp_path / "data", login, client.remote

    def test_from_the_push_to_the_removal(self, ferry, stock, tmp_path):
        data, env, remote = stock
        push = ("push", data, "-p", "P", "--session-type", "EEG", "-y")
        done = ferry(*push, env=env)
        assert done.code == 0, done.text
        assert done.text.count("not set up this type") == 1
        assert "Data Types" in done.text
        assert "ann_EEG1" in ferry("list", "P", env=env).out
        again = ferry(*push, "--json", env=env)
        assert (again.code, "not set up" in again.text) == (0, False)
        assert again.record("result")["sent_files"] == 0
        verified = ferry("verify", data, "-p", "P", "--session-type", "EEG", "--json", env=env)
        assert (verified.code, verified.record("result")["files"]) == (0, 1)
        assert ferry("pull", "P", tmp_path / "back", env=env).code == 0
        assert [path.name for path in (tmp_path / "back").rglob("*.nii.gz")] == ["first.nii.gz"]
        for address in ("P/ann/ann_EEG1", "P/ann"):
            refused = ferry("remove", address, "--remove-files", "-y", env=env)
            assert (refused.code, "1 file" in refused.text) == (3, True), refused.text
            assert "ann_EEG1 (xnat:eegSessionData)" in refused.text
        undone = ferry("undo", "latest", "-y", env=env)
        assert undone.code != 0
        assert "nobody can delete" in undone.text
        assert remote.item(Address("P", "ann", "ann_EEG1")) is not None
        gone = ferry("remove", "P", "--remove-files", "-y", env=env)
        assert (gone.code, "never accepts the ID" in gone.text) == (0, True)
        reused = ferry("push", data, "-p", "P", "-y", env=env)
        assert (reused.code, "was deleted before" in reused.text) == (3, True)

    def test_types_that_are_set_up_are_not_warned_of(self, ferry, stock):
        data, env, _ = stock
        assert "not set up" not in ferry("push", data, "-p", "P", "--session-type", "CT", "-y", env=env).text

    def test_an_archive_that_hides_nothing_does_not_warn(self, ferry, stock):
        assert "not set up" not in ferry("push", stock[0], "-p", "P", "--session-type", "EEG", "-y").text
