"""The references of the checkers against mpmath, 30 digits."""

import mpmath
import numpy as np
import pytest

from hvae_tutorial.exercises import _reference, ch05

LAWS = [(2, 0.01), (2, 2.0), (2, 300.0), (3, 1e-3), (3, 5.0), (5, 17.0), (10, 1e4), (41, 12.0), (200, 0.5), (200, 1e3)]


@pytest.mark.parametrize(("m", "kappa"), LAWS)
def test_normaliser_mean_and_variance(m: int, kappa: float) -> None:
    with mpmath.workdps(30):
        b, k = mpmath.mpf(m) / 2, mpmath.mpf(kappa)
        f, g, h = (mpmath.hyp0f1(b + j, k**2 / 4) for j in range(3))
        mean = k / (2 * b) * g / f
        square = (g + k**2 / (2 * b + 2) * h) / (2 * b) / f  # E w^2 = f'' / f
        exact = float(mpmath.log(f)), float(mean), float(square - mean**2)
    assert _reference.log_partition(kappa, m) == pytest.approx(exact[0], rel=1e-11, abs=1e-13)
    assert _reference.mean(kappa, m) == pytest.approx(exact[1], rel=1e-11, abs=1e-14)
    assert _reference.variance(kappa, m) == pytest.approx(exact[2], rel=1e-9, abs=0)


@pytest.mark.parametrize(("m", "kappa"), LAWS)
def test_distribution_function(m: int, kappa: float) -> None:
    places = _reference.quantile(np.array([0.05, 0.5, 0.95]), kappa, m)
    with mpmath.workdps(20):

        def mass(low, high):
            cuts = mpmath.linspace(low, high, 30)
            return mpmath.quad(lambda t: mpmath.exp(kappa * (mpmath.cos(t) - 1)) * mpmath.sin(t) ** (m - 2), cuts)

        end = mpmath.mpf(_reference.angles(kappa, m)[2])
        for w, share in zip(places, _reference.cdf(places, kappa, m), strict=True):
            theta = mpmath.acos(mpmath.mpf(float(w)))
            assert float(mass(theta, end) / mass(0, end)) == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize(("m", "kappa"), [(2, 2.0), (10, 10.0), (5, 80.0)])
def test_implicit_derivative(m: int, kappa: float) -> None:
    for u in (0.02, 0.98):
        w = float(_reference.quantile(np.array([u]), kappa, m)[0])
        with mpmath.workdps(22):
            theta = mpmath.acos(mpmath.mpf(w))

            def f(s, k):
                return mpmath.exp(k * (mpmath.cos(s) - 1)) * mpmath.sin(s) ** (m - 2)

            def masses(k, theta=theta):
                ends = [mpmath.linspace(0, theta, 4), mpmath.linspace(theta, mpmath.pi, 6)]
                return [mpmath.quad(lambda s: f(s, k), cuts) for cuts in ends]

            def above(k):
                inner, outer = masses(k)
                return inner / (inner + outer)

            slope = mpmath.diff(above, mpmath.mpf(kappa))
            exact = float(slope * sum(masses(kappa)) / f(theta, kappa) * mpmath.sin(theta))
        assert ch05._implicit_truth(w, kappa, m) == pytest.approx(exact, rel=3e-7)
