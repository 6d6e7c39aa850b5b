"""Maps onto the sphere: `biject_to` has the stated inverse and log-determinant, `transform_to` the stated inverse."""

import math
import pickle

import mpmath
import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Independent,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
    biject_to,
    constraints,
    kl_divergence,
    transform_to,
)

from hvae_tutorial.distributions import HypersphericalUniform, PowerSpherical, Product, SphericalCauchy, VonMisesFisher
from hvae_tutorial.distributions.constraints import concatenated, finite_nonnegative, unit_vector
from hvae_tutorial.distributions.transforms import Concatenated, Normalize, Stereographic

MIXED = concatenated([unit_vector, constraints.real_vector, unit_vector], (3, 2, 4))
DIMENSIONS = (2, 3, 5, 11)


def free(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def log_volume(transform, x: Tensor) -> Tensor:
    """Half the log-determinant of J^T J, by autograd: that of a map into a surface."""
    jacobian = torch.func.jacrev(transform)(x)
    return torch.linalg.slogdet(jacobian.T @ jacobian).logabsdet / 2


@pytest.mark.parametrize("registry", [transform_to, biject_to], ids=["transform_to", "biject_to"])
@pytest.mark.parametrize(
    ("constraint", "size"),
    [*((unit_vector, m) for m in DIMENSIONS), (MIXED, 9), (finite_nonnegative, None)],
    ids=[*(f"sphere-{m}" for m in DIMENSIONS), "mixed", "nonnegative"],
)
@pytest.mark.parametrize("batch", [(), (7,), (2, 3)])
def test_values_satisfy_the_constraint_and_return(batch, constraint, size, registry):
    transform = registry(constraint)
    event = () if size is None else (size,)
    x = free(*transform.inverse_shape((*batch, *event)))
    y = transform(x)
    assert y.shape == transform.forward_shape(x.shape) == (*batch, *event)
    assert constraint.check(y).all()
    assert transform.codomain.check(y).all()
    assert transform.domain.check(x).all()
    assert transform.codomain.event_dim == transform.domain.event_dim == constraint.event_dim
    back = transform.inv(y)
    torch.testing.assert_close(transform(back), y)
    if registry is biject_to:
        assert transform.bijective
        torch.testing.assert_close(back, x)
        log_determinant = transform.log_abs_det_jacobian(x, y)
        assert log_determinant.shape == batch
        torch.testing.assert_close(transform.inv.log_abs_det_jacobian(y, x), -log_determinant)


@pytest.mark.parametrize("m", DIMENSIONS)
def test_log_determinant_of_the_stereographic_projection(m):
    transform = biject_to(unit_vector)
    for scale in (1e-3, 1.0, 30.0):
        x = scale * free(m - 1)
        torch.testing.assert_close(transform.log_abs_det_jacobian(x, transform(x)), log_volume(transform, x))


def test_log_determinant_of_a_product_and_of_softplus():
    transform = biject_to(MIXED)
    x = free(*transform.inverse_shape((9,)))
    torch.testing.assert_close(transform.log_abs_det_jacobian(x, transform(x)), log_volume(transform, x))
    softplus, x = biject_to(finite_nonnegative), free(5)
    slope = torch.func.vmap(torch.func.grad(softplus))(x)
    torch.testing.assert_close(softplus.log_abs_det_jacobian(x, softplus(x)), slope.log())


def test_the_projection_keeps_its_digits_near_the_point_that_it_does_not_reach():
    x = torch.tensor([3e7, -4e7], dtype=torch.float64)
    transform = Stereographic()
    torch.testing.assert_close(transform.inv(transform(x)), x, rtol=1e-12, atol=0)
    assert transform(torch.zeros(2)).tolist() == [0, 0, 1]


@pytest.mark.parametrize("m", [2, 3, 4])
def test_density_after_the_projection_integrates_to_one(m):
    """A von Mises-Fisher law in the coordinates of R^(m-1), summed on a grid in which its tails are compressed."""
    law = VonMisesFisher(torch.nn.functional.normalize(torch.arange(1.0, m + 1).double(), dim=0), 2.0)
    flat = TransformedDistribution(law, biject_to(law.support).inv)
    assert flat.event_shape == (m - 1,)
    # the trapezoidal rule in t with x = sinh t in each coordinate
    t = torch.linspace(-14, 14, {2: 600, 3: 240, 4: 160}[m], dtype=torch.float64)
    grid = torch.cartesian_prod(*[t] * (m - 1)).reshape(-1, m - 1)
    log_mass = flat.log_prob(grid.sinh()) + grid.cosh().log().sum(-1)
    assert log_mass.exp().sum().item() * (t[1] - t[0]).item() ** (m - 1) == pytest.approx(1, abs=1e-6)


def test_normalisation_is_not_a_bijection_and_says_so():
    transform = transform_to(unit_vector)
    assert not transform.bijective
    with pytest.raises(NotImplementedError):
        transform.log_abs_det_jacobian(free(3), free(3))
    small = 1e-100 * free(4)
    assert unit_vector.check(transform(small))
    assert not biject_to(constraints.independent(unit_vector, 1)).codomain.check(torch.ones(2, 3))


def test_several_directions_as_one_event():
    constraint = constraints.independent(unit_vector, 1)
    for registry, size in ((transform_to, 4), (biject_to, 3)):
        transform = registry(constraint)
        x = free(5, 2, size)
        assert constraint.check(transform(x)).shape == (5,)
        assert constraint.check(transform(x)).all()
    assert transform.log_abs_det_jacobian(x, transform(x)).shape == (5,)


@pytest.mark.parametrize("transform", [Normalize(), Stereographic(), Concatenated([Stereographic()], (3,))], ids=repr)
def test_transforms_are_values(transform):
    assert pickle.loads(pickle.dumps(transform)) == transform
    assert transform.with_cache(1) == transform
    assert transform != biject_to(finite_nonnegative)
    cached = transform.with_cache(1)
    x = free(*transform.inverse_shape((3,)))
    assert cached.inv(cached(x)) is x
    if transform.bijective:
        for shape in (transform.forward_shape, transform.inverse_shape):
            with pytest.raises(ValueError, match="vectors must have at least one dimension, got a number"):
                shape(())


@pytest.mark.parametrize("family", [VonMisesFisher, PowerSpherical, SphericalCauchy])
def test_parameters_are_found_by_optimising_without_constraints(family):
    """Maximum likelihood by L-BFGS through transform_to, against `fit`."""
    data = family(torch.eye(3, dtype=torch.float64)[0], 5.0).sample((200,))
    raw = {"loc": free(3).requires_grad_(), "concentration": free().requires_grad_()}
    optimiser = torch.optim.LBFGS(list(raw.values()), max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-10)

    def law():
        parameters = {name: transform_to(family.arg_constraints[name])(value) for name, value in raw.items()}
        return family(**parameters)

    def loss():
        optimiser.zero_grad()
        value = -law().log_prob(data).mean()
        value.backward()
        return value

    optimiser.step(loss)
    best = family.fit(data)
    torch.testing.assert_close(law().loc, best.loc, rtol=0, atol=1e-5)
    torch.testing.assert_close(law().concentration, best.concentration, rtol=1e-5, atol=0)


def test_product_is_unconstrained_in_its_own_coordinates():
    plane = Independent(Normal(torch.zeros(2, dtype=torch.float64), 1.0), 1)
    law = Product([VonMisesFisher(torch.eye(3, dtype=torch.float64)[0], 3.0), plane])
    transform = biject_to(law.support)
    flat = TransformedDistribution(law, transform.inv)
    x = flat.sample((4,))
    assert x.shape == (4, 4)
    expected = law.log_prob(transform(x)) + transform.log_abs_det_jacobian(x, transform(x))
    torch.testing.assert_close(flat.log_prob(x), expected)


def test_a_law_is_carried_to_the_sphere():
    """The other way: a Gaussian in R^2, and its Kullback-Leibler divergence to the uniform law, by both densities."""
    gaussian = MultivariateNormal(torch.zeros(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64))
    law = TransformedDistribution(gaussian, biject_to(unit_vector))
    assert law.support.check(law.sample((10,))).all()
    z = law.sample((100,))
    uniform = HypersphericalUniform(3, dtype=torch.float64)
    flat_uniform = TransformedDistribution(uniform, biject_to(unit_vector).inv)
    x = biject_to(unit_vector).inv(z)
    torch.testing.assert_close(law.log_prob(z) - uniform.log_prob(z), gaussian.log_prob(x) - flat_uniform.log_prob(x))
    # the uniform law on S^2 becomes 1 / (pi (1 + |x|^2)^2)
    torch.testing.assert_close(flat_uniform.log_prob(x), -math.log(math.pi) - 2 * torch.log1p(x.square().sum(-1)))
    assert kl_divergence(uniform, uniform) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_numbers_whose_squares_leave_the_range(dtype):
    """The largest number and the smallest normal one, and some between."""
    info = torch.finfo(dtype)
    for size in (info.max / 4, info.max**0.6, 300.0, 1.0, info.tiny**0.6, info.tiny):
        x = torch.tensor([size, -size], dtype=dtype)
        diagonal = torch.tensor([0.5**0.5, -(0.5**0.5)], dtype=torch.float64)
        torch.testing.assert_close(Normalize()(x).double(), diagonal, rtol=2e-3, atol=0)
        z = Stereographic()(x)
        assert unit_vector.check(z)
        exact = 2 * (mpmath.log(2) - mpmath.log(1 + 2 * mpmath.mpf(float(x[0])) ** 2))
        found = Stereographic().log_abs_det_jacobian(x, z)
        torch.testing.assert_close(found.double().item(), float(exact), rtol=2e-3, atol=1e-6)
