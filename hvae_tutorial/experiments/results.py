"""From records to tables: means over runs, the paper's figures beside ours, and Welch's t-test of S against N."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from scipy.stats import ttest_ind_from_stats
from tabulate import tabulate

from hvae_tutorial.experiments import paper
from hvae_tutorial.experiments.knn import DRAWS, NEIGHBOURS
from hvae_tutorial.experiments.protocol import FEW_SAMPLES, PASSES
from hvae_tutorial.records import Record

MODELS = {
    "ae": "autoencoder",
    "n": "N-VAE",
    "s": "S-VAE",
    "ps": "PS-VAE",
}  # in the order of the rows; PS: Power Spherical
NOT_AVAILABLE = "n/a"


@dataclass(frozen=True)
class Table:
    """A table of strings, with the notes without which it must not be shown."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]

    def text(self) -> str:
        """Return the table for a terminal."""
        body = tabulate(self.rows, self.headers, tablefmt="simple", disable_numparse=True)
        return "\n".join([self.title, "", body, "", *(f"- {note}" for note in self.notes)])

    def markdown(self) -> str:
        """Return the table in GitHub's Markdown."""
        body = tabulate(self.rows, self.headers, tablefmt="github", disable_numparse=True)
        return "\n".join([f"**{self.title}**", "", body, "", *(f"- {note}" for note in self.notes), ""])


def mean_and_deviation(values: Sequence[float], *, digits: int) -> str:
    """Return "mean ± sample standard deviation", or the value alone where there is only one."""
    if not values:
        return NOT_AVAILABLE
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}"


def welch_p_value(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return the two-sided p-value of Welch's t-test for equal means.

    None where there is no test: with fewer than two values on a side, or with no variation on either.
    """
    if min(len(a), len(b)) < 2 or stdev(a) == stdev(b) == 0:
        return None
    moments = (mean(a), stdev(a), len(a), mean(b), stdev(b), len(b))
    return float(ttest_ind_from_stats(*moments, equal_var=False).pvalue)


def format_p_value(p: float | None) -> str:
    """Return a p-value with two significant digits, or "n/a" where there is none."""
    if p is None:
        return NOT_AVAILABLE
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def table1(records: Iterable[Record]) -> Table:
    """Return Table 1: log-likelihood, ELBO, RE and KL on the test set.

    Args:
        records: of the experiment `table1`, with the same settings but for model, d and seed.

    Raises:
        ValueError: there are no records, or they cannot be compared.
    """
    cells, settings = _cells(records, "d", "model")
    samples = settings["importance_samples"]
    columns: Columns = {
        f"LL ({samples})": lambda results: results["log_likelihood"]["mean"],
        f"LL ({FEW_SAMPLES})": lambda results: results["log_likelihood_10"]["mean"],
        "ELBO": lambda results: results["elbo"],
        "RE": lambda results: results["reconstruction"],
        "KL": lambda results: results["kl"],
    }
    names = {f"LL ({samples})": "log_likelihood", "ELBO": "elbo", "RE": "reconstruction", "KL": "kl"}
    published = {
        cell: {header: "{:.2f} ± {:.2f}".format(*numbers[name]) for header, name in names.items()}
        for cell, numbers in paper.TABLE1.items()
    }
    return Table(
        title=f"Table 1 on {settings['data']}: log-likelihood (LL), ELBO, reconstruction (RE) and KL in nats, test set",
        headers=["d", "model", "runs", *columns],
        rows=_comparison(cells, columns, {} if settings["data"] != paper.DATA else published, digits=2),
        notes=[
            _STATISTICS,
            "LL by importance sampling, number of samples in brackets; ELBO, RE and KL from one latent sample an "
            f"image, averaged over {PASSES} passes.",
            *_protocol(settings),
        ],
    )


def table2(records: Iterable[Record]) -> Table:
    """Return Table 2: k-NN accuracy of the latent means, from the same records as Table 1.

    Args:
        records: of the experiment `table1`, with the same settings but for model, d and seed.

    Raises:
        ValueError: there are no records, or they cannot be compared.
    """
    cells, settings = _cells(records, "d", "model")
    sizes = list(next(iter(cells.values()))[0].results["knn"])
    columns: Columns = {f"{size} labels": _knn_accuracy(size) for size in sizes}
    published = {
        cell: {f"{size} labels": f"{accuracy:.1f}" for size, accuracy in accuracies.items()}
        for cell, accuracies in paper.TABLE2.items()
    }
    return Table(
        title=f"Table 2 on {settings['data']}: k-NN accuracy of the latent means in %, test set",
        headers=["d", "model", "runs", *columns],
        rows=_comparison(cells, columns, {} if settings["data"] != paper.DATA else published, digits=1),
        notes=[
            _STATISTICS,
            f"k = {NEIGHBOURS}, posterior means of the binarised images, Euclidean distance in the plane, cosine on "
            f"the sphere; each run is the mean of {DRAWS} class-balanced labelled sets drawn from the training set.",
            *_protocol(settings),
        ],
    )


def figure1(records: Iterable[Record]) -> Table:
    """Return the table that goes with Figure 1: the fit on the validation data, and how well the circle is recovered.

    Args:
        records: of the experiment `figure1`, with the same settings but for model, d, beta and seed.

    Raises:
        ValueError: there are no records, or they cannot be compared.
    """
    cells, settings = _cells(records, "model", "beta", "d")
    samples = settings["importance_samples"]
    rows = []
    for (model, beta, _), runs in cells.items():
        columns = [[record.results[name] for record in runs if name in record.results] for name in _TERMS]
        likelihoods = [
            record.results["log_likelihood"]["mean"] for record in runs if "log_likelihood" in record.results
        ]
        correlations = [record.results["circular_correlation"] for record in runs]
        rows.append(
            [
                MODELS[model] + (f", β = {beta:g}" if model == "n" else ""),
                str(len(runs)),
                *(mean_and_deviation(column, digits=2) for column in (likelihoods, *columns)),
                mean_and_deviation(correlations, digits=3),
            ]
        )
    return Table(
        title="Figure 1: a circle bent into R^100, validation data, in nats",
        headers=["model", "runs", f"LL ({samples})", "ELBO", "RE", "KL", "circular correlation"],
        rows=rows,
        notes=[
            "Mean ± standard deviation over the runs. The autoencoder defines no density.",
            f"LL by importance sampling with {samples} samples; ELBO (β = 1), RE and KL from one latent sample a "
            f"point, averaged over {PASSES} passes.",
            "Circular correlation (Fisher and Lee 1983) between the true and the latent angle: 1 for a circle "
            "recovered up to rotation and reflection. In a plane the angle is taken around the mean of the latents.",
            _training(settings),
        ],
    )


_TERMS = ("elbo", "reconstruction", "kl")
_STATISTICS = "Mean ± standard deviation over the runs; p: two-sided Welch t-test against N-VAE."

Columns = Mapping[str, Callable[[Mapping[str, Any]], float]]  # header: results of a run -> number


def _knn_accuracy(size: str) -> Callable[[Mapping[str, Any]], float]:
    return lambda results: 100 * results["knn"][size]["mean"]


def _cells(records: Iterable[Record], *by: str) -> tuple[dict[tuple, list[Record]], Mapping[str, Any]]:
    """Group records by settings, in the order of these and of `MODELS`; also return the settings that they share."""
    cells: dict[tuple, list[Record]] = defaultdict(list)
    shared: dict[str, Any] | None = None
    for record in records:
        others = {name: value for name, value in record.settings.items() if name not in {*by, "seed"}}
        shared = others if shared is None else shared
        if others != shared:
            differing = sorted(name for name in others.keys() | shared.keys() if others.get(name) != shared.get(name))
            raise ValueError(f"the records of one table must agree in {', '.join(differing)}; {record.name} does not")
        cells[tuple(record.settings[name] for name in by)].append(record)
    if shared is None:
        raise ValueError("there are no records to make a table of")
    models = list(MODELS)
    ranked = sorted(cells, key=lambda cell: [models.index(value) if value in MODELS else value for value in cell])
    return {cell: cells[cell] for cell in ranked}, shared


def _comparison(
    cells: Mapping[tuple, list[Record]],
    columns: Columns,
    published: Mapping[tuple, Mapping[str, str]],
    *,
    digits: int,
) -> list[list[str]]:
    """Return the rows of a table by d and model: ours, the paper's below, then p-values against N-VAE."""
    rows = []
    values = {
        cell: [[get(record.results) for record in runs] for get in columns.values()] for cell, runs in cells.items()
    }
    for d in dict.fromkeys(d for d, _ in cells):
        models = [model for other, model in cells if other == d]
        for model in models:
            numbers = [mean_and_deviation(column, digits=digits) for column in values[d, model]]
            rows.append([str(d), MODELS[model], str(len(cells[d, model])), *numbers])
            if (d, model) in published:
                figures = [published[d, model].get(header, "") for header in columns]
                rows.append([str(d), f"{MODELS[model]}, paper", "", *figures])
        for model in models:
            if model != "n" and "n" in models:
                pairs = zip(values[d, model], values[d, "n"], strict=True)
                rows.append(
                    [str(d), f"p, {MODELS[model]}", "", *(format_p_value(welch_p_value(a, b)) for a, b in pairs)]
                )
    return rows


def _protocol(settings: Mapping[str, Any]) -> list[str]:
    return [
        "Validation and test images are binarised once, training images anew for every batch.",
        _training(settings),
    ]


def _training(settings: Mapping[str, Any]) -> str:
    hidden = "-".join(str(width) for width in settings["hidden"])
    return (
        f"Hidden layers {hidden}; Adam with step size {settings['learning_rate']:g}, batches of "
        f"{settings['batch_size']}; at most {settings['epochs']} epochs, warm-up over {settings['warmup_epochs']}, "
        f"stopped after {settings['patience']} epochs without a better validation ELBO."
    )
