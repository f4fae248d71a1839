"""What a project holds is known whole: sessions that listings hide, sessions of other projects, on every server.

The peer answers as 1.8.11 was recorded to: ``.../experiments`` hides types that are not set up (session-types), the
subjects' columns show them (query-fields), and a document of a subject has all of its sessions.
"""

import json
from typing import ClassVar

import pytest
from peer import JSON, Reply

from xnatferry.errors import ForbiddenError, NotFoundError, RefusedError, VerifyError
from xnatferry.results.contents import read_contents
from xnatferry.results.operations import plan_copy, plan_pull, pull
from xnatferry.results.remote_files import list_files_below
from xnatferry.results.remote_tree import read_tree
from xnatferry.results.removal import leftovers, removal_summary
from xnatferry.transfer.remote_listing import RemoteQuery, fetch_remote_state
from xnatferry.xnat.model import Address

EEG = "xnat:eegSessionData"
#: How servers answer the listing that joins sessions to subjects: as recorded, not at all, with empty cells.
JOINS = [True, 400, 403, 500, False]


def put(remote, address, data=b"x"):
    remote.send_file(address, lambda: [data], len(data))


@pytest.fixture
def study(peer, remote):
    """Subject s1 with an MR and an EEG session, one file in a scan of each; s2 with an EEG session alone."""
    remote.ensure_project("P")
    for subject, session, kind in (("s1", "s1_MR1", "mr"), ("s1", "s1_EEG1", "eeg"), ("s2", "s2_EEG1", "eeg")):
        address = Address("P", subject, session)
        remote.ensure_session(address, xsi_type=f"xnat:{kind}SessionData", fields={"date": "2020-01-02"})
        remote.ensure_scan(Address("P", subject, session, "1"), xsi_type=f"xnat:{kind}ScanData")
        put(remote, Address("P", subject, session, "1", resource="R", file=f"{session}.dat"))
    peer.requests.clear()
    return peer


def shown(remote, **options):
    rows = remote.read_project("P", **options).sessions
    return sorted((row["label"], row["subject_label"], row["xsiType"], row["date"]) for row in rows)


ALL = [
    ("s1_EEG1", "s1", EEG, "2020-01-02"),
    ("s1_MR1", "s1", "xnat:mrSessionData", "2020-01-02"),
    ("s2_EEG1", "s2", EEG, "2020-01-02"),
]


class TestTypesThatAreNotSetUp:
    def test_the_experiments_do_not_show_them(self, study, remote):
        assert [row["label"] for row in remote._list("/data/projects/P/experiments", ("label",))] == ["s1_MR1"]

    @pytest.mark.parametrize("joins", JOINS)
    def test_every_session_is_known(self, study, remote, joins):
        study.joins = joins
        assert shown(remote) == ALL
        study.set_up = None
        assert shown(remote) == ALL

    @pytest.mark.parametrize("joins", JOINS)
    def test_also_where_all_are_hidden(self, study, remote, joins):
        study.joins, study.set_up = joins, frozenset()
        assert shown(remote) == ALL

    def test_requests(self, study, remote):
        remote.read_project("P")
        assert len(study.requests) == 2 + 2, "the hidden ones are asked for their type"
        study.requests.clear()
        remote.read_project("P", details={"s2_EEG1"})
        assert len(study.requests) == 2 + 1
        study.requests.clear()
        study.set_up = None
        remote.read_project("P")
        assert len(study.requests) == 2

    def test_all_their_files_are_pulled(self, study, remote, tmp_path):
        assert pull("P", tmp_path, remote).exit_code == 0
        assert sorted(path.name for path in tmp_path.rglob("*.dat")) == ["s1_EEG1.dat", "s1_MR1.dat", "s2_EEG1.dat"]
        assert not plan_pull("P/s2/s2_EEG1", tmp_path, remote).fetched

    def test_they_are_copied(self, study, remote):
        assert {a.session for a in read_contents(remote, Address("P")).objects if a.session} == {row[0] for row in ALL}

    def test_they_are_listed_and_counted_before_a_removal(self, study, remote):
        summary = removal_summary(remote, Address("P"))
        assert {node.address.session for node in summary.nodes if node.address.session} == {row[0] for row in ALL}
        assert (summary.files, summary.size_bytes) == (3, 3)
        assert removal_summary(remote, Address("P", "s2")).files == 1
        assert read_tree(remote, Address("P", "s2", "s2_EEG1"))[0].files == 1

    def test_what_a_push_names_is_found(self, study, remote):
        query = RemoteQuery()
        query.add("s2", "s2_EEG1", "R", on_scan=True)
        state = fetch_remote_state(remote, server="", project="P", query=query)
        assert list(state.sessions["s2_EEG1"].files) == [("1", "R", "s2_EEG1.dat")]
        assert state.sessions["s2_EEG1"].xsi_type == EEG

    @pytest.mark.parametrize("address", [Address("P", "s2", "s2_EEG1"), Address("P", "s2")])
    def test_nobody_removes_them(self, study, remote, address):
        with pytest.raises(ForbiddenError, match="not set up") as caught:
            remote.remove(address, remove_files=True)
        assert caught.value.exit_code == 3
        assert "s2_EEG1" in str(caught.value)
        assert leftovers(remote, address)

    def test_a_session_that_goes_meanwhile_is_not_there(self, study, remote):
        def gone(_handler, _seen):
            study.projects["P"].children["s2"].children.clear()

        study.fail("GET", "/experiments$", gone)
        assert [row[0] for row in shown(remote)] == ["s1_EEG1", "s1_MR1"]

    def test_a_project_that_is_not_there(self, study, remote):
        with pytest.raises(NotFoundError):
            remote.read_project("Q")


@pytest.fixture
def sharing(study, remote):
    """Project Q with a subject of its own, s1, to which everything can be shared."""
    remote.ensure_project("Q")
    remote.ensure_subject(Address("Q", "s1"))
    return study


def things(peer):
    subject = peer.projects["P"].children["s1"]
    return subject, subject.children["s1_MR1"], subject.children["s1_EEG1"]


def labels(remote):
    return sorted((row["subject_label"], row["label"], row["project"]) for row in remote.read_project("Q").sessions)


class TestSharing:
    @pytest.mark.parametrize("joins", JOINS)
    def test_under_other_labels(self, sharing, remote, joins):
        subject, mr, eeg = things(sharing)
        sharing.share(subject, "Q", "guest")
        sharing.joins = joins
        assert labels(remote) == [], "a subject is shared without its sessions"
        sharing.share(mr, "Q", "guest_MR")
        sharing.share(eeg, "Q", "guest_EEG")
        assert labels(remote) == [("guest", "guest_EEG", "P"), ("guest", "guest_MR", "P")]

    def test_a_session_pushed_to_a_shared_subject_is_found_below_its_label(self, sharing, remote):
        """Its row names the subject as its own project does."""
        subject, mr, _ = things(sharing)
        sharing.share(subject, "Q", "guest")
        sharing.share(mr, "Q")
        (row,) = remote._list("/data/projects/Q/experiments", ("label", "subject_label"))
        assert row["subject_label"] == "s1"
        assert labels(remote) == [("guest", "s1_MR1", "P")]
        assert [str(held.address) for held in list_files_below(remote, Address("Q", "guest")).files] == [
            "Q/guest/s1_MR1/scans/1/resources/R/files/s1_MR1.dat"
        ]

    def test_without_their_subject(self, sharing, remote, tmp_path):
        subject, mr, _ = things(sharing)
        sharing.share(mr, "Q", "guest_MR")
        # Q has an s1 of its own, which is another subject: the ID of the shared one stands in its place.
        assert labels(remote) == [(subject.id, "guest_MR", "P")]
        address = Address("Q", subject.id, "guest_MR")
        assert pull("Q", tmp_path, remote).exit_code == 0
        assert [path.name for path in tmp_path.rglob("*.dat")] == ["s1_MR1.dat"]
        assert [node.files for node in read_tree(remote, Address("Q"), counted=True) if node.address == address] == [1]
        assert read_tree(remote, address)[0].files == 1
        assert address in read_contents(remote, Address("Q")).objects
        summary = removal_summary(remote, Address("Q"))
        assert (summary.files, summary.shared) == (0, (address,))

    def test_a_session_that_nobody_can_place_is_an_error(self, sharing, remote):
        row = {"ID": "E9", "label": "lost", "subject_ID": "", "subject_label": "", "xsiType": EEG, "date": ""}
        body = json.dumps({"ResultSet": {"Result": [row]}})
        sharing.fail("GET", "Q/experiments$", Reply(200, body, JSON))
        with pytest.raises(RefusedError, match="lost"):
            remote.read_project("Q")


class TestFilesWithoutAnAddress:
    ROW: ClassVar = {
        "Name": "r.img",
        "Size": "7",
        "collection": "",
        "file_tags": "",
        "file_format": "",
        "file_content": "",
    }

    @pytest.mark.parametrize(
        "uri",
        [
            "/data/experiments/E/reconstructions/R1/resources/9/files/r.img",
            "/data/experiments/E/assessors/A9/resources/9/files/r.img",
            "/data/elsewhere/files/r.img",
        ],
    )
    def test_they_are_told(self, study, remote, tmp_path, uri):
        body = json.dumps({"ResultSet": {"Result": [{**self.ROW, "URI": uri}]}})
        for _ in range(2):
            study.fail("GET", "/s1_MR1/files$", Reply(200, body, JSON))
        result = pull("P/s1/s1_MR1", tmp_path, remote)
        assert result.exit_code == VerifyError.exit_code
        assert [path.name for path in tmp_path.rglob("*.dat")] == ["s1_MR1.dat"], "the others come"
        plan = plan_copy("P/s1/s1_MR1", remote, remote, project="Q")
        assert [refusal.exit_code for refusal in plan.refusals] == [8]
        assert "r.img" in plan.refusals[0].relative

    def test_a_file_of_a_scan_without_its_scan(self, study, remote):
        body = json.dumps({"ResultSet": {"Result": [{**self.ROW, "URI": "/data/experiments/E/files/r.img"}]}})
        study.fail("GET", "/scans/ALL/files$", Reply(200, body, JSON))
        with pytest.raises(VerifyError, match=r"r\.img"):
            remote.list_files(Address("P", "s1", "s1_MR1"), all_scans=True)


def test_resources_without_a_label_are_counted(study, remote):
    session = study.projects["P"].children["s1"].children["s1_MR1"]
    put(remote, Address("P", "s1", "s1_MR1", resource="KEPT", file="a"))
    session.resources["KEPT"].label = ""
    summary = removal_summary(remote, Address("P", "s1", "s1_MR1"))
    assert summary.files == 2
    assert session.resources["KEPT"].number in {node.address.resource for node in summary.nodes}
