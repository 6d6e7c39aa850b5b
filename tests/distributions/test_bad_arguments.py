"""A bad argument is refused with a message that names it, what was given and what was expected."""

import math
import re

import numpy as np
import pytest
import torch

from hvae_tutorial.distributions import HypersphericalUniform, PowerSpherical, SphericalCauchy, VonMisesFisher

every_family = pytest.mark.parametrize("family", [VonMisesFisher, PowerSpherical, SphericalCauchy])
E1 = torch.eye(3)[0]


# --- loc --------------------------------------------------------------------------------------------------------------


@every_family
@pytest.mark.parametrize(
    ("loc", "kind"),
    [
        ([1.0, 0.0], "list"),
        (np.array([1.0, 0.0]), "ndarray"),
        (1.0, "float"),
        (torch.tensor([1, 0]), "a tensor of dtype torch.int64"),
        (torch.tensor([1j, 0]), "a tensor of dtype torch.complex64"),
    ],
    ids=["list", "array", "number", "integers", "complex"],
)
def test_loc_of_a_bad_type(loc, kind, family):
    with pytest.raises(TypeError, match=rf"loc must be a floating-point tensor of shape \(\.\.\., m\), got {kind}"):
        family(loc, 1.0)


@every_family
@pytest.mark.parametrize(
    ("shape", "shown"), [((), r"\(\)"), ((1,), r"\(1,\)"), ((4, 1), r"\(4, 1\)"), ((0,), r"\(0,\)")]
)
def test_loc_of_a_bad_shape(shape, shown, family):
    with pytest.raises(ValueError, match=rf"loc must have shape \(\.\.\., m\) with m >= 2, got {shown}"):
        family(torch.ones(shape), 1.0)


@every_family
@pytest.mark.parametrize(
    "loc", [[2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.999, 0.0, 0.0], [math.nan, 0.0, 0.0], [math.inf, 0.0, 0.0]]
)
def test_loc_off_the_sphere(loc, family):
    with pytest.raises(ValueError, match=r"(?s)Expected parameter loc .* to satisfy the constraint UnitVector\(\)"):
        family(torch.tensor(loc), 1.0)
    with pytest.raises(ValueError, match="Expected parameter loc"):
        family(torch.stack([E1, torch.tensor(loc)]), 1.0)


# --- concentration ----------------------------------------------------------------------------------------------------


@every_family
@pytest.mark.parametrize("concentration", [-1.0, -1e-6, math.nan, math.inf, -math.inf])
def test_concentration_out_of_range(concentration, family):
    message = r"(?s)Expected parameter concentration .* to satisfy the constraint FiniteNonnegative\(\)"
    with pytest.raises(ValueError, match=message):
        family(E1, concentration)
    with pytest.raises(ValueError, match=message):
        family(E1, torch.tensor([1.0, concentration, 2.0]))


@every_family
@pytest.mark.parametrize(
    ("loc", "concentration", "message"),
    [
        ((4, 3), (5,), r"loc\.shape\[:-1\] = \(4,\) \(no trailing axis\), got \(5,\)"),
        ((4, 2, 3), (4, 2, 3), r"loc\.shape\[:-1\] = \(4, 2\) \(no trailing axis\), got \(4, 2, 3\)"),
        ((4, 2, 3), (3, 1), r"loc\.shape\[:-1\] = \(4, 2\) \(no trailing axis\), got \(3, 1\)"),
    ],
)
def test_shapes_that_do_not_fit(loc, concentration, message, family):
    with pytest.raises(ValueError, match="concentration must have a shape that broadcasts with " + message):
        family(torch.nn.functional.normalize(torch.randn(loc), dim=-1), torch.ones(concentration))


@every_family
@pytest.mark.parametrize("batch", [(64,), (2, 3), (3, 3), (1, 5), (5, 1)])
def test_concentration_with_a_trailing_axis(batch, family):
    """Shape (..., B, 1) for B directions: it would broadcast to a batch of all pairs."""
    loc, column = torch.eye(3)[0].expand(*batch, 3), torch.ones(*batch, 1)
    message = (
        rf"concentration must have the shape of loc's batch, {re.escape(str(batch))}, got .* concentration\.squeeze"
    )
    for concentration in (column, column.numpy(), column.tolist()):
        with pytest.raises(ValueError, match=message):
            family(loc, concentration)
    assert family(loc, column.squeeze(-1)).batch_shape == batch
    # all pairs, where they are wanted
    assert family(loc.unsqueeze(-3), column).batch_shape == (*batch[:-1], batch[-1], batch[-1])


@every_family
def test_concentration_with_one_axis_more_where_nothing_is_ambiguous(family):
    assert family(E1, torch.ones(1)).batch_shape == (1,)
    assert family(E1.expand(1, 3), torch.ones(1, 1)).batch_shape == (1, 1)
    assert family(E1.expand(3, 3), torch.ones(2, 1)).batch_shape == (2, 3)


@every_family
def test_complex_concentration(family):
    with pytest.raises(TypeError, match=r"concentration must be real, got a tensor of dtype torch\.complex64"):
        family(E1, torch.tensor(1j))


@every_family
@pytest.mark.parametrize("concentration", [[1.0, 2.0], np.array([1.0, 2.0]), np.array([1, 2]), (1, 2)], ids=repr)
def test_numbers_in_a_sequence_or_an_array_are_concentrations(concentration, family):
    law = family(torch.eye(3)[:2], concentration)
    assert law.concentration.tolist() == [1, 2]
    assert law.concentration.dtype == torch.float32
    assert family(E1, np.float64(2.0)).concentration.dtype == torch.float32


@every_family
@pytest.mark.parametrize("concentration", [None, "three", object()], ids=["None", "text", "object"])
def test_concentration_of_a_bad_type(concentration, family):
    message = f"concentration must be a tensor of shape (...) or a number, got {concentration!r}"
    with pytest.raises(TypeError, match=re.escape(message)):
        family(E1, concentration)


@every_family
def test_parameters_are_not_checked_where_validation_is_off(family):
    family(2 * E1, -1.0, validate_args=False)
    family(torch.full((3,), math.nan), math.nan, validate_args=False)


# --- values -----------------------------------------------------------------------------------------------------------


def laws() -> list[torch.distributions.Distribution]:
    return [VonMisesFisher(E1, 1.0), PowerSpherical(E1, 1.0), HypersphericalUniform(3)]


@pytest.mark.parametrize("law", laws(), ids=lambda law: type(law).__name__)
@pytest.mark.parametrize(
    "value",
    [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.99, 0.0, 0.0], [math.nan, 0.0, 0.0]],
    ids=["long", "zero", "short", "nan"],
)
def test_value_off_the_sphere(value, law):
    message = r"(?s)Expected value argument .* to be within the support \(UnitVector\(\)\)"
    with pytest.raises(ValueError, match=message):
        law.log_prob(torch.tensor(value))
    with pytest.raises(ValueError, match=message):
        law.log_prob(torch.stack([E1, torch.tensor(value)]))


@pytest.mark.parametrize("law", laws(), ids=lambda law: type(law).__name__)
def test_value_of_another_sphere(law):
    with pytest.raises(ValueError, match="right-most size of value must match event_shape"):
        law.log_prob(torch.eye(4)[0])


@pytest.mark.parametrize("law", laws(), ids=lambda law: type(law).__name__)
def test_value_that_does_not_broadcast(law):
    with pytest.raises(ValueError, match="Value is not broadcastable with batch_shape"):
        law.expand((2,)).log_prob(torch.eye(3))


@pytest.mark.parametrize("law", laws(), ids=lambda law: type(law).__name__)
def test_value_of_a_bad_type(law):
    with pytest.raises(ValueError, match="must be a Tensor"):
        law.log_prob([1.0, 0.0, 0.0])


# --- the uniform law --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("m", "error", "shown"),
    [
        (1, ValueError, "1"),
        (0, ValueError, "0"),
        (-3, ValueError, "-3"),
        (2.0, TypeError, "2.0 of type float"),
        ("3", TypeError, "'3' of type str"),
        (True, TypeError, "True of type bool"),
        (None, TypeError, "None of type NoneType"),
    ],
)
def test_dimension(m, error, shown):
    with pytest.raises(error, match=rf"m must be an integer >= 2 \(the ambient dimension\), got {shown}"):
        HypersphericalUniform(m)


def test_expanding_to_a_batch_that_does_not_fit():
    with pytest.raises(RuntimeError, match="expand"):
        VonMisesFisher(torch.eye(3), 1.0).expand((2,))


@pytest.mark.parametrize("law", laws(), ids=lambda law: type(law).__name__)
def test_integers_are_no_points_of_the_sphere(law):
    with pytest.raises(TypeError, match=r"floating-point tensor, got a tensor of dtype torch\.int64"):
        law.log_prob(torch.tensor([1, 0, 0]))


def test_dtype_and_batch_shape_of_the_uniform_law():
    with pytest.raises(TypeError, match=r"dtype must be a floating-point type, got torch\.int64"):
        HypersphericalUniform(3, dtype=torch.int64)
    with pytest.raises(TypeError, match=r"dtype must be a floating-point type, got 'float32'"):
        HypersphericalUniform(3, dtype="float32")
    for shape in (4, None):
        with pytest.raises(TypeError, match=rf"batch_shape must be a tuple of integers or a torch\.Size, got {shape}"):
            HypersphericalUniform(3, batch_shape=shape)
    with pytest.raises(ValueError, match=r"batch_shape must have no negative size, got \(-1,\)"):
        HypersphericalUniform(3, batch_shape=(-1,))
    with pytest.raises(ValueError, match=r"batch_shape must have no negative size, got \(-1,\)"):
        HypersphericalUniform(3).expand((-1,))


@pytest.mark.parametrize("law", laws(), ids=lambda law: type(law).__name__)
def test_sample_shapes_that_are_none(law):
    with pytest.raises(TypeError, match=r"^sample_shape must be a tuple of integers or a torch\.Size, got \(2\.5,\)$"):
        law.sample((2.5,))
    with pytest.raises(TypeError, match=r"^sample_shape must be a tuple of integers or a torch\.Size, got 3$"):
        law.sample(3)
    with pytest.raises(ValueError, match=r"^sample_shape must have no negative size, got \(-1,\)$"):
        law.sample((-1,))
