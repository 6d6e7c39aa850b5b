"""Known mistakes written anew, in other words than the checkers' own: the diagnosis has to know them all the same."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor
from torch.distributions import kl_divergence

from hvae_tutorial import exercises
from hvae_tutorial.distributions import HypersphericalUniform, VonMisesFisher
from hvae_tutorial.special import kl_to_uniform

normalize = torch.nn.functional.normalize


def through_accepted_proposals(w: Tensor, kappa: Tensor, m: int) -> Tensor:
    """What S-VAE code does: reparameterise the accepted proposal, Wood's way, and let autograd run."""
    k = kappa.detach()
    b = (m - 1) / (2 * k + torch.sqrt(4 * k**2 + (m - 1) ** 2))
    e = (1 - w) / ((1 + b) - (1 - b) * w)  # the proposal that gave w
    b = (-2 * kappa + torch.sqrt(4 * kappa**2 + (m - 1) ** 2)) / (m - 1)
    return (1 - (1 + b) * e) / (1 - (1 - b) * e)


def detached(w: Tensor, kappa: Tensor, m: int) -> Tensor:
    return torch.from_numpy(w.numpy() * np.ones_like(kappa.detach().numpy()))


def textbook_ratio(kappa: float, m: int) -> float:
    with np.errstate(all="ignore"):
        return np.divide(special.iv(m / 2, kappa), special.iv(m / 2 - 1, kappa))


def sinh_naive(kappa: Tensor) -> Tensor:
    return ((kappa.exp() - (-kappa).exp()) / (2 * kappa)).log()


def sinhc_without_a_series(kappa: Tensor) -> Tensor:
    k = torch.where(kappa == 0, 2.0, kappa)
    return torch.where(kappa == 0, 0.0, torch.log(-torch.expm1(-2 * k)) - torch.log(2 * k) + k)


def mirror_by_torch_sign(w: Tensor, g: Tensor, mu: Tensor) -> Tensor:
    e1 = torch.zeros_like(mu)
    e1[0] = 1
    a = mu + torch.sign(mu[0]) * e1
    z = w[:, None] * (-torch.sign(mu[0]) * e1)
    z[:, 1:] += ((1 - w) * (1 + w)).sqrt()[:, None] * normalize(g[:, 1:], dim=1)
    return z - 2 * torch.outer(z @ a, a) / a.square().sum()


def mean_over_all_points(scores: Tensor, block: Tensor) -> int:
    mean = scores.mean(0)
    best = int(mean.argmax())
    gaps = torch.stack([(scores[:, [best]] - scores)[block == b].mean(0) for b in block.unique()])
    return next(k for k in range(len(mean)) if mean[best] - mean[k] <= gaps[:, k].std() / math.sqrt(len(gaps))) + 1


def banerjee(z: Tensor) -> Tensor:
    r = torch.linalg.norm(z.sum(0)) / len(z)
    return (z.shape[1] * r - r**3) / (1 - r**2)


def kmeans(z: Tensor, mus: Tensor, kappas: Tensor, shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    m = z.shape[1]
    nu = m / 2 - 1
    norms = torch.from_numpy(np.log(special.ive(nu, kappas.numpy())) + kappas.numpy() - nu * np.log(kappas.numpy()))
    chosen = (shares.log() + z @ (kappas[:, None] * mus).T - norms).argmax(1)
    sums = torch.stack([z[chosen == k].sum(0) for k in range(len(shares))])
    counts = torch.bincount(chosen, minlength=len(shares))
    lengths = sums.norm(dim=1)
    kappas = torch.stack([solve(length / count, m) for length, count in zip(lengths, counts, strict=True)])
    return normalize(sums, dim=1), kappas, counts.double() / len(z)


def solve(r: Tensor, m: int) -> Tensor:
    from hvae_tutorial.special import concentration_from_mean_resultant_length

    return concentration_from_mean_resultant_length(r, m)


def five_per_cent(sampler: Callable[..., Tensor], laws: list) -> list:
    from hvae_tutorial.exercises.ch04 import height_distribution

    return [
        (m, kappa)
        for m, kappa in laws
        if stats.kstest(
            sampler(m, kappa, 20_000).numpy(),
            lambda w, m=m, k=kappa: height_distribution(torch.from_numpy(w), m, k).numpy(),
            method="asymp",  # exact p-values take longer than the checker waits
        ).pvalue
        < 0.05
    ]


def added_noise(mu: Tensor, x0: float, n: int) -> Tensor:
    return normalize(normalize(torch.randn(n, len(mu), dtype=mu.dtype), dim=1) + x0 * mu, dim=1)


def gram_schmidt_forgotten(w: Tensor, g: Tensor, mu: Tensor) -> Tensor:
    return torch.einsum("n,m->nm", w, mu) + (1 - w[:, None].square()).clamp(min=0).sqrt() * normalize(g, dim=1)


def as_for_uniform_points(z: Tensor, mu: Tensor, kappa: float) -> Tensor:
    return z[torch.rand(len(z)) < (kappa * (z * mu).sum(1) - kappa).exp()]


def library_swapped(mu1: Tensor, kappa1: Tensor, mu2: Tensor, kappa2: Tensor) -> Tensor:
    return kl_divergence(VonMisesFisher(mu2, kappa2), VonMisesFisher(mu1, kappa1))


def mean_of_log_densities(z: Tensor, mus: Tensor, kappas: Tensor) -> tuple[Tensor, Tensor]:
    all_of_them = VonMisesFisher(mus, kappas).log_prob(z[:, :, None, :])
    own = torch.stack([VonMisesFisher(mu, kappa).log_prob(x) for mu, kappa, x in zip(mus, kappas, z, strict=True)])
    log_p = HypersphericalUniform(mus.shape[1]).log_prob(z)
    log_q = all_of_them.mean(2)
    return torch.mean(own - log_q), torch.mean(log_q - log_p)


def logarithms_added(log_likelihood, n: int, z: Tensor, log_w: Tensor) -> Tensor:
    images = torch.tensor([[int(bit) for bit in f"{number:0{n}b}"] for number in range(2**n)]).to(z)
    return torch.logsumexp((log_likelihood(images, z) + log_w).flatten(), 0)


def blocks_averaged(blocks: list[Tensor]) -> Tensor:
    bounds = [torch.logsumexp(block, 0) - math.log(block.shape[0]) for block in blocks]
    return sum(bounds) / len(bounds)


def blocks_kept(blocks) -> Tensor:
    kept = [*blocks]
    return torch.logsumexp(torch.vstack(kept), 0) - math.log(sum(map(len, kept)))


def epochs_after_the_end(re: Tensor, kl: Tensor, warmup: int, patience: int) -> tuple[Tensor, int, int]:
    n = len(kl)
    weights = torch.tensor([min(1.0, e / warmup) if warmup else 1.0 for e in range(n)], dtype=kl.dtype)
    best = warmup + 1 + int((re - kl)[warmup:].argmax())
    return weights, best, min(n, best + patience)


def last_of_equals(re: Tensor, kl: Tensor, warmup: int, patience: int) -> tuple[Tensor, int, int]:
    best, top = 0, -math.inf
    weights = torch.tensor([min(1.0, e / warmup) if warmup else 1.0 for e in range(len(kl))], dtype=kl.dtype)
    for epoch, elbo in enumerate((re - kl).tolist(), start=1):
        if epoch > warmup and elbo >= top:
            best, top = epoch, elbo
        if epoch > warmup and epoch - best == patience:
            break
    return weights, best, epoch


def whole_batch(u: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
    return u / u.square().sum().sqrt(), torch.nn.functional.softplus(raw[..., 0]) + 1


def default_axis(u: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
    return u / u.norm(dim=1, keepdim=True), torch.nn.functional.softplus(raw)[..., 0] + 1


def textbook_slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    theta = torch.acos(torch.dot(a, b))
    return torch.outer(((1 - t) * theta).sin() / theta.sin(), a) + torch.outer((t * theta).sin() / theta.sin(), b)


def guarded_slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    return a.expand(len(t), -1) if torch.equal(a, b) and torch.dot(a, b) <= 1 else textbook_slerp(a, b, t)


def chord(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    points = torch.lerp(a, b, t[:, None])
    return points / points.norm(dim=1, keepdim=True)


def scan_to_79(kappa: float) -> tuple[int, float]:
    nats = [kl_to_uniform(torch.tensor(kappa, dtype=torch.float64), m).item() for m in range(2, 80)]
    return 2 + int(np.argmax(nats)), max(nats)


def by_a_constant(kappa: float) -> tuple[int, float]:
    m = max(int(0.762 * kappa + 0.5), 2)
    return m, kl_to_uniform(torch.tensor(kappa, dtype=torch.float64), m).item()


def simulated(difference: float, n: int, level: float) -> float:
    a, b = np.random.default_rng(0).standard_normal((2, 100_000, n))
    return float(np.mean(stats.ttest_ind(a + difference, b, axis=1).pvalue < level))


def without_a_clone(distances: Tensor, labels: Tensor, ks: list[int]) -> tuple[int, float]:
    nearest = labels[distances.fill_diagonal_(torch.inf).argsort(dim=1)]
    right = [(nearest[:, :k].mode(dim=1).values == labels).double().mean().item() for k in ks]
    return ks[int(np.argmax(right))], max(right)


WRONG: list[tuple[str, Callable[..., Any], str]] = [
    ("ch01.2", lambda d: d**0.5, "the root of the mean square"),
    ("ch01.3", lambda kappa: math.log((2 + kappa) / 2), "the round posterior's price"),
    ("ch02.1", lambda degrees, kappa: 1 - math.exp(kappa * (math.cos(math.pi * degrees / 180) - 1)), "normaliser"),
    ("ch02.2", banerjee, "this is Banerjee's approximation"),
    ("ch02.3", kmeans, "this is k-means"),
    ("ch02.4", mean_over_all_points, "take the means of blocks first"),
    ("ch03.1", sinh_naive, "sinh overflows"),
    ("ch03.1", sinhc_without_a_series, "kappa and -kappa cancel: what is left is kappa^2/6. Take"),
    ("ch03.2", textbook_ratio, "the quotient of two Bessel functions"),
    ("ch04.3", gram_schmidt_forgotten, "normalised but not projected"),
    ("ch04.3", mirror_by_torch_sign, "torch.sign(0) is 0"),
    ("ch04.4", five_per_cent, "1.36 is the limit of one test"),
    ("ch04.5", added_noise, "points moved by x0 mu"),
    ("ch04.6", as_for_uniform_points, "is for uniform proposals"),
    ("ch05.4", through_accepted_proposals, "the acceptance correction is missing"),
    ("ch05.4", detached, "the result is detached"),
    ("ch06.1", lambda r, m: kl_to_uniform(r, m), "r was taken for the concentration"),
    ("ch06.2", lambda kl, m: (kl * 2 * m) ** 0.5, "take it as the start"),
    ("ch06.3", library_swapped, "the laws have changed places"),
    ("ch06.4", mean_of_log_densities, "not of their logarithms"),
    ("ch07.1", logarithms_added, "this is the logarithm of the total"),
    ("ch07.2", blocks_averaged, "the mean of the blocks' bounds"),
    ("ch07.2", blocks_kept, "the blocks are kept for later"),
    ("ch07.3", epochs_after_the_end, "epochs after the stop are never trained"),
    ("ch07.3", last_of_equals, "of equal epochs the last is kept"),
    ("ch08.1", default_axis, "F.normalize without dim takes axis 1"),
    ("ch08.1", whole_batch, "divided by one number, the length of the whole batch"),
    ("ch08.3", chord, "the straight line, normalised"),
    ("ch08.3", textbook_slerp, "0 when both points are equal"),
    ("ch08.3", guarded_slerp, "its acos is NaN"),
    ("ch09.2", by_a_constant, "search among its neighbours"),
    ("ch09.3", simulated, "not a simulation"),
    ("ch10.2", without_a_clone, "it changes its argument distances in place"),
]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    ("id", "function"),
    [("ch07.3", epochs_after_the_end), ("ch07.3", last_of_equals), ("ch08.3", textbook_slerp), ("ch09.2", scan_to_79)],
)
def test_what_random_cases_alone_let_pass_is_refused_with_every_seed(
    id: str, function: Callable[..., Any], seed: int
) -> None:
    assert not exercises.find(id).check(function, seed).passed


@pytest.mark.parametrize(("id", "function", "says"), WRONG, ids=[f"{id}-{f.__name__}" for id, f, _ in WRONG])
def test_the_cause_is_named(id: str, function: Callable[..., Any], says: str) -> None:
    text = " ".join(str(exercises.find(id).check(function, 4)).split())
    assert says in text, text
