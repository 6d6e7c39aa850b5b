"""Under autocast layers compute in bfloat16; what follows them is in the precision of the model's weights."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hvae_tutorial.models import (
    M1M2,
    VAE,
    BernoulliLikelihood,
    GaussianLikelihood,
    GaussianPosterior,
    PowerSphericalPosterior,
    ProductPosterior,
    SphericalCauchyPosterior,
    StackedM1M2,
    VonMisesFisherPosterior,
    gcn_vgae,
    mlp_m1m2,
    mlp_m2,
    mlp_product_vae,
    mlp_vae,
    normalized_adjacency,
)
from hvae_tutorial.models.m2 import ClassConditional
from hvae_tutorial.objectives import (
    all_pairs,
    elbo,
    graph_elbo,
    held_out_elbo,
    iwae_bound,
    labelled_bound,
    unlabelled_bound,
)

X_DIM = 12
KINDS: list[tuple[str, int | tuple[int, ...]]] = [
    ("n", 3), ("s", 3), ("ps", 3), ("c", 3), ("ae", 3), ("n", (2, 3)), ("s", (2, 3)), ("ps", (2, 3)),
]  # fmt: skip
HEADS = [GaussianPosterior, VonMisesFisherPosterior, PowerSphericalPosterior, SphericalCauchyPosterior]


def autocast() -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16)


def in_both_precisions(model: nn.Module, compute: Callable[[], tuple[Tensor, ...]]) -> list[tuple[Tensor, Tensor]]:
    """What is computed under autocast, beside what float32 makes of the same bfloat16 outputs of the layers."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear | ClassConditional)]
    outputs: list[Tensor] = []
    keep = [layer.register_forward_hook(lambda module, inputs, output: outputs.append(output)) for layer in layers]
    torch.manual_seed(0)
    with autocast():
        lowered = compute()
    for hook in keep:
        hook.remove()
    assert {output.dtype for output in outputs} == {torch.bfloat16}  # else nothing is tested
    rest = iter(outputs)
    replace = [layer.register_forward_hook(lambda module, inputs, output: next(rest).float()) for layer in layers]
    torch.manual_seed(0)
    wide = compute()
    for hook in replace:
        hook.remove()
    assert next(rest, None) is None
    return list(zip(lowered, wide, strict=True))


def assert_equal(pairs: list[tuple[Tensor, Tensor]]) -> None:
    """Equal up to float32's rounding: bfloat16's is 4e-3."""
    for lowered, wide in pairs:
        assert lowered.dtype == torch.float32
        torch.testing.assert_close(lowered, wide, rtol=2e-6, atol=2e-6)


def pixels() -> Tensor:
    return torch.rand(40, X_DIM, generator=torch.Generator().manual_seed(3)).round()


def new_model(kind: str, d: int | tuple[int, ...], likelihood: str = "bernoulli") -> VAE:
    torch.manual_seed(0)
    build = mlp_vae if isinstance(d, int) else mlp_product_vae
    model = build(kind, d, x_dim=X_DIM, hidden=(8,), likelihood=likelihood)
    for parameter in model.parameters():
        parameter.data.mul_(3)  # concentrations and scales that differ from point to point
    return model


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize(("kind", "d"), KINDS)
def test_elbo(kind, d, likelihood):
    model = new_model(kind, d, likelihood)
    assert_equal(in_both_precisions(model, lambda: elbo(model, pixels())))


@pytest.mark.parametrize(("kind", "d"), [case for case in KINDS if case[0] != "ae"])
def test_iwae_bound(kind, d):
    model = new_model(kind, d)
    assert_equal(in_both_precisions(model, lambda: (iwae_bound(model, pixels(), 5),)))


@pytest.mark.parametrize("head_class", HEADS)
def test_law_of_a_head(head_class):
    torch.manual_seed(0)
    head = head_class(6, 4)
    h, z = torch.randn(30, 6), head.prior().sample((30,))

    def law() -> tuple[Tensor, ...]:
        q = head(h)
        return q.mean, q.entropy(), q.log_prob(z), head.kl(q), q.rsample()

    assert_equal(in_both_precisions(head, law))


def test_law_of_a_product():
    torch.manual_seed(0)
    head = ProductPosterior([head_class(6, 2) for head_class in HEADS])
    h = torch.randn(30, 6)
    assert_equal(in_both_precisions(head, lambda: (head.kl(head(h)), head(h).rsample())))


@pytest.mark.parametrize("head_class", HEADS)
def test_distance(head_class):
    head = head_class(6, 4)
    a, b = head.prior().sample((5,)), head.prior().sample((7,))
    expected = head.distance(a, b)
    with autocast():
        assert torch.equal(head.distance(a, b), expected)
    low = head.distance(a.bfloat16(), b.bfloat16())
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, head.distance(a.bfloat16().float(), b.bfloat16().float()))


@pytest.mark.parametrize("kind", ["n", "s"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_m2(kind, likelihood):
    torch.manual_seed(0)
    model = mlp_m2(kind, 3, x_dim=X_DIM, hidden=8, likelihood=likelihood, num_classes=3)
    x, y = pixels(), torch.arange(40) % 3
    assert_equal(in_both_precisions(model, lambda: unlabelled_bound(model, x) + labelled_bound(model, x, y)))
    assert_equal(in_both_precisions(model, lambda: (model.class_logits(x).log_softmax(-1),)))


@pytest.mark.parametrize("kinds", ["nn", "ss", "sn"])
@pytest.mark.parametrize("scheme", [M1M2, StackedM1M2])
def test_m1m2(kinds, scheme):
    torch.manual_seed(0)
    model = mlp_m1m2(kinds, 3, 2, x_dim=X_DIM, hidden=(8,), m2_hidden=8, num_classes=3)
    model = scheme(model.m1, model.m2)
    x, y = pixels(), torch.arange(40) % 3
    assert_equal(in_both_precisions(model, lambda: unlabelled_bound(model, x) + labelled_bound(model, x, y)))
    assert_equal(in_both_precisions(model, lambda: (model.class_logits(x).log_softmax(-1),)))


@pytest.mark.parametrize("kind", ["n", "s", "ps", "c"])
def test_vgae(kind):
    torch.manual_seed(0)
    model = gcn_vgae(kind, 3, x_dim=X_DIM, hidden=8)
    edges = torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]])
    x, adjacency = torch.randn(9, X_DIM), normalized_adjacency(edges, 9)

    def terms() -> tuple[Tensor, ...]:
        trained = graph_elbo(model, x, adjacency, edges, all_pairs(9))
        return trained + held_out_elbo(model, model.encode(x, adjacency), edges, edges.flip(0) + 4)

    assert_equal(in_both_precisions(model, terms))


@pytest.mark.parametrize(("kind", "d"), KINDS)
def test_a_float64_model_stays_float64(kind, d):
    model = new_model(kind, d).double()
    x = pixels().double()
    torch.manual_seed(0)
    expected = elbo(model, x)
    torch.manual_seed(0)
    with autocast():
        terms = elbo(model, x)
    for term, right in zip(terms, expected, strict=True):
        assert term.dtype == torch.float64
        assert torch.equal(term, right)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("likelihood_class", [BernoulliLikelihood, GaussianLikelihood])
def test_log_likelihood_of_half_precision_logits(likelihood_class, dtype):
    torch.manual_seed(0)
    likelihood = likelihood_class(700)
    output, x = (5 * torch.randn(6, 700)).to(dtype), torch.rand(6, 700).round().to(dtype)
    for value in (likelihood.log_prob(x, output), likelihood(output).log_prob(x.float())):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, likelihood(output.double()).log_prob(x.double()).float(), rtol=2e-6, atol=0)
