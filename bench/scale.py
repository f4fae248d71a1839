"""How time, requests, memory and journal grow with the number of sessions.

    python bench/scale.py [--sizes 100,1000,10000] [--steps check,plan,push,replan,verify] [--sparse-gb 20]

Makes datasets of so many sessions with ten files each (five tiny images with sidecars), runs the installed command in a
process of its own for every step, against an archive in another process, and prints for each step seconds, requests,
peak memory of the command, processor time of command and archive, and by how much each grew from size to size: 10.0 x
is linear where sessions grow tenfold.
Then pushes one sparse file and prints memory, and what was written to the folder of temporary files.
Run by hand; timings are no tests.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from archive import ARCHIVE, Peer
from loopback import loopback
from plan import FILES, SCANS, make_source

STEPS = ("check", "plan", "push", "replan", "verify", "runs")
COMMANDS = {
    "check": ("check", "{source}"),
    "plan": ("plan", "{source}", "-p", "SCALE"),
    "push": ("push", "{source}", "-p", "SCALE", "-y"),
    "replan": ("plan", "{source}", "-p", "SCALE"),
    "verify": ("verify", "latest"),
    "runs": ("runs",),
}
GOAL_MB = 300


def high_water_mb(pid):
    """The most memory that a process has had, 0 when it has gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return int((status.partition("VmHWM:")[2].split() or ["0"])[0]) / 1024


def cpu_s(peer):
    """Processor time of the archive so far; unlike seconds it does not depend on what else the computer does."""
    fields = Path(f"/proc/{peer.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Bench:
    """One size: its dataset, its archive behind a counting proxy, its home."""

    def __init__(self, top, url):
        self.top, self.source, self.state = top, top / "in", top / "state"
        self.temporary = top / "tmp"
        self.temporary.mkdir(parents=True)
        script = Path(sys.executable).with_name("xnatferry")
        self.program = [script]
        self.cpu_s = 0.0
        kept = {name: value for name, value in os.environ.items() if not name.startswith("XNAT")}
        self.environment = kept | {
            "XNAT_HOST": url,
            "XNAT_USER": "admin",
            "XNAT_PASS": "admin-secret",
            "XNATFERRY_STATE": str(self.state),
            "TMPDIR": str(self.temporary),
        }

    def run(self, *arguments):
        """Seconds, peak memory in MB and most bytes in the temporary folder of one command."""
        log = self.top / "log"
        begun, memory, most = time.perf_counter(), 0.0, 0
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [*self.program, *map(str, arguments)], stdout=stream, stderr=stream, env=self.environment
            )
            while process.poll() is None:
                # Not ru_maxrss: it begins with the memory of the process that forked.
                memory = max(memory, high_water_mb(process.pid))
                most = max(most, sum(path.stat().st_blocks * 512 for path in self.temporary.rglob("*")))
                time.sleep(0.02)
        seconds = time.perf_counter() - begun
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpu_s = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
        if process.returncode:
            sys.exit(f"{arguments}: exit code {process.returncode}\n{log.read_text()[-2000:]}")
        return seconds, memory, most

    @property
    def journal_mb(self):
        return sum(path.stat().st_size for path in self.state.rglob("*") if path.is_file()) / 1e6


def one_size(sessions, steps, top):
    """The figures of every step: ``step -> {seconds, requests, memory}``."""
    found = {}
    with Peer(ARCHIVE, top / "archive") as peer, loopback(peer.address.geturl()) as proxy:
        bench = Bench(top / "work", proxy.url)
        make_source(bench.source, sessions)
        for step in steps:
            before, busy = proxy.total, cpu_s(peer)
            words = [word.format(source=bench.source) for word in COMMANDS[step]]
            seconds, memory, _ = bench.run(*words)
            found[step] = {"seconds": seconds, "requests": proxy.total - before, "memory MB": memory}
            found[step] |= {"cpu s": bench.cpu_s, "archive's cpu s": cpu_s(peer) - busy}
            print(
                f"{sessions:>7,} {step:<8} {seconds:>8.1f} s {found[step]['requests']:>9,} requests {memory:>6.0f} MB "
                f"{bench.cpu_s:>7.1f} s of cpu, {cpu_s(peer) - busy:.1f} s in the archive",
                flush=True,
            )
        found["journal"] = {"MB": bench.journal_mb}
        print(f"{sessions:>7,} journal  {bench.journal_mb:>8.2f} MB; the archive's process {peer.rss_mib():.0f} MB")
    return found


def growth(sizes, figures):
    """By how much each figure grew from size to size."""
    for small, large in pairwise(sizes):
        print(f"\nfrom {small:,} to {large:,} sessions ({large / small:.1f} x)")
        for step, values in figures[large].items():
            parts = []
            for name, value in values.items():
                before = figures[small][step][name]
                parts.append(f"{name} {value / before:.1f} x" if before else f"{name} {value:.0f}")
            memory = values.get("memory MB", 0)
            over = f"   over {GOAL_MB} MB" if memory > GOAL_MB else ""
            print(f"  {step:<8} {'   '.join(parts)}{over}")


def sparse(gigabytes, top):
    """One file that is nothing but a hole."""
    with Peer(ARCHIVE, top / "archive") as peer:
        bench = Bench(top / "work", peer.address.geturl())
        path = bench.source / "s1" / "large.bin"
        path.parent.mkdir(parents=True)
        with path.open("wb") as stream:
            stream.truncate(gigabytes * 10**9)
        table = path.with_name("places.csv")
        table.write_text(f"file,subject,session,resource\n{path.name},s1,s1_MR1,RAW\n")
        seconds, memory, temporary = bench.run("push", table, "-p", "SCALE", "-y")
        ended = subprocess.run(
            [*bench.program, "runs", "latest", "--json"], env=bench.environment, capture_output=True, check=True
        )
        proofs = [r["proof"] for r in map(json.loads, ended.stdout.splitlines()) if r.get("record") == "verdict"]
        print(
            f"\n{gigabytes} GB in one sparse file: {seconds:.0f} s, {gigabytes * 1000 / seconds:.0f} MB/s, "
            f"{memory:.0f} MB of memory (goal 200), {temporary / 1e6:.1f} MB of temporary disk, {proofs}; "
            f"the archive's process {peer.rss_mib():.0f} MB"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", default="100,1000,10000", help="sessions, separated by commas; empty for none")
    parser.add_argument("--steps", default=",".join(STEPS))
    parser.add_argument("--sparse-gb", type=int, default=20, help="size of the sparse file; 0 leaves it out")
    parser.add_argument("--folder", type=Path, help="where to work; the sparse file is stored there in full")
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",") if size]
    figures = {}
    for size in sizes:
        print(f"        {size:,} sessions, {size * SCANS * FILES:,} files")
        with tempfile.TemporaryDirectory(dir=options.folder, prefix="scale-") as name:
            figures[size] = one_size(size, options.steps.split(","), Path(name))
    growth(sizes, figures)
    if options.sparse_gb:
        with tempfile.TemporaryDirectory(dir=options.folder, prefix="scale-") as name:
            sparse(options.sparse_gb, Path(name))


if __name__ == "__main__":
    main()
