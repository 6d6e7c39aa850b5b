"""The explorable of the rejection sampler: its numbers against the library, and its darts against its numbers.

Statistical tests: 12 at 4.5 standard errors and 3 Kolmogorov-Smirnov tests at 1e-5, with seeds that readers see; under
fresh ones a correct program fails with probability 2e-4.
"""

import json
import math

import numpy as np
import pytest
import torch
from explorable_page import number, settle, slide, write_page
from scipy import integrate, stats

from hvae_tutorial.experiments import foils
from hvae_tutorial.special import log_partition, mean_resultant_length

CASES = [(2, 0.5), (2, 12), (3, 5), (6, 100), (11, 10.5), (21, 11), (41, 10), (41, 12), (51, 11), (51, 100)]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with the explorable."""
    return write_page(tmp_path_factory.mktemp("darts"), "darts")


def limits(page, m: int, kappa: float, *, authors: bool) -> dict[str, float]:
    call = "([m, k, authors]) => { const d = hvaeExplorables.darts; return d.limits(d.constants(m, k, authors)); }"
    return page.evaluate(call, [m, kappa, authors])


def darts(page, m: int, kappa: float, n: int, *, authors: bool) -> list[dict]:
    call = """([m, k, n, authors]) => {
        const d = hvaeExplorables.darts;
        return JSON.stringify(d.darts(d.constants(m, k, authors), 0, n, 1));
    }"""  # Playwright takes seconds to hand over thousands of objects
    return json.loads(page.evaluate(call, [m, kappa, n, authors]))


def public(m: int, kappa: float) -> tuple[float, float]:
    """Rate and mean of w of the foil's sampler, by the midpoint rule over the angle of the proposal.

    The foil's own quadrature, made for gradients, is good to 2e-6 where the clipped acceptance has a kink.
    """
    value = torch.tensor(kappa, dtype=torch.float64)
    angle = (torch.arange(200_000, dtype=torch.float64) + 0.5) * math.pi / 200_000
    proposed, e = torch.sin(angle) ** (m - 2), torch.sin(angle / 2) ** 2
    b = foils._b(value, m)
    kept = proposed * foils._log_acceptance(foils._log_c(b, e), value, m).exp()
    w = (1 - (1 + b) * e) / (1 - (1 - b) * e)
    return (kept.sum() / proposed.sum()).item(), ((kept * w).sum() / kept.sum()).item()


def test_the_exact_sampler_tends_to_the_law(opened) -> None:
    """Its rate is the normaliser of the law over that of its envelope (chapter 4), and its mean is A."""
    page = opened()
    for m, kappa in CASES:
        found = limits(page, m, kappa, authors=False)
        exact = mean_resultant_length(torch.tensor(kappa, dtype=torch.float64), m).item()
        assert found["mean"] == pytest.approx(exact, abs=1e-9)
        x0 = 2 * kappa / (m - 1 + math.hypot(m - 1, 2 * kappa))
        log_rate = log_partition(torch.tensor(kappa, dtype=torch.float64), m).item() - kappa * x0
        log_rate -= (m - 1) / 2 * math.log1p(-x0 * x0)
        assert found["rate"] == pytest.approx(math.exp(log_rate), abs=1e-9)
        assert found["above"] == 0


def test_the_authors_sampler_tends_to_another_law(opened) -> None:
    page = opened()
    for m, kappa in CASES:
        found, (rate, mean) = limits(page, m, kappa, authors=True), public(m, kappa)
        assert found["mean"] == pytest.approx(mean, abs=1e-6)
        assert found["rate"] == pytest.approx(rate, abs=1e-6)
    assert limits(page, 41, 12, authors=True)["mean"] == pytest.approx(0.089, abs=5e-4)
    assert limits(page, 41, 12, authors=False)["mean"] == pytest.approx(0.272, abs=5e-4)
    assert limits(page, 51, 11, authors=True)["mean"] == pytest.approx(-0.063, abs=5e-4)
    assert limits(page, 41, 12, authors=True)["above"] > 0.99
    assert limits(page, 41, 10, authors=True) == limits(page, 41, 10, authors=False)


def test_acceptance_is_the_formula_of_the_course(opened) -> None:
    page, x = opened(), np.array([-0.9, -0.3, 0.0, 0.4, 0.95])
    call = "([m, k, x]) => x.map((v) => hvaeExplorables.darts.logAcceptance(hvaeExplorables.darts.constants(m, k), v))"
    for m, kappa in CASES:
        c = 1 / (1 + 2 * kappa / (m - 1 + math.hypot(m - 1, 2 * kappa)) * x)
        np.testing.assert_allclose(
            page.evaluate(call, [m, kappa, x.tolist()]), (m - 1) * (np.log(c) + 1 - c), atol=1e-9
        )


@pytest.mark.parametrize(("m", "kappa"), [(2, 12), (5, 5), (41, 100)])
def test_kept_darts_follow_the_law(opened, m: int, kappa: float) -> None:
    n = 20_000
    page = opened()
    thrown = darts(page, m, kappa, n, authors=False)
    w = np.array([dart["w"] for dart in thrown if dart["kept"]])
    theta = np.linspace(0, math.pi, 20_001)
    density = np.exp(kappa * (np.cos(theta) - 1)) * np.sin(theta) ** (m - 2)
    cumulative = integrate.cumulative_simpson(density, x=theta, initial=0)
    result = stats.kstest(np.arccos(w), lambda t: np.interp(t, theta, cumulative / cumulative[-1]))
    assert result.pvalue > 1e-5
    rate = limits(page, m, kappa, authors=False)["rate"]
    assert abs(len(w) / n - rate) < 4.5 * math.sqrt(rate * (1 - rate) / n)


@pytest.mark.parametrize(("m", "kappa"), [(11, 11), (21, 11), (41, 12)])
def test_kept_darts_of_the_authors_follow_theirs(opened, m: int, kappa: float) -> None:
    n = 20_000
    page = opened()
    thrown = darts(page, m, kappa, n, authors=True)
    w = np.array([dart["w"] for dart in thrown if dart["kept"]])
    expected = limits(page, m, kappa, authors=True)
    assert abs(w.mean() - expected["mean"]) < 4.5 * w.std() / math.sqrt(len(w))
    above = np.mean([dart["above"] for dart in thrown if dart["kept"]])
    share = expected["above"]
    assert abs(above - share) < 4.5 * math.sqrt(share * (1 - share) / len(w)) + 1e-4
    true = mean_resultant_length(torch.tensor(kappa, dtype=torch.float64), m).item()
    assert expected["mean"] < true - 0.01


def test_what_is_shown_is_what_was_counted(opened) -> None:
    page = opened(reduced_motion="reduce")
    for m_position, kappa_position, m, kappa, option in [(3, 7, 5, 6, "exact"), (10, 15, 41, 12, "authors")]:
        slide(page, m_position, "Coordinates")
        slide(page, kappa_position)
        page.locator(f"input[value={option}]").check(force=True)
        settle(page)
        expected = limits(page, m, kappa, authors=option == "authors")
        kept = [dart["w"] for dart in darts(page, m, kappa, 300, authors=option == "authors") if dart["kept"]]
        assert number(page, "length") == f"{len(kept)} of 300: {len(kept) / 3:.1f}%"
        assert number(page, "rate") == f"{100 * expected['rate']:.1f}%"
        assert number(page, "above") == f"{100 * expected['above']:.1f}%"
        assert number(page, "mean") == f"{np.mean(kept):.4f}"
        assert number(page, "limit") == f"{expected['mean']:.4f}"
        exact = mean_resultant_length(torch.tensor(kappa, dtype=torch.float64), m).item()
        assert number(page, "exact") == f"{exact:.4f}"
    assert "clipped from" in page.locator(".story").inner_text()


def test_buttons_throw_and_clear(opened) -> None:
    page = opened(reduced_motion="reduce")
    page.get_by_role("button", name="Clear").click()
    settle(page)
    assert number(page, "length") == "none thrown"
    page.get_by_role("button", name="Throw one").click()
    settle(page)
    assert " of 1:" in number(page, "length")
    assert "The last dart" in page.locator(".story").inner_text()
    page.get_by_role("button", name="Throw 1000").click()
    settle(page)
    assert " of 1001:" in number(page, "length")


def test_darts_land_one_after_the_other_unless_motion_is_reduced(opened) -> None:
    page = opened(reduced_motion="no-preference")
    page.get_by_role("button", name="Throw 1000").click()
    page.evaluate("new Promise((done) => requestAnimationFrame(done))")
    assert " of 1300:" not in number(page, "length")
    page.wait_for_function("document.querySelector('.length dd').innerText.includes(' of 1300:')")
