"""Where the workers are: a scheduler that runs, processes of this computer, or jobs of a batch system."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import re
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

__all__ = ["ClusterSpec", "check_workers", "open_cluster"]

#: Seconds that a scheduler and the first worker of this computer get to answer.
_ANSWER_S = 15.0
#: Dask's dashboard speaks without TLS and wants port 8787, where another user's may be: a login node has many users.
_NO_DASHBOARD = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
_INSTALL = "it needs the extra 'cluster': pip install 'xnatferry[cluster]'"


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """What ``--cluster`` names.

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
        raise UsageError(f"--cluster {text!r}: write local:N, slurm, or a scheduler as tcp://HOST:PORT")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know before a password travels."""
        if self.kind == "address" and self.address.startswith("tcp:") and not self.on_this_computer:
            return (f"{self.address} is not encrypted: the XNAT password can be read on the way to the workers",)
        return ()

    @property
    def on_this_computer(self) -> bool:
        """Whether workers may see the archive of this computer."""
        host = urlsplit(self.address).hostname
        return self.kind == "local" or host in {"localhost", "::1"} or (host or "").startswith("127.")


@contextmanager
def open_cluster(spec: ClusterSpec, *, workers: int, say: Callable[[str], None]) -> Iterator[Client]:
    """A client of the cluster, with at least one worker there.

    Args:
        spec: Where it is.
        workers: How many tasks will run at once; as many workers are asked of a batch system.
        say: Told what is waited for.

    Raises:
        UsageError: The batch system is not configured.
        UnavailableError: The scheduler does not answer, or no worker comes.
    """
    from distributed import Client

    from xnatferry.cluster.sigint_plugin import IgnoreSigint

    # What it tells about lost workers is told by us; the rest is for its developers.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        try:
            if spec.kind == "address":
                client = stack.enter_context(Client(spec.address, timeout=_ANSWER_S))
            else:
                cluster = stack.enter_context(_started(spec, workers))
                client = stack.enter_context(Client(cluster))
            if spec.kind == "slurm":
                say("waiting for the first job to start; Ctrl-C gives up")
            client.wait_for_workers(1, timeout=None if spec.kind == "slurm" else _ANSWER_S)
        except (OSError, TimeoutError) as error:
            where = spec.address or spec.kind
            raise UnavailableError(f"--cluster {where}: no worker there ({error or 'no answer'})") from None
        if spec.kind == "local":
            client.register_plugin(IgnoreSigint())
        yield client


def _started(spec: ClusterSpec, workers: int) -> Any:
    if spec.kind == "local":
        from distributed import LocalCluster

        # A scheduler takes code from whoever reaches its port, so that not even this computer's other users may.
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
    """Jobs of Slurm, as many as *workers*; another one follows where one is cancelled or at the end of its time.

    Raises:
        UsageError: Dask's configuration does not say enough, or names a folder that cannot be made.
    """
    import dask
    from dask_jobqueue import SLURMCluster

    options = dask.config.get("jobqueue.slurm.scheduler-options", None) or {}
    try:
        cluster = SLURMCluster(
            security=True,
            protocol="tls://",
            shared_temp_directory=str(_folder_of_certificates()),
            scheduler_options={**_NO_DASHBOARD, **options},
            silence_logs=logging.CRITICAL,
        )
    except ValueError as error:
        raise UsageError(f"--cluster slurm: Dask's configuration does not say enough: {error}") from None
    cluster.adapt(minimum=workers, maximum=workers)
    return cluster


def _folder_of_certificates() -> Path:
    """Where jobs find the certificates of this push; only its user may look into it when it is made here."""
    import dask
    from platformdirs import user_cache_path

    named = dask.config.get("jobqueue.slurm.shared-temp-directory", None)
    folder = Path(os.path.expandvars(named)).expanduser() if named else user_cache_path("xnatferry", appauthor=False)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        where = "jobqueue.slurm.shared-temp-directory in Dask's configuration names another one"
        raise UsageError(f"--cluster slurm: {folder} cannot be made ({error.strerror}); {where}") from None
    return folder


def check_workers(client: Client, plan: Plan) -> None:
    """Ask all workers that are there for their xnatferry and for the first file.

    They are asked with functions of the standard library: a worker without xnatferry could not be told of ours.

    Raises:
        UsageError: One has another xnatferry or none, or does not see the file; the message names it.
    """
    for worker, found in client.run(importlib.metadata.version, "xnatferry", on_error="return").items():
        if isinstance(found, Exception):
            raise UsageError(f"worker {worker} has no xnatferry ({found}); install {__version__} there")
        if found != __version__:
            raise UsageError(f"worker {worker} has xnatferry {found} and this is {__version__}; they must be equal")
    path = first_file(plan)
    if path is None:
        return
    size = path.stat().st_size
    for worker, found in client.run(os.stat, str(path), on_error="return").items():
        if isinstance(found, Exception):
            raise UsageError(f"worker {worker} does not see {path} ({found}); workers need the same paths as the push")
        if found.st_size != size:
            raise UsageError(f"worker {worker} sees another {path}: {found.st_size} bytes, here {size}")
