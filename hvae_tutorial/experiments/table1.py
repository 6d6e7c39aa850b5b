"""Tables 1 and 2: unsupervised learning on images, N-VAE against S-VAE at equal latent dimension.

One set of runs gives both tables: Table 1 reads the likelihoods, Table 2 (semi-supervised M1) classifies the latent
means of the same models by their nearest neighbours. The network is the paper's, 784-256-128 and back.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hvae_tutorial import plotting
from hvae_tutorial.data import Dataset, load
from hvae_tutorial.experiments import results
from hvae_tutorial.experiments.knn import knn_accuracies
from hvae_tutorial.experiments.presets import Preset
from hvae_tutorial.experiments.protocol import binarized, latent_means, measure, seeded
from hvae_tutorial.experiments.report import Report, save
from hvae_tutorial.experiments.run import Run, execute, trained_model, training_settings
from hvae_tutorial.experiments.sweep import sweep
from hvae_tutorial.models.vae import VAE
from hvae_tutorial.plotting import Figure
from hvae_tutorial.records import Record

# How to draw a latent space, by its metric and number of coordinates.
_LATENT_PICTURES = {
    ("euclidean", 2): plotting.latent_plane,
    ("cosine", 2): plotting.latent_circle,
    ("cosine", 3): plotting.latent_sphere,
}
# A picture of a latent space shows at most this many test images.
POINTS = 5000


def reproduce(
    *,
    data: str,
    preset: Preset,
    dims: Sequence[int] = (2, 5, 10, 20, 40),
    models: Sequence[str] = ("n", "s"),
    device: str = "auto",
    out: Path = Path("runs"),
    jobs: int | None = None,
    dask: str | None = None,
) -> Report:
    """Do the runs that are missing, then make Tables 1 and 2 and the pictures, all in the folder `out/table1-<data>`.

    Args:
        data: name of a set of images.
        preset: how long to train, and how many seeds.
        dims: latent dimensions d.
        models: of `"n"`, `"s"` and `"ps"`.
        device: where to train, as `training.resolve_device` takes it.
        out: the folder of all results.
        jobs: number of processes, as `sweep` takes it.
        dask: address of a Dask scheduler, as `sweep` takes it.

    Raises:
        ValueError: there is nothing to do, the data are no images, a setting is out of range, or a file of an earlier
            run is damaged.
        DataError: the data cannot be had.
        SweepError: some runs failed.
    """
    dataset = check(data, dims, models)
    cells = [(model, d) for d in dims for model in models]
    runs = runs_of_cells(data, cells, preset=preset, device=device)
    folder = out / f"table1-{data}"
    records = sweep(runs, partial(execute, evaluate=evaluate), folder, jobs=jobs, dask=dask)
    tables = {"table1": results.table1(records), "table2": results.table2(records)}
    pictures: dict[str, Figure] = {}
    for d in dims:
        pictures |= _draw_curves(data, d, [record for record in records if record.settings["d"] == d])
        first = [run for run in runs if run.d == d and run.training.seed == 0]
        pictures |= _draw_models(dataset, d, {run.model: trained_model(run, folder) for run in first})
    return Report(tables=list(tables.values()), files=save(folder, tables, pictures))


def check(data: str, dims: Sequence[int], models: Sequence[str]) -> Dataset:
    """Return the data set of Tables 1 and 2: before any process starts, so that a download happens once.

    Raises:
        ValueError: there is nothing to do, or the data are no images.
        DataError: the data cannot be had.
    """
    if not dims or not models:
        raise ValueError(f"dims and models must not be empty, got dims {tuple(dims)} and models {tuple(models)}")
    dataset = load(data)
    if not isinstance(dataset, Dataset) or dataset.image_shape is None:
        raise ValueError(f"Tables 1 and 2 are about images, which the data set {data!r} is not")
    return dataset


def runs_of_cells(data: str, cells: Sequence[tuple[str, int]], *, preset: Preset, device: str) -> list[Run]:
    """Return the runs of (model, d) cells: all cells with the first seed, then with the second, ..."""
    return [
        Run(
            experiment="table1",
            data=data,
            model=model,
            d=d,
            training=training_settings(preset, seed=seed, device=device),
            importance_samples=preset.importance_samples,
        )
        for seed in range(preset.seeds)  # outermost: an unfinished sweep has something in every cell
        for model, d in cells
    ]


def evaluate(model: VAE, dataset: Dataset, run: Run) -> dict[str, Any]:
    """Measure a model on the test images, and classify these by the nearest neighbours of their latent means."""
    images = binarized(dataset)
    device = next(model.parameters()).device
    test = images.test.to(device)
    accuracies = knn_accuracies(
        latent_means(model, images.train.to(device)).cpu().numpy(),
        dataset.train_labels.numpy(),
        latent_means(model, test).cpu().numpy(),
        dataset.test_labels.numpy(),
        metric=model.posterior.metric,
        seed=run.training.seed,
    )
    return {**measure(model, test, importance_samples=run.importance_samples), "knn": accuracies}


def _draw_curves(data: str, d: int, records: Sequence[Record]) -> dict[str, Figure]:
    curves: dict[str, list[Mapping[str, list[float]]]] = {}
    for record in records:
        curves.setdefault(results.MODELS[record.settings["model"]], []).append(record.history)
    return {f"learning-curves-d{d}": plotting.learning_curves(curves, title=f"{data}, d = {d}")}


@torch.no_grad()
def _draw_models(dataset: Dataset, d: int, models: Mapping[str, VAE]) -> dict[str, Figure]:
    """Draw reconstructions and samples of models with the same d, and the latent spaces that a picture can show."""
    assert dataset.image_shape is not None
    height, width = dataset.image_shape
    images, labels = binarized(dataset).test, dataset.test_labels
    one_of_each = torch.cat([images[labels == label][:1] for label in labels.unique()])
    title = f"{dataset.name}, d = {d}"
    rows, samples, pictures = {"test image": one_of_each.reshape(-1, height, width)}, {}, {}
    for kind, model in models.items():
        name = results.MODELS[kind]
        rows[name] = model.reconstruct(one_of_each).reshape(-1, height, width)
        with seeded(0, torch.device("cpu")):
            samples[name] = model.sample(50).reshape(-1, height, width)
        space = (model.posterior.metric, model.posterior.ambient_dim)
        if space in _LATENT_PICTURES:
            z = latent_means(model, images[:POINTS])
            pictures[f"latent-{kind}-d{d}"] = _LATENT_PICTURES[space](
                z, labels[:POINTS], title=f"{name}, {title}: posterior means of test images"
            )
    return {
        f"reconstructions-d{d}": plotting.reconstructions(
            rows, title=f"{title}: reconstructions from the mode of the posterior"
        ),
        f"samples-d{d}": plotting.samples(samples, title=f"{title}: draws from the prior"),
        **pictures,
    }
