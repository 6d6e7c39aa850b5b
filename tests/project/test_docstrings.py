"""Docstrings keep their promises: every public law, head, model, objective and function shows an example, which runs.

An example imports what it uses, so that a reader can paste it, and prints what is printed here.
"""

import ast
import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import hvae_tutorial
from hvae_tutorial import distributions, models, special, sphere
from hvae_tutorial.distributions import transforms
from hvae_tutorial.distributions.rotationally_symmetric import RotationallySymmetric
from hvae_tutorial.objectives import SemiSupervised, elbo, graph_elbo, iwae_bound, labelled_bound, unlabelled_bound
from hvae_tutorial.training import fit

TEST_FILES = sorted(Path(__file__).parents[1].rglob("test_*.py"))

# What has an example: all that these modules export, but for interfaces and plain tuples, and these besides.
MODULES = (distributions, transforms, models, special, sphere)
WITHOUT = {"ClassTerms", "Likelihood", "Posterior"}
BESIDES: tuple[Callable[..., Any], ...] = (
    RotationallySymmetric.fit,
    elbo,
    iwae_bound,
    unlabelled_bound,
    labelled_bound,
    graph_elbo,
    SemiSupervised,
    fit,
)


def modules() -> Iterator[ModuleType]:
    """All modules of the package."""
    for found in pkgutil.walk_packages(hvae_tutorial.__path__, "hvae_tutorial."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def examples() -> dict[str, doctest.DocTest]:
    """The docstrings with examples, by the names of what they document; each begins without a name at hand."""
    finder = doctest.DocTestFinder()
    tests = [test for module in modules() for test in finder.find(module, globs={}) if test.examples]
    return {test.name: test for test in tests}


EXAMPLES = examples()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_prints_what_it_says(name: str) -> None:
    report: list[str] = []
    failed, tried = doctest.DocTestRunner().run(EXAMPLES[name], out=report.append)
    assert tried > 0
    assert not failed, "".join(report)


def test_what_is_public_has_an_example() -> None:
    exported = [getattr(module, name) for module in MODULES for name in module.__all__ if name not in WITHOUT]
    names = {f"{thing.__module__}.{thing.__qualname__}" for thing in (*exported, *BESIDES)}
    assert len(names) > 40
    assert names <= EXAMPLES.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_stand_in_a_section_of_their_own(name: str) -> None:
    """The site shows a section called Examples as code; under any other name its prompts would be quotations."""
    lines = inspect.cleandoc(EXAMPLES[name].docstring).splitlines()
    first = next(number for number, line in enumerate(lines) if line.lstrip().startswith(">>>"))
    assert lines[first - 1] == "Examples:"


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_every_test_file_says_what_it_holds_the_code_to(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring is not None
    assert docstring.partition("\n\n")[0].endswith(".")
