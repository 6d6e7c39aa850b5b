"""`hvae exercise list | show | hint | check | solution | progress`: the exercises in a terminal.

Nothing heavy is imported before a command needs it.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

if TYPE_CHECKING:
    from hvae_tutorial.exercises._exercise import Exercise

exercise = App(name="exercise", help="The exercises of the course.\n\nExample: `hvae exercise show ch05.1`")

Chapter = Annotated[int | None, Parameter(validator=Number(gte=0))]


@exercise.command(name="list")
def list_exercises(*, chapter: Chapter = None) -> None:
    """List the exercises: difficulty, minutes, and what you have done.

    Example: `hvae exercise list --chapter 5`

    Args:
        chapter: Of one chapter only.
    """
    from hvae_tutorial.exercises import listing

    try:
        print(listing(chapter))
    except ValueError as error:
        raise CycloptsError(msg=f"{error}.") from None


@exercise.command
def show(id: str, /) -> None:
    """Print what an exercise asks, and the code to start from.

    Example: `hvae exercise show ch05.1`

    Args:
        id: As `hvae exercise list` names it.
    """
    from hvae_tutorial import exercises

    exercises.show(_find(id).id)


@exercise.command
def hint(id: str, /) -> None:
    """Print the hints of an exercise, one more each time.

    Example: `hvae exercise hint ch05.1`

    Args:
        id: As `hvae exercise list` names it.
    """
    from hvae_tutorial import exercises

    exercises.hint(_find(id).id)


@exercise.command
def check(id: str, file: Path, /, *, seed: Annotated[int | None, Parameter(validator=Number(gte=0))] = None) -> None:
    """Check the function that a file defines; the exit status is 1 if it is not right.

    Example: `hvae exercise check ch05.1 mine.py`

    Args:
        id: As `hvae exercise list` names it.
        file: Python that defines the exercise's function, under its name.
        seed: Of an earlier check, to repeat it.
    """
    from hvae_tutorial.exercises import _files, _progress

    chosen = _find(id)
    if not file.is_file():
        raise CycloptsError(msg=f"there is no file {str(file)!r}.")
    verdict = _files.check(chosen, file, seed)
    print(verdict)
    if seed is None and verdict.written:
        _progress.tried(id, verdict.passed)
    if not verdict.passed:
        sys.exit(1)


@exercise.command
def solution(id: str, /) -> None:
    """Print the solution of an exercise. Asks once, if you have not tried it.

    Example: `hvae exercise solution ch05.1`

    Args:
        id: As `hvae exercise list` names it.
    """
    from hvae_tutorial import exercises
    from hvae_tutorial.exercises import _progress

    chosen = _find(id)
    known = _progress.of(id)
    if not known["tries"] and not known["asked"]:
        _progress.asked(id)
        try:
            answer = input(f"You have not checked a try of {id}. Show the solution all the same? [y/N] ")
        except EOFError:
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            print(f"Begin with: hvae exercise show {id}, and hvae exercise hint {id}")
            return
    exercises.solution(chosen.id)


@exercise.command
def progress() -> None:
    """Say how much you have solved, chapter by chapter.

    Example: `hvae exercise progress`
    """
    from hvae_tutorial.exercises import _progress, all_exercises

    known = _progress.load()
    chapters = sorted({item.chapter for item in all_exercises()})
    for chapter in chapters:
        items = all_exercises(chapter)
        solved = sum(known.get(item.id, {}).get("passed", False) for item in items)
        minutes = sum(item.minutes for item in items if not known.get(item.id, {}).get("passed", False))
        print(
            f"chapter {chapter:2d}: {solved} of {len(items)} solved" + (f", {minutes} minutes left" if minutes else "")
        )


def _find(id: str) -> "Exercise":
    from hvae_tutorial.exercises import find

    try:
        return find(id)
    except ValueError as error:
        raise CycloptsError(msg=f"{error}.") from None
