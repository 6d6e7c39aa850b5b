"""`fit` warms up, validates, keeps the best and stops as defined; a resumed run ends bit for bit as an unbroken one."""

import dataclasses
import math
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

from hvae_tutorial.data import binarize, load
from hvae_tutorial.models import VAE, gcn_vgae, mlp_vae
from hvae_tutorial.objectives import ElboTerms, elbo
from hvae_tutorial.training import HISTORY, TrainingResult, TrainingSettings, fit, journal, loop, resolve_device

SETTINGS = TrainingSettings(epochs=4, warmup_epochs=2, batch_size=16, learning_rate=1e-2, device="cpu")


def data(n: int = 50, x_dim: int = 12, seed: int = 0) -> Tensor:
    """Grey images with one of two patterns."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.rand(2, x_dim, generator=generator)
    return patterns[torch.randint(2, (n,), generator=generator)]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def new_model(kind: str = "n", **arguments) -> VAE:
    torch.manual_seed(0)
    return mlp_vae(kind, 2, **({"x_dim": 12, "hidden": (8,)} | arguments))


def train(model: VAE, settings: TrainingSettings = SETTINGS, **arguments) -> TrainingResult:
    return fit(
        model,
        data(),
        binarize(data(seed=1), torch.Generator().manual_seed(1)),
        settings,
        **({"progress": False} | arguments),
    )


def same_weights(a: VAE, b: VAE) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def without_time(history: dict[str, list[float]]) -> dict[str, list[float]]:
    return {column: values for column, values in history.items() if column != "seconds"}


# Warm-up and early stopping


def test_warmup():
    settings = TrainingSettings(warmup_epochs=4, beta=2.0)
    assert [settings.kl_weight(epoch) for epoch in range(1, 8)] == [0, 0.5, 1, 1.5, 2, 2, 2]
    assert [TrainingSettings(warmup_epochs=0, beta=0.1).kl_weight(epoch) for epoch in (1, 2)] == [0.1, 0.1]
    assert TrainingSettings().kl_weight(51) == 0.5


def test_best_epoch():
    settings = TrainingSettings(epochs=100, warmup_epochs=2, patience=3)
    assert settings.best_epoch([-9.0]) == 1
    assert settings.best_epoch([-1.0, -9.0]) == 2  # in warm-up the latest
    assert settings.best_epoch([-1.0, -1.0, -9.0]) == 3  # the first that counts
    assert settings.best_epoch([-1.0, -1.0, -9.0, -8.0, -8.0, -8.5]) == 4  # the first of equals
    assert not settings.is_finished([-1.0, -1.0, -9.0, -8.0, -8.0, -8.5])
    assert settings.is_finished([-1.0, -1.0, -9.0, -8.0, -8.0, -8.5, -8.1])
    assert settings.is_finished([0.0] * 100)


@given(
    elbos=st.lists(st.floats(-1e3, 0), max_size=60),
    warmup=st.integers(0, 30),
    patience=st.integers(1, 20),
    epochs=st.integers(1, 100),
)
def test_early_stopping_by_definition(elbos, warmup, patience, epochs):
    settings = TrainingSettings(epochs=epochs, warmup_epochs=warmup, patience=patience)
    best = settings.best_epoch(elbos)
    if len(elbos) <= warmup:
        assert best == len(elbos)
        assert settings.is_finished(elbos) == (len(elbos) >= epochs)
    else:
        assert warmup < best <= len(elbos)
        assert elbos[best - 1] == max(elbos[warmup:])
        assert settings.is_finished(elbos) == (len(elbos) >= epochs or len(elbos) - best >= patience)


def test_fault_7_training_never_stops_during_warmup():
    # The validation ELBO, at the final beta, falls all through a warm-up that outlasts the patience tenfold, and the
    # first epoch is by far the best: neither may matter.
    model = new_model()
    falling = iter(range(0, -1000, -1))
    measured = loop._validate

    def falling_elbo(*arguments):
        return [
            torch.full_like(terms, 0.0).index_fill(0, torch.tensor(0), next(falling)) for terms in measured(*arguments)
        ]

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(loop, "_validate", falling_elbo)
        result = train(model, dataclasses.replace(SETTINGS, epochs=100, warmup_epochs=20, patience=2))
    assert result.history["validation_elbo"] == [-i for i in range(23)]
    assert result.best_epoch == 21
    assert result.epochs == 23


def test_early_stopping_restores_the_best_weights():
    # 20 images to learn by heart: the validation ELBO soon falls.
    settings = dataclasses.replace(SETTINGS, epochs=200, warmup_epochs=1, patience=4, dynamic_binarization=False)
    images = binarize(torch.rand(20, 12, generator=torch.Generator().manual_seed(3)))
    unseen = binarize(torch.rand(200, 12, generator=torch.Generator().manual_seed(4)))
    model = new_model(hidden=(32,))
    result = fit(model, images, unseen, settings, progress=False)
    assert result.epochs == result.best_epoch + 4 < 200
    stopped_there = new_model(hidden=(32,))
    fit(stopped_there, images, unseen, dataclasses.replace(settings, epochs=result.best_epoch), progress=False)
    assert same_weights(model, stopped_there)


def test_without_an_epoch_after_warmup_the_last_weights_stay():
    model = new_model()
    result = train(model, dataclasses.replace(SETTINGS, epochs=3, warmup_epochs=5))
    assert result.best_epoch == result.epochs == 3


# What is trained on


class Spy(nn.Module):
    """Stands before the encoder and keeps what the model is trained on."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.batches: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.batches.append(x.clone())
        return self.encoder(x)


def test_fault_8_pixels_are_binarised_anew_for_every_batch():
    model = new_model()
    model.encoder = Spy(model.encoder)
    grey = torch.full((64, 12), 0.3)
    grey[:, 0], grey[:, 1] = 0.0, 1.0
    fit(model, grey, binarize(grey), dataclasses.replace(SETTINGS, epochs=40), progress=False)
    batches = torch.stack(model.encoder.batches)  # (40 epochs of 4 batches, 16, 12)
    assert ((batches == 0) | (batches == 1)).all()
    assert (batches[..., 0] == 0).all()
    assert (batches[..., 1] == 1).all()
    # All images are the same grey: were they binarised once, each epoch would hold the same multiset of images.
    sums = batches[..., 2:].reshape(40, -1).sum(1)
    assert sums.unique().numel() > 10
    # 25,600 pixels: 4.5 standard errors are 0.013, exceeded by chance once in 150,000 seeds.
    assert batches[..., 2:].mean().item() == pytest.approx(0.3, abs=0.013)


def test_every_image_is_seen_once_an_epoch_in_a_new_order():
    model = new_model(likelihood="gaussian")
    model.encoder = Spy(model.encoder)
    images = torch.randn(50, 12)
    settings = dataclasses.replace(SETTINGS, epochs=2, dynamic_binarization=False)
    fit(model, images, images, settings, progress=False)
    first, second = torch.cat(model.encoder.batches).split(50)
    assert [len(batch) for batch in model.encoder.batches[:4]] == [16, 16, 16, 2]
    assert not torch.equal(first, second)
    for epoch in (first, second):
        assert torch.equal(epoch.sort(dim=0).values, images.sort(dim=0).values)


@pytest.mark.parametrize("kind", ["s", "n", "ps", "ae"])
def test_training_learns(kind):
    # Two patterns of 12 pixels: the best model knows which of the two it sees.
    model = new_model(kind)
    settings = dataclasses.replace(SETTINGS, epochs=15, warmup_epochs=5)
    result = fit(model, data(200), binarize(data(200)), settings, progress=False)
    assert result.history["validation_elbo"][-1] > result.history["validation_elbo"][0] + 0.3
    assert not model.training


# The learning curve


def test_each_objective_has_its_own_data():
    """`objective` sees the training data in training mode, `validation_objective` all else in evaluation mode."""
    calls: list[tuple[str, bool, int]] = []

    def training(model: VAE, x: Tensor, beta: float) -> ElboTerms:
        calls.append(("training", model.training, len(x)))
        return elbo(model, x, beta)

    def judging(model: VAE, x: Tensor, beta: float) -> ElboTerms:
        calls.append(("validation", model.training, len(x)))
        terms = elbo(model, x, beta)
        return terms._replace(reconstruction=terms.reconstruction - 1000)

    once = dataclasses.replace(SETTINGS, epochs=1, batch_size=25)
    history = train(new_model(), once, objective=training, validation_objective=judging).history
    assert calls == [("training", True, 25), ("training", True, 25), ("validation", False, 50)]
    assert history["validation_elbo"][0] < -1000 < history["train_elbo"][0]


def test_history():
    result = train(new_model(), dataclasses.replace(SETTINGS, epochs=5, beta=0.5))
    history = result.history
    assert tuple(history) == HISTORY
    assert all(len(values) == result.epochs == 5 for values in history.values())
    assert history["beta"] == [0.0, 0.25, 0.5, 0.5, 0.5]
    for split in ("train", "validation"):
        terms = zip(*(history[f"{split}_{name}"] for name in ("elbo", "reconstruction", "kl")), strict=True)
        for total, reconstruction, kl in terms:
            assert total == pytest.approx(reconstruction - 0.5 * kl)
            assert reconstruction < 0 <= kl
    assert result.seconds == pytest.approx(sum(history["seconds"]))
    assert min(history["seconds"]) <= result.seconds_per_epoch <= max(history["seconds"])


@pytest.mark.parametrize("progress", [True, False])
def test_progress_bar(progress, capfd):
    train(new_model(), progress=progress, description="n d=2")
    out, err = capfd.readouterr()
    assert out == ""
    if progress:
        for part in ("n d=2", "4/4", "train -", "validation -", "reconstruction -", "KL ", "beta 1.00"):
            assert part in err
    else:
        assert err == ""


# Seeds and devices


def test_the_seed_decides_everything():
    models = [new_model() for _ in range(3)]
    torch.manual_seed(123)  # torch's own stream is neither used ...
    before = torch.get_rng_state()
    results = [train(models[0]), train(models[1])]
    assert torch.equal(torch.get_rng_state(), before)  # ... nor moved
    other = train(models[2], dataclasses.replace(SETTINGS, seed=1))
    assert same_weights(models[0], models[1])
    assert without_time(results[0].history) == without_time(results[1].history)
    assert not same_weights(models[0], models[2])
    assert other.history["train_elbo"] != results[0].history["train_elbo"]


def test_resolve_device():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "mps", "meta", "", "cuda:x"])
def test_unknown_device(name):
    with pytest.raises(ValueError, match=f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got {name!r}"):
        resolve_device(name)


def test_absent_device():
    name = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(ValueError, match=f"device {name!r} is not there: torch sees {torch.cuda.device_count()} CUDA"):
        resolve_device(name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", ["s", "n", "ps", "ae"])
def test_training_on_cuda(kind, tmp_path):
    model = new_model(kind)
    settings = dataclasses.replace(SETTINGS, device="cuda", epochs=20)
    state = torch.cuda.get_rng_state()
    result = train(model, settings, checkpoint=tmp_path / "checkpoint")
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert {parameter.device.type for parameter in model.parameters()} == {"cuda"}
    assert result.history["train_elbo"][-1] > result.history["train_elbo"][0]  # few points: overfits
    again = new_model(kind)
    assert train(again, settings, checkpoint=tmp_path / "checkpoint").history == result.history
    assert same_weights(model, again)
    with pytest.raises(ValueError, match="device was 'cuda' and is now 'cpu'"):
        train(new_model(kind), dataclasses.replace(settings, device="cpu"), checkpoint=tmp_path / "checkpoint")


class CountReads(TorchDispatchMode):
    """Counts how often a value is fetched from the device: .item(), .tolist() and their like."""

    reads = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.reads += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_no_step_waits_for_the_device():
    reads = []
    for n in (16, 160):  # one step, ten steps
        with CountReads() as count:
            fit(new_model(), data(n), binarize(data(8)), dataclasses.replace(SETTINGS, epochs=1), progress=False)
        reads.append(count.reads)
    assert reads[0] == reads[1]


# Errors


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("epochs", 0, "epochs must be an integer >= 1, got 0"),
        ("epochs", 2.0, "epochs must be an integer >= 1, got 2.0"),
        ("batch_size", 0, "batch_size must be an integer >= 1, got 0"),
        ("warmup_epochs", -1, "warmup_epochs must be an integer >= 0, got -1"),
        ("patience", 0, "patience must be an integer >= 1, got 0"),
        ("seed", -1, "seed must be an integer >= 0, got -1"),
        ("seed", True, "seed must be an integer >= 0, got True"),
        ("seed", np.bool_(True), "seed must be an integer >= 0, got .*True_?"),
        ("epochs", np.float64(3), "epochs must be an integer >= 1, got .*3.0.*"),
        ("learning_rate", 0.0, "learning_rate must be a finite number > 0, got 0.0"),
        ("learning_rate", math.nan, "learning_rate must be a finite number > 0, got nan"),
        ("learning_rate", math.inf, "learning_rate must be a finite number > 0, got inf"),
        ("beta", -0.1, "beta must be a finite number >= 0, got -0.1"),
        ("beta", math.nan, "beta must be a finite number >= 0, got nan"),
        ("beta", True, "beta must be a finite number >= 0, got True"),
        ("learning_rate", "0.1", "learning_rate must be a finite number > 0, got '0.1'"),
        ("learning_rate", None, "learning_rate must be a finite number > 0, got None"),
        ("seed", 2**63, "seed must be below 2\\^63, got 9223372036854775808"),
        ("dynamic_binarization", "no", "dynamic_binarization must be True or False, got 'no'"),
        ("dynamic_binarization", 1, "dynamic_binarization must be True or False, got 1"),
    ],
)
def test_settings_out_of_range(setting, value, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        TrainingSettings(**{setting: value})


def test_what_cannot_be_trained():
    x = binarize(data(8))
    with pytest.raises(TypeError, match=r"^model must be a VAE, M2 or M1M2, got VGAE$"):
        fit(gcn_vgae("s", 2, x_dim=4), x, x, SETTINGS, progress=False)
    with pytest.raises(TypeError, match=r"^settings must be TrainingSettings, got dict$"):
        fit(new_model(), x, x, {"epochs": 1}, progress=False)
    with pytest.raises(ValueError, match=r"^the model must have a parameter that requires a gradient"):
        fit(new_model().requires_grad_(False), x, x, SETTINGS, progress=False)
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"^fit needs gradients"):
        fit(new_model(), x, x, SETTINGS, progress=False)


def test_numbers_of_numpy_become_plain_ones(checkpoint):
    settings = TrainingSettings(
        epochs=np.int64(4),
        warmup_epochs=np.int32(2),
        batch_size=np.uint8(16),
        patience=np.int64(50),
        seed=np.int64(0),
        learning_rate=np.float64(1e-2),
        beta=np.float32(1),
        dynamic_binarization=np.bool_(True),
        device="cpu",
    )
    assert settings == SETTINGS
    for name, value in dataclasses.asdict(settings).items():
        assert type(value) is type(getattr(SETTINGS, name)), name
    result = train(new_model(), settings, checkpoint=checkpoint)
    assert train(new_model(), SETTINGS, checkpoint=checkpoint) == result


@pytest.mark.parametrize("which", ["train", "validation"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x[:, :-1], r"must have shape \(n, 12\) with n >= 1, got \(50, 11\)"),
        (lambda x: x[:0], r"must have shape \(n, 12\) with n >= 1, got \(0, 12\)"),
        (lambda x: x[0], r"must have shape \(n, 12\) with n >= 1, got \(12,\)"),
        (lambda x: x.index_fill(0, torch.tensor(3), math.nan), "must be finite, but holds nan to nan"),
        (lambda x: x.index_fill(0, torch.tensor(3), math.inf), "must be finite, but holds .* to inf"),
        (lambda x: x.double(), "must have the dtype of the model's parameters, torch.float32, got torch.float64"),
        (lambda x: x.to(torch.uint8), "must have the dtype of the model's parameters, torch.float32, got torch.uint8"),
        (lambda x: x - 0.5, r"must be in \[0, 1\] for a Bernoulli likelihood, but spans -"),
        (lambda x: x * 255, r"must be in \[0, 1\] for a Bernoulli likelihood, but spans .* to 2"),
    ],
)
def test_bad_data(which, change, message):
    good = data()
    good[0, 0], good[0, 1] = 0, 1
    sets = {"train": good, "validation": good} | {which: change(good)}
    with pytest.raises(ValueError, match=f"^{which} {message}"):
        fit(new_model(), sets["train"], sets["validation"], SETTINGS, progress=False)


@pytest.mark.parametrize("which", ["train", "validation"])
@pytest.mark.parametrize(
    ("convert", "got"),
    [
        (DataLoader, "torch.utils.data.dataloader.DataLoader"),
        (TensorDataset, "torch.utils.data.dataset.TensorDataset"),
        (Tensor.numpy, "numpy.ndarray"),
        (Tensor.tolist, "builtins.list"),
        (lambda x: load("digits"), "hvae_tutorial.data.dataset.Dataset"),
        (lambda x: None, "builtins.NoneType"),
    ],
)
def test_data_that_are_no_tensor(which, convert, got):
    sets = {"train": data(), "validation": data().round()} | {which: convert(data().round())}
    message = rf"^{which} must be a tensor of shape \(n, 12\) that holds all the data, .*, got {got}$"
    with pytest.raises(TypeError, match=message):
        fit(new_model(), sets["train"], sets["validation"], SETTINGS, progress=False)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_parameters(dtype):
    model, images = new_model().to(dtype), data().to(dtype)
    message = rf"the model must have float32 or float64 parameters, but encoder.0.weight is {dtype}.*model.float\(\).*"
    with pytest.raises(ValueError, match=message + "torch.autocast"):
        fit(model, images, images.round(), SETTINGS, progress=False)


def test_float64_parameters():
    model, images = new_model().double(), data().double()
    fit(model, images, images.round(), SETTINGS, progress=False)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}


@pytest.mark.parametrize("kind", ["s", "n", "ps", "ae"])
def test_autocast_around_fit(kind):
    """Autocast keeps its bfloat16 copies of the weights until it ends: fit must not go on with those of before."""
    settings = dataclasses.replace(SETTINGS, epochs=15, warmup_epochs=5)
    histories = []
    for enabled in (False, True):
        model = new_model(kind)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            model.reconstruct(data())
            histories.append(fit(model, data(200), binarize(data(200), generator()), settings, progress=False).history)
            inside = model.reconstruct(data())
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        torch.testing.assert_close(inside, model.reconstruct(data()), atol=0.02, rtol=0)  # no weights from before fit
    exact, lowered = (torch.tensor(history["validation_elbo"]) for history in histories)
    assert exact[-1] > exact[0] + 0.3
    torch.testing.assert_close(lowered[-1], exact[-1], atol=0.2, rtol=0)


def test_backward_is_outside_of_autocast():
    enabled = []

    def watched(model: VAE, x: Tensor, beta: float) -> ElboTerms:
        terms = elbo(model, x, beta)
        if model.training:
            terms.elbo.register_hook(lambda gradient: enabled.append(torch.is_autocast_enabled("cpu")))
        return terms

    with torch.autocast("cpu", dtype=torch.bfloat16):
        train(new_model(), objective=watched)
    assert enabled
    assert not any(enabled)


def test_real_valued_data_are_not_binarised():
    with pytest.raises(ValueError, match="dynamic_binarization=True draws binary pixels, but the model has a Gaussian"):
        train(new_model(likelihood="gaussian"))


@pytest.mark.parametrize(
    ("sabotage", "name"),
    [
        (lambda model: model.decoder[-1].bias.data.fill_(math.nan), "reconstruction is not finite in train batch 1"),
        (
            lambda model: setattr(model.posterior, "kl", lambda q: q.mean.sum(-1) * math.inf),
            "kl is not finite in train batch 1",
        ),
        (
            lambda model: model.register_parameter("spare", nn.Parameter(torch.tensor(math.nan))),
            "parameter spare is not finite",
        ),
    ],
)
def test_the_first_term_that_is_not_finite_is_named(sabotage, name, tmp_path):
    model = new_model()
    sabotage(model)
    with pytest.raises(FloatingPointError, match=f"^training broke in epoch 1: {name}$"):
        train(model, checkpoint=tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()


def test_the_batch_that_broke_training_is_named():
    # The first step, of size 1e30, throws the weights out of float32's range for products.
    with pytest.raises(FloatingPointError, match=r"in epoch 1: (reconstruction|kl) is not finite in train batch 2$"):
        train(new_model(), dataclasses.replace(SETTINGS, learning_rate=1e30, warmup_epochs=0))


# Checkpoints


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path for a checkpoint that is written after every epoch."""
    monkeypatch.setattr(journal, "CHECKPOINT_SECONDS", 0.0)
    return tmp_path / "runs" / "checkpoint"


class Killed(Exception):
    pass


def interrupted(epoch: int, kind: str, settings: TrainingSettings, checkpoint: Path) -> None:
    """Train until the end of this epoch's steps, and break off before it is recorded."""
    original, count = loop.check_finite, 0

    def killer(*arguments, **terms):
        nonlocal count
        count += 1
        if count == epoch:
            raise Killed
        original(*arguments, **terms)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(loop, "check_finite", killer)
        with pytest.raises(Killed):
            train(new_model(kind), settings, checkpoint=checkpoint)


@pytest.mark.parametrize("kind", ["n", "s"])
@pytest.mark.parametrize("epochs", [(2,), (3, 2), (7,)])
def test_a_resumed_run_ends_as_an_uninterrupted_one(kind, epochs, checkpoint):
    settings = dataclasses.replace(SETTINGS, epochs=8)
    whole = new_model(kind)
    expected = train(whole, settings)
    for epoch in epochs:
        interrupted(epoch, kind, settings, checkpoint)
    resumed = new_model(kind)
    result = train(resumed, settings, checkpoint=checkpoint)
    assert same_weights(whole, resumed)
    assert without_time(result.history) == without_time(expected.history)
    assert (result.epochs, result.best_epoch) == (expected.epochs, expected.best_epoch)
    assert result.seconds == pytest.approx(sum(result.history["seconds"]))


def test_a_finished_run_is_not_run_again(checkpoint):
    model = new_model()
    result = train(model, checkpoint=checkpoint)
    written = checkpoint.stat().st_mtime_ns
    again = new_model()
    assert train(again, checkpoint=checkpoint) == result
    assert same_weights(model, again)
    assert checkpoint.stat().st_mtime_ns == written
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


@pytest.mark.parametrize("epochs", [2, 4])
def test_initial_weights_belong_to_a_run(epochs, checkpoint):
    """Two models that differ in their random state alone: neither goes on from the other's checkpoint."""
    interrupted(epochs, "n", SETTINGS, checkpoint)
    torch.manual_seed(1)
    other = mlp_vae("n", 2, x_dim=12, hidden=(8,))
    with pytest.raises(ValueError, match=r"another run: initial weights was '.*CRC-32 .* and is now '.*CRC"):
        train(other, checkpoint=checkpoint)
    train(new_model(), checkpoint=checkpoint)
    with pytest.raises(ValueError, match="belongs to another run: initial weights was"):
        train(other, checkpoint=checkpoint)


def test_the_model_that_a_finished_run_left_gets_the_same_result(checkpoint):
    model = new_model()
    result = train(model, checkpoint=checkpoint)
    left = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert train(model, checkpoint=checkpoint) == result
    assert all(torch.equal(tensor, left[name]) for name, tensor in model.state_dict().items())
    model.decoder[-1].bias.data[0] += 1
    with pytest.raises(ValueError, match="belongs to another run: initial weights was"):
        train(model, checkpoint=checkpoint)


def test_a_half_trained_model_does_not_begin_an_interrupted_run_anew(checkpoint):
    interrupted(3, "n", SETTINGS, checkpoint)
    model = new_model()
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["best_weights"])
    with pytest.raises(ValueError, match="belongs to another run: initial weights was"):
        train(model, checkpoint=checkpoint)


def test_trained_parameters_belong_to_a_run(checkpoint):
    train(new_model(), checkpoint=checkpoint)
    model = new_model()
    model.encoder.requires_grad_(False)
    message = r"frozen parameters was \[\] and is now \['encoder.0.weight', 'encoder.0.bias'\]"
    with pytest.raises(ValueError, match=message):
        train(model, checkpoint=checkpoint)


def test_autocast_belongs_to_a_run(checkpoint):
    train(new_model(), checkpoint=checkpoint)
    message = "autocast was None and is now 'torch.bfloat16'"
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(ValueError, match=message):
        train(new_model(), checkpoint=checkpoint)


def weighted(model: VAE, x: Tensor, beta: float, weight: float = 1.0) -> ElboTerms:
    return elbo(model, x, weight * beta)


def test_objectives_belong_to_a_run(checkpoint):
    train(new_model(), checkpoint=checkpoint, objective=partial(weighted, weight=0.5))
    train(new_model(), checkpoint=checkpoint, objective=partial(weighted, weight=0.5))  # another partial, the same run
    for other in (elbo, weighted, partial(weighted, weight=0.25)):
        with pytest.raises(ValueError, match="belongs to another run: objective was 'partial"):
            train(new_model(), checkpoint=checkpoint, objective=other)


def test_an_objective_without_identity_is_refused_with_a_checkpoint(checkpoint):
    objective = lambda model, x, beta: elbo(model, x, beta)  # noqa: E731
    with pytest.raises(ValueError, match="with a checkpoint, objective and stop must be something that the next"):
        train(new_model(), checkpoint=checkpoint, objective=objective)
    assert not checkpoint.exists()
    train(new_model(), objective=objective)  # without one, it may be anything


def after(history: dict, epochs: int) -> bool:
    return len(history["validation_kl"]) >= epochs


def test_a_rule_ends_training_and_what_it_ended_is_not_resumed(checkpoint):
    model, stop = new_model(), partial(after, epochs=3)
    result = train(model, stop=stop, checkpoint=checkpoint)
    assert (result.epochs, len(result.history["beta"])) == (3, 3)
    again = train(new_model(), stop=stop, checkpoint=checkpoint)
    assert again == result
    whole = train(new_model(), dataclasses.replace(SETTINGS, epochs=3))
    assert without_time(whole.history) == without_time(result.history)
    assert train(new_model(), stop=partial(after, epochs=99)).epochs == SETTINGS.epochs  # it never comes


def test_a_rule_belongs_to_a_run(checkpoint):
    train(new_model(), stop=partial(after, epochs=3), checkpoint=checkpoint)
    for other in (None, partial(after, epochs=4)):
        with pytest.raises(ValueError, match="belongs to another run: stop was 'partial"):
            train(new_model(), stop=other, checkpoint=checkpoint)
    with pytest.raises(ValueError, match="with a checkpoint, objective and stop must be something"):
        train(new_model(), stop=lambda history: True, checkpoint=checkpoint)
    assert train(new_model(), stop=lambda history: True).epochs == 1


def test_a_checkpoint_is_written_every_few_seconds_and_at_the_end(tmp_path, monkeypatch):
    written = []
    write = journal.write_checkpoint
    monkeypatch.setattr(
        journal,
        "write_checkpoint",
        lambda path, run, state: (written.append(len(state["history"]["beta"])), write(path, run, state)),
    )
    clock = iter(range(0, 10_000, 2))  # two seconds pass between one look at the clock and the next
    monkeypatch.setattr(journal.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(journal, "CHECKPOINT_SECONDS", 5.0)
    train(new_model(), dataclasses.replace(SETTINGS, epochs=8), checkpoint=tmp_path / "checkpoint")
    assert written == [3, 6, 8]


OTHER = {
    "epochs": 5,
    "batch_size": 17,
    "learning_rate": 1e-3,
    "warmup_epochs": 1,
    "patience": 49,
    "beta": 0.5,
    "seed": 1,
    "dynamic_binarization": False,
}


@pytest.mark.parametrize(
    "setting", [field.name for field in dataclasses.fields(TrainingSettings) if field.name != "device"]
)
def test_a_checkpoint_of_other_settings_is_refused(setting, checkpoint):
    train(new_model(), checkpoint=checkpoint)
    old, new = getattr(SETTINGS, setting), OTHER[setting]
    message = f"belongs to another run: {setting} was {old!r} and is now {new!r}; delete it to train anew"
    with pytest.raises(ValueError, match=message) as raised:
        train(new_model(), dataclasses.replace(SETTINGS, **{setting: new}), checkpoint=checkpoint)
    assert str(checkpoint) in str(raised.value)


@pytest.mark.parametrize("which", ["train", "validation"])
def test_a_checkpoint_of_other_data_is_refused(which, checkpoint):
    sets = {"train": data(), "validation": binarize(data(), torch.Generator().manual_seed(0))}
    fit(new_model(), sets["train"], sets["validation"], SETTINGS, progress=False, checkpoint=checkpoint)
    sets[which] = sets[which].clone()
    sets[which][3, 4] = 1 - sets[which][3, 4]
    with pytest.raises(ValueError, match=f"belongs to another run: {which} was .*CRC-32"):
        fit(new_model(), sets["train"], sets["validation"], SETTINGS, progress=False, checkpoint=checkpoint)


def test_a_checkpoint_of_another_model_is_refused(checkpoint):
    train(new_model("s"), checkpoint=checkpoint)
    # A power spherical head has tensors of the same names and shapes.
    with pytest.raises(ValueError, match=r"(?s)belongs to another run: model was .*VonMises.* and is now .*PowerSph"):
        train(new_model("ps"), checkpoint=checkpoint)


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "other content", "no run", "old format"])
def test_a_damaged_checkpoint_is_refused(damage, checkpoint):
    train(new_model(), checkpoint=checkpoint)
    if damage == "truncated":
        checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    elif damage == "other content":
        torch.save({"weights": torch.zeros(3)}, checkpoint)
    elif damage == "no run":
        content = torch.load(checkpoint, weights_only=True)
        del content["run"]
        torch.save(content, checkpoint)
    elif damage == "old format":
        torch.save(torch.load(checkpoint, weights_only=True) | {"format": 1}, checkpoint)
    else:
        checkpoint.write_bytes(b"no checkpoint" if damage == "text" else b"")
    message = "has format 1, this release reads 2" if damage == "old format" else "is not a readable checkpoint"
    with pytest.raises(ValueError, match=f"{message}.*; delete it to train anew") as raised:
        train(new_model(), checkpoint=checkpoint)
    assert str(checkpoint) in str(raised.value)


# Run as a program: train with the checkpoint named, and print a digest of the weights; "whole" trains without one.
PROGRAM = """
import hashlib, sys
import torch
from hvae_tutorial import training
from hvae_tutorial.data import binarize
from hvae_tutorial.models import mlp_vae

torch.set_num_threads(1)
training.journal.CHECKPOINT_SECONDS = 0.0

def run(checkpoint):
    torch.manual_seed(0)
    model = mlp_vae("s", 2, x_dim=16, hidden=(12,))
    images = torch.rand(300, 16)
    settings = training.TrainingSettings(epochs=24, warmup_epochs=6, patience=24, batch_size=50, device="cpu")
    training.fit(model, images, binarize(images[:100]), settings, checkpoint=checkpoint, progress=False)
    weights = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
    return hashlib.sha256(weights).hexdigest()

print(run(sys.argv[1]))
if "whole" in sys.argv:
    print(run(None))
"""


def test_a_run_killed_by_the_system_resumes_bit_for_bit(tmp_path):
    checkpoint = tmp_path / "checkpoint"

    def epochs_recorded() -> int:
        return len(torch.load(checkpoint, weights_only=True)["history"]["beta"]) if checkpoint.exists() else 0

    command = [sys.executable, "-c", PROGRAM, str(checkpoint)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + 300
        while epochs_recorded() < 3:
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline, "no checkpoint in five minutes"
            time.sleep(0.02)
        process.kill()
    assert process.returncode != 0
    assert 3 <= epochs_recorded() < 24

    done = subprocess.run([*command, "whole"], capture_output=True, text=True, check=True, timeout=600)
    resumed, whole = done.stdout.split()
    assert resumed == whole
    assert epochs_recorded() == 24
