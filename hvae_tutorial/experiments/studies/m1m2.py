"""M1+M2 on images, few of them with their class, measured by its accuracy: Table 3.

Four schemes are there for one question alone, what a choice does on which the paper is silent. Each is end-to-end with
one thing changed: `full-prior` (what the weight of warm-up stands before), `disjoint` (where the labelled images
count), `low-floor` (the least concentration of a spherical z2). And `circles` is `low-floor` with a concentration for
each direction: z2 on a product of as many circles as the sphere has dimensions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution

from hvae_tutorial import plotting
from hvae_tutorial.data import Dataset, balanced_indices
from hvae_tutorial.distributions.rotationally_symmetric import RotationallySymmetric
from hvae_tutorial.experiments import names
from hvae_tutorial.experiments.choices import PASSES
from hvae_tutorial.experiments.protocol import binarized, curves, training_settings
from hvae_tutorial.experiments.run import Run
from hvae_tutorial.models import (
    M1M2,
    M2,
    ClassTerms,
    GaussianPosterior,
    Posterior,
    ProductPosterior,
    StackedM1M2,
    VonMisesFisherPosterior,
    mlp_m1m2,
)
from hvae_tutorial.models.layers import check_choice
from hvae_tutorial.models.m2 import ClassConditional
from hvae_tutorial.objectives import ElboTerms, SemiSupervised, unlabelled_bound
from hvae_tutorial.plotting import Figure
from hvae_tutorial.records import Record
from hvae_tutorial.training import TrainingResult, fit, resolve_device


def build(settings: Mapping[str, Any], x_dim: int) -> M1M2:
    """Return M1+M2, of the class that the scheme asks for.

    Raises:
        ValueError: there is no such scheme.
    """
    scheme = SCHEMES[check_choice("scheme", settings["scheme"], SCHEMES)]
    kinds = names.heads_of(settings["model"])
    model = mlp_m1m2(kinds, *settings["d"], x_dim=x_dim, hidden=settings["hidden"], m2_hidden=settings["m2_hidden"])
    return scheme.build(model)


def train(model: M1M2, data: Dataset, run: Run, *, checkpoint: Path, progress: bool) -> TrainingResult:
    """Train as the run's scheme has it."""
    return SCHEMES[run.settings["scheme"]].train(model, data, run, checkpoint=checkpoint, progress=progress)


def labelled(data: Dataset, run: Run) -> NDArray[np.intp]:
    """Return which training images have their class: a class-balanced few, drawn with the run's seed."""
    return balanced_indices(data.train_labels.numpy(), run.settings["labels"], np.random.default_rng(run.seed))


@dataclass(frozen=True, eq=False)
class FullPrior(SemiSupervised):
    """The objective with p(z1|y,z2) and the entropy of q(z1|x) in full from the first epoch on.

    The weight of warm-up stands before the divergences of y and of z2 from their fixed priors, and before nothing else.
    """

    def __call__(self, model: M2 | M1M2, x: Tensor, beta: float) -> ElboTerms:
        """Return the terms as `SemiSupervised`, with those of z1 in the reconstruction."""
        return super().__call__(_WithPrior(model), x, beta)  # type: ignore[arg-type]  # it needs `class_terms` alone


class _WithPrior:
    """What the bounds need of M1+M2, with E[log p(z1|y,z2) - log q(z1|x)] counted to the reconstruction."""

    def __init__(self, model: M1M2) -> None:
        self.model = model

    def class_terms(self, x: Tensor) -> ClassTerms:
        m1, m2 = self.model.m1, self.model.m2
        q = m1.encode(x)
        z1 = q.rsample()
        of_x = m1.likelihood.log_prob(x, m1.decoder(z1)) + q.entropy()
        logits, log_prior, kl = m2.class_terms(z1)
        return ClassTerms(logits, of_x + log_prior, kl)


class LowFloorPosterior(VonMisesFisherPosterior):
    """The head of a spherical z2 with kappa = softplus + 0.01 in place of softplus + 1: it can say almost nothing."""

    least_concentration = 0.01


def with_low_floor(model: M1M2) -> M1M2:
    """Return `model` with `LowFloorPosterior` in the place of its head of z2, and that head's weights.

    Raises:
        ValueError: its z2 is not von Mises-Fisher.
    """
    head = _spherical_head(model, "low-floor")
    low = LowFloorPosterior(head.direction.in_features, head.d)
    low.load_state_dict(head.state_dict())
    model.m2.posterior = low
    return model


def with_circles(model: M1M2) -> M1M2:
    """Return `model` with z2 on a product of d circles, each with its own concentration, in the place of S^d.

    Raises:
        ValueError: its z2 is not von Mises-Fisher.
    """
    head = _spherical_head(model, "circles")
    in_features = head.direction.in_features
    circles = ProductPosterior([LowFloorPosterior(in_features, 1) for _ in range(head.d)])
    m2 = model.m2
    decoder = ClassConditional(circles.ambient_dim, m2.num_classes, in_features)
    return M1M2(model.m1, M2(m2.classifier, m2.encoder, circles, decoder, m2.likelihood, m2.num_classes))


def _spherical_head(model: M1M2, scheme: str) -> VonMisesFisherPosterior:
    head = model.m2.posterior
    if not isinstance(head, VonMisesFisherPosterior):
        raise ValueError(f"scheme {scheme!r} is for a von Mises-Fisher z2, as in 'ss'; got {type(head).__name__}")
    return head


def train_end_to_end(
    model: M1M2,
    data: Dataset,
    run: Run,
    *,
    checkpoint: Path,
    progress: bool,
    objective: type[SemiSupervised] = SemiSupervised,
    disjoint: bool = False,
) -> TrainingResult:
    """Train all that has gradients on one bound, with a class-balanced few labels, drawn with the run's seed.

    Without `disjoint` the labelled images are among the unlabelled ones, too.
    """
    index = labelled(data, run)
    unlabelled = data.train[np.delete(np.arange(len(data.train)), index)] if disjoint else data.train
    device = resolve_device(run.device)
    return fit(
        model,
        unlabelled,
        binarized(data).validation,
        training_settings(run),
        objective=objective(
            data.train[index].to(device),
            data.train_labels[index].to(device),
            num_unlabelled=len(unlabelled),
            batch_size=run.settings["labelled_batch_size"],
            alpha=run.settings["alpha"],
        ),
        validation_objective=unlabelled_bound,
        checkpoint=checkpoint,
        progress=progress,
        description=run.title,
    )


def train_stacked(model: M1M2, data: Dataset, run: Run, *, checkpoint: Path, progress: bool) -> TrainingResult:
    """Train M1 by itself, as the VAE of Table 1; then M2 on the latent space that it has found."""
    model.m1.requires_grad_(True)
    fit(
        model.m1,
        data.train,
        binarized(data).validation,
        training_settings(run),
        checkpoint=checkpoint.with_suffix(".m1.checkpoint"),
        progress=progress,
        description=run.title,
    )
    model.m1.requires_grad_(False)
    return train_end_to_end(model, data, run, checkpoint=checkpoint, progress=progress)


class Scheme(NamedTuple):
    """What a scheme builds of an M1+M2, and how it is trained."""

    build: Callable[[M1M2], M1M2]
    train: Callable[..., TrainingResult]  # as `train`


SCHEMES: Mapping[str, Scheme] = {
    "end-to-end": Scheme(lambda model: model, train_end_to_end),
    "stacked": Scheme(lambda model: StackedM1M2(model.m1, model.m2), train_stacked),
    "full-prior": Scheme(lambda model: model, partial(train_end_to_end, objective=FullPrior)),
    "disjoint": Scheme(lambda model: model, partial(train_end_to_end, disjoint=True)),
    "low-floor": Scheme(with_low_floor, train_end_to_end),
    "circles": Scheme(with_circles, train_end_to_end),
}


@torch.no_grad()
def measure(model: M1M2, data: Dataset, run: Run) -> dict[str, Any]:
    """Measure a model on binarised test images, and its accuracy on the validation and on its own labelled images.

    Returns:
        `accuracy`, `validation_accuracy` and `labelled_accuracy`, fractions, and `accuracy_by_class`, those of the test
        images of each class; `elbo`, `reconstruction` and `kl` of the unlabelled bound, means over images and `PASSES`
        passes; `class_entropy`, the mean entropy of q(y|x) in nats: near log C = 2.3 the classifier does not commit
        itself; `kl_z2`, the mean of KL(q(z2|z1,y) || p(z2)) over z1 and y as the model has them, over as many passes: a
        spherical z2 that says nothing has that of kappa = 1, the least; and for a Gaussian z2, or one on circles, also
        `kl_z2_by_coordinate`, its parts by rank, the largest first: a coordinate that says nothing has 0; for
        a spherical z1 `prior_concentration`, the median over images of the concentration of p(z1|y,z2).
    """
    images = binarized(data)
    device = next(model.parameters()).device
    test = images.test.to(device)
    own = labelled(data, run)
    logits = model.class_logits(test)
    passes = [torch.stack([term.mean() for term in unlabelled_bound(model, test)]) for _ in range(PASSES)]
    return {
        "accuracy": _accuracy(logits, data.test_labels),
        "accuracy_by_class": {
            str(c): _accuracy(logits[data.test_labels == c], data.test_labels[data.test_labels == c])
            for c in data.test_labels.unique().tolist()
        },
        "validation_accuracy": _accuracy(model.class_logits(images.validation.to(device)), data.validation_labels),
        "labelled_accuracy": _accuracy(model.class_logits(images.train[own].to(device)), data.train_labels[own]),
        **dict(zip(ElboTerms._fields, torch.stack(passes).mean(0).tolist(), strict=True)),
        "class_entropy": torch.distributions.Categorical(logits=logits).entropy().mean().item(),
        **_of_m2(model, test),
    }


def _of_m2(model: M1M2, x: Tensor) -> dict[str, Any]:
    """`kl_z2` and, by the space, `kl_z2_by_coordinate` and `prior_concentration`: over q(y|z1), images and passes."""
    m2, head = model.m2, model.m2.posterior
    total, parts, concentrations = [], [], []
    for _ in range(PASSES):
        z1 = model.m1.encode(x).sample()
        of_class = m2.class_logits(z1).softmax(-1).T  # (C, batch)
        q = head(m2.encoder(z1, m2.classes))
        prior = m2.likelihood(m2.decoder(q.sample(), m2.classes))  # of z1
        total.append((of_class * head.kl(q)).sum(0).mean())
        each = _divergence_by_coordinate(head, q)
        if each is not None:
            parts.append((of_class.unsqueeze(-1) * each).sum(0).mean(0))
        if isinstance(prior, RotationallySymmetric):
            concentrations.append((of_class * prior.concentration).sum(0).median())
    results: dict[str, Any] = {"kl_z2": torch.stack(total).mean().item()}
    if parts:
        ranked = torch.stack(parts).mean(0).sort(descending=True).values
        results["kl_z2_by_coordinate"] = {str(rank): value for rank, value in enumerate(ranked.tolist(), start=1)}
    if concentrations:
        results["prior_concentration"] = torch.stack(concentrations).mean().item()
    return results


def _divergence_by_coordinate(head: Posterior, q: Distribution) -> Tensor | None:
    """The parts of head.kl(q) along a last axis: of Gaussian coordinates, or of the parts of a product."""
    if isinstance(head, GaussianPosterior):
        return torch.distributions.kl_divergence(q.base_dist, head.prior().base_dist)  # type: ignore[attr-defined]
    if isinstance(head, ProductPosterior):
        parts = zip(head.heads, q.parts, strict=True)  # type: ignore[attr-defined]
        return torch.stack([part.kl(law) for part, law in parts], dim=-1)
    return None


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return (logits.argmax(-1).cpu() == labels).float().mean().item()


def sample(model: M1M2, n: int) -> Tensor:
    """Return E[x|z1] at `n` draws of z1, given draws of the class and of z2 from their priors, (n, x_dim)."""
    m2 = model.m2
    y = torch.nn.functional.one_hot(torch.randint(m2.num_classes, (n,)), m2.num_classes).float()
    z2 = m2.posterior.prior().sample((n,))
    z1 = m2.likelihood(m2.decoder(z2, y)).sample()
    return model.m1.decode(z1).mean


def draw(
    data: Dataset, runs: Sequence[Run], records: Sequence[Record], trained: Callable[[Run], M1M2]
) -> dict[str, Figure]:
    """Draw the learning curves for each pair of dimensions."""
    pictures = {}
    for config in dict.fromkeys(tuple(run.settings["d"]) for run in runs):
        chosen = [record for record in records if tuple(record.settings["d"]) == config]
        title = "{}, M1+M2, d = {}, {}".format(data.name, *config)
        pictures["learning-curves-d{}+{}".format(*config)] = plotting.learning_curves(
            curves(chosen, names.pair), title=title
        )
    return pictures
