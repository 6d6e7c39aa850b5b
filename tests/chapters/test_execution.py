"""nbval runs every chapter again and compares outputs: in an empty folder, with the installed wheel, as on Colab.

Of a figure it compares caption and description, not the drawing: a sum in another order moves a point by a tenth.
One run is that of the executed notebook and that of a student who writes nothing: before each solution the stub is
checked, and after it the stub takes its place again, so that nothing below may lean on a solution.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import exercise_cells
import jupytext
import nbformat
import notebooks
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_output


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables with which Python finds the library's wheel, unpacked, and not the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(notebooks.ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder / "site")]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    variables = {**os.environ, "PYTHONPATH": str(folder / "site"), "OMP_NUM_THREADS": "1"}
    variables.pop("HVAE_DATA", None)
    where = [sys.executable, "-c", "import hvae_tutorial; print(hvae_tutorial.__file__)"]
    found = subprocess.run(where, cwd=folder, env=variables, check=True, capture_output=True, text=True).stdout
    assert Path(found.strip()).is_relative_to(folder / "site")
    return variables


def nbval(notebook: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "--nbval-sanitize-with",
        str(Path(__file__).with_name("drawings.cfg")),
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-q",
        notebook.name,
    ]
    return subprocess.run(command, cwd=notebook.parent, env=environment, capture_output=True, text=True)


def code_of(path: Path) -> list[NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def has(cell: NotebookNode, *tags: str) -> bool:
    return not set(tags).isdisjoint(cell.metadata.get("tags", []))


def both(source: Path) -> NotebookNode:
    """The executed notebook, and in it the cells that only the student's has: stubs, and their checks."""
    notebook = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    exercises = exercise_cells.named(jupytext.read(source).cells)
    if not exercises:
        return notebook
    opened, solved = code_of(notebooks.student_path(source)), code_of(source.with_suffix(".ipynb"))
    assert [cell.source for cell in opened if not has(cell, "stub", "check")] == [
        cell.source for cell in solved if not has(cell, "solution")
    ]
    stubs = [cell.source for cell in opened if has(cell, "stub")]
    checks = [cell.source for cell in opened if has(cell, "check")]
    tasks = zip(exercises, stubs, checks, strict=True)
    cells, notebook.cells = notebook.cells, []
    for cell in cells:
        if cell.cell_type == "code" and has(cell, "solution") and not has(cell, "check"):
            exercise, stub, check = next(tasks)
            says = new_output("stream", name="stdout", text=f"{exercise.id} {exercise.title}: not written yet.\n")
            notebook.cells += [new_code_cell(stub), new_code_cell(check, outputs=[says], execution_count=1)]
        notebook.cells.append(cell)
        if has(cell, "check"):
            notebook.cells.append(new_code_cell(stub))
    assert not list(tasks)
    return notebook


@pytest.mark.slow
@pytest.mark.parametrize("source", notebooks.sources(), ids=lambda source: source.stem)
def test_every_output_is_as_stored_and_unsolved_it_runs_to_its_end(
    source: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    copy = tmp_path / "empty" / f"{source.stem}.ipynb"
    copy.parent.mkdir()
    nbformat.write(both(source), copy)
    progress = tmp_path / "progress.json"
    done = nbval(copy, environment | {"HVAE_PROGRESS": str(progress)})
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]  # a chapter leaves nothing behind
    assert not progress.exists()  # stubs are no tries, and checks with a given seed do not count


SMALL = new_output("stream", name="stdout", text="2\n")
DRAWN = new_output("display_data", {"image/svg+xml": "<svg>1</svg>", "text/plain": "alt 2"})
COMPARISONS = [
    ("print(1 + 1)", SMALL, True),
    ("print(1 + 2)", SMALL, False),
    ("show('<svg>1</svg>', 'alt 2')", DRAWN, True),
    ("show('<svg>\\n3</svg>', 'alt 2')", DRAWN, True),
    ("show('<svg>1</svg>', 'alt 3')", DRAWN, False),
    ("print('alt 2')", DRAWN, False),
]


def test_the_comparison_can_fail(environment: dict[str, str], tmp_path: Path) -> None:
    define = "def show(svg, alt): display({'image/svg+xml': svg, 'text/plain': alt}, raw=True)"
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    notebook.cells = [new_code_cell(define, execution_count=1)]
    notebook.cells += [new_code_cell(code, outputs=[stored], execution_count=2) for code, stored, _ in COMPARISONS]
    nbformat.write(notebook, tmp_path / "small.ipynb")
    done = nbval(tmp_path / "small.ipynb", environment)
    failed = {int(number) for number in re.findall(r"^FAILED .*::Cell (\d+)", done.stdout, flags=re.MULTILINE)}
    assert failed == {number for number, (_, _, same) in enumerate(COMPARISONS, start=1) if not same}, done.stdout
    assert done.returncode == 1
