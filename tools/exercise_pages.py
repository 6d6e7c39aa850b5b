"""The site's index of exercises."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from markdown.extensions.toc import slugify

from hvae_tutorial.exercises import all_exercises, heading, stars
from hvae_tutorial.exercises._exercise import Exercise

TEXT = """\
# Exercises

Write a function, have it checked, and be told what is wrong and why. Take a chapter's notebook *without solutions* from
the top of its page, or work in a terminal:

```sh
hvae exercise list
hvae exercise show ch05.1
hvae exercise check ch05.1 mine.py
hvae exercise hint ch05.1
```

Or in Python: `from hvae_tutorial.exercises import ch05`, then `ch05.check_found_share(my_function)`. A checker draws
fresh numbers at every call and shows its seed; given that seed, it repeats itself. It compares with an independent
reference: quadrature, SciPy, finite differences, or a Kolmogorov-Smirnov test that refuses a right sampler less than
once in a million checks. If your function makes a mistake that others have made before, it says which."""


def index(slugs: Sequence[str]) -> str:
    """Return the page: all exercises by topic, then those that are short, important or hard.

    Args:
        slugs: Of the chapters that have a page.
    """
    by_number = {int(slug[:2]): slug for slug in slugs}
    exercises = [exercise for exercise in all_exercises() if exercise.chapter in by_number]
    topics: dict[str, list[Exercise]] = defaultdict(list)
    for exercise in exercises:
        topics[exercise.topic].append(exercise)
    parts = [TEXT, f"There are {len(exercises)}, of {sum(e.minutes for e in exercises) / 60:.0f} hours in all."]
    for topic, members in topics.items():
        parts += [f"## {topic}", _table(sorted(members, key=lambda e: (e.difficulty, e.id)), by_number)]
    views = {
        "In ten minutes": [e for e in exercises if e.minutes <= 10],
        "If you do only a few": [e for e in exercises if e.importance == 5],
        "The hardest": [e for e in exercises if e.difficulty >= 4],
    }
    for title, members in views.items():
        if members:
            parts += [f"## {title}", _table(sorted(members, key=lambda e: (e.minutes, e.id)), by_number)]
    return "\n\n".join(parts) + "\n"


def _table(exercises: Iterable[Exercise], slugs: dict[int, str]) -> str:
    rows = ["| exercise | difficulty | importance | minutes |", "|---|---|---|---|"]
    for exercise in exercises:
        link = f"chapters/{slugs[exercise.chapter]}.md#{slugify(heading(exercise), '-')}"
        levels = f"{stars(exercise.difficulty)} | {stars(exercise.importance)}"
        rows.append(f"| [{exercise.number} {exercise.title}]({link}) | {levels} | {exercise.minutes} |")
    return "\n".join(rows)
