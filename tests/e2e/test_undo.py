"""Runs, their journals, and the way back."""

import json
import signal

from tests.e2e.conftest import write_image


def tree(ferry):
    """Everything on the server, comparable."""
    found = set()
    for project in ferry("list", "--json").records:
        for node in ferry("list", project["address"], "--json").records:
            found.add(node["address"])
            if node["record"] == "session":
                for inner in ferry("list", node["address"], "--json").records:
                    found.add((inner["address"], inner.get("files"), inner.get("size_bytes")))
    return found


def test_push_and_undo_leave_the_server_as_it_was(ferry, images):
    assert ferry("push", images, "-p", "OLD", "-y").code == 0
    before = tree(ferry)
    write_image(images / "cid" / "T1w.nii.gz", seed=7)
    pushed = ferry("push", images, "-p", "OLD", "-y", "--json")
    run = pushed.record("result")["run"]
    write_image(images / "ann" / "flair.nii.gz", seed=8)
    other = ferry("push", images, "-p", "OTHER", "-y", "--json").record("result")["run"]
    kept = ferry("undo", other, "-y")
    assert (kept.code, "add --remove-project to remove it" in kept.out) == (0, True)
    assert "OTHER" in tree(ferry), "its ID would be gone for ever"
    assert ferry("undo", other, "-y", "--remove-project").code == 0
    undone = ferry("undo", run, "-y", "--json")
    assert undone.code == 0, undone.text
    assert tree(ferry) == before
    assert ferry("verify", images / "ann" / "T1w.nii.gz", "-p", "OLD", "--subject", "ann").code == 0


def test_what_was_there_before_or_came_later_stays(ferry, images):
    ferry("push", images / "ann" / "T1w.nii.gz", "-p", "P", "--subject", "ann", "-y")
    run = ferry("push", images, "-p", "P", "-y", "--json").record("result")["run"]
    # Somebody adds an image to a session that the run made.
    write_image(images / "bob" / "extra.nii.gz", seed=77)
    assert ferry("push", images, "-p", "P", "-y").code == 0
    shown = ferry("undo", run, "--dry-run")
    assert "= session P/bob/bob_MR1" in shown.out
    assert ferry("undo", run, "-y").code == 0
    left = tree(ferry)
    assert ("P/bob/bob_MR1/scans/1", None, None) not in left
    assert any("bob_MR1" in str(node) and "NIFTI" in str(node) for node in left)
    assert "P/ann/ann_MR1" in left


def test_a_file_that_was_changed_since_stays(ferry, images):
    run = ferry("push", images, "-p", "P", "-y", "--json").record("result")["run"]
    write_image(images / "ann" / "T1w.nii.gz", seed=99)
    ferry("push", images, "-p", "P", "-y", "--on-conflict", "overwrite")
    done = ferry("undo", run, "-y")
    assert done.code == 0, done.text
    assert "was changed since" in done.out
    assert ferry("verify", images / "ann" / "T1w.nii.gz", "-p", "P", "--subject", "ann").code == 0
    assert ferry("list", "P/bob").code == 4


def test_replaced_bytes_come_back_from_the_backup(ferry, images):
    ferry("push", images, "-p", "P", "-y")
    old = (images / "ann" / "T1w.nii.gz").read_bytes()
    write_image(images / "ann" / "T1w.nii.gz", seed=99)
    pushed = ferry("push", images, "-p", "P", "-y", "--on-conflict", "overwrite", "--backup", "--json")
    assert ferry("undo", pushed.record("result")["run"], "-y").code == 0
    (images / "ann" / "T1w.nii.gz").write_bytes(old)
    assert ferry("verify", images, "-p", "P").code == 0


def test_runs_are_listed_newest_first_and_shown_whole(ferry, images):
    assert "No runs yet" in ferry("runs").out
    first = ferry("push", images, "-p", "P", "-y", "--json").record("result")["run"]
    second = ferry("undo", "latest", "-y", "--json").record("result")["run"]
    listed = ferry("runs", "--json").records
    assert [record["run"] for record in listed] == [second, first]
    assert listed[1]["outcomes"]["stored"] == 4
    shown = ferry("runs", first, "--json").records
    assert {"run", "began", "receipt", "verdict", "end"} <= {record["record"] for record in shown}
    assert "4 files verified (MD5 equal)" in ferry("runs", first).out
    assert ferry("runs", "nothing").code == 2


def test_a_run_is_verified_without_its_sources(ferry, images, tmp_path):
    ferry("push", images, "-p", "P", "-y")
    images.rename(tmp_path / "moved")
    assert "4 files verified (MD5 equal)" in ferry("verify", "latest").out
    ferry("remove", "P/ann/ann_MR1/scans/1", "--remove-files", "-y")
    gone = ferry("verify", "latest")
    assert gone.code == 8
    assert "missing" in gone.out


def test_a_stored_plan_is_carried_out_exactly_or_not_at_all(ferry, images, tmp_path):
    plan = tmp_path / "plan.json"
    assert ferry("plan", images, "-p", "P", "-o", plan).code == 0
    assert json.loads(plan.read_text().splitlines()[0])["xnatferry_plan"] == 4
    assert "password" not in plan.read_text()
    write_image(images / "cid" / "T1w.nii.gz")
    assert ferry("push", plan, "-y").code == 0
    assert ferry("list", "P/cid").code == 4, "what is not in the plan does not go"
    assert "Up to date" in ferry("push", plan, "-y").out


def test_a_plan_whose_source_or_server_moved_is_refused_by_name(ferry, images, tmp_path):
    plan = tmp_path / "plan.json"
    ferry("plan", images, "-p", "P", "-o", plan)
    good = (images / "ann" / "T1w.nii.gz").read_bytes()
    write_image(images / "ann" / "T1w.nii.gz", seed=5)
    moved = ferry("push", plan, "-y")
    assert moved.code == 6
    assert "ann/T1w.nii.gz" in moved.err.replace("\\", "/")
    (images / "ann" / "T1w.nii.gz").write_bytes(good)
    write_image(tmp_path / "other" / "ann" / "T1w.nii.gz", seed=6)
    ferry("push", tmp_path / "other", "-p", "P", "-y")
    moved = ferry("push", plan, "-y")
    assert moved.code == 6
    assert "P/ann/ann_MR1" in moved.err


def test_a_damaged_plan_is_a_usage_error(ferry, tmp_path):
    for text in ('{"xnatferry_plan": 99}', '{"xnatferry_plan": 1}', '{"xnatferry_plan": 1, "steps": [{"address": 3}]}'):
        (tmp_path / "plan.json").write_text(text)
        assert ferry("push", tmp_path / "plan.json", "-y").code == 2


def test_interrupt_says_how_to_go_on_and_the_same_push_does(ferry, command, tmp_path):
    for number in range(40):
        write_image(tmp_path / "in" / f"s{number:02}" / "T1w.nii.gz", seed=number, shape=(64, 64, 20))
    # The local archive is in the same process and moves each file into its place.
    push = command("push", tmp_path / "in", "-p", "P", "-y", "--workers", "1", at=("os.rename", ".nii.gz", 4))
    push.until("stopped")
    push.process.send_signal(signal.SIGINT)
    push.go_on()
    said = push.ended(130) + push.said
    assert "Run the same command again to continue" in said
    again = ferry("push", tmp_path / "in", "-p", "P", "-y")
    assert again.code == 0, again.text
    assert "40 files verified (MD5 equal)" in again.out
    sessions = [r for r in ferry("list", "P", "--json").records if r["record"] == "session"]
    assert len(sessions) == 40


def test_a_run_that_goes_on_is_told_from_a_killed_one(ferry, command, images):
    push = command("push", images, "-p", "P", "-y", "--workers", "1", at=("os.rename", ".nii.gz", 2))
    push.until("stopped")
    assert "running" in ferry("runs").out
    (run,) = ferry("runs", "--json").records
    assert run["verdict"] == "running"
    refused = ferry("undo", "latest", "-y")
    assert refused.code == 6, refused.text
    assert "is still running" in refused.err
    push.process.kill()
    push.process.wait()
    assert "interrupted" in ferry("runs").out
    undone = ferry("undo", "latest", "-y", "--remove-project")
    assert undone.code == 0, undone.text
    assert "P" not in ferry("list").out.split()


def test_what_people_edited_since_stays(ferry, images, archive):
    from xnatferry.client.remote import Remote
    from xnatferry.client.settings import Connection, Secret
    from xnatferry.xnat.model import Address

    login = ("-s", archive.url, "-u", archive.user, "--password", archive.password)
    run = ferry("push", images, "-p", "P", "-y", "--json", *login).record("result")["run"]
    with Remote(Connection(archive.url, archive.user, Secret(archive.password))) as remote:
        remote.set_fields(Address.parse("P/ann"), {"gender": "female"})
        remote.set_fields(Address.parse("P/bob/bob_MR1/scans/1"), {"note": "keep me"})
    done = ferry("undo", run, "-y", *login[2:])
    assert done.code == 0, done.text
    assert "P/ann  was edited since (gender)" in done.out
    assert "P/bob/bob_MR1/scans/1  was edited since (note)" in done.out
    left = ferry("list", "P", "--json", *login).records
    assert {r["address"] for r in left} == {"P", "P/ann", "P/bob", "P/bob/bob_MR1"}


def test_what_came_while_the_question_was_open_stays(ferry, images, archive, tmp_path):
    """The executor looks again: the plan was made before somebody else stored a file."""
    from xnatferry.client.remote import Remote
    from xnatferry.client.settings import Connection, Secret
    from xnatferry.transfer.sharded_runs import find_run
    from xnatferry.transfer.undo_run import plan_of, undo
    from xnatferry.xnat.model import Address

    login = ("-s", archive.url, "-u", archive.user, "--password", archive.password)
    run = ferry("push", images, "-p", "P", "-y", "--json", *login).record("result")["run"]
    with Remote(Connection(archive.url, archive.user, Secret(archive.password))) as remote:
        effects = find_run(ferry.home / "state" / "runs", run).effects()
        plan = plan_of(effects, remote, "P", remove_project=True)
        theirs = Address.parse("P/ann/ann_MR1/scans/1/resources/NIFTI/files/colleague.txt")
        remote.send_file(theirs, lambda: [b"mine"], 4)
        failed = [str(receipt.address) for receipt in undo(plan, remote) if receipt.exit_code]
        assert "P/ann/ann_MR1/scans/1/resources/NIFTI" in failed
        assert {"P", "P/ann", "P/ann/ann_MR1"} <= set(failed)
        assert remote.exists(theirs)
        assert not remote.exists(Address.parse("P/bob"))


def test_a_stored_plan_changes_fields_once_and_never_over_somebody_else(ferry, images, tmp_path, archive):
    from xnatferry.client.remote import Remote
    from xnatferry.client.settings import Connection, Secret
    from xnatferry.xnat.model import Address

    login = ("-s", archive.url, "-u", archive.user, "--password", archive.password)
    assert ferry("push", images, "-p", "P", "-y", *login).code == 0
    plan = tmp_path / "plan.json"
    change = ("--quality", "unusable", "--update-fields")
    assert ferry("plan", images, "-p", "P", "-o", plan, *change, *login).code == 0
    assert ferry("push", plan, "-y", *login).code == 0
    assert "Up to date" in ferry("push", plan, "-y", *login).out
    with Remote(Connection(archive.url, archive.user, Secret(archive.password))) as remote:
        remote.set_fields(Address.parse("P/ann/ann_MR1/scans/1"), {"quality": "questionable"})
    moved = ferry("push", plan, "-y", *login)
    assert moved.code == 6
    assert "changed to 'questionable' since the plan" in moved.err
