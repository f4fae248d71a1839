"""Which packages may import which, how long a module may be, and which module names are not allowed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "xnatferry"

#: What each package may import from the others.
MAY_IMPORT = {
    "errors": set(),
    "durable": set(),
    "retry": set(),
    "wording": set(),
    "__init__": {"api", "client", "console", "xnat"},
    "__main__": {"cli"},
    "xnat": set(),
    "freesurfer": set(),
    "samples": set(),
    "sources": {"xnat", "checks"},
    "checks": {"xnat", "sources", "freesurfer"},
    "planning": {"xnat", "sources", "checks"},
    "transfer": {"xnat", "sources", "planning"},  # starts xnatferry.pictures.worker as a process
    "client": {"xnat"},
    "server": {"xnat", "pictures"},
    "pictures": {"sources", "checks"},
    "results": {"xnat", "freesurfer", "sources", "checks", "planning", "transfer", "client", "pictures"},
    "reports": {"xnat", "sources", "checks", "planning", "transfer", "results", "pictures"},
    "selftest": {"xnat", "sources", "planning", "transfer", "client", "results", "pipeline"},
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
        "selftest",
    },
    "testing": {"server"},
}
#: Imported only inside functions, so that other commands start fast.
LAZY = {("cli", "server")}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "core", "misc"}
#: Only one module uses the HTTP library, so that it can be replaced.
ONLY_IN = {"httpx2": {"client/http.py"}}
#: Single modules that a package may import from another one.
ONLY_MODULES = {
    ("pictures", "sources"): {"sources.nifti_header"},
    ("pictures", "checks"): {"checks.surfaces"},
}
LONGEST_MODULE = 400
#: Importable from every package.
OPEN = {"errors", "durable", "retry", "wording", "__version__"}
#: Packages of one layer that import each other.
PEERS = {frozenset({"sources", "checks"})}


def modules() -> list[Path]:
    return sorted(SRC.rglob("*.py"))


def package_of(path: Path) -> str:
    return path.relative_to(SRC).with_suffix("").parts[0]


def imports(code: str) -> list[tuple[str, bool]]:
    """Names imported by a module, and whether at its top (imports for typing only count too)."""
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


def imported_packages(here: str, code: str) -> set[str]:
    """The other packages that a module of the package *here* imports from."""
    names = (name for name, _ in imports(code) if name.startswith("xnatferry."))
    return {name.split(".")[1] for name in names} - {here, *OPEN}


def forbidden(module: str, code: str) -> list[str]:
    """Imports of *module* (``client/http.py``) that are not allowed."""
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
def test_a_package_imports_only_what_it_may(path: Path) -> None:
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


def test_every_package_is_listed_and_every_allowed_import_is_used() -> None:
    used: dict[str, set[str]] = {package_of(path): set() for path in modules()}
    for path in modules():
        used[package_of(path)] |= imported_packages(package_of(path), path.read_text(encoding="utf-8"))
    allowed = {here: set(there) for here, there in MAY_IMPORT.items()}
    for here, there in LAZY:
        allowed[here].add(there)
    assert used == allowed
    for (here, there), chosen in ONLY_MODULES.items():
        assert chosen <= {
            name.removeprefix("xnatferry.")
            for path in modules()
            if package_of(path) == here
            for name, _ in imports(path.read_text(encoding="utf-8"))
        }, f"{here} to {there}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SRC)))
def test_modules_stay_readable(path: Path) -> None:
    assert not FORBIDDEN_NAMES & set(path.relative_to(SRC).with_suffix("").parts), (
        f"{path}: the name does not describe its content"
    )
    length = len(path.read_text(encoding="utf-8").splitlines())
    assert length <= LONGEST_MODULE, f"{path} has {length} lines: split it by concept"


def test_only_the_command_line_reads_the_environment() -> None:
    for path in modules():
        if package_of(path) == "cli":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            reads = isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb"}
            assert not reads, f"{path}:{node.lineno} reads the environment; only the command line may"


def private_imports(code: str) -> list[str]:
    """Names with a leading underscore that a module imports from another one."""
    return [
        alias.name
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("xnatferry")
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]


def test_a_name_with_an_underscore_is_used_in_its_module_only() -> None:
    assert private_imports("from xnatferry.retry import _PAUSE_S, first_pause") == ["_PAUSE_S"]
    for path in modules():
        assert private_imports(path.read_text(encoding="utf-8")) == [], path


def enumerations() -> set[str]:
    return {
        node.name
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base).endswith("Enum") for base in node.bases)
    }


def compared_by_value(code: str, enums: set[str]) -> list[str]:
    """Comparisons with a member of an enumeration that use ``==`` or ``!=``."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Compare) and any(isinstance(how, ast.Eq | ast.NotEq) for how in node.ops)
        for side in (node.left, *node.comparators)
        if isinstance(side, ast.Attribute) and isinstance(side.value, ast.Name) and side.value.id in enums
    ]


def test_members_of_enumerations_are_compared_with_is() -> None:
    """A text from outside becomes a member first, so one way of comparing is enough."""
    enums = enumerations()
    assert {"OnConflict", "Level", "Content"} <= enums
    assert compared_by_value("a is Level.SCAN or a == Level.SCAN", enums) == ["a == Level.SCAN"]
    for path in modules():
        assert compared_by_value(path.read_text(encoding="utf-8"), enums) == [], f"{path}: use 'is'"


def layers_of(page: str) -> list[list[str]]:
    """The layers in the diagram of docs/design.md, top layer first."""
    block = page.split("<!-- layers: checked by tests/test_architecture.py -->", 1)[1].split("```", 2)[1]
    rows = (line.partition("|")[0].split() for line in block.splitlines()[1:])
    return [row for row in rows if row]


def wrong_imports(layers: list[list[str]], imported: dict[str, set[str]]) -> list[str]:
    """Imports that do not point to a lower layer."""
    height = {package: -number for number, row in enumerate(layers) for package in row}
    return [
        f"{here} -> {there}"
        for here, others in imported.items()
        for there in others
        if height[there] >= height[here] and frozenset({here, there}) not in PEERS
    ]


def test_the_diagram_of_the_layers_is_true() -> None:
    layers = layers_of((ROOT / "docs" / "design.md").read_text(encoding="utf-8"))
    imported: dict[str, set[str]] = {
        here: set(there) for here, there in MAY_IMPORT.items() if here[0] != "_" and here not in OPEN
    }
    for here, there in LAZY:
        imported[here].add(there)
    drawn = [package for row in layers for package in row]
    assert sorted(drawn) == sorted(imported), "docs/design.md, diagram of the layers"
    assert wrong_imports(layers, imported) == []
    assert wrong_imports(layers[::-1], imported)
