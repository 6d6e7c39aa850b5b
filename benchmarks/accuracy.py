"""Accuracy of the special functions against 30-digit references, and of the textbook formula beside them.

Two tables. The first is the largest relative error of each function over the reference grid of the tests, m from 2 to
16384 and kappa from 1e-6 to 1e6. The second counts wrong values (not finite, or off by more than 0.1%) of the
divergence and of its gradient in float32 on 96 points, m from 2 to 1024 and kappa from 1e-4 to 1e4, for this library
and for the formula ``kappa A + log C - log C_0`` through SciPy's ``ive``, which public code uses.
"""

import csv
from pathlib import Path

import numpy as np
import torch
from scipy.special import gammaln, ive
from tabulate import tabulate

from hvae_tutorial import special

REFERENCE = Path(__file__).parent.parent / "tests" / "reference" / "special.csv"
FUNCTIONS = (
    "log_partition",
    "mean_resultant_length",
    "mean_resultant_length_complement",
    "mean_resultant_length_derivative",
    "kl_to_uniform",
)
DIMENSIONS = (2, 3, 4, 8, 16, 32, 41, 64, 128, 256, 512, 1024)
CONCENTRATIONS = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 1e2, 1e3, 1e4)


def reference_errors() -> list[list[object]]:
    """Largest relative error of each function and dtype over the reference grid."""
    with REFERENCE.open() as file:
        rows = list(csv.DictReader(file))
    table = []
    for name in FUNCTIONS:
        worst = 0.0
        for row in rows:
            value = getattr(special, name)(torch.tensor(float(row["kappa"]), dtype=torch.float64), int(row["m"]))
            worst = max(worst, abs(value.item() / float(row[name]) - 1))
        table.append([name, len(rows), f"{worst:.1e}"])
    return table


def textbook_kl(kappa: np.ndarray, m: int) -> np.ndarray:
    """``kappa A + log C_m(kappa) + log S_m`` in float32, with the Bessel functions from SciPy."""
    v = np.float32(m / 2 - 1)
    with np.errstate(all="ignore"):
        lower, upper = ive(v, kappa), ive(v + 1, kappa)
        log_bessel = np.log(lower) + kappa
        log_c = v * np.log(kappa) - np.float32(m / 2 * np.log(2 * np.pi)) - log_bessel
        log_surface = np.float32(np.log(2) + m / 2 * np.log(np.pi) - gammaln(m / 2))
        return kappa * (upper / lower) + log_c + log_surface


def textbook_gradient(kappa: np.ndarray, m: int) -> np.ndarray:
    """``kappa A'`` in float32 from the Riccati equation."""
    v = np.float32(m / 2 - 1)
    with np.errstate(all="ignore"):
        ratio = ive(v + 1, kappa) / ive(v, kappa)
        return kappa * (1 - ratio**2 - np.float32(m - 1) * ratio / kappa)


def wrong_values() -> list[list[object]]:
    """Number of wrong float32 values among the 96; the truth is this library's float64, checked by the first table."""
    kappa = torch.tensor(CONCENTRATIONS)
    wrong = {"this library": [0, 0], "textbook formula": [0, 0]}
    for m in DIMENSIONS:
        wide = kappa.double()
        truth = (
            special.kl_to_uniform(wide, m).numpy(),
            (wide * special.mean_resultant_length_derivative(wide, m)).numpy(),
        )
        leaf = kappa.clone().requires_grad_()
        divergence = special.kl_to_uniform(leaf, m)
        (gradient,) = torch.autograd.grad(divergence.sum(), leaf)
        single = kappa.numpy()
        candidates = {
            "this library": (divergence.detach().numpy(), gradient.numpy()),
            "textbook formula": (textbook_kl(single, m), textbook_gradient(single, m)),
        }
        for name, values in candidates.items():
            for i in range(2):
                good = np.isfinite(values[i]) & (np.abs(values[i] - truth[i]) <= 1e-3 * np.abs(truth[i]))
                wrong[name][i] += int((~good).sum())
    return [[name, *counts, len(DIMENSIONS) * len(CONCENTRATIONS)] for name, counts in wrong.items()]


def main() -> None:
    """Print both tables."""
    print(tabulate(reference_errors(), headers=["function (float64)", "points", "largest relative error"]))
    print()
    print(tabulate(wrong_values(), headers=["float32", "KL wrong", "gradient wrong", "of"]))


if __name__ == "__main__":
    main()
