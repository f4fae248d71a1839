"""An archive in a process of its own, and the installed command beside it: what every benchmark starts from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ADMIN = ("admin", "bench-password")
FERRY = Path(sys.executable).with_name("xnatferry")

# An installed wheel has its bytecode; so has everything that is measured here.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@contextmanager
def served_archive(root: Path) -> Iterator[str]:
    """Serve *root* as long as the block lasts; yields the address."""
    process = subprocess.Popen(
        [FERRY, "serve", "--root", root, "--port", "0", "--json"],
        env=os.environ | {"XNATFERRY_ADMIN_PASSWORD": ADMIN[1]},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def ferry(url: str, *arguments: object, state: Path) -> None:
    """Run the installed command against *url*, quietly."""
    command = [FERRY, *map(str, arguments), "-q", "-s", url, "-u", ADMIN[0]]
    environment = os.environ | {"XNAT_PASS": ADMIN[1], "XNATFERRY_STATE": str(state)}
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
