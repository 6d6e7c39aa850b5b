"""The special functions against 30-digit values, their derivatives, their laws and their errors."""

import math
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from installed import with_todays_compiler
from torch import Tensor
from torch.func import grad, vmap

from hvae_tutorial import _tables, special
from hvae_tutorial.special import (
    concentration_from_mean_resultant_length,
    kl_to_uniform,
    log_partition,
    log_partition_complement,
    mean_resultant_length,
    mean_resultant_length_complement,
    mean_resultant_length_derivative,
)
from hvae_tutorial.sphere import log_surface_area

Function = Callable[[Tensor, int], Tensor]

FUNCTIONS: dict[str, Function] = {
    "log_partition": log_partition,
    "mean_resultant_length": mean_resultant_length,
    "mean_resultant_length_complement": mean_resultant_length_complement,
    "mean_resultant_length_derivative": mean_resultant_length_derivative,
    "kappa_minus_log_partition": log_partition_complement,
    "kl_to_uniform": kl_to_uniform,
}
# Column of the reference with the derivative of each function, its sign, and the power of kappa that it carries.
DERIVATIVES = {
    "log_partition": ("mean_resultant_length", 1, 0),
    "mean_resultant_length": ("mean_resultant_length_derivative", 1, 0),
    "mean_resultant_length_complement": ("mean_resultant_length_derivative", -1, 0),
    "mean_resultant_length_derivative": ("mean_resultant_length_second_derivative", 1, 0),
    "kappa_minus_log_partition": ("mean_resultant_length_complement", 1, 0),
    "kl_to_uniform": ("mean_resultant_length_derivative", 1, 1),
}
TOLERANCES = [(torch.float64, 1e-10), (torch.float32, 1e-5)]
GRID_SIZE = {
    torch.float64: 14 * (14 + 5),
    torch.float32: 14 * 14,
}  # 5 kappas of the grid change when rounded to float32

every_function = pytest.mark.parametrize("name", FUNCTIONS)
everything = pytest.mark.parametrize(
    "function", [*FUNCTIONS.values(), concentration_from_mean_resultant_length], ids=lambda f: f.__name__
)
every_dtype = pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES, ids=["float64", "float32"])


def rows_by_dimension(reference: np.ndarray, dtype: torch.dtype, kind: str):
    """(m, kappa, rows) for each dimension, of those rows whose kappa is exact in dtype."""
    rows = reference[reference["set"] == kind]
    if dtype == torch.float32:
        rows = rows[rows["kappa"].astype(np.float32) == rows["kappa"]]
    for m in np.unique(rows["m"]):
        found = rows[rows["m"] == m]
        yield int(m), torch.tensor(found["kappa"].tolist(), dtype=dtype), found


def check_relative(value: Tensor, expected: np.ndarray, tolerance: float, m: int, kappa: Tensor) -> None:
    error = np.abs(value.detach().double().numpy() / expected - 1)
    worst = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
    assert error[worst] <= tolerance, f"relative error {error[worst]:.2e} at m={m}, kappa={kappa[worst].item()!r}"


# --- accuracy ---------------------------------------------------------------------------------------------------------


@every_dtype
def test_reference_holds_the_whole_grid(special_reference, dtype, tolerance):
    assert sum(len(rows) for _, _, rows in rows_by_dimension(special_reference, dtype, "grid")) == GRID_SIZE[dtype]


@pytest.mark.parametrize("kind", ["grid", "beyond", "scatter"])
@every_dtype
@every_function
def test_accuracy(special_reference, name, dtype, tolerance, kind):
    for m, kappa, rows in rows_by_dimension(special_reference, dtype, kind):
        value = FUNCTIONS[name](kappa, m)
        assert value.dtype == dtype
        check_relative(value, rows[name], tolerance, m, kappa)


@pytest.mark.parametrize("kind", ["grid", "beyond", "scatter"])
@every_dtype
@every_function
def test_accuracy_of_the_gradient(special_reference, name, dtype, tolerance, kind):
    column, sign, power = DERIVATIVES[name]
    for m, kappa, rows in rows_by_dimension(special_reference, dtype, kind):
        kappa.requires_grad_()
        (gradient,) = torch.autograd.grad(FUNCTIONS[name](kappa, m).sum(), kappa)
        check_relative(gradient, sign * rows["kappa"] ** power * rows[column], tolerance, m, kappa)


@every_dtype
def test_accuracy_of_the_second_derivative_of_log_partition(special_reference, dtype, tolerance):
    for m, kappa, rows in rows_by_dimension(special_reference, dtype, "grid"):
        second = vmap(grad(grad(lambda k, m=m: log_partition(k, m))))(kappa)
        check_relative(second, rows["mean_resultant_length_derivative"], tolerance, m, kappa)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@every_function
def test_half_precision_is_correctly_rounded_single_precision(name, dtype):
    kappa = torch.logspace(-3, 4, 71).to(dtype)
    value = FUNCTIONS[name](kappa, 6)
    assert value.dtype == dtype
    expected = FUNCTIONS[name](kappa.float(), 6).to(dtype)
    # One unit in the last place, for a value rounded twice.
    info = torch.finfo(dtype)
    torch.testing.assert_close(value, expected, rtol=info.eps, atol=info.smallest_normal * info.eps)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("m", [2, 3, 10, 16384])
def test_zero_concentration_is_exact(m, dtype):
    kappa = torch.zeros((), dtype=dtype)
    for function in (log_partition, mean_resultant_length, kl_to_uniform, log_partition_complement):
        assert function(kappa, m) == 0
    assert mean_resultant_length_complement(kappa, m) == 1
    assert mean_resultant_length_derivative(kappa, m).item() == pytest.approx(1 / m, rel=8 * torch.finfo(dtype).eps)
    assert concentration_from_mean_resultant_length(kappa, m) == 0


@pytest.mark.parametrize("m", [2, 3, 10, 16384])
def test_gradients_at_zero_concentration(m):
    fourth_cumulant = -6 / (m**2 * (m + 2))
    expected = {  # first and second derivative
        "log_partition": (0, 1 / m),
        "mean_resultant_length": (1 / m, 0),
        "mean_resultant_length_complement": (-1 / m, 0),
        "mean_resultant_length_derivative": (0, fourth_cumulant),
        "kappa_minus_log_partition": (1, -1 / m),
        "kl_to_uniform": (0, 1 / m),
    }
    # Terms cancel, the more the larger m: at 16384 an error of 1.1e-10 was seen with the lowest versions.
    tolerance = max(1e-10, 1e-14 * m)
    for name, values in expected.items():
        kappa = torch.zeros((), dtype=torch.float64, requires_grad=True)
        (first,) = torch.autograd.grad(FUNCTIONS[name](kappa, m), kappa, create_graph=True)
        (second,) = torch.autograd.grad(first, kappa)
        assert (first.item(), second.item()) == pytest.approx(values, rel=tolerance, abs=0), name
    r = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(concentration_from_mean_resultant_length(r, m), r)
    assert slope.item() == pytest.approx(m, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("m", [2, 3, 10, 41, 1024, 16384])
def test_finite_and_monotone_up_to_1e8(m, dtype):
    kappa = torch.cat([torch.zeros(1, dtype=dtype), torch.logspace(-6, 8, 1401, dtype=dtype)])
    increasing = (log_partition, mean_resultant_length, kl_to_uniform, log_partition_complement)
    decreasing = (mean_resultant_length_complement, mean_resultant_length_derivative)
    for function, sign in [(f, 1) for f in increasing] + [(f, -1) for f in decreasing]:
        value = function(kappa, m)
        assert value.isfinite().all()
        assert (sign * value.diff() >= -4 * torch.finfo(dtype).eps * value[1:].abs()).all(), function.__name__


@every_function
def test_flushing_of_denormal_numbers_changes_nothing(name):
    kappa = torch.tensor([0.0, 1e-3, 1.0, 1e3])
    expected = FUNCTIONS[name](kappa, 5)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormal numbers")
    try:
        value = FUNCTIONS[name](kappa, 5)
    finally:
        torch.set_flush_denormal(False)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)


@every_function
def test_devices_without_double_precision(special_reference, name, monkeypatch):
    # Such a device computes in float32; here the CPU stands in for it.
    monkeypatch.setattr(special, "_working_dtype", lambda values: torch.float32)
    for m, kappa, rows in rows_by_dimension(special_reference, torch.float32, "grid"):
        check_relative(FUNCTIONS[name](kappa, m), rows[name], 1e-5, m, kappa)
        at_zero = FUNCTIONS[name](torch.zeros(1), m)
        torch.testing.assert_close(at_zero, FUNCTIONS[name](torch.full((1,), 1e-30), m), rtol=1e-5, atol=1e-20)


# --- differentiation and transformations ------------------------------------------------------------------------------

# Series, the neighbourhood of the seam at kappa^2 = m, and large concentrations.
DIMENSIONS = (2, 3, 10, 128, 4096)


def log_concentrations(m: int) -> Tensor:
    kappa = torch.tensor([1e-3, 0.5, 0.98 * math.sqrt(m), 1.02 * math.sqrt(m), m, 1e3, 1e5], dtype=torch.float64)
    return kappa.log().requires_grad_()


@pytest.mark.parametrize("m", DIMENSIONS)
@every_function
def test_gradcheck(name, m):
    # In log-log coordinates values and slopes are of order one, so that the tolerance means something everywhere.
    def function(u: Tensor) -> Tensor:
        return FUNCTIONS[name](u.exp(), m).log()

    assert torch.autograd.gradcheck(function, log_concentrations(m), atol=1e-6, rtol=1e-6)
    assert torch.autograd.gradgradcheck(function, log_concentrations(m), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("m", DIMENSIONS)
def test_gradcheck_of_the_inverse(m):
    def function(logit: Tensor) -> Tensor:
        return concentration_from_mean_resultant_length(torch.sigmoid(logit), m).log()

    logit = torch.linspace(-6, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, logit, atol=1e-6, rtol=1e-6)
    assert torch.autograd.gradgradcheck(function, logit, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("m", DIMENSIONS)
def test_derivatives_of_log_partition_are_the_functions_themselves(m):
    kappa = log_concentrations(m).detach().exp().requires_grad_()
    (first,) = torch.autograd.grad(log_partition(kappa, m).sum(), kappa, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), kappa)
    assert torch.equal(first, mean_resultant_length(kappa, m))
    assert torch.equal(second, mean_resultant_length_derivative(kappa, m))


def test_differentiating_too_often_is_an_error():
    with pytest.raises(NotImplementedError, match="order"):
        grad(grad(grad(lambda k: mean_resultant_length_derivative(k, 5))))(torch.tensor(1.0))


@every_function
def test_vmap_agrees_with_the_batched_call(name):
    kappa = torch.logspace(-3, 4, 24, dtype=torch.float64).reshape(4, 6)

    def function(k: Tensor) -> Tensor:
        return FUNCTIONS[name](k, 7)

    torch.testing.assert_close(vmap(function)(kappa), function(kappa), rtol=1e-13, atol=0)
    torch.testing.assert_close(vmap(vmap(function))(kappa), function(kappa), rtol=1e-13, atol=0)
    inside = vmap(vmap(grad(grad(function))))(kappa)
    outside = grad(lambda k: grad(lambda x: function(x).sum())(k).sum())(kappa)
    torch.testing.assert_close(inside, outside, rtol=1e-9, atol=0)


def test_vmap_of_the_inverse():
    r = torch.linspace(0, 0.999, 24, dtype=torch.float64).reshape(4, 6)

    def function(x: Tensor) -> Tensor:
        return concentration_from_mean_resultant_length(x, 7)

    torch.testing.assert_close(vmap(vmap(function))(r), function(r), rtol=1e-12, atol=0)
    expected = 1 / mean_resultant_length_derivative(function(r), 7)
    torch.testing.assert_close(vmap(vmap(grad(function)))(r), expected, rtol=1e-12, atol=0)


# While it traces, TorchDynamo itself makes an instance of the autograd function, which PyTorch deprecates.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@with_todays_compiler
@everything
def test_compiled_without_graph_breaks(function, monkeypatch):
    _tables._keep.cache_clear()  # as in a fresh process: the constants are made while compiling
    largest = 0.99 if function is concentration_from_mean_resultant_length else 20
    torch.compiler.reset()
    compiled = torch.compile(lambda x: function(x, 6), fullgraph=True, backend="aot_eager")
    for size in (5, 7):  # the second size is compiled as a symbolic one
        x = torch.linspace(0, largest, size, dtype=torch.float64)
        eager_input, compiled_input = x.clone().requires_grad_(), x.clone().requires_grad_()
        result, eager = compiled(compiled_input), function(eager_input, 6)
        torch.testing.assert_close(result, eager, rtol=1e-12, atol=0)
        eager.sum().backward()
        result.sum().backward()
        torch.testing.assert_close(compiled_input.grad, eager_input.grad, rtol=1e-12, atol=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@every_function
def test_cuda_agrees_with_the_cpu(name):
    kappa = torch.logspace(-6, 6, 121, dtype=torch.float64, requires_grad=True)
    on_cuda = kappa.detach().cuda().requires_grad_()
    for m in DIMENSIONS:
        expected, value = FUNCTIONS[name](kappa, m), FUNCTIONS[name](on_cuda, m)
        assert value.device == on_cuda.device
        torch.testing.assert_close(value.cpu(), expected, rtol=1e-10, atol=0)
        (expected,) = torch.autograd.grad(expected.sum(), kappa)
        (gradient,) = torch.autograd.grad(value.sum(), on_cuda)
        torch.testing.assert_close(gradient.cpu(), expected, rtol=1e-9, atol=0)


# --- shapes and arguments ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0, 2), (2, 3, 4)])
@every_function
def test_any_shape(name, shape):
    kappa = torch.full(shape, 2.5, dtype=torch.float64, requires_grad=True)
    value = FUNCTIONS[name](kappa, 5)
    assert value.shape == shape
    (gradient,) = torch.autograd.grad(value.sum(), kappa)
    assert gradient.shape == shape
    expected = FUNCTIONS[name](torch.tensor(2.5, dtype=torch.float64), 5)
    torch.testing.assert_close(value, expected.expand(shape), rtol=1e-13, atol=0)


@every_function
def test_non_contiguous_input(name):
    kappa = torch.logspace(-3, 4, 24, dtype=torch.float64).reshape(4, 6)
    expected = FUNCTIONS[name](kappa, 5)
    for view in (lambda x: x.T, lambda x: x[:, ::2], lambda x: x[:, :1].expand(4, 6)):
        torch.testing.assert_close(FUNCTIONS[name](view(kappa), 5), view(expected), rtol=1e-12, atol=0)


@every_function
def test_many_values_agree_with_few(name):
    # Long inputs are processed in slices, of which 20,011 values need several, the last one shorter.
    kappa = torch.logspace(-4, 5, 20_011, dtype=torch.float64).reshape(-1, 1).requires_grad_()
    value = FUNCTIONS[name](kappa, 5)
    (gradient,) = torch.autograd.grad(value.sum(), kappa)
    few = kappa.detach()[::1000].requires_grad_()
    expected = FUNCTIONS[name](few, 5)
    torch.testing.assert_close(value[::1000], expected, rtol=1e-12, atol=0)
    (expected,) = torch.autograd.grad(expected.sum(), few)
    torch.testing.assert_close(gradient[::1000], expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    ("m", "error", "message"),
    [
        (1, ValueError, r"m must be an integer >= 2 .*, got 1$"),
        (0, ValueError, r"m must be an integer >= 2 .*, got 0$"),
        (-3, ValueError, r"m must be an integer >= 2 .*, got -3$"),
        (2.5, TypeError, r"m must be an integer >= 2 .*, got 2\.5 of type float"),
        (3.0, TypeError, r"m must be an integer >= 2 .*, got 3\.0 of type float"),
        (True, TypeError, r"m must be an integer >= 2 .*, got True of type bool"),
        ("3", TypeError, r"m must be an integer >= 2 .*, got '3' of type str"),
        (torch.tensor(3), TypeError, r"m must be an integer >= 2 .*, got tensor\(3\) of type Tensor"),
    ],
)
@everything
def test_bad_dimension(function, m, error, message):
    with pytest.raises(error, match=message):
        function(torch.tensor(0.5), m)


@everything
def test_numpy_integer_dimension(function):
    x = torch.tensor(0.5)
    assert torch.equal(function(x, np.int64(5)), function(x, 5))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (0.5, "must be a floating-point tensor, got 0.5 of type float"),
        ([0.5], r"must be a floating-point tensor, got \[0.5\] of type list"),
        (torch.tensor(1), "must be a floating-point tensor, got a tensor of dtype torch.int64"),
        (torch.tensor(1j), "must be a floating-point tensor, got a tensor of dtype torch.complex64"),
    ],
    ids=["float", "list", "integers", "complex"],
)
@everything
def test_bad_type(function, values, message):
    name = "r" if function is concentration_from_mean_resultant_length else "kappa"
    with pytest.raises(TypeError, match=f"^{name} {message}"):
        function(values, 5)


@every_dtype
@every_function
def test_negative_and_nan_concentrations_give_nan_and_spoil_nothing_else(name, dtype, tolerance):
    kappa = torch.tensor([1.0, -1.0, math.nan, 50.0, -1e-30], dtype=dtype, requires_grad=True)
    value = FUNCTIONS[name](kappa, 5)
    (gradient,) = torch.autograd.grad(value.sum(), kappa)
    for result in (value, gradient):
        assert result.isnan().tolist() == [False, True, True, False, True]
    assert torch.equal(value[::3], FUNCTIONS[name](kappa[::3], 5))


# --- the inverse ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["grid", "beyond", "scatter"])
@every_dtype
def test_inverse_recovers_the_concentration(special_reference, dtype, tolerance, kind):
    eps = torch.finfo(dtype).eps
    for m, _, rows in rows_by_dimension(special_reference, torch.float64, kind):
        rows = rows[rows["mean_resultant_length_complement"] > 16 * eps]  # else r rounds to one, or nearly
        # d log kappa / d r = 1 / (kappa A'): the distance of r from the exact A moves the concentration by so much.
        r = torch.tensor(rows["mean_resultant_length"].tolist(), dtype=dtype)
        rounding = eps * rows["mean_resultant_length"] / (rows["kappa"] * rows["mean_resultant_length_derivative"])
        value = concentration_from_mean_resultant_length(r, m)
        assert value.dtype == dtype
        error = np.abs(value.double().numpy() / rows["kappa"] - 1)
        assert (error <= tolerance / 10 + 2 * rounding).all(), f"m={m}: {error.max()}"


@every_dtype
@pytest.mark.parametrize("m", [2, 3, 7, 41, 1024, 16384])
def test_inverse_solves_the_likelihood_equation(m, dtype, tolerance):
    r = torch.cat([torch.logspace(-8, -2, 61), torch.linspace(0.01, 0.99, 99), 1 - torch.logspace(-2, -6, 41)])
    r = r.to(dtype)
    kappa = concentration_from_mean_resultant_length(r, m)
    torch.testing.assert_close(mean_resultant_length(kappa, m), r, rtol=tolerance / 10, atol=0)


@every_dtype
def test_inverse_is_accurate_next_to_one(dtype, tolerance):
    # m = 3: A = coth kappa - 1/kappa, hence kappa = 1 / (1 - r) but for terms of the order of exp(-2 kappa).
    gap = 2.0 ** -torch.arange(6, -math.log2(torch.finfo(dtype).eps), dtype=dtype)
    kappa = concentration_from_mean_resultant_length(1 - gap, 3)
    torch.testing.assert_close(kappa, 1 / gap, rtol=tolerance / 10, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_inverse_at_and_beyond_the_ends(dtype):
    below_one = torch.nextafter(torch.ones((), dtype=dtype), torch.zeros((), dtype=dtype)).item()
    r = torch.tensor([0, below_one, 1, -0.1, 1.5, math.nan, math.inf], dtype=dtype)
    kappa = concentration_from_mean_resultant_length(r, 3)
    assert kappa.dtype == dtype
    assert kappa[0] == 0
    # A = 1 - 1/kappa for m = 3 and large kappa.
    assert kappa[1].item() == pytest.approx(1 / (1 - below_one), rel=8 * torch.finfo(dtype).eps)
    assert kappa[2] == math.inf
    assert kappa[3:].isnan().all()


# --- laws -------------------------------------------------------------------------------------------------------------

dimensions = st.one_of(st.integers(2, 64), st.integers(2, 20_000))
concentrations = st.floats(-6, 6).map(lambda exponent: torch.tensor(10.0**exponent, dtype=torch.float64))


@given(kappa=concentrations, m=dimensions)
def test_ranges(kappa, m):
    a, complement = mean_resultant_length(kappa, m), mean_resultant_length_complement(kappa, m)
    assert 0 < a < 1
    assert 0 < complement < 1
    assert a + complement == pytest.approx(1, rel=1e-15)
    assert 0 < mean_resultant_length_derivative(kappa, m) <= (1 + 1e-12) / m
    assert kl_to_uniform(kappa, m) > 0
    assert 0 < log_partition(kappa, m) < kappa


@given(kappa=concentrations, factor=st.floats(1.001, 1e3), m=dimensions)
def test_mean_resultant_length_increases_with_the_concentration(kappa, factor, m):
    assert mean_resultant_length(kappa * factor, m) > mean_resultant_length(kappa, m)
    assert mean_resultant_length_complement(kappa * factor, m) < mean_resultant_length_complement(kappa, m)
    assert kl_to_uniform(kappa * factor, m) > kl_to_uniform(kappa, m)


@given(kappa=concentrations, m=dimensions)
def test_mean_resultant_length_decreases_with_the_dimension(kappa, m):
    assert mean_resultant_length(kappa, m + 1) < mean_resultant_length(kappa, m)
    assert log_partition(kappa, m + 1) < log_partition(kappa, m)


@given(kappa=concentrations, m=dimensions)
def test_riccati_equation(kappa, m):
    a, complement = mean_resultant_length(kappa, m), mean_resultant_length_complement(kappa, m)
    one_minus_square, drift = complement * (1 + a), (m - 1) * a / kappa
    residual = mean_resultant_length_derivative(kappa, m) - (one_minus_square - drift)
    assert residual.abs() <= 1e-12 * (one_minus_square + drift)


@given(kappa=concentrations, m=dimensions)
def test_recurrence_between_dimensions(kappa, m):
    # I_{v-1} - I_{v+1} = (2v / kappa) I_v, DLMF 10.29.1
    step = kappa * mean_resultant_length(kappa, m + 2) / m
    assert m * mean_resultant_length(kappa, m) / kappa * (1 + step) == pytest.approx(1, rel=1e-12)
    assert (log_partition(kappa, m + 2) + torch.log1p(step)).item() == pytest.approx(
        log_partition(kappa, m).item(), rel=1e-12
    )


@given(x=concentrations, y=concentrations, share=st.floats(0, 1), m=dimensions)
def test_log_partition_is_convex(x, y, share, m):
    chord = share * log_partition(x, m) + (1 - share) * log_partition(y, m)
    assert log_partition(share * x + (1 - share) * y, m) <= chord * (1 + 1e-13)


@given(kappa=concentrations, m=dimensions)
def test_kl_is_the_legendre_transform_of_log_partition(kappa, m):
    # KL = sup_t (A t - phi(t)), attained at t = kappa. With 1 - A and t - phi the terms stay small for large t.
    t = kappa * torch.logspace(-2, 2, 401, dtype=torch.float64)
    scores = log_partition_complement(t, m) - t * mean_resultant_length_complement(kappa, m)
    kl = kl_to_uniform(kappa, m)
    rounding = 1e-13 * log_partition_complement(t, m)
    assert (scores <= kl + rounding).all()
    assert scores[200] == pytest.approx(kl.item(), abs=rounding[200].item())
    assert scores.argmax().item() in (199, 200, 201)


@given(kappa=concentrations, m=dimensions)
def test_amos_bounds(kappa, m):
    # Amos 1974, equations 9 and 11, for I_{v+1} / I_v
    v = m / 2 - 1
    a = mean_resultant_length(kappa, m)
    assert a >= kappa / (v + 1 / 2 + torch.hypot(kappa, torch.tensor(v + 3 / 2))) * (1 - 1e-13)
    assert a <= kappa / (v + 1 / 2 + torch.hypot(kappa, torch.tensor(v + 1 / 2))) * (1 + 1e-13)
    assert a <= kappa / (v + torch.hypot(kappa, torch.tensor(v + 2))) * (1 + 1e-13)


@given(r=st.floats(0, 0.9999), m=dimensions)
def test_inverse_solves_the_likelihood_equation_everywhere(r, m):
    kappa = concentration_from_mean_resultant_length(torch.tensor(r, dtype=torch.float64), m)
    assert mean_resultant_length(kappa, m).item() == pytest.approx(r, rel=1e-13, abs=1e-300)


# --- surface area -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("m", "area"), [(2, 2 * math.pi), (3, 4 * math.pi), (4, 2 * math.pi**2)])
def test_log_surface_area_of_low_spheres(m, area):
    assert log_surface_area(m) == pytest.approx(math.log(area), rel=1e-15)


@pytest.mark.parametrize("m", [5, 41, 1024, 16384])
def test_log_surface_area_against_mpmath(m):
    with mpmath.workdps(30):
        expected = float(mpmath.log(2 * mpmath.pi ** (mpmath.mpf(m) / 2) / mpmath.gamma(mpmath.mpf(m) / 2)))
    assert log_surface_area(m) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(("m", "error"), [(1, ValueError), (2.5, TypeError), (True, TypeError)])
def test_log_surface_area_of_a_bad_dimension(m, error):
    with pytest.raises(error, match=rf"^m must be an integer >= 2 .*, got {m}"):
        log_surface_area(m)
