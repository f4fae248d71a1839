"""Connects to a running Dask scheduler, or starts workers: local processes, or jobs of a batch system."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import re
import shlex
import sys
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from xnatferry import __version__
from xnatferry.cluster.plan_parts import first_file
from xnatferry.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from distributed import Client

    from xnatferry.planning.plan import Plan

#: Seconds that a scheduler and the first worker of this computer get to answer.
_ANSWER_S = 15.0
#: Dask's dashboard has no TLS, and another user of a login node may use its port 8787.
_NO_DASHBOARD = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
_INSTALL = "install the extra: pip install 'xnatferry[cluster]'"


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """The value of ``--cluster``.

    Attributes:
        kind: ``local``, ``slurm`` or ``address``.
        count: Processes of a local cluster.
        address: Of the scheduler, ``tcp://HOST:PORT`` or ``tls://HOST:PORT``.
    """

    kind: str
    count: int = 0
    address: str = ""

    @classmethod
    def parse(cls, text: str) -> ClusterSpec:
        """Read ``local:4``, ``slurm`` or the address of a scheduler.

        Raises:
            UsageError: It is none of them, or what it needs is not installed.
        """
        spec = cls._read(text.strip())
        needs = ("distributed", "dask_jobqueue") if spec.kind == "slurm" else ("distributed",)
        for module in needs:
            if importlib.util.find_spec(module) is None:
                raise UsageError(f"--cluster {text}: {module.replace('_', '-')} is not installed; {_INSTALL}")
        return spec

    @classmethod
    def _read(cls, text: str) -> ClusterSpec:
        if text == "slurm":
            return cls("slurm")
        if found := re.fullmatch(r"local:([1-9]\d{0,2})", text, re.ASCII):
            return cls("local", int(found[1]))
        with suppress(ValueError):
            address = text if "://" in text else f"tcp://{text}"
            parts = urlsplit(address)
            if parts.scheme in {"tcp", "tls"} and parts.hostname not in {None, "", "local", "slurm"} and parts.port:
                return cls("address", address=address)
        raise UsageError(f"--cluster {text!r}: not a cluster; write local:N, slurm or tcp://HOST:PORT")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings before a password is sent."""
        if self.kind == "address" and self.address.startswith("tcp:") and not self.on_this_computer:
            return (f"{self.address} is not encrypted: others can read the XNAT password that is sent to the workers",)
        return ()

    @property
    def on_this_computer(self) -> bool:
        """Whether the workers run on this computer."""
        host = urlsplit(self.address).hostname
        return self.kind == "local" or host in {"localhost", "::1"} or (host or "").startswith("127.")


@contextmanager
def open_cluster(spec: ClusterSpec, *, workers: int, notify: Callable[[str], None]) -> Iterator[Client]:
    """A client of the cluster, with at least one worker there.

    Args:
        spec: Where it is.
        workers: How many tasks will run at once; as many workers are asked of a batch system.
        notify: Called with a message while this waits.

    Raises:
        UsageError: The batch system is not configured.
        UnavailableError: The scheduler does not answer, or no worker comes.
    """
    from distributed import Client

    from xnatferry.cluster.sigint_plugin import IgnoreSigint

    # We report lost workers ourselves.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        try:
            if spec.kind == "address":
                client = stack.enter_context(Client(spec.address, timeout=_ANSWER_S))
            else:
                cluster = stack.enter_context(_started(spec, workers))
                client = stack.enter_context(Client(cluster))
            if spec.kind == "slurm":
                notify("Waiting for the first job to start (Ctrl-C stops)")
            client.wait_for_workers(1, timeout=None if spec.kind == "slurm" else _ANSWER_S)
        except (OSError, TimeoutError) as error:
            where = spec.address or spec.kind
            raise UnavailableError(
                f"--cluster {where}: no worker found ({error or 'no answer'}); check the scheduler and its workers"
            ) from None
        if spec.kind == "local":
            client.register_plugin(IgnoreSigint())
        yield client


def _started(spec: ClusterSpec, workers: int) -> Any:
    if spec.kind == "local":
        from distributed import LocalCluster

        # A scheduler runs code of everybody who can connect to its port, also of other users of this computer: use TLS.
        return LocalCluster(
            n_workers=spec.count,
            threads_per_worker=1,
            processes=True,
            security=True,
            scheduler_kwargs=_NO_DASHBOARD,
            worker_dashboard_address=None,
            silence_logs=logging.CRITICAL,
        )
    return _jobs(workers)


def _jobs(workers: int) -> Any:
    """*workers* Slurm jobs; a job that is cancelled or reaches its time limit is replaced.

    Raises:
        UsageError: Dask's configuration is incomplete, or names a folder that cannot be created.
    """
    import dask
    from dask_jobqueue import SLURMCluster

    options = dask.config.get("jobqueue.slurm.scheduler-options", None) or {}
    try:
        cluster = SLURMCluster(
            python=dask.config.get("jobqueue.slurm.python", None) or shlex.quote(sys.executable),  # part of a script
            security=True,
            protocol="tls://",
            shared_temp_directory=str(_folder_of_certificates()),
            scheduler_options={**_NO_DASHBOARD, **options},
            silence_logs=logging.CRITICAL,
        )
    except ValueError as error:
        raise UsageError(f"--cluster slurm: incomplete Dask configuration: {error}") from None
    cluster.adapt(minimum=workers, maximum=workers)
    return cluster


def _folder_of_certificates() -> Path:
    """Folder with the TLS certificates of this push for its jobs; a new one is readable by its owner only."""
    import dask
    from platformdirs import user_cache_path

    named = dask.config.get("jobqueue.slurm.shared-temp-directory", None)
    folder = Path(os.path.expandvars(named)).expanduser() if named else user_cache_path("xnatferry", appauthor=False)
    where = "set jobqueue.slurm.shared-temp-directory in Dask's configuration"
    if shlex.quote(str(folder)) != str(folder):
        raise UsageError(f"--cluster slurm: {folder}: Dask cannot use a path with such characters; {where}")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--cluster slurm: cannot create {folder} ({error.strerror}); {where}") from None
    return folder


def check_workers(client: Client, plan: Plan) -> None:
    """Check the xnatferry version of all workers, and that they can read the first file.

    Uses functions of the standard library, as a worker may have no xnatferry.

    Raises:
        UsageError: A worker has another version or none, or cannot read the file; the message names the worker.
    """
    for worker, found in client.run(importlib.metadata.version, "xnatferry", on_error="return").items():
        if isinstance(found, Exception):
            raise UsageError(f"worker {worker}: xnatferry is not installed ({found}); install version {__version__}")
        if found != __version__:
            raise UsageError(f"worker {worker}: xnatferry {found} is installed; install version {__version__}, as here")
    path = first_file(plan)
    if path is None:
        return
    size = path.stat().st_size
    for worker, found in client.run(os.stat, str(path), on_error="return").items():
        if isinstance(found, Exception):
            raise UsageError(
                f"worker {worker}: cannot read {path} ({found}); the workers need the same paths as this computer"
            )
        if found.st_size != size:
            raise UsageError(
                f"worker {worker}: {path} has {found.st_size} bytes, here {size}; workers need the same files"
            )
