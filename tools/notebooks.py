"""Executed notebooks from the chapters' sources: `make chapters`, or `python tools/notebooks.py [--all] [SLUG ...]`.

`chapters/NN_name.py` (jupytext's py:percent) is the source; `chapters/NN_name.ipynb` is made from it and executed in an
empty folder. A rebuild changes only what the chapter itself changes: fixed cell ids, no kernel version, no timings but
a rough run time. A cell that fails, warns or prints to the error stream fails the build, which names chapter and cell;
the old notebook then stays as it was. So does a solution that its own checker refuses.

Where the source names exercises, `chapters/student/NN_name.ipynb` is made too: the same chapter, not executed, with
stubs in place of solutions.
"""

import argparse
import os
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import exercise_cells
import joblib
import jupytext
import nbformat
import references
import times
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from tqdm import tqdm

from hvae_tutorial.files import write_atomically

ROOT = Path(__file__).parents[1]
CHAPTERS = ROOT / "chapters"
SECONDS = 600  # for one cell
# Of cells whose code is folded: what draws, what computes the numbers of a sentence or a table, and assertions.
FOLDED_TAGS = {"picture", "words", "checks"}

SETUP = """\
# Finds the library: installed, in a folder above (a clone), or as a wheel beside this notebook or on the course's site.
import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

WHEEL, SITE = "{wheel}", "{site}"


def is_there():
    importlib.invalidate_caches()
    return importlib.util.find_spec("hvae_tutorial") is not None


if not is_there():
    clones = [folder for folder in Path.cwd().parents if (folder / "hvae_tutorial" / "__init__.py").exists()]
    sys.path += map(str, clones[:1])
if not is_there() and (Path(WHEEL).exists() or SITE):
    target = WHEEL if Path(WHEEL).exists() else f"{{SITE}}/chapters/{{WHEEL}}"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", target])
if not is_there():
    where = f"from {{SITE}}/chapters/" if SITE else "with the button Library on the chapter's page"
    raise ModuleNotFoundError(f"hvae_tutorial is missing: get {{WHEEL}} {{where}}, put it here, run again")

import torch

print("device:", "cuda" if torch.cuda.is_available() else "cpu")"""

# Processor time of the kernel, which other programs do not lengthen.
STOPWATCH = "import time\n\nprint(time.process_time())"


class ChapterError(RuntimeError):
    """A chapter that cannot be built; the message names it and the cell."""


def project() -> dict[str, Any]:
    """The table `project` of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def addresses() -> tuple[str, str]:
    """The addresses of the repository and of the site, without a slash at the end; empty where there is none yet."""
    urls = project()["urls"]
    return urls["Repository"].rstrip("/"), urls["Documentation"].rstrip("/")


def wheel_name() -> str:
    """The name of the library's wheel."""
    return f"hvae_tutorial-{project()['version']}-py3-none-any.whl"


def sources() -> list[Path]:
    """The chapters' sources, in order."""
    return sorted(CHAPTERS.glob("[0-9][0-9]_*.py"))


def unexecuted(source: Path) -> NotebookNode:
    """The notebook of a chapter before it is run: the set-up cell, then the source's cells with solved exercises."""
    return _notebook(exercise_cells.with_solutions(_timed(source)))


def student(source: Path) -> NotebookNode | None:
    """The notebook of a chapter with open exercises; None if it has none."""
    read = _timed(source)
    return _notebook(exercise_cells.without_solutions(read)) if exercise_cells.named(read) else None


def student_path(source: Path) -> Path:
    """Where a chapter's notebook with open exercises is."""
    return source.parent / "student" / f"{source.stem}.ipynb"


def _timed(source: Path) -> list[NotebookNode]:
    """The cells of a chapter's source, whose line `**Time**` is completed."""
    read = jupytext.read(source).cells
    first = next(cell for cell in read if cell.cell_type == "markdown")
    first.source = times.LINE.sub(times.line(times.of_source(read)), first.source)
    return read


def _notebook(chapter: list[NotebookNode]) -> NotebookNode:
    setup = nbformat.v4.new_code_cell(
        SETUP.format(wheel=wheel_name(), site=addresses()[1]), metadata={"tags": ["setup", "nbval-ignore-output"]}
    )
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook = nbformat.v4.new_notebook(cells=[setup, *chapter], metadata=metadata)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"
        if FOLDED_TAGS.intersection(cell.metadata.get("tags", [])):
            cell.metadata.update(exercise_cells.FOLDED)
        if cell.cell_type == "markdown":
            cell.source = references.expanded(cell.source)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def is_current(source: Path) -> bool:
    """Whether the notebooks are there and have the source's cells; they may be older than the library."""
    wanted = [(source.with_suffix(".ipynb"), unexecuted(source)), (student_path(source), student(source))]
    for path, notebook in wanted:
        if path.exists() != (notebook is not None):
            return False
        if notebook is not None and cells(nbformat.read(path, as_version=4)) != cells(notebook):
            return False
    return True


def cells(notebook: NotebookNode) -> list[tuple[str, str, dict[str, Any]]]:
    """Type, text and metadata (tags, whether it is folded) of each cell."""
    return [(cell.cell_type, cell.source, dict(cell.metadata)) for cell in notebook.cells]


def build(source: Path) -> None:
    """Execute one chapter and write its notebook, and that of a student.

    Raises:
        ChapterError: a cell fails, or writes to the error stream, or a solution does not pass its check.
    """
    path = source.with_suffix(".ipynb")
    before = times.of_notebook(nbformat.read(path, as_version=4)).seconds if path.exists() else 0
    notebook = unexecuted(source)
    notebook.cells.append(nbformat.v4.new_code_cell(STOPWATCH))
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=SECONDS,
            record_timing=False,
            coalesce_streams=True,
            extra_arguments=["--log-level=40"],  # errors only: kernels on localhost warn that nothing is encrypted
            resources={"metadata": {"path": folder}},
        )
        try:
            client.execute(env={**os.environ, "OMP_NUM_THREADS": "1"})
        except CellExecutionError as error:
            number = next(i for i, cell in enumerate(notebook.cells) if _outputs(cell, "error"))
            raise ChapterError(f"{source.stem}, cell {number}: {error}") from None
    seconds = float(notebook.cells.pop().outputs[0].text)
    for number, cell in enumerate(notebook.cells):
        for output in _outputs(cell, "stream"):
            if output.name == "stderr":
                raise ChapterError(f"{source.stem}, cell {number} writes to the error stream:\n{output.text}")
        if "check" in cell.metadata.get("tags", []) and exercise_cells.PASSED not in cell.outputs[0].text:
            raise ChapterError(f"{source.stem}, cell {number}: {cell.outputs[0].text}")
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata["hvae_tutorial"] = {"seconds": times.run_class(seconds, before)}
    write_atomically(path, nbformat.writes(notebook).encode() + b"\n")
    opened = student(source)
    if opened is not None:
        write_atomically(student_path(source), nbformat.writes(opened).encode() + b"\n")


def _outputs(cell: NotebookNode, kind: str) -> list[NotebookNode]:
    return [output for output in cell.get("outputs", []) if output.output_type == kind]


def _attempt(source: Path) -> str | None:
    """Build one chapter; the message of what went wrong, or None."""
    try:
        build(source)
    except ChapterError as error:
        return str(error)
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what has changed; the exit status is 1 if a chapter failed."""
    parser = argparse.ArgumentParser(description="Build executed notebooks from chapters/*.py.")
    parser.add_argument("chapters", nargs="*", help="slugs such as 03_bessel; all by default")
    parser.add_argument("--all", action="store_true", help="also those whose source has not changed")
    parser.add_argument("--jobs", type=int, default=joblib.cpu_count(), help="chapters at a time (default: one a core)")
    options = parser.parse_args(arguments)
    known = {source.stem: source for source in sources()}
    unknown = sorted(set(options.chapters) - known.keys())
    if unknown:
        parser.error(f"no chapter {', '.join(unknown)}; chapters are {', '.join(known)}")
    chosen = [known[slug] for slug in options.chapters] or list(known.values())
    pending = [source for source in chosen if options.all or not is_current(source)]
    # Threads: each chapter runs in a kernel, which is a process of its own.
    done = joblib.Parallel(options.jobs, backend="threading", return_as="generator")(
        joblib.delayed(_attempt)(source) for source in pending
    )
    failures = [message for message in tqdm(done, total=len(pending), desc="chapters", disable=not pending) if message]
    for message in failures:
        print(message, file=sys.stderr)
    print(f"{len(pending) - len(failures)} chapters built, {len(chosen) - len(pending)} up to date")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
