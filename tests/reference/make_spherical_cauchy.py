"""Write spherical_cauchy.csv: statistics of the spherical Cauchy law at every third point of special.csv, to 25 digits.

By mpmath's tanh-sinh quadrature of the textbook formulas over the angle, in the variable log cot(angle / 2). It takes
about half an hour:

    python tests/reference/make_spherical_cauchy.py
"""

import csv
from pathlib import Path

from mpmath import cosh, exp, log, mp, mpf, quad, sqrt, tanh

FOLDER = Path(__file__).parent
FIELDS = ["m", "kappa", "mean_resultant_length", "mean_resultant_length_complement", "variance", "kl_to_uniform"]


def statistics(m: int, kappa: float) -> list[mpf]:
    """Mean, its complement and variance of ``w = mu . z``, and the divergence to the uniform law."""
    k = mpf(kappa)
    x0 = 2 * k / (m - 1 + sqrt((m - 1) ** 2 + 4 * k**2))
    # The uniform law in t = log cot(theta / 2), where cos(theta) = tanh(t) and sin(theta) = 1 / cosh(t).
    width = 1 / sqrt(mpf(m) / 2)
    ends = [width * 2**i for i in range(-1, 14) if log(cosh(width * 2 ** (i - 1))) * (m - 1) < 150]
    knots = [-end for end in reversed(ends)] + [mpf(0), *ends]

    def mean(function) -> mpf:
        return quad(lambda t: function(tanh(t), t) / cosh(t) ** (m - 1), knots)

    total = mean(lambda x, t: 1)

    def law(function) -> mpf:
        return mean(function) / total

    def complement(x: mpf, t: mpf) -> mpf:
        return (1 - x0) * 2 / (1 + exp(2 * t)) / (1 + x0 * x)  # 1 - (x0 + x) / (1 + x0 x)

    one_minus_mean = law(complement)
    return [
        law(lambda x, t: (x0 + x) / (1 + x0 * x)),
        one_minus_mean,
        law(lambda x, t: (complement(x, t) - one_minus_mean) ** 2),
        (m - 1) * (law(lambda x, t: log(1 + x0 * x)) - log(1 - x0**2) / 2),
    ]


def main() -> None:
    """Write the table."""
    mp.dps = 50
    with (FOLDER / "special.csv").open() as file:
        points = sorted({(int(row["m"]), float(row["kappa"])) for row in csv.DictReader(file)})[::3]
    with (FOLDER / "spherical_cauchy.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS)
        for m, kappa in points:
            writer.writerow([m, repr(kappa), *(mp.nstr(value, 25) for value in statistics(m, kappa))])


if __name__ == "__main__":
    main()
