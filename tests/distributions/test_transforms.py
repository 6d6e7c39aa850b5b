"""Laws under `torch.compile`, `torch.vmap`, `torch.func`, inference mode and fake tensors, as in plain torch.

Each transform is held to the result without it: from the same state of the random number generator where samples are
drawn, to rounding elsewhere.
"""

import math
from collections.abc import Callable

import pytest
import torch
from error_rate import check_p_values
from installed import with_todays_compiler
from projection_law import von_mises_fisher
from scipy import stats
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributions import Distribution, kl_divergence
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.nn.functional import normalize

from hvae_tutorial import _tables
from hvae_tutorial.distributions import (
    HypersphericalUniform,
    PowerSpherical,
    Product,
    SphericalCauchy,
    VonMisesFisher,
    _sampling,
)

# torch scripts its own formulas for forward mode when it is used first, and deprecates that.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")

Make = Callable[[Tensor, Tensor], Distribution]


def product(loc: Tensor, concentration: Tensor) -> Product:
    parts = [VonMisesFisher(loc, concentration, False), PowerSpherical(loc, concentration, False)]
    return Product(parts, validate_args=False)


LAWS: dict[str, Make] = {
    "vMF": lambda loc, concentration: VonMisesFisher(loc, concentration, validate_args=False),
    "Power Spherical": lambda loc, concentration: PowerSpherical(loc, concentration, validate_args=False),
    "spherical Cauchy": lambda loc, concentration: SphericalCauchy(loc, concentration, validate_args=False),
    "Product": product,
}
every_law = pytest.mark.parametrize("make", LAWS.values(), ids=LAWS)
every_m = pytest.mark.parametrize("m", [2, 3, 6, 41])
# While it traces, TorchDynamo itself makes an instance of an autograd function, which PyTorch deprecates.
compiles = pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")


def parameters(m: int, n: int = 5) -> tuple[Tensor, Tensor]:
    return normalize(torch.randn(n, m), dim=-1), 20 * torch.rand(n) + 0.1


def prior(law: Distribution, m: int) -> Distribution:
    return HypersphericalUniform(m) if law.event_shape[0] == m else Product([HypersphericalUniform(m)] * 2)


def third_power(make: Make) -> Callable[[Tensor, Tensor], Tensor]:
    """A function of parameters through samples, the same draws at every call."""

    def loss(loc: Tensor, concentration: Tensor) -> Tensor:
        torch.manual_seed(1)
        return (make(normalize(loc, dim=-1), concentration).rsample() ** 3).sum()

    return loss


def reverse(loss: Callable[[Tensor, Tensor], Tensor], loc: Tensor, concentration: Tensor) -> tuple[Tensor, ...]:
    leaves = loc.clone().requires_grad_(), concentration.clone().requires_grad_()
    return torch.autograd.grad(loss(*leaves), leaves)


# --- vmap -------------------------------------------------------------------------------------------------------------


@every_m
@every_law
def test_vmap_draws_other_samples_for_each_element(make, m):
    loc, concentration = parameters(m)
    z = vmap(lambda k: make(loc[0], k).rsample((3,)), randomness="different")(concentration[:1].expand(4))
    assert z.shape == (4, 3, make(loc, concentration).event_shape[0])
    assert len(z.reshape(12, -1).unique(dim=0)) == 12
    one_by_one = vmap(lambda mu, k: make(mu, k).sample(), randomness="different")(loc, concentration)
    assert one_by_one.shape == (5, z.shape[-1])


@every_m
def test_vmap_draws_the_same_samples_for_each_element_if_asked_to(m):
    loc, concentration = parameters(m)
    z = vmap(lambda k: LAWS["vMF"](loc[0], k).rsample((3,)), randomness="same")(concentration[:1].expand(4))
    assert (z == z[:1]).all()


@pytest.mark.parametrize("m", [2, 3, 6, 41])
def test_samples_under_vmap_have_the_law(m):
    # 4 comparisons; check_p_values divides the level.
    mu = normalize(torch.randn(m, dtype=torch.float64), dim=0)
    z = vmap(lambda k: LAWS["vMF"](mu, k).sample(), randomness="different")(torch.full((20_000,), 8.0).double())
    y = (z - mu).square().sum(-1) / 2
    check_p_values(y=stats.kstest(y.numpy(), von_mises_fisher(8.0, m).cdf, method="asymp").pvalue)


@every_m
@every_law
def test_gradients_of_each_element(make, m):
    """Of the batch's loss, each row's gradient depends on the row alone: vmap(grad) finds it row by row."""
    loc, concentration = parameters(m)
    loss = lambda mu, k: (make(normalize(mu, dim=-1), k).rsample() ** 3).sum()  # noqa: E731
    found = vmap(grad(loss, argnums=(0, 1)), randomness="different")(loc, concentration)
    assert found[0].shape == loc.shape
    assert found[1].shape == concentration.shape
    assert all(value.isfinite().all() for value in found)
    # Along mu itself nothing changes.
    torch.testing.assert_close((found[0] * loc).sum(-1), torch.zeros(5), rtol=0, atol=1e-5)


# --- torch.func -------------------------------------------------------------------------------------------------------


@every_m
@every_law
def test_func_grad_is_the_gradient(make, m):
    loss, arguments = third_power(make), parameters(m)
    torch.testing.assert_close(grad(loss, argnums=(0, 1))(*arguments), reverse(loss, *arguments))


@every_m
@every_law
def test_jacobians_in_both_directions_agree(make, m):
    loc, concentration = (value[0] for value in parameters(m))
    loss = third_power(make)
    for argument in (0, 1):
        forward = jvp(
            lambda value, a=argument: loss(value, concentration) if a == 0 else loss(loc, value),
            ((loc, concentration)[argument],),
            (torch.ones_like((loc, concentration)[argument]),),
        )[1]
        backward = grad(loss, argnums=argument)(loc, concentration).sum()
        torch.testing.assert_close(forward, backward, rtol=1e-4, atol=1e-5)
    rows = jacrev(lambda k: make(loc, k).rsample())(concentration)
    assert rows.shape == make(loc, concentration).event_shape


@pytest.mark.parametrize(
    "twice",
    [
        lambda f: lambda mu, k: jvp(lambda k: grad(f, argnums=1)(mu, k), (k,), (torch.ones_like(k),)),
        lambda f: jacrev(jacrev(f, argnums=1), argnums=1),
        lambda f: lambda mu, k: grad(lambda k: jvp(lambda k: f(mu, k), (k,), (torch.ones_like(k),))[1])(k),
        lambda f: lambda mu, k: grad(lambda k: jvp(lambda mu: f(mu, k), (mu,), (torch.ones_like(mu),))[1])(k),
        lambda f: lambda mu, k: jvp(lambda k: jvp(lambda k: f(mu, k), (k,), (k,))[1], (k,), (k,)),
    ],
    ids=["forward over reverse", "reverse over reverse", "reverse over forward", "mixed", "forward over forward"],
)
@every_law
def test_second_derivatives_through_samples_raise(make, twice):
    with pytest.raises(RuntimeError, match=r"differentiated once only|forward mode is not implemented"):
        twice(third_power(make))(*parameters(6))


@every_m
@every_law
def test_hessian_of_the_log_density(make, m):
    loc, concentration = parameters(m)
    z = make(loc, concentration).sample()

    def log_prob(mu, k):
        return make(normalize(mu, dim=-1), k).log_prob(z.double()).sum()

    arguments = loc.double(), concentration.double()
    found = hessian(log_prob, argnums=(0, 1))(*arguments)
    expected = jacrev(jacrev(log_prob, argnums=(0, 1)), argnums=(0, 1))(*arguments)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    # and by central differences of the gradient, in the concentration
    h = 1e-5
    above, below = (grad(log_prob, argnums=1)(arguments[0], arguments[1] + s * h) for s in (1, -1))
    torch.testing.assert_close(found[1][1].sum(-1), (above - below) / (2 * h), rtol=1e-5, atol=1e-6)


# --- torch.compile ----------------------------------------------------------------------------------------------------


def all_in_one(make: Make, m: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Sample, density, entropy and divergence in one graph."""

    def function(loc: Tensor, concentration: Tensor) -> Tensor:
        law = make(loc, concentration)
        z = law.rsample()
        return (z**3).sum(-1) + law.log_prob(z) + law.entropy() + kl_divergence(law, prior(law, m))

    return function


@compiles
@with_todays_compiler
@pytest.mark.parametrize("dynamic", [None, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("m", [2, 6])
@every_law
def test_compiled_as_one_graph(make, m, dynamic):
    torch.compiler.reset()
    _tables._keep.cache_clear()  # as in a fresh process: the constants are made while compiling
    function = all_in_one(make, m)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for n in (5, 7, 7):
        arguments = parameters(m, n)
        leaves = [tuple(value.clone().requires_grad_() for value in arguments) for _ in range(2)]
        torch.manual_seed(n)
        found = compiled(*leaves[0])
        torch.manual_seed(n)
        expected = function(*leaves[1])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        found.sum().backward()
        expected.sum().backward()
        for one, other in zip(*leaves, strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4)


@compiles
@with_todays_compiler
def test_several_tables_in_one_graph():
    """Two dimensions, two precisions, a divergence with an entropy, and spheres of different dimension."""
    torch.compiler.reset()
    _tables._keep.cache_clear()

    def function(k: Tensor) -> Tensor:
        circle, sphere = (VonMisesFisher(torch.eye(m)[0], k, validate_args=False) for m in (2, 4))
        wide = VonMisesFisher(torch.eye(4, dtype=torch.float64)[0], k.double(), validate_args=False)
        both = kl_divergence(
            Product([sphere, VonMisesFisher(torch.eye(3)[0], k, validate_args=False)], validate_args=False),
            Product([HypersphericalUniform(4), HypersphericalUniform(3)]),
        )
        return circle.entropy() + kl_divergence(circle, HypersphericalUniform(2)) + wide.entropy() + both

    k = torch.linspace(0, 30, 7)
    found = torch.compile(function, fullgraph=True, backend="aot_eager")(k)
    torch.testing.assert_close(found, function(k))


# --- modes ------------------------------------------------------------------------------------------------------------


@every_law
def test_inference_mode_first_then_training(make):
    """What is made in inference mode and kept must not be in the way of gradients later."""
    _tables._keep.cache_clear()
    loc, concentration = parameters(7)
    with torch.inference_mode():
        law = make(loc, concentration)
        law.log_prob(law.rsample()) + law.entropy() + kl_divergence(law, prior(law, 7))
    assert not any(tensor.is_inference() for tensor in vars(_tables._KEPT).values())
    leaf = concentration.clone().requires_grad_()
    law = make(loc, leaf)
    (law.log_prob(law.rsample()) + law.entropy() + kl_divergence(law, prior(law, 7))).sum().backward()
    assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("m", [3, 6])
@every_law
def test_no_operation_of_a_step_waits_for_a_value(make, m):
    """Fake tensors have no values: an operation whose result has a size or a number that depends on them raises."""
    _tables._keep.cache_clear()
    with FakeTensorMode():
        loc, concentration = parameters(m, 64)
        concentration.requires_grad_()
        all_in_one(make, m)(loc, concentration).sum().backward()
        assert concentration.grad.shape == (64,)
        if m != 3:  # the guard can fail
            with pytest.raises(Exception, match=r"nonzero|[Dd]ata"):
                _sampling._in_rounds(*_sampling._envelope(concentration.detach(), m), m)
    # The fake tables were not kept.
    assert all_in_one(make, m)(*parameters(m)).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_samples_under_autocast_stay_on_the_sphere_and_have_full_gradients(dtype):
    loc, k = normalize(torch.randn(6), dim=0), torch.tensor(30.0, requires_grad=True)
    results = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=dtype, enabled=enabled):
            torch.manual_seed(0)
            z = VonMisesFisher(loc, k).rsample((2000,))
            results.append((z, *torch.autograd.grad((z @ loc.requires_grad_(False)).float().sum(), k)))
    torch.testing.assert_close(results[1][0], results[0][0])
    assert (results[1][0].norm(dim=-1) - 1).abs().max() < 1e-6
    assert results[1][1].item() == pytest.approx(results[0][1].item(), rel=1e-2)


def test_uniform_law_in_a_compiled_function():
    torch.compiler.reset()
    function = torch.compile(
        lambda x: HypersphericalUniform(3, validate_args=False).log_prob(x), fullgraph=True, backend="aot_eager"
    )
    found = function(normalize(torch.ones(4, 3), dim=-1))
    torch.testing.assert_close(found, torch.full((4,), -math.log(4 * math.pi)))


def test_jacfwd_of_a_mean():
    """Forward mode alone, as in `torch.func.jacfwd`, through the special functions."""
    loc, k = normalize(torch.randn(6, dtype=torch.float64), dim=0), torch.tensor(3.0, dtype=torch.float64)
    found = jacfwd(lambda k: VonMisesFisher(loc, k, validate_args=False).mean)(k)
    torch.testing.assert_close(found, von_mises_fisher(3.0, 6).central_moment(2) * loc, rtol=1e-8, atol=0)
