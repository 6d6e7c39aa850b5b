"""One source, three targets: executed notebook, student's notebook and page are in step; students get no solution."""

import ast
import re
from pathlib import Path

import exercise_cells
import exercise_pages
import jupytext
import nbformat
import notebooks
import pages
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell
from test_imports import too_early

from hvae_tutorial.exercises import all_exercises, find, heading
from hvae_tutorial.exercises._exercise import Exercise

SOURCES = [path for path in notebooks.sources() if exercise_cells.named(jupytext.read(path).cells)]
every_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
DOWNLOADS = pages.Downloads("a.ipynb", "a.py", "library.whl", student="student/a.ipynb")


def named(source: Path) -> list[Exercise]:
    return exercise_cells.named(jupytext.read(source).cells)


def executed(source: Path) -> nbformat.NotebookNode:
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def student(source: Path) -> nbformat.NotebookNode:
    return nbformat.read(notebooks.student_path(source), as_version=4)


def tagged(cells: list, tag: str) -> list:
    return [cell for cell in cells if tag in cell.metadata.get("tags", [])]


def secrets(exercise: Exercise) -> set[str]:
    """Lines of a solution's body, but for those that are nobody's secret."""
    (definition,) = ast.parse(exercise.solution_source).body
    body = exercise.solution_source.splitlines()[definition.body[0].end_lineno :]
    shown = {line.strip() for line in (exercise.stub + "\n" + exercise.given_source).splitlines()}
    return {line.strip() for line in body if len(line.strip()) > 20} - shown


def leaks(source: Path, cells: list) -> list[str]:
    """What cells tell of solutions, beyond what the chapter itself shows."""
    chapter = {cell.source for cell in jupytext.read(source).cells}
    text = "\n".join(cell.source for cell in cells if cell.source not in chapter)
    found = [line for exercise in named(source) for line in secrets(exercise) if line in text]
    return found + [exercise.id for exercise in named(source) if exercise.explanation in text]


def test_every_exercise_is_in_its_chapter_once() -> None:
    in_chapters = [exercise.id for source in SOURCES for exercise in named(source)]
    assert in_chapters == [exercise.id for exercise in all_exercises()]
    for source in SOURCES:
        assert {exercise.chapter for exercise in named(source)} == {int(source.stem[:2])}


@every_source
def test_exercises_use_only_what_is_built(source: Path) -> None:
    for exercise in named(source):
        code = "\n\n".join([exercise.imports, exercise.given_source, exercise.solution_source])
        assert not too_early(code, exercise.chapter)


@every_source
def test_the_executed_notebook_has_each_solution_folded_and_passed(source: Path) -> None:
    cells = executed(source).cells
    checks = tagged(cells, "check")
    assert len(checks) == len(named(source))
    for exercise, check in zip(named(source), checks, strict=True):
        text = " ".join(check.outputs[0].text.split())
        assert text.startswith(f"{exercise.id} {exercise.title}: passed, ")
        assert "Note" not in text
    folded = [cell for cell in tagged(cells, "solution") if cell.metadata.get("jupyter", {}).get("source_hidden")]
    assert [cell.source for cell in folded] == [exercise.solution_source for exercise in named(source)]


@every_source
def test_the_students_notebook_is_that_of_the_source(source: Path) -> None:
    made = notebooks.student(source)
    assert made is not None
    assert notebooks.cells(student(source)) == notebooks.cells(made)
    nbformat.validate(student(source))
    assert [cell.source for cell in tagged(made.cells, "stub")] == [exercise.stub for exercise in named(source)]
    assert all(not cell.get("outputs") for cell in made.cells)


@every_source
def test_no_solution_is_in_a_students_notebook(source: Path) -> None:
    cells = student(source).cells
    assert not leaks(source, cells)
    assert not tagged(cells, "solution")


@every_source
def test_a_leak_would_be_seen(source: Path) -> None:
    assert len(leaks(source, executed(source).cells)) >= 2 * len(named(source))


@every_source
def test_links_of_a_student_lead_to_the_chapters(source: Path) -> None:
    here = notebooks.student_path(source).parent
    for cell in student(source).cells:
        if cell.cell_type == "markdown":
            for link in re.findall(r"\]\(([^)#:]+\.ipynb)[^)]*\)", cell.source):
                assert (here / link).is_file(), link


@every_source
def test_the_page_hides_stub_hints_and_solution(source: Path) -> None:
    text = pages.chapter_page(executed(source), source.stem, DOWNLOADS)
    assert "[Without solutions](student/a.ipynb)" in text
    for exercise in named(source):
        after = text.partition(f"### {heading(exercise)}\n")[2]
        part, found, rest = after.partition('<details class="solution" markdown="1">\n<summary>Solution</summary>')
        assert found
        assert f"{exercise.minutes} minutes" in part
        assert "★" in part
        assert part.count("<summary>Where to start</summary>") == 1
        assert part.count("<summary>Hint ") == len(exercise.hints)
        assert exercise.stub in part
        assert exercise.solution_source not in part
        assert exercise.solution_source in rest
        assert not [line for line in secrets(exercise) if line in part]
    assert "<details open" not in text
    assert text.count("<details") == text.count("</details>")


def test_the_index_lists_every_exercise_with_its_place() -> None:
    slugs = [source.stem for source in SOURCES]
    text = exercise_pages.index(slugs)
    for exercise in all_exercises():
        (slug,) = [slug for slug in slugs if int(slug[:2]) == exercise.chapter]
        row = f"| [{exercise.number} {exercise.title}](chapters/{slug}.md#"
        assert row in text
        assert f"## {exercise.topic}\n" in text
    assert "ch05" not in exercise_pages.index(slugs[:1]).partition("##")[2]  # without a page there is no link


def test_a_name_that_is_no_exercise_is_refused() -> None:
    cell = new_markdown_cell("ch05.99", metadata={"tags": ["exercise"]})
    with pytest.raises(ValueError, match=r"there is no exercise 'ch05.99'"):
        exercise_cells.with_solutions([cell])


def test_other_cells_stay_and_imports_come_once() -> None:
    cells = [
        new_markdown_cell("See [chapter 4](04_sampling.ipynb#x), [here](student/05_gradients.ipynb)."),
        new_code_cell("1"),
        *(new_markdown_cell(f"ch05.{n}", metadata={"tags": ["exercise"]}) for n in (1, 2)),
        new_markdown_cell("after"),
    ]
    for expand in (exercise_cells.with_solutions, exercise_cells.without_solutions):
        made = expand([nbformat.from_dict(cell) for cell in cells])
        assert made[1].source == "1"
        assert made[-1].source == "after"
        assert sum("from hvae_tutorial.exercises import ch05" in cell.source for cell in made) == 1
    assert made[0].source == "See [chapter 4](../04_sampling.ipynb#x), [here](05_gradients.ipynb)."
    assert find("ch05.1").stub in [cell.source for cell in made]


def test_in_a_kernel_lines_are_named_and_an_endless_loop_is_given_up(tmp_path: Path) -> None:
    code = "\n".join(
        [
            "from hvae_tutorial.exercises import ch01",
            "def endless(a, s, beta):",
            "    while True:",
            "        a = a",
            "def wrong(a, s, beta):",
            "    return a.real.nothing",
            "print(ch01.check_balance.check(endless, 1, seconds=1))",
            "print(ch01.check_balance.check(wrong, 1))",
            "print('alive')",
        ]
    )
    notebook = nbformat.v4.new_notebook(cells=[new_code_cell(code)])
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    NotebookClient(notebook, coalesce_streams=True, resources={"metadata": {"path": str(tmp_path)}}).execute()
    text = notebook.cells[0].outputs[0].text
    assert "no answer within 1 s" in text
    assert re.search(r"line [34], in endless: (while True|a = a)", text)
    assert "line 6, in wrong: return a.real.nothing" in text
    assert text.endswith("alive\n")
