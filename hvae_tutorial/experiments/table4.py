"""Table 4: link prediction on graphs, N-VGAE against S-VGAE at equal latent dimension.

The model sees 85% of the edges and is asked to tell the held-out ones from as many pairs that are none.
"""

from collections.abc import Sequence
from pathlib import Path

from hvae_tutorial import plotting
from hvae_tutorial.data import GraphName, load
from hvae_tutorial.experiments import results
from hvae_tutorial.experiments.link_prediction import GraphRun, execute
from hvae_tutorial.experiments.presets import GraphPreset
from hvae_tutorial.experiments.report import Report, save
from hvae_tutorial.experiments.sweep import sweep
from hvae_tutorial.plotting import Figure
from hvae_tutorial.records import Record

_CURVES = {
    "validation_elbo": "validation ELBO, reweighed (nats)",
    "validation_auc": "validation AUC",
    "validation_kl": "KL / N² (nats)",
}


def reproduce(
    *,
    preset: GraphPreset,
    data: Sequence[GraphName] = ("karate", "les-miserables"),
    models: Sequence[str] = ("n", "s"),
    device: str = "auto",
    out: Path = Path("runs"),
    jobs: int | None = None,
    dask: str | None = None,
) -> Report:
    """Do the runs that are missing, then make Table 4 and the learning curves, all in the folder `out/table4`.

    Args:
        preset: how long to train, and how many seeds, each with its own split of the edges.
        data: names of graphs.
        models: of `"n"`, `"s"` and `"ps"`.
        device: where to train, as `training.resolve_device` takes it.
        out: the folder of all results.
        jobs: number of processes, as `sweep` takes it.
        dask: address of a Dask scheduler, as `sweep` takes it.

    Raises:
        ValueError: there is nothing to do, a setting is out of range, or a file of an earlier run is damaged.
        DataError: the data cannot be had.
        SweepError: some runs failed.
    """
    if not data or not models:
        raise ValueError(f"data and models must not be empty, got data {tuple(data)} and models {tuple(models)}")
    for name in data:  # before any process starts: a download happens once, and an error is seen at once
        load(name)
    runs = [
        GraphRun(
            data=name,
            model=model,
            seed=seed,
            epochs=preset.epochs,
            learning_rate=preset.learning_rate,
            dropout=preset.dropout,
            device=device,
        )
        for seed in range(preset.seeds)  # outermost: an unfinished sweep has something in every cell
        for name in data
        for model in models
    ]
    folder = out / "table4"
    records = sweep(runs, execute, folder, jobs=jobs, dask=dask)
    tables = {"table4": results.table4(records)}
    pictures = {f"learning-curves-{name}": _draw_curves(name, records) for name in data}
    return Report(tables=list(tables.values()), files=save(folder, tables, pictures))


def _draw_curves(data: str, records: Sequence[Record]) -> Figure:
    curves = {
        name: [
            record.history for record in records if (record.settings["data"], record.settings["model"]) == (data, model)
        ]
        for model, name in results.GRAPH_MODELS.items()
    }
    curves = {name: runs for name, runs in curves.items() if runs}
    return plotting.learning_curves(curves, columns=_CURVES, title=f"{data}: held-out edges and non-edges")
