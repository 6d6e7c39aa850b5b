"""Products of spheres against one sphere with as many coordinates (Davidson, Tomczak and Gavves 2019, section 3).

One sphere has one concentration for all its dimensions, a product one for each factor. The network and the protocol are
Table 1's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from hvae_tutorial.experiments import names, table1
from hvae_tutorial.experiments.experiment import Experiment
from hvae_tutorial.experiments.options import Count, Images, PointOptions, Several, combinations
from hvae_tutorial.experiments.results import (
    TEST,
    Cell,
    PValue,
    Row,
    Table,
    binarization,
    cells_of,
    number,
    training,
    welch_p_value,
)
from hvae_tutorial.records import Record


@dataclass(frozen=True, kw_only=True)
class ProductsOptions(PointOptions):
    """Options of the comparison of products with one sphere."""

    data: Images = "digits"
    """Images to learn; digits come with scikit-learn, the others are downloaded or found in $HVAE_DATA."""

    spaces: Annotated[tuple[str, ...], Several] = ("s11", "s5,5", "s2,2,2,2", "n12", "s5")
    """Latent spaces: a letter, as --models of table1 takes it, and the dimensions of the factors, as s5,5."""

    importance_samples: Count = None
    """Samples for the log-likelihood."""


def cells(options: ProductsOptions) -> list[dict[str, Any]]:
    """Return a cell for each space."""
    found = combinations(spaces=tuple(map(names.space_of, options.spaces)))
    return [{"data": options.data, "model": kind, "d": list(d)} for ((kind, d),) in found]


def table(records: Sequence[Record], *, complete: bool = False) -> Table:
    """Return log-likelihood, ELBO, RE and KL of each space on the test set.

    Args:
        records: with the same settings but for model, d and seed.
        complete: for the figures of the paper, which has none here.

    Raises:
        ValueError: there are no records, or they cannot be compared.
    """
    found, settings = cells_of(records, "d", "model")
    columns: Mapping[str, tuple[str, ...]] = {
        f"LL ({settings['importance_samples']})": ("log_likelihood", "mean"),
        "ELBO": ("elbo",),
        "RE": ("reconstruction",),
        "KL": ("kl",),
    }
    values = {cell: [[number(run, *path) for run in runs] for path in columns.values()] for cell, runs in found.items()}
    rows = []
    for d, kind in sorted(found, key=_rank):
        runs = found[d, kind]
        space, m = names.space(kind, d), names.coordinates(kind, d)
        means = [Cell.of(column, digits=2) for column in values[d, kind]]
        rows.append(Row(str(m), space, runs=len(runs), cells=means, records=[run.name for run in runs]))
        sphere = ((m - 1,), "s")
        if sphere in found and (d, kind) != sphere:
            pairs = zip(values[d, kind], values[sphere], strict=True)
            rows.append(Row(str(m), space, TEST, cells=[PValue(welch_p_value(a, b)) for a, b in pairs]))
    return Table(
        title=f"Products of spaces on {settings['data']}: log-likelihood (LL), ELBO, reconstruction (RE) and KL in "
        "nats, test set",
        label="coordinates",
        model="space",
        columns=list(columns),
        rows=rows,
        notes=[
            "Mean ± standard deviation over the runs; p: two-sided Welch t-test against the one sphere with as many "
            "coordinates.",
            binarization(),
            training(settings),
        ],
    )


def _rank(cell: tuple[tuple[int, ...], str]) -> tuple[Any, ...]:
    """Most coordinates first; of as many, the plane, one sphere, then more and more factors."""
    d, kind = cell
    return -names.coordinates(kind, d), names.rank(kind), len(d), d


EXPERIMENT = Experiment(
    name="products",
    summary="Products of spheres against one sphere with as many coordinates.",
    heading="Products of spheres",
    example="products --data digits --preset paper --spaces s11 s5,5 --seeds 5",
    study="hvae_tutorial.experiments.studies.products",
    kind="images",
    options=ProductsOptions,
    settings=table1.SETTINGS,
    presets=table1.PRESETS,
    cells=cells,
    by=("d", "model"),
    model=names.vae,
    measures=("log_likelihood", "elbo", "reconstruction", "kl"),
    tables=lambda records, complete=False: {"products": table(records, complete=complete)},
)
