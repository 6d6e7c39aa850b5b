"""The semi-supervised objective: its value by hand, what the labels do, and what `fit` makes of it."""

import re

import numpy as np
import pytest
import torch

from hvae_tutorial.data import balanced_indices, load
from hvae_tutorial.models import StackedM1M2, mlp_m1m2, mlp_m2, mlp_vae
from hvae_tutorial.objectives import SemiSupervised, labelled_bound, unlabelled_bound
from hvae_tutorial.training import TrainingSettings, fit


@pytest.mark.parametrize("beta", [1.0, 0.25])
def test_the_objective_is_kingmas_over_the_number_of_unlabelled_points(beta):
    """Equation 9 of Kingma et al. 2014, from sums. With a deterministic "posterior" no term is random."""
    torch.manual_seed(0)
    model = mlp_m2("ae", 2, x_dim=4, hidden=8, num_classes=3)
    u, x, y = torch.rand(5, 4).round(), torch.rand(1, 4).round(), torch.tensor([2])
    objective = SemiSupervised(x, y, num_unlabelled=5, batch_size=3, alpha=0.1, dynamic_binarization=False)
    log_q = model.class_logits(x).log_softmax(-1)[0, 2]
    of_u, of_x = unlabelled_bound(model, u, beta), labelled_bound(model, x, y, beta)
    total = of_u.elbo.sum() + of_x.elbo.sum() + 0.1 * 6 * log_q
    terms = objective(model, u, beta)
    torch.testing.assert_close(terms.elbo.mean(), total / 5)
    torch.testing.assert_close(terms.reconstruction, of_u.reconstruction)
    torch.testing.assert_close(terms.kl, of_u.kl)


def test_labelled_pixels_are_drawn_anew():
    torch.manual_seed(0)
    model = mlp_m2("ae", 2, x_dim=4, hidden=8, num_classes=3)
    u = torch.rand(5, 4).round()
    grey = SemiSupervised(torch.full((1, 4), 0.5), torch.tensor([2]), num_unlabelled=5, batch_size=4)
    assert len({grey(model, u, 1.0).elbo.mean().item() for _ in range(5)}) > 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.rand(4)}, "x and y must have shapes (n, x_dim) and (n,) with n >= 1, got (4,) and (3,)"),
        ({"y": torch.zeros(2)}, "got (3, 4) and (2,)"),
        ({"x": torch.rand(0, 4), "y": torch.zeros(0)}, "with n >= 1, got (0, 4) and (0,)"),
        ({"num_unlabelled": 0}, "num_unlabelled must be an integer >= 1, got 0"),
        ({"batch_size": 0}, "batch_size must be an integer >= 1, got 0"),
        ({"batch_size": 2.5}, "batch_size must be an integer >= 1, got 2.5"),
        ({"num_unlabelled": True}, "num_unlabelled must be an integer >= 1, got True"),
        ({"alpha": -1.0}, "alpha must be a finite number >= 0, got -1.0"),
        ({"alpha": float("nan")}, "alpha must be a finite number >= 0, got nan"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {"x": torch.rand(3, 4), "y": torch.zeros(3, dtype=torch.long), "num_unlabelled": 9} | change
    with pytest.raises(ValueError, match=re.escape(message)):
        SemiSupervised(**arguments)


def test_integers_of_numpy():
    x, y = torch.rand(3, 4), torch.zeros(3, dtype=torch.long)
    plain = SemiSupervised(x, y, num_unlabelled=9, batch_size=2)
    assert repr(SemiSupervised(x, y, num_unlabelled=np.int64(9), batch_size=np.int32(2))) == repr(plain)


def test_fit_learns_classes_from_few_labels_and_resumes_only_its_own_run(tmp_path):
    """Digits, 100 labels. Chance is 0.1; fifteen epochs gave 0.41 to 0.72 with four seeds, nine 0.18 to 0.56."""
    dataset = load("digits")
    index = balanced_indices(dataset.train_labels.numpy(), 100, np.random.default_rng(0))
    x, y = dataset.train[index], dataset.train_labels[index]
    objective = SemiSupervised(x, y, num_unlabelled=len(dataset.train), alpha=1.0)
    settings = TrainingSettings(epochs=15, warmup_epochs=4, patience=15, learning_rate=3e-3)
    torch.manual_seed(0)
    model = mlp_m1m2("sn", 5, 5, x_dim=64)
    options = {
        "validation_objective": unlabelled_bound,
        "checkpoint": tmp_path / "checkpoint",
        "progress": False,
    }
    arguments = (dataset.train, dataset.validation.round(), settings)
    result = fit(model, *arguments, objective=objective, **options)
    accuracy = (model.class_logits(dataset.test).argmax(-1) == dataset.test_labels).float().mean()
    assert accuracy > 0.25
    assert result.history["validation_elbo"][-1] > result.history["validation_elbo"][0]

    again = fit(model, *arguments, objective=objective, **options)
    assert again.history == result.history
    other = SemiSupervised(x, y.roll(1), num_unlabelled=len(dataset.train), alpha=1.0)
    with pytest.raises(ValueError, match="belongs to another run: objective was 'SemiSupervised"):
        fit(model, *arguments, objective=other, **options)
    with pytest.raises(ValueError, match=r"belongs to another run: validation objective was '.*unlabelled_bound'"):
        fit(model, *arguments, objective=objective, **options | {"validation_objective": None})


def test_the_weights_of_m1_belong_to_a_stacked_run(tmp_path):
    """M2 on another M1 is another run, though M2 begins with the same weights."""
    x, y = torch.rand(20, 6, generator=torch.Generator().manual_seed(0)).round(), torch.arange(20) % 3
    objective = SemiSupervised(x, y, num_unlabelled=20, dynamic_binarization=False)
    settings = TrainingSettings(epochs=2, warmup_epochs=0, patience=2, dynamic_binarization=False, device="cpu")

    def stacked(seed_of_m1: int) -> StackedM1M2:
        torch.manual_seed(seed_of_m1)
        m1 = mlp_vae("n", 2, x_dim=6, hidden=(5,))
        torch.manual_seed(0)
        return StackedM1M2(m1, mlp_m1m2("nn", 2, 2, x_dim=6, hidden=(5,), num_classes=3).m2)

    options = {"objective": objective, "checkpoint": tmp_path / "checkpoint", "progress": False}
    result = fit(stacked(0), x, x, settings, **options)
    with pytest.raises(ValueError, match="belongs to another run: initial weights was"):
        fit(stacked(1), x, x, settings, **options)
    assert fit(stacked(0), x, x, settings, **options) == result


def test_fit_under_autocast():
    """The same curve up to bfloat16's rounding of the layers."""
    torch.manual_seed(0)
    y = torch.arange(60) % 3
    x = torch.rand(3, 6).round()[y]  # a pattern for each class
    objective = SemiSupervised(x, y, num_unlabelled=60, dynamic_binarization=False)
    settings = TrainingSettings(
        epochs=10, warmup_epochs=0, batch_size=20, learning_rate=1e-2, dynamic_binarization=False, device="cpu"
    )
    curves = []
    for enabled in (False, True):
        torch.manual_seed(0)
        model = mlp_m1m2("nn", 2, 2, x_dim=6, hidden=(8,), num_classes=3)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            result = fit(model, x, x, settings, objective=objective, progress=False)
        curves.append(torch.tensor(result.history["validation_elbo"]))
    assert curves[0][-1] > curves[0][0] + 0.1
    assert not torch.equal(*curves)
    torch.testing.assert_close(*curves, atol=0.05, rtol=0)
