"""A VAE is encoder, head, decoder and likelihood in this order; what `save` wrote, `load` returns bit for bit."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from hvae_tutorial.models import (
    VAE,
    BernoulliLikelihood,
    DeterministicPosterior,
    GaussianPosterior,
    ProductPosterior,
    gcn_vgae,
    mlp_m1m2,
    mlp_m2,
    mlp_product_vae,
    mlp_vae,
)
from hvae_tutorial.models.vae import FILE_FORMAT, FILE_VERSION
from hvae_tutorial.objectives import SemiSupervised

KINDS = ["s", "n", "ps", "c", "ae"]


def builder(d):
    return mlp_vae if np.ndim(d) == 0 else mlp_product_vae


def by_hand() -> VAE:
    return VAE(nn.Linear(6, 4), nn.Linear(2, 6), GaussianPosterior(4, 2), BernoulliLikelihood(6))


def test_the_papers_network():
    model = mlp_vae("n", 10)
    sizes = [(layer.in_features, layer.out_features) for layer in model.modules() if isinstance(layer, nn.Linear)]
    assert sizes == [(784, 256), (256, 128), (10, 128), (128, 256), (256, 784), (128, 10), (128, 10)]
    assert sum(isinstance(module, nn.ReLU) for module in model.modules()) == 4


def test_every_builder_has_the_sizes_of_the_paper_where_none_are_given():
    """Widths of all weights, in whichever order they are made; typed a second time."""
    vae = [(256, 784), (128, 256), (128, 5), (256, 128), (784, 256)]
    m2 = [(128, 15), (128, 14), (128, 15), (10, 128)]  # of z1 and a class; of z2 and a class; the classifier
    expected = {
        "product": [*vae, (2, 128), (2, 128), (3, 128), (3, 128)],
        "m2": [(128, 794), (128, 14), (128, 784), (10, 128), (4, 128), (4, 128), (784, 128)],
        "m1m2": [*vae, (5, 128), (5, 128), *m2[:2], (128, 5), m2[3], (4, 128), (4, 128), (5, 128), (5, 128)],
        "vgae": [(4, 32), (4, 32), (9, 32)],
    }
    models = {
        "product": mlp_product_vae("n", (2, 3)),
        "m2": mlp_m2("n", 4),
        "m1m2": mlp_m1m2("nn", 5, 4),
        "vgae": gcn_vgae("n", 4, x_dim=9),
    }
    for name, model in models.items():
        weights = [tuple(weight.shape) for weight in model.parameters() if weight.ndim == 2]
        assert sorted(weights) == sorted(expected[name]), name
    assert models["product"].settings["likelihood"] == "bernoulli"
    assert isinstance(models["m2"].likelihood, BernoulliLikelihood)
    assert models["vgae"].dropout == 0
    given = {field.name: field.default for field in dataclasses.fields(SemiSupervised)}
    assert (given["batch_size"], given["alpha"]) == (16, 0.1)


def test_models_differ_only_in_their_heads():
    gaussian, spherical = mlp_vae("n", 6), mlp_vae("s", 5)  # z has 6 coordinates in both
    assert repr(gaussian.encoder) == repr(spherical.encoder)
    assert repr(gaussian.decoder) == repr(spherical.decoder)
    assert repr(gaussian.likelihood) == repr(spherical.likelihood)


def test_every_layer_starts_as_the_papers():
    torch.manual_seed(0)
    for layer in mlp_vae("s", 5).modules():
        if isinstance(layer, nn.Linear):
            bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
            assert (layer.bias == 0).all()
            assert 0.8 * bound < layer.weight.abs().max() <= bound


def test_no_hidden_layers_make_a_linear_model():
    model = mlp_vae("n", 2, x_dim=5, hidden=())
    assert model.decode(model.encode(torch.rand(3, 5)).rsample()).mean.shape == (3, 5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_shapes(kind, likelihood):
    model = mlp_vae(kind, 3, x_dim=12, hidden=(8,), likelihood=likelihood)
    x = torch.rand(5, 12)
    q = model.encode(x)
    z = q.rsample((2,))
    p = model.decode(z)
    assert p.batch_shape == (2, 5)
    assert p.event_shape == (12,)
    assert model.reconstruct(x).shape == (5, 12)
    assert not model.reconstruct(x).requires_grad


@pytest.mark.parametrize(("kind", "d", "ambient_dim"), [("s", (2, 2), 6), ("ps", [1, 3], 6), ("n", (2, 3), 5)])
def test_several_dimensions_make_a_product(kind, d, ambient_dim):
    model = mlp_product_vae(kind, d, x_dim=12, hidden=(8,))
    head = model.posterior
    assert isinstance(head, ProductPosterior)
    assert (head.d, head.ambient_dim) == (sum(d), ambient_dim)
    assert [part.d for part in head.heads] == list(d)
    assert {type(part) for part in head.heads} == {type(mlp_vae(kind, 1).posterior)}
    assert model.decoder[0].in_features == ambient_dim
    assert model.reconstruct(torch.rand(5, 12)).shape == (5, 12)


def test_parts_of_a_product_start_as_different_heads():
    heads = mlp_product_vae("s", (2, 2), x_dim=12).posterior.heads
    assert not torch.equal(heads[0].direction.weight, heads[1].direction.weight)


@pytest.mark.parametrize(("kind", "d"), [("s", 3), ("n", 3), ("ps", 3), ("c", 3), ("s", (2, 1)), ("n", (2, 1))])
def test_sample(kind, d):
    model = builder(d)(kind, d, x_dim=12, hidden=(8,))
    torch.manual_seed(0)
    x = model.sample(7)
    assert x.shape == (7, 12)
    assert ((x > 0) & (x < 1)).all()
    assert not x.requires_grad
    torch.manual_seed(0)
    z = model.posterior.prior().sample((7,))
    torch.testing.assert_close(x, torch.sigmoid(model.decoder(z)))


def test_reconstruct_decodes_the_mode():
    model = mlp_vae("s", 3, x_dim=12, hidden=(8,))
    x = torch.rand(4, 12)
    direction = nn.functional.normalize(model.posterior.direction(model.encoder(x)), dim=-1)
    torch.testing.assert_close(model.reconstruct(x), torch.sigmoid(model.decoder(direction)))


def test_an_autoencoder_cannot_sample():
    with pytest.raises(NotImplementedError, match=r"autoencoder .* has no prior over z"):
        mlp_vae("ae", 3).sample(2)


@pytest.mark.parametrize("shape", [(12,), (3, 11), (3, 12, 1), (3, 3, 4)])
def test_x_of_a_wrong_shape(shape):
    model = mlp_vae("n", 3, x_dim=12, hidden=(8,))
    for method in (model.encode, model.reconstruct):
        with pytest.raises(ValueError, match=r"x must have shape \(batch, 12\), got ") as raised:
            method(torch.rand(shape))
        assert str(raised.value).endswith(str(shape))


def test_z_of_a_wrong_shape():
    with pytest.raises(ValueError, match=r"z must have shape \(..., 4\), got \(5, 3\)"):
        mlp_vae("s", 3).decode(torch.randn(5, 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "x"}, "kind must be one of 's', 'n', 'ps', 'c', 'ae', got 'x'"),
        ({"d": 0}, "d must be an integer >= 1, got 0"),
        ({"d": 2.5}, "d must be an integer >= 1, got 2.5"),
        ({"d": "3"}, "d must be an integer >= 1, got '3'"),
        ({"d": (2, 2)}, r"d must be an integer >= 1, got \(2, 2\)"),
        ({"x_dim": -1}, "x_dim must be an integer >= 1, got -1"),
        ({"hidden": (8, 0)}, "every width in hidden must be an integer >= 1, got 0"),
        ({"d": True}, "d must be an integer >= 1, got True"),
        ({"d": np.float64(2)}, "d must be an integer >= 1, got .*2.0.*"),
        ({"hidden": 8}, "hidden must be a sequence of integers >= 1, got 8"),
        ({"hidden": "88"}, "hidden must be a sequence of integers >= 1, got '88'"),
        ({"likelihood": "poisson"}, "likelihood must be one of 'bernoulli', 'gaussian', got 'poisson'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        mlp_vae(**({"kind": "n", "d": 2} | arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "x"}, "kind must be one of 's', 'n', 'ps', 'c', 'ae', got 'x'"),
        ({"d": (2, 0)}, "d must be an integer >= 1, got 0"),
        ({"d": []}, r"d must be a sequence of integers >= 1, one for each factor, got \[\]"),
        ({"d": 2}, "d must be a sequence of integers >= 1, one for each factor, got 2"),
        ({"d": "22"}, "d must be a sequence of integers >= 1, one for each factor, got '22'"),
        ({"hidden": 8}, "hidden must be a sequence of integers >= 1, got 8"),
        ({"likelihood": "poisson"}, "likelihood must be one of 'bernoulli', 'gaussian', got 'poisson'"),
    ],
)
def test_bad_arguments_of_a_product(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        mlp_product_vae(**({"kind": "n", "d": (2, 3)} | arguments))


@pytest.mark.parametrize("integer", [np.int64, np.uint8])
@pytest.mark.parametrize(
    ("kind", "d"), [("s", 3), ("n", 3), ("ps", 3), ("c", 3), ("ae", 3), ("s", (2, 3)), ("n", (2, 3))]
)
def test_integers_of_numpy(kind, d, integer, tmp_path):
    theirs = integer(d) if isinstance(d, int) else tuple(map(integer, d))
    torch.manual_seed(0)
    model = builder(d)(kind, theirs, x_dim=integer(12), hidden=np.array([8, 7], integer))
    torch.manual_seed(0)
    plain = builder(d)(kind, d, x_dim=12, hidden=(8, 7))
    assert repr(model) == repr(plain)
    assert json.dumps(model.settings) == json.dumps(plain.settings)
    model.save(tmp_path / "model")
    assert VAE.load(tmp_path / "model").settings == plain.settings
    assert type(model.posterior.ambient_dim) is type(model.posterior.d) is type(model.likelihood.x_dim) is int
    assert torch.equal(model.reconstruct(torch.ones(1, 12)), plain.reconstruct(torch.ones(1, 12)))
    if kind != "ae":
        assert model.sample(integer(5)).shape == (5, 12)


# Saving and loading


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [3, (3, 1), [2]])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_save_and_load(tmp_path: Path, kind: str, d: int | list[int], likelihood: str):
    model = builder(d)(kind, d, x_dim=12, hidden=(8, 7), likelihood=likelihood)
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = VAE.load(path)
    assert repr(loaded) == repr(model)
    assert loaded.settings == model.settings
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    x = torch.rand(5, 12)
    torch.testing.assert_close(loaded.reconstruct(x), model.reconstruct(x), rtol=0, atol=0)
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    loaded.save(path)  # and once more
    assert list(tmp_path.iterdir()) == [path]


def test_the_settings_are_readable_json(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    mlp_vae("s", 3, x_dim=12, hidden=(8,)).save(path)
    with safetensors.safe_open(path, framework="pt") as file:
        settings = json.loads(file.metadata()["settings"])
    assert settings == {"kind": "s", "d": 3, "x_dim": 12, "hidden": [8], "likelihood": "bernoulli"}
    mlp_product_vae("s", (3, 2), x_dim=12, hidden=(8,)).save(path)
    with safetensors.safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["settings"]) == settings | {"d": [3, 2]}


def test_a_file_from_before_products_is_read(tmp_path: Path):
    """The names of the weights and of the settings as version 0.1.0 wrote them."""
    path = tmp_path / "model.safetensors"
    names = [f"{part}.{end}" for part in ("encoder.0", "posterior.direction", "posterior.raw_concentration",
             "decoder.0", "decoder.2") for end in ("weight", "bias")]  # fmt: skip
    shapes = [(8, 12), (8,), (4, 8), (4,), (1, 8), (1,), (8, 4), (8,), (12, 8), (12,)]
    tensors = {name: torch.randn(shape) for name, shape in zip(names, shapes, strict=True)}
    settings = '{"kind": "s", "d": 3, "x_dim": 12, "hidden": [8], "likelihood": "bernoulli"}'
    metadata = {"format": "hvae_tutorial.VAE", "version": "1", "settings": settings}
    safetensors.torch.save_file(tensors, path, metadata)
    loaded = VAE.load(path).state_dict()
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_loading_keeps_the_precision(tmp_path: Path):
    model = mlp_vae("n", 3, x_dim=12, hidden=(8,)).double()
    model.save(tmp_path / "model")
    assert {tensor.dtype for tensor in VAE.load(tmp_path / "model").state_dict().values()} == {torch.float64}


def test_a_vae_made_by_hand_cannot_be_saved(tmp_path: Path):
    with pytest.raises(ValueError, match=r"only a VAE built by mlp_vae or .* can be saved.*state_dict\(\)"):
        by_hand().save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_vae_made_by_hand_works():
    model = by_hand()
    assert model.reconstruct(torch.rand(3, 6)).shape == (3, 6)
    model.posterior = DeterministicPosterior(4, 2)
    assert model.reconstruct(torch.rand(3, 6)).shape == (3, 6)


def damaged(tmp_path: Path, damage: str) -> Path:
    path = tmp_path / "model.safetensors"
    model = mlp_vae("n", 3, x_dim=12, hidden=(8,))
    model.save(path)
    tensors = model.state_dict()
    metadata = {"format": FILE_FORMAT, "version": FILE_VERSION, "settings": json.dumps(model.settings)}
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-10])
    elif damage == "text":
        path.write_text("not a model")
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "foreign":
        safetensors.torch.save_file(tensors, path)
    elif damage == "newer":
        safetensors.torch.save_file(tensors, path, metadata | {"version": "2"})
    elif damage == "other shape":
        safetensors.torch.save_file(tensors, path, metadata | {"settings": json.dumps(model.settings | {"d": 4})})
    elif damage == "no settings":
        del metadata["settings"]
        safetensors.torch.save_file(tensors, path, metadata)
    elif damage == "settings of nothing":
        safetensors.torch.save_file(tensors, path, metadata | {"settings": '{"kind": "n", "colour": 3}'})
    elif damage == "half of the settings":
        safetensors.torch.save_file(tensors, path, metadata | {"settings": '{"kind": "n'})
    elif damage == "missing tensor":
        del tensors["posterior.mean.bias"]
        safetensors.torch.save_file(tensors, path, metadata)
    return path


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("truncated", "is not a safetensors file, or is damaged"),
        ("text", "is not a safetensors file, or is damaged"),
        ("empty", "is not a safetensors file, or is damaged"),
        ("foreign", "was not written by VAE.save"),
        ("newer", "has version '2' of the format; this release reads '1'"),
        ("no settings", "is damaged: its settings do not describe a model"),
        ("settings of nothing", "is damaged: its settings do not describe a model"),
        ("half of the settings", "is damaged: its settings do not describe a model"),
        ("other shape", "(?s)do not fit its settings.*posterior.mean.weight"),
        ("missing tensor", "(?s)do not fit its settings.*posterior.mean.bias"),
    ],
)
def test_loading_a_damaged_file(tmp_path: Path, damage: str, message: str):
    path = damaged(tmp_path, damage)
    with pytest.raises(ValueError, match=message) as raised:
        VAE.load(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("name", ["missing.safetensors", "."])
def test_loading_what_is_no_file(tmp_path: Path, name: str):
    with pytest.raises(FileNotFoundError, match=r"no saved VAE at .*there is no such file"):
        VAE.load(tmp_path / name)
