"""The page of formulas tells the truth: what it names is there, and each of its tests fails on a wrong formula."""

import importlib
import inspect
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import hooks
import notebooks
import pytest
from formulas import FORMULAS, Formula
from torch import Tensor

ALL = [formula for group in FORMULAS.values() for formula in group]
TESTS = notebooks.ROOT / "tests"


class Broken:
    """Plugin for a run of pytest inside of this one: each test finds its own formula wrong. Notes what failed, and how.

    Attributes:
        outcomes: of each test that ran, how it ended: "passed", or what was raised, in words.
    """

    def __init__(self) -> None:
        self.formulas = {formula.test: formula for formula in ALL}
        self.outcomes: dict[str, str] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            break_it(self.formulas[item.nodeid.removeprefix("tests/")], patch)
            return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            crash = getattr(report.longrepr, "reprcrash", None)
            self.outcomes[report.nodeid.removeprefix("tests/")] = crash.message if crash else report.outcome


def function_of(formula: Formula) -> FunctionType:
    """The plain function behind a dotted name: that of a method, of a property, or of calling a class."""
    parts = formula.function.split(".")
    found: Any = importlib.import_module(parts[0])
    for number, part in enumerate(parts[1:], start=2):
        if inspect.ismodule(found) and not hasattr(found, part):
            importlib.import_module(".".join(parts[:number]))
        found = inspect.getattr_static(found, part)
    if inspect.isclass(found):
        found = inspect.getattr_static(found, "__call__")
    function = inspect.unwrap(found.fget if isinstance(found, property) else found)
    assert isinstance(function, FunctionType)
    return function


def break_it(formula: Formula, patch: pytest.MonkeyPatch) -> None:
    """Make the function's result, or the first of its results, too large by the formula's error.

    The function's code is replaced, so that all who have imported it see the change.
    """

    def wrong(*args: Any, **kwargs: Any) -> Any:
        return _wrong(*args, **kwargs)  # type: ignore[name-defined]  # noqa: F821  (among the function's own globals)

    def scaled(*args: Any, **kwargs: Any) -> Any:
        result = right(*args, **kwargs)
        if isinstance(result, Tensor | float):
            return result * (1 + formula.error)
        first, *rest = result
        make: Callable[..., Any] = getattr(type(result), "_make", tuple)
        return make([first * (1 + formula.error), *rest])

    function = function_of(formula)
    right = FunctionType(function.__code__, function.__globals__, "right", function.__defaults__, function.__closure__)
    right.__kwdefaults__ = function.__kwdefaults__
    patch.setitem(function.__globals__, "_wrong", scaled)
    patch.setattr(function, "__code__", wrong.__code__)


def test_each_formula_has_a_test_of_its_own_and_a_chapter() -> None:
    assert len({formula.test for formula in ALL}) == len(ALL) > 25
    for formula in ALL:
        assert (notebooks.ROOT / "chapters" / f"{formula.chapter}.py").is_file(), formula
        assert "|" not in formula.tex, formula


def test_every_test_fails_where_its_formula_is_wrong() -> None:
    plugin = Broken()
    options = ["-o", "addopts=", "-p", "no:terminal", "-p", "no:cacheprovider"]
    pytest.main([*options, *(f"{TESTS}/{test}" for test in plugin.formulas)], plugins=[plugin])
    assert plugin.outcomes.keys() == plugin.formulas.keys()
    assert not {test: how for test, how in plugin.outcomes.items() if not how.startswith(("assert", "AssertionError"))}


def test_the_page_names_them_all() -> None:
    page = hooks.formulas_page("")
    for formula in ALL:
        assert f"${formula.tex}$<br>{formula.source} |" in page
        assert formula.test.partition("::")[0] in page
    assert "](https" not in page
    assert "](https://example.org/blob/main/tests/test_special.py)" in hooks.formulas_page("https://example.org")
