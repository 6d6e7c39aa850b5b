"""The barrier: what the law that the authors' sampler draws from, and its gradient, do to training.

Above kappa = 10 their samples have another law than the von Mises-Fisher one, and from m = 13 coordinates on a larger
kappa makes them, for a while, less concentrated (see `foils`). Some S-VAEs stay below for as long as they were trained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from hvae_tutorial.experiments import names
from hvae_tutorial.experiments.choices import PASSES
from hvae_tutorial.experiments.experiment import TRAINING, Experiment
from hvae_tutorial.experiments.options import Count, Dims, Images, PointOptions, Several, combinations
from hvae_tutorial.experiments.results import (
    NOT_AVAILABLE,
    TEST,
    Cell,
    PValue,
    Row,
    Table,
    binarization,
    cells_of,
    comparison,
    number,
    statistics,
    training,
)
from hvae_tutorial.records import Record

# From this dimension on, in m = 13 coordinates, samples of the public law lose concentration as kappa rises past 10.
LEAST_D = 12


@dataclass(frozen=True, kw_only=True)
class BarrierOptions(PointOptions):
    """Options of the barrier."""

    data: Images = "digits"
    """Images to learn; digits come with scikit-learn, the others are downloaded or found in $HVAE_DATA."""

    dims: Dims = (40,)
    """Dimensions d of the sphere."""

    samplers: Annotated[tuple[Literal["s", "s-path", "s-clip"], ...], Several] = ("s", "s-clip")
    """s (exact law and gradient), s-path (exact law, pathwise gradient), s-clip (the authors' law and gradient)."""

    until: Literal["decided", "end"] = "end"
    """decided: stop as soon as a run is past the barrier, and measure no likelihood; or end, of training."""

    initial_bias: Annotated[float | None, Parameter(validator=Number(gte=-100, lte=1e4))] = None
    """Before training kappa is about 1 + softplus of it."""

    importance_samples: Count = None
    """Samples for the log-likelihood."""


def cells(options: BarrierOptions) -> list[dict[str, Any]]:
    """Return a cell for each d and sampler."""
    found = combinations(dims=options.dims, samplers=options.samplers)
    return [{"data": options.data, "model": sampler, "d": d} for d, sampler in found]


def crossing(record: Record) -> int | None:
    """Return the first epoch after which a run was past the barrier, None if it never was."""
    threshold = number(record, "barrier_kl")
    epochs = zip(record.history["epoch"], record.history["validation_kl"], strict=True)
    return next((int(epoch) for epoch, kl in epochs if kl >= threshold), None)


def is_stuck(record: Record) -> bool:
    """Return whether there is a barrier that the run never passed."""
    return record.settings["d"] >= LEAST_D and crossing(record) is None


def shares(records: Sequence[Record]) -> Table:
    """Return how many runs never pass the barrier, and when the others do.

    Raises:
        ValueError: there are no records, or they cannot be compared.
    """
    found, settings = cells_of(records, "d", "model")
    rows = []
    for d in dict.fromkeys(d for d, _ in found):
        here = {model: runs for (other, model), runs in found.items() if other == d}
        rows += [_share(str(d), model, runs) for model, runs in here.items()]
        for model in here:
            if model != "s" and "s" in here:
                test = PValue(_fisher_p_value(here[model], here["s"]))
                rows.append(Row(str(d), names.sampler(model), TEST, cells=[test, Cell(), Cell(), Cell()]))
    return Table(
        title=f"Runs that stay below the barrier, {settings['data']}",
        label="d",
        model="sampler",
        columns=["stuck", "epoch of passing", "latest", "median κ of the stuck"],
        rows=rows,
        notes=[
            "A run has passed when the mean KL term of the validation images is that of κ = 22, twice the value from "
            "which on the public sampler uses its approximation; stuck: it never has.",
            "Mean ± standard deviation over the runs; p: Fisher's exact test of the shares against the exact sampler.",
            _start(settings),
            training(settings) + (" Runs end when they have passed." if settings["until"] == "decided" else ""),
        ],
    )


def _share(d: str, model: str, runs: Sequence[Record]) -> Row:
    epochs = [epoch for epoch in map(crossing, runs) if epoch is not None]
    stuck = [number(run, "median_concentration") for run in runs if crossing(run) is None]
    cells = [
        Cell(len(stuck), digits=0),
        Cell.of(epochs, digits=0),
        Cell(max(epochs, default=None), digits=0, missing=NOT_AVAILABLE),
        Cell.of(stuck, digits=1),
    ]
    return Row(d, names.sampler(model), runs=len(runs), cells=cells, records=[run.name for run in runs])


def _fisher_p_value(*samples: Sequence[Record]) -> float:
    """Return the two-sided p-value of Fisher's exact test for equal shares of stuck runs in two samples."""
    from scipy.stats import fisher_exact  # takes a second to import, which a command need not wait for

    stuck = [sum(map(is_stuck, runs)) for runs in samples]
    return float(fisher_exact([[n, len(runs) - n] for n, runs in zip(stuck, samples, strict=True)]).pvalue)


def ends(records: Sequence[Record]) -> Table:
    """Return what runs reach that are not stuck and are trained to the end.

    Raises:
        ValueError: there are no such records, or they cannot be compared.
    """
    found, settings = cells_of([record for record in records if not is_stuck(record)], "d", "model")
    samples = settings["importance_samples"]
    columns: dict[str, tuple[str, ...]] = {
        f"LL ({samples})": ("log_likelihood", "mean"),
        "ELBO": ("sampled_elbo",),
        "RE": ("reconstruction",),
        "KL": ("sampled_kl",),
        "reported LL": ("reported_log_likelihood", "mean"),
        "reported ELBO": ("elbo",),
        "reported KL": ("kl",),
        "median κ": ("median_concentration",),
    }
    return Table(
        title=f"S-VAEs by sampler on {settings['data']}: log-likelihood (LL), ELBO, reconstruction (RE) and KL in "
        f"nats, at most {settings['test_images']} test images",
        label="d",
        model="sampler",
        columns=list(columns),
        rows=comparison(found, columns, {}, digits=2, name=names.sampler, base="s", paired=True),
        notes=[
            f"Runs that have passed the barrier, which there is from d = {LEAST_D} on. "
            + statistics("the exact sampler", shared="their initial weights"),
            "LL, ELBO and KL with the density of the law that is sampled. Reported: with that of the von Mises-Fisher "
            "law, as public code has it; where the laws differ, this ELBO is a looser bound up to d = 62, this LL no "
            "bound. LL by importance sampling, number of samples in brackets; ELBO, RE and KL averaged over "
            f"{PASSES} passes.",
            _start(settings),
            binarization(),
            training(settings),
        ],
    )


def _start(settings: Mapping[str, Any]) -> str:
    bias = settings["initial_bias"]
    return f"κ = 1 + softplus, before training of {bias:g} plus a linear map of the features without offset."


def tables(records: Sequence[Record], *, complete: bool = False) -> dict[str, Table]:
    """Return the shares where there is a barrier, and what runs to the end reach.

    Args:
        records: with the same settings but for sampler, d and seed.
        complete: for the figures of the paper, which has none here.
    """
    found = {}
    if with_barrier := [record for record in records if record.settings["d"] >= LEAST_D]:
        found["barrier"] = shares(with_barrier)
    if any(record.settings["until"] == "end" and not is_stuck(record) for record in records):
        found["barrier-ends"] = ends(records)
    return found


SETTINGS = {
    "hidden": [256, 128],
    "likelihood": "bernoulli",
    "until": "end",
    "initial_bias": 0.0,
    "importance_samples": 500,
    "test_images": 2000,
    **TRAINING,
    "epochs": 140,
    "warmup_epochs": 50,
    "patience": 30,
}
PRESETS = {
    "smoke": {"seeds": 1, "epochs": 3, "warmup_epochs": 1, "patience": 3, "importance_samples": 10, "test_images": 100},
    "quick": {"seeds": 3, "importance_samples": 100},
    "paper": {"seeds": 10},
}
EXPERIMENT = Experiment(
    name="barrier",
    summary="What the public sampler's law and gradient do to S-VAEs: runs that never start, and what the others lose.",
    heading="The public sampler",
    example="barrier --data mnist-5k --dims 20 40 --seeds 10 --until decided",
    study="hvae_tutorial.experiments.studies.barrier",
    kind="images",
    options=BarrierOptions,
    settings=SETTINGS,
    presets=PRESETS,
    cells=cells,
    by=("d", "model"),
    model=names.sampler,
    measures=("elbo", "reconstruction", "kl", "sampled_elbo", "sampled_kl", "median_concentration", "barrier_kl"),
    tables=tables,
)
