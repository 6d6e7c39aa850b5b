"""A head gives the stated parametrisation of q(z|x), the KL that torch has registered, and its space's own distance."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Independent, kl_divergence
from torch.nn import functional as F

from hvae_tutorial.distributions import PowerSpherical, SphericalCauchy, VonMisesFisher
from hvae_tutorial.models import (
    DeterministicPosterior,
    GaussianPosterior,
    PointMass,
    PowerSphericalPosterior,
    SphericalCauchyPosterior,
    VonMisesFisherPosterior,
)
from hvae_tutorial.models.posteriors import POSTERIORS

PLANE = [GaussianPosterior, DeterministicPosterior]
SPHERE = [VonMisesFisherPosterior, PowerSphericalPosterior, SphericalCauchyPosterior]
WITH_PRIOR = [GaussianPosterior, *SPHERE]


@pytest.mark.parametrize(
    ("letter", "law"),
    [("n", Independent), ("s", VonMisesFisher), ("ps", PowerSpherical), ("c", SphericalCauchy), ("ae", PointMass)],
)
def test_each_letter_names_its_law(letter, law):
    assert type(POSTERIORS[letter](7, 3)(torch.randn(2, 7))) is law


@pytest.mark.parametrize("head_class", PLANE + SPHERE)
@pytest.mark.parametrize("batch", [(), (4,), (3, 2), (0,)])
def test_shapes(head_class, batch):
    head = head_class(7, 3)
    assert head.d == 3
    assert head.ambient_dim == (4 if head_class in SPHERE else 3)
    q = head(torch.randn(*batch, 7))
    assert q.batch_shape == batch
    assert q.event_shape == (head.ambient_dim,)
    assert q.rsample((5,)).shape == (5, *batch, head.ambient_dim)
    assert q.mode.shape == q.mean.shape == (*batch, head.ambient_dim)
    assert head.kl(q).shape == batch


@pytest.mark.parametrize("head_class", WITH_PRIOR)
def test_the_prior_lives_where_the_head_lives(head_class):
    head = head_class(7, 3).double()
    prior = head.prior()
    assert prior.event_shape == (head.ambient_dim,)
    z = prior.sample((6,))
    assert z.dtype == torch.float64
    assert prior.log_prob(z).shape == (6,)


def test_gaussian_formulas():
    head = GaussianPosterior(5, 2)
    h = torch.randn(8, 5)
    q = head(h)
    torch.testing.assert_close(q.mean, h @ head.mean.weight.T)
    torch.testing.assert_close(q.stddev, F.softplus(h @ head.raw_scale.weight.T))
    torch.testing.assert_close(head.prior().mean, torch.zeros(2))
    torch.testing.assert_close(head.prior().stddev, torch.ones(2))


@pytest.mark.parametrize("head_class", SPHERE)
def test_sphere_formulas(head_class):
    head = head_class(5, 2)
    torch.nn.init.normal_(head.raw_concentration.bias)
    h = torch.randn(8, 5)
    q = head(h)
    direction = h @ head.direction.weight.T
    torch.testing.assert_close(q.mode, direction / direction.norm(dim=-1, keepdim=True))
    raw = (h @ head.raw_concentration.weight.T).squeeze(-1) + head.raw_concentration.bias
    torch.testing.assert_close(q.concentration, F.softplus(raw) + 1)
    torch.testing.assert_close(head.prior().log_prob(q.mode), torch.full((8,), -math.log(4 * math.pi)))


@pytest.mark.parametrize("head_class", SPHERE)
def test_features_that_are_all_zero_have_a_direction_and_no_part_in_its_gradient(head_class):
    """As of a node without words and neighbours: a zero divided by 1e-12 gave the bias a gradient of 1e12."""
    head = head_class(5, 3)
    h = torch.randn(8, 5)
    gradients = []
    for silent in (0, 3):
        q = head(torch.cat([h, torch.zeros(silent, 5)]))
        torch.testing.assert_close(q.loc.norm(dim=-1), torch.ones(8 + silent))
        torch.testing.assert_close(q.rsample().norm(dim=-1), torch.ones(8 + silent))
        (gradient,) = torch.autograd.grad(q.loc[:, 0].sum(), head.direction.bias)
        gradients.append(gradient)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("head_class", SPHERE)
def test_fault_6_the_concentration_has_no_cap(head_class):
    head = head_class(5, 5).double()
    h = torch.zeros(1, 5, dtype=torch.float64)
    kl = []
    for wanted in (6e2, 6e3, 6e4, 6e5):  # a cap at 100 m would hold all of them at 600
        torch.nn.init.constant_(head.direction.bias, 1.0)
        torch.nn.init.constant_(head.raw_concentration.bias, wanted)
        head.zero_grad()
        q = head(h)
        assert q.concentration.item() == pytest.approx(wanted + 1)
        value = head.kl(q).sum()
        value.backward()
        # KL grows as (m - 1)/2 log kappa: its gradient never vanishes.
        assert head.raw_concentration.bias.grad.item() * wanted == pytest.approx(5 / 2, rel=0.02)
        kl.append(value.item())
    steps = [after - before for before, after in itertools.pairwise(kl)]
    assert steps == pytest.approx([5 / 2 * math.log(10)] * 3, rel=0.02)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), d=st.integers(1, 12), spread=st.floats(0.01, 30))
def test_gaussian_kl_is_torchs_own_and_never_negative(seed, d, spread):
    torch.manual_seed(seed)
    head = GaussianPosterior(6, d).double()
    q = head(spread * torch.randn(4, 6, dtype=torch.float64))
    kl = head.kl(q)
    torch.testing.assert_close(kl, kl_divergence(q, head.prior()))
    assert (kl >= -1e-12).all()


@pytest.mark.parametrize("head_class", SPHERE)
def test_sphere_kl_is_the_registered_one(head_class):
    head = head_class(6, 4)
    q = head(10 * torch.randn(20, 6))
    torch.testing.assert_close(head.kl(q), kl_divergence(q, head.prior()))
    assert (head.kl(q) >= 0).all()


@pytest.mark.parametrize("head_class", PLANE + SPHERE)
def test_gradients_reach_every_parameter(head_class):
    torch.manual_seed(0)
    head = head_class(6, 3)
    q = head(torch.randn(10, 6))
    (head.kl(q).sum() + (q.rsample() * torch.arange(1.0, head.ambient_dim + 1)).sum()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("head_class", PLANE + SPHERE)
def test_glorot_weights_and_zero_biases(head_class):
    torch.manual_seed(0)
    head = head_class(200, 50)
    for layer in head.children():
        out_features, in_features = layer.weight.shape
        bound = math.sqrt(6 / (in_features + out_features))
        assert layer.weight.abs().max() <= bound
        assert layer.weight.abs().max() > 0.95 * bound  # uniform up to the bound, not narrower
        assert (layer.bias == 0).all()


def test_a_point_mass_is_where_the_features_say():
    head = DeterministicPosterior(4, 2)
    h = torch.randn(3, 4)
    q = head(h)
    assert isinstance(q, PointMass)
    assert q.has_rsample  # the encoder is trained through it
    expected = h @ head.mean.weight.T
    torch.testing.assert_close(q.rsample((2,)), expected.expand(2, 3, 2))
    torch.testing.assert_close(q.mean, expected)
    assert (head.kl(q) == 0).all()


def test_an_autoencoder_has_no_prior():
    with pytest.raises(NotImplementedError, match=r"autoencoder .* has no prior over z"):
        DeterministicPosterior(4, 2).prior()


@pytest.mark.parametrize("head_class", PLANE)
def test_distance_in_the_plane(head_class):
    a = torch.randn(40, 3)
    b = torch.cat([torch.randn(30, 3), a[:1] + 1e-5])
    distance = head_class(4, 3).distance(a, b)
    torch.testing.assert_close(distance, (a[:, None] - b).norm(dim=-1))
    assert distance[0, -1] == pytest.approx(1e-5 * math.sqrt(3), rel=0.05)  # nothing cancels between near points


@pytest.mark.parametrize("head_class", SPHERE)
def test_distance_on_the_sphere(head_class):
    head = head_class(4, 3)
    a = F.normalize(torch.randn(2, 5, 4, dtype=torch.float64), dim=-1)
    b = F.normalize(torch.randn(2, 6, 4, dtype=torch.float64), dim=-1)
    distance = head.distance(a, b)
    assert distance.shape == (2, 5, 6)
    torch.testing.assert_close(distance, torch.arccos(a @ b.mT))
    torch.testing.assert_close(head.distance(a, -a).diagonal(dim1=1, dim2=2), torch.full((2, 5), math.pi).double())


@pytest.mark.parametrize("head_class", PLANE + SPHERE)
def test_the_metric_ranks_as_the_distance_does(head_class):
    from sklearn.metrics import pairwise_distances

    torch.manual_seed(0)
    head = head_class(4, 3)
    z = head(torch.randn(20, 4)).mode.detach().double()
    ranks = head.distance(z[:1], z[1:]).argsort()
    theirs = torch.from_numpy(pairwise_distances(z[:1], z[1:], metric=head.metric)).argsort()
    assert torch.equal(ranks, theirs)


@pytest.mark.parametrize("head_class", PLANE + SPHERE)
@pytest.mark.parametrize("d", [0, -1, 2.0, True, "3"])
def test_d_must_be_a_positive_integer(head_class, d):
    with pytest.raises(ValueError, match=f"d must be an integer >= 1, got {d!r}"):
        head_class(4, d)
