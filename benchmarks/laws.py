"""Four posteriors side by side: cost of samples, gradients, divergences and training steps, and wrong divergences.

The first table gives the cost of a batch of 64 in units of the Gaussian's with as many dimensions, the second the cost
of 200,000 samples beside normalised Gaussian vectors. The third counts wrong values (not finite, or off by more than
0.1%) of the divergence to the uniform law, and of its gradient, in float32 on 96 points, m from 2 to 1024 and kappa
from 1e-4 to 1e4, for this library and for packages from PyPI, against 30 digits by mpmath.
"""

from collections.abc import Callable
from functools import partial

import mpmath
import torch
from accuracy import CONCENTRATIONS, DIMENSIONS
from power_spherical import HypersphericalUniform as PeerUniform
from power_spherical import PowerSpherical as PeerPowerSpherical
from sampling import SAMPLES, normalised_gaussians
from tabulate import tabulate
from timing import interleaved_medians, machine
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, kl_divergence
from training_step import training_step

from hvae_tutorial.distributions import PowerSpherical, SphericalCauchy, VonMisesFisher

BATCH = 64
LAWS: dict[str, type[VonMisesFisher] | type[PowerSpherical] | type[SphericalCauchy]] = {
    "s": VonMisesFisher,
    "ps": PowerSpherical,
    "c": SphericalCauchy,
}


def small_batch(m: int) -> dict[str, dict[str, Callable[[], object]]]:
    """What is timed for each law, by what it is."""
    loc = torch.nn.functional.normalize(torch.randn(BATCH, m), dim=-1).requires_grad_()
    concentration = (20 * torch.rand(BATCH) + 1).requires_grad_()
    mean, scale = torch.randn(BATCH, m - 1, requires_grad=True), torch.rand(BATCH, m - 1, requires_grad=True)

    def gaussian() -> Distribution:
        return Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)

    def of(make: Callable[[], Distribution], leaves: tuple[Tensor, Tensor]) -> dict[str, Callable[[], object]]:
        def samples_with_gradient() -> object:
            return torch.autograd.grad(make().rsample().sum(), leaves)

        return {"sample": lambda: make().sample(), "sample, gradient": samples_with_gradient}

    def divergence(make: Callable[[], VonMisesFisher | PowerSpherical | SphericalCauchy]) -> object:
        return torch.autograd.grad(make().kl_to_uniform().sum(), concentration)

    def divergence_of_gaussian() -> object:
        kl = (0.5 * (mean * mean + scale * scale - 1) - scale.log()).sum()
        return torch.autograd.grad(kl, (mean, scale))

    timed = {"n": of(gaussian, (mean, scale)) | {"KL, gradient": divergence_of_gaussian}}
    for letter, family in LAWS.items():
        make = partial(family, loc, concentration, validate_args=False)
        timed[letter] = of(make, (loc, concentration)) | {"KL, gradient": partial(divergence, make)}
    for letter in timed:
        timed[letter]["training step"] = training_step(letter, m - 1)
    return timed


def cost_of_a_batch() -> list[list[object]]:
    """Rows: dimension, what, microseconds of the Gaussian, and the other laws in units of it."""
    rows: list[list[object]] = []
    for d in (5, 20, 40):
        timed = small_batch(d + 1)
        for what in next(iter(timed.values())):
            functions = {letter: functions[what] for letter, functions in timed.items()}
            seconds = interleaved_medians(functions, repeats=200, warmup=20)
            rows.append([d, what, 1e6 * seconds["n"], *(seconds[letter] / seconds["n"] for letter in LAWS)])
    return rows


def cost_of_samples() -> list[list[object]]:
    """Rows: dimension, and the laws in units of the floor."""
    rows: list[list[object]] = []
    for m, kappa in ((2, 10.0), (3, 10.0), (6, 10.0), (21, 100.0), (41, 100.0)):
        loc = torch.nn.functional.normalize(torch.randn(m), dim=0)
        functions: dict[str, Callable[[], object]] = {"floor": partial(normalised_gaussians, m)}
        for letter, family in LAWS.items():
            functions[letter] = partial(family(loc, kappa).sample, (SAMPLES,))
        seconds = interleaved_medians(functions, repeats=7, warmup=1)
        rows.append([m, *(seconds[letter] / seconds["floor"] for letter in LAWS)])
    return rows


def reference(letter: str, kappa: mpmath.mpf, m: int) -> mpmath.mpf:
    """Divergence to the uniform law."""
    half = mpmath.mpf(m - 1) / 2
    if letter == "s":
        order = half - mpmath.mpf(1) / 2
        lower, upper = mpmath.besseli(order, kappa), mpmath.besseli(order + 1, kappa)
        return kappa * upper / lower - mpmath.log(lower * mpmath.gamma(order + 1) * (2 / kappa) ** order)
    if letter == "ps":
        log_partition = mpmath.loggamma(kappa + half) - mpmath.loggamma(kappa + 2 * half)
        log_partition += mpmath.loggamma(2 * half) - mpmath.loggamma(half)
        return kappa * (mpmath.psi(0, kappa + half) - mpmath.psi(0, kappa + 2 * half)) - log_partition
    h = kappa / (m - 1)
    x0 = h / (mpmath.sqrt(h * h + mpmath.mpf(1) / 4) + mpmath.mpf(1) / 2)
    # the uniform law in t = log cot(theta / 2)
    width = 2 / mpmath.sqrt(m)
    knots = [width * k for k in (-64, -16, -6, -3, -1, 0, 1, 3, 6, 16, 64) if abs(k) * width < 90]

    def mean(function: Callable[[mpmath.mpf], mpmath.mpf]) -> mpmath.mpf:
        return mpmath.quad(lambda t: function(mpmath.tanh(t)) / mpmath.cosh(t) ** (m - 1), knots)

    log_mean = mean(lambda x: mpmath.log1p(x0 * x) - x0 * x) / mean(lambda x: 1)
    return (m - 1) * (log_mean - mpmath.log1p(-(x0**2)) / 2)


def wrong_divergences() -> list[list[object]]:
    """Rows: law, package, wrong divergences, wrong gradients, points."""

    def ours(letter: str) -> Callable[[Tensor, int], Tensor]:
        return lambda kappa, m: LAWS[letter](torch.eye(m)[0], kappa, validate_args=False).kl_to_uniform()

    def peer(kappa: Tensor, m: int) -> Tensor:
        return kl_divergence(PeerPowerSpherical(torch.eye(m)[0].expand(len(kappa), m), kappa), PeerUniform(m))

    candidates = [(letter, "this library", ours(letter)) for letter in LAWS] + [("ps", "power_spherical", peer)]
    counts = {(letter, package): [0, 0] for letter, package, _ in candidates}
    with mpmath.workdps(40):
        for m in DIMENSIONS:
            for value in CONCENTRATIONS:
                kappa = torch.tensor([value], requires_grad=True)
                exact = mpmath.mpf(kappa.item())
                truth = {}
                for letter in LAWS:
                    step = exact * mpmath.mpf(10) ** -8
                    high, low = (reference(letter, exact + sign * step, m) for sign in (1, -1))
                    truth[letter] = float(reference(letter, exact, m)), float((high - low) / (2 * step))
                for letter, package, function in candidates:
                    divergence = function(kappa, m)
                    (gradient,) = torch.autograd.grad(divergence.sum(), kappa)
                    for i, found in enumerate((divergence.item(), gradient.item())):
                        counts[letter, package][i] += not abs(found - truth[letter][i]) <= 1e-3 * abs(truth[letter][i])
    return [[*key, *wrong, len(DIMENSIONS) * len(CONCENTRATIONS)] for key, wrong in counts.items()]


def main() -> None:
    """Print the three tables."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    headers = ["d", "batch of 64", "n (us)", "s / n", "ps / n", "c / n"]
    print(tabulate(cost_of_a_batch(), headers=headers, floatfmt=".2f"))
    print()
    print(tabulate(cost_of_samples(), headers=["m", "s / floor", "ps / floor", "c / floor"], floatfmt=".2f"))
    print()
    print(tabulate(wrong_divergences(), headers=["law", "package", "KL wrong", "gradient wrong", "of"]))
    print(machine())


if __name__ == "__main__":
    main()
