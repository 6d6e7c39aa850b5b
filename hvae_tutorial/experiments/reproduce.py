"""From options to tables and pictures: one way for all experiments."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hvae_tutorial.data import load
from hvae_tutorial.experiments.execute import execute, study_of, trained_model
from hvae_tutorial.experiments.experiment import Experiment, folder_of
from hvae_tutorial.experiments.options import Options
from hvae_tutorial.experiments.registry import EXPERIMENTS
from hvae_tutorial.experiments.rendering import FORMATS
from hvae_tutorial.experiments.results import Table
from hvae_tutorial.experiments.run import Run
from hvae_tutorial.experiments.sweep import sweep
from hvae_tutorial.files import write_atomically
from hvae_tutorial.plotting import Figure
from hvae_tutorial.sources import REGISTRY
from hvae_tutorial.training import resolve_device


@dataclass(frozen=True)
class Report:
    """The outcome of an experiment, in the order in which to show it."""

    tables: Sequence[Table]
    files: Sequence[Path]


def reproduce(experiment: Experiment, options: Options) -> Report:
    """Do the runs that are missing, then make the tables and the pictures.

    Records and models of all sweeps of an experiment share a folder, so that no run is done twice. Tables and pictures
    have a folder within it whose name stands for the runs that they show: no sweep overwrites another's.

    Args:
        experiment: one of `EXPERIMENTS`.
        options: an instance of `experiment.options`.

    Raises:
        ValueError: there is nothing to do, a setting is out of range, the data are not of the kind that is wanted, the
            device is not there, or a file of an earlier run is damaged.
        DataError: the data cannot be had.
        SweepError: some runs failed.
        OSError: the folder cannot be written.
    """
    runs = experiment.runs(options)
    resolve_device(options.device)  # before any process starts: an error is seen at once, and only once
    names = dict.fromkeys(run.settings["data"] for run in runs)
    for name in names:
        if name in REGISTRY and REGISTRY[name].kind != experiment.kind:
            raise ValueError(f"{experiment.name} is about {experiment.kind}, which the data set {name!r} is not")
    datasets = {name: load(name) for name in names}  # once: a download, too
    folder = folder_of(experiment, runs, options.out)
    check_writable(folder)
    records = sweep(runs, execute, folder, jobs=options.jobs, dask=options.dask)

    tables = experiment.tables(records)
    for name in experiment.also:
        tables |= EXPERIMENTS[name].tables(records)
    pictures: dict[str, Figure] = {}
    for name, data in datasets.items():
        runs_here = [run for run in runs if run.settings["data"] == name]
        records_here = [record for record in records if record.settings["data"] == name]
        trained = partial(trained_model, folder=folder, x_dim=data.x_dim)
        pictures |= study_of(runs[0]).draw(data, runs_here, records_here, trained)
    files = save(folder / sweep_name(experiment, runs, options), tables, pictures)
    return Report(tables=list(tables.values()), files=files)


def sweep_name(experiment: Experiment, runs: Sequence[Run], options: Options) -> str:
    """Return a name that differs between sweeps of different runs."""
    keys = " ".join(run.key for run in runs)
    return f"{experiment.name}-{options.preset}-{hashlib.sha256(keys.encode()).hexdigest()[:8]}"


def check_writable(folder: Path) -> None:
    """Try the folder before hours of computing: make it, write a file, remove it.

    Raises:
        OSError: it cannot be written.
    """
    trial = folder / ".trial"
    try:
        write_atomically(trial, b"")
        trial.unlink()
    except OSError as error:
        raise OSError(f"cannot write to the folder {folder}: {error}; name another with --out") from error


def save(folder: Path, tables: Mapping[str, Table], pictures: Mapping[str, Figure]) -> list[Path]:
    """Write tables as Markdown, CSV and LaTeX, and pictures as PNG, under their names, and return the paths."""
    paths = []
    for name, table in tables.items():
        for format_ in ("markdown", "csv", "latex"):
            paths.append(folder / f"{name}.{FORMATS[format_]}")
            write_atomically(paths[-1], table.render(format_).encode())
    for name, picture in pictures.items():
        paths.append(folder / f"{name}.png")
        picture.savefig(paths[-1])
    return paths
