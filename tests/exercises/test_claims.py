"""Numbers that questions, hints and explanations state."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq, minimize, minimize_scalar
from scipy.stats import norm, ttest_ind

from hvae_tutorial.exercises import _reference, ch01, ch02, ch03, ch04, ch05, ch06, ch08, ch09, ch10, ch11, ch12, ch14


def direction_length(r: float, s1: float, s2: float) -> float:
    """E z1/|z| for independent z1 ~ N(r, s1^2) and z2 ~ N(0, s2^2): 1/|z| is an integral of Gaussians."""

    def f(s: float) -> float:
        a, b = 1 + (s * s1) ** 2, 1 + (s * s2) ** 2
        return math.exp(-((r * s) ** 2) / (2 * a)) / (a**1.5 * math.sqrt(b))

    return r * math.sqrt(2 / math.pi) * quad(f, 0, math.inf)[0]


def test_what_kappa_no_longer_sees_on_a_ring_with_two_widths() -> None:
    wanted = _reference.mean(100.0, 2)
    circle = 100 * wanted - _reference.log_partition(100.0, 2)

    def price(logs: np.ndarray) -> float:
        s1, s2 = np.exp(logs)
        r = brentq(lambda r: direction_length(r, s1, s2) - wanted, 1e-3, 200)
        return 0.5 * (r**2 + s1**2 + s2**2 - 2) - math.log(s1 * s2)

    round_ring = minimize_scalar(lambda log: price(np.array([log, log])), bounds=(-4, 0), method="bounded").fun
    stretched = minimize(price, [-1.0, -2.0], method="Nelder-Mead").fun
    naive = direction_length(math.sqrt(100 / 101), 1.0, math.sqrt(1 / 101))
    text = ch01.check_ring_price.explanation
    for number, digits in ((wanted, 3), (naive, 2), (round_ring, 2), (stretched, 2), (circle, 2)):
        assert f"{number:.{digits}f}" in text
    assert ch01.ring_price(100.0) < circle < stretched < round_ring


def test_from_where_the_ring_with_two_widths_is_cheaper_than_the_circle() -> None:
    def circle(kappa: float) -> float:
        return kappa * _reference.mean(kappa, 2) - _reference.log_partition(kappa, 2)

    def formula(kappa: float) -> float:
        return 0.5 * math.log(2 * math.pi * kappa / math.e)

    for price, place in ((circle, 1.9), (formula, 0.76)):
        crossing = brentq(lambda kappa, price=price: ch01.ring_price(kappa) - price(kappa), 0.3, 10)
        assert crossing == pytest.approx(place, abs=0.05)
        assert all(ch01.ring_price(kappa) < price(kappa) for kappa in np.geomspace(1.01 * crossing, 3000, 50))


def test_where_gamma_overflows() -> None:
    math.gamma(171.6)
    with pytest.raises(OverflowError):
        math.gamma(171.7)
    texts = [ch01.check_mean_norm.explanation, *ch01.check_mean_norm.hints]
    texts += [mistake.says for mistake in ch01.check_mean_norm.mistakes]
    assert sum("overflows beyond 171.6" in text for text in texts) == 3


def test_what_is_left_where_kappa_and_minus_kappa_cancel() -> None:
    for dtype, place in ((torch.float32, 1e-4), (torch.float64, 1e-8)):
        kappa = torch.tensor(place, dtype=dtype, requires_grad=True)
        for function, right in ((ch03._cancelling, False), (ch03.log_sinhc, True)):
            value = function(kappa)
            (slope,) = torch.autograd.grad(value, kappa)
            errors = value.item() / (place**2 / 6) - 1, slope.item() / (place / 3) - 1
            assert all(abs(error) < 1e-6 if right else abs(error) > 1 for error in errors)
    assert "at $\\kappa = 10^{-4}$ neither" in ch03.check_log_sinhc.explanation


def test_the_reference_of_log_sinhc_keeps_its_digits() -> None:
    for dtype, low, rtol in ((torch.float32, 1e-6, 1e-6), (torch.float64, 1e-8, 1e-10)):
        kappa = torch.from_numpy(np.geomspace(low, 300, 400)).to(dtype).requires_grad_()
        value = ch03.log_sinhc(kappa)
        (slope,) = torch.autograd.grad(value.sum(), kappa)
        numbers = kappa.detach().double().tolist()
        for found, truth in ((value, ch03._log_sinhc_truth), (slope, ch03._langevin)):
            exact = torch.tensor([truth(k) for k in numbers], dtype=torch.float64)
            assert (found.detach().double() / exact - 1).abs().max() < rtol


def test_the_obvious_formula_loses_digits_in_a_small_cap() -> None:
    kappa, angle = 0.001, math.radians(0.01)
    c = math.cos(angle)
    obvious = (math.exp(kappa) - math.exp(kappa * c)) / (math.exp(kappa) - math.exp(-kappa))
    truth = math.expm1(-2 * kappa * math.sin(angle / 2) ** 2) / math.expm1(-2 * kappa)
    assert f"{abs(obvious / truth - 1):.0e}" == "9e-06"
    assert ch02.cap_share(0.01, kappa) == pytest.approx(truth, rel=1e-7, abs=0)


def test_banerjees_start_is_within_a_few_per_cent_and_no_closer() -> None:
    r = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    errors = [
        float(x * (m - x**2) / (1 - x**2) / ch02._best_concentration(float(x), m) - 1) for m in (2, 3, 10) for x in r
    ]
    assert 0.01 < max(map(abs, errors)) < 0.07


def test_amos_bound_saves_about_a_third_of_the_steps() -> None:
    def needed(start) -> int:
        return next(
            steps
            for steps in range(1, 2000)
            if abs(ch03._recurrence(1e4, 2, steps, start) / _reference.mean(1e4, 2) - 1) < 1e-9
        )

    amos = needed(lambda n: 2e4 / (n - 1 + math.hypot(n - 1, 2e4)))
    assert 0.5 < amos / needed(lambda n: 1.0) < 0.75
    assert amos < 20 + 8 * math.sqrt(1e4)


def test_what_is_wrong_at_41_and_12() -> None:
    """Statistical: the mean of 20,000 heights, whose standard error is 0.001, to 0.005."""
    exact = 40 / (24 + math.hypot(24, 40))
    assert (f"{40 / 48:.2f}", f"{exact:.2f}") == ("0.83", "0.57")
    torch.manual_seed(0)
    assert float(ch04.published_sampler(41, 12.0, 20_000).mean()) == pytest.approx(0.09, abs=0.005)
    assert f"{_reference.mean(12.0, 41):.2f}" == "0.27"
    for m in (2, 3, 4, 5):
        assert (m - 1) / 48 / ((m - 1) / (24 + math.hypot(24, m - 1))) == pytest.approx(1, abs=0.03)


def published_distance(m: int, kappa: float) -> float:
    """The largest distance D of two distribution functions of w, the published sampler's and the exact one."""
    root, share = math.hypot(2 * kappa, m - 1), min(max(kappa - 10, 0), 1)
    b = share * (m - 1) / (4 * kappa) + (1 - share) * (m - 1) / (2 * kappa + root)
    a = (m - 1 + 2 * kappa + root) / 4
    theta = np.linspace(0, math.pi, 100_001)
    e = (1 - np.cos(theta)) / 2
    t = 2 * a * b / (1 - (1 - b) * e)
    log_acceptance = (m - 1) * np.log(t) - t + 4 * a * b / (1 + b) - (m - 1) * math.log(m - 1)
    kept = np.sin(theta) ** (m - 2) * np.exp(np.minimum(log_acceptance, 0))
    w = (1 - (1 + b) * e) / (1 - (1 - b) * e)
    F = 1 - (np.cumsum(kept) - kept / 2) / kept.sum()  # w falls as theta grows
    return float(np.abs(F - _reference.cdf(w, kappa, m)).max())


def test_how_many_samples_it_takes_at_5_and_12() -> None:
    D = published_distance(5, 12.0)
    assert f"{D:.4f}" == "0.0017"
    assert f"{(ch04._limit(1) / D) ** 2 / 1e6:.1f}" == "2.4"
    assert "about 2.4 million samples" in ch04.check_find_faults.explanation


def test_where_the_published_sampler_is_wrong_at_41_and_where_the_test_sees_it() -> None:
    assert published_distance(41, 10.0) < 1e-6
    assert min(published_distance(41, kappa) for kappa in (10.001, 10.01, 11.0, 100.0, 1000.0)) > 1e-4
    said = {10.05: "5.8", 20.0: "35", 100.0: "4.8", 1000.0: "0.02"}
    for kappa, text in said.items():
        distance = math.sqrt(20_000) * published_distance(41, kappa)
        assert f"{distance:.{len(text.partition('.')[2])}f}" == text
        assert text in ch04.check_find_faults.explanation
        assert (distance > ch04._limit(1) + 1) == (kappa < 1000)


def test_bad_luck_of_that_size_is_rare_and_the_usual_level_is_passed_by_it() -> None:
    u = np.sort(ch04.unlucky_sampler(3, 0.0, 20_000).numpy())  # uniform on (-1, 1) without concentration
    F = (u + 1) / 2
    n = len(F)
    statistic = math.sqrt(n) * max((np.arange(1, n + 1) / n - F).max(), (F - np.arange(n) / n).max())
    assert statistic == pytest.approx(1.6, abs=0.05)
    assert 2 * math.exp(-2 * 1.6**2) == pytest.approx(1 / 84, rel=0.02)
    assert pytest.approx(0.4, abs=0.01) == 1 - 0.95**10  # a right sampler at ten laws


def test_the_share_that_is_kept() -> None:
    rates = [
        math.exp(_reference.log_partition(k, m) - k * x0 - (m - 1) / 2 * math.log1p(-(x0**2)))
        for m in (2, 3, 10, 100)
        for k in (0.01, 1.0, 10.0, 1e3)
        for x0 in [_reference.zoom_constant(k, m)]
    ]
    assert 0.65 < min(rates) < 0.7
    assert 0.999 < max(rates) <= 1 + 1e-9


def test_the_circle_loses_most_at_the_stated_place() -> None:
    kappa = torch.linspace(0.5, 5, 901, dtype=torch.float64)
    share = ch05.found_share(kappa, 2)
    assert f"{float(share.min()):.2f}" == "0.51"
    assert float(kappa[share.argmin()]) == pytest.approx(1.66, abs=0.005)


def test_the_root_of_the_mean_square_is_a_little_above_the_mean() -> None:
    for d in (10, 100, 1000):
        assert ch01.mean_norm(d) == pytest.approx(math.sqrt(d) * (1 - 1 / (4 * d)), rel=1 / d**1.9)
    assert math.isclose(ch01.mean_norm(1), 2 * norm.pdf(0))


def test_degrees_of_freedom_lie_between_those_of_one_model_and_of_both() -> None:
    def samples(spread: float) -> tuple[torch.Tensor, torch.Tensor]:
        a, b = (torch.linspace(-1, 1, n, dtype=torch.float64) for n in (3, 10))
        return spread * a / a.std(), b / b.std()

    assert ch09.welch(*samples(1e3))[1] == pytest.approx(2, abs=1e-3)
    assert ch09.welch(*samples(1e-3))[1] == pytest.approx(9, abs=1e-3)
    largest = ch09.welch(*samples(math.sqrt(3 * 2 / (10 * 9))))[1]  # s_a^2 / 3 : s_b^2 / 10 = 2 : 9
    assert largest == pytest.approx(11)
    assert largest > max(ch09.welch(*samples(spread))[1] for spread in (0.2, 0.3, 1.0))


def test_where_the_peak_of_the_divergence_is() -> None:
    g = brentq(lambda g: math.log((1 + g) / 2) - (g - 1) / g, 2, 4)
    place = 2 / math.sqrt(g**2 - 1)
    assert (f"{g:.2f}", f"{place:.3f}", f"{place / 2 * math.log((1 + g) / 2):.3f}") == ("2.81", "0.762", "0.245")
    m, nats = ch09.peak(100.0)
    assert m == 76
    assert (m / 100, nats / 100) == pytest.approx((place, place / 2 * math.log((1 + g) / 2)), abs=0.005)
    assert ch09._sharp_peak(100.0)[0] == 38
    assert [(ch09.peak(kappa)[0], round(0.762 * kappa)) for kappa in (40.0, 120.0)] == [(31, 30), (92, 91)]


def test_what_it_costs_not_to_know_that_spreads_are_equal() -> None:
    """Statistical: Welch's power from 200,000 pairs; its standard error is 0.0011, the tolerance 5 of them."""
    assert f"{ch09._by_quadrature(3.8, 3, 0.01):.2f}" == "0.58"
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((200_000, 3)) + 3.8, rng.standard_normal((200_000, 3))
    assert np.mean(ttest_ind(a, b, axis=1, equal_var=False).pvalue < 0.01) == pytest.approx(0.39, abs=0.0055)


def test_with_itself_among_the_neighbours_one_neighbour_is_always_right() -> None:
    points = torch.from_numpy(np.random.default_rng(0).standard_normal((40, 2)))
    labels = torch.arange(40) % 10
    itself = ch10.check_choose_k.mistakes[0].function
    assert itself(torch.cdist(points, points), labels, [1, 5]) == (1, 1.0)
    assert ch10.choose_k(torch.cdist(points, points), labels, [1, 5])[1] < 0.5


def test_more_draws_reduce_only_one_of_two_variances() -> None:
    """Statistical: means of 20,000 estimates; tolerances are more than five standard errors."""
    rng = np.random.default_rng(0)
    tables = 2 * rng.standard_normal((20_000, 3, 1)) + rng.standard_normal((20_000, 3, 5))
    found = np.array([ch10.luck(table) for table in torch.from_numpy(tables)])
    assert found.mean(0) == pytest.approx((4, 1), abs=0.15)
    assert found[:, 0].min() < 0  # unbiased: it may be negative
    assert tables.mean((1, 2)).var() == pytest.approx((4 + 1 / 5) / 3, rel=0.06)


def test_six_of_six_and_the_constant_at_10_and_40() -> None:
    assert f"{ch14.leaning([1.0] * 6):.3f}" == "0.031"
    assert "$2/64 = 0.031$" in ch14.check_leaning.explanation
    for d, shown in ((10, "$-3.1$"), (40, "$-13.5$")):
        assert f"${ch14.likelihood_shift(d):.1f}$" == shown
        assert shown in ch14.check_likelihood_shift.explanation.replace("\n", " ")
    assert f"{2 / math.sqrt(1.1):.1f}" == "1.9"


def test_newton_in_log_kappa_falls_to_the_root_and_in_kappa_may_leave_the_positive_numbers() -> None:
    def price(kappa: float, m: int) -> float:
        return kappa * _reference.mean(kappa, m) - _reference.log_partition(kappa, m)

    grid = np.geomspace(0.05, 1e4, 60)
    for m in (3, 10, 50):
        slopes = np.array([k**2 * _reference.variance(k, m) for k in grid])
        assert (np.diff(slopes) > -1e-6 * slopes[1:]).all()
        assert 0.9 < slopes[-1] / ((m - 1) / 2) <= 1 + 1e-6
        for root in (0.1, 5.0, 1e4):
            target, steps = price(root, m), [0.5 * math.log(2 * m * price(root, m))]
            for _ in range(8):
                kappa = math.exp(steps[-1])
                steps.append(steps[-1] - (price(kappa, m) - target) / (kappa**2 * _reference.variance(kappa, m)))
            assert steps[0] <= math.log(root)
            assert all(b <= a + 1e-5 for a, b in itertools.pairwise(steps[1:]))
            assert steps[1] > math.log(root) - 1e-6
    slopes = np.array([k**2 * _reference.variance(k, 2) for k in grid])
    assert slopes.max() > 1.2 * slopes[-1]  # m = 2: the slope overshoots, and returns
    assert slopes[-1] == pytest.approx(0.5, rel=1e-3)
    for root, short in ((0.1, False), (3.35, False), (6.7, True), (111.0, True), (1e4, True)):
        target = price(root, 2)
        log_kappa = 0.5 * math.log(4 * target)
        for step in range(12):
            kappa = math.exp(log_kappa)
            log_kappa -= (price(kappa, 2) - target) / (kappa**2 * _reference.variance(kappa, 2))
            if step == 0:
                assert (log_kappa < math.log(root) - 1e-6) == short
        assert log_kappa == pytest.approx(math.log(root), abs=1e-5)
    start = 1000.0  # for a root at 5
    assert start - (price(start, 3) - price(5.0, 3)) / (start * _reference.variance(start, 3)) < 0


def test_the_papers_divergence_needs_a_concentration_above_the_cap() -> None:
    kappa = 900.0
    price = kappa * _reference.mean(kappa, 6) - _reference.log_partition(kappa, 6)
    assert price == pytest.approx(13.35, abs=0.005)
    assert "about 900" in ch06.check_concentration_with_kl.explanation


def test_where_the_incomplete_gradient_comes_to_rest() -> None:
    def share(kappa: float, m: int) -> float:
        w, p = _reference.law(kappa, m)
        return float((1 - w**2) @ p) / math.hypot(m - 1, 2 * kappa) / _reference.variance(kappa, m)

    text = " ".join(ch08.check_resting_kappa.explanation.split())
    rest = {(m, s): brentq(lambda k, m=m, s=s: s * share(k, m) - k, 0.5, s) for m, s in ((3, 15.0), (2, 5.0))}
    assert f"it is {rest[3, 15.0]:.1f}" in text
    for (m, s), kappa in rest.items():
        assert ch08.resting_kappa(s, m) == pytest.approx(kappa, rel=1e-6)
        assert 1 - kappa / s == pytest.approx(1 - share(kappa, m), rel=1e-6)
    assert f"it is {1 - share(5.0, 2):.0%} there, and $\\kappa$ falls by {1 - rest[2, 5.0] / 5:.0%}" in text


def test_where_i0_and_the_exponential_overflow() -> None:
    kappa = torch.tensor([709.0, 710.0], dtype=torch.float64)
    assert torch.special.i0(kappa).isfinite().tolist() == [True, False]
    assert "overflows at 710" in ch08.check_circles_log_prob.explanation
    for dtype, limit in ((torch.float64, 710), (torch.float32, 89)):
        assert torch.exp(torch.tensor([limit - 1.0, float(limit)], dtype=dtype)).isfinite().tolist() == [True, False]
        assert any(f"from {limit} on" in mistake.says for mistake in ch08.check_head.mistakes)


def test_the_floor_of_a_spherical_code() -> None:
    w, p = _reference.law(1.0, 6)
    floor = float(p @ w) - _reference.log_partition(1.0, 6)
    assert f"{floor:.4f}" == "0.0808"
    assert "0.0808" in ch11.check_kl_floor.explanation
    assert ch11.kl_floor(5, 1.0) == pytest.approx(floor, rel=1e-9)
    assert 0.01 < 1 / 12 / floor - 1 < 0.05  # the first term of the series: "a few per cent"


def test_what_odds_alpha_holds_out_against() -> None:
    text = ch11.check_alpha_to_win.explanation
    for alpha, odds in ((0.1, "1.2"), (1.0, "7.4")):
        assert f"{math.exp(2 * alpha):.1f}" == odds
        assert f"{odds} to 1" in text
        assert ch11.alpha_to_win(1 / (1 + math.exp(2 * alpha)), 100, 10, 900, 100) == pytest.approx(alpha)


def test_what_a_cosine_can_say() -> None:
    for cosine, probability in ((-1.0, "0.27"), (1.0, "0.73")):
        z = torch.tensor([[1.0, 0.0], [cosine, 0.0]], dtype=torch.float64)
        found = ch12.link_probabilities(z, torch.tensor([[0], [1]]), 1.0, 0.0, 1.0)
        assert f"{float(found):.2f}" == probability
        assert f"={probability}$" in ch12.check_link_probabilities.explanation
