"""The order of the package: a module imports from lower floors, and what is heavy stays where it is needed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import mlflow_dlviz

ROOT = Path(mlflow_dlviz.__file__).parent
PACKAGE = ROOT.name

FLOORS = [
    ["visual", "nesting", "patience", "words"],
    ["ledger", "metrics", "capture", "plots", "store"],
    ["catalogue", "cluster", "reporting", "tracked"],
    ["drawing", "histories", "options", "sending", "syncing"],
    ["diagnosis", "writer"],
    ["process"],
    ["frames", "runlog"],
    ["scoring"],
    ["recorder"],
    ["callback"],
    ["hooks", "custom_loops"],
    ["autologging"],
    ["cli"],
    ["__main__"],
]
FLOOR = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}

# The public names, and the version, which the report's page states.
TOP = ("__init__",)

MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


def part_of(path: str) -> str:
    return path.split("/")[0].removesuffix(".py")


def is_typing_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def walk(nodes: list[ast.stmt], *, functions: bool = True):
    """The statements, those of functions too unless told otherwise, without what only a type checker reads."""
    for node in nodes:
        if is_typing_only(node):
            yield from walk(node.orelse, functions=functions)
            continue
        yield node
        if functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            blocks = (getattr(node, name, ()) for name in ("body", "orelse", "finalbody"))
            for block in blocks:
                yield from walk(block, functions=functions)
            for handler in getattr(node, "handlers", ()):
                yield from walk(handler.body, functions=functions)


def imported(path: str, *, functions: bool = True) -> set[str]:
    """The dotted names of what a module imports."""
    names: set[str] = set()
    for node in walk(ast.parse((ROOT / path).read_text()).body, functions=functions):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def own_parts(path: str) -> set[str]:
    names = [name.split(".") for name in imported(path)]
    return {name[1] for name in names if name[0] == PACKAGE and len(name) > 1} - {"__version__"}


def roots(path: str, **options: bool) -> set[str]:
    return {name.split(".")[0] for name in imported(path, **options)}


def test_every_part_has_its_floor():
    assert {part_of(path) for path in MODULES} - {*TOP} == {*FLOOR}


@pytest.mark.parametrize("path", [path for path in MODULES if part_of(path) not in TOP])
def test_a_module_imports_from_lower_floors_only(path):
    part = part_of(path)
    above = {other for other in own_parts(path) - {part} if FLOOR[other] >= FLOOR[part]}
    assert not above, f"{path} (floor {FLOOR[part]}) imports {sorted(above)}"


def test_the_public_names_are_imported_when_used():
    assert own_parts("__init__.py") == set()


def of(part: str) -> list[str]:
    return [path for path in MODULES if part_of(path) == part]


def test_visual_and_ledger_import_nothing_of_ours():
    assert own_parts("visual.py") == own_parts("ledger.py") == set()


def test_capture_knows_the_vocabulary_alone():
    for path in of("capture"):
        assert own_parts(path) <= {"capture", "visual"}, path
        assert not roots(path) & {"mlflow", "matplotlib"}, path


def test_plots_know_arrays_alone():
    for path in of("plots"):
        assert own_parts(path) <= {"plots"}, path
        assert not roots(path) & {"keras", "tensorflow", "mlflow"}, path
        assert not any("pyplot" in name or "pylab" in name for name in imported(path)), path


def test_formulas_know_no_keras():
    assert not roots("metrics/formulas.py") & {"keras", "tensorflow"}


@pytest.mark.parametrize("part", ["mlflow", "requests"])
def test_only_these_talk_to_a_server(part):
    """The rest hands over values: of MLflow, ``frames`` and ``runlog`` need its entities only."""
    found = {part_of(path) for path in MODULES if part in roots(path)}
    assert found <= {"store", "reporting", "frames", "runlog", "diagnosis", "cli"}
    for path in ("frames.py", "runlog.py"):
        names = {name for name in imported(path) if name.split(".")[0] == "mlflow"}
        assert all(name.startswith("mlflow.entities.") for name in names), path


@pytest.mark.parametrize(
    "part", ["reporting", "cli", "__main__", "__init__", "catalogue", "store", "visual", "ledger"]
)
def test_what_starts_fast_imports_no_framework(part):
    for path in of(part):
        assert not roots(path, functions=False) & {"keras", "tensorflow"}, path
