"""The options that experiments share, as the library and the command line take them.

An option that is a setting of a run has the setting's name, and None where the preset is to decide.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_origin

from cyclopts import Parameter, Token
from cyclopts.validators import Number

from hvae_tutorial.experiments.names import HEADS, LARGEST_DIMENSION, PLAIN, legend
from hvae_tutorial.sources import REGISTRY


def whole(type_: Any, tokens: Sequence[Token]) -> Any:
    """Read whole numbers, for cyclopts: by itself it takes 2.5 for 2 without a word."""
    try:
        numbers = tuple(int(token.value) for token in tokens)
    except ValueError:
        given = " ".join(token.value for token in tokens)
        raise ValueError(f'{tokens[0].keyword} takes whole numbers, not "{given}".') from None
    return numbers if get_origin(type_) is tuple else numbers[0]


# Beyond these, which nothing of ours is near, torch fails with messages that name neither option nor value.
LARGEST_COUNT = 10**9

Count = Annotated[int | None, Parameter(converter=whole, validator=Number(gte=1, lte=LARGEST_COUNT))]
CountFrom0 = Annotated[int | None, Parameter(converter=whole, validator=Number(gte=0, lte=LARGEST_COUNT))]
Seeds = Annotated[
    tuple[int, ...],
    Parameter(converter=whole, consume_multiple=True, negative="", validator=Number(gte=0, lte=2**32 - 1)),
]
Dims = Annotated[
    tuple[int, ...],
    Parameter(converter=whole, consume_multiple=True, negative="", validator=Number(gte=1, lte=LARGEST_DIMENSION)),
]
Several = Parameter(consume_multiple=True, negative="")
if TYPE_CHECKING:
    Images: TypeAlias = str
    Graph: TypeAlias = str
    Models: TypeAlias = tuple[str, ...]
    GraphModels: TypeAlias = tuple[str, ...]
else:  # the choices that the command line offers: those of the tables of data sets and of heads
    Images = Literal[tuple(name for name, source in REGISTRY.items() if source.kind == "images")]
    Graph = Literal[tuple(name for name, source in REGISTRY.items() if source.kind == "graphs")]
    Models = Annotated[
        tuple[Literal[tuple(HEADS)], ...], Parameter(consume_multiple=True, negative="", help=f"{legend()}.")
    ]
    GraphModels = Annotated[
        tuple[Literal[(*HEADS, *(head + PLAIN for head in HEADS))], ...],
        Parameter(
            consume_multiple=True, negative="", help=f"{legend()}; with {PLAIN}, no scale or offset of the logits."
        ),
    ]
Pairs = Annotated[
    tuple[str, ...],
    Parameter(consume_multiple=True, negative="", help=f"Posteriors of z1 and z2, as sn or ps+n: {legend()}."),
]


def combinations(**options: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return every combination of the options' values once, those of the last one next to each other.

    Raises:
        ValueError: an option has no values.
    """
    if not all(options.values()):
        given = " and ".join(f"{name} {values}" for name, values in options.items())
        raise ValueError(f"{' and '.join(options)} must not be empty, got {given}")
    return list(itertools.product(*map(dict.fromkeys, options.values())))


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of all experiments."""

    preset: Literal["smoke", "quick", "paper"] = "quick"
    """How much effort: smoke (seconds), quick (minutes), paper (the paper's protocol)."""

    seeds: Count = None
    """Number of runs of each cell: with 3, the seeds are 0, 1 and 2."""

    seed_list: Seeds = ()
    """The seeds themselves, in place of their number."""

    epochs: Count = None
    """At most this many epochs."""

    learning_rate: Annotated[float | None, Parameter(validator=Number(gt=0, lt=float("inf")))] = None
    """Adam's step size."""

    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto takes CUDA where there is one."""

    jobs: Count = None
    """Processes of one thread each; one a core by default, one in all on a GPU."""

    dask: str | None = None
    """Address of a Dask scheduler (tcp://host:8786) whose workers do the runs; they must share the folder --out."""

    out: Path = Path("runs")
    """Where results go. Runs recorded there are not done again."""


@dataclass(frozen=True, kw_only=True)
class PointOptions(Options):
    """Options of the experiments on points and images."""

    warmup_epochs: CountFrom0 = None
    """Epochs over which the weight of the KL term rises."""

    patience: Count = None
    """Stop after this many epochs, counted after warm-up, without a better validation ELBO."""

    batch_size: Count = None
    """Points in a batch."""
