"""VAEs on products of spaces, trained as in Table 1."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hvae_tutorial import plotting
from hvae_tutorial.data import Dataset
from hvae_tutorial.experiments import names
from hvae_tutorial.experiments.protocol import binarized, measure_vae
from hvae_tutorial.experiments.run import Run
from hvae_tutorial.experiments.studies.unsupervised import sample, train
from hvae_tutorial.models.vae import VAE, mlp_product_vae
from hvae_tutorial.plotting import Figure
from hvae_tutorial.records import Record

__all__ = ["build", "draw", "measure", "sample", "train"]


def build(settings: Mapping[str, Any], x_dim: int) -> VAE:
    """Return the VAE with the paper's network, and a head for each factor."""
    return mlp_product_vae(
        settings["model"],
        settings["d"],
        x_dim=x_dim,
        hidden=settings["hidden"],
        likelihood=settings["likelihood"],
    )


def measure(model: VAE, data: Dataset, run: Run) -> dict[str, Any]:
    """Measure a model on the test images."""
    test = binarized(data).test.to(next(model.parameters()).device)
    return measure_vae(model, test, importance_samples=run.settings["importance_samples"])


def draw(
    data: Dataset, runs: Sequence[Run], records: Sequence[Record], trained: Callable[[Run], VAE]
) -> dict[str, Figure]:
    """Draw the learning curves of all spaces."""
    found: dict[str, list[Mapping[str, Sequence[float]]]] = {}
    for record in records:
        space = names.space(record.settings["model"], record.settings["d"])
        found.setdefault(space, []).append(record.history)
    return {"learning-curves": plotting.learning_curves(found, title=data.name)}
