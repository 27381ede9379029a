"""Mutation pass over the files that a training step depends on: is every line held by a test?

    python tests/tools/mutate.py [FILE ...] [--only 12,40]

Each file is changed in one place at a time, in a copy of the tree, and its tests are run until the
first one fails. A change that fails none has survived: write the test that would have caught it, or
explain it in ``mutants.md``. torch is imported once; each mutant is a fork of that process.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from compileall import compile_dir
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from py_compile import PycInvalidationMode

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # a process with threads does not fork well
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # pytest wants to be first to load a plugin

ROOT = Path(__file__).parents[2]
TRAINING, PRECISION = "tests/training/test_{}.py", "tests/precision/test_{}.py"
TESTS: dict[str, list[str]] = {
    "halftrack/training/loop.py": [
        *(TRAINING.format(name) for name in ("loop", "skipped", "log", "run")),
        *("-k", "not process"),  # of which each starts a Python of its own
    ],
    "halftrack/training/learner.py": [TRAINING.format(name) for name in ("learner", "loop")],
    "halftrack/precision/step.py": [PRECISION.format("step")],
    "halftrack/precision/loss_scale.py": [PRECISION.format(n) for n in ("loss_scale", "step")],
    "halftrack/precision/policy.py": [PRECISION.format("policy")],
}
LARGE = {
    *("PIL", "av", "hypothesis", "matplotlib", "numpy", "pycocotools", "pydantic", "rich"),
    *("safetensors", "scipy", "sympy", "torch", "torchvision", "trackeval"),
}
"""Packages that are loaded once for all mutants."""
HOW = ["-q", "-x", "-p", "no:cacheprovider", "--basetemp=.pytest"]
SECONDS = 120.0
"""A mutant that runs longer has failed: no set of tests takes a tenth of that."""
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.RShift: ast.LShift,
}
Change = Callable[[ast.AST], ast.AST | list[ast.stmt]]


@dataclass(frozen=True)
class Mutant:
    """One change of a file."""

    line: int
    what: str
    source: str


def mutants(text: str) -> list[Mutant]:
    """All changed versions of a module."""
    tree = ast.parse(text)
    found = []
    for path, node in places(tree):
        for what, change in changes(node):
            mutated = copy.deepcopy(tree)
            replace(mutated, path, change)
            source = ast.unparse(ast.fix_missing_locations(mutated))
            found.append(Mutant(line=node.lineno, what=what, source=source))
    return found


Way = tuple[tuple[str, int | None], ...]


def places(node: ast.AST, path: Way = ()) -> Iterator[tuple[Way, ast.AST]]:
    """Every statement and expression that runs, with the way to it from the root."""
    if isinstance(node, ast.Raise | ast.Import | ast.ImportFrom):
        yield path, node  # what an error says is for people
        return
    if isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(b) for b in node.bases):
        return
    if hasattr(node, "lineno"):
        yield path, node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases", "type_params"):
            continue
        if isinstance(value, ast.AST):
            yield from places(value, (*path, (name, None)))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, ast.AST):
                    yield from places(item, (*path, (name, index)))


def changes(node: ast.AST) -> Iterator[tuple[str, Change]]:
    """The ways to change one node, with a word for each."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant | ast.Yield):
        return  # docstrings, and what a context manager needs to be one
    if isinstance(node, ast.Expr | ast.Assign | ast.AugAssign | ast.Raise | ast.Continue):
        is_all = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        if not is_all:
            yield f"drop: {shown(node)}", lambda _: ast.Pass()
    if isinstance(node, ast.Return) and node.value is not None:
        yield f"return None: {shown(node)}", lambda n: ast.Return(ast.Constant(None))
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield f"negate: {shown(node.test)}", negated
    if isinstance(node, ast.With):
        yield f"without: {shown(node)}", lambda n: n.body
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield f"compare: {shown(node)}", compared
    if isinstance(node, ast.BoolOp):
        yield f"and/or: {shown(node)}", joined
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in OPERATORS:
        yield f"operator: {shown(node)}", computed
    if isinstance(node, ast.UnaryOp):
        yield f"unary: {shown(node)}", lambda n: n.operand
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        yield f"constant: {node.value}", swapped


def shown(node: ast.AST) -> str:
    return ast.unparse(node).splitlines()[0][:80]


def negated(node: ast.AST) -> ast.AST:
    node.test = ast.UnaryOp(ast.Not(), node.test)
    return node


def compared(node: ast.AST) -> ast.AST:
    node.ops[0] = COMPARISONS[type(node.ops[0])]()
    return node


def joined(node: ast.AST) -> ast.AST:
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    return node


def computed(node: ast.AST) -> ast.AST:
    node.op = OPERATORS[type(node.op)]()
    return node


def swapped(node: ast.AST) -> ast.AST:
    value = node.value
    return ast.Constant(not value if isinstance(value, bool) else value + 1)


def replace(tree: ast.AST, path: Way, change: Change) -> None:
    """Put the changed node in the place of the node at a path."""
    holder = tree
    for name, index in path[:-1]:
        value = getattr(holder, name)
        holder = value if index is None else value[index]
    name, index = path[-1]
    value = getattr(holder, name)
    if index is None:
        setattr(holder, name, change(value))
        return
    new = change(value[index])
    value[index : index + 1] = new if isinstance(new, list) else [new]


def fails(tests: list[str], *, loaded: Path | None = None) -> bool:
    """Whether a test fails, in a fork; True also of one that takes too long.

    Args:
        tests: arguments of pytest.
        loaded: a file that gets the names of the large modules they load.
    """
    child = os.fork()
    if not child:
        answer = 1
        try:
            os.setsid()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            answer = int(pytest.main([*HOW, *tests]))
            if loaded is not None:
                large = [name for name in sys.modules if name.partition(".")[0] in LARGE]
                loaded.write_text("\n".join(large))
        finally:
            os._exit(answer)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status != 0
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(f"out of time after {SECONDS:.0f} s: counts as killed", flush=True)
    return True


def load_once(tests: list[str]) -> bool:
    """Load the large packages of the tests, so that no mutant does; False if the tests fail."""
    with tempfile.NamedTemporaryFile() as file:
        if fails(tests, loaded=Path(file.name)):
            return False
        for name in Path(file.name).read_text().split():
            with suppress(ImportError):
                importlib.import_module(name)
    return not fails(tests)


def survivors(file: str, only: set[int]) -> tuple[int, list[tuple[int, Mutant]]]:
    """How many mutants a file has, and those that no test fails on, with their numbers."""
    path, tests = Path(file), TESTS[file]
    text = path.read_text()
    if not load_once(tests):
        raise SystemExit(f"{file}: its tests fail as it is: pytest {' '.join(tests)}")
    made = mutants(text)
    left = []
    for number, mutant in enumerate(made):
        if only and number not in only:
            continue
        path.write_text(mutant.source)
        if not fails(tests):
            left.append((number, mutant))
            print(f"{file}:{mutant.line} survives [{number}] {mutant.what}", flush=True)
    path.write_text(text)
    return len(made), left


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", default=list(TESTS), help=", ".join(TESTS))
    parser.add_argument("--only", default="", help="numbers of the mutants to try, with commas")
    asked = parser.parse_args()
    only = {int(number) for number in asked.only.split(",") if number}
    with tempfile.TemporaryDirectory() as folder:
        left_out = shutil.ignore_patterns("__pycache__", ".*", "docs", "runs", "*.npz")
        shutil.copytree(ROOT, folder, ignore=left_out, dirs_exist_ok=True)
        os.chdir(folder)
        sys.path.insert(0, folder)
        # By its hash: a mutant of the same second and size must not meet its elder's bytecode.
        compile_dir("halftrack", quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
        for file in asked.files:
            start = time.monotonic()
            made, left = survivors(file, only)
            tried = len(only) or made
            print(
                f"{file}: {made} mutants, {tried} tried, {tried - len(left)} killed, "
                f"{len(left)} survived, {time.monotonic() - start:.0f} s",
                flush=True,
            )
        os.chdir(ROOT)


if __name__ == "__main__":
    main()
