"""A real Slurm of one node in a folder of its own: munged, slurmctld and slurmd, where they are installed."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

_DAEMONS = ("munged", "slurmctld", "slurmd")
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

#: No control groups, no accounting, more CPUs than there may be: jobs are only to start, to run and to be cancelled.
_CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=8000 State=UNKNOWN
PartitionName=general Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Which programs of Slurm are not installed; empty when all are."""
    needed = (*_DAEMONS, "sbatch", "scancel", "sinfo", "squeue")
    return ", ".join(name for name in needed if shutil.which(name, path=_PATH) is None)


def wait_for_jobs(environment: dict[str, str]) -> None:
    """Returns when no job is left, waiting or running."""
    _until(lambda: not _say(environment, "squeue", "-h").strip(), "jobs do not end")


@contextmanager
def running():
    """Yields the environment that leads the commands of Slurm to it."""
    with ExitStack() as stack:
        # A socket's path may not be long.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-")))
        folder.chmod(0o755)
        environment = {"PATH": _PATH, "SLURM_CONF": str(_configure(folder)), "LC_ALL": "C"}
        sock, key = folder / "munge.socket", folder / "munge.key"
        own = (f"--{name}-file={folder / f'munge.{name}'}" for name in ("log", "pid", "seed"))
        _start(stack, folder, environment, "munged", "-F", f"--socket={sock}", f"--key-file={key}", *own)
        _until(sock.exists, "munged does not start", folder)
        _start(stack, folder, environment, "slurmctld", "-D", "-c")
        _start(stack, folder, environment, "slurmd", "-D")
        _until(lambda: "idle" in _say(environment, "sinfo", "-h", "-o", "%T"), "the node does not come", folder)
        stack.callback(_end_jobs, environment)
        yield environment


def _configure(folder: Path) -> Path:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o400)
    with socket.create_server(("", 0)) as one, socket.create_server(("", 0)) as other:
        ports = [listener.getsockname()[1] for listener in (one, other)]
    file = folder / "slurm.conf"
    host = socket.gethostname().partition(".")[0]
    file.write_text(_CONFIGURATION.format(host=host, user=getpass.getuser(), folder=folder, ports=ports))
    return file


def _start(stack: ExitStack, folder: Path, environment: dict[str, str], program: str, *arguments: str) -> None:
    command = [shutil.which(program, path=_PATH), *arguments]
    with (folder / f"{program}.out").open("wb") as out:
        process = subprocess.Popen(command, env=os.environ | environment, stdout=out, stderr=out)
    stack.callback(process.wait)
    stack.callback(process.kill if program == "munged" else process.terminate)


def _say(environment: dict[str, str], *command: str) -> str:
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=30
    ).stdout


def _end_jobs(environment: dict[str, str]) -> None:
    _say(environment, "scancel", "--user", getpass.getuser())
    wait_for_jobs(environment)


def _until(happened, what: str, logs: Path | None = None) -> None:
    for _ in range(1000):
        if happened():
            return
        time.sleep(0.1)
    said = sorted(logs.glob("*.out")) if logs is not None else []
    raise AssertionError("\n".join([what, *(path.read_text() for path in said)]))
