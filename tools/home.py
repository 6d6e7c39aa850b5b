"""What the home page shows of the course: its parts, each with a picture, its chapters, their times and exercises."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pages
import times

from hvae_tutorial.exercises import all_exercises


@dataclass(frozen=True)
class Part:
    """A few chapters that belong together; `name` is that of its picture in docs/assets/parts/."""

    name: str
    title: str
    summary: str
    chapters: range


PARTS = (
    Part(
        "law",
        "The law",
        "Density, Bessel functions, samples, gradients, KL: each derived, then built.",
        range(1, 7),
    ),
    Part("model", "The model", "A Gaussian VAE, then the same on the sphere by replacing one module.", range(7, 9)),
    Part("paper", "The paper", "Its four tables: what they measure, what we find, and why that differs.", range(9, 13)),
    Part("beyond", "Beyond", "Products of spheres, other laws, and what stands of the claims.", range(13, 15)),
)


def number(path: Path) -> int:
    """Return the number of a chapter, from its notebook or source."""
    return int(path.stem[:2])


def of(part: Part, notebooks: Sequence[Path]) -> list[Path]:
    """Return the notebooks of a part."""
    return [path for path in notebooks if number(path) in part.chapters]


def facts(notebooks: Sequence[Path]) -> str:
    """Return how many chapters and exercises there are, and how long they take."""
    exercises = [exercise for path in notebooks for exercise in all_exercises(number(path))]
    found = [f"{len(notebooks)} chapters, {_hours(sum(map(_minutes, notebooks)))}"]
    if exercises:
        found.append(f"{len(exercises)} exercises, {_hours(sum(exercise.minutes for exercise in exercises))}")
    return " · ".join(found)


def parts(notebooks: Sequence[Path]) -> str:
    """Return the parts as Markdown, in blocks of HTML."""
    return (
        '<div class="parts" markdown="1">\n'
        + "\n".join(_part(part, of(part, notebooks)) for part in PARTS)
        + "\n</div>"
    )


def pictures(html: str, folder: Path) -> str:
    """Return HTML with the parts' pictures in it, so that they have the colours of the page."""
    for part in PARTS:
        svg = (folder / f"{part.name}.svg").read_text(encoding="utf-8").strip()
        html = html.replace(f'<div class="picture" data-part="{part.name}"></div>', f'<div class="picture">{svg}</div>')
    return html


def _part(part: Part, notebooks: Sequence[Path]) -> str:
    lines = [
        '<section class="part" markdown="1">',
        f'<div class="picture" data-part="{part.name}"></div>',
        "",
        f"### {part.title}",
        "",
        part.summary,
        "",
    ]
    for path in notebooks:
        notebook = nbformat.read(path, as_version=4)
        link = f"[{number(path)}. {pages.title(notebook)}](chapters/{path.stem}.md)"
        lines.append(f'- {link} <span class="minutes">{_minutes(path)} min</span> <br> {pages.question(notebook)}')
    return "\n".join([*lines, "", f"{facts(notebooks)}", "{ .facts }", "", "</section>"])


def _minutes(path: Path) -> int:
    return times.of_notebook(nbformat.read(path, as_version=4)).reading


def _hours(minutes: int) -> str:
    return f"{minutes} minutes" if minutes < 90 else f"{minutes / 60:.0f} hours"
