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
    "nn": "N+N",
    "ss": "S+S",
    "sn": "S+N",
    "ns": "N+S",
}  # in the order of the rows; PS: Power Spherical
GRAPH_MODELS = {"n": "N-VGAE", "s": "S-VGAE", "ps": "PS-VGAE"}
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
        rows=_comparison(cells, columns, {} if settings["data"] != paper.DATA else {"paper": published}, digits=2),
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
    columns = _knn_columns(cells)
    published = {
        cell: {f"{size} labels": f"{accuracy:.1f}" for size, accuracy in accuracies.items()}
        for cell, accuracies in paper.TABLE2.items()
    }
    return Table(
        title=f"Table 2 on {settings['data']}: k-NN accuracy of the latent means in %, test set",
        headers=["d", "model", "runs", *columns],
        rows=_comparison(cells, columns, {} if settings["data"] != paper.DATA else {"paper": published}, digits=1),
        notes=[
            _STATISTICS,
            _knn_protocol(),
            *_protocol(settings),
        ],
    )


def table2_coordinates(records: Iterable[Record]) -> Table:
    """Return Table 2 by number of coordinates: N-VAE on R^d, S-VAE on S^d and S-VAE on S^(d-1), for every d with all.

    The last has as many coordinates of z as the N-VAE, m = d, but a sphere of one dimension less. The paper compares
    the first two; a program that hands both models the same number of coordinates compares the N-VAE with the last.

    Args:
        records: of the experiment `table1`, with the same settings but for model, d and seed.

    Raises:
        ValueError: there are no records, they cannot be compared, or no d has all three.
    """
    cells, settings = _cells(records, "d", "model")
    columns = _knn_columns(cells)
    rows = []
    for d in (d for d, model in cells if model == "n"):
        triple = {f"N-VAE, R^{d}": (d, "n"), f"S-VAE, S^{d}": (d, "s"), f"S-VAE, S^{d - 1}": (d - 1, "s")}
        if not set(triple.values()) <= cells.keys():
            continue
        for name, cell in triple.items():
            coordinates = cell[0] + (cell[1] == "s")
            values = [[get(record.results) for record in cells[cell]] for get in columns.values()]
            numbers = [mean_and_deviation(column, digits=1) for column in values]
            rows.append([str(d), name, str(coordinates), str(len(cells[cell])), *numbers])
    if not rows:
        raise ValueError("there is no d with records of N-VAE on R^d and of S-VAE on S^d and on S^(d-1)")
    return Table(
        title=f"Table 2 on {settings['data']} by number of coordinates: k-NN accuracy of the latent means in %",
        headers=["d", "model and space", "coordinates", "runs", *columns],
        rows=rows,
        notes=["Mean ± standard deviation over the runs.", _knn_protocol(), *_protocol(settings)],
    )


def table3(records: Iterable[Record]) -> Table:
    """Return Table 3: accuracy of M1+M2 with few labels, by dimensions of z1 and z2 and by posteriors.

    Args:
        records: of the experiment `table3`, with the same settings but for model, d and seed.

    Raises:
        ValueError: there are no records, or they cannot be compared.
    """
    cells, settings = _cells(records, "d", "model")
    columns: Columns = {
        "accuracy": lambda results: 100 * results["accuracy"],
        "ELBO": lambda results: results["elbo"],
        "RE": lambda results: results["reconstruction"],
        "KL": lambda results: results["kl"],
    }
    published = {cell: {"accuracy": f"{accuracy:.1f}"} for cell, accuracy in paper.TABLE3.items()}
    return Table(
        title=f"Table 3 on {settings['data']}: M1+M2 with {settings['labels']} labels, accuracy in %, ELBO in nats, "
        "test set",
        headers=["d of z1, z2", "model", "runs", *columns],
        rows=_comparison(
            cells, columns, {} if settings["data"] != paper.DATA else {"paper": published}, digits=2, base="nn"
        ),
        notes=[
            "Mean ± standard deviation over the runs; p: two-sided Welch t-test against N+N. S+N: von Mises-Fisher z1, "
            "Gaussian z2.",
            "Accuracy of the most probable class by q(y|z1) at the mode of q(z1|x). "
            f"ELBO, RE and KL from one latent sample an image, averaged over {PASSES} passes"
            + (": of z1, not of the image." if settings["scheme"] == "stacked" else "."),
            f"Training: {settings['scheme']}. Labelled images class-balanced, {settings['labelled_batch_size']} of "
            f"them in every batch beside the unlabelled ones; α = {settings['alpha']:g}; M2 with hidden layers of "
            f"{settings['m2_hidden']}.",
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


def table4(records: Iterable[Record]) -> Table:
    """Return Table 4: how well held-out edges are told from pairs that are none.

    Args:
        records: of the experiment `table4`, with the same settings but for data, model and seed.

    Raises:
        ValueError: there are no records, or they cannot be compared.
    """
    cells, settings = _cells(records, "data", "model")
    columns: Columns = {
        "AUC": lambda results: 100 * results["auc"],
        "AP": lambda results: 100 * results["ap"],
    }
    sources = {
        source: {
            cell: {header: f"{figures[header.lower()]:.1f}" for header in columns} for cell, figures in table.items()
        }
        for source, table in {"paper": paper.TABLE4, "Kipf and Welling": paper.KIPF_WELLING}.items()
    }
    return Table(
        title="Table 4: link prediction, area under the ROC curve (AUC) and average precision (AP) in %, test edges",
        headers=["graph", "model", "runs", *columns],
        rows=_comparison(cells, columns, sources, digits=1, names=GRAPH_MODELS),
        notes=[
            "Mean ± standard deviation over the runs, each with its own split of the edges; p: two-sided Welch t-test "
            "against N-VGAE. The paper's figures of N-VGAE are quoted from memory.",
            "10% of the edges for test, 5% for validation, and as many non-edges; pairs are ranked by the decoder's "
            "logit at the posterior means.",
            f"d = {settings['d']}, hidden layer {settings['hidden']}, dropout {settings['dropout']:g}; Adam with step "
            f"size {settings['learning_rate']:g}, all edges in every step, {settings['epochs']} epochs, the last one "
            f"kept; Kipf and Welling's reweighed loss, its sum over non-edges estimated from "
            f"{settings['pairs_per_edge']} pairs for each training edge.",
        ],
    )


_TERMS = ("elbo", "reconstruction", "kl")
_STATISTICS = "Mean ± standard deviation over the runs; p: two-sided Welch t-test against N-VAE."

Columns = Mapping[str, Callable[[Mapping[str, Any]], float]]  # header: results of a run -> number


def _knn_columns(cells: Mapping[tuple, list[Record]]) -> Columns:
    sizes = next(iter(cells.values()))[0].results["knn"]
    return {f"{size} labels": _knn_accuracy(size) for size in sizes}


def _knn_protocol() -> str:
    return (
        f"k = {NEIGHBOURS}, posterior means of the binarised images, Euclidean distance in the plane, cosine on "
        f"the sphere; each run is the mean of {DRAWS} class-balanced labelled sets drawn from the training set."
    )


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
        values = (record.settings[name] for name in by)
        cells[tuple(tuple(value) if isinstance(value, list) else value for value in values)].append(record)
    if shared is None:
        raise ValueError("there are no records to make a table of")
    models = list(MODELS)
    ranked = sorted(cells, key=lambda cell: [models.index(value) if value in MODELS else value for value in cell])
    return {cell: cells[cell] for cell in ranked}, shared


def _comparison(
    cells: Mapping[tuple, list[Record]],
    columns: Columns,
    published: Mapping[str, Mapping[tuple, Mapping[str, str]]],
    *,
    digits: int,
    names: Mapping[str, str] = MODELS,
    base: str = "n",
) -> list[list[str]]:
    """Return the rows of a table by d (or data) and model: ours, each source's, then p-values against `base`."""
    rows = []
    values = {
        cell: [[get(record.results) for record in runs] for get in columns.values()] for cell, runs in cells.items()
    }
    for d in dict.fromkeys(d for d, _ in cells):
        models = [model for other, model in cells if other == d]
        for model in models:
            numbers = [mean_and_deviation(column, digits=digits) for column in values[d, model]]
            rows.append([_dimension(d), names[model], str(len(cells[d, model])), *numbers])
            for source, table in published.items():
                if (d, model) in table:
                    figures = [table[d, model].get(header, "") for header in columns]
                    rows.append([_dimension(d), f"{names[model]}, {source}", "", *figures])
        for model in models:
            if model != base and base in models:
                pairs = zip(values[d, model], values[d, base], strict=True)
                p_values = [format_p_value(welch_p_value(a, b)) for a, b in pairs]
                rows.append([_dimension(d), f"p, {names[model]}", "", *p_values])
    return rows


def _dimension(d: int | str | tuple[int, ...]) -> str:
    return ", ".join(map(str, d)) if isinstance(d, tuple) else str(d)


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
