"""Products of laws: against SciPy's laws of the parts, and against samples.

Statistical checks are counted by `error_rate`.
"""

import copy
import math
import pickle

import pytest
import torch
from error_rate import check_p_values, mean_p_value
from installed import unpickles_tensors
from scipy.stats import norm, vonmises_fisher
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal, kl_divergence

from hvae_tutorial.distributions import HypersphericalUniform, PowerSpherical, Product, VonMisesFisher


def directions(*shape: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(shape, dtype=torch.float64), dim=-1)


def normal(batch: tuple[int, ...], validate_args: bool | None = None) -> Independent:
    loc, scale = torch.randn(*batch, 2).double(), 0.3 + torch.rand(*batch, 2).double()
    return Independent(Normal(loc, scale, validate_args=validate_args), 1, validate_args=validate_args)


def parts(*batch: int) -> list[Distribution]:
    """A sphere, a plane and another sphere, with 3, 2 and 4 coordinates."""
    kappas = 1 + 5 * torch.rand(2, *batch).double()
    return [
        VonMisesFisher(directions(*batch, 3), kappas[0]),
        normal(batch),
        PowerSpherical(directions(*batch, 4), kappas[1]),
    ]


def prior() -> Product:
    uniform = [HypersphericalUniform(m, dtype=torch.float64) for m in (3, 4)]
    plane = Independent(Normal(torch.zeros(2).double(), 1.0), 1)
    return Product([uniform[0], plane, uniform[1]])


def check_mean(values: Tensor, expected: Tensor) -> None:
    """Check means over the first axis, of one number or of several."""
    columns = values.reshape(len(values), -1).numpy()
    expected = expected.expand(values.shape[1:]).reshape(-1)
    check_p_values(**{f"mean_{i}": mean_p_value(columns[:, i], float(expected[i])) for i in range(columns.shape[1])})


@pytest.mark.parametrize("batch", [(), (1,), (5,), (2, 3)])
def test_shapes(batch):
    law = Product(parts(*batch))
    assert law.batch_shape == batch
    assert law.event_shape == (9,)
    assert law.has_rsample
    for sample_shape in ((), (1,), (4,), (4, 2)):
        for z in (law.sample(sample_shape), law.rsample(sample_shape)):
            assert z.shape == (*sample_shape, *batch, 9)
            assert z.dtype == torch.float64
            assert law.support.check(z).all()
            assert law.log_prob(z).shape == (*sample_shape, *batch)
    assert law.entropy().shape == batch
    assert law.mean.shape == law.mode.shape == law.variance.shape == law.stddev.shape == (*batch, 9)


def test_nothing_to_draw():
    # of spheres: torch's own Independent refuses empty batches
    law = Product([VonMisesFisher(directions(0, 3), 2.0), PowerSpherical(directions(0, 2), 2.0)])
    for sample_shape in ((), (4,), (2, 0)):
        z = law.rsample(sample_shape)
        assert z.shape == (*sample_shape, 0, 5)
        assert law.log_prob(z).shape == (*sample_shape, 0)
    assert law.entropy().shape == (0,)


def test_log_prob_is_scipys():
    mu, kappa = directions(2, 3), (2.0, 30.0)
    law = Product(
        [
            VonMisesFisher(mu[0], kappa[0]),
            Independent(Normal(torch.tensor([0.5, -1.0]).double(), torch.tensor([2.0, 0.1]).double()), 1),
            VonMisesFisher(mu[1], kappa[1]),
        ]
    )
    z = law.sample((20,))
    expected = (
        vonmises_fisher(mu[0].numpy(), kappa[0]).logpdf(z[:, :3].numpy())
        + norm([0.5, -1.0], [2.0, 0.1]).logpdf(z[:, 3:5].numpy()).sum(-1)
        + vonmises_fisher(mu[1].numpy(), kappa[1]).logpdf(z[:, 5:].numpy())
    )
    torch.testing.assert_close(law.log_prob(z), torch.from_numpy(expected))


def test_moments_and_independence():
    law = Product(parts())
    z = law.sample((40_000,))
    check_mean(z, law.mean)
    check_mean((z - law.mean) ** 2, law.variance)
    centred = z - law.mean
    for i, j in ((0, 3), (2, 8), (4, 5)):  # of different parts
        check_mean(centred[:, i] * centred[:, j], torch.zeros(()))


def test_entropy_and_divergence_against_samples():
    q, p = Product(parts()), prior()
    z = q.sample((40_000,))
    check_mean(-q.log_prob(z), q.entropy())
    check_mean(q.log_prob(z) - p.log_prob(z), kl_divergence(q, p))


def test_entropy_and_divergence_are_sums():
    some, others = parts(5), prior().parts
    law = Product(some)
    torch.testing.assert_close(law.entropy(), sum(part.entropy() for part in some))
    expected = sum(kl_divergence(part, other) for part, other in zip(some, others, strict=True))
    torch.testing.assert_close(kl_divergence(law, prior()), expected)


def test_mean_mode_and_variance_are_those_of_the_parts():
    some = parts(5)
    law = Product(some)
    for name in ("mean", "mode", "variance"):
        for piece, part in zip(law.split(getattr(law, name)), some, strict=True):
            assert torch.equal(piece, getattr(part, name))


def test_gradients_reach_the_parameters_of_every_part():
    loc, kappa = directions(2, 3).requires_grad_(), torch.tensor([2.0, 5.0]).double().requires_grad_()
    law = Product([VonMisesFisher(loc[i], kappa[i]) for i in (0, 1)])
    z = law.rsample((20_000,))
    weights = torch.tensor([1.0, 2.0, 3.0, -1.0, 0.5, 2.0]).double()
    (gradient,) = torch.autograd.grad((z @ weights).mean(), kappa, retain_graph=True)
    # d/dkappa of E[weights . z] = (weights_i . mu_i) A'(kappa_i), for m = 3: A' = 1/kappa^2 - 1/sinh^2(kappa)
    slope = 1 / kappa**2 - 1 / torch.sinh(kappa) ** 2
    expected = (weights.reshape(2, 3) * loc).sum(-1) * slope
    torch.testing.assert_close(gradient, expected.detach(), rtol=0.05, atol=0.005)
    (gradient,) = torch.autograd.grad(kl_divergence(law, Product([HypersphericalUniform(3)] * 2)), kappa)
    torch.testing.assert_close(gradient, (kappa * slope).detach())
    assert not law.sample((2,)).requires_grad


@unpickles_tensors
def test_expand_broadcast_and_copies():
    law = Product(parts())
    wide = law.expand((2, 3))
    z = law.sample((4, 1, 1))
    assert wide.batch_shape == (2, 3)
    assert wide.sample().shape == (2, 3, 9)
    torch.testing.assert_close(wide.log_prob(z), law.log_prob(z).expand(4, 2, 3))
    for other in (copy.deepcopy(law), pickle.loads(pickle.dumps(law))):
        assert torch.equal(other.log_prob(z), law.log_prob(z))
    mixed = Product([HypersphericalUniform(3, dtype=torch.float64), normal((5,))])
    assert mixed.batch_shape == (5,)
    assert mixed.sample((2,)).shape == (2, 5, 5)


def test_inside_independent_mixtures_and_products():
    law = Product(parts(6))
    assert Independent(law, 1).log_prob(law.sample((2,))).shape == (2,)
    mixture = MixtureSameFamily(Categorical(torch.ones(6)), law)
    z = mixture.sample((3,))
    torch.testing.assert_close(mixture.log_prob(z), law.log_prob(z[:, None]).logsumexp(-1) - math.log(6))
    nested = Product([law, normal((6,))])
    z = nested.sample()
    torch.testing.assert_close(nested.log_prob(z), law.log_prob(z[:, :9]) + nested.parts[1].log_prob(z[:, 9:]))


def test_values_are_checked_part_by_part():
    law = Product(parts(2))
    z = law.sample()
    z[1, 0] += 0.1  # off the first sphere
    assert law.support.check(z).tolist() == [True, False]
    with pytest.raises(ValueError, match="to be within the support"):
        law.log_prob(z)
    unchecked = Product([normal(()), *parts()[:1]], validate_args=False)
    assert not unchecked._validate_args


def no_parts() -> list[Distribution]:
    return []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_parts, "parts must have at least one distribution, got none"),
        (lambda: [Normal(0.0, 1.0)], r"parts must have event shapes \(m,\), got \(\) of Normal"),
        (
            lambda: [normal((2,)), normal((3,))],
            r"parts must have batch shapes that broadcast, got \[\(2,\), \(3,\)\]",
        ),
    ],
)
def test_bad_parts(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Product(make())


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (normal((2,)), "parts must be a sequence of distributions, got Independent"),
        (torch.ones(2), "parts must be a sequence of distributions, got Tensor"),
        ([torch.ones(2)], "parts must be distributions, got Tensor"),
    ],
)
def test_what_is_no_part(parts, message):
    with pytest.raises(TypeError, match=f"^{message}"):
        Product(parts)


def test_parts_may_come_one_by_one():
    assert Product(normal((2,)) for _ in range(2)).event_shape == Product([normal((2,))] * 2).event_shape


def test_divergence_between_different_products():
    other = Product([normal(()), HypersphericalUniform(3, dtype=torch.float64)])
    with pytest.raises(ValueError, match=r"parts of the same sizes, got \(3, 2, 4\) and \(2, 3\)"):
        kl_divergence(Product(parts()), other)


def test_repr_names_the_parts():
    assert repr(Product([HypersphericalUniform(3), HypersphericalUniform(2)])) == (
        "Product(HypersphericalUniform(m: 3, batch_shape: ()), HypersphericalUniform(m: 2, batch_shape: ()))"
    )
