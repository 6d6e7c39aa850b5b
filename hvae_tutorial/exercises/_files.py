"""Checking a function that a file defines."""

import runpy
import textwrap
from pathlib import Path

from hvae_tutorial.exercises._exercise import SECONDS, Exercise, Verdict
from hvae_tutorial.exercises._guard import GivenUp, Raised, call


def check(exercise: Exercise, file: Path, seed: int | None = None, *, seconds: float = SECONDS) -> Verdict:
    """Run a file and check the function of the exercise's name in it.

    Args:
        exercise: The exercise.
        file: Python; what stands below `if __name__ == "__main__"` is not run.
        seed: Of the numbers drawn; fresh by default.
        seconds: Time limit, for the file and again for the checks.
    """
    begin = f"{exercise.id} {exercise.title}: not yet.\n  {file}"
    names = call(lambda: runpy.run_path(str(file), run_name="exercise"), seconds, {}, set())
    if isinstance(names, GivenUp):
        return Verdict(
            False, f"{begin} does not end within {seconds:g} s; it was at\n{textwrap.indent(names.lines, '    ')}"
        )
    if isinstance(names, Raised):
        return Verdict(False, f"{begin} raises {names}\n{textwrap.indent(names.lines, '    ')}")
    if not callable(names.get(exercise.name)):
        return Verdict(False, f"{begin} defines no function {exercise.name}", written=False)
    return exercise.check(names[exercise.name], seed, seconds=seconds)
