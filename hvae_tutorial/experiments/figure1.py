"""Figure 1: what becomes of a circle in the latent space of an autoencoder, of N-VAEs and of an S-VAE.

The data are three clusters on a circle, bent into R^100 (`data.load("circle")`). The plane has room for the circle but
the Gaussian prior pulls it to the origin; the sphere S^1 has the right shape.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hvae_tutorial.experiments import names
from hvae_tutorial.experiments.choices import PASSES
from hvae_tutorial.experiments.experiment import TRAINING, Experiment
from hvae_tutorial.experiments.options import Count, PointOptions
from hvae_tutorial.experiments.results import Cell, Row, Table, cells_of, number, training
from hvae_tutorial.records import Record

PANELS = (
    {"model": "ae", "d": 2, "beta": 1.0},
    {"model": "n", "d": 2, "beta": 1.0},
    {"model": "n", "d": 2, "beta": 0.1},
    {"model": "s", "d": 1, "beta": 1.0},
)


@dataclass(frozen=True, kw_only=True)
class Figure1Options(PointOptions):
    """Options of Figure 1."""

    importance_samples: Count = None
    """Samples for the log-likelihood."""


def cells(_: Figure1Options) -> list[dict[str, Any]]:
    """Return the four panels."""
    return [{"data": "circle", **panel} for panel in PANELS]


def panel_name(model: str, beta: float) -> str:
    """Return what the figure and its table call a model."""
    return names.vae(model) + (f", β = {beta:g}" if model == "n" else "")


def table(records: Sequence[Record]) -> Table:
    """Return the table that goes with Figure 1: the fit on the validation data, and how well the circle is recovered.

    Args:
        records: with the same settings but for model, d, beta and seed.

    Raises:
        ValueError: there are no records, or they cannot be compared.
    """
    found, settings = cells_of(records, "model", "beta", "d")
    samples = settings["importance_samples"]
    columns = {
        f"LL ({samples})": ("log_likelihood", "mean"),
        "ELBO": ("elbo",),
        "RE": ("reconstruction",),
        "KL": ("kl",),
        "circular correlation": ("circular_correlation",),
    }
    rows = []
    for (model, beta, _), runs in found.items():
        values = []
        for path in columns.values():
            measured = [number(run, *path) for run in runs if path[0] in run.results]
            values.append(Cell.of(measured, digits=3 if path == ("circular_correlation",) else 2))
        rows.append(Row(model=panel_name(model, beta), runs=len(runs), cells=values, records=[r.name for r in runs]))
    return Table(
        title="Figure 1: a circle bent into R^100, validation data, in nats",
        columns=list(columns),
        rows=rows,
        notes=[
            "Mean ± standard deviation over the runs. The autoencoder defines no density.",
            f"LL by importance sampling with {samples} samples; ELBO (β = 1), RE and KL from one latent sample a "
            f"point, averaged over {PASSES} passes.",
            "Circular correlation (Fisher and Lee 1983) between the true and the latent angle: 1 for a circle "
            "recovered up to rotation and reflection. In a plane the angle is taken around the mean of the latents.",
            training(settings),
        ],
    )


# It compares fixed values of beta, so its KL term has no warm-up; patience = epochs never stops early.
_EPOCHS = {"epochs": 100, "warmup_epochs": 0, "patience": 100}
EXPERIMENT = Experiment(
    name="figure1",
    summary="A circle bent into R^100, seen by an autoencoder, two N-VAEs and an S-VAE.",
    heading="A circle bent into a hundred dimensions",
    example="figure1 --preset quick",
    study="hvae_tutorial.experiments.studies.circle",
    kind="points",
    options=Figure1Options,
    settings={
        "hidden": [32],
        "likelihood": "gaussian",
        "importance_samples": 500,
        **TRAINING,
        **_EPOCHS,
        "dynamic_binarization": False,
    },
    presets={
        "smoke": {"seeds": 1, "epochs": 3, "patience": 3, "importance_samples": 10},
        "quick": {"seeds": 3, "importance_samples": 100},
        "paper": {"seeds": 10},
    },
    cells=cells,
    by=("model", "beta", "d"),
    model=names.vae,
    measures=("reconstruction", "circular_correlation"),
    tables=lambda records, complete=False: {"figure1": table(records)},
)
