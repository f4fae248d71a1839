"""The house has walls: who may import whom, how long a module may grow, and which words its rooms may not bear."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "xnatferry"

#: What each room may import from the others; `errors` is open to all.
MAY_IMPORT = {
    "errors": set(),
    "__init__": {"api", "client", "console", "xnat", "sources", "planning", "transfer"},
    "__main__": {"cli"},
    "xnat": set(),
    "sources": {"xnat", "checks"},
    "checks": {"xnat", "sources", "freesurfer"},
    "freesurfer": set(),
    "samples": set(),
    "planning": {"xnat", "sources", "checks"},
    "transfer": {"xnat", "sources", "checks", "planning"},  # draws in another process: xnatferry.pictures.worker
    "client": {"xnat"},
    "server": {"xnat", "pictures", "reports"},
    "reports": {
        "xnat",
        "freesurfer",
        "sources",
        "checks",
        "planning",
        "transfer",
        "results",
        "pictures",
        "console",
    },
    "pictures": {"sources", "checks"},
    "testing": {"server"},
    "results": {"xnat", "freesurfer", "sources", "checks", "planning", "transfer", "client", "pictures"},
    "crossing": {"xnat", "sources", "checks", "planning", "transfer", "client", "results"},
    "api": {"xnat", "sources", "checks", "planning", "transfer", "client", "results", "crossing"},
    "cluster": {"xnat", "planning", "transfer", "client", "crossing"},
    "console": {"xnat", "sources", "checks", "planning", "transfer", "api", "results"},
    "cli": {
        "xnat",
        "sources",
        "checks",
        "planning",
        "transfer",
        "client",
        "results",
        "api",
        "crossing",
        "cluster",
        "console",
        "reports",
        "samples",
    },
}
#: The command line imports the archive only to run it, inside the functions that do.
LAZY = {("cli", "server")}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "core", "misc"}
#: httpx2 stays behind one wall, so that another HTTP library is one module's work.
ONLY_IN = {"httpx2": {"client/http.py"}}
#: Headers of images and of MGH volumes are all that the pictures know of the rooms that read disks.
ONLY_MODULES = {
    ("pictures", "sources"): {"sources.header"},
    ("pictures", "checks"): {"checks.surfaces"},
    ("reports", "console"): {"console.wording"},  # numbers as people read them
    ("server", "reports"): {"reports.page"},  # the look of pages, and nothing that reads a disk
}
LONGEST_MODULE = 480


def modules() -> list[Path]:
    return sorted(SRC.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(SRC).with_suffix("").parts[0]


def imports(path: Path) -> list[tuple[str, bool]]:
    """Names imported by a module, and whether at its top (typing-only imports count: they are knowledge too)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in inner) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            base = node.module or ""
            found += [
                (f"{base}.{alias.name}" if base == "xnatferry" else base, id(node) not in inner) for alias in node.names
            ]
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SRC)))
def test_a_room_imports_only_what_it_may(path: Path) -> None:
    here = room(path)
    for name, at_top in imports(path):
        if not name.startswith("xnatferry."):
            for package, allowed in ONLY_IN.items():
                assert name.split(".")[0] != package or str(path.relative_to(SRC)) in allowed, f"{path} imports {name}"
            continue
        there = name.split(".")[1]
        if there in {here, "errors", "__version__"}:
            continue
        if (here, there) in LAZY:
            assert not at_top, f"{path}: {name} must be imported where it is used"
            continue
        assert there in MAY_IMPORT[here], f"{path}: {here} may not import {there}"
        if (here, there) in ONLY_MODULES:
            assert name.removeprefix("xnatferry.") in ONLY_MODULES[here, there], f"{path} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SRC)))
def test_modules_stay_readable(path: Path) -> None:
    assert not FORBIDDEN_NAMES & set(path.relative_to(SRC).with_suffix("").parts), (
        f"{path}: says nothing about what is in it"
    )
    length = len(path.read_text(encoding="utf-8").splitlines())
    assert length <= LONGEST_MODULE, f"{path} has {length} lines: build a wall where the domain has one"


def test_only_the_command_line_reads_the_environment() -> None:
    for path in modules():
        if room(path) == "cli":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            reads = isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb"}
            assert not reads, f"{path}:{node.lineno} reads the environment; only the command line may"
