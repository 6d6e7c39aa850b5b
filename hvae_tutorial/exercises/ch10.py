"""Chapter 10: nearest neighbours on latent codes."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from hvae_tutorial.exercises._cases import Case, unit_vectors, value
from hvae_tutorial.exercises._diagnosis import Mistake
from hvae_tutorial.exercises._exercise import Exercise

# --- 10.1 ------------------------------------------------------------------------------------------------------------


def vote_shares(codes: Tensor, labels: Tensor, queries: Tensor, k: int) -> Tensor:
    """How the nearest neighbours on the sphere vote, whatever the lengths of the vectors.

    The vectors are posterior means: their directions are points of the sphere, their lengths say how sure the encoder
    is. Near is measured by the angle between directions.

    Args:
        codes: Vectors of the labelled images, shape (n, m), not zero, float64.
        labels: Their classes, shape (n,), int64, from 0 to 9.
        queries: Vectors of the images to classify, shape (n_queries, m), not zero, float64.
        k: Number of neighbours, at most n.

    Returns:
        For each query the share of each class among its k nearest labelled images, shape (n_queries, 10), float64;
        rows sum to 1.
    """
    a = codes / codes.norm(dim=1, keepdim=True)
    b = queries / queries.norm(dim=1, keepdim=True)
    nearest = (b @ a.T).topk(k, dim=1).indices  # the largest cosines: the smallest angles
    return torch.nn.functional.one_hot(labels[nearest], 10).double().mean(1)


def _shares(
    codes: Tensor, labels: Tensor, queries: Tensor, k: int, nearness: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Variants: `nearness` of queries (n_queries, m) and codes (n, m), large if near, shape (n_queries, n)."""
    nearest = nearness(queries, codes).topk(k, dim=1).indices
    return torch.nn.functional.one_hot(labels[nearest], 10).double().mean(1)


def _cosines(queries: Tensor, codes: Tensor) -> Tensor:
    return (queries / queries.norm(dim=1, keepdim=True)) @ (codes / codes.norm(dim=1, keepdim=True)).T


def _columns_normalised(queries: Tensor, codes: Tensor) -> Tensor:
    return (queries / queries.norm(dim=0)) @ (codes / codes.norm(dim=0)).T


def _vote_cases(rng: Generator) -> Iterator[Case]:
    for m, n, q, k in ((2, 6, 3, 1), (3, 40, 6, 5), (3, 40, 6, 5), (int(rng.integers(4, 20)), 60, 5, 7)):
        lengths = torch.from_numpy(rng.uniform(0.1, 1, (n + q, 1)))
        vectors = lengths * unit_vectors(rng, n + q, m)
        labels = torch.from_numpy(rng.integers(0, 10, n))
        truth = torch.zeros(q, 10, dtype=torch.float64)
        for row, query in enumerate(vectors[n:].tolist()):
            angles = [_angle(query, code) for code in vectors[:n].tolist()]
            for place in sorted(range(n), key=angles.__getitem__)[:k]:
                truth[row, labels[place]] += 1 / k
        yield value((vectors[:n], labels, vectors[n:], k), truth, rtol=1e-12, atol=1e-12)


def _angle(a: Sequence[float], b: Sequence[float]) -> float:
    """Kahan's angle between two vectors of any length."""
    x, y = math.hypot(*a), math.hypot(*b)
    apart = math.hypot(*(y * u - x * v for u, v in zip(a, b, strict=True)))
    return 2 * math.atan2(apart, math.hypot(*(y * u + x * v for u, v in zip(a, b, strict=True))))


check_vote_shares = Exercise(
    id="ch10.1",
    title="Neighbours by angle",
    topic="Nearest neighbours",
    difficulty=2,
    importance=4,
    minutes=10,
    question="""\
Someone hands you posterior *means* of an S-VAE: vectors inside the ball. Write `vote_shares`, which finds for each
query the $k$ labelled images that are nearest by geodesic distance, and returns the share of each class among
them.""",
    solution=vote_shares,
    explanation="""\
Only directions are points of the sphere, so both sides are divided by their lengths first. The angle falls as the
cosine rises, so the largest dot products of unit vectors are the smallest angles, and no arccosine is needed.
Euclidean distance ranks alike on unit vectors only: for other lengths it has the extra term $(r_1 - r_2)^2$.""",
    hints=(
        "Which vectors have to have length 1 before you compare them?",
        "`x / x.norm(dim=1, keepdim=True)` for codes and queries; the dot products are `b @ a.T`.",
        "`.topk(k, dim=1).indices` gives the k largest; `one_hot(labels[nearest], 10)`, mean over the neighbours.",
    ),
    cases=_vote_cases,
    checked="2 to 19 coordinates, k = 1, 5 and 7, vectors of length 0.1 to 1, against Kahan's formula for the angle",
    mistakes=(
        Mistake(
            lambda codes, labels, queries, k: _shares(codes, labels, queries, k, lambda b, a: -torch.cdist(b, a)),
            "this is Euclidean distance of vectors with different lengths: divide each by its length first.",
        ),
        Mistake(
            lambda codes, labels, queries, k: _shares(codes, labels, queries, k, lambda b, a: b @ a.T),
            "dot products of vectors that are not normalised: long codes seem near to everything.",
        ),
        Mistake(
            lambda codes, labels, queries, k: _shares(codes, labels, queries, k, lambda b, a: -_cosines(b, a)),
            "these are the farthest: the cosine is large where the angle is small.",
        ),
        Mistake(
            lambda codes, labels, queries, k: _shares(codes, labels, queries, k, lambda b, a: _cosines(b, a).abs()),
            "the sign of the cosine is lost, so points on the opposite side count as near.",
        ),
        Mistake(
            lambda codes, labels, queries, k: _shares(codes, labels, queries, k, _columns_normalised),
            "coordinates are normalised, not vectors: the norm belongs over dim=1, with keepdim=True.",
        ),
        Mistake(
            lambda codes, labels, queries, k: k * vote_shares(codes, labels, queries, k),
            "these are counts; shares are divided by k.",
        ),
    ),
)

# --- 10.2 ------------------------------------------------------------------------------------------------------------


def choose_k(distances: Tensor, labels: Tensor, ks: list[int]) -> tuple[int, float]:
    """Choose the number of neighbours with the labelled images alone, by leaving one out.

    Each labelled image is classified by the k nearest of the others: the class that is most frequent among them, of
    equally frequent classes the smallest.

    Args:
        distances: Between the labelled images, shape (n, n), symmetric, zero on the diagonal. From one image to the
            others they are all different; one of them may be zero, too: that of a copy. Leave them as they are:
            `fill_diagonal_` changes a tensor in place, so work on a clone.
        labels: Their classes, shape (n,), int64, from 0 to 9.
        ks: The numbers of neighbours to try, in rising order, each less than n.

    Returns:
        The k with the largest share of images that are classified right, of equally good ones the smallest; and that
        share.
    """
    order = distances.clone().fill_diagonal_(torch.inf).argsort(dim=1)
    votes = torch.nn.functional.one_hot(labels[order], 10).cumsum(1)  # (n, n, 10): of the 1, 2, ... nearest
    best = (0, -1.0)
    for k in ks:
        share = (votes[:, k - 1].argmax(1) == labels).double().mean().item()
        if share > best[1]:
            best = k, share
    return best


def _left_out(
    distances: Tensor,
    labels: Tensor,
    ks: list[int],
    *,
    alone: Callable[[Tensor], Tensor] = lambda distances: distances.clone().fill_diagonal_(torch.inf).argsort(dim=1),
    ties: Callable[[list[int]], int] = lambda neighbours: min(neighbours, key=lambda c: (-neighbours.count(c), c)),
    better: Callable[[float, float], bool] = lambda share, best: share > best,
) -> tuple[int, float]:
    """Variants of the solution."""
    order = alone(distances)
    best = (0, -1.0)
    for k in ks:
        guesses = [ties(labels[row[:k]].tolist()) for row in order]
        share = float(np.mean(np.array(guesses) == labels.numpy()))
        if better(share, best[1]):
            best = k, share
    return best


def _nearest_of_the_tied(neighbours: list[int]) -> int:
    return max(neighbours, key=neighbours.count)  # max keeps the first, the nearest


def _largest_of_the_tied(neighbours: list[int]) -> int:
    return max(neighbours, key=lambda c: (neighbours.count(c), c))


def _without_the_first(distances: Tensor) -> Tensor:
    return distances.argsort(dim=1)[:, 1:]


def _choice_cases(rng: Generator) -> Iterator[Case]:
    sizes = [(12, 2, 0.02), (40, 3, 0.9), (60, 3, 1.2), (60, 10, 0.7), *[(50, int(rng.integers(2, 8)), 0.8)] * 3]
    for number, (n, classes, blur) in enumerate(sizes):  # in the first several k are equally good
        labels = np.arange(n) % classes
        points = rng.standard_normal((classes, 2))[labels] + blur * rng.standard_normal((n, 2))
        if number % 2:  # copies of some images, with the label of another
            points[-6:] = points[:6]
            labels[-6:] = (labels[:6] + 1) % classes
        noise = rng.uniform(0.9, 1.1, (n, n))  # no two distances of a row are equal
        gaps = torch.from_numpy(np.hypot(*(points[:, None] - points[None]).T) * (noise + noise.T))
        ks = [1, 2, 3, 4, 6, 8, 10]
        yield value((gaps, torch.from_numpy(labels), ks), _choice(gaps.tolist(), labels.tolist(), ks), rtol=1e-9)


def _choice(gaps: list[list[float]], labels: list[int], ks: list[int]) -> tuple[int, float]:
    """The same by loops."""
    right = dict.fromkeys(ks, 0)
    for i, row in enumerate(gaps):
        others = sorted((gap, j) for j, gap in enumerate(row) if j != i)
        for k in ks:
            counts = [0] * 10
            for _, j in others[:k]:
                counts[labels[j]] += 1
            right[k] += counts.index(max(counts)) == labels[i]
    most = max(right.values())
    return min(k for k in ks if right[k] == most), most / len(labels)


check_choose_k = Exercise(
    id="ch10.2",
    title="Which k, with a hundred labels?",
    topic="Nearest neighbours",
    difficulty=3,
    importance=3,
    minutes=20,
    question="""\
The paper does not say how it chose $k$. Nobody may look at test labels for it, and a hundred labels are too few to put
some aside. So leave one out: classify each labelled image by the others. Write `choose_k`, which returns the best of
several $k$ and its accuracy. Mind ties, and mind who is whose neighbour.""",
    solution=choose_k,
    explanation="""\
An image must not vote on itself: with it $k = 1$ is always right. Setting the diagonal to infinity removes the image
itself, also where a copy of it lies at distance zero; dropping the first of the sorted neighbours removes sometimes the
one and sometimes the other. All $k$ share one sorting: the votes of the $k$ nearest are a cumulative sum.""",
    hints=(
        "Who is the nearest neighbour of each image, if you sort the whole row?",
        "Put infinity on the diagonal (`fill_diagonal_` of a clone), then `argsort(dim=1)`, then "
        "`labels[order[:, :k]]`.",
        "Count with `one_hot(..., 10)` and a sum over the neighbours; `argmax(1)` takes the first of the largest, that "
        "is the smallest class. Keep a k only if it is strictly better.",
    ),
    cases=_choice_cases,
    checked="12 to 60 images, 2 to 10 classes, with ties and with copies, against loops",
    mistakes=(
        Mistake(
            lambda distances, labels, ks: _left_out(
                distances, labels, ks, alone=lambda d: d.argsort(dim=1, stable=True)
            ),
            "each image is among its own neighbours and votes on itself: leave it out.",
        ),
        Mistake(
            lambda distances, labels, ks: _left_out(distances, labels, ks, alone=_without_the_first),
            "dropping the first of the sorted neighbours is not leaving out the image: a copy has distance zero, too.",
        ),
        Mistake(
            lambda distances, labels, ks: _left_out(distances, labels, ks, ties=_nearest_of_the_tied),
            "of equally frequent classes you take that of the nearest neighbour; asked for is the smallest.",
        ),
        Mistake(
            lambda distances, labels, ks: _left_out(distances, labels, ks, ties=_largest_of_the_tied),
            "of equally frequent classes you take the largest; asked for is the smallest.",
        ),
        Mistake(
            lambda distances, labels, ks: _left_out(distances, labels, ks, better=lambda share, best: share >= best),
            "of equally good k you keep the last; asked for is the smallest: compare with >.",
        ),
        Mistake(
            lambda distances, labels, ks: _left_out(
                distances, labels, ks, alone=lambda d: d.clone().fill_diagonal_(-1.0).argsort(dim=1, descending=True)
            ),
            "these are the farthest images: sort in rising order.",
        ),
    ),
)

# --- 10.3 ------------------------------------------------------------------------------------------------------------


def luck(accuracies: Tensor) -> tuple[float, float]:
    """Part the luck of an accuracy into that of the seed and that of the labelled set.

    The accuracy of run r with labelled set l is a + R_r + L_rl, with independent deviations of mean zero and variances
    sigma_R^2 and sigma_L^2.

    Args:
        accuracies: Shape (runs, draws), float64, at least two of each; every run has labelled sets of its own.

    Returns:
        Unbiased estimates of sigma_R^2 and of sigma_L^2; the first may come out negative.
    """
    draws = accuracies.shape[1]
    of_draws = accuracies.var(dim=1).mean().item()
    return accuracies.mean(1).var().item() - of_draws / draws, of_draws


def _luck_cases(rng: Generator) -> Iterator[Case]:
    for runs, draws, of_runs, of_draws in ((2, 2, 1.0, 1.0), (3, 20, 2.0, 1.5), (10, 5, 0.3, 2.0), (5, 3, 1.0, 0.1)):
        deviations = of_runs * rng.standard_normal((runs, 1)) + of_draws * rng.standard_normal((runs, draws))
        table = rng.uniform(50, 90) + deviations
        yield value((torch.from_numpy(table),), _by_pairs(table), rtol=1e-8, atol=1e-10)
    table = table - table.mean(1, keepdims=True)  # equal means: less scatter than luck alone would bring
    yield value((torch.from_numpy(table),), _by_pairs(table), rtol=1e-8, atol=1e-10)


def _by_pairs(table: np.ndarray) -> tuple[float, float]:
    """Half the mean squared difference of two numbers: of one run, and of different runs."""
    runs, draws = table.shape
    within = [
        (table[r, i] - table[r, j]) ** 2 / 2 for r in range(runs) for i in range(draws) for j in range(draws) if i != j
    ]
    between = [
        (table[r, i] - table[q, j]) ** 2 / 2
        for r in range(runs)
        for q in range(runs)
        for i in range(draws)
        for j in range(draws)
        if r != q
    ]
    return float(np.mean(between) - np.mean(within)), float(np.mean(within))


check_luck = Exercise(
    id="ch10.3",
    title="Whose luck?",
    topic="Comparing models",
    difficulty=3,
    importance=3,
    minutes=20,
    question="""\
You have the accuracies of several seeds, each with several labelled sets. How much of their scatter comes from the
seeds, and how much from the labelled sets? Write `luck`, which returns unbiased estimates of $\\sigma_R^2$ and
$\\sigma_L^2$. Then ask what the variance of the mean of 3 seeds is, with 20 draws each or with 200.""",
    solution=luck,
    explanation="""\
Within a run only $L$ varies: the variance of a row estimates $\\sigma_L^2$, and the rows may be averaged. The mean of a
row has the variance $\\sigma_R^2 + \\sigma_L^2/n$, so the second term has to be subtracted from the variance of the
means. The mean of 3 seeds has the variance $(\\sigma_R^2 + \\sigma_L^2/n)/3$: more draws reduce only the second
term.""",
    hints=(
        "What varies within one row? What varies between the means of rows?",
        "`accuracies.var(dim=1).mean()` estimates the variance of draws. The means of rows have the variance "
        "sigma_R^2 + sigma_L^2 / n.",
        "Subtract: `accuracies.mean(1).var() - of_draws / draws`.",
    ),
    cases=_luck_cases,
    checked="2 to 10 runs, 2 to 20 draws, against half the mean squared differences of all pairs",
    mistakes=(
        Mistake(
            lambda accuracies: (accuracies.mean(1).var().item(), accuracies.var(dim=1).mean().item()),
            "the variance of the runs' means still has sigma_L^2 / n in it: subtract it.",
        ),
        Mistake(
            lambda accuracies: luck(accuracies.T.contiguous()),
            "rows and columns are mixed up: a run is a row, dim=1 goes over its draws.",
        ),
        Mistake(
            lambda accuracies: (
                accuracies.mean(1).var(correction=0).item()
                - accuracies.var(dim=1, correction=0).mean().item() / accuracies.shape[1],
                accuracies.var(dim=1, correction=0).mean().item(),
            ),
            "the variances are divided by n, should be by n - 1: with few numbers that is too small.",
        ),
        Mistake(
            lambda accuracies: (
                accuracies.mean(1).var().item() - accuracies.var(dim=1).mean().item(),
                accuracies.var(dim=1).mean().item(),
            ),
            "sigma_L^2 is subtracted whole; a mean of n draws has only sigma_L^2 / n of it.",
        ),
        Mistake(
            lambda accuracies: (luck(accuracies)[0], accuracies.var().item()),
            "the second is the variance of all numbers together: it has the luck of the seeds in it, too.",
        ),
        Mistake(
            lambda accuracies: (max(luck(accuracies)[0], 0.0), luck(accuracies)[1]),
            "cut off at zero the first estimate is no longer unbiased: let it be negative.",
        ),
    ),
)
