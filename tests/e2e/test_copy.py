"""Copy between two real archives: everything arrives, a second copy sends nothing, and undo takes it back."""

import hashlib
import json
from contextlib import ExitStack

import pytest

from tests.e2e.conftest import write_image
from xnatferry.client.client import Client
from xnatferry.client.remote import Remote
from xnatferry.client.settings import Connection, Secret
from xnatferry.results.contents import read_contents
from xnatferry.xnat.model import Address
from xnatferry.xnat.records import Attributes


def connected(running):
    return Client(Remote(Connection(running.url, running.user, Secret(running.password))))


@pytest.fixture
def archives(tmp_path):
    """Two running archives with accounts of their own."""
    from xnatferry.server.archive import running_archive

    with ExitStack() as stack:
        yield [
            stack.enter_context(running_archive(tmp_path / f"served{n}", admin_password=f"admin-secret-{n}"))
            for n in (1, 2)
        ]


@pytest.fixture
def source(archives, tmp_path):
    """A project with something at every level, made at the first archive."""
    with connected(archives[0]) as xnat:
        xnat.ensure_project("P", fields={"description": "a & b", "keywords": "k1 k2", "pi_lastname": "Curie"})
        xnat.ensure_subject(
            "P/s",
            fields={
                "gender": "F",
                "yob": "1950",
                "handedness": "left",
                "group": "ctl",
                "xnat:subjectData/fields/field[name=site]/field": 'A "&" <B>',
            },
        )
        xnat.ensure_session("P/s/s_MR1", fields={"date": "2020-01-02", "note": "first", "scanner": "Prisma"})
        scan = {
            "type": "T1w",
            "quality": "usable",
            "parameters/tr": "2000",
            "parameters/voxelRes/x": "1.5",
            "frames": "3",
        }
        xnat.ensure_scan("P/s/s_MR1/scans/1", fields=scan)
        xnat.ensure_scan("P/s/s_MR1/scans/2a", fields={"type": "T2w", "quality": "questionable"})
        qc = Address.parse("P/s/s_MR1/assessors/QC1")
        xnat.remote.ensure_assessor(qc, xsi_type="xnat:qcManualAssessorData", fields={"pass": "1"})
        xnat.ensure_subject("P/lonely", fields={"gender": "M"})
        image = write_image(tmp_path / "T1 w+(ü).nii.gz")
        xnat.put_file(image, "P/s/s_MR1/scans/1/resources/NIFTI", format="NIFTI", content="NIFTI_RAW")
        (tmp_path / "empty.txt").write_bytes(b"")
        for owner in ("P", "P/s", "P/s/s_MR1", str(qc)):
            xnat.put_file(tmp_path / "empty.txt", f"{owner}/resources/NOTES", format="TXT", content="note")
            xnat.put_file(image, f"{owner}/resources/NOTES", format="NIFTI", content="odd")
        folder = tmp_path / "fs" / "s"
        for number in range(20):
            path = folder / "stats" / f"{number}.stats"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"# {number}\n" * number)
        xnat.put_archive(folder, "P/s/s_MR1/resources/FREESURFER7", format="MGZ", content="FREESURFER", tags="7.4.1")
        xnat.ensure_resource("P/s/s_MR1/scans/2a/resources/EMPTY", tags="a,b")
    return archives[0]


@pytest.fixture
def run(ferry, archives, tmp_path):
    """Runs a command with the first archive as its server and the second one's credentials for ``copy``."""
    configs = []
    for number, archive in enumerate(archives):
        config = tmp_path / f"config{number}.json"
        config.write_text(
            json.dumps({"server": archive.url, "user": archive.user, "password": archive.password}), encoding="utf-8"
        )
        configs.append(config)

    def go(*arguments, env=None):
        more = ["--to-server", archives[1].url, "--to-config", configs[1]] if arguments[0] == "copy" else []
        return ferry(*arguments, *more, "--config", configs[0 if arguments[0] == "copy" else 1], env=env)

    return go


def held(archive, address="P"):
    """What an archive holds, without what it made itself."""
    with connected(archive) as xnat:
        found = read_contents(xnat.remote, Address.parse(address))
    return (
        {str(a): (attributes.xsi_type, dict(attributes.fields)) for a, attributes in found.objects.items()},
        {str(a): dict(fields) for a, fields in found.resources.items()},
        {str(a): (f.size_bytes, f.digest, f.format, f.content) for a, f in found.files.items()},
    )


def projects(archive):
    with connected(archive) as xnat:
        return [row["ID"] for row in xnat.list_projects()]


def test_a_project_arrives_with_everything(run, archives, source):
    done = run("copy", "P", "-y")
    assert done.code == 0, done.text
    assert "29 files verified (MD5 equal)" in done.out
    objects, resources, files = held(archives[1])
    assert (objects, resources, files) == held(source)
    assert objects["P/s"][1]["demographics[@xsi:type=xnat:demographicData]/handedness"] == "left"
    assert objects["P/s"][1]["fields/field[name=site]/field"] == 'A "&" <B>'
    assert objects["P/s/s_MR1/scans/1"][1]["parameters/voxelRes/x"] == "1.5"
    assert resources["P/s/s_MR1/resources/FREESURFER7"] == {"format": "MGZ", "content": "FREESURFER", "tags": "7.4.1"}


def test_a_second_copy_sends_nothing_and_says_so(run, archives, source):
    run("copy", "P", "-y")
    again = run("copy", "P", "-y")
    assert again.code == 0
    assert "Up to date" in again.out
    assert run("copy", "P", "-y", "--json").record("result")["sent_bytes"] == 0


@pytest.mark.parametrize("address", ["P", "P/s", "P/s/s_MR1"])
def test_undo_takes_a_copy_back(run, archives, source, address):
    before = projects(archives[1])
    done = run("copy", address, "-y", "--json")
    assert done.code == 0, done.text
    verified = run("verify", done.record("result")["run"])
    assert verified.code == 0, verified.text
    undone = run("undo", done.record("result")["run"], "-y", "--remove-project")
    assert undone.code == 0, undone.text
    assert projects(archives[1]) == before


def test_undo_leaves_what_was_there_before(run, archives, source, tmp_path):
    with connected(archives[1]) as xnat:
        xnat.ensure_project("P")
        xnat.ensure_session("P/s/s_MR1")
        (tmp_path / "mine.txt").write_text("mine")
        xnat.put_file(tmp_path / "mine.txt", "P/s/s_MR1/resources/MINE")
    before = held(archives[1])
    done = run("copy", "P/s", "-y", "--json")
    assert done.code == 0, done.text
    assert held(archives[1]) != before
    assert run("undo", done.record("result")["run"], "-y").code == 0
    assert held(archives[1]) == before


def test_a_session_takes_its_subject_along_but_not_the_others(run, archives, source):
    assert run("copy", "P/s/s_MR1", "--to-project", "Q", "-y").code == 0
    objects, resources, _ = held(archives[1], "Q")
    assert set(objects) == {
        "Q",
        "Q/s",
        *(f"Q/s/s_MR1{more}" for more in ("", "/scans/1", "/scans/2a", "/assessors/QC1")),
    }
    assert objects["Q/s"] == held(source)[0]["P/s"]
    assert "Q/s/resources/NOTES" not in resources
    assert "description" not in objects["Q"][1]


def test_another_project_of_the_same_server(ferry, archives, source, tmp_path):
    config = tmp_path / "own.json"
    config.write_text(json.dumps({"server": source.url, "user": source.user, "password": source.password}))
    same = ferry("copy", "P", "--to-server", source.url, "--config", config, "-y")
    assert same.code == 2
    assert "--to-project" in same.err
    done = ferry("copy", "P", "--to-server", source.url, "--to-project", "Q", "--config", config, "-y")
    assert done.code == 0, done.text
    assert {path.replace("Q", "P", 1): f for path, f in held(source, "Q")[2].items()} == held(source)[2]


def test_into_and_out_of_the_local_archive(ferry, archives, source, tmp_path):
    env = {"XNAT_HOST": source.url, "XNAT_USER": source.user, "XNAT_PASS": source.password}
    done = ferry("copy", "P", "--to-server", "local", "-y", env=env)
    assert done.code == 0, done.text
    assert "P/s/s_MR1" in ferry("list", "P").out.replace("\n", " ") or "s_MR1" in ferry("list", "P").out
    env = {"XNATFERRY_TO_USER": archives[1].user, "XNATFERRY_TO_PASS": archives[1].password}
    done = ferry("copy", "P", "--to-server", archives[1].url, "-y", env=env)
    assert done.code == 0, done.text
    assert held(archives[1]) == held(source)


def test_credentials_of_one_server_never_go_to_the_other(ferry, archives, source):
    env = {"XNAT_HOST": source.url, "XNAT_USER": source.user, "XNAT_PASS": source.password}
    done = ferry("copy", "P", "--to-server", archives[1].url, "-y", env=env)
    assert done.code == 3
    assert "XNATFERRY_TO_USER" in done.err
    wrong = env | {"XNATFERRY_TO_USER": "admin", "XNATFERRY_TO_PASS": "wrong"}
    assert ferry("copy", "P", "--to-server", archives[1].url, "-y", env=wrong).code == 3
    assert "P" not in projects(archives[1])


def test_a_profile_says_where_and_as_whom(ferry, archives, source):
    env = {"XNAT_HOST": source.url, "XNAT_USER": source.user, "XNAT_PASS": source.password}
    lab = ("--profile", "lab", "-s", archives[1].url, "-u", archives[1].user, "--password-stdin")
    assert ferry("login", *lab, stdin=archives[1].password + "\n").code == 0
    copy = ("copy", "P", "-y", "--to-profile")
    for more, said in (
        (("--to-server", source.url), f"is for {archives[1].url}"),
        (("--to-server", "local"), f"is for {archives[1].url}"),
        (("--to-config", "any.json"), "--to-profile and --to-config"),
    ):
        wrong = ferry(*copy, "lab", *more, env=env)
        assert wrong.code == 2, wrong.text
        assert said in wrong.err
    none = ferry(*copy, "none", env=env)
    assert none.code == 2
    assert "profile 'none' does not exist" in none.err
    nowhere = ferry("copy", "P", "-y", env=env)
    assert nowhere.code == 2
    assert "--to-profile" in nowhere.err
    assert projects(archives[1]) == []
    done = ferry(*copy, "lab", env=env)
    assert done.code == 0, done.text
    assert held(archives[1]) == held(source)
    again = ferry(*copy, "lab", "--to-server", archives[1].url, env=env)
    assert "Up to date" in again.out


def test_a_limit_on_bytes_a_second_holds_for_a_copy(run, archives, tmp_path):
    with connected(archives[0]) as xnat:
        (tmp_path / "noise.bin").write_bytes(bytes(300_000))
        xnat.ensure_project("P")
        xnat.ensure_session("P/s/s_MR1")
        xnat.put_file(tmp_path / "noise.bin", "P/s/s_MR1/resources/NOISE")
    assert run("copy", "P", "-y", "--bwlimit", "fast").code == 2
    assert projects(archives[1]) == []
    done = run("copy", "P", "-y", "--bwlimit", "200k", "--json")
    assert done.code == 0, done.text
    assert done.record("result")["seconds"] > 1  # 300 kB at 200 kB/s; a faster one has no limit


def test_a_file_that_differs_there_stops_the_copy(run, archives, source, tmp_path):
    run("copy", "P", "-y")
    other = write_image(tmp_path / "T1 w+(ü).nii.gz", seed=9)
    with connected(archives[1]) as xnat:
        xnat.put_file(other, "P/s/s_MR1/scans/1/resources/NIFTI", overwrite=True)
    assert run("copy", "P", "-n").code == 6
    stopped = run("copy", "P", "-y")
    assert stopped.code == 6
    assert "T1 w+(ü).nii.gz" in stopped.text
    assert run("copy", "P", "-y", "--on-conflict", "skip").code == 0
    address = "P/s/s_MR1/scans/1/resources/NIFTI/files/T1 w+(ü).nii.gz"
    assert held(archives[1])[2][address][1] == hashlib.md5(other.read_bytes()).hexdigest()
    assert run("copy", "P", "-y", "--on-conflict", "overwrite").code == 0
    assert held(archives[1])[2] == held(source)[2]


def test_attributes_that_differ_are_shown_and_changed_only_when_told(run, archives, source):
    run("copy", "P", "-y")
    with connected(archives[1]) as xnat:
        xnat.remote.set_fields(Address.parse("P/s"), {"gender": "M"})
        xnat.remote.set_fields(Address.parse("P/s/s_MR1"), {"note": "second"})
        xnat.remote.set_fields(Address.parse("P/s/s_MR1/scans/1"), {"quality": "unusable"})
    changed = held(archives[1])
    shown = run("copy", "P", "-y")
    assert shown.code == 0
    for words in (
        "'M' -> 'F' (not changed)",
        "'second' -> 'first' (not changed)",
        "'unusable' -> 'usable' (not changed)",
    ):
        assert words in shown.out
    assert held(archives[1]) == changed
    done = run("copy", "P", "-y", "--update-fields", "--json")
    assert done.code == 0, done.text
    assert held(archives[1]) == held(source)
    assert run("undo", done.record("result")["run"], "-y").code == 0
    assert held(archives[1]) == changed


def test_a_session_of_another_subject_is_not_moved(run, archives, source):
    with connected(archives[1]) as xnat:
        xnat.ensure_project("P")
        xnat.ensure_session("P/other/s_MR1")
    done = run("copy", "P", "-y")
    assert done.code == 7
    assert "belongs to subject other on the target" in done.text
    with connected(archives[1]) as xnat:
        assert [row["subject_label"] for row in xnat.list_sessions("P")] == ["other"]
        assert {row["label"] for row in xnat.list_subjects("P")} == {"other", "s", "lonely"}


@pytest.mark.parametrize("address", ["NONE", "P/nobody", "P/lonely/s_MR1", "P/s/none"])
def test_what_is_not_there_is_told(run, archives, source, address):
    assert run("copy", address, "-y").code == 4


def test_a_part_of_a_session_is_not_copied(run, archives, source):
    done = run("copy", "P/s/s_MR1/scans/1", "-y")
    assert done.code == 2
    assert "session" in done.err


def test_nothing_happens_without_a_yes(run, archives, source):
    done = run("copy", "P")
    assert done.code == 2
    assert "--yes" in done.err
    assert run("copy", "P", "-n").code == 0
    assert "P" not in projects(archives[1])


def test_bytes_that_change_at_the_source_are_noticed(archives, source, tmp_path):
    """The bytes on the source's disk are no longer those of its listing: the copy says so and stores nothing."""
    from xnatferry.results.contents import read_same
    from xnatferry.results.copy_plan import plan_copy
    from xnatferry.transfer.engine import carry_out

    (image,) = (tmp_path / "served1").rglob("SCANS/1/NIFTI/T1*.nii.gz")
    with connected(archives[0]) as here, connected(archives[1]) as there:
        contents = read_contents(here.remote, Address.parse("P/s/s_MR1"))
        state = read_same(there.remote, contents, "P")
        plan = plan_copy(contents, state, from_project="P", project="P", relay=here.remote.relay)
        data = bytearray(image.read_bytes())
        data[-1] ^= 1
        image.write_bytes(bytes(data))
        result = carry_out(plan, there.remote)
        (failed,) = [receipt for receipt in result.failures if "scans/1" in str(receipt.address)]
        assert failed.exit_code == 8, failed
        assert "from the source, but it lists" in failed.message
        assert there.list_files("P/s/s_MR1/scans/1/resources/NIFTI") == []


def test_memory_stays_constant_and_nothing_is_stored_on_the_way(archives, tmp_path):
    """A file of 64 MB crosses while this process keeps no more than a few pieces of it."""
    import tracemalloc

    from xnatferry.results.contents import read_same
    from xnatferry.results.copy_plan import plan_copy
    from xnatferry.transfer.engine import carry_out

    big = tmp_path / "big.bin"
    big.write_bytes(bytes(64 << 20))
    with connected(archives[0]) as here, connected(archives[1]) as there:
        here.ensure_project("P")
        here.ensure_session("P/s/s_MR1")
        here.put_file(big, "P/s/s_MR1/resources/BIG")
        contents = read_contents(here.remote, Address.parse("P"))
        state = read_same(there.remote, contents, "P")
        plan = plan_copy(contents, state, from_project="P", project="P", relay=here.remote.relay)
        tracemalloc.start()
        try:
            assert carry_out(plan, there.remote).exit_code == 0
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 40 << 20, f"{peak / 1e6:.0f} MB, both archives included"


def test_fields_that_no_request_can_set_are_told():
    from xnatferry.results.contents import Contents
    from xnatferry.results.copy_plan import plan_copy

    project, subject = Address("P"), Address("P", "s")
    source = Contents("http://here")
    source.objects[project] = Attributes("xnat:projectData")
    source.objects[subject] = Attributes("xnat:subjectData", {"group": "a", "newer/field": "x"}, ("addID",))
    plan = plan_copy(source, Contents("http://there"), from_project="P", project="P", relay=lambda *_: iter(()))
    (step,) = [step for step in plan.steps if step.address == subject]
    assert step.fields == {"xnat:subjectData/group": "a"}
    assert sorted(finding.message.partition(" ")[0] for finding in plan.findings) == ["addID", "newer/field"]
