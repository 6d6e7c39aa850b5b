"""How long runs will take, from the records of runs like them."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from hvae_tutorial.experiments.run import Run
from hvae_tutorial.records import Record


def seconds(run: Run, records: Iterable[Record]) -> float | None:
    """Return how long training takes at most, in seconds on one core: all its epochs, none saved by stopping early.

    The time of an epoch is the median of the records of the same experiment on the same data, of those with the nearest
    dimension; of the same model, where there are any.

    Returns:
        None where no record is like it.
    """
    alike = [r for r in records if r.experiment == run.experiment and r.settings["data"] == run.settings["data"]]
    alike = [r for r in alike if r.settings["model"] == run.settings["model"]] or alike
    if not alike:
        return None
    distance = {id(record): _distance(record.settings["d"], run.settings["d"]) for record in alike}
    nearest = min(distance.values())
    epochs = [r.training["seconds_per_epoch"] for r in alike if distance[id(r)] == nearest]
    return median(epochs) * run.settings["epochs"]


def in_words(duration: float) -> str:
    """Return a duration with two digits: "40 s", "12 min", "3.5 h"."""
    if duration < 100:
        return f"{duration:.0f} s"
    return f"{duration / 60:.0f} min" if duration < 6000 else f"{duration / 3600:.1f} h"


def total(runs: Sequence[Run], records: Sequence[Record]) -> tuple[float, int]:
    """Return the sum over the runs that have an estimate, in seconds, and the number of those that have none."""
    estimates = [seconds(run, records) for run in runs]
    known = [estimate for estimate in estimates if estimate is not None]
    return sum(known), len(estimates) - len(known)


def _distance(a: Any, b: Any) -> int:
    first, second = (value if isinstance(value, list) else [value] for value in (a, b))
    return abs(sum(first) - sum(second))
