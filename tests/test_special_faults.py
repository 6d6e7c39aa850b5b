"""Numerical faults of public implementations, each shown to be absent here.

The numbers are those of the course's list of faults. Where it is cheap the faulty formula runs beside ours, so that the
test shows the fault as well as its cure.
"""

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy.special import ive
from torch import Tensor

from hvae_tutorial.special import (
    concentration_from_mean_resultant_length,
    kl_to_uniform,
    log_partition,
    log_partition_complement,
    mean_resultant_length,
    mean_resultant_length_complement,
    mean_resultant_length_derivative,
)


def value_and_gradient(kappa: Tensor, m: int) -> tuple[np.ndarray, np.ndarray]:
    """The divergence and its gradient, as float64 arrays."""
    kappa = kappa.clone().requires_grad_()
    value = kl_to_uniform(kappa, m)
    (gradient,) = torch.autograd.grad(value.sum(), kappa)
    return value.detach().double().numpy(), gradient.double().numpy()


def textbook_kl(kappa: np.ndarray, m: int) -> np.ndarray:
    """kappa A - phi from scaled Bessel functions, in kappa's precision: the formula of the public implementations."""
    order = m / 2 - 1
    with np.errstate(all="ignore"):
        numerator, denominator = (ive(np.asarray(v, dtype=kappa.dtype), kappa) for v in (order + 1, order))
        log_bessel = np.log(denominator) + kappa
        log_gamma = np.asarray(math.lgamma(m / 2), dtype=kappa.dtype)
        return kappa * numerator / denominator - (log_gamma + order * np.log(2 / kappa) + log_bessel)


# --- fault 2: `ive` underflows, NaN KL for large m or small kappa (pythae issue 72, s-vae-tf issue 3) -----------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fault_2_no_underflow_at_m_128_and_kappa_between_1_and_2(dtype):
    kappa = torch.linspace(1, 2, 11, dtype=dtype)
    if dtype == torch.float32:
        assert not np.isfinite(textbook_kl(kappa.numpy(), 128)).any()  # the fault
    with mpmath.workdps(50):
        ks = [mpmath.mpf(k) for k in kappa.tolist()]
        ratios = [mpmath.besseli(64, k) / mpmath.besseli(63, k) for k in ks]
        expected = [float(k * a - mpmath.log(mpmath.hyp0f1(64, k**2 / 4))) for k, a in zip(ks, ratios, strict=True)]
        slopes = [float(k * (1 - a**2 - 127 * a / k)) for k, a in zip(ks, ratios, strict=True)]
    value, gradient = value_and_gradient(kappa, 128)
    rtol = 1e-10 if dtype == torch.float64 else 1e-5
    np.testing.assert_allclose(value, expected, rtol=rtol)
    np.testing.assert_allclose(gradient, slopes, rtol=rtol)


def test_fault_2_no_wrong_divergence_in_single_precision(special_reference):
    # Wrong means non-finite or off by more than 0.1 percent, over m from 2 to 1024 and kappa from 1e-4 to 1e4.
    rows = special_reference
    rows = rows[(rows["set"] == "grid") & (rows["m"] <= 1024) & (rows["kappa"] > 9e-5) & (rows["kappa"] < 2e4)]
    rows = rows[rows["kappa"].astype(np.float32) == rows["kappa"]]
    assert len(rows) == 12 * 11
    wrong, wrong_gradient, wrong_textbook = 0, 0, 0
    for m in np.unique(rows["m"]).tolist():
        found = rows[rows["m"] == m]
        kappa = torch.tensor(found["kappa"].tolist(), dtype=torch.float32)
        value, gradient = value_and_gradient(kappa, m)
        slope = found["kappa"] * found["mean_resultant_length_derivative"]
        wrong += np.sum(~(np.abs(value / found["kl_to_uniform"] - 1) < 1e-3))
        wrong_gradient += np.sum(~(np.abs(gradient / slope - 1) < 1e-3))
        wrong_textbook += np.sum(~(np.abs(textbook_kl(kappa.numpy(), m) / found["kl_to_uniform"] - 1) < 1e-3))
    assert (wrong, wrong_gradient) == (0, 0)
    assert wrong_textbook > 40  # the fault


# --- fault 5: an approximate normaliser whose derivative jumps at kappa = 100 (graphnet issue 900) --------------------

FUNCTIONS = (
    log_partition,
    log_partition_complement,
    mean_resultant_length,
    mean_resultant_length_complement,
    mean_resultant_length_derivative,
    kl_to_uniform,
)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("m", [2, 3, 10, 128, 4096])
def test_fault_5_no_jump_anywhere(m, function):
    # Over steps of h = 0.0009 in u = log kappa, log f must change by the mean of its slopes at both ends times h, up to
    # the trapezoidal rule's h^3 / 12: a jump of 1e-9 in the value, or of 2e-6 in the slope, shows wherever it is.
    u = torch.linspace(math.log(1e-3), math.log(1e5), 20_001, dtype=torch.float64, requires_grad=True)
    value = function(u.exp(), m).log()
    (slope,) = torch.autograd.grad(value.sum(), u)
    step = (u[1] - u[0]).item()
    assert (value.diff() - step * (slope[1:] + slope[:-1]) / 2).abs().max() < 1e-9


@pytest.mark.parametrize(("start", "truth"), [(20.0, 400.0), (400.0, 20.0), (90.0, 110.0), (110.0, 90.0)])
@pytest.mark.parametrize("m", [3, 10])
def test_fault_5_a_learned_concentration_passes_kappa_100(m, start, truth):
    r = mean_resultant_length(torch.tensor(truth, dtype=torch.float64), m)
    log_kappa = torch.tensor(math.log(start), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_kappa], max_iter=100, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def negative_log_likelihood() -> Tensor:
        optimizer.zero_grad()
        loss = log_partition(log_kappa.exp(), m) - r * log_kappa.exp()
        loss.backward()
        return loss

    optimizer.step(negative_log_likelihood)
    assert log_kappa.exp().item() == pytest.approx(truth, rel=1e-4)


# --- fault 6: kappa capped at 100 m, hence a constant KL --------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("m", [2, 3, 5, 11, 41])
def test_fault_6_divergence_keeps_growing_beyond_100_m(m, dtype):
    kappa = 100 * m * torch.logspace(0, 4, 41, dtype=dtype)
    value, gradient = value_and_gradient(kappa, m)
    assert (np.diff(value) > 0.1).all()  # it grows like (m - 1) / 2 log kappa, here by 0.115 or more a step
    np.testing.assert_allclose(kappa.double().numpy() * gradient, (m - 1) / 2, rtol=0.01)


@pytest.mark.parametrize("m", [2, 3, 5, 11, 41])
def test_fault_6_likelihood_asks_for_concentrations_beyond_100_m(m):
    kappa = 100 * m * torch.logspace(0, 4, 41, dtype=torch.float64)
    found = concentration_from_mean_resultant_length(1 - mean_resultant_length_complement(kappa, m), m)
    torch.testing.assert_close(found, kappa, rtol=1e-6, atol=0)
