"""Table 4: link prediction on graphs, N-VGAE against S-VGAE at equal latent dimension.

The model sees 85% of the edges and is asked to tell the held-out ones from as many pairs that are none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from hvae_tutorial.experiments import names, paper
from hvae_tutorial.experiments.experiment import Experiment
from hvae_tutorial.experiments.options import Graph, GraphModels, Options, Several, combinations
from hvae_tutorial.experiments.results import Table, cells_of, comparison, statistics
from hvae_tutorial.records import Record


@dataclass(frozen=True, kw_only=True)
class Table4Options(Options):
    """Options of Table 4, where every step takes the whole graph and the last epoch is kept."""

    data: Annotated[tuple[Graph, ...], Several] = ("karate", "les-miserables")
    """Graphs; karate and les-miserables come with NetworkX, the others are downloaded or found in $HVAE_DATA."""

    models: GraphModels = ("n", "s")

    dropout: Annotated[float | None, Parameter(validator=Number(gte=0, lt=1))] = None
    """Probability with which training zeroes each input of a graph convolution."""


def cells(options: Table4Options) -> list[dict[str, Any]]:
    """Return a cell for each graph and model, on spaces of dimension 16."""
    found = combinations(data=options.data, models=options.models)
    return [{"data": graph, "model": model, "d": 16} for graph, model in found]


def table(records: Sequence[Record], *, complete: bool = False) -> Table:
    """Return Table 4: how well held-out edges are told from pairs that are none.

    Args:
        records: with the same settings but for data, model and seed.
        complete: also show the paper's cells in which we have no run.

    Raises:
        ValueError: there are no records, or they cannot be compared.
    """
    found, settings = cells_of(records, "data", "model")
    columns = {"AUC": ("auc",), "AP": ("ap",)}
    published = {
        source: {cell: {name.upper(): (figure,) for name, figure in row.items()} for cell, row in figures.items()}
        for source, figures in (("paper", paper.TABLE4), ("Kipf and Welling", paper.KIPF_WELLING))
    }
    return Table(
        title="Table 4: link prediction, area under the ROC curve (AUC) and average precision (AP) in %, test edges",
        label="graph",
        columns=list(columns),
        rows=comparison(
            found, columns, published, digits=1, scale=100, name=names.vgae, paired=True, complete=complete
        ),
        notes=[
            statistics("N-VGAE", shared="their split of the edges")
            + " The paper's figures of N-VGAE are quoted from memory.",
            "10% of the edges for test, 5% for validation, and as many non-edges; pairs are ranked by the decoder's "
            "logit at the posterior means.",
            f"d = {settings['d']}, hidden layer {settings['hidden']}, dropout {settings['dropout']:g}; Adam with step "
            f"size {settings['learning_rate']:g}, all edges in every step, {settings['epochs']} epochs, the last one "
            f"kept; Kipf and Welling's reweighed loss, its sum over non-edges estimated from "
            f"{settings['pairs_per_edge']} pairs for each training edge.",
        ],
    )


EXPERIMENT = Experiment(
    name="table4",
    summary="Link prediction on graphs (Table 4): N-VGAE and S-VGAE.",
    heading="Link prediction",
    example="table4 --data cora citeseer --preset paper",
    study="hvae_tutorial.experiments.studies.link_prediction",
    kind="graphs",
    options=Table4Options,
    settings={
        "hidden": 32,
        "dropout": 0.0,
        "epochs": 200,  # the weights of the last one are kept
        "learning_rate": 1e-2,  # of Adam, with all edges in every step
        "pairs_per_edge": 10,  # pairs drawn in every step for each edge, to estimate the sum over non-edges
    },
    presets={"smoke": {"seeds": 1, "epochs": 3}, "quick": {"seeds": 3}, "paper": {"seeds": 10}},
    cells=cells,
    by=("data", "model"),
    model=names.vgae,
    measures=("auc", "ap"),
    tables=lambda records, complete=False: {"table4": table(records, complete=complete)},
)
