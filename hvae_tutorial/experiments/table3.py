"""Table 3: semi-supervised M1+M2 with 100 labels, by the posteriors of z1 and z2 and their dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from hvae_tutorial.experiments import names, paper
from hvae_tutorial.experiments.choices import PASSES
from hvae_tutorial.experiments.experiment import TRAINING, Experiment
from hvae_tutorial.experiments.options import Images, Pairs, PointOptions, Several, combinations
from hvae_tutorial.experiments.results import Table, binarization, cells_of, comparison, statistics, training
from hvae_tutorial.records import Record

# How each scheme trains; and, where it is not the image, what its bound is on.
SCHEMES = {
    "end-to-end": "end-to-end",
    "stacked": "stacked, M2 on a trained M1",
    "full-prior": "end-to-end, with p(z1|y,z2) and the entropy of q(z1|x) in full during warm-up, too",
    "disjoint": "end-to-end, without the labelled images among the unlabelled ones",
    "low-floor": "end-to-end, with κ ≥ 0.01 in place of κ ≥ 1 for z2",
    "circles": "end-to-end, with z2 on as many circles as its sphere has dimensions, κ ≥ 0.01 on each",
}
EXPLAINED = {"stacked": " of z1, not of the image,"}


@dataclass(frozen=True, kw_only=True)
class Table3Options(PointOptions):
    """Options of Table 3."""

    data: Images = "digits"
    """Images to learn; digits come with scikit-learn, the others are downloaded or found in $HVAE_DATA."""

    configs: Annotated[tuple[str, ...], Several] = ("5,5", "10,10", "50,50")
    """Dimensions of the spaces of z1 and z2, as 5,10."""

    pairs: Pairs = ("nn", "ss", "sn")

    scheme: Literal["end-to-end", "stacked", "full-prior", "disjoint", "low-floor", "circles"] = "end-to-end"
    """end-to-end, one bound for both models as in the paper; stacked, M2 on a trained M1; or end-to-end with one thing
    changed: full-prior (warm-up does not weigh p(z1|y,z2)), disjoint (labelled images are not among the unlabelled
    ones), low-floor (a spherical z2 with kappa >= 0.01), circles (and z2 on a product of circles, a kappa on each)."""

    alpha: Annotated[float | None, Parameter(validator=Number(gte=0, lt=float("inf")))] = None
    """Weight of the classifier's log-likelihood on the labelled images."""


def cells(options: Table3Options) -> list[dict[str, Any]]:
    """Return a cell for each pair of dimensions and of posteriors.

    Raises:
        ValueError: a dimension or posterior does not exist, or the scheme is not for it.
    """
    if options.scheme in ("low-floor", "circles") and any(names.heads_of(pair)[1] != "s" for pair in options.pairs):
        raise ValueError(f"scheme {options.scheme} is for pairs with a von Mises-Fisher z2, as ss; got {options.pairs}")
    found = combinations(
        configs=tuple(_dimensions(config) for config in options.configs),
        pairs=tuple(names.pair_of(*names.heads_of(pair)) for pair in options.pairs),
    )
    return [{"data": options.data, "model": pair, "d": list(config)} for config, pair in found]


def _dimensions(text: str) -> tuple[int, int]:
    first, _, second = text.partition(",")
    allowed = range(1, names.LARGEST_DIMENSION + 1)
    if not (first.isdecimal() and second.isdecimal() and int(first) in allowed and int(second) in allowed):
        raise ValueError(f"configs must be pairs of dimensions in 1 to {len(allowed)}, as 5,10; got {text!r}")
    return int(first), int(second)


def table(records: Sequence[Record], *, complete: bool = False) -> Table:
    """Return Table 3: accuracy of M1+M2 with few labels, by dimensions of z1 and z2 and by posteriors.

    Args:
        records: with the same settings but for model, d and seed.
        complete: on the paper's data, also show the cells in which we have no run.

    Raises:
        ValueError: there are no records, or they cannot be compared.
    """
    found, settings = cells_of(records, "d", "model")
    scheme = settings["scheme"]
    columns = {"accuracy": ("accuracy",), "ELBO": ("elbo",), "RE": ("reconstruction",), "KL": ("kl",)}
    published = {cell: {"accuracy": (accuracy,)} for cell, accuracy in paper.TABLE3.items()}
    return Table(
        title=f"Table 3 on {settings['data']}: M1+M2 with {settings['labels']} labels, accuracy in %, ELBO in nats, "
        "test set",
        label="d of z1, z2",
        columns=list(columns),
        rows=comparison(
            found,
            columns,
            {"paper": published} if settings["data"] == paper.DATA else {},
            digits=2,
            published_digits=1,
            scale={"accuracy": 100},
            name=names.pair,
            base="nn",
            paired=True,
            complete=complete,
        ),
        notes=[
            statistics("N+N", shared="their labelled images") + " S+N: von Mises-Fisher z1, Gaussian z2.",
            "Accuracy of the most probable class by q(y|z1) at the mode of q(z1|x). "
            f"ELBO, RE and KL{EXPLAINED.get(scheme, '')} from one latent sample an image, averaged over {PASSES} "
            "passes.",
            f"Training: {SCHEMES[scheme]}. Labelled images class-balanced, {settings['labelled_batch_size']} of "
            f"them in every batch beside the unlabelled ones; α = {settings['alpha']:g}; M2 with hidden layers of "
            f"{settings['m2_hidden']}.",
            binarization(),
            training(settings),
        ],
    )


EXPERIMENT = Experiment(
    name="table3",
    summary="Semi-supervised M1+M2 with 100 labels (Table 3).",
    heading="M1+M2 with 100 labels",
    example="table3 --configs 5,5 10,10 --pairs nn sn",
    study="hvae_tutorial.experiments.studies.m1m2",
    kind="images",
    options=Table3Options,
    settings={
        "scheme": "end-to-end",  # as the paper; "stacked" is M2 on a trained M1, as Kingma et al.
        "labels": 100,
        "labelled_batch_size": 16,
        "alpha": 0.1,  # weight of the classifier's log-likelihood, as Kingma et al.
        "hidden": [256, 128],
        "m2_hidden": 128,
        **TRAINING,
    },
    presets={
        "smoke": {"seeds": 1, "epochs": 3, "warmup_epochs": 1, "patience": 3},
        "quick": {"seeds": 2, "epochs": 60, "warmup_epochs": 15, "patience": 15},
        "paper": {"seeds": 10},
    },
    cells=cells,
    by=("d", "model"),
    model=names.pair,
    measures=("accuracy", "elbo", "reconstruction", "kl"),
    tables=lambda records, complete=False: {"table3": table(records, complete=complete)},
)
