"""From records to tables: means over runs, others' figures beside ours, and Welch's t-test between models.

A table is rows of numbers that know where they come from; `rendering` makes text of it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any

from hvae_tutorial.experiments import names
from hvae_tutorial.experiments.rendering import Rendering
from hvae_tutorial.records import Record

NOT_AVAILABLE = "n/a"
OURS, TEST, MINUS = "ours", "p", "ours \N{MINUS SIGN} "  # the sources of rows that are no publication's


@dataclass(frozen=True)
class Cell:
    """A mean, with a standard deviation where there is one; `str` rounds it.

    Attributes:
        mean: of the runs, or as published; None where there is none.
        spread: sample standard deviation over the runs, or as published; None where there is none.
        digits: decimals to show.
        missing: what to show where there is no mean.
    """

    mean: float | None = None
    spread: float | None = None
    digits: int = 2
    missing: str = ""

    @classmethod
    def of(cls, values: Sequence[float], *, digits: int) -> "Cell":
        """Return mean and sample standard deviation, the latter of two values or more."""
        if not values:
            return cls(digits=digits, missing=NOT_AVAILABLE)
        return cls(mean(values), stdev(values) if len(values) > 1 else None, digits)

    @classmethod
    def published(cls, figures: Sequence[float], *, digits: int) -> "Cell":
        """Return a mean, or a mean and a standard deviation, that others report."""
        mean, *spread = figures
        return cls(mean, spread[0] if spread else None, digits)

    def __str__(self) -> str:
        """Return "mean ± standard deviation", the mean alone, or what stands for none."""
        if self.mean is None:
            return self.missing
        spread = "" if self.spread is None else f" ± {self.spread:.{self.digits}f}"
        return f"{self.mean:.{self.digits}f}{spread}"


@dataclass(frozen=True)
class PValue:
    """The p-value of a test, None where there is none; `str` rounds it to two significant digits."""

    mean: float | None
    spread: None = None

    def __str__(self) -> str:
        """Return it with two significant digits, or "n/a"."""
        if self.mean is None:
            return NOT_AVAILABLE
        return "< 0.0001" if self.mean < 1e-4 else f"{self.mean:.2g}"


@dataclass(frozen=True)
class Difference:
    """By how much our mean is above a published one, None where there is none; `str` has its sign."""

    mean: float | None
    digits: int = 2
    spread: None = None

    @classmethod
    def between(cls, ours: Cell, theirs: Cell) -> "Difference":
        """Return the difference of two means, with the decimals of the second."""
        if ours.mean is None or theirs.mean is None:
            return cls(None)
        return cls(ours.mean - theirs.mean, theirs.digits)

    def __str__(self) -> str:
        """Return it with its sign and the decimals, or nothing."""
        return "" if self.mean is None else f"{self.mean:+z.{self.digits}f}"


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
        label: what the lines are ordered by: a dimension, or a data set.
        model: the name of the model.
        source: `OURS`, `TEST` (p-values against the base model), who published the figures, or `MINUS` and who did:
            differences between ours and theirs.
        detail: one more fact, as the number of coordinates.
        runs: how many runs of ours it is the mean of; None where it is not ours.
        cells: one for each column of the table.
        records: the names of the records that it is made of.
    """

    label: str = ""
    model: str = ""
    source: str = OURS
    detail: str = ""
    runs: int | None = None
    cells: Sequence[Cell | PValue | Difference] = ()
    records: Sequence[str] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """The model and whose figures they are."""
        if self.source == OURS:
            return self.model
        return f"p, {self.model}" if self.source == TEST else f"{self.model}, {self.source}"

    @property
    def is_published(self) -> bool:
        """Whether the figures are those of others."""
        return self.source not in {OURS, TEST} and not self.source.startswith(MINUS)


@dataclass(frozen=True)
class Table(Rendering):
    """Rows of numbers, with the notes without which they must not be shown.

    Attributes:
        title: what is measured, on which data, in which unit.
        columns: the headers of the rows' cells.
        rows: see `Row`.
        notes: one sentence or a few each.
        label: header of the rows' labels; empty where they have none.
        model: header of the rows' models.
        detail: header of the rows' details; empty where they have none.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str]
    label: str = ""
    model: str = "model"
    detail: str = ""


def welch_p_value(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return the two-sided p-value of Welch's t-test for equal means.

    None where there is no test: with fewer than two values on a side, or with no variation on either.
    """
    from scipy.stats import ttest_ind_from_stats  # takes a second to import, which a command need not wait for

    if min(len(a), len(b)) < 2 or stdev(a) == stdev(b) == 0:
        return None
    moments = (mean(a), stdev(a), len(a), mean(b), stdev(b), len(b))
    return float(ttest_ind_from_stats(*moments, equal_var=False).pvalue)


def paired_p_value(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return the two-sided p-value of the paired t-test: Student's, of the differences, for a mean of 0.

    For runs that come in pairs, such as those of one seed where the seed draws the labels or the split of a graph: what
    the two have in common is not in their difference. None where there is no test: with fewer than two pairs, or if all
    differences are equal.

    Raises:
        ValueError: there are not as many values in `a` as in `b`.
    """
    from scipy.stats import ttest_rel  # takes a second to import, which a command need not wait for

    differences = [x - y for x, y in zip(a, b, strict=True)]
    if len(differences) < 2 or stdev(differences) == 0:
        return None
    return float(ttest_rel(a, b).pvalue)


def number(record: Record, *path: str) -> float:
    """Return one of a record's results by its name, or by name and name.

    Raises:
        ValueError: the record has no such number.
    """
    value: Any = record.results
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(value, int | float):
        raise ValueError(f"the record {record.name} has no result {'.'.join(path)}")
    return value


Key = tuple[Any, ...]  # of a cell: the settings by which records are grouped, such as (d, model)


def cells_of(records: Iterable[Record], *by: str) -> tuple[dict[Key, list[Record]], Mapping[str, Any]]:
    """Group records by settings, in the order of these and of `names.rank`; also return the settings that they share.

    Raises:
        ValueError: there are no records, or they differ in more than these settings and the seed.
    """
    cells: dict[Key, list[Record]] = defaultdict(list)
    shared: dict[str, Any] | None = None
    for record in records:
        others = {name: value for name, value in record.settings.items() if name not in {*by, "seed"}}
        shared = others if shared is None else shared
        if others != shared:
            differing = sorted(name for name in others.keys() | shared.keys() if others.get(name) != shared.get(name))
            raise ValueError(f"the records of one table must agree in {', '.join(differing)}; {record.name} does not")
        values = (record.settings[name] for name in by)
        cells[tuple(tuple(value) if isinstance(value, list) else value for value in values)].append(record)
    if shared is None:
        raise ValueError("there are no records to make a table of")
    ranked = sorted(
        cells, key=lambda cell: [names.rank(v) if n == "model" else v for n, v in zip(by, cell, strict=True)]
    )
    return {cell: cells[cell] for cell in ranked}, shared


Published = Mapping[Key, Mapping[str, Sequence[float]]]  # (d or data, model): header: mean, or mean and deviation


def comparison(
    cells: Mapping[Key, list[Record]],
    columns: Mapping[str, tuple[str, ...]],
    published: Mapping[str, Published],
    *,
    digits: int,
    name: Callable[[str], str],
    scale: float | Mapping[str, float] = 1,
    published_digits: int | None = None,
    base: str = "n",
    paired: bool = False,
    complete: bool = False,
) -> list[Row]:
    """Return the rows of a table by d (or data) and model: ours, each publication's, the difference, p-values.

    Args:
        cells: records by d (or data) and model, as `cells_of` gives them.
        columns: for each header the path of the number in a record's results.
        published: the figures of others, by their name; differences are to the first.
        digits: decimals to show.
        name: from a model to its name.
        scale: by which our numbers are multiplied, one for all columns or one for some: 100 for per cent.
        published_digits: decimals of the figures of others, where they have fewer than ours.
        base: the model that the others are tested against.
        paired: whether runs with one seed share what the seed draws, and are tested as pairs, the others not at all;
            else by Welch's test.
        complete: also show cells in which there are only published figures.
    """
    factors = scale if isinstance(scale, Mapping) else dict.fromkeys(columns, scale)
    values = {cell: _values(runs, columns, factors) for cell, runs in cells.items()}
    shown = set(cells).union(*published.values()) if complete else set(cells)
    rows = []
    for key in sorted({key for key, _ in shown}):
        label = ", ".join(map(str, key)) if isinstance(key, tuple) else str(key)
        models = sorted((model for other, model in shown if other == key), key=names.rank)
        for model in models:
            runs = cells.get((key, model), [])
            ours = [Cell.of(column, digits=digits) for column in values.get((key, model), [])]
            if runs:
                rows.append(Row(label, name(model), runs=len(runs), cells=ours, records=[run.name for run in runs]))
            for rank, (source, figures) in enumerate(published.items()):
                if (key, model) in figures:
                    row = figures[key, model]
                    theirs = [
                        Cell.published(row[header], digits=published_digits or digits) if header in row else Cell()
                        for header in columns
                    ]
                    rows.append(Row(label, name(model), source, cells=theirs))
                    if runs and rank == 0:
                        gaps = [Difference.between(*pair) for pair in zip(ours, theirs, strict=True)]
                        rows.append(Row(label, name(model), MINUS + source, cells=gaps))
        for model in models:
            if model != base and (key, base) in cells and (key, model) in cells:
                sides = cells[key, model], cells[key, base]
                test = paired_p_value if paired else welch_p_value
                samples = (_values(runs, columns, factors) for runs in (_pairs(*sides) if paired else sides))
                tests = [PValue(test(a, b)) for a, b in zip(*samples, strict=True)]
                if any(p.mean is not None for p in tests):  # none where a cell has one run
                    rows.append(Row(label, name(model), TEST, cells=tests))
    return rows


def _values(
    runs: Sequence[Record], columns: Mapping[str, tuple[str, ...]], factors: Mapping[str, float]
) -> list[list[float]]:
    """The numbers of each column."""
    return [[factors.get(header, 1) * number(run, *path) for run in runs] for header, path in columns.items()]


def _pairs(a: Sequence[Record], b: Sequence[Record]) -> list[list[Record]]:
    """The runs of either side whose seed is on both, in the same order."""
    sides = [{run.settings["seed"]: run for run in runs} for runs in (a, b)]
    common = sorted(sides[0].keys() & sides[1].keys())
    return [[side[seed] for seed in common] for side in sides]


def statistics(base: str, *, shared: str = "") -> str:
    """Return the note on means, deviations and tests.

    Args:
        base: the name of the model that the others are tested against.
        shared: what runs with one seed share, which makes them pairs; nothing by default.
    """
    test, why = ("paired", f"; runs with one seed share {shared}") if shared else ("Welch", "")
    return f"Mean ± standard deviation over the runs; p: two-sided {test} t-test against {base}{why}."


def binarization() -> str:
    """Return the note on binary pixels."""
    return "Validation and test images are binarised once, training images anew for every batch."


def training(settings: Mapping[str, Any]) -> str:
    """Return the note on how long and how was trained."""
    hidden = "-".join(str(width) for width in settings["hidden"])
    return (
        f"Hidden layers {hidden}; Adam with step size {settings['learning_rate']:g}, batches of "
        f"{settings['batch_size']}; at most {settings['epochs']} epochs, warm-up over {settings['warmup_epochs']}, "
        f"stopped after {settings['patience']} epochs without a better validation ELBO."
    )
