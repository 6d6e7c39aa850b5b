"""Table 1: unsupervised learning on images, N-VAE against S-VAE at equal latent dimension.

The network is the paper's, 784-256-128 and back. The same runs give Table 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hvae_tutorial.experiments import names, paper
from hvae_tutorial.experiments.choices import FEW_SAMPLES, PASSES
from hvae_tutorial.experiments.experiment import TRAINING, Experiment
from hvae_tutorial.experiments.options import Count, Dims, Images, Models, PointOptions, combinations
from hvae_tutorial.experiments.results import Table, binarization, cells_of, comparison, statistics, training
from hvae_tutorial.records import Record


@dataclass(frozen=True, kw_only=True)
class Table1Options(PointOptions):
    """Options of Tables 1 and 2."""

    data: Images = "digits"
    """Images to learn; digits come with scikit-learn, the others are downloaded or found in $HVAE_DATA."""

    dims: Dims = (2, 5, 10, 20, 40)
    """Latent dimensions d: of the plane R^d for N-VAE, of the sphere S^d for S-VAE."""

    models: Models = ("n", "s")

    importance_samples: Count = None
    """Samples for the log-likelihood."""


def cells(options: Table1Options) -> list[dict[str, Any]]:
    """Return a cell for each d and model."""
    found = combinations(dims=options.dims, models=options.models)
    return [{"data": options.data, "model": model, "d": d} for d, model in found]


def table(records: Sequence[Record], *, complete: bool = False) -> Table:
    """Return Table 1: log-likelihood, ELBO, RE and KL on the test set.

    Args:
        records: with the same settings but for model, d and seed.
        complete: on the paper's data, also show the cells in which we have no run.

    Raises:
        ValueError: there are no records, or they cannot be compared.
    """
    found, settings = cells_of(records, "d", "model")
    samples = settings["importance_samples"]
    columns: dict[str, tuple[str, ...]] = {f"LL ({samples})": ("log_likelihood", "mean")}
    columns.setdefault(f"LL ({FEW_SAMPLES})", ("log_likelihood_10", "mean"))  # with 10 samples they are one column
    columns |= {"ELBO": ("elbo",), "RE": ("reconstruction",), "KL": ("kl",)}
    headers = dict(zip(("log_likelihood", "elbo", "reconstruction", "kl"), (next(iter(columns)), *_TERMS), strict=True))
    published = {cell: {headers[name]: figures for name, figures in row.items()} for cell, row in paper.TABLE1.items()}
    return Table(
        title=f"Table 1 on {settings['data']}: log-likelihood (LL), ELBO, reconstruction (RE) and KL in nats, test set",
        label="d",
        columns=list(columns),
        rows=comparison(
            found,
            columns,
            {"paper": published} if settings["data"] == paper.DATA else {},
            digits=2,
            name=names.vae,
            complete=complete,
        ),
        notes=[
            statistics("N-VAE"),
            "LL by importance sampling, number of samples in brackets; ELBO, RE and KL from one latent sample an "
            f"image, averaged over {PASSES} passes.",
            binarization(),
            training(settings),
        ],
    )


_TERMS = ("ELBO", "RE", "KL")
SETTINGS = {"hidden": [256, 128], "likelihood": "bernoulli", "importance_samples": 500, **TRAINING}
PRESETS = {
    "smoke": {"seeds": 1, "epochs": 3, "warmup_epochs": 1, "patience": 3, "importance_samples": 10},
    "quick": {"seeds": 3, "epochs": 60, "warmup_epochs": 15, "patience": 15, "importance_samples": 100},
    "paper": {"seeds": 10},
}
EXPERIMENT = Experiment(
    name="table1",
    summary="Unsupervised learning on images (Table 1), and k-NN on the latent means of the same models (Table 2).",
    heading="Likelihood",
    example="table1 --data mnist --preset paper --dims 5 --seed-list 0 1",
    study="hvae_tutorial.experiments.studies.unsupervised",
    kind="images",
    options=Table1Options,
    settings=SETTINGS,
    presets=PRESETS,
    cells=cells,
    by=("d", "model"),
    model=names.vae,
    measures=("log_likelihood", "log_likelihood_10", "elbo", "reconstruction", "kl", "knn"),
    tables=lambda records, complete=False: {"table1": table(records, complete=complete)},
    also=("table2",),
)
