"""Table 2: M1, k-NN on the latent means of Table 1's models, and what a coordinate more or less does to it.

The runs are Table 1's, and stay in its folder: a run that is recorded for one table is not done again for the other.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hvae_tutorial.experiments import results, table1
from hvae_tutorial.experiments.presets import Preset
from hvae_tutorial.experiments.report import Report, save
from hvae_tutorial.experiments.run import execute
from hvae_tutorial.experiments.sweep import sweep


def reproduce(
    *,
    data: str,
    preset: Preset,
    dims: Sequence[int] = (2, 5, 10, 20, 40),
    models: Sequence[str] = ("n", "s"),
    equal_coordinates: bool = False,
    device: str = "auto",
    out: Path = Path("runs"),
    jobs: int | None = None,
    dask: str | None = None,
) -> Report:
    """Do the runs that are missing, then make Table 2, in the folder `out/table1-<data>`.

    Args:
        data: name of a set of images.
        preset: how long to train, and how many seeds.
        dims: latent dimensions d.
        models: of `"n"`, `"s"` and `"ps"`.
        equal_coordinates: also set the S-VAE with m = d coordinates, on the sphere S^(d-1), beside the N-VAE and the
            S-VAE with m = d + 1 of the same d, where d >= 2.
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
    table1.check(data, dims, models)
    cells = [(model, d) for d in dims for model in models]
    triples = [[("n", d), ("s", d), ("s", d - 1)] for d in dims if equal_coordinates and d >= 2]
    cells = list(dict.fromkeys(cells + [cell for triple in triples for cell in triple]))
    folder = out / f"table1-{data}"
    runs = table1.runs_of_cells(data, cells, preset=preset, device=device)
    records = sweep(runs, partial(execute, evaluate=table1.evaluate), folder, jobs=jobs, dask=dask)
    chosen = [record for record in records if record.settings["d"] in dims and record.settings["model"] in models]
    tables = {"table2": results.table2(chosen)}
    if triples:
        tables["table2-coordinates"] = results.table2_coordinates(records)
    return Report(tables=list(tables.values()), files=save(folder, tables, {}))
