"""Chapter 7: a Gaussian VAE, and how to measure it."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from itertools import product

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional as F

from hvae_tutorial.exercises._cases import Case, gradient, log_uniform, value
from hvae_tutorial.exercises._diagnosis import Mistake
from hvae_tutorial.exercises._exercise import Exercise

# --- 7.1 -------------------------------------------------------------------------------------------------------------


def total_probability(log_likelihood: Callable[[Tensor, Tensor], Tensor], n: int, z: Tensor, log_w: Tensor) -> Tensor:
    """The sum of p(x) over all binary images x of n pixels.

    The integral over codes is a sum over the points of a quadrature rule: p(x) = sum_j exp(log_w_j) p(x|z_j).

    Args:
        log_likelihood: Called with images (2^n, n) of the dtype of z, and with z; returns what its author takes for
            log p(x|z), of shape (2^n, points).
        n: Number of pixels, from 1 to 8.
        z: Codes, shape (points, d).
        log_w: Logarithms of the prior's weights of these codes, shape (points,); the weights sum to 1.

    Returns:
        The total, a scalar of the dtype of z: 1 if log_likelihood is the logarithm of probabilities.
    """
    images = torch.cartesian_prod(*n * [torch.tensor([0.0, 1.0], dtype=z.dtype)]).reshape(-1, n)
    return (log_likelihood(images, z) + log_w).exp().sum()


def _logits(x: Tensor, z: Tensor) -> Tensor:
    """A fixed decoder: pixel i of an image has the logit sin(i + 1) + cos(3 i) z."""
    i = torch.arange(x.shape[-1], dtype=z.dtype)
    return torch.sin(i + 1) + torch.cos(3 * i) * z


def bernoulli(x: Tensor, z: Tensor) -> Tensor:
    """The right one."""
    logits = _logits(x, z)  # (points, n)
    return x @ logits.T - F.softplus(logits).sum(-1)


def gaussian_around_the_probabilities(x: Tensor, z: Tensor) -> Tensor:
    """A density in place of a probability."""
    difference = x[:, None] - torch.sigmoid(_logits(x, z))
    return -0.5 * (difference**2 + math.log(2 * math.pi)).sum(-1)


def mean_over_pixels(x: Tensor, z: Tensor) -> Tensor:
    """Binary cross-entropy, averaged where it should be summed."""
    return bernoulli(x, z) / x.shape[-1]


def without_normaliser(x: Tensor, z: Tensor) -> Tensor:
    """The logits of the pixels that are 1, and nothing else."""
    return x @ _logits(x, z).T


def _pixel_loop(kind: Callable[[Tensor, Tensor], Tensor], n: int, z: np.ndarray, w: np.ndarray) -> float:
    """The total by loops over images, codes and pixels."""
    total = []
    for image in product((0, 1), repeat=n):
        for code, weight in zip(z[:, 0], w, strict=True):
            factors = []
            for i, pixel in enumerate(image):
                logit = math.sin(i + 1) + math.cos(3 * i) * code
                on = 1 / (1 + math.exp(-logit))
                if kind is gaussian_around_the_probabilities:
                    factors.append(math.exp(-((pixel - on) ** 2) / 2) / math.sqrt(2 * math.pi))
                elif kind is without_normaliser:
                    factors.append(math.exp(pixel * logit))
                else:
                    factors.append(on if pixel else 1 - on)
            power = 1 / n if kind is mean_over_pixels else 1
            total.append(weight * math.prod(factors) ** power)
    return math.fsum(total)


def _total_cases(rng: Generator) -> Iterator[Case]:
    kinds = [bernoulli, gaussian_around_the_probabilities, mean_over_pixels, without_normaliser]
    sizes = [1, 4, 3, 2, *(int(n) for n in rng.integers(2, 7, 4))]
    for kind, n in zip([*kinds, *kinds], sizes, strict=True):
        points = int(rng.integers(2, 7))
        z, w = rng.standard_normal((points, 1)), rng.dirichlet(np.ones(points))
        args = (kind, n, torch.from_numpy(z), torch.from_numpy(np.log(w)))
        truth = torch.tensor(_pixel_loop(kind, n, z, w), dtype=torch.float64)
        yield value(args, truth, rtol=1e-9, atol=1e-12)


def _images(n: int, z: Tensor, first: int = 0) -> Tensor:
    numbers = torch.arange(first, 2**n)
    return (numbers[:, None] >> torch.arange(n) & 1).to(z.dtype)


check_total_probability = Exercise(
    id="ch07.1",
    title="Do the probabilities sum to one?",
    topic="Bounds",
    difficulty=2,
    importance=5,
    minutes=15,
    question="""\
The test that the chapter's third trap would not have survived. Somebody hands you a function which, he says, computes
$\\log p(x|z)$. Write `total_probability`, which sums $p(x)$ over all $2^n$ binary images of $n$ pixels. The prior is
given as points $z_j$ with weights. The checker hands your function a right likelihood and three wrong ones.""",
    solution=total_probability,
    explanation="""\
Each image's probability is $\\sum_j w_j\\, p(x|z_j)$, and the total is the sum over images: one sum over all pairs, of
exponentials. A right Bernoulli likelihood gives 1 for every $n$. A Gaussian density around the pixel probabilities
gives less at unit scale, the mean over pixels in place of the sum gives far more, and logits without their normaliser
give anything. No trained model is needed, and no data: whatever the decoder draws, the total is 1.""",
    hints=(
        "`torch.cartesian_prod` of n copies of `[0, 1]` has all images; for n = 1 it has no second axis.",
        "`log_likelihood(images, z) + log_w` is (images, points): the logarithm of each pair's share of the total.",
        "Probabilities are added, not their logarithms: `.exp()` first, then one `.sum()` over everything.",
    ),
    cases=_total_cases,
    checked="a right likelihood and three wrong ones, n from 1 to 6, 2 to 6 codes, against loops over pixels",
    mistakes=(
        Mistake(
            lambda f, n, z, log_w: (f(_images(n, z), z) + log_w).logsumexp((0, 1)),
            "this is the logarithm of the total: one is 0 there.",
        ),
        Mistake(
            lambda f, n, z, log_w: f(_images(n, z), z).exp().mean(1).sum(),
            "the codes are averaged as if all had the same weight: exp(log_w) is the prior's share of each.",
        ),
        Mistake(
            lambda f, n, z, log_w: (f(_images(n, z), z) * log_w.exp()).sum(1).exp().sum(),
            "the logarithms are averaged over the codes, and then exponentiated: that is below p(x), by Jensen's "
            "inequality. Average the probabilities.",
        ),
        Mistake(
            lambda f, n, z, log_w: (f(_images(n, z, 1), z) + log_w).exp().sum(),
            "one image is missing, the one without any pixel: there are 2^n, from 0 to 2^n - 1.",
        ),
        Mistake(
            lambda f, n, z, log_w: (f(_images(n, z), z) + log_w).exp().sum(1).mean(),
            "the mean over images, where the sum is wanted: it falls as 2^-n.",
        ),
        Mistake(
            lambda f, n, z, log_w: (f(2 * _images(n, z) - 1, z) + log_w).exp().sum(),
            "the pixels are -1 and 1: they should be 0 and 1.",
        ),
        Mistake(
            lambda f, n, z, log_w: (f(_images(n, z).squeeze(-1), z) + log_w).exp().sum(),
            "for n = 1 `torch.cartesian_prod` returns shape (2,): the images need a second axis, (2, 1).",
        ),
        Mistake(
            lambda f, n, z, log_w: torch.ones((), dtype=z.dtype),
            "a total of 1 is what a right likelihood has. The checker also hands you wrong ones.",
        ),
    ),
)

# --- 7.2 -------------------------------------------------------------------------------------------------------------


def streamed_bound(blocks: Iterable[Tensor]) -> Tensor:
    """The importance-weighted bound of each image, from log weights that come in blocks.

    Args:
        blocks: To go through with `for`: logarithms of the weights, each block of shape (k_i, n) for n images. The
            blocks may have different k_i. A block is overwritten as soon as the next one is asked for. Log weights of
            real images are near -100, those of large ones at -10,000.

    Returns:
        L_K = log of the mean weight, with K the sum of all k_i: shape (n,), of the blocks' dtype.
    """
    total, count = torch.tensor(-math.inf), 0
    for block in blocks:
        total = torch.logaddexp(total, block.logsumexp(0))
        count += len(block)
    return total - math.log(count)


class _Stream:
    """Blocks one after another, in one place: when the next is asked for, the one before becomes NaN."""

    def __init__(self, blocks: list[Tensor]) -> None:
        self.blocks = blocks

    def __iter__(self) -> Iterator[Tensor]:
        for block in self.blocks:
            lent = block.clone()
            yield lent
            lent.fill_(math.nan)

    def __repr__(self) -> str:
        return "blocks of shape " + ", ".join(str(tuple(block.shape)) for block in self.blocks)


def _all(blocks: Iterable[Tensor]) -> Tensor:
    return torch.cat([block.clone() for block in blocks])


def _bound_cases(rng: Generator) -> Iterator[Case]:
    one = _Stream([torch.tensor([[0.0], [math.log(3)]], dtype=torch.float64)])
    yield value((one,), _exactly([[0, math.log(3)]]), rtol=1e-9)
    for level, n in ((-100, 3), (-10_000, 2), (5, 1), (-90, 4), (800, 2)):
        sizes = [int(k) for k in rng.integers(1, 6, 3)] + [7]
        blocks = [level + 4 * rng.standard_normal((k, n)) for k in sizes]
        truth = _exactly(np.concatenate(blocks).T.tolist())
        yield value((_Stream([torch.from_numpy(block) for block in blocks]),), truth, rtol=1e-9)
    narrow = [torch.from_numpy(-100 + 3 * rng.standard_normal((k, 2))).float() for k in (4, 1)]
    yield value((_Stream(narrow),), _exactly(torch.cat(narrow).T.tolist()).float(), rtol=1e-5)


def _exactly(columns: list[list[float]]) -> Tensor:
    """Logarithms of mean weights, in decimal arithmetic, whose exponents do not overflow."""
    means = [sum((Decimal(weight).exp() for weight in column), Decimal()) / len(column) for column in columns]
    return torch.tensor([float(mean.ln()) for mean in means], dtype=torch.float64)


check_streamed_bound = Exercise(
    id="ch07.2",
    title="A bound from blocks",
    topic="Bounds",
    difficulty=2,
    importance=4,
    minutes=15,
    question="""\
With $K = 500$ draws for each of 10,000 images, the weights do not fit into memory at once. Write `streamed_bound`,
which takes the log weights block by block and returns $L_K$ of each image. There is room for one block: the checker
overwrites it when you ask for the next. Weights are far too small to be exponentiated as they are.""",
    solution=streamed_bound,
    explanation="""\
$\\log\\sum_k\\omega_k$ can be built up: $\\log(e^a + e^b)$ from $a$ and $b$, without either exponential
(`logaddexp`). The mean is taken at the very end, over all $K$ weights. A mean of the blocks' bounds is another
number, and a lower one: by Jensen it is a bound with the $K$ of a block.""",
    hints=(
        "Keep one number an image: the logarithm of the sum of the weights so far. It begins at minus infinity.",
        "`block.logsumexp(0)` is the logarithm of the block's sum, and `torch.logaddexp` adds two such.",
        "At the end subtract `math.log(K)`, with K the number of rows of all blocks together.",
    ),
    cases=_bound_cases,
    checked="blocks of 1 to 7 draws, one at a time, log weights near -10,000, -100, 5 and 800, against decimals",
    mistakes=(
        Mistake(
            lambda blocks: torch.cat(list(blocks)).logsumexp(0),
            "the blocks are kept for later: each is overwritten when the next one is asked for. Take from a block what "
            "you need while you have it.",
        ),
        Mistake(
            lambda blocks: _all(blocks).exp().mean(0).log(),
            "exp underflows to 0 for log weights of -10,000 and overflows at 800: subtract the largest first "
            "(logsumexp).",
        ),
        Mistake(
            lambda blocks: torch.stack([block.logsumexp(0) - math.log(len(block)) for block in blocks]).mean(0),
            "the mean of the blocks' bounds: that is a bound with the K of one block, and lower than L_K. Add the "
            "weights of all blocks before the logarithm.",
        ),
        Mistake(
            lambda blocks: (
                torch.stack([block.logsumexp(0) - math.log(len(block)) for block in blocks]).logsumexp(0)
                - math.log(sum(1 for _ in blocks))
            ),
            "the mean of the blocks' means gives the draws of a small block more weight: divide by K once, at the end.",
        ),
        Mistake(
            lambda blocks: _all(blocks).mean(0),
            "this is the mean of the log weights, the ELBO: take the logarithm of the mean weight.",
        ),
        Mistake(lambda blocks: _all(blocks).logsumexp(0), "log K is not subtracted: a sum in place of a mean."),
        Mistake(
            lambda blocks: _all(blocks).logsumexp(0) - math.log(sum(1 for _ in blocks)),
            "divided by the number of blocks, where it should be the number of draws.",
        ),
    ),
)

# --- 7.3 -------------------------------------------------------------------------------------------------------------


def warm_up(reconstruction: Tensor, kl: Tensor, warmup: int, patience: int) -> tuple[Tensor, int, int]:
    """The weights of the KL term, and which epoch's model to keep.

    Epochs are counted from 1. Epoch e has the KL weight min(1, (e - 1) / warmup), and 1 if warmup is 0. Only epochs
    after warm-up, e > warmup, are judged, by the ELBO on validation data, and the first of equals is kept. Training
    stops at the first epoch that is `patience` epochs behind the best so far, or with the last epoch.

    Args:
        reconstruction: Validation RE after each epoch, shape (epochs,).
        kl: Validation KL after each epoch, shape (epochs,).
        warmup: Number of warm-up epochs, not negative, less than the number of epochs.
        patience: At least 1.

    Returns:
        The KL weights of all epochs, shape (epochs,), of kl's dtype; the epoch whose model is kept; the last epoch.
    """
    epochs = len(kl)
    weights = torch.tensor([min(1.0, e / warmup) if warmup else 1.0 for e in range(epochs)], dtype=kl.dtype)
    elbo = reconstruction - kl
    best = warmup + 1
    for epoch in range(warmup + 1, epochs + 1):
        if elbo[epoch - 1] > elbo[best - 1]:
            best = epoch
        if epoch - best >= patience:
            break
    return weights, best, epoch


def _chosen(
    watched: Tensor, first: int, patience: int, *, late: int = 0, restart: bool = False, ties: bool = False
) -> tuple[int, int]:
    """Variants: what is watched, from which epoch on, and when training stops."""
    best = first
    for epoch in range(first, len(watched) + 1):
        if watched[epoch - 1] > watched[best - 1] or (ties and watched[epoch - 1] == watched[best - 1]):
            best = epoch
        if epoch - best >= patience + late:
            return (epoch, epoch) if restart else (best, epoch)
    return (len(watched), len(watched)) if restart else (best, len(watched))


def _foreseen(watched: Tensor, first: int, patience: int) -> tuple[int, int]:
    """The best of all epochs, and of those after the end of training too."""
    best = first + int(watched[first - 1 :].argmax())
    return best, min(len(watched), best + patience)


def _betas(kl: Tensor, warmup: int, ahead: int = 0) -> Tensor:
    e = torch.arange(len(kl), dtype=kl.dtype) + ahead
    return (e / warmup).clamp(max=1) if warmup else torch.ones_like(kl)


def _warm_up_truth(re: list[float], kl: list[float], warmup: int, patience: int) -> tuple[Tensor, int, int]:
    """By the words of the docstring: for each possible last epoch, look back at all epochs judged so far."""
    n = len(kl)
    judged = {e: re[e - 1] - kl[e - 1] for e in range(warmup + 1, n + 1)}
    for last in judged:
        so_far = {e: v for e, v in judged.items() if e <= last}
        kept = min(e for e, v in so_far.items() if v == max(so_far.values()))
        if last == n or last - kept == patience:
            betas = np.minimum(1, np.arange(n) / warmup) if warmup else np.ones(n)
            return torch.tensor(betas, dtype=torch.float64), kept, last
    raise AssertionError("the last epoch is always an answer")


def _warm_up_cases(rng: Generator) -> Iterator[Case]:
    tie, late = [-20.0, -18, -18, -19, -19, -19], [-20.0, -19, -18, -18.5, -18.6, -17]  # late: better after the end
    for fixed in (tie, late):
        args = (torch.tensor(fixed, dtype=torch.float64), torch.zeros(6, dtype=torch.float64), 1, 2)
        yield value(args, _warm_up_truth(fixed, [0.0] * 6, 1, 2), rtol=1e-9)
    for epochs, warmup, patience in [(8, 3, 2), (12, 5, 3), (10, 0, 4), (40, 12, 5), (30, 15, 3), (25, 8, 30)]:
        # KL falls while its weight rises, and RE with it; after that both wander, and stop improving in the end.
        e = np.arange(epochs)
        shape = np.minimum(e, warmup) / max(warmup, 1)
        kl = 12 - 6 * shape + rng.uniform(0, 0.3, epochs)
        re = -15 - 3 * shape - 0.02 * (e - 0.6 * epochs) ** 2 + rng.uniform(0, 0.5, epochs)
        if epochs == 12:
            re, kl = np.round(re), np.round(kl)  # ties
        args = (torch.from_numpy(re), torch.from_numpy(kl), warmup, patience)
        yield value(args, _warm_up_truth(re.tolist(), kl.tolist(), warmup, patience), rtol=1e-9)


check_warm_up = Exercise(
    id="ch07.3",
    title="Warm-up, and which epoch to keep",
    topic="Bounds",
    difficulty=2,
    importance=4,
    minutes=20,
    question="""\
Two lines of bookkeeping from which the chapter's first trap is made. Write `warm_up`, which returns the KL weight of
each epoch, the epoch whose model is kept, and the epoch at which training ends.""",
    solution=warm_up,
    explanation="""\
The objective of an epoch with $\\beta < 1$ is another one, so neither its value nor its patience can be compared with
later ones. Judge by $\\mathrm{RE} - \\mathrm{KL}$, and count from epoch $W + 1$, the first at $\\beta = 1$.
Whoever watches $\\mathrm{RE} - \\beta_e\\mathrm{KL}$ chooses a model from the middle of warm-up, where the KL was
hardly weighed.""",
    hints=(
        "Three questions: what is the weight of epoch 1? By which number is an epoch judged? Which epochs count?",
        "Judge by `reconstruction - kl`, whatever the weight was; the first epoch that counts is `warmup + 1`.",
        "Go through the epochs from `warmup + 1` on, keep the best so far (`>`, not `>=`), and stop when "
        "`epoch - best >= patience`.",
    ),
    cases=_warm_up_cases,
    checked="6 to 40 epochs, 0 to 15 of them warm-up, ties, a peak after the end, against the words of the docstring",
    mistakes=(
        Mistake(
            lambda re, kl, warmup, patience: (
                _betas(kl, warmup),
                *_chosen(re - _betas(kl, warmup) * kl, 1, patience),
            ),
            "RE - beta KL is watched, and warm-up epochs count: the best epoch lies where the KL was hardly weighed. "
            "Judge by RE - KL, from epoch warmup + 1 on.",
        ),
        Mistake(
            lambda re, kl, warmup, patience: (_betas(kl, warmup), *_chosen(re - kl, 1, patience)),
            "judged by RE - KL, but epochs of warm-up count too: begin with epoch warmup + 1.",
        ),
        Mistake(
            lambda re, kl, warmup, patience: (_betas(kl, warmup, 1), *_chosen(re - kl, warmup + 1, patience)),
            "the weights are one epoch early: epoch 1 has the weight 0, (e - 1) / warmup with e from 1.",
        ),
        Mistake(
            lambda re, kl, warmup, patience: (
                _betas(kl, warmup),
                *(e - 1 for e in _chosen(re - kl, warmup + 1, patience)),
            ),
            "the epochs are counted from 0: they should be counted from 1.",
        ),
        Mistake(
            lambda re, kl, warmup, patience: (
                _betas(kl, warmup),
                *_chosen(re - kl, warmup + 1, patience, restart=True),
            ),
            "this keeps the model of the last epoch: when training stops, the best one is `patience` epochs back.",
        ),
        Mistake(
            lambda re, kl, warmup, patience: (_betas(kl, warmup), *_chosen(re - kl, warmup + 1, patience, late=1)),
            "training stops one epoch late: at epoch - best >= patience, not >.",
        ),
        Mistake(
            lambda re, kl, warmup, patience: (_betas(kl, warmup), *_foreseen(re - kl, warmup + 1, patience)),
            "the best of all epochs is searched first, and then where training stops: but epochs after the stop are "
            "never trained. Go forward, and know the past only.",
        ),
        Mistake(
            lambda re, kl, warmup, patience: (
                _betas(kl, warmup),
                *_chosen(re - kl, warmup + 1, patience, ties=True),
            ),
            "of equal epochs the last is kept, and patience starts anew with it: > keeps the first, >= the last.",
        ),
    ),
)

# --- 7.4 -------------------------------------------------------------------------------------------------------------


def dreg_surrogate(log_joint: Callable[[Tensor], Tensor], mu: Tensor, log_sigma: Tensor, epsilon: Tensor) -> Tensor:
    """A scalar whose gradient by the encoder's outputs is the doubly reparameterised estimate of that of L_K.

    With z_k = mu + exp(log_sigma) epsilon_k, weights omega_k = p(x, z_k) / q(z_k) and their shares
    r_k = omega_k / sum_j omega_j, the estimate is the sum of r_k^2 (d log omega_k / dz_k) (dz_k / deta), where eta is
    mu or log_sigma and d/dz_k holds the parameters of q fixed (Tucker et al. 2019).

    Args:
        log_joint: log p(x, z) of one image, applied to each element of z.
        mu: Mean of q, a scalar tensor that may require a gradient.
        log_sigma: Logarithm of q's standard deviation, a scalar tensor that may require a gradient.
        epsilon: Draws from N(0, 1), shape (K,).

    Returns:
        A scalar of mu's dtype; its value does not matter, its gradient does.
    """
    z = mu + log_sigma.exp() * epsilon
    mean, log_scale = mu.detach(), log_sigma.detach()
    log_q = -0.5 * ((z - mean) / log_scale.exp()) ** 2 - log_scale - 0.5 * math.log(2 * math.pi)
    log_omega = log_joint(z) - log_q
    shares = log_omega.detach().softmax(0)
    return (shares**2 * log_omega).sum()


def _dreg(
    log_joint: Callable[[Tensor], Tensor],
    mu: Tensor,
    log_sigma: Tensor,
    epsilon: Tensor,
    *,
    power: float = 2,
    stop: bool = True,
    attached: bool = False,
    mean: bool = False,
) -> Tensor:
    """Variants of the solution."""
    z = mu + log_sigma.exp() * epsilon
    m, s = (mu.detach(), log_sigma.detach()) if stop else (mu, log_sigma)
    log_omega = log_joint(z) + 0.5 * ((z - m) / s.exp()) ** 2 + s
    shares = (log_omega if attached else log_omega.detach()).softmax(0)
    terms = shares**power * log_omega
    return terms.mean() if mean else terms.sum()


def tiny_model(z: Tensor) -> Tensor:
    """A Gaussian posterior: mean 0.7, standard deviation 0.45."""
    return -0.5 * ((z - 0.7) / 0.45) ** 2


def two_modes(z: Tensor) -> Tensor:
    """A posterior with two modes."""
    return torch.logaddexp(-2 * (z - 1) ** 2, -3 * (z + 0.5) ** 2)


def _log_joint_slope(which: Callable[[Tensor], Tensor], z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The log joints once more, and their derivatives by hand."""
    if which is tiny_model:
        return -((z - 0.7) ** 2) / 0.405, -(z - 0.7) / 0.2025
    one, two = np.exp(-2 * (z - 1) ** 2), np.exp(-3 * (z + 0.5) ** 2)
    return np.log(one + two), (-4 * (z - 1) * one - 6 * (z + 0.5) * two) / (one + two)


def _dreg_cases(rng: Generator) -> Iterator[Case]:
    for number, K in enumerate((1, 2, 5, 5, 20, 20)):
        which = (tiny_model, two_modes)[number % 2]
        mu, sigma, epsilon = rng.uniform(-1, 1.5), float(log_uniform(rng, 0.2, 1.5)), rng.standard_normal(K)
        z = mu + sigma * epsilon
        value_, slope = _log_joint_slope(which, z)
        omega = np.exp(value_ + epsilon**2 / 2)  # the constants and sigma divide out
        path = (omega / omega.sum()) ** 2 * (slope + epsilon / sigma)  # d/dz of -log q is (z - mu) / sigma^2
        one = torch.tensor(1.0, dtype=torch.float64)
        phi = torch.tensor([mu, math.log(sigma)], dtype=torch.float64)
        args = (which, phi[0], phi[1], torch.from_numpy(epsilon))
        for of, by in ((1, np.ones(K)), (2, sigma * epsilon)):
            truth = torch.tensor(float(path @ by), dtype=torch.float64)
            yield dataclasses.replace(gradient(args, of, one, truth, rtol=1e-7, atol=1e-10), truth=None)


check_dreg_surrogate = Exercise(
    id="ch07.4",
    title="The doubly reparameterised gradient",
    topic="Bounds",
    difficulty=4,
    importance=3,
    minutes=25,
    question="""\
With more draws, the bound gets better and its gradient for the encoder worse: its mean falls faster than its noise.
The cure needs three `detach` in the right places. Write `dreg_surrogate`, whose gradient by autograd is the doubly
reparameterised estimate. Nothing else about its value is asked.""",
    solution=dreg_surrogate,
    explanation="""\
$\\partial L_K/\\partial\\eta$ is the sum of shares times the total derivative of $\\log\\omega_k$. That has two parts:
$z_k$ moves, and $q$ changes at a fixed $z_k$, which is minus a score. The score's mean is not zero here, since the
shares depend on $z$; but reparameterised once more it becomes a path derivative too, and the sum of both has the
shares squared. At $K = 1$ only the path is left (Roeder et al. 2017). All terms have the factor
$\\partial\\log\\omega_k/\\partial z$, which is zero when $q$ is the posterior: then the noise is zero.""",
    hints=(
        "Let autograd do it: the gradient must flow through z, and through nothing else.",
        "Evaluate log q(z) with `mu.detach()` and `log_sigma.detach()`; z itself is made with the attached ones.",
        "The shares are `log_omega.detach().softmax(0)`; return the sum of `shares**2 * log_omega`.",
    ),
    cases=_dreg_cases,
    checked="gradients by mu and log_sigma, K from 1 to 20, posteriors of one and two modes, against derivatives by "
    "hand",
    mistakes=(
        Mistake(
            lambda f, mu, s, e: _dreg(f, mu, s, e, power=1, stop=False),
            "this is the plain gradient of L_K: its mean falls as 1/K and its noise only as the root of 1/K. Detach "
            "the parameters of log q, and square the shares.",
        ),
        Mistake(
            lambda f, mu, s, e: _dreg(f, mu, s, e, power=1),
            "the shares are not squared. Without the score the sum is biased; the square repairs it.",
        ),
        Mistake(
            lambda f, mu, s, e: _dreg(f, mu, s, e, stop=False, attached=True),
            "nothing is detached: the gradient also flows through the shares and the parameters of log q.",
        ),
        Mistake(
            lambda f, mu, s, e: _dreg(f, mu, s, e, stop=False),
            "the parameters of log q are not detached: its score comes in once more.",
        ),
        Mistake(
            lambda f, mu, s, e: _dreg(f, mu, s, e, attached=True),
            "the shares are not detached: they are weights, and should not be differentiated.",
        ),
        Mistake(
            lambda f, mu, s, e: _dreg(f, mu, s, e, mean=True),
            "divided by K: the shares sum to 1 already.",
        ),
        Mistake(
            lambda f, mu, s, e: -_dreg(f, mu, s, e),
            "the sign: L_K is made large, so the surrogate is not negated.",
        ),
    ),
)
