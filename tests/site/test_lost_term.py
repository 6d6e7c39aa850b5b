"""The explorable of the lost term: its three derivatives against the library, its samples against the law.

Statistical tests: 8 Kolmogorov-Smirnov tests at 1e-5 and 24 means at 5 standard errors, with a seed that readers see;
under fresh ones a correct program fails with probability 1e-4.
"""

import math

import numpy as np
import pytest
import torch
from explorable_page import CANVAS, number, picture, settle, slide, write_page
from scipy import integrate, stats

from hvae_tutorial.distributions import VonMisesFisher
from hvae_tutorial.experiments.foils import PathwiseVonMisesFisher
from hvae_tutorial.special import mean_resultant_length_derivative

CASES = [(2, 0.5), (2, 2.0), (3, 5.0), (3, 50.0), (5, 2.0), (5, 20.0), (10, 1.0), (10, 50.0)]
NAMES = ["implicit", "incomplete", "corrected"]
THETA = np.linspace(0, math.pi, 2001)[1:-1]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with the explorable."""
    return write_page(tmp_path_factory.mktemp("lost-term"), "lost-term")


def estimates(page, m: int, kappa: float, theta: np.ndarray) -> dict[str, np.ndarray]:
    call = "([m, k, angles]) => angles.map((theta) => hvaeExplorables['lost-term'].estimates(m, k, theta))"
    found = page.evaluate(call, [m, kappa, theta.tolist()])
    return {name: np.array([one[name] for one in found]) for name in NAMES}


def test_the_slopes_are_the_librarys(opened) -> None:
    page = opened()
    for m, kappa in CASES:
        found = page.evaluate("([m, k]) => hvaeExplorables['lost-term'].slopes(m, k)", [m, kappa])
        exact = mean_resultant_length_derivative(torch.tensor(kappa, dtype=torch.float64), m).item()
        assert found["exact"] == pytest.approx(exact, rel=1e-8)


def test_the_derivatives_of_a_sample_are_the_librarys(opened) -> None:
    """To 1e-6 of the largest, where the law is: within what holds all but a millionth of it."""
    page = opened()
    for m, kappa in CASES:
        density = np.exp(kappa * (np.cos(THETA) - 1)) * np.sin(THETA) ** (m - 2)
        share = np.cumsum(density) / density.sum()
        theta = THETA[(share > 1e-6) & (share < 1 - 1e-6)][::20]
        found = estimates(page, m, kappa, theta)
        y, k = torch.tensor(1 - np.cos(theta)), torch.full((len(theta),), kappa, dtype=torch.float64)
        for name, law in [("implicit", VonMisesFisher), ("incomplete", PathwiseVonMisesFisher)]:
            exact = np.sin(theta) * law._rate(y, k, m).numpy()  # dw = -sin(theta) d theta
            np.testing.assert_allclose(found[name], exact, atol=1e-6 * exact.max(), err_msg=f"{name}, {m}, {kappa}")


def test_implicit_and_corrected_are_unbiased_and_incomplete_is_what_the_page_says(opened) -> None:
    page = opened()
    for m, kappa in CASES:
        node, weight = np.polynomial.legendre.leggauss(400)
        theta = (node + 1) * math.pi / 2
        found = estimates(page, m, kappa, theta)
        p = weight * np.exp(kappa * (np.cos(theta) - 1)) * np.sin(theta) ** (m - 2)
        p /= p.sum()
        slopes = page.evaluate("([m, k]) => hvaeExplorables['lost-term'].slopes(m, k)", [m, kappa])
        means = {name: (p * found[name]).sum() for name in NAMES}
        assert means["implicit"] == pytest.approx(slopes["exact"], rel=1e-6)
        assert means["corrected"] == pytest.approx(slopes["exact"], rel=1e-6)
        assert means["incomplete"] == pytest.approx(slopes["incomplete"], rel=1e-6)
        assert means["incomplete"] < 0.999 * slopes["exact"]


@pytest.mark.parametrize(("m", "kappa"), [(2, 2.0), (3, 0.5), (5, 20.0), (10, 50.0)])
def test_both_kinds_of_samples_follow_the_law(opened, m: int, kappa: float) -> None:
    page = opened()
    density = np.exp(kappa * (np.cos(THETA) - 1)) * np.sin(THETA) ** (m - 2)
    cumulative = integrate.cumulative_simpson(density, x=THETA, initial=0)
    call = "([m, k]) => hvaeExplorables['lost-term'].accepted(m, k, 1).map(({ theta }) => theta)"
    by_rejection = np.array(page.evaluate(call, [m, kappa]))
    u = np.random.default_rng(3).uniform(size=1000)
    call = "([m, k, u]) => hvaeExplorables['lost-term'].angles(m, k, u)"
    by_quantile = np.array(page.evaluate(call, [m, kappa, u.tolist()]))
    for theta in (by_rejection, by_quantile):
        result = stats.kstest(theta, lambda t: np.interp(t, THETA, cumulative / cumulative[-1]))
        assert result.pvalue > 1e-5


@pytest.mark.parametrize(("m", "kappa"), [(2, 2.0), (3, 5.0), (10, 10.0)])
def test_samples_glide_with_the_implicit_derivative(opened, m: int, kappa: float) -> None:
    page, u = opened(), [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99]
    call = "([m, k, u]) => hvaeExplorables['lost-term'].angles(m, k, u)"
    low, middle, high = (np.array(page.evaluate(call, [m, kappa + step, u])) for step in (-0.05, 0, 0.05))
    slope = (np.cos(high) - np.cos(low)) / 0.1
    np.testing.assert_allclose(slope, estimates(page, m, kappa, middle)["implicit"], rtol=2e-3)


def test_some_samples_of_the_rejection_jump(opened) -> None:
    page = opened()
    page.get_by_role("radio", name="random numbers").check(force=True)
    settle(page)
    assert "some jump (dotted): 0 of 1000" in page.locator("p", has_text="Arrows").inner_text()
    slide(page, 14)
    text = page.locator("p", has_text="Arrows").inner_text()
    assert 0 < int(text.split("(dotted): ")[1].split(" of")[0]) < 100
    page.get_by_role("radio", name="quantiles").check(force=True)
    slide(page, 16)
    assert "jump" not in page.locator("p", has_text="Arrows").inner_text()


def test_what_is_shown_agrees_with_the_truth_it_shows(opened) -> None:
    page = opened()
    for m in (2, 3, 5, 10):
        page.locator(f"input[value='{m}']").check(force=True)
        for position, kappa in ((12, 2.0), (26, 10.0)):
            slide(page, position)
            assert page.locator(".slider b").inner_text() == f"{kappa:g}"
            exact = mean_resultant_length_derivative(torch.tensor(kappa, dtype=torch.float64), m).item()
            shown = number(page, "truth")
            assert shown == f"{exact:.{len(shown.partition('.')[2])}f}"
            limit = float(number(page, "limit"))
            for name, target in (("implicit", exact), ("corrected", exact), ("incomplete", limit)):
                mean, error = map(float, number(page, name).split(" ± "))
                assert abs(mean - target) < 5 * error + 10 ** -len(shown.partition(".")[2])
            lost = 100 * (1 - limit / exact)
            assert float(number(page, "lost").rstrip("%")) == pytest.approx(lost, abs=0.6)


def test_keys_turn_the_circle_and_the_sphere(opened) -> None:
    page = opened()
    for m in (2, 3):
        page.locator(f"input[value='{m}']").check(force=True)
        start = picture(page)
        page.locator(CANVAS).focus()
        page.keyboard.press("ArrowLeft")
        assert picture(page) != start
        page.keyboard.press("ArrowRight")
        settle(page)
