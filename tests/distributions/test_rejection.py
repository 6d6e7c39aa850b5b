"""The rejection sampler accepts with the probability of its formula, 0.65 or more, and ends whatever it is given."""

import math

import numpy as np
import pytest
import torch
from error_rate import check_p_values
from projection_law import von_mises_fisher
from scipy import stats
from torch.utils._python_dispatch import TorchDispatchMode

from hvae_tutorial.distributions import PowerSpherical, SphericalCauchy, VonMisesFisher, _sampling
from hvae_tutorial.special import log_partition

DTYPES = (torch.float32, torch.float64)
MOST_ROUNDS = 100


def acceptance_rate(kappa: float, m: int) -> float:
    """exp(phi - kappa x0 - (m-1)/2 log(1 - x0^2)), arranged so that no large terms cancel; phi by quadrature."""
    root = math.hypot(m - 1, 2 * kappa) + m - 1
    x0 = 2 * kappa / root
    complement = von_mises_fisher(0.0, m).log_integral - von_mises_fisher(kappa, m).log_integral  # kappa - phi
    # 1 - x0^2 = 2 (m-1) / root and kappa (1 - x0) = kappa (1 - x0^2) / (1 + x0)
    gap = 2 * (m - 1) / root
    return math.exp(kappa * gap / (1 + x0) - complement - (m - 1) / 2 * math.log(gap))


# --- acceptance -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
@pytest.mark.parametrize("m", [2, 4, 5, 10, 41, 128, 1024])
def test_share_of_accepted_proposals_is_the_formula(m, dtype, monkeypatch):
    proposed: list[int] = []

    def recording(*args):
        y, accepted = propose(*args)
        proposed.append(accepted.clone())
        return y, accepted

    propose = _sampling._propose
    monkeypatch.setattr(_sampling, "_propose", recording)
    n = 100_000
    for kappa in (0.0, 1e-2, 1.0, 10.0, 100.0, 1e4, 1e8):
        proposed.clear()
        _sampling.sample_complement(torch.full((n,), kappa, dtype=dtype), m)
        first = proposed[0]
        assert first.numel() == n
        rate = acceptance_rate(kappa, m)
        if kappa == 0:
            assert rate == pytest.approx(1, rel=1e-12)
            assert first.all()
        else:
            check_p_values(share=stats.binomtest(int(first.sum()), n, rate).pvalue)


def test_acceptance_stays_above_065():
    rates = [
        acceptance_rate(kappa, m) for m in (2, 3, 4, 5, 10, 41, 128, 1024) for kappa in np.geomspace(1e-3, 1e8, 23)
    ]
    assert min(rates) >= 0.65
    assert max(rates) <= 1 + 1e-12
    assert acceptance_rate(1e8, 2) == pytest.approx(math.sqrt(math.e / (2 * math.pi)), rel=1e-4)  # 0.658, m = 2


@pytest.mark.parametrize("m", [2, 5, 41, 1024])
def test_log_partition_is_the_log_acceptance_plus_laplace(m):
    """The identity by which the library computes phi, with its own phi in it."""
    for kappa in (1e-2, 1.0, 30.0, 1e3):
        phi = log_partition(torch.tensor(kappa, dtype=torch.float64), m).item()
        x0 = 2 * kappa / (math.hypot(m - 1, 2 * kappa) + m - 1)
        log_rate = phi - kappa * x0 - (m - 1) / 2 * math.log1p(-(x0**2))
        assert log_rate == pytest.approx(math.log(acceptance_rate(kappa, m)), abs=1e-10)


# --- rounds -----------------------------------------------------------------------------------------------------------


def in_rounds(kappa: torch.Tensor, m: int) -> tuple[torch.Tensor, int]:
    return _sampling._in_rounds(*_sampling._envelope(kappa, m), m)


def most_rounds(n: int, kappa: float, m: int, repetitions: int) -> int:
    return max(in_rounds(torch.full((n,), kappa), m)[1] for _ in range(repetitions))


@pytest.mark.parametrize(("m", "kappa"), [(2, 1e3), (5, 10.0), (10, 50.0), (41, 100.0)])
def test_number_of_rounds(m, kappa):
    # With 8 proposals a value and round, a batch of 64 is not done in 4 rounds with probability 64 * 0.35^32 = 2e-13.
    # Of 200,000 values some 130 are left after 7 rounds of one proposal, and get two or more in each later round: that
    # 16 rounds, hence at least 25 proposals a value, are not enough has a probability below 200,000 * 0.35^25 = 1e-6.
    assert 1 <= most_rounds(64, kappa, m, 50) <= 4
    assert 6 <= most_rounds(200_000, kappa, m, 1) <= 16


def test_no_rejection_on_the_ordinary_sphere(monkeypatch):
    monkeypatch.setattr(_sampling, "_propose", None)
    assert _sampling.sample_complement(torch.full((100,), 10.0), 3).shape == (100,)


@pytest.mark.parametrize("m", [2, 3, 10])
def test_empty_batch(m):
    assert _sampling.sample_complement(torch.zeros(0), m).shape == (0,)
    if m != 3:
        assert in_rounds(torch.zeros(0), m)[1] == 0


# --- a fixed number of proposals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
def test_few_values_get_so_many_proposals_that_a_miss_is_below_the_resolution(dtype, monkeypatch):
    counts = []

    def recording(x0, mode, m, count):
        counts.append(count)
        return propose(x0, mode, m, count)

    propose = _sampling._propose
    monkeypatch.setattr(_sampling, "_propose", recording)
    _sampling.sample_complement(torch.full((64,), 10.0, dtype=dtype), 6)
    (count,) = counts
    assert 0.35**count < torch.finfo(dtype).eps / 2
    assert 0.35 ** (count - 1) > torch.finfo(dtype).eps / 2  # and not one more than that


@pytest.mark.parametrize("m", [2, 4, 6, 41])
def test_first_accepted_proposal_has_the_law(m):
    # 8 comparisons in all; check_p_values divides the level.
    for kappa in (1.0, 100.0):
        values = torch.full((20_000,), kappa, dtype=torch.float64)
        y = _sampling._first_accepted(*_sampling._envelope(values, m), m, 35)
        p_value = stats.kstest(y.numpy(), von_mises_fisher(kappa, m).cdf, method="asymp").pvalue
        check_p_values(y=p_value)


def test_the_first_of_the_accepted_is_taken(monkeypatch):
    y = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    accepted = torch.tensor([[True, False, False], [True, True, False], [False, True, False]])
    monkeypatch.setattr(_sampling, "_propose", lambda x0, mode, m, count: (y, accepted))
    found = _sampling._first_accepted(torch.zeros(3), torch.zeros(3), 6, 3)
    assert found.tolist() == [1.0, 5.0, 3.0]  # the last, for which none is accepted, is the first proposal


@pytest.mark.parametrize("missing", [1, 2, 4])
def test_a_round_is_for_those_that_have_no_sample_yet(missing, monkeypatch):
    """One that has a sample keeps it; the last one left is drawn for by itself."""
    sizes = []

    def propose(x0, mode, m, count):
        sizes.append(len(x0))
        accepted = torch.ones(count, len(x0), dtype=torch.bool)
        accepted[:, :missing] = len(sizes) > 1
        return torch.full((count, len(x0)), float(len(sizes))), accepted

    monkeypatch.setattr(_sampling, "_propose", propose)
    found, rounds = _sampling._in_rounds(torch.zeros(5), torch.zeros(5), 6)
    assert found.tolist() == [2.0] * missing + [1.0] * (5 - missing)
    assert (sizes, rounds) == ([5, missing], 2)


class HostWaits(TorchDispatchMode):
    """Counts the operations whose result has a size or a value that the host must learn from the device."""

    def __init__(self) -> None:
        super().__init__()
        self.stop_tests = 0
        self.others: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name()
        if name == "aten::nonzero":
            self.stop_tests += 1
        elif name in ("aten::_local_scalar_dense", "aten::equal", "aten::masked_select", "aten::unique"):
            self.others.append(name)
        elif name.startswith("aten::index"):
            indices = args[1] if isinstance(args[1], list | tuple) else [args[1]]
            if any(isinstance(i, torch.Tensor) and i.dtype in (torch.bool, torch.uint8) for i in indices):
                self.others.append(name + " by a mask")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("m", [2, 10])
def test_host_waits_once_a_round_for_many_values(m):
    kappa = torch.full((20_000,), 10.0)
    with HostWaits() as waits:
        _, rounds = in_rounds(kappa, m)
    assert waits.stop_tests == rounds > 0
    assert waits.others == []


@pytest.mark.parametrize(("n", "in_rounds"), [(256, False), (257, True), (20_000, True)])
def test_on_the_cpu_few_values_get_all_proposals_at_once_and_more_are_drawn_in_rounds(n, in_rounds):
    """At once costs 16 proposals for each value, rounds less than two: for many values that is the time."""
    with HostWaits() as waits:
        _sampling.sample_complement(torch.full((n,), 10.0), 10)
    assert (waits.stop_tests > 0) == in_rounds


@pytest.mark.parametrize("m", [2, 3, 10])
@pytest.mark.parametrize("family", [VonMisesFisher, PowerSpherical, SphericalCauchy])
def test_host_waits_for_nothing_in_a_whole_step(m, family):
    loc = torch.nn.functional.normalize(torch.randn(64, m), dim=-1).requires_grad_()
    kappa = torch.full((64,), 10.0, requires_grad=True)
    with HostWaits() as waits:
        law = family(loc, kappa, validate_args=False)
        z = law.rsample()
        (law.log_prob(z) + law.entropy() + z.sum(-1)).sum().backward()
    assert waits.stop_tests == 0
    assert waits.others == []


def test_host_waits_are_seen():
    """The counter can fail."""
    x = torch.tensor([1.0, 0.0])
    with HostWaits() as waits:
        _ = x[x > 0]
        _ = x[0].item()
    assert waits.stop_tests + len(waits.others) >= 2


# --- NaN --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("m", [2, 10])
def test_nan_concentration_ends_after_bounded_rounds(m):
    y, rounds = in_rounds(torch.tensor([math.nan, 1.0]), m)
    assert rounds <= MOST_ROUNDS
    assert y.isnan().tolist() == [True, False]


@pytest.mark.parametrize("n", [1, 1000])
@pytest.mark.parametrize("m", [2, 3, 10])
@pytest.mark.parametrize("family", [VonMisesFisher, PowerSpherical, SphericalCauchy])
def test_what_is_no_concentration_gives_nan_samples(family, m, n):
    """Unvalidated: negative, infinite and NaN alike, by a fixed number of proposals and in rounds."""
    kappa = torch.tensor([-1.0, 1.0, math.nan, math.inf, 0.0])
    law = family(torch.eye(m)[0].expand(5, m), kappa, validate_args=False)
    nan = law.sample((n,)).isnan()
    assert nan[:, [0, 2, 3]].all()
    assert not nan[:, [1, 4]].any()


@pytest.mark.parametrize("family", [VonMisesFisher, PowerSpherical, SphericalCauchy])
@pytest.mark.parametrize("m", [2, 3, 10])
def test_unvalidated_nan_concentration_gives_nan_samples_in_its_rows_alone(m, family):
    loc = torch.nn.functional.normalize(torch.randn(5, m), dim=-1)
    kappa = torch.tensor([1.0, math.nan, 100.0, math.nan, 0.0], requires_grad=True)
    law = family(loc, kappa, validate_args=False)
    z = law.rsample((1000,))
    assert z[:, [1, 3]].isnan().all()
    good = z[:, [0, 2, 4]]
    assert (torch.linalg.vector_norm(good, dim=-1) - 1).abs().max() <= 1e-6
    good.sum().backward()
    assert kappa.grad is not None
    assert kappa.grad[[0, 2, 4]].isfinite().all()


@pytest.mark.parametrize("m", [2, 10])
def test_a_nan_in_the_batch_leaves_the_law_of_the_others_alone(m):
    kappa = torch.full((20_000,), 10.0, dtype=torch.float64)
    kappa[::2] = math.nan
    y = _sampling.sample_complement(kappa, m)
    p_value = stats.kstest(y[1::2].numpy(), von_mises_fisher(10.0, m).cdf, method="asymp").pvalue
    check_p_values(y=p_value)


@pytest.mark.parametrize("family", [VonMisesFisher, PowerSpherical, SphericalCauchy])
def test_unvalidated_infinite_concentration_ends_too(family):
    law = family(torch.eye(4)[0], math.inf, validate_args=False)
    assert law.sample((3,)).isnan().all()
