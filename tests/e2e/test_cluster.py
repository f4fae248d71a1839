"""One push from the workers of a Dask cluster: processes of their own, one of which is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.e2e import slurm
from tests.e2e.conftest import write_image
from tests.e2e.documented import blocks_of
from xnatferry import api
from xnatferry.client.remote import Remote
from xnatferry.client.settings import Connection, Secret
from xnatferry.testing import local_archive
from xnatferry.xnat.model import Address

SUBJECTS = 6


class Door:
    """Relays connections to one server, slowly, and counts how many are open at once."""

    def __init__(self, url, host="127.0.0.1", delay_s=0.0):
        self.target = url.removeprefix("http://").split(":")
        self.delay_s = delay_s
        self.open = self.most = self.requests = self.held = 0
        self.holds_after = None
        self.let_go = threading.Event()
        self.lock = threading.Lock()
        self.listener = socket.create_server((host, 0), backlog=64)
        self.url = f"http://{host}:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.relay, args=(client,), daemon=True).start()

    def relay(self, client):
        with self.lock:
            self.open += 1
            self.most = max(self.most, self.open)
        with client, socket.create_connection((self.target[0], int(self.target[1]))) as server:
            back = threading.Thread(target=self.pipe, args=(server, client), daemon=True)
            back.start()
            self.pipe(client, server, up=True)
            back.join()
        with self.lock:
            self.open -= 1

    def pipe(self, source, target, *, up=False):
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if up:
                    self.requests += 1
                    time.sleep(self.delay_s)
                    self.hold()
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def hold(self):
        """Every request beyond a number waits."""
        if self.holds_after is not None and self.requests > self.holds_after:
            with self.lock:
                self.held += 1
            self.let_go.wait(500)

    def close(self):
        self.listener.close()


@pytest.fixture
def site():
    with local_archive() as archive:
        yield archive


@pytest.fixture
def door(site):
    door = Door(site.url, delay_s=0.02)
    yield door
    door.close()


@pytest.fixture
def many(tmp_path):
    """Subjects with two sessions each."""
    for number in range(SUBJECTS):
        for session in "AB":
            write_image(
                tmp_path / "many" / f"s{number:02}" / f"s{number:02}_{session}" / "T1w.nii.gz",
                seed=10 * number + ord(session),
            )
    return tmp_path / "many"


class Cluster:
    """A scheduler and workers, as a user would start them."""

    def __init__(self, folder):
        self.folder = folder
        self.started = []
        self.address = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", wait="tcp://")

    def _start(self, what, *arguments, wait, before=(), **options):
        command = [*before, sys.executable, "-m", f"distributed.cli.dask_{what}", *arguments]
        log = self.folder / f"{what}-{len(self.started)}.log"
        with log.open("wb") as stream:
            self.started.append(subprocess.Popen(command, stderr=stream, stdout=stream, cwd="/tmp", **options))
        while self.started[-1].poll() is None:
            for line in log.read_text().splitlines():
                if wait in line:
                    return line.split()[-1]
            time.sleep(0.05)
        raise AssertionError(log.read_text())

    def worker(self, **options):
        arguments = (self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", "/tmp")
        self._start("worker", *arguments, wait="Registered to", **options)
        return self.started[-1]

    def close(self):
        for process in self.started:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path):
    folder = tmp_path / "cluster"
    folder.mkdir()
    cluster = Cluster(folder)
    yield cluster
    cluster.close()


def access(site, door=None):
    return {"XNAT_HOST": (door or site).url, "XNAT_USER": site.user, "XNAT_PASS": site.password}


def start(ferry, env, *arguments):
    command = ferry.command("push", *arguments, "-y")
    return subprocess.Popen(
        command, env=ferry.environment | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def until(happened, process):
    """Wait for something that a push does."""
    while process.poll() is None:
        if happened():
            return process
        time.sleep(0.02)
    raise AssertionError(process.communicate())


def begin(ferry, env, *arguments):
    """Start a push and wait until it has brought something over; returns its process."""
    push = start(ferry, env, *arguments)
    return until(lambda: any(r.get("outcome") == "stored" for r in journal(ferry)), push)


def journal(ferry):
    for path in sorted((ferry.home / "state").glob("runs/*push*/journal.jsonl")):
        for line in path.read_text().splitlines():
            with suppress(ValueError):
                yield json.loads(line)


def made(ferry):
    """What the first push of a home made, as its journal says."""
    return {(r["address"], r["outcome"], r["digest"]) for r in journal(ferry) if r["record"] == "receipt"}


def held(site):
    """Everything that an archive holds, by what people see."""
    with Remote(Connection(site.url, site.user, Secret(site.password))) as remote:
        sessions = [Address("P", row["subject_label"], row["label"]) for row in remote.list_sessions("P")]
        scans = [(s, row["ID"], row["type"]) for s in sessions for row in remote.list_scans(s)]
        files = [(s, f.scan, f.name, f.digest) for s in sessions for f in remote.list_files(s, all_scans=True)]
    return sorted(map(str, scans + files))


TEMPLATE = ("--template", "{subject}/{session}/{type}.nii.gz")


def test_a_killed_worker_costs_nothing(ferry, site, door, many, cluster):
    killed, *_ = [cluster.worker() for _ in range(3)]
    env = access(site, door)
    door.holds_after = 40
    push = start(ferry, env, many, "-p", "P", *TEMPLATE, "--cluster", cluster.address, "--workers", "3")
    until(lambda: door.held == 3, push)  # all three are in the middle of something
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    door.let_go.set()  # what the killed one had sent arrives all the same
    out, err = push.communicate(timeout=500)
    assert push.returncode == 0, out + err
    assert f"{2 * SUBJECTS} files verified (MD5 equal)" in out
    assert [r["detail"] for r in journal(ferry) if r.get("name") == "again"]
    assert 3 <= door.most <= 4  # three workers, and the push itself
    door.delay_s = 0

    # Nothing is lost or doubled: an ordinary push elsewhere makes the same.
    with local_archive() as ordinary:
        with Remote(Connection(ordinary.url, ordinary.user, Secret(ordinary.password))) as remote:
            rules = api.MappingRules(project="P")
            plan = api.plan(api.discover(many, template=[TEMPLATE[1]]), remote, rules)
            result = api.push(plan, remote)
        assert held(ordinary) == held(site)
    assert {(str(r.address), r.outcome.value, r.digest) for r in result.receipts} == made(ferry)
    assert len(result.receipts) == sum(r["record"] == "receipt" for r in journal(ferry))

    assert len(ferry("runs", env=env).out.splitlines()) == 1
    assert ferry("verify", "latest", "--json", env=env).record("result")["files"] == 2 * SUBJECTS
    undone = ferry("undo", "latest", "-y", "--remove-project", env=env)
    assert undone.code == 0, undone.text
    assert "P" not in ferry("list", env=env).out.split()


def test_stopped_by_ctrl_c_and_pushed_again(ferry, site, door, many, cluster):
    for _ in range(2):
        cluster.worker()
    env = access(site, door)
    arguments = (many, "-p", "P", *TEMPLATE, "--cluster", cluster.address, "--workers", "2")
    push = begin(ferry, env, *arguments)
    push.send_signal(signal.SIGINT)
    out, err = push.communicate(timeout=500)
    assert push.returncode == 130, out + err
    assert "stopped" in ferry("runs", env=env).out
    asked = door.requests
    time.sleep(0.5)
    assert door.requests == asked  # no worker goes on behind our back
    door.delay_s = 0
    again = ferry("push", *arguments, "-y", env=env)
    assert again.code == 0, again.text
    assert f"{2 * SUBJECTS} files verified (MD5 equal)" in again.out
    names = [r["run"] for r in ferry("runs", "--json", env=env).records]
    assert len(names) == 2
    for name in names:
        assert ferry("undo", name, "-y", "--remove-project", env=env).code == 0
    assert "P" not in ferry("list", env=env).out.split()


def test_the_push_itself_is_killed(ferry, site, door, many, cluster):
    cluster.worker()
    env = access(site, door)
    door.holds_after = 40
    push = start(ferry, env, many, "-p", "P", *TEMPLATE, "--cluster", cluster.address)
    until(lambda: door.held == 1, push).kill()  # its worker is some way into a subject
    push.communicate()
    door.holds_after = None
    door.let_go.set()
    for _ in range(100):
        asked = door.requests
        time.sleep(0.5)
        if asked == door.requests and door.open == 0:
            break
    assert 0 < len(held(site)) < 4 * SUBJECTS  # what waited was never begun
    begun = {str(address) for record in journal(ferry) for address in record.get("addresses", ())}
    assert begun - {record["address"] for record in journal(ferry) if record["record"] == "receipt"}
    door.delay_s = 0
    undone = ferry("undo", "latest", "-y", "--remove-project", env=env)
    assert undone.code == 0, undone.text
    assert "P" not in ferry("list", env=env).out.split()


def test_processes_of_this_computer_and_its_own_archive(ferry, many):
    with ExitStack() as stack:
        with suppress(OSError):  # somebody has it already
            stack.enter_context(socket.create_server(("127.0.0.1", 8787)))  # where dashboards are
        first = ferry("push", many, "-p", "P", "-y", "--cluster", "local:2", *TEMPLATE)
    assert first.code == 0, first.text
    assert f"{2 * SUBJECTS} files verified (MD5 equal)" in first.out
    assert "distributed" not in first.text
    assert "8787" not in first.text


def test_what_cannot_work_is_said_before_anything_moves(ferry, site, many, cluster, tmp_path):
    env = access(site)
    push = ("push", many, "-p", "P", "-y", *TEMPLATE, "--cluster")
    for wrong in ("nothing", "local:0", "http://127.0.0.1:1"):
        ended = ferry(*push, wrong, env=env)
        assert ended.code == 2, ended.text
        assert "local:N" in ended.err
    far = ferry(*push, "tcp://192.0.2.1:8786", env=env)
    assert far.code == 2
    assert "cannot reach" in far.err
    fake = tmp_path / "fake" / "xnatferry-99.0.dist-info"
    fake.mkdir(parents=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: xnatferry\nVersion: 99.0\n")
    other = cluster.worker(env={**os.environ, "PYTHONPATH": str(fake.parent)})
    ended = ferry(*push, cluster.address, env=env)
    assert ended.code == 2, ended.text
    assert "99.0" in ended.err
    assert "tcp://" in ended.err
    other.kill()
    other.wait()
    hidden = ("unshare", "-m", "sh", "-c", f'mount -t tmpfs none {many} && exec "$@"', "sh")
    if subprocess.run([*hidden, "true"], capture_output=True, check=False).returncode == 0:  # as root only
        cluster.worker(before=hidden)
        ended = ferry(*push, cluster.address, env=env)
        assert ended.code == 2, ended.text
        assert "cannot read" in ended.err
    assert not ferry("runs", env=env).out.startswith("2")
    assert "P" not in ferry("list", env=env).out.split()


def test_jobs_of_slurm(ferry, site, many, tmp_path):
    """The real dask-jobqueue; only ``sbatch`` is a script that starts the job right here."""
    programs = tmp_path / "bin"
    programs.mkdir()
    pids = tmp_path / "pids"
    (programs / "sbatch").write_text(
        f'#!/bin/sh\njob=$(mktemp {tmp_path}/job.XXXX)\ncp "$1" $job\n'
        f'setsid sh $job >$job.log 2>&1 &\necho $! >>{pids}\necho "Submitted batch job $!"\n'
    )
    (programs / "scancel").write_text("#!/bin/sh\nkill -- -$1 2>/dev/null || true\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    door = Door(site.url, host="0.0.0.0")  # reaches this computer, and does not look like it
    slurm = {"CORES": "1", "MEMORY": "1GB", "SHARED_TEMP_DIRECTORY": str(tmp_path)}
    env = access(site, door) | {f"DASK_JOBQUEUE__SLURM__{name}": value for name, value in slurm.items()}
    env["PATH"] = f"{programs}:{os.environ['PATH']}"
    try:
        ended = ferry("push", many, "-p", "P", "-y", *TEMPLATE, "--cluster", "slurm", "--workers", "2", env=env)
        assert ended.code == 0, ended.text
        assert f"{2 * SUBJECTS} files verified (MD5 equal)" in ended.out
        assert door.most <= 3
        env["DASK_JOBQUEUE__SLURM__SHARED_TEMP_DIRECTORY"] = str(tmp_path / "a blank")
        refused = ferry("push", many, "-p", "Q", "-y", *TEMPLATE, "--cluster", "slurm", env=env)
        assert (refused.code, "shared-temp-directory" in refused.err) == (2, True), refused.text
    finally:
        door.close()
        for pid in pids.read_text().split():
            with suppress(ProcessLookupError):
                os.killpg(int(pid), signal.SIGKILL)
    unsaid = ferry("push", many, "-p", "Q", "-y", *TEMPLATE, "--cluster", "slurm", env=access(site, door))
    assert unsaid.code != 0


@pytest.fixture(scope="module")
def real_slurm():
    """The variables that lead to it, and to our commands."""
    if why := slurm.missing():
        pytest.skip(f"Slurm is not installed: no {why}")
    with slurm.running() as variables:
        yield variables | {"PATH": f"{Path(sys.executable).parent}:{variables['PATH']}"}


@pytest.mark.timeout(300)
def test_an_array_of_a_real_slurm_does_what_the_page_says(ferry, site, many, tmp_path, real_slurm):
    """The script of docs/cluster.md with three jobs in place of sixteen; one of them is started again alone."""
    page = Path(__file__).resolve().parents[2] / "docs" / "cluster.md"
    (script,) = [b.text for b in blocks_of(page.read_text(encoding="utf-8")) if "#SBATCH" in b.text]
    assert script.count("16") == 2
    (tmp_path / "push.sh").write_text(script.replace("16", "3"))
    env = access(site) | real_slurm
    assert ferry("plan", many, "-p", "P", "-o", tmp_path / "study.json", *TEMPLATE, env=env).code == 0
    for how in ([], ["--array=2"]):
        submit = ["sbatch", *how, "push.sh"]
        subprocess.run(submit, cwd=tmp_path, env=ferry.environment | env, check=True, capture_output=True)
        slurm.wait_for_jobs(real_slurm)
    logs = {path.name.rpartition("-")[2]: path.read_text() for path in sorted(tmp_path.glob("xnatferry-*.log"))}
    assert "Up to date" in logs["2.log"]
    assert "digest matched" in logs["1.log"]
    listed = ferry("runs", env=env).out
    assert len(listed.splitlines()) == 1
    assert "done" in listed
    assert ferry("verify", "latest", "--json", env=env).record("result")["files"] == 2 * SUBJECTS


@pytest.mark.timeout(300)
def test_a_job_of_a_real_slurm_that_is_cancelled_is_replaced(ferry, site, many, real_slurm):
    door = Door(site.url, host="0.0.0.0")  # reaches this computer, and does not look like it
    door.holds_after = 40
    quick = {"DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1s"}
    slurm_of_dask = {f"DASK_JOBQUEUE__SLURM__{name}": value for name, value in {"CORES": "1", "MEMORY": "1GB"}.items()}
    env = access(site, door) | real_slurm | slurm_of_dask | quick
    arguments = (many, "-p", "P", *TEMPLATE, "--cluster", "slurm", "--workers", "1")
    push = start(ferry, env, *arguments)
    try:
        until(lambda: door.held == 1, push)  # it is in the middle of something
        subprocess.run(["scancel", "--state", "RUNNING"], env=ferry.environment | env, check=True)
        door.let_go.set()
        out, err = push.communicate(timeout=500)
    finally:
        push.kill()
        door.close()
    assert push.returncode == 0, out + err
    assert f"{2 * SUBJECTS} files verified (MD5 equal)" in out
    assert [r["detail"] for r in journal(ferry) if r.get("name") == "again"]
