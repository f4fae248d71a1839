"""Pictures: how many a second and core, and what they cost a push. Printed as ratios side by side; run by hand.

python bench/snapshots.py [SESSIONS]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np

from xnatferry.pictures import mosaic, snapshots, thumbnail

WARM_UP, ROUNDS = 1, 5


def brain(shape: tuple[int, ...], noise: float, seed: int) -> np.ndarray:
    """Something as smooth, and as hard to compress, as a head."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape[:3]), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    rng = np.random.default_rng(seed)
    head = np.where(radius < 0.8, 600 + 200 * np.sin(9 * axes[0]) * np.cos(7 * axes[1]), 0)
    values = head[..., None] + rng.normal(0, noise, (*shape[:3], *(shape[3:] or (1,)))) * (head[..., None] > 0)
    return values.reshape(shape).round().astype(np.int16)


def timed(act, path: Path) -> float:
    """Processor seconds, which do not depend on what else the machine does."""
    for _ in range(WARM_UP):
        act(path)
    began = time.process_time()
    for _ in range(ROUNDS):
        act(path)
    return (time.process_time() - began) / ROUNDS


def images(folder: Path) -> list[tuple[str, Path]]:
    made = []
    for name, shape, noise in (("T1", (176, 240, 256), 1.0), ("bold", (64, 64, 36, 200), 12.0)):
        for ending in (".nii.gz", ".nii"):
            path = folder / f"{name}{ending}"
            nibabel.save(nibabel.Nifti1Image(brain(shape, noise, 1), np.diag([1.0, 1.0, 1.0, 1.0])), path)
            made.append((name, path))
    return made


def throughput(folder: Path) -> None:
    print("processor seconds a picture     snapshots  per second   mosaic without carpet   thumbnail")
    for _, path in images(folder):
        both = timed(snapshots, path)
        plain = timed(lambda image: mosaic(image, carpet=False), path)
        small = timed(thumbnail, path)
        size = path.stat().st_size / 1e6
        print(f"{path.name:14} {size:7.1f} MB       {both:9.3f} {1 / both:11.1f} {plain:23.3f} {small:11.3f}")


def push(folder: Path, home: Path, *options: str) -> float:
    environment = os.environ | {
        "HOME": str(home), "XNATFERRY_ROOT": str(home / "archive"), "XNATFERRY_STATE": str(home / "state")
    }  # fmt: skip
    command = [sys.executable, "-m", "xnatferry", "push", str(folder), "-p", "BENCH", "-y", "-q", *options]
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def effect(folder: Path, sessions: int) -> None:
    for number in range(sessions):
        path = folder / f"sub{number:03d}" / "T1.nii.gz"
        path.parent.mkdir(parents=True)
        nibabel.save(nibabel.Nifti1Image(brain((176, 240, 256), 0.6, number), np.eye(4)), path)
    size = sum(path.stat().st_size for path in folder.rglob("*.nii.gz")) / 1e6
    print(f"\npush of {sessions} sessions, {size:.0f} MB, to the local archive on {os.cpu_count()} processors")
    for name, options in (("without", ()), ("with --snapshots", ("--snapshots",))):
        with tempfile.TemporaryDirectory() as home:
            first = push(folder, Path(home), *options)
            second = push(folder, Path(home), *options)
        base = first if name == "without" else base  # noqa: F821  # of the first round
        print(f"{name:18} {first:6.1f} s  x{first / base:.2f}     again {second:.1f} s")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as where:
        throughput(Path(where))
    with tempfile.TemporaryDirectory() as where:
        effect(Path(where), int(sys.argv[1]) if len(sys.argv) > 1 else 24)
