"""M2 and M1+M2, against sums and integrals over all their latent variables."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hvae_tutorial.models import M1M2, VAE, LatentLikelihood, StackedM1M2, VonMisesFisherPosterior, mlp_m1m2, mlp_m2
from hvae_tutorial.models.m2 import ClassConditional
from hvae_tutorial.objectives import labelled_bound, unlabelled_bound

PAIRS = ["nn", "ss", "sn", "ns", ("ps", "n"), ("s", "ps"), ("c", "c")]
ALL_X = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3)  # (8, 3)


def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give a model in float64 weights that make it far from its start, so that no term is small by accident."""
    torch.manual_seed(seed)
    model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    return model


def circle(n: int) -> Tensor:
    """Return n points of S^1 at equal angles: nodes with weights 2 pi / n, exact to rounding for smooth functions."""
    angles = torch.arange(n, dtype=torch.float64) * (2 * math.pi / n)
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


def one_hot(y: int, num_classes: int = 3) -> Tensor:
    return torch.eye(num_classes, dtype=torch.float64)[y]


def test_a_class_conditional_layer_is_a_linear_layer_on_both():
    torch.manual_seed(0)
    layer = ClassConditional(4, 3, 5, [nn.Linear(5, 2)])
    x, y = torch.randn(7, 4), torch.eye(3)[torch.arange(7) % 3]
    torch.testing.assert_close(layer(x, y), layer.last(torch.relu(layer.hidden(torch.cat([x, y], -1)))))


@pytest.mark.parametrize("kind", ["n", "s", "ps", "c"])
def test_terms_of_each_class_are_those_of_a_vae_that_is_told_the_class(kind):
    model = shaken(mlp_m2(kind, 2, x_dim=4, hidden=6, num_classes=3))
    x = torch.rand(5, 4, dtype=torch.float64)
    terms = model.class_terms(x)
    assert terms.logits.shape == (5, 3)
    assert terms.reconstruction.shape == terms.kl.shape == (3, 5)
    for y in range(3):
        q = model.posterior(model.encoder(x, one_hot(y)))
        torch.testing.assert_close(terms.kl[y], model.posterior.kl(q))
    part = terms.of_points(slice(1, 3))
    torch.testing.assert_close(part.kl, terms.kl[:, 1:3])
    torch.testing.assert_close(part.logits, terms.logits[1:3])


@pytest.mark.parametrize("make", [lambda: mlp_m2("s", 2, x_dim=4), lambda: mlp_m1m2("sn", 2, 2, x_dim=4, hidden=(6,))])
@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_bounds_agree_where_the_class_is_certain(make, beta):
    model = make()
    m2 = getattr(model, "m2", model)
    last = m2.classifier[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.eye(10)[7] * 1e4)  # q(y|x) is one-hot
    x = torch.rand(5, 4).round()
    torch.manual_seed(1)
    unlabelled = unlabelled_bound(model, x, beta)
    torch.manual_seed(1)
    labelled = labelled_bound(model, x, torch.full((5,), 7), beta)
    torch.testing.assert_close(unlabelled, labelled)
    torch.testing.assert_close(labelled.elbo, labelled.reconstruction - beta * labelled.kl)


def log_joint_of_m2(model, z: Tensor) -> Tensor:
    """Return log p(x, y, z) for all x, y and z: (8, 3, nodes)."""
    prior = model.posterior.prior().log_prob(z)
    rows = []
    for y in range(3):
        output = model.decoder(z, one_hot(y))  # (nodes, 3)
        rows.append(model.likelihood.log_prob(ALL_X[:, None], output) + prior - math.log(3))
    return torch.stack(rows, dim=1)


def test_m2s_bounds_against_quadrature():
    """The bounds are log p(x) and log p(x, y) minus the KL divergence to the true posterior: all of it by quadrature.

    16 means of 5,000 draws, none further than 5 standard errors from its integral: error rate 1e-5.
    """
    model = shaken(mlp_m2("s", 1, x_dim=3, hidden=5, num_classes=3))
    z = circle(500)
    log_weight = math.log(2 * math.pi / 500)
    joint = log_joint_of_m2(model, z)
    log_p = (joint + log_weight).flatten(1).logsumexp(1)  # log p(x)
    assert abs(log_p.exp().sum() - 1) < 1e-12
    log_p_xy = (joint + log_weight).logsumexp(2)  # (8, 3)

    # (8, 3, nodes): log q(z|x,y)
    q = torch.stack([model.posterior(model.encoder(ALL_X, one_hot(y))).log_prob(z[:, None]).T for y in range(3)], dim=1)
    labelled = ((q + log_weight).exp() * (joint - q)).sum(2)  # E_q[log p(x, y, z) - log q(z|x, y)]
    log_qy = model.class_logits(ALL_X).log_softmax(-1)
    unlabelled = (log_qy.exp() * (labelled - log_qy)).sum(1)
    assert (labelled < log_p_xy).all()
    assert (unlabelled < log_p).all()

    torch.manual_seed(0)
    n = 5_000
    draws = unlabelled_bound(model, ALL_X.repeat(n, 1)).elbo.reshape(n, 8)
    assert ((draws.mean(0) - unlabelled).abs() < 5 * draws.std(0) / n**0.5).all()
    draws = labelled_bound(model, ALL_X.repeat(n, 1), torch.ones(8 * n, dtype=torch.long)).elbo.reshape(n, 8)
    assert ((draws.mean(0) - labelled[:, 1]).abs() < 5 * draws.std(0) / n**0.5).all()


def test_m1m2s_bounds_against_quadrature():
    """The same for M1+M2: z1 and z2 on circles. That all p(x) sum to 1 holds only if p(z1|y,z2) is a density.

    16 means of 5,000 draws, none further than 5 standard errors from its integral: error rate 1e-5.
    """
    model = shaken(mlp_m1m2("ss", 1, 1, x_dim=3, hidden=(5,), m2_hidden=5, num_classes=3), seed=1)
    m1, m2 = model.m1, model.m2
    z1, z2 = circle(200), circle(200)
    log_weight = math.log(2 * math.pi / 200)
    rows, inner = [], []
    for y in range(3):
        p_z1 = m2.likelihood.log_prob(z1[:, None], m2.decoder(z2, one_hot(y)))  # (z1, z2)
        joint = p_z1 + m2.posterior.prior().log_prob(z2) - math.log(3)
        rows.append((joint + log_weight).logsumexp(1))
        q2 = m2.posterior(m2.encoder(z1, one_hot(y))).log_prob(z2[:, None]).T  # (z1, z2)
        inner.append(((q2 + log_weight).exp() * (joint - q2)).sum(1))  # M2's bound on log p(z1, y), at each z1
    p_z1y, bound = torch.stack(rows, 1), torch.stack(inner, 1)  # (z1, 3)
    p_x_z1 = m1.likelihood.log_prob(ALL_X[:, None], m1.decoder(z1))  # (8, z1)
    log_p_xy = (p_x_z1[..., None] + p_z1y + log_weight).logsumexp(1)  # (8, 3)
    log_p = log_p_xy.logsumexp(1)
    assert abs(log_p.exp().sum() - 1) < 1e-12

    q1 = m1.encode(ALL_X).log_prob(z1[:, None]).T  # (8, z1)
    log_qy = m2.class_logits(z1).log_softmax(-1)
    over_classes = (log_qy.exp() * (bound - log_qy)).sum(1)  # (z1,)
    density = (q1 + log_weight).exp()
    unlabelled = (density * (p_x_z1 + over_classes - q1)).sum(1)
    labelled = (density * (p_x_z1 + bound[:, 1] - q1)).sum(1)
    assert (labelled < log_p_xy[:, 1]).all()
    assert (unlabelled < log_p).all()

    torch.manual_seed(0)
    n = 5_000
    draws = unlabelled_bound(model, ALL_X.repeat(n, 1)).elbo.reshape(n, 8)
    assert ((draws.mean(0) - unlabelled).abs() < 5 * draws.std(0) / n**0.5).all()
    draws = labelled_bound(model, ALL_X.repeat(n, 1), torch.ones(8 * n, dtype=torch.long)).elbo.reshape(n, 8)
    assert ((draws.mean(0) - labelled).abs() < 5 * draws.std(0) / n**0.5).all()


def test_iwae_lies_between_the_bound_and_the_likelihood():
    """The importance-weighted estimate of log p(x) with classes summed: above the bound, and log p(x) in the limit.

    8 estimates from 20,000 draws within 5 standard errors (delta method) of log p(x): error rate 5e-6.
    """
    model = shaken(mlp_m2("s", 1, x_dim=3, hidden=5, num_classes=3))
    log_p = (log_joint_of_m2(model, circle(500)) + math.log(2 * math.pi / 500)).flatten(1).logsumexp(1)
    torch.manual_seed(0)
    n = 20_000
    weights = 0
    for y in range(3):
        q = model.posterior(model.encoder(ALL_X, one_hot(y)))
        z = q.sample((n,))  # (n, 8, 2)
        log_likelihood = model.likelihood.log_prob(ALL_X, model.decoder(z, one_hot(y)))
        weights = weights + (log_likelihood + model.posterior.prior().log_prob(z) - q.log_prob(z)).exp() / 3
    estimate, error = weights.mean(0).log(), weights.std(0) / weights.mean(0) / n**0.5
    assert ((estimate - log_p).abs() < 5 * error).all()
    bound = unlabelled_bound(model, ALL_X.repeat(1000, 1)).elbo.reshape(1000, 8).mean(0)
    assert (bound < estimate).all()


@pytest.mark.parametrize("pair", PAIRS)
def test_gradients_reach_every_parameter(pair):
    torch.manual_seed(0)
    model = mlp_m1m2(pair, 3, 2, x_dim=6, hidden=(5,), m2_hidden=16)
    # m1's own prior has no parameter, so all of them are in the bound.
    (-unlabelled_bound(model, torch.rand(20, 6).round()).elbo.mean()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("pair", PAIRS)
def test_spaces_follow_the_pair(pair):
    model = mlp_m1m2(pair, 3, 2, x_dim=6, hidden=(5,))
    assert model.m1.posterior.ambient_dim == (3 if pair[0] == "n" else 4)
    assert model.m2.posterior.ambient_dim == (2 if pair[1] == "n" else 3)
    assert type(model.m2.likelihood.head) is type(model.m1.posterior)
    assert model.likelihood.x_dim == 6
    assert model.class_logits(torch.rand(4, 6)).shape == (4, 10)


def test_a_stacked_model_leaves_m1_as_it_is():
    torch.manual_seed(0)
    whole = mlp_m1m2("sn", 3, 2, x_dim=6, hidden=(5,))
    model = StackedM1M2(whole.m1, whole.m2)
    x = torch.rand(20, 6).round()
    (-unlabelled_bound(model, x).elbo.mean()).backward()
    assert all(parameter.grad is None for parameter in model.m1.parameters())
    assert all(parameter.grad is not None for parameter in model.m2.parameters())
    torch.manual_seed(1)
    terms = model.class_terms(x)
    torch.manual_seed(1)
    torch.testing.assert_close(terms, model.m2.class_terms(model.m1.encode(x).sample()))


def test_latent_likelihood_is_the_heads_density():
    head = VonMisesFisherPosterior(4, 2)
    likelihood = LatentLikelihood(head)
    h, z = torch.randn(5, 4), nn.functional.normalize(torch.randn(5, 3), dim=-1)
    assert likelihood.x_dim == 3
    torch.testing.assert_close(likelihood.log_prob(z, h), head(h).log_prob(z))
    torch.testing.assert_close(likelihood(h).log_prob(z), head(h).log_prob(z))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mlp_m2("x", 2), r"kind must be one of 's', 'n', 'ps', 'c', 'ae', got 'x'"),
        (lambda: mlp_m2("s", 0), r"d must be an integer >= 1, got 0"),
        (lambda: mlp_m2("s", 2, hidden=0), r"hidden must be an integer >= 1, got 0"),
        (lambda: mlp_m2("s", 2, num_classes=0), r"num_classes must be an integer >= 1, got 0"),
        (lambda: mlp_m2("s", 2, likelihood="x"), r"likelihood must be one of 'bernoulli', 'gaussian', got 'x'"),
        (lambda: mlp_m1m2("s", 2, 2), r"kinds must be two letters, for z1 and for z2, as 'sn' or .*, got 's'"),
        (lambda: mlp_m1m2("sa", 2, 2), r"every letter in kinds must be one of 's', 'n', 'ps', 'c', got 'a'"),
        (lambda: mlp_m1m2(("n", "ae"), 2, 2), r"every letter in kinds must be one of 's', 'n', 'ps', 'c', got 'ae'"),
        (lambda: mlp_m2("s", 2).class_terms(torch.rand(3, 5)), r"x must have shape \(batch, 784\), got \(3, 5\)"),
        (
            lambda: M1M2(mlp_m1m2("ss", 2, 2).m1, mlp_m1m2("nn", 2, 2).m2),
            r"m2 must explain the 3 coordinates of m1's latent space, but its likelihood has x_dim = 2",
        ),
        (
            lambda: labelled_bound(mlp_m2("s", 2, x_dim=4), torch.rand(3, 4), torch.zeros(2, dtype=torch.long)),
            r"y must have shape \(3,\), one class a data point, got \(2,\)",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_m1_is_an_ordinary_vae():
    assert isinstance(mlp_m1m2("sn", 2, 2).m1, VAE)


def test_integers_of_numpy():
    three, eight, twelve = np.int64(3), np.int32(8), np.uint8(12)
    m2 = mlp_m2("s", three, x_dim=twelve, hidden=eight, num_classes=three)
    assert repr(m2) == repr(mlp_m2("s", 3, x_dim=12, hidden=8, num_classes=3))
    widths = {"x_dim": twelve, "hidden": (eight,), "m2_hidden": eight, "num_classes": three}
    m1m2 = mlp_m1m2("sn", three, three, **widths)
    assert repr(m1m2) == repr(mlp_m1m2("sn", 3, 3, x_dim=12, hidden=(8,), m2_hidden=8, num_classes=3))
    for model in (m2, m1m2):
        assert type(model.num_classes) is type(model.likelihood.x_dim) is int
        assert unlabelled_bound(model, torch.ones(5, 12)).elbo.shape == (5,)


def test_a_model_may_be_built_without_memory():
    torch.manual_seed(0)
    source = mlp_m2("n", 2, x_dim=8, num_classes=3)
    with torch.device("meta"):
        model = mlp_m2("n", 2, x_dim=8, num_classes=3)
    model.to_empty(device="cpu").load_state_dict(source.state_dict())
    bounds = []
    for each in (source, model):
        torch.manual_seed(1)
        bounds.append(unlabelled_bound(each, torch.ones(4, 8)).elbo)
    assert torch.equal(*bounds)
    assert model.double().classes.dtype == torch.float64
