"""The figures of others, typed a second time: a digit that was mistyped in either place shows."""

import pytest

from hvae_tutorial.experiments import paper

# Davidson et al. (2018), Table 1: d, model, then LL, ELBO, RE and KL, each mean and standard deviation.
TABLE1 = """
2 n -135.73 .83 -137.08 .83 -129.84 .91 7.24 .11
2 s -132.50 .73 -133.72 .85 -126.43 .91 7.28 .14
5 n -110.21 .21 -112.98 .21 -100.16 .22 12.82 .11
5 s -108.43 .09 -111.19 .08 -97.84 .13 13.35 .06
10 n -93.84 .30 -98.36 .30 -78.93 .30 19.44 .14
10 s -93.16 .31 -97.70 .32 -77.03 .39 20.67 .08
20 n -88.90 .26 -94.79 .19 -71.29 .45 23.50 .31
20 s -89.02 .31 -96.15 .32 -67.65 .43 28.50 .22
40 n -88.93 .30 -94.91 .18 -71.14 .56 23.77 .49
40 s -90.87 .34 -101.26 .33 -67.75 .70 33.50 .45
"""
# Table 2: d, then N and S with 100, 600 and 1000 labels.
TABLE2 = """
2 72.6 77.9 80.8 84.9 81.7 85.6
5 81.8 87.5 90.9 92.8 92.0 93.4
10 75.7 80.6 88.4 91.2 90.2 92.8
20 71.3 72.8 88.3 89.1 90.1 91.1
40 72.3 67.7 88.0 87.4 90.3 90.4
"""
# Table 3: dimensions of z1 and z2, then N+N, S+S and S+N.
TABLE3 = """
5 5 90.0 94.0 93.8
5 10 90.7 94.1 94.8
5 50 90.7 92.7 93.0
10 5 90.7 91.7 94.0
10 10 92.2 96.0 95.9
10 50 92.9 95.1 95.7
50 5 92.0 91.7 95.8
50 10 93.0 95.8 97.1
50 50 93.2 94.2 97.4
"""
# Table 4: graph, then AUC of N and S, AP of N and S.
TABLE4 = """
cora 92.7 94.1 93.2 94.1
citeseer 90.3 94.7 91.5 95.2
pubmed 97.1 96.0 97.1 96.0
"""
# Kipf and Welling (2016), Table 1: VGAE with features, AUC and AP.
KIPF_WELLING = """
cora 91.4 92.6
citeseer 90.8 92.0
pubmed 94.4 94.7
"""


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.strip().splitlines()]


def test_table_1() -> None:
    names = ("log_likelihood", "elbo", "reconstruction", "kl")
    typed = {}
    for d, model, *figures in lines(TABLE1):
        pairs = zip(map(float, figures[::2]), map(float, figures[1::2]), strict=True)
        typed[int(d), model] = dict(zip(names, pairs, strict=True))
    assert typed == paper.TABLE1


def test_table_1_adds_up() -> None:
    for figures in paper.TABLE1.values():  # ELBO = RE - KL up to rounding
        elbo, reconstruction, kl = (figures[name][0] for name in ("elbo", "reconstruction", "kl"))
        assert elbo == pytest.approx(reconstruction - kl, abs=0.03)


def test_table_2() -> None:
    typed = {}
    for d, *figures in lines(TABLE2):
        for i, model in enumerate("ns"):
            typed[int(d), model] = dict(zip((100, 600, 1000), map(float, figures[i::2]), strict=True))
    assert typed == paper.TABLE2


def test_table_3() -> None:
    typed = {}
    for d1, d2, *figures in lines(TABLE3):
        for pair, figure in zip(("nn", "ss", "sn"), figures, strict=True):
            typed[(int(d1), int(d2)), pair] = float(figure)
    assert typed == paper.TABLE3


def test_table_4() -> None:
    typed = {}
    for graph, *figures in lines(TABLE4):
        for i, model in enumerate("ns"):
            typed[graph, model] = dict(zip(("auc", "ap"), map(float, figures[i::2]), strict=True))
    assert typed == paper.TABLE4


def test_kipf_and_welling() -> None:
    typed = {(graph, "n"): {"auc": float(auc), "ap": float(ap)} for graph, auc, ap in lines(KIPF_WELLING)}
    assert typed == paper.KIPF_WELLING
