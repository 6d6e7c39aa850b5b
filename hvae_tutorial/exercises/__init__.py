"""Exercises of the course: write a function, have it checked, and be told what is wrong and why.

Each chapter has its module:

    from hvae_tutorial.exercises import ch05
    ch05.check_implicit_gradient(my_function)

and `hvae exercise` does the same in a terminal.
"""

import importlib
import pkgutil
import re
from typing import TYPE_CHECKING, Any

from hvae_tutorial.exercises import _progress

if TYPE_CHECKING:
    from hvae_tutorial.exercises._exercise import Exercise

__all__ = ["all_exercises", "find", "hint", "progress", "show", "solution"]


def all_exercises(chapter: int | None = None) -> "list[Exercise]":
    """Return the exercises of a chapter, or of all, in order."""
    from hvae_tutorial.exercises._exercise import Exercise  # with PyTorch: not before it is needed

    names = [module.name for module in pkgutil.iter_modules(__path__) if re.fullmatch(r"ch\d\d", module.name)]
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    found = [item for module in modules for item in vars(module).values() if isinstance(item, Exercise)]
    chosen = [exercise for exercise in found if chapter is None or exercise.chapter == chapter]
    return sorted(chosen, key=lambda exercise: (exercise.chapter, int(exercise.id.partition(".")[2])))


def find(id: str) -> "Exercise":
    """Return an exercise by its id, such as `ch05.3`.

    Raises:
        ValueError: There is none of this id.
    """
    known = {exercise.id: exercise for exercise in all_exercises()}
    if id not in known:
        raise ValueError(f"there is no exercise {id!r}; there are {', '.join(known)}")
    return known[id]


def show(id: str) -> None:
    """Print what is asked, and the code to start from."""
    exercise = find(id)
    parts = [f"{heading(exercise)}\n{facts(exercise)}", exercise.question, exercise.imports]
    print("\n\n".join(part for part in (*parts, exercise.given_source, exercise.stub) if part))


def hint(id: str) -> None:
    """Print the hints so far and the next one; each call shows one more."""
    exercise = find(id)
    number = min(_progress.of(id)["hints"] + 1, len(exercise.hints))
    _progress.hint_shown(id, number)
    for count, text in enumerate(exercise.hints[:number], start=1):
        print(f"Hint {count} of {len(exercise.hints)}: {text}")


def solution(id: str) -> None:
    """Print the reference solution and why it is right."""
    exercise = find(id)
    print("\n\n".join(part for part in (exercise.imports, exercise.solution_source, exercise.explanation) if part))


def progress(chapter: int | None = None) -> None:
    """Print which exercises are solved, tried and open."""
    print(listing(chapter))


def listing(chapter: int | None = None) -> str:
    """Return a table of exercises with what the learner has done."""
    from tabulate import tabulate

    exercises, known = all_exercises(chapter), _progress.load()
    if not exercises:
        raise ValueError(f"chapter {chapter} has no exercises")
    rows = [
        [exercise.id, exercise.title, stars(exercise.difficulty), exercise.minutes, _state(known.get(exercise.id))]
        for exercise in exercises
    ]
    solved = sum(known.get(exercise.id, {}).get("passed", False) for exercise in exercises)
    table = tabulate(rows, ["id", "exercise", "difficulty", "minutes", ""], tablefmt="simple")
    return f"{table}\n\n{solved} of {len(exercises)} solved"


def heading(exercise: "Exercise") -> str:
    """Return `Exercise 5.3: title`."""
    return f"Exercise {exercise.number}: {exercise.title}"


def facts(exercise: "Exercise") -> str:
    """Return difficulty, importance and time in one line."""
    difficulty, importance = stars(exercise.difficulty), stars(exercise.importance)
    return f"{exercise.id} · difficulty {difficulty} · importance {importance} · {exercise.minutes} minutes"


def stars(number: int) -> str:
    """Return a number from 1 to 5 as stars."""
    return "★" * number + "☆" * (5 - number)


def _state(entry: dict[str, Any] | None) -> str:
    if not entry:
        return ""
    if entry["passed"]:
        return "solved"
    return f"{entry['tries']} {'try' if entry['tries'] == 1 else 'tries'}" if entry["tries"] else ""
