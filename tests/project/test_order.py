"""The house has floors: a module imports from its own floor and from those below, and the floors are those stated."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import hvae_tutorial

PACKAGE = Path(hvae_tutorial.__file__).parent
CONTRIBUTING = PACKAGE.parent / "CONTRIBUTING.md"
# From the ground up. A new module has to be given a place here, and one that is not private in CONTRIBUTING.
FLOORS = [
    "files",
    "sources",
    "_autograd",
    "_tables",
    "_svg",
    "special",
    "sphere",
    "distributions",
    "data",
    "models",
    "checkpoints",
    "objectives",
    "training",
    "records",
    "plotting",
    "experiments",
    "exercises",
    "cli",
]


def modules() -> dict[str, Path]:
    """The modules of the package by their dotted names; a package is its `__init__`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imported(path: Path) -> Iterator[str]:
    """Modules of ours that a module imports anywhere in it, but for those that only type checkers look at."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    ignored = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for child in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in ignored:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "hvae_tutorial":
            assert node.level == 0
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "hvae_tutorial")


def floor(module: str) -> int:
    """The number of a module's floor; the package itself, which has a version and no more, is the ground."""
    return FLOORS.index(module.split(".")[1]) if "." in module else -1


def test_every_module_has_a_floor() -> None:
    assert {name.split(".")[1] for name in MODULES if "." in name} == {*FLOORS, "__main__"}


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_imports_go_down(name: str) -> None:
    for other in imported(MODULES[name]):
        assert floor(other) <= floor(name), f"{name} imports {other}"


def test_there_is_no_cycle() -> None:
    graph = {name: {other for other in imported(path) if other != name} for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a cycle of imports: {' -> '.join(error.args[1])}")


def test_a_cycle_would_be_seen() -> None:
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()


def test_the_order_is_the_stated_one() -> None:
    if not CONTRIBUTING.is_file():
        pytest.skip("an installed package has no CONTRIBUTING.md")
    text = " ".join(CONTRIBUTING.read_text(encoding="utf-8").split())
    sentence = re.search(r"Imports go downwards only, from the ground up: (.+?)\. ", text)
    assert sentence is not None
    assert re.findall(r"`(\w+)`", sentence[1]) == [name for name in FLOORS if not name.startswith("_")]


def test_only_plotting_imports_matplotlib() -> None:
    users = [
        name
        for name, path in MODULES.items()
        if re.search(r"^\s*(?:from|import) matplotlib\b", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    ]
    assert users == ["hvae_tutorial.plotting"]
