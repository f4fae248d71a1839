"""Start-up of `xnatferry --help` and `--version` beside an idle interpreter: medians and ratios of one run.

    make test-wheel; .wheel-test/venv/bin/python bench/startup.py [--rounds 10]

The interpreter that runs this is the one that is measured, so that an installed wheel can be. Rounds are interleaved:
what else the computer does then falls on all alike. Processor time tells more where it does much.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

SCRIPT = Path(sys.executable).with_name("xnatferry")
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "xnatferry --version": [SCRIPT, "--version"],
    "xnatferry --help": [SCRIPT, "--help"],
    "xnatferry push --help": [SCRIPT, "push", "--help"],
}
GOALS_MS = {"xnatferry --version": 80, "xnatferry --help": 150}


def timed(command: list) -> tuple[float, float]:
    """Seconds on the wall, and of the processor."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return took, used.ru_utime + used.ru_stime


def measured(rounds: int) -> dict[str, list[tuple[float, float]]]:
    """What each command took, round by round."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for number in range(rounds + 1):
        for name, command in COMMANDS.items():
            one = timed(command)
            if number:  # the first round only fills caches
                taken[name].append(one)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    origin = importlib.metadata.distribution("xnatferry").read_text("direct_url.json") or ""
    where = "source tree" if '"editable": true' in origin else "installed wheel"
    print(f"{where}, Python {sys.version.split()[0]}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    print(f"median of {rounds:<14} wall ms  ratio  best ms  processor ms  ratio  goal")
    base: tuple[float, float] | None = None
    for name, taken in measured(rounds).items():
        wall, processor = (median(one) for one in zip(*taken, strict=True))
        best = min(wall for wall, _ in taken)
        base = base or (wall, processor)
        goal = f"< {GOALS_MS[name]} ms" if name in GOALS_MS else ""
        ratios = wall / base[0], processor / base[1]
        print(
            f"{name:24} {1000 * wall:7.0f} {ratios[0]:6.1f} {1000 * best:8.0f}"
            f" {1000 * processor:13.0f} {ratios[1]:6.1f}  {goal}"
        )


if __name__ == "__main__":
    main()
