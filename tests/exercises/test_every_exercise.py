"""Every exercise: its solution passes, its mistakes are recognised, and nothing else passes.

Statistical: a right sampler is refused by one Kolmogorov-Smirnov test with probability 1e-7; a check makes at most 20
of them, so all checks of this file refuse a right solution under fresh seeds with probability 1e-3 at most.
`pytest -s -k table` prints the table of exercises and mistakes.
"""

import re
from pathlib import Path

import pytest
import torch
from tabulate import tabulate

from hvae_tutorial import exercises
from hvae_tutorial.exercises._exercise import Exercise

ALL = exercises.all_exercises()
every_exercise = pytest.mark.parametrize("exercise", ALL, ids=lambda exercise: exercise.id)


@every_exercise
def test_the_solution_passes_and_is_not_said_to_cheat(exercise: Exercise) -> None:
    verdict = exercise.check(standing_alone(exercise), 1)
    assert verdict.passed, verdict
    assert "Note" not in str(verdict)


@pytest.mark.slow
@every_exercise
def test_fifty_fresh_seeds_give_no_false_alarm(exercise: Exercise) -> None:
    alarms = [str(verdict) for verdict in (exercise.check(exercise.solution) for _ in range(50)) if not verdict.passed]
    assert not alarms, f"{len(alarms)} of 50: {alarms[0]}"


def test_the_table_of_exercises_and_mistakes() -> None:
    rows = []
    for exercise in ALL:
        for mistake in exercise.mistakes:
            verdict = exercise.check(mistake.function, 2)
            caught = not verdict.passed and verdict.cause is mistake
            named = mistake.says[:60] in " ".join(str(verdict).split())
            rows.append([exercise.id, exercise.name, mistake.says[:70], "named" if caught and named else "NOT NAMED"])
    table = tabulate(rows, ["id", "function", "mistake", "verdict"])
    print(f"\n{table}")
    assert all(row[-1] == "named" for row in rows), table


@every_exercise
def test_garbage_zero_and_the_identity_are_refused(exercise: Exercise) -> None:
    def garbage(*args):
        like = exercise.solution(*args)
        parts = like if isinstance(like, tuple) else (like,)
        made = [torch.randn_like(part) if isinstance(part, torch.Tensor) else 12345 for part in parts]
        return tuple(made) if isinstance(like, tuple) else made[0]

    def zeros(*args):
        like = exercise.solution(*args)
        return torch.zeros_like(like) if isinstance(like, torch.Tensor) else type(like)()

    for function in (garbage, zeros, lambda *args: 0, lambda *args: args[0], lambda *args: None):
        verdict = exercise.check(function, 3)
        assert verdict.written
        assert not verdict.passed


@every_exercise
def test_it_is_complete(exercise: Exercise) -> None:
    assert re.fullmatch(r"ch\d\d\.\d+", exercise.id)
    assert 1 <= exercise.difficulty <= 5
    assert 1 <= exercise.importance <= 5
    assert 2 <= exercise.minutes <= 30
    assert 2 <= len(exercise.hints) <= 3
    assert len(exercise.mistakes) >= 3
    assert len({mistake.says for mistake in exercise.mistakes}) == len(exercise.mistakes)
    assert all(mistake.says.endswith((".", "?")) for mistake in exercise.mistakes)
    docstring = exercise.solution.__doc__ or ""
    assert "Args:" in docstring
    assert "Returns:" in docstring
    assert f"`{exercise.name}`" in exercise.question


@every_exercise
def test_no_line_of_the_texts_is_taken_for_a_list_or_a_heading(exercise: Exercise) -> None:
    for text in (exercise.question, exercise.explanation, *exercise.hints):
        assert not re.search(r"^\s*([-+*>#]|\d+[.)]\s|=+\s*$)", text, flags=re.MULTILINE), text
        assert text.count("$") % 2 == 0


def test_names_and_ids() -> None:
    from hvae_tutorial.exercises import ch01

    for exercise in ALL:
        module = __import__(f"hvae_tutorial.exercises.ch{exercise.chapter:02d}", fromlist=["_"])
        assert getattr(module, f"check_{exercise.name}") is exercise
    for chapter in {exercise.chapter for exercise in ALL}:
        members = exercises.all_exercises(chapter)
        assert [exercise.id for exercise in members] == [f"ch{chapter:02d}.{n + 1}" for n in range(len(members))]
        assert len(members) >= 3
    assert ch01.__doc__
    with pytest.raises(ValueError, match=r"there is no exercise 'ch99.1'; there are ch01.1, "):
        exercises.find("ch99.1")


def test_a_warm_up_and_half_an_hour() -> None:
    minutes = [exercise.minutes for exercise in ALL]
    assert min(minutes) == 2
    assert max(minutes) == 30


def standing_alone(exercise: Exercise) -> object:
    """The solution, made from what a notebook shows alone: imports, what is given, and the solution's text."""
    names: dict[str, object] = {}
    source = "\n\n".join([exercise.imports, exercise.given_source, exercise.solution_source])
    exec(compile(source, str(Path("notebook.py")), "exec"), names)
    return names[exercise.name]
