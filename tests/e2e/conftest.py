"""The command line as a user types it: the installed console script, folders of its own, a real archive on a socket."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e import fork_server
from tests.e2e.fork_server import ForkServer
from tests.e2e.stopping import Command

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Ended:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict]:
        """Its JSON lines; every line of stdout must be one."""
        return [json.loads(line) for line in self.out.splitlines()]

    def record(self, kind: str) -> dict:
        (found,) = [record for record in self.records if record["record"] == kind]
        return found

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass(frozen=True)
class Ferry:
    """Runs xnatferry with a home of its own."""

    home: Path
    forks: ForkServer | None = None

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("XNAT", "XDG_"))}
        return kept | {
            "HOME": str(self.home),
            "XNATFERRY_ROOT": str(self.home / "archive"),
            "XNATFERRY_STATE": str(self.home / "state"),
            "XNATFERRY_CONFIG": str(self.home / "config"),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",  # never the keyring of who runs the tests
            "NO_COLOR": "1",
        }

    def command(self, *arguments: object) -> list[str]:
        script = shutil.which("xnatferry", path=str(Path(sys.executable).parent)) or "xnatferry"
        return [script, *map(str, arguments)]

    def __call__(self, *arguments: object, stdin: str | None = None, env: dict[str, str] | None = None) -> Ended:
        command, environment = self.command(*arguments), self.environment | (env or {})
        run = self.forks.run if self.forks and self.forks.can_run(environment) else run_started
        done = run(command, stdin=stdin or "", env=environment, timeout=500)
        assert "Traceback" not in done.stderr + done.stdout, done.stderr + done.stdout
        return Ended(done.returncode, done.stdout, done.stderr)


def run_started(
    command: list[str], *, stdin: str, env: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=stdin, env=env, timeout=timeout, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer | None]:
    if not fork_server.USED:
        yield None
        return
    server = ForkServer(Ferry(tmp_path_factory.mktemp("home")).environment)
    yield server
    server.close()


@pytest.fixture
def ferry(tmp_path: Path, forks: ForkServer | None) -> Ferry:
    home = tmp_path / "home"
    home.mkdir()
    return Ferry(home, forks)


@pytest.fixture
def command(ferry):
    started = []

    def command(*arguments, **options):
        """`Command`: one that stops where *at* says."""
        started.append(Command(ferry, *arguments, **options))
        return started[-1]

    yield command
    for one in started:
        one.process.kill()
        one.process.communicate()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two subjects with two real (if tiny) images each."""
    root = tmp_path / "images"
    for number, subject in enumerate(("ann", "bob")):
        for index, kind in enumerate(("T1w", "T2w")):
            write_image(root / subject / f"{kind}.nii.gz", seed=10 * number + index)
    return root


def write_image(path: Path, *, seed: int = 0, shape: tuple[int, ...] = (8, 9, 5)) -> Path:
    import nibabel
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(seed).integers(0, 1000, shape).astype("int16")
    image = nibabel.Nifti1Image(voxels, np.diag([1.5, 1.5, 3.0, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)
    return path


@pytest.fixture
def archive(tmp_path: Path):
    """A running archive with its own accounts."""
    from xnatferry.server.archive import running_archive

    with running_archive(tmp_path / "served", admin_password="admin-pw") as running:
        yield running


@pytest.fixture
def small_disk(tmp_path: Path):
    """A disk of 3 MB."""
    where = tmp_path / "small"
    where.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", where], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("mounting a small disk needs root")
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)
