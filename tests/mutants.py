"""Changes one small thing in a module, runs the tests that concern it, and lists the changes that no test notices.

    make mutants                                the modules of MODULES, a sample of each
    make mutants MODULE=planning/undo_plan           one module (or several, or a package: MODULE=transfer)
    make mutants MODULE=planning/undo_plan SAMPLE=0  all of its changes

mutmut and cosmic-ray were tried. Neither takes a statement away, so neither asks what a missing fsync would break;
cosmic-ray has one list of tests for all modules and writes into the source tree; mutmut changes every text of a message.
Here the changed module lies in a copy of the sources, which PYTHONPATH puts before the real ones for commands as well.
Survivors that are no loss stand with their reasons in mutants.md, and are not shown again.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hypothesis.strategies  # noqa: F401  # imported once, before the forks
import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src" / "xnatferry"
#: The module, and the tests that concern it, the fastest first. A change has survived when all of these pass.
MODULES = {
    "planning/undo_plan": "unit/planning/test_undo.py",
    "planning/plan_validation": "unit/planning/test_recheck.py",
    "planning/plan_file": "unit/planning/test_plan_file.py",
    "planning/scan_numbers": "unit/planning/test_scan_numbers.py",
    "planning/reconcile": "unit/planning/test_reconcile.py unit/planning/test_snapshots.py",
    "planning/plan": "unit/planning/test_reconcile.py",
    "planning/mapping": "unit/planning/test_mapping.py",
    "planning/placement": "unit/planning/test_mapping.py unit/planning/test_reconcile.py",
    "planning/bids_mapping": "unit/planning/test_bids_mapping.py",
    "planning/session_matching": "unit/planning/test_mapping.py unit/planning/test_reconcile.py",
    "planning/collisions": "unit/planning/test_reconcile.py unit/planning/test_mapping.py",
    "planning/snapshot_steps": "unit/planning/test_snapshots.py",
    "planning/shards": "unit/planning/test_shares.py",
    "planning/remote_state": "unit/planning/test_recheck.py unit/planning/test_reconcile.py",
    "transfer/verify": "faults/test_verify.py",
    "transfer/resource_sender": "faults/test_sending.py faults/test_push.py faults/test_engine_faults.py",
    "transfer/journal": "unit/transfer/test_journal.py unit/transfer/test_runs.py",
    "transfer/undo_run": "faults/test_undoing.py",
    "transfer/backup": "faults/test_backup.py",
    "transfer/engine": "faults/test_push.py faults/test_engine_faults.py",
    "transfer/request_bodies": "faults/test_push.py faults/test_engine_faults.py",
    "transfer/remote_listing": "faults/test_push.py e2e/test_push.py",
    "transfer/runs": "unit/transfer/test_runs.py e2e/test_undo.py",
    "transfer/payload": "unit/transfer/test_content.py",
    "transfer/task_pool": "unit/transfer/test_flow.py",
    "transfer/rate_limit": "unit/transfer/test_parcels_and_pace.py",
    "transfer/batching": "unit/transfer/test_parcels_and_pace.py",
    "client/requester": "faults/test_login.py faults/test_wire.py faults/test_pull.py",
    "client/login": "faults/test_login.py",
    "client/http": "faults/test_wire.py",
    "client/upload_confirmation": "faults/test_steps.py",
    "client/client": "faults/test_steps.py",
    "client/downloads": "faults/test_pull.py faults/test_remote.py",
    "client/upload_requests": "faults/test_remote.py faults/test_wire.py",
    "client/remote": "faults/test_remote.py",
    "client/responses": "unit/client/test_answers.py",
    "client/session_documents": "unit/client/test_documents.py",
    "client/listings": "unit/client/test_listings.py",
    "client/local_content": "unit/client/test_local.py",
    "client/settings": "unit/client/test_settings.py",
    "results/pull_run": "faults/test_pull.py",
    "server/blob_store": "unit/server/test_vault.py",
    "server/redo_log": "unit/server/test_redo_log.py e2e/test_upgrade.py",
    "server/database": "unit/server/test_database.py",
    "server/durable": "unit/server/test_durable.py unit/server/test_vault.py",
    "server/file_store": "unit/server/test_redo_log.py contract/test_uploads.py contract/test_files_resources.py",
    "server/resources": "contract/test_files_resources.py contract/test_uploads.py",
}
EXPLAINED = Path(__file__).with_suffix(".md")
OTHER = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
NAMES = {"any": "all", "all": "any", "min": "max", "max": "min", "sorted": "list"}
SHRINKS = ast.Add | ast.Sub | ast.BitOr | ast.BitAnd | ast.Mult
PASS = ast.Pass()


def without(node: ast.AST, field: str, index: int) -> ast.AST:
    """*node* with one element of a list less."""
    less = copy.copy(node)
    setattr(less, field, [one for number, one in enumerate(getattr(node, field)) if number != index])
    return less


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """What can stand in the place of *node*: a statement or an expression that does a little less, or the contrary."""
    match node:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="log")))):
            return
        case (
            ast.Expr(value=ast.Call() | ast.YieldFrom()) | ast.Raise() | ast.AugAssign() | ast.Break() | ast.Continue()
        ):
            yield PASS
        case ast.Compare(ops=[operator]) if type(operator) in OTHER:
            yield ast.Compare(node.left, [OTHER[type(operator)]()], node.comparators)
        case ast.BoolOp(values=[first, second]):
            yield from (first, second)
        case ast.BoolOp():
            yield from (without(node, "values", index) for index in range(len(node.values)))
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int()):
            yield ast.Constant(node.value + 1)
        case ast.BinOp() if isinstance(node.op, SHRINKS):
            yield node.left
        case ast.IfExp():
            yield from (node.body, node.orelse)
        case ast.Call():
            yield from (without(node, "keywords", index) for index in range(len(node.keywords)))
            if isinstance(node.func, ast.Name) and node.func.id in NAMES and not node.keywords:
                yield ast.Call(ast.Name(NAMES[node.func.id]), node.args, [])
        case ast.Set() if len(node.elts) > 1:
            yield from (without(node, "elts", index) for index in range(len(node.elts)))
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            for number, part in enumerate(node.generators):
                for index in range(len(part.ifs)):
                    less = copy.copy(node)
                    less.generators = list(node.generators)
                    less.generators[number] = without(part, "ifs", index)
                    yield less
    for field in ("test",) if isinstance(node, ast.If | ast.IfExp | ast.While) else ():
        if isinstance(getattr(node, field), ast.Name | ast.Attribute | ast.Call | ast.NamedExpr):
            less = copy.copy(node)
            setattr(less, field, ast.UnaryOp(ast.Not(), getattr(node, field)))
            yield less


def places(node: ast.AST) -> Iterator[ast.AST]:
    """Every node that is worth a change: no annotations, decorators, messages, docstrings, imports for types."""
    for field, value in ast.iter_fields(node):
        if field in {"annotation", "returns", "decorator_list", "type_comment"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            unseen = ast.JoinedStr | ast.Import | ast.ImportFrom | ast.Assert
            if not isinstance(child, ast.AST) or isinstance(child, unseen):
                continue
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Raise) and ast.unparse(child) == "raise AssertionError":
                continue
            if not isinstance(child, ast.expr_context | ast.boolop | ast.operator | ast.cmpop | ast.unaryop):
                yield child
            yield from places(child)


def mutants(code: str) -> list[tuple[int, str, str, str]]:
    """All changes of a module: line, what stands there, what stands there instead, and the whole changed text."""
    found: dict[str, tuple[int, str, str, str]] = {}
    data = code.encode()
    starts = [0]
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in places(ast.parse(code)):
        if not hasattr(node, "lineno"):
            continue
        start, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        first, last = starts[node.lineno - 1], starts[node.end_lineno]
        for changed in changes(node):
            new = ast.unparse(ast.fix_missing_locations(changed)).replace("\n", "\n" + " " * node.col_offset)
            new = (new if isinstance(node, ast.stmt) else f"({new})").encode()
            text = (data[:start] + new + data[end:]).decode()
            then = data[first:start] + new + data[end:last]
            found.setdefault(text, (node.lineno, shown(data[first:last]), shown(then), text))
    return list(found.values())


def shown(code: bytes) -> str:
    """Lines of code as one line."""
    return re.sub(r"\s+", " ", code.decode().strip())


def passes(tests: list[str], copied: Path, limit_s: float | None) -> bool | None:
    """Whether *tests* pass with the sources in *copied*; None when they take too long. A fork, as imports are slow."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os.environ["PYTHONPATH"] = str(copied)
        sys.path.insert(0, str(copied))
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        try:
            code = pytest.main(
                ["-x", "-q", "-p", "no:cacheprovider", "-p", "pytest_timeout", "--timeout", "60", *tests]
            )
        except BaseException:  # noqa: BLE001  # a changed module may raise anything; this is a copy of the whole program
            code = 1
        os._exit(code)
    deadline = None if limit_s is None else time.monotonic() + limit_s
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if deadline is not None and time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.01)
    return os.waitstatus_to_exitcode(ended[1]) == 0


def run(module: str, copied: Path, sample: int, seed: int, deadline: float) -> Counter[str]:
    """Make the changes of one module and print those that survive; returns how many came to which end."""
    source, target = SOURCES / f"{module}.py", copied / "xnatferry" / f"{module}.py"
    tests = [str(ROOT / "tests" / test) for test in MODULES[module].split()]
    began = time.monotonic()
    if not passes(tests, copied, None):
        raise SystemExit(f"{module}: its tests fail without any change: {MODULES[module]}")
    limit_s = 5 + 3 * (time.monotonic() - began)
    every = mutants(source.read_text())
    chosen = every if not sample else random.Random(seed).sample(every, min(sample, len(every)))
    explained, count = EXPLAINED.read_text(), Counter(all=len(every))
    for line, old, new, text in sorted(chosen):
        if time.monotonic() > deadline:
            break
        for stale in target.parent.glob(f"__pycache__/{target.stem}.*"):
            stale.unlink()
        target.write_text(text)
        passed = passes(tests, copied, limit_s)
        end = {True: "survived", False: "killed", None: "timeout"}[passed]
        if passed and f"`{module}` `{old}` -> `{new}`" in explained:
            end = "explained"
        count[end] += 1
        if passed and end != "explained":
            print(f"src/xnatferry/{module}.py:{line}: survived\n  - {old}\n  + {new}", flush=True)
    shutil.copyfile(source, target)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="modules or packages below src/xnatferry; all of MODULES if none")
    parser.add_argument("--sample", type=int, default=40, help="changes of each module; 0 makes all")
    parser.add_argument("--seed", type=int, default=1, help="which of them")
    parser.add_argument("--minutes", type=float, default=25, help="begin no change after this time")
    given = parser.parse_args()
    if unknown := [name for name in given.modules if not any(f"{m}/".startswith(f"{name}/") for m in MODULES)]:
        parser.error(f"no tests are named for {', '.join(unknown)}; MODULES in {__file__} names them")
    chosen = [m for m in MODULES if not given.modules or any(f"{m}/".startswith(f"{n}/") for n in given.modules)]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the copy goes, however this ends
    os.environ["XNATFERRY_MUTANTS"] = "1"
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # most of a short test's time
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    deadline, total = time.monotonic() + 60 * given.minutes, Counter()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        shutil.copytree(SOURCES, Path(folder) / "xnatferry")
        for module in chosen:
            count = run(module, Path(folder), given.sample, given.seed, deadline)
            total += count
            made = sum(count.values()) - count["all"]
            ends = ", ".join(f"{count[end]} {end}" for end in ("killed", "timeout", "explained", "survived"))
            print(f"{module}: {made} of {count['all']} changes: {ends}", flush=True)
    print(f"together: {total}")
    sys.exit(bool(total["survived"]))


if __name__ == "__main__":
    main()
