"""The head of a product of latent spaces.

Statistical checks fix the seed and allow 4.5 standard errors: each fails by chance with probability 7e-6; there are 8.
"""

import itertools
import math

import pytest
import torch
from torch.distributions import kl_divergence
from torch.nn import functional as F

from hvae_tutorial.models import (
    DeterministicPosterior,
    GaussianPosterior,
    PowerSphericalPosterior,
    ProductPosterior,
    VonMisesFisherPosterior,
)

PRODUCTS = {
    "circles": lambda: [VonMisesFisherPosterior(7, 1) for _ in range(3)],
    "spheres": lambda: [VonMisesFisherPosterior(7, 2), VonMisesFisherPosterior(7, 4)],
    "plane x sphere": lambda: [GaussianPosterior(7, 2), VonMisesFisherPosterior(7, 3)],
    "all": lambda: [PowerSphericalPosterior(7, 2), GaussianPosterior(7, 1), VonMisesFisherPosterior(7, 2)],
}
DIMENSIONS = {"circles": (3, 6), "spheres": (6, 8), "plane x sphere": (5, 6), "all": (5, 7)}
every_product = pytest.mark.parametrize("name", PRODUCTS)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


EMPTY = ("circles", (0,))  # torch's Independent has no density for an empty batch: with a plane there is none


@pytest.mark.parametrize(("name", "batch"), [*itertools.product(PRODUCTS, [(), (4,), (3, 2)]), EMPTY])
def test_shapes(name, batch):
    head = ProductPosterior(PRODUCTS[name]())
    d, m = DIMENSIONS[name]
    assert (head.d, head.ambient_dim) == (d, m)
    q = head(torch.randn(*batch, 7))
    assert q.batch_shape == batch
    assert q.event_shape == (m,)
    assert q.rsample((5,)).shape == (5, *batch, m)
    assert q.mode.shape == q.mean.shape == (*batch, m)
    assert q.entropy().shape == head.kl(q).shape == batch
    assert q.log_prob(q.sample()).shape == batch
    assert head.prior().log_prob(q.sample()).shape == batch


@every_product
def test_kl_is_the_sum_the_registered_one_and_that_of_samples(name):
    heads = PRODUCTS[name]()
    head = ProductPosterior(heads).double()
    h = 4 * torch.randn(7, dtype=torch.float64)
    q = head(h)
    kl = head.kl(q)
    torch.testing.assert_close(kl, sum(one.kl(one(h)) for one in heads))
    torch.testing.assert_close(kl, kl_divergence(q, head.prior()))
    z = q.sample((20_000,))
    log_ratio = q.log_prob(z) - head.prior().log_prob(z)
    assert abs(log_ratio.mean() - kl) < 4.5 * log_ratio.std() / 20_000**0.5
    assert abs(q.entropy() + q.log_prob(z).mean()) < 4.5 * q.log_prob(z).std() / 20_000**0.5


@every_product
def test_z_is_written_part_after_part(name):
    heads = PRODUCTS[name]()
    head = ProductPosterior(heads)
    h = torch.randn(4, 7)
    q = head(h)
    z = q.sample()
    start = 0
    log_prob = torch.zeros(4)
    for one in heads:
        piece = slice(start, start + one.ambient_dim)
        torch.testing.assert_close(q.mode[:, piece], one(h).mode)
        log_prob += one(h).log_prob(z[:, piece])
        start = piece.stop
    assert start == head.ambient_dim
    torch.testing.assert_close(q.log_prob(z), log_prob)


@every_product
def test_gradients_reach_every_parameter(name):
    head = ProductPosterior(PRODUCTS[name]())
    q = head(torch.randn(10, 7))
    (head.kl(q).sum() + (q.rsample() * torch.arange(1.0, head.ambient_dim + 1)).sum()).backward()
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


def test_one_part_is_the_part_itself():
    one = VonMisesFisherPosterior(7, 3)
    head = ProductPosterior([one])
    h = torch.randn(5, 7)
    assert (head.d, head.ambient_dim) == (3, 4)
    assert torch.equal(head.kl(head(h)), one.kl(one(h)))
    assert torch.equal(head(h).mode, one(h).mode)


def test_every_sphere_has_its_own_concentration():
    heads = [VonMisesFisherPosterior(7, 2), VonMisesFisherPosterior(7, 2)]
    for head, wanted in zip(heads, (3.0, 500.0), strict=True):
        torch.nn.init.constant_(head.raw_concentration.bias, wanted)
    q = ProductPosterior(heads)(torch.zeros(1, 7))
    assert [part.concentration.item() for part in q.parts] == pytest.approx([3 + math.log1p(math.exp(-3)) + 1, 501])


@every_product
def test_the_training_step_is_not_validated(name, monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a value was checked")

    head = ProductPosterior(PRODUCTS[name]())
    q = head(torch.full((2, 7), math.nan))  # a check of any parameter would raise
    head.kl(q)
    q, p = head(torch.randn(2, 7)), head.prior()
    for law in (q, p, *q.parts, *p.parts):
        monkeypatch.setattr(type(law), "_validate_sample", refuse)
    p.log_prob(q.rsample())
    q.log_prob(q.rsample())


@every_product
def test_the_prior_lives_where_the_head_lives(name):
    head = ProductPosterior(PRODUCTS[name]()).double()
    z = head.prior().sample((6,))
    assert z.shape == (6, head.ambient_dim)
    assert z.dtype == torch.float64
    assert head.prior().support.check(z).all()


def test_distance_is_straight_and_begins_as_the_angle():
    head = ProductPosterior(PRODUCTS["spheres"]())
    a, b = (
        torch.cat([F.normalize(torch.randn(2, 5, m, dtype=torch.float64), dim=-1) for m in (3, 5)], dim=-1)
        for _ in range(2)
    )
    distance = head.distance(a, b)
    assert distance.shape == (2, 5, 5)
    cosines = [a[..., part] @ b[..., part].mT for part in (slice(0, 3), slice(3, 8))]
    torch.testing.assert_close(distance, sum(2 * (1 - cosine) for cosine in cosines).sqrt())
    torch.testing.assert_close(head.distance(a, -a).diagonal(dim1=1, dim2=2), torch.full((2, 5), math.sqrt(8)).double())
    angle = 0.01
    near = torch.tensor([[1, 0, 0, math.cos(angle), math.sin(angle), 0, 0, 0]], dtype=torch.float64)
    zero = torch.tensor([[1.0, 0, 0, 1, 0, 0, 0, 0]], dtype=torch.float64)
    assert head.distance(near, zero).item() == pytest.approx(angle * (1 - angle**2 / 24), rel=1e-8)


def test_distance_in_a_plane_times_a_sphere():
    head = ProductPosterior(PRODUCTS["plane x sphere"]())
    zero = torch.tensor([[0.0, 0, 1, 0, 0, 0]])
    moved = torch.tensor([[3.0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0], [3, 0, -1, 0, 0, 0]])
    torch.testing.assert_close(head.distance(zero, moved), torch.tensor([[3, 2**0.5, 13**0.5]]))


@every_product
def test_the_metric_ranks_as_the_distance_does(name):
    from sklearn.metrics import pairwise_distances

    head = ProductPosterior(PRODUCTS[name]())
    z = head(torch.randn(20, 7)).mode.detach().double()
    ranks = head.distance(z[:1], z[1:]).argsort()
    theirs = torch.from_numpy(pairwise_distances(z[:1], z[1:], metric=head.metric)).argsort()
    assert torch.equal(ranks, theirs)


def test_with_an_autoencoder_as_a_part():
    head = ProductPosterior([DeterministicPosterior(7, 2), VonMisesFisherPosterior(7, 2)])
    q = head(torch.randn(3, 7))
    assert torch.equal(head.kl(q), head.heads[1].kl(q.parts[1]))
    assert q.rsample((4,)).shape == (4, 3, 5)
    with pytest.raises(NotImplementedError, match=r"autoencoder .* has no prior over z"):
        head.prior()


def test_a_product_of_products():
    inner = ProductPosterior(PRODUCTS["circles"]())
    head = ProductPosterior([inner, GaussianPosterior(7, 2)])
    assert (head.d, head.ambient_dim) == (5, 8)
    q = head(torch.randn(3, 7))
    torch.testing.assert_close(head.kl(q), kl_divergence(q, head.prior()))


def test_heads_must_be_there():
    with pytest.raises(ValueError, match=r"^heads must have at least one posterior head, got none$"):
        ProductPosterior([])
    with pytest.raises(TypeError, match=r"^heads must be posterior heads, got Linear$"):
        ProductPosterior([torch.nn.Linear(2, 2)])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"^heads must be a sequence of posterior heads, got GaussianPosterior$"):
        ProductPosterior(GaussianPosterior(8, 2))
    assert ProductPosterior(GaussianPosterior(8, 2) for _ in range(2)).d == 4
