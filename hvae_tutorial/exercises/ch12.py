"""Chapter 12: link prediction on graphs."""

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from hvae_tutorial.exercises._cases import Case, log_uniform, value
from hvae_tutorial.exercises._diagnosis import Mistake
from hvae_tutorial.exercises._exercise import Exercise
from hvae_tutorial.models import InnerProductDecoder, normalized_adjacency

# --- 12.1 ------------------------------------------------------------------------------------------------------------


def graph_convolution(edges: Tensor, X: Tensor, W: Tensor) -> Tensor:
    """One graph convolution with a ReLU.

    Args:
        edges: Each link once, int64, shape (2, E). Some nodes may have no link.
        X: Features of the nodes, shape (N, F), float64.
        W: Weights, shape (F, H), float64.

    Returns:
        ReLU(A_hat X W), shape (N, H), float64, with A_hat = D^(-1/2) (A + I) D^(-1/2).
    """
    a = torch.eye(len(X), dtype=X.dtype)
    a[edges[0], edges[1]] = a[edges[1], edges[0]] = 1
    shrink = a.sum(1).rsqrt()
    A_norm = shrink[:, None] * a * shrink
    return torch.relu(A_norm @ X @ W)


def _adjacency(edges: Tensor, N: int, loops: float = 1.0, both: bool = True) -> Tensor:
    a = loops * torch.eye(N, dtype=torch.float64)
    a[edges[0], edges[1]] = 1
    if both:
        a[edges[1], edges[0]] = 1
    return a


def _symmetric(a: Tensor, d: Tensor) -> Tensor:
    return a / (d[:, None] * d).sqrt()


def _one_direction(edges: Tensor, X: Tensor, W: Tensor) -> Tensor:
    a = _adjacency(edges, len(X), both=False)
    return torch.relu(_symmetric(a, a.sum(1)) @ X @ W)


def _no_loops(edges: Tensor, X: Tensor, W: Tensor) -> Tensor:
    a = _adjacency(edges, len(X), loops=0.0)
    return torch.relu(_symmetric(a, a.sum(1).clamp(min=1)) @ X @ W)


def _bare_degrees(edges: Tensor, X: Tensor, W: Tensor) -> Tensor:
    d = _adjacency(edges, len(X), loops=0.0).sum(1).clamp(min=1)
    return torch.relu(_symmetric(_adjacency(edges, len(X)), d) @ X @ W)


def _zero_degrees(edges: Tensor, X: Tensor, W: Tensor) -> Tensor:
    d = _adjacency(edges, len(X), loops=0.0).sum(1)
    return torch.relu(_symmetric(_adjacency(edges, len(X)), d) @ X @ W)


def _convolution_by_loops(edges: np.ndarray, X: np.ndarray, W: np.ndarray) -> Tensor:
    """Each node collects from itself and its neighbours, one at a time."""
    N = len(X)
    friends = [{u} for u in range(N)]
    for u, v in edges.T:
        friends[u].add(int(v))
        friends[v].add(int(u))
    H = np.zeros((N, W.shape[1]))
    for u in range(N):
        for v in friends[u]:
            for j in range(W.shape[1]):
                sent = math.fsum(X[v, i] * W[i, j] for i in range(W.shape[0]))
                H[u, j] += sent / math.sqrt(len(friends[u]) * len(friends[v]))
    return torch.from_numpy(np.where(H > 0, H, 0.0))


def _convolution_cases(rng: Generator) -> Iterator[Case]:
    for N, F, H, share in ((3, 2, 2, 0.7), (5, 3, 2, 0.5), (8, 4, 3, 0.3), (12, 3, 5, 0.2), (9, 2, 4, 0.4)):
        upper = np.argwhere(np.triu(rng.uniform(size=(N - 1, N - 1)) < share, 1))  # the last node has no link
        edges = np.concatenate([[[0, 1]], upper[(upper != [0, 1]).any(1)]]).T
        X, W = rng.standard_normal((N, F)), rng.standard_normal((F, H))
        X[:, 0] += 1
        W[0] += 0.5
        args = (torch.from_numpy(np.ascontiguousarray(edges)), torch.from_numpy(X), torch.from_numpy(W))
        yield value(args, _convolution_by_loops(edges, X, W), rtol=1e-9, atol=1e-12)


check_graph_convolution = Exercise(
    id="ch12.1",
    title="A graph convolution",
    topic="Graphs",
    difficulty=2,
    importance=5,
    minutes=15,
    question="""\
Write `graph_convolution`, which returns $\\mathrm{ReLU}(\\hat AXW)$ with $\\hat A=D^{-1/2}(A+I)D^{-1/2}$, from a list
that has each link once. Dense matrices will do.""",
    solution=graph_convolution,
    explanation="""\
A link goes both ways, so each pair of the list fills two places of $A$. The ones on the diagonal come before the
degrees: $d_u$ counts the node itself, and a node without links keeps its own features. Dividing by $\\sqrt{d_ud_v}$
is a factor $1/\\sqrt{d_u}$ for each row and the same for each column.""",
    hints=(
        "Begin with `torch.eye(N)` and put ones at both places of each link.",
        "The degrees are the sums of the rows of A + I. An entry is divided by sqrt(d_u d_v).",
        "With `s = d.rsqrt()` the matrix is `s[:, None] * a * s`; the ReLU is `torch.relu`.",
    ),
    cases=_convolution_cases,
    checked="graphs of 3 to 12 nodes, one of them without links, against loops over neighbours",
    mistakes=(
        Mistake(
            _one_direction,
            "each link fills only one place of A: the list has each link once, and A must be symmetric.",
        ),
        Mistake(
            _no_loops,
            "the self-loops are missing: a node must hear itself too, A + I.",
        ),
        Mistake(
            _zero_degrees,
            "a node without links has the degree 0 here, and 0 / 0 is not a number: count the self-loop, in the matrix "
            "and in the degrees.",
        ),
        Mistake(
            _bare_degrees,
            "the degrees are those of A: count the self-loop too, d = row sums of A + I.",
        ),
        Mistake(
            lambda edges, X, W: torch.relu(
                (a := _adjacency(edges, len(X))) / a.sum(1, keepdim=True) @ X @ W,
            ),
            "rows are divided by their sum, D^-1 (A + I): the mean over the neighbours. Its eigenvalues are the same, "
            "but it is not the symmetric A_hat.",
        ),
        Mistake(
            lambda edges, X, W: torch.relu(_adjacency(edges, len(X)) @ X @ W),
            "nothing is divided by the degrees: this is (A + I) X W.",
        ),
        Mistake(
            lambda edges, X, W: _symmetric(a := _adjacency(edges, len(X)), a.sum(1)) @ X @ W,
            "the ReLU is missing: negative numbers should become 0.",
        ),
    ),
    replaces=(normalized_adjacency,),
)

# --- 12.2 ------------------------------------------------------------------------------------------------------------


def link_probabilities(z: Tensor, pairs: Tensor, scale: float, offset: float, weight: float) -> Tensor:
    """Probabilities of links by an inner-product decoder that was trained with weighed links.

    Args:
        z: Codes of the nodes, shape (N, m), float64.
        pairs: Pairs of nodes, int64, shape (2, n).
        scale: s > 0; Kipf and Welling have 1.
        offset: b; Kipf and Welling have 0.
        weight: w > 0, the weight that each link had in the loss.

    Returns:
        The probability that each pair is linked, in the world as it is, shape (n,), float64.
    """
    logits = scale * (z[pairs[0]] * z[pairs[1]]).sum(-1) + offset
    return torch.sigmoid(logits - math.log(weight))


def _link_logits(z: Tensor, pairs: Tensor, scale: float, offset: float) -> Tensor:
    return scale * (z[pairs[0]] * z[pairs[1]]).sum(-1) + offset


def _probabilities_by_loops(z: np.ndarray, pairs: np.ndarray, scale: float, offset: float, weight: float) -> Tensor:
    """The logit is that of odds w times too large: divide the odds by w."""
    found = []
    for u, v in pairs.T:
        product = math.fsum(a * b for a, b in zip(z[u], z[v], strict=True))
        odds = math.exp(scale * product + offset) / weight
        found.append(odds / (1 + odds))
    return torch.tensor(found, dtype=torch.float64)


def _link_cases(rng: Generator) -> Iterator[Case]:
    settings = [(1.0, 0.0, 1.0), (9.0, -1.5, 1.0), (4.4, -1.3, 13.0)]
    settings += [
        (float(log_uniform(rng, 0.5, 12)), float(rng.normal(0, 2)), float(log_uniform(rng, 2, 900))) for _ in range(4)
    ]
    for scale, offset, weight in settings:
        N, m, n = int(rng.integers(4, 9)), int(rng.integers(2, 10)), int(rng.integers(3, 7))
        z = rng.standard_normal((N, m))
        z /= np.linalg.norm(z, axis=1, keepdims=True)
        pairs = rng.integers(N, size=(2, n))
        args = (torch.from_numpy(z), torch.from_numpy(pairs), scale, offset, weight)
        yield value(args, _probabilities_by_loops(z, pairs, scale, offset, weight), rtol=1e-9)


check_link_probabilities = Exercise(
    id="ch12.2",
    title="From codes to probabilities",
    topic="Graphs",
    difficulty=2,
    importance=4,
    minutes=10,
    question="""\
On a sphere the inner product needs a scale and an offset, and a loss in which each link counted $w$ times leaves all
logits too high by $\\log w$. Write `link_probabilities`, which returns the probabilities of pairs in the world as it
is, $\\sigma(s\\,z_u\\cdot z_v+b-\\log w)$. Then set $s=1$, $b=0$, $w=1$: which probabilities can be reached?""",
    solution=link_probabilities,
    explanation="""\
The logit is the logarithm of the odds, and the weighed loss multiplies the odds by $w$: subtract $\\log w$ before the
sigmoid. Correcting the probability afterwards, by dividing it by $w$, is right only where it is small. With $s=1$,
$b=0$, $w=1$ all probabilities lie between $\\sigma(-1)=0.27$ and $\\sigma(1)=0.73$.""",
    hints=(
        "`z[pairs[0]]` are the codes of the first ends. Multiply by those of the second ends and sum over the last "
        "axis.",
        "Scale, offset and log w belong inside the sigmoid, one after the other.",
        "`torch.sigmoid(scale * (z[pairs[0]] * z[pairs[1]]).sum(-1) + offset - math.log(weight))`.",
    ),
    cases=_link_cases,
    checked="spheres of 1 to 8 dimensions, s from 0.5 to 12, w from 1 to 900, against odds computed in loops",
    mistakes=(
        Mistake(
            lambda z, pairs, scale, offset, weight: torch.sigmoid(_link_logits(z, pairs, scale, offset)),
            "these are the probabilities of a world in which links had been seen w times as often: subtract log w.",
        ),
        Mistake(
            lambda z, pairs, scale, offset, weight: torch.sigmoid(
                _link_logits(z, pairs, scale, offset) + math.log(weight)
            ),
            "the sign of log w: the weights made the logits too high.",
        ),
        Mistake(
            lambda z, pairs, scale, offset, weight: torch.sigmoid(_link_logits(z, pairs, scale, offset)) / weight,
            "the probability is divided by w: the weights multiply the odds, so divide those, or subtract log w from "
            "the logit.",
        ),
        Mistake(
            lambda z, pairs, scale, offset, weight: torch.sigmoid(_link_logits(z, pairs, 1.0, 0.0) - math.log(weight)),
            "scale and offset are not used: on a sphere the inner product alone lies in [-1, 1].",
        ),
        Mistake(
            lambda z, pairs, scale, offset, weight: torch.sigmoid(
                scale * (_link_logits(z, pairs, 1.0, offset)) - math.log(weight)
            ),
            "the offset is multiplied by the scale too: the logit is s z.z' + b.",
        ),
        Mistake(
            lambda z, pairs, scale, offset, weight: torch.sigmoid(_link_logits(z, pairs, scale, offset) - weight),
            "w itself is subtracted: it is its logarithm that the logits are too high by.",
        ),
        Mistake(
            lambda z, pairs, scale, offset, weight: _link_logits(z, pairs, scale, offset) - math.log(weight),
            "these are logits: the sigmoid is missing.",
        ),
    ),
    replaces=(InnerProductDecoder.forward,),
)

# --- 12.3 ------------------------------------------------------------------------------------------------------------


def area_by_ranks(links: Tensor, others: Tensor) -> float:
    """Area under the ROC curve: how often a link has a higher score than another pair; ties count half.

    Args:
        links: Scores of pairs that are links, shape (n,), float64.
        others: Scores of pairs that are none, shape (k,), float64.

    Returns:
        The area, between 0 and 1.
    """
    scores = torch.cat([links, others])
    order = scores.sort().values
    below = torch.searchsorted(order, scores)
    up_to = torch.searchsorted(order, scores, right=True)
    ranks = (below + up_to + 1).double() / 2  # from 1 on; equal scores share the mean of their ranks
    n, k = len(links), len(others)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * k))


def _share_above(links: Tensor, others: Tensor, ties: float) -> float:
    above = (links[:, None] > others).double() + ties * (links[:, None] == others).double()
    return float(above.mean())


def _ranks_from_zero(links: Tensor, others: Tensor) -> float:
    n, k = len(links), len(others)
    return _share_above(links, others, 0.5) - n / (n * k)


def _area_by_curve(links: np.ndarray, others: np.ndarray) -> float:
    """Trapezoids under the curve of true against false positive rates, threshold after threshold."""
    corners = [(0.0, 0.0)]
    for threshold in sorted({*links.tolist(), *others.tolist()}, reverse=True):
        corners.append(
            (sum(x >= threshold for x in others) / len(others), sum(x >= threshold for x in links) / len(links))
        )
    return math.fsum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(corners))


def _area_cases(rng: Generator) -> Iterator[Case]:
    for n, k, digits in ((3, 2, 0), (6, 6, 0), (20, 20, 0), (15, 40, 1), (30, 25, 1), (50, 50, 9)):
        links = np.round(rng.normal(0.8, 1, n), digits)
        others = np.round(rng.normal(0.0, 1, k), digits)
        if digits == 0:
            links[0] = others[0]  # at least one tie
        yield value(
            (torch.from_numpy(links), torch.from_numpy(others)), _area_by_curve(links, others), rtol=1e-6, atol=1e-9
        )


check_area_by_ranks = Exercise(
    id="ch12.3",
    title="AUC by ranks",
    topic="Graphs",
    difficulty=2,
    importance=4,
    minutes=15,
    question="""\
AUC is the probability that a link, drawn at random, has a higher score than another pair, drawn at random; a tie counts
half. Write `area_by_ranks`, which returns it, without `roc_auc_score`. Comparing all pairs is right; sorting once is
faster: sum the ranks of the links, equal scores sharing the mean of their ranks.""",
    solution=area_by_ranks,
    explanation="""\
The rank of a link is one plus the number of scores below it, links and others. Among themselves the $n$ links have the
ranks 1 to $n$, with the sum $n(n+1)/2$, whatever the others do. What is left counts the others below each link, and a
tie counts half if equal scores share their mean rank. Divided by $nk$ this is the area: Mann and Whitney's statistic.
A program that leaves ties out is wrong where a model gives many pairs the same score.""",
    hints=(
        "`(links[:, None] > others).double().mean()` is the answer without ties.",
        "With ranks: subtract n (n + 1) / 2 from the sum of the links' ranks and divide by n k.",
        "In the sorted scores, `torch.searchsorted` counts those below; with `right=True` those below or equal. The "
        "mean rank is (below + up_to + 1) / 2.",
    ),
    cases=_area_cases,
    checked="2 to 50 scores of each kind, with and without ties, against trapezoids under the curve",
    mistakes=(
        Mistake(
            lambda links, others: _share_above(links, others, 0.0),
            "ties count nothing: a link and another pair with the same score count half.",
        ),
        Mistake(
            lambda links, others: _share_above(links, others, 1.0),
            "ties count as won: a link and another pair with the same score count half.",
        ),
        Mistake(
            lambda links, others: _share_above(others, links, 0.5),
            "the other way round: this is how often another pair is above a link.",
        ),
        Mistake(
            _ranks_from_zero,
            "the ranks begin at 0, as those of argsort do: with n (n + 1) / 2 they must begin at 1.",
        ),
        Mistake(
            lambda links, others: float(
                ((links > 0).double().sum() + (others <= 0).double().sum()) / (len(links) + len(others))
            ),
            "this is the accuracy at the threshold 0: the area looks at the order alone, at all thresholds.",
        ),
    ),
)
