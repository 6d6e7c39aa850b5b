"""Table 2: M1, k-NN on the latent means of Table 1's models, and what a coordinate more or less does to it.

The runs are Table 1's: a run that is recorded for one table is not done again for the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from cyclopts import Parameter

from hvae_tutorial.experiments import names, paper, table1
from hvae_tutorial.experiments.choices import DRAWS, NEIGHBOURS
from hvae_tutorial.experiments.results import (
    Cell,
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


@dataclass(frozen=True, kw_only=True)
class Table2Options(table1.Table1Options):
    """Options of Table 2."""

    equal_coordinates: Annotated[bool, Parameter(negative="")] = False
    """Also compare N-VAE on R^d with S-VAE on S^(d-1), which has as many coordinates."""


def cells(options: Table2Options) -> list[dict[str, Any]]:
    """Return Table 1's cells, and with `equal_coordinates` the three of each d >= 2 that are to be compared."""
    found = table1.cells(options)
    if options.equal_coordinates:
        triples = [
            triple for d in dict.fromkeys(options.dims) if d >= 2 for triple in (("n", d), ("s", d), ("s", d - 1))
        ]
        found += [{"data": options.data, "model": model, "d": d} for model, d in dict.fromkeys(triples)]
    return [cell for i, cell in enumerate(found) if cell not in found[:i]]


def table(records: Sequence[Record], *, complete: bool = False) -> Table:
    """Return Table 2: k-NN accuracy of the latent means, from the same records as Table 1.

    Args:
        records: with the same settings but for model, d and seed.
        complete: on the paper's data, also show the cells in which we have no run.

    Raises:
        ValueError: there are no records, or they cannot be compared.
    """
    found, settings = cells_of(records, "d", "model")
    columns = _columns(records)
    published = {
        cell: {f"{size} labels": (accuracy,) for size, accuracy in row.items() if f"{size} labels" in columns}
        for cell, row in paper.TABLE2.items()
    }
    return Table(
        title=f"Table 2 on {settings['data']}: k-NN accuracy of the latent means in %, test set",
        label="d",
        columns=list(columns),
        rows=comparison(
            found,
            columns,
            {"paper": published} if settings["data"] == paper.DATA else {},
            digits=1,
            scale=100,
            name=names.vae,
            paired=True,
            complete=complete,
        ),
        notes=[
            statistics("N-VAE", shared="their sets of labelled images"),
            _protocol(),
            binarization(),
            training(settings),
        ],
    )


def by_coordinates(records: Sequence[Record]) -> Table:
    """Return Table 2 by number of coordinates: N-VAE on R^d, S-VAE on S^d and S-VAE on S^(d-1), for every d with all.

    The last has as many coordinates of z as the N-VAE, m = d, but a sphere of one dimension less. The paper compares
    the first two; a program that hands both models the same number of coordinates compares the N-VAE with the last.

    Args:
        records: with the same settings but for model, d and seed.

    Raises:
        ValueError: there are no records, they cannot be compared, or no d has all three.
    """
    found, settings = cells_of(records, "d", "model")
    columns = _columns(records)
    rows = []
    for d in (d for d, model in found if model == "n"):
        triple = {f"N-VAE, R^{d}": (d, "n"), f"S-VAE, S^{d}": (d, "s"), f"S-VAE, S^{d - 1}": (d - 1, "s")}
        if not set(triple.values()) <= found.keys():
            continue
        for name, cell in triple.items():
            runs = found[cell]
            measured = [Cell.of([100 * number(run, *path) for run in runs], digits=1) for path in columns.values()]
            coordinates = str(cell[0] + (cell[1] == "s"))
            ours = [run.name for run in runs]
            rows.append(Row(str(d), name, detail=coordinates, runs=len(runs), cells=measured, records=ours))
    if not rows:
        raise ValueError("there is no d with records of N-VAE on R^d and of S-VAE on S^d and on S^(d-1)")
    return Table(
        title=f"Table 2 on {settings['data']} by number of coordinates: k-NN accuracy of the latent means in %",
        label="d of the plane",
        model="model and space",
        detail="coordinates",
        columns=list(columns),
        rows=rows,
        notes=["Mean ± standard deviation over the runs.", _protocol(), binarization(), training(settings)],
    )


def tables(records: Sequence[Record], *, complete: bool = False) -> dict[str, Table]:
    """Return Table 2, and that by number of coordinates where there is a d with all three spaces."""
    made = {"table2": table(records, complete=complete)}
    spaces = {(record.settings["model"], record.settings["d"]) for record in records}
    if any(model == "n" and {("s", d), ("s", d - 1)} <= spaces for model, d in spaces):
        made["table2-coordinates"] = by_coordinates(records)
    return made


def _columns(records: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    return {f"{size} labels": ("knn", size, "mean") for size in records[0].results["knn"]}


def _protocol() -> str:
    return (
        f"k = {NEIGHBOURS}; the latent means are the modes of the posteriors of the binarised images, on the sphere "
        "the mean directions; Euclidean distance in the plane, cosine on the sphere; each run is the mean of "
        f"{DRAWS} class-balanced labelled sets drawn from the training set."
    )


EXPERIMENT = replace(
    table1.EXPERIMENT,
    name="table2",
    summary="Semi-supervised M1 (Table 2): k-NN on the latent means of Table 1's models.",
    heading="Nearest neighbours on the latent means",
    example="table2 --dims 2 --equal-coordinates",
    options=Table2Options,
    cells=cells,
    tables=tables,
    recorded_as="table1",
    also=(),
)
