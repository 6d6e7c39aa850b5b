"""How long a chapter takes: to read, to solve its exercises, to run."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import exercise_cells
from nbformat import NotebookNode

WORDS = 150  # read in a minute
FORMULA = 3  # minutes for a displayed formula
# A run time is kept as the least of these that is not below it, in seconds.
CLASSES = (10, 20, 30, 60, 120, 180, 300, 600)
LINE = re.compile(r"^\*\*Time\*\*.*$", flags=re.MULTILINE)


@dataclass(frozen=True)
class Times:
    """Minutes to read a chapter and to do its exercises, and seconds to run it."""

    reading: int
    exercises: int
    seconds: int

    @property
    def running(self) -> str:
        """The run time in words."""
        return f"{self.seconds} s" if self.seconds < 60 else f"{self.seconds // 60} min"


def reading(prose: str) -> int:
    """Return the minutes that Markdown takes to read, rounded to five."""
    formulas = re.findall(r"^\$\$$.*?^\$\$$", prose, flags=re.MULTILINE | re.DOTALL)
    words = re.sub(r"^\$\$$.*?^\$\$$", "", prose, flags=re.MULTILINE | re.DOTALL)
    return 5 * max(1, round((len(words.split()) / WORDS + FORMULA * len(formulas)) / 5))


def of_source(cells: Sequence[NotebookNode]) -> tuple[int, int]:
    """Return the minutes to read a chapter and to do its exercises, from the cells of its source."""
    exercises = exercise_cells.named(cells)
    names = {exercise.id for exercise in exercises}
    prose = [cell.source for cell in cells if cell.cell_type == "markdown" and cell.source.strip() not in names]
    return reading("\n\n".join(prose)), sum(exercise.minutes for exercise in exercises)


def line(minutes: tuple[int, int]) -> str:
    """Return the line of a chapter that says how long it takes."""
    to_read, to_do = minutes
    exercises = f", {to_do} for the exercises" if to_do else ""
    return f"**Time**: about {to_read} minutes to read{exercises}."


def of_notebook(notebook: NotebookNode) -> Times:
    """Return what a built chapter says of itself."""
    first = next(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    numbers = [int(number) for found in LINE.findall(first) for number in re.findall(r"\d+", found)]
    to_read, to_do = [*numbers, 0, 0][:2]
    return Times(to_read, to_do, int(notebook.metadata.get("hvae_tutorial", {}).get("seconds", 0)))


def run_class(seconds: float, before: int = 0) -> int:
    """Return the class of a run time; the former one, unless the time has clearly left it.

    Args:
        seconds: measured.
        before: the class that was stored, or 0.
    """
    below = max((bound for bound in CLASSES if bound < before), default=0)
    if before in CLASSES and 0.8 * below < seconds < 1.2 * before:
        return before
    return next((bound for bound in CLASSES if seconds <= bound), CLASSES[-1])
