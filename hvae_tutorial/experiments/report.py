"""What an experiment hands back: its tables, and the files that it wrote."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hvae_tutorial.experiments.results import Table
from hvae_tutorial.plotting import Figure


@dataclass(frozen=True)
class Report:
    """The outcome of an experiment, in the order in which to show it."""

    tables: Sequence[Table]
    files: Sequence[Path]


def save(folder: Path, tables: Mapping[str, Table], pictures: Mapping[str, Figure]) -> list[Path]:
    """Write tables as Markdown and pictures as PNG, under the names they are given, and return the paths."""
    paths = []
    for name, table in tables.items():
        paths.append(folder / f"{name}.md")
        paths[-1].write_text(table.markdown(), encoding="utf-8")
    for name, picture in pictures.items():
        paths.append(folder / f"{name}.png")
        picture.savefig(paths[-1])
    return paths
