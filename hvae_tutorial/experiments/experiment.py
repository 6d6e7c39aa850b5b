"""What an experiment is: its settings, its presets, its cells, and the tables that its records give.

None of this needs PyTorch, which the study loads: the module that builds, trains and measures (see `studies`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvae_tutorial.experiments.options import Options
from hvae_tutorial.experiments.results import Table
from hvae_tutorial.experiments.run import Run
from hvae_tutorial.records import Record

# The settings of `training.TrainingSettings` but seed and device; the paper's protocol.
TRAINING: Mapping[str, Any] = {
    "epochs": 1000,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "warmup_epochs": 100,
    "patience": 50,
    "beta": 1.0,
    "dynamic_binarization": True,
}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One figure or table of the paper.

    Attributes:
        name: its name on the command line.
        summary: one line about it.
        heading: above its tables on the page of results.
        example: how to call it on the command line, what follows `hvae reproduce`.
        study: the module of `studies` that builds, trains and measures.
        kind: of its data, as the registry of the data sets has it.
        options: what can be chosen.
        settings: of every run, beside those of its cell and the seed, at the paper's protocol.
        presets: by name, the settings that differ from these, and the number of `seeds`.
        cells: from options to the settings of each cell, in the order of the table: `data`, `model`, `d`, ...
        by: the settings that may differ between the records of one table, beside the seed.
        model: from a model to its name.
        measures: what the records must have measured.
        tables: from records that agree in all settings but `by` and the seed to tables, by the name of their file; with
            `complete=True` they also show the paper's cells in which we have no run, and differences to the paper's.
        recorded_as: the experiment that the runs are recorded under, where it is not this one.
        also: experiments whose tables the same runs give.
    """

    name: str
    summary: str
    heading: str
    example: str
    study: str
    kind: str
    options: type[Options]
    settings: Mapping[str, Any]
    presets: Mapping[str, Mapping[str, Any]]
    cells: Callable[[Any], list[dict[str, Any]]]
    by: tuple[str, ...]
    model: Callable[[str], str]
    measures: tuple[str, ...]
    tables: Callable[..., dict[str, Table]]
    recorded_as: str = ""
    also: tuple[str, ...] = ()

    @property
    def records(self) -> str:
        """The name under which its runs are recorded."""
        return self.recorded_as or self.name

    def run(
        self, *, data: str, model: str, d: int | list[int], seed: int, device: str = "auto", **settings: Any
    ) -> Run:
        """Return a run with these settings, and the paper's protocol in all others.

        Raises:
            ValueError: the experiment has no setting of such a name.
        """
        if unknown := settings.keys() - self.settings.keys():
            raise ValueError(
                f"{self.name} has no setting {', '.join(sorted(unknown))}; settings are {', '.join(self.settings)}"
            )
        cell = {"data": data, "model": model, "d": d, "seed": seed}
        return Run(self.records, {**self.settings, **settings, **cell}, device)

    def runs(self, options: Options) -> list[Run]:
        """Return the runs of all cells: all cells with the first seed, then with the second, ...

        So an unfinished sweep has complete rows, of fewer runs.

        Raises:
            ValueError: there is no cell, or the seeds are given twice over.
        """
        if options.seeds is not None and options.seed_list:
            raise ValueError(f"give --seeds or --seed-list, not both; got {options.seeds} and {options.seed_list}")
        preset = dict(self.presets[options.preset])
        seeds = options.seed_list or range(options.seeds or preset["seeds"])
        del preset["seeds"]
        chosen = {name: getattr(options, name, None) for name in self.settings}
        effort = preset | {name: value for name, value in chosen.items() if value is not None}
        cells = self.cells(options)
        if not cells:
            raise ValueError(f"there is nothing to do: {self.name} needs at least one cell")
        return [
            self.run(**effort | cell, seed=seed, device=options.device)
            for seed in dict.fromkeys(seeds)
            for cell in cells
        ]


def groups(records: Sequence[Record], by: Sequence[str]) -> list[list[Record]]:
    """Return the records in groups that may share a table: those that agree in all settings but `by` and the seed.

    The largest group comes first.
    """
    found: dict[str, list[Record]] = {}
    for record in records:
        shared = {name: value for name, value in record.settings.items() if name not in {*by, "seed"}}
        found.setdefault(repr(sorted(shared.items())), []).append(record)
    return sorted(found.values(), key=len, reverse=True)


def folder_of(experiment: Experiment, runs: Sequence[Run], out: Path) -> Path:
    """Return the folder of an experiment's records: one for each set of images, one for all graphs."""
    data = sorted({run.settings["data"] for run in runs})
    return out / ("-".join([experiment.records, *data]) if experiment.kind == "images" else experiment.records)
