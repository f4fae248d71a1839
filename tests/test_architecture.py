"""The house has walls: who may import whom, how long a module may grow, and which words its rooms may not bear."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "xnatferry"

#: Open to all.
OPEN = {"errors", "durable", "__version__"}
#: What each room may import from the others.
MAY_IMPORT = {
    "errors": set(),
    "durable": set(),
    "__init__": {"api", "client", "console", "xnat"},
    "__main__": {"cli"},
    "xnat": set(),
    "freesurfer": set(),
    "samples": set(),
    "sources": {"xnat", "checks"},
    "checks": {"xnat", "sources", "freesurfer"},
    "planning": {"xnat", "sources", "checks"},
    "transfer": {"xnat", "sources", "planning"},  # draws in another process: xnatferry.pictures.worker
    "client": {"xnat"},
    "server": {"xnat", "pictures"},
    "pictures": {"sources", "checks"},
    "results": {"xnat", "freesurfer", "sources", "checks", "planning", "transfer", "client", "pictures"},
    "reports": {"xnat", "sources", "checks", "planning", "transfer", "results", "pictures", "console"},
    "pipeline": {"sources", "planning", "transfer", "client", "results"},
    "api": {"pipeline", "sources", "planning", "transfer", "results"},
    "cluster": {"xnat", "planning", "transfer", "client", "pipeline"},
    "console": {"xnat", "sources", "planning", "transfer", "results"},
    "cli": {
        "xnat",
        "sources",
        "planning",
        "transfer",
        "client",
        "results",
        "api",
        "pipeline",
        "cluster",
        "console",
        "reports",
        "samples",
    },
    "testing": {"server"},
}
#: The command line imports the archive only to run it, inside the functions that do.
LAZY = {("cli", "server")}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "core", "misc"}
#: httpx2 stays behind one wall, so that another HTTP library is one module's work.
ONLY_IN = {"httpx2": {"client/http.py"}}
#: Headers of images and of MGH volumes are all that the pictures know of the rooms that read disks.
ONLY_MODULES = {
    ("pictures", "sources"): {"sources.nifti_header"},
    ("pictures", "checks"): {"checks.surfaces"},
    ("reports", "console"): {"console.wording"},  # numbers as people read them
}
LONGEST_MODULE = 400


def modules() -> list[Path]:
    return sorted(SRC.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(SRC).with_suffix("").parts[0]


def imports(code: str) -> list[tuple[str, bool]]:
    """Names imported by a module, and whether at its top (typing-only imports count: they are knowledge too)."""
    tree = ast.parse(code)
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
            base = f"{'.' * node.level}{node.module or ''}"
            found += [
                (f"{base}.{alias.name}" if base == "xnatferry" else base, id(node) not in inner) for alias in node.names
            ]
    return found


def rooms_of(here: str, code: str) -> set[str]:
    """The other rooms that a module of the room *here* imports from."""
    names = (name for name, _ in imports(code) if name.startswith("xnatferry."))
    return {name.split(".")[1] for name in names} - {here, *OPEN}


def forbidden(module: str, code: str) -> list[str]:
    """What *module* (``client/http.py``) imports and may not."""
    here = Path(module).with_suffix("").parts[0]
    found = []
    for name, at_top in imports(code):
        package, _, rest = name.partition(".")
        there = rest.partition(".")[0]
        if package != "xnatferry":
            if not package or module not in ONLY_IN.get(package, {module}):
                found.append(name)
        elif there in {here, *OPEN}:
            continue
        elif (here, there) in LAZY:
            found += [f"{name} at its top"] if at_top else []
        elif there not in MAY_IMPORT[here] or rest not in ONLY_MODULES.get((here, there), {rest}):
            found.append(name)
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SRC)))
def test_a_room_imports_only_what_it_may(path: Path) -> None:
    assert forbidden(path.relative_to(SRC).as_posix(), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("client/remote.py", "from xnatferry.planning.plan import Plan"),
        ("server/app.py", "import xnatferry.client.http"),
        ("planning/plan.py", "def now():\n    from xnatferry.client import remote"),
        ("xnat/model.py", "if TYPE_CHECKING:\n    from xnatferry import sources"),
        ("cli/serve.py", "from xnatferry.server.app import ArchiveApp"),
        ("transfer/engine.py", "import httpx2"),
        ("pictures/grid.py", "from xnatferry.sources.nifti import discover_nifti"),
        ("xnat/model.py", "from . import labels"),
    ],
)
def test_a_forbidden_import_is_found(module: str, code: str) -> None:
    assert len(forbidden(module, code)) == 1


def test_every_room_is_on_the_map_and_every_door_is_used() -> None:
    used: dict[str, set[str]] = {room(path): set() for path in modules()}
    for path in modules():
        used[room(path)] |= rooms_of(room(path), path.read_text(encoding="utf-8"))
    doors = {here: set(there) for here, there in MAY_IMPORT.items()}
    for here, there in LAZY:
        doors[here].add(there)
    assert used == doors
    for (here, there), chosen in ONLY_MODULES.items():
        assert chosen <= {
            name.removeprefix("xnatferry.")
            for path in modules()
            if room(path) == here
            for name, _ in imports(path.read_text(encoding="utf-8"))
        }, f"{here} to {there}"


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
