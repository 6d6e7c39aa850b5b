"""Chapter 11: a class behind the code."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.random import Generator
from scipy.optimize import brentq, minimize_scalar
from torch import Tensor

from hvae_tutorial.exercises import _reference
from hvae_tutorial.exercises._cases import Case, log_uniform, value
from hvae_tutorial.exercises._diagnosis import Mistake
from hvae_tutorial.exercises._exercise import Exercise
from hvae_tutorial.objectives.classes import bound_over_classes, unlabelled_bound
from hvae_tutorial.special import kl_to_uniform, log_partition, mean_resultant_length

# --- 11.1 ------------------------------------------------------------------------------------------------------------


def sum_over_classes(logits: Tensor, L: Tensor) -> Tensor:
    """The bound on log p(x) without a label, from the bounds with one.

    Args:
        logits: Of the classifier q(y|x), not normalised, shape (n, C), float64.
        L: The bound L(x, y) of each point, were y its class, shape (C, n), float64.

    Returns:
        U(x), shape (n,), float64.
    """
    log_p = torch.log_softmax(logits, dim=1).T  # (C, n), as L
    return (log_p.exp() * (L - log_p)).sum(0)


def _sum_over_classes(logits: Tensor, L: Tensor, sign: float = -1.0, dim: int = -1) -> Tensor:
    log_q = logits.log_softmax(dim).T
    return (log_q.exp() * (L + sign * log_q)).sum(0)


def _log_of_softmax(logits: Tensor, L: Tensor) -> Tensor:
    q = logits.softmax(-1).T
    return (q * (L - q.log())).sum(0)


def _bound_by_loops(logits: np.ndarray, L: np.ndarray) -> Tensor:
    """Loops, and a classifier's probabilities relative to its largest logit; 0 log 0 is 0."""
    bounds = []
    for n, row in enumerate(logits):
        weights = [math.exp(logit - max(row)) for logit in row]
        q = [weight / math.fsum(weights) for weight in weights]
        mean = math.fsum(q[y] * L[y, n] for y in range(len(row)))
        bounds.append(mean - math.fsum(p * math.log(p) for p in q if p > 0))
    return torch.tensor(bounds, dtype=torch.float64)


def _sum_cases(rng: Generator) -> Iterator[Case]:
    for n, C, spread in ((1, 2, 1.0), (4, 3, 2.0), (5, 10, 3.0), (3, 10, 400.0), (6, int(rng.integers(2, 12)), 2.0)):
        logits, L = rng.normal(0, spread, (n, C)), rng.normal(-25, 4, (C, n))
        if spread == 400.0:
            logits[:, 0] = logits.max(1) + 900  # certain: the others' probabilities are zero to the machine
        yield value((torch.from_numpy(logits), torch.from_numpy(L)), _bound_by_loops(logits, L), rtol=1e-9)


check_sum_over_classes = Exercise(
    id="ch11.1",
    title="The sum over classes",
    topic="Classes",
    difficulty=2,
    importance=5,
    minutes=10,
    question="""\
The heart of M2. You have $\\mathcal L(x,y)$ for every class, and the logits of the classifier. Write
`sum_over_classes`, which returns $\\mathcal U(x)=\\sum_y q(y|x)\\,\\mathcal L(x,y)+H[q(y|x)]$, also for a classifier
that is certain.""",
    solution=sum_over_classes,
    explanation="""\
The entropy is a sum over the same classes, so both go into one: $\\sum_y q\\,(\\mathcal L-\\log q)$. `log_softmax`
subtracts the largest logit before it takes exponentials, so $\\log q$ is finite where $q$ is zero to the machine, and
the product is zero there.""",
    hints=(
        "H is minus the sum of q log q. Put it into the sum over y.",
        "`log_q = torch.log_softmax(logits, dim=1).T` has the shape of L.",
        "`(log_q.exp() * (L - log_q)).sum(0)`.",
    ),
    cases=_sum_cases,
    checked="1 to 6 points, 2 to 11 classes, one classifier that is certain, against loops",
    mistakes=(
        Mistake(
            lambda logits, L: _sum_over_classes(logits, L, sign=1.0),
            "the entropy has the wrong sign: H is minus the sum of q log q, and it is added.",
        ),
        Mistake(
            lambda logits, L: _sum_over_classes(logits, L, sign=0.0),
            "the entropy is missing: without it the best classifier puts everything on one class.",
        ),
        Mistake(
            lambda logits, L: (logits.exp() * (L.T - logits)).sum(-1),
            "logits are not logarithms of probabilities: normalise them by log_softmax.",
        ),
        Mistake(
            lambda logits, L: L.logsumexp(0),
            "this is the bound with the best classifier, q = softmax(L). The classifier given is another.",
        ),
        Mistake(
            lambda logits, L: L.mean(0) + math.log(len(L)),
            "all classes got the weight 1/C, which is the prior's: the weights are q(y|x).",
        ),
        Mistake(
            lambda logits, L: _sum_over_classes(logits, L, dim=0),
            "the softmax runs over the points: it must run over the classes, the last axis of the logits.",
        ),
        Mistake(
            _log_of_softmax,
            "right until the classifier is certain: then a probability is 0, and 0 times log 0 is not a number. "
            "log_softmax keeps the logarithm finite.",
        ),
    ),
    replaces=(bound_over_classes, unlabelled_bound),
)

# --- 11.2 ------------------------------------------------------------------------------------------------------------


def minibatch_objective(
    U: Tensor, L: Tensor, log_q: Tensor, num_labelled: int, num_unlabelled: int, alpha: float
) -> Tensor:
    """An unbiased estimate of J / N_u from a batch.

    Args:
        U: Bounds of the unlabelled points in the batch, shape (B,), float64.
        L: Bounds of the labelled points in the batch with their classes, shape (b,), float64.
        log_q: log q(y|x) of the labelled points in the batch with their classes, shape (b,), float64.
        num_labelled: N_l, the number of labelled points of the whole data set.
        num_unlabelled: N_u, the number of unlabelled points of the whole data set.
        alpha: Weight of the classifier's term, which has the factor alpha (N_l + N_u) / N_l.

    Returns:
        The estimate, a scalar tensor of float64.
    """
    share = num_labelled / num_unlabelled
    return U.mean() + share * L.mean() + alpha * (1 + share) * log_q.mean()


def _objective_by_definition(U: np.ndarray, L: np.ndarray, log_q: np.ndarray, Nl: int, Nu: int, alpha: float) -> Tensor:
    """J of a data set in which every point of the batch occurs equally often, by its definition, over N_u."""
    times = math.lcm(len(U), len(L))
    Nl, Nu = Nl * times, Nu * times
    all_U = [U[i % len(U)] for i in range(Nu)]
    all_L = [L[i % len(L)] for i in range(Nl)]
    all_log_q = [log_q[i % len(L)] for i in range(Nl)]
    J = math.fsum(all_U) + math.fsum(all_L) + alpha * (Nu + Nl) / Nl * math.fsum(all_log_q)
    return torch.tensor(J / Nu, dtype=torch.float64)


def _objective_cases(rng: Generator) -> Iterator[Case]:
    sizes = [(4, 2, 10, 40, 0.1), (8, 16, 100, 500, 0.1), (8, 4, 6, 20, 1.0)]
    for _ in range(4):
        B, b = (int(x) for x in rng.integers(1, 9, 2))
        sizes.append((B, b, int(rng.integers(5, 60)), int(rng.integers(20, 300)), float(log_uniform(rng, 0.05, 2))))
    for B, b, Nl, Nu, alpha in sizes:
        U, L, log_q = rng.normal(-24, 3, B), rng.normal(-27, 3, b), -rng.exponential(1, b)
        truth = _objective_by_definition(U, L, log_q, Nl, Nu, alpha)
        args = (torch.from_numpy(U), torch.from_numpy(L), torch.from_numpy(log_q), Nl, Nu, alpha)
        yield value(args, truth, rtol=1e-9)


check_minibatch_objective = Exercise(
    id="ch11.2",
    title="J on a batch",
    topic="Classes",
    difficulty=2,
    importance=4,
    minutes=10,
    question="""\
$J=\\sum\\mathcal U+\\sum\\mathcal L+\\frac{\\alpha N}{N_l}\\sum\\log q(y|x)$ sums over all points: $\\mathcal U$ over
the $N_u$ unlabelled ones, the others over the $N_l$ labelled ones, and $N=N_u+N_l$. A batch has a few of each kind.
Write `minibatch_objective`, which returns an unbiased estimate of $J/N_u$. The unlabelled points in the batch are a
fair sample of the $N_u$, and the labelled ones of the $N_l$.""",
    solution=minibatch_objective,
    explanation="""\
A sum over $N_l$ points is $N_l$ times a mean, and the mean of a fair sample is unbiased for it. So $J/N_u$ is the mean
of $\\mathcal U$, plus $N_l/N_u$ times the mean of $\\mathcal L$, plus $\\alpha N/N_u$ times the mean of $\\log q$, and
$N/N_u=1+N_l/N_u$. How many of each kind are in the batch changes the noise, not the expectation.""",
    hints=(
        "Write each sum over the data set as its number of terms times a mean. A mean over the batch estimates it.",
        "`share = N_l / N_u` is the factor of the second term; `N / N_u = 1 + share`.",
        "The third term is already a mean over labelled points, times alpha N: divided by N_u, alpha (1 + share).",
    ),
    cases=_objective_cases,
    checked="batches of 1 to 16 points, N_l up to 100, N_u up to 500, alpha from 0.05 to 2, against J by its "
    "definition on a data set that repeats the batch",
    mistakes=(
        Mistake(
            lambda U, L, log_q, Nl, Nu, alpha: U.mean() + Nl / Nu * L.mean() + alpha * log_q.mean(),
            "the classifier's term has alpha times N, all points, not N_u: its factor is alpha (1 + N_l / N_u).",
        ),
        Mistake(
            lambda U, L, log_q, Nl, Nu, alpha: U.mean() + L.mean() + alpha * (1 + Nl / Nu) * log_q.mean(),
            "the labelled bound counts as if there were as many labelled points as unlabelled: multiply by N_l / N_u.",
        ),
        Mistake(
            lambda U, L, log_q, Nl, Nu, alpha: (
                U.mean() + len(L) / len(U) * L.mean() + alpha * (1 + len(L) / len(U)) * log_q.mean()
            ),
            "the share is the batch's, b / B: it must be the data set's, N_l / N_u. How many labelled points join a "
            "batch is a matter of noise and must not change what is estimated.",
        ),
        Mistake(
            lambda U, L, log_q, Nl, Nu, alpha: U.sum() + L.sum() + alpha * (Nu + Nl) / Nl * log_q.sum(),
            "sums over the batch stand in for sums over the data set: take means, and multiply by N_u and N_l.",
        ),
        Mistake(
            lambda U, L, log_q, Nl, Nu, alpha: U.mean() + Nl / Nu * (L.mean() + alpha * log_q.mean()),
            "the classifier's term got the weight of the few labelled points, N_l: in J it is weighed like all N, "
            "or the labels are outvoted.",
        ),
        Mistake(
            lambda U, L, log_q, Nl, Nu, alpha: Nu * U.mean() + Nl * L.mean() + alpha * (Nu + Nl) * log_q.mean(),
            "this is J itself: divide by N_u.",
        ),
    ),
)

# --- 11.3 ------------------------------------------------------------------------------------------------------------


def alpha_to_win(pi: float, n_u: int, n_l: int, num_unlabelled: int, num_labelled: int) -> float:
    """The least alpha with which the name that its labels give a group of points has an absolute majority.

    The classifier cannot tell the points of the group apart: it gives all of them the same q. The model, softmax of
    L(x, y), gives the class of the labels the probability pi.

    Args:
        pi: What the model gives the class of the labels, between 0 and 1.
        n_u: Unlabelled points in the group, at least 1.
        n_l: Labelled points in the group, all of one class, at least 1.
        num_unlabelled: N_u, unlabelled points of the whole data set.
        num_labelled: N_l, labelled points of the whole data set.

    Returns:
        The least alpha >= 0 at which the best q of that class is at least 1/2, an absolute majority.
    """
    N = num_unlabelled + num_labelled
    return max(0.0, n_u * num_labelled * math.log((1 - pi) / pi) / (2 * N * n_l))


def _alpha_by_search(pi: float, n_u: int, n_l: int, Nu: int, Nl: int) -> float:
    """Maximise the group's part of J over q for each alpha, and look for the alpha at which the best q is 1/2."""

    def best(alpha: float) -> float:
        def cost(q: float) -> float:
            entropy = -q * math.log(q) - (1 - q) * math.log(1 - q)
            votes = n_u * (q * math.log(pi) + (1 - q) * math.log(1 - pi) + entropy)
            return -(votes + alpha * (Nu + Nl) / Nl * n_l * math.log(q)) / n_u

        return float(minimize_scalar(cost, bounds=(1e-12, 1 - 1e-12), method="bounded", options={"xatol": 1e-10}).x)

    if best(0.0) >= 0.5:
        return 0.0
    high = 1.0
    while best(high) < 0.5:
        high *= 2
    return float(brentq(lambda alpha: best(alpha) - 0.5, 0.0, high, xtol=1e-12))


def _alpha_cases(rng: Generator) -> Iterator[Case]:
    groups = [(0.1, 100, 10, 1000, 100), (0.3, 100, 10, 1000, 100), (0.7, 100, 10, 1000, 100)]
    for _ in range(5):
        Nl, Nu = int(rng.integers(10, 100)), int(rng.integers(200, 900))
        groups.append(
            (float(rng.uniform(0.01, 0.45)), int(rng.integers(5, 200)), int(rng.integers(1, 10)), Nu, Nl),
        )
    for group in groups:
        yield value(group, _alpha_by_search(*group), rtol=1e-4, atol=1e-6)


def _alpha(pi: float, n_u: int, n_l: int, Nu: int, Nl: int, half: float = 0.5, N: int | None = None) -> float:
    return max(0.0, half * n_u * Nl * math.log((1 - pi) / pi) / ((Nu + Nl if N is None else N) * n_l))


check_alpha_to_win = Exercise(
    id="ch11.3",
    title="When the labels win the vote",
    topic="Classes",
    difficulty=3,
    importance=4,
    minutes=20,
    question="""\
Take a group of points that the classifier cannot tell apart. The unlabelled points pull $q$ to the model's $\\pi$, by
$-n_u\\,\\mathrm{KL}(q\\Vert\\pi)$; the group's $n_l$ labels pull it to their class, by
$\\frac{\\alpha N}{N_l}n_l\\log q$, with $N=N_u+N_l$. Write `alpha_to_win`, which returns the least $\\alpha$ at which
the best $q$ gives the class of the labels at least one half.""",
    solution=alpha_to_win,
    explanation="""\
The other classes share what is left in the proportions of $\\pi$, so for an absolute majority two classes are enough.
(To be first among more than two, less than one half can do.) The derivative of
$n_u(q\\log\\frac{\\pi}{q}+(1-q)\\log\\frac{1-\\pi}{1-q})+W\\log q$ is
$n_u(\\log\\frac{\\pi}{1-\\pi}-\\log\\frac{q}{1-q})+W/q$. At $q=\\frac12$ it is zero for
$W=\\frac{n_u}2\\log\\frac{1-\\pi}{\\pi}$, and $W=\\alpha N n_l/N_l$. If a tenth of all points and a tenth of the labels
are in the group, $\\alpha$ is about half the logarithm of the odds against the labels: $\\alpha=0.1$ holds out against
odds of 1.2 to 1, $\\alpha=1$ against 7.4 to 1.""",
    hints=(
        "Write down the group's part of J as a function of the one number q, and set its derivative to zero.",
        "At q = 1/2 the logarithm of q / (1 - q) is zero, and the label's pull W / q is 2 W.",
        "W = alpha N n_l / N_l, N = N_u + N_l. If pi is above 1/2 the labels have won without alpha.",
    ),
    cases=_alpha_cases,
    checked="pi from 0.01 to 0.7, groups and data sets of many sizes, against a search for the best q",
    mistakes=(
        Mistake(
            lambda pi, n_u, n_l, Nu, Nl: _alpha(pi, n_u, n_l, Nu, Nl, half=1.0),
            "twice too much: the slope of W log q at q = 1/2 is W / q = 2 W, not W.",
        ),
        Mistake(
            lambda pi, n_u, n_l, Nu, Nl: n_u * Nl * math.log((1 - pi) / pi) / (2 * (Nu + Nl) * n_l),
            "right while pi is below 1/2. Above it the labels have won without help: the answer is 0, not negative.",
        ),
        Mistake(
            lambda pi, n_u, n_l, Nu, Nl: _alpha(pi, n_u, n_l, Nu, Nl, N=Nu),
            "the classifier's term is weighed by N = N_u + N_l, not by N_u.",
        ),
        Mistake(
            lambda pi, n_u, n_l, Nu, Nl: _alpha(pi, n_u, n_l, Nu, 1),
            "the labels' term is a mean over all N_l labels, so that one label has the weight alpha N / N_l.",
        ),
        Mistake(
            lambda pi, n_u, n_l, Nu, Nl: n_u * Nl * math.log(1 / pi) / (2 * (Nu + Nl) * n_l),
            "the votes against the labels count by the odds, log((1 - pi) / pi); log(1 / pi) is the surprise at them.",
        ),
    ),
)

# --- 11.4 ------------------------------------------------------------------------------------------------------------


def kl_floor(d: int, least: float) -> float:
    """The smallest KL divergence from the uniform law that a head can reach on a sphere.

    Args:
        d: Dimension of the sphere S^d, from 1 to 100.
        least: The smallest concentration of the head, from 0.1 to 10.

    Returns:
        KL(vMF(mu, least) || uniform) in nats.
    """
    kappa = torch.tensor(least, dtype=torch.float64)
    m = d + 1
    return float(kappa * mean_resultant_length(kappa, m) - log_partition(kappa, m))


def _floor(m: int, least: float) -> tuple[float, float]:
    kappa = torch.tensor(least, dtype=torch.float64)
    return float(kappa * mean_resultant_length(kappa, m)), float(log_partition(kappa, m))


def _floor_cases(rng: Generator) -> Iterator[Case]:
    sizes = [(5, 1.0), (2, 1.0), (10, 1.0), (1, 1.0)]
    sizes += [(int(rng.integers(2, 100)), float(log_uniform(rng, 0.1, 10))) for _ in range(6)]
    for d, least in sizes:
        w, p = _reference.law(least, d + 1)
        uniform = _reference.law(1e-12, d + 1)  # w of uniform points
        log_z = math.log(float(np.exp(least * uniform[0]) @ uniform[1]))
        yield value((d, least), float(p @ (least * w - log_z)), rtol=1e-6)


check_kl_floor = Exercise(
    id="ch11.4",
    title="The floor under a dead code",
    topic="Divergences",
    difficulty=2,
    importance=3,
    minutes=10,
    question="""\
A spherical head with $\\kappa=\\mathrm{softplus}(\\cdot)+1$ cannot become uniform. Write `kl_floor`, which returns
the smallest KL divergence from the uniform law that it can reach on $S^d$, for any smallest concentration. What is it
on $S^5$? `mean_resultant_length` and `log_partition` of the library may be used.""",
    solution=kl_floor,
    explanation="""\
The divergence $\\kappa A_m(\\kappa)-\\phi_m(\\kappa)$ rises with $\\kappa$: its derivative is $\\kappa A_m'$, and a
variance is positive. So the floor is its value at the smallest $\\kappa$, with $m=d+1$. On $S^5$ and at $\\kappa=1$ it
is 0.0808 nats. A spherical $z_2$ whose KL is this number for every image says at most
0.08 nats about the image: its code is as good as dead, although its KL is not 0.""",
    hints=(
        "The divergence grows with kappa, so look at the smallest kappa.",
        "KL(vMF || uniform) = kappa A - phi, from chapter 6.",
        "S^d lies in R^m with m = d + 1, and both functions of the library take m.",
    ),
    cases=_floor_cases,
    checked="d from 1 to 100, smallest concentration from 0.1 to 10, against quadrature of the divergence",
    mistakes=(
        Mistake(
            lambda d, least: _floor(d + 1, least)[0],
            "phi is missing: this is the mean of kappa w, without the normaliser of the density.",
        ),
        Mistake(
            lambda d, least: _floor(d, least)[0] - _floor(d, least)[1] if d > 1 else math.nan,
            "d stands where m = d + 1 should: S^d lies in a space with one dimension more.",
        ),
        Mistake(
            lambda d, least: _floor(d + 1, least)[1] - _floor(d + 1, least)[0],
            "the sign: a KL divergence is never negative. It is kappa A - phi.",
        ),
        Mistake(
            lambda d, least: least**2 / (2 * (d + 1)),
            "kappa^2 / (2 m) is the first term of a series for small kappa: good to a few per cent at kappa = 1, "
            "and wrong at larger kappa.",
        ),
        Mistake(
            lambda d, least: 0.0,
            "zero would need the uniform law, kappa = 0, which a head with a smallest concentration cannot reach.",
        ),
    ),
    replaces=(kl_to_uniform,),
)
