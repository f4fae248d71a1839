"""Jobs of an array that carry one plan together."""

import subprocess

import pytest

from tests.e2e.conftest import write_image
from xnatferry.testing import local_archive


@pytest.fixture
def dozen(tmp_path):
    """Twelve subjects with an image each."""
    for number in range(12):
        write_image(tmp_path / "dozen" / f"s{number:02}" / "T1w.nii.gz", seed=number)
    return tmp_path / "dozen"


@pytest.fixture
def site():
    with local_archive() as archive:
        yield archive


def access(site):
    return {"XNAT_HOST": site.url, "XNAT_USER": site.user, "XNAT_PASS": site.password}


def start(ferry, site, plan, shard):
    command = ferry.command("push", plan, "-y", "--shard", shard, "--json")
    return subprocess.Popen(
        command, env=ferry.environment | access(site), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def names(ferry, site):
    return {r["run"] for r in ferry("runs", "--json", env=access(site)).records}


def test_an_array_of_jobs_carries_a_plan_as_one_push(ferry, site, dozen, tmp_path):
    env, plan = access(site), tmp_path / "plan.json"
    assert ferry("plan", dozen, "-p", "P", "-o", plan, env=env).code == 0
    jobs = {n: start(ferry, site, plan, f"{n}/4") for n in (1, 2, 3)}
    for job in jobs.values():
        out, err = job.communicate(timeout=500)
        assert job.returncode == 0, out + err
    (whole,) = names(ferry, site)
    assert whole.startswith("shares-4-")
    listed = ferry("runs", env=env).out
    assert "3 of 4 parts done" in listed
    assert len(listed.splitlines()) == 1
    assert ferry("push", plan, "-y", "--shard", "4/4", env=env).code == 0
    assert "done" in ferry("runs", env=env).out
    shown = ferry("runs", whole, env=env)
    assert [shown.out.count(f"share {n}/4") for n in (1, 2, 3, 4)] == [1, 1, 1, 1]
    proven = ferry("verify", whole, "--json", env=env)
    assert proven.code == 0
    assert proven.record("result")["files"] == 12
    assert ferry("verify", "latest", "--json", env=env).record("result")["files"] == 12
    undone = ferry("undo", whole, "-y", "--remove-project", env=env)
    assert undone.code == 0, undone.text
    assert "P" not in ferry("list", env=env).out.split()


def test_a_killed_job_is_started_again(ferry, command, site, dozen, tmp_path):
    env, plan = access(site), tmp_path / "plan.json"
    assert ferry("plan", dozen, "-p", "P", "-o", plan, env=env).code == 0
    job = command("push", plan, "-y", "--shard", "2/2", at=("open", "nii.gz", 1), env=env)
    job.until("stopped")
    job.process.kill()
    job.process.wait()
    assert "0 of 2 parts done" in ferry("runs", env=env).out
    for shard in ("1/2", "2/2"):
        done = ferry("push", plan, "-y", "--shard", shard, env=env)
        assert done.code == 0, done.text
    (whole,) = names(ferry, site)
    assert ferry("verify", whole, "--json", env=env).record("result")["files"] == 12
    assert ferry("undo", whole, "-y", "--remove-project", env=env).code == 0
    assert "P" not in ferry("list", env=env).out.split()


def test_a_share_of_a_source_needs_no_stored_plan(ferry, site, dozen):
    env = access(site)
    sent = [
        ferry("push", dozen, "-p", "P", "-y", "--shard", f"{n}/2", "--json", env=env).record("result")["sent_files"]
        for n in (1, 2)
    ]
    assert sum(sent) == 12
    assert all(sent)
    assert "Up to date" in ferry("push", dozen, "-p", "P", "-y", env=env).out
    none = ferry("push", dozen / "s00", "-p", "P", "-y", "--shard", "50/99", env=env)
    assert none.code == 0, none.text
    assert "no subject" in none.out
    wrong = ferry("push", dozen, "-p", "P", "-y", "--shard", "3/2", env=env)
    assert wrong.code == 2
    assert "not I/N; write 1/8" in wrong.err
