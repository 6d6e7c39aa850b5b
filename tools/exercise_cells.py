"""The cells of exercises, for the executed notebook of a chapter and for that of a student.

A chapter's source names an exercise, in a Markdown cell of its own with the tag `exercise`: `ch05.4`. What is asked,
the hints and the solution stand in `hvae_tutorial/exercises/`, and are put in its place here.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from hvae_tutorial.exercises import find, heading, stars
from hvae_tutorial.exercises._exercise import Exercise, needed_imports

SEED = 0  # of the checks in executed notebooks, so that a rebuild changes nothing
PASSED = ": passed, "  # what the output of a check must hold
# Metadata of a cell whose code is folded: in Jupyter, and in Colab.
FOLDED = {"jupyter": {"source_hidden": True}, "cellView": "form"}


def named(cells: Sequence[NotebookNode]) -> list[Exercise]:
    """Return the exercises that the cells name.

    Raises:
        ValueError: A cell names none that exists.
    """
    return [find(cell.source.strip()) for cell in cells if _is_name(cell)]


def with_solutions(cells: Sequence[NotebookNode]) -> list[NotebookNode]:
    """Return the cells with each exercise in place of its name: question, hints, solution, and its check."""
    return _expanded(cells, _solved)


def without_solutions(cells: Sequence[NotebookNode]) -> list[NotebookNode]:
    """Return the same for a student: stubs, and no solution. Links lead one folder up."""
    made = _expanded(cells, _open)
    for cell in made:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\]\((?:\./)?(\d\d_\w+\.ipynb)(?=[#)])", r"](../\1", cell.source)
            cell.source = cell.source.replace("](student/", "](")
    return made


def _expanded(
    cells: Sequence[NotebookNode], expand: Callable[[Exercise], Iterable[NotebookNode]]
) -> list[NotebookNode]:
    made: list[NotebookNode] = []
    exercises = named(cells)
    for cell in cells:
        if not _is_name(cell):
            made.append(cell)
            continue
        exercise = find(cell.source.strip())
        if exercise is exercises[0]:
            module = f"ch{exercise.chapter:02d}"
            imports = needed_imports(exercises, f"from hvae_tutorial.exercises import {module}")
            made.append(_code(imports, "exercise"))
        made += expand(exercise)
    return made


def _solved(exercise: Exercise) -> Iterator[NotebookNode]:
    yield _markdown(question(exercise), "exercise")
    if exercise.given:
        yield _code(exercise.given_source, "exercise")
    yield _markdown(_hidden("Where to start", f"```python\n{exercise.stub}\n```"), "stub")
    yield from _hints(exercise)
    yield _code(exercise.solution_source, "solution", hidden=True)
    yield _code(f"{_check(exercise)}, seed={SEED})", "solution", "check")
    yield _markdown(_hidden("Why", exercise.explanation), "solution")


def _open(exercise: Exercise) -> Iterator[NotebookNode]:
    yield _markdown(question(exercise), "exercise")
    yield from _hints(exercise)
    if exercise.given:
        yield _code(exercise.given_source, "exercise")
    yield _code(exercise.stub, "stub")
    yield _code(f"{_check(exercise)})", "check")


def question(exercise: Exercise) -> str:
    """Return heading, facts and text of an exercise, as Markdown."""
    facts = (
        f"Difficulty {stars(exercise.difficulty)} · importance {stars(exercise.importance)} · "
        f"{exercise.minutes} minutes · `{exercise.id}`"
    )
    return f"### {heading(exercise)}\n\n{facts}\n\n{exercise.question}"


def _hints(exercise: Exercise) -> Iterator[NotebookNode]:
    for number, hint in enumerate(exercise.hints, start=1):
        yield _markdown(_hidden(f"Hint {number}", hint), "hint")


def _hidden(summary: str, text: str) -> str:
    return f'<details markdown="1">\n<summary>{summary}</summary>\n\n{text}\n\n</details>'


def _check(exercise: Exercise) -> str:
    return f"ch{exercise.chapter:02d}.check_{exercise.name}({exercise.name}"


def _is_name(cell: NotebookNode) -> bool:
    return cell.cell_type == "markdown" and "exercise" in cell.metadata.get("tags", [])


def _markdown(source: str, *tags: str) -> NotebookNode:
    return new_markdown_cell(source, metadata={"tags": list(tags)})


def _code(source: str, *tags: str, hidden: bool = False) -> NotebookNode:
    return new_code_cell(source, metadata={"tags": list(tags), **(FOLDED if hidden else {})})
