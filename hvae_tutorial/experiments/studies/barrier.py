"""S-VAEs with the exact sampler and with foils of it, and whether their concentrations pass the barrier."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hvae_tutorial import plotting, special
from hvae_tutorial.data import Dataset
from hvae_tutorial.distributions import VonMisesFisher
from hvae_tutorial.experiments import names
from hvae_tutorial.experiments.foils import (
    BLEND,
    PathwisePosterior,
    PublicPosterior,
    PublicVonMisesFisher,
    SampledPosterior,
)
from hvae_tutorial.experiments.protocol import binarized, curves, elbo_terms, log_likelihood, training_settings
from hvae_tutorial.experiments.run import Run
from hvae_tutorial.models import VAE, VonMisesFisherPosterior, mlp_vae
from hvae_tutorial.models.layers import check_choice
from hvae_tutorial.plotting import Figure
from hvae_tutorial.records import Record
from hvae_tutorial.training import TrainingResult, fit

HEADS: Mapping[str, type[VonMisesFisherPosterior]] = {
    "s": VonMisesFisherPosterior,
    "s-path": PathwisePosterior,
    "s-clip": PublicPosterior,
}
# The picture of the barrier has the ELBO of this many test images.
POINTS = 500
# Past the barrier the mean KL term of the validation images is that of this concentration, or more. Up to m = 61 the
# samples of the public law are there more concentrated again than where the blend begins.
PAST = 2 * BLEND[1]


def build(settings: Mapping[str, Any], x_dim: int) -> VAE:
    """Return the S-VAE with the paper's network; for a seed the initial weights are the same with all samplers.

    Raises:
        ValueError: there is no such sampler.
    """
    head = HEADS[check_choice("model", settings["model"], HEADS)]
    model = mlp_vae("s", settings["d"], x_dim=x_dim, hidden=settings["hidden"], likelihood=settings["likelihood"])
    model = _with_head(model, head)
    torch.nn.init.constant_(model.posterior.raw_concentration.bias, settings["initial_bias"])  # type: ignore[arg-type, union-attr]
    return model


def _with_head(model: VAE, kind: type[VonMisesFisherPosterior]) -> VAE:
    """Return a model that has this head, and shares all weights with the given one."""
    given = model.posterior
    assert isinstance(given, VonMisesFisherPosterior)
    head = kind(given.direction.in_features, given.d)
    head.direction, head.raw_concentration = given.direction, given.raw_concentration
    return VAE(model.encoder, model.decoder, head, model.likelihood)


def train(model: VAE, data: Dataset, run: Run, *, checkpoint: Path, progress: bool) -> TrainingResult:
    """Train as in Table 1; until past the barrier, where this is all that is asked."""
    threshold = past_barrier(run.settings["d"])
    return fit(
        model,
        data.train,
        binarized(data).validation,
        training_settings(run),
        stop=partial(is_past, threshold=threshold) if run.settings["until"] == "decided" else None,
        checkpoint=checkpoint,
        progress=progress,
        description=run.title,
    )


def past_barrier(d: int) -> float:
    """Return the KL term, in nats, that a concentration of `PAST` has."""
    return special.kl_to_uniform(torch.tensor(PAST, dtype=torch.float64), d + 1).item()


def is_past(history: Mapping[str, Sequence[float]], *, threshold: float) -> bool:
    """Return whether the mean KL term of the validation images has reached the threshold."""
    return history["validation_kl"][-1] >= threshold


@torch.no_grad()
def measure(model: VAE, data: Dataset, run: Run) -> dict[str, Any]:
    """Measure a model on the first `test_images` binarised test images.

    Returns:
        - `elbo`, `reconstruction`, `kl`: what the model's code reports, with the divergence of the exact law.
        - `sampled_elbo`, `sampled_kl`: with the divergence of the law that is sampled, the bound of that model.
        - `barrier_kl`: from which KL term on a run is past the barrier.
        - `median_concentration`, and `class_concentration`, the same by the label of the image.
        - at the end of training also `log_likelihood`, importance-sampled with the density of the law that is sampled,
          a bound; and `reported_log_likelihood`, with the exact density, which is none where the laws differ.
    """
    device = next(model.parameters()).device
    count = run.settings["test_images"]
    x, labels = binarized(data).test[:count].to(device), data.test_labels[:count]
    honest = _with_head(model, SampledPosterior) if isinstance(model.posterior, PublicPosterior) else model
    concentration = model.encode(x).concentration.cpu()  # type: ignore[attr-defined]
    sampled_kl = honest.posterior.kl(honest.encode(x)).mean().item()
    terms = elbo_terms(model, x)
    results = {
        **terms,
        "sampled_elbo": terms["reconstruction"] - sampled_kl,
        "sampled_kl": sampled_kl,
        "barrier_kl": past_barrier(run.settings["d"]),
        "median_concentration": concentration.median().item(),
        "class_concentration": {
            str(label): concentration[labels == label].median().item() for label in labels.unique().tolist()
        },
    }
    if run.settings["until"] == "end":
        samples = run.settings["importance_samples"]
        results["log_likelihood"] = log_likelihood(honest, x, samples)
        results["reported_log_likelihood"] = log_likelihood(model, x, samples)
    return results


def sample(model: VAE, n: int) -> Tensor:
    """Return E[x|z] at `n` draws of z from the prior, (n, x_dim)."""
    return model.sample(n)


def draw(
    data: Dataset, runs: Sequence[Run], records: Sequence[Record], trained: Callable[[Run], VAE]
) -> dict[str, Figure]:
    """Draw for each d the learning curves, and the barrier as a model of the first seed has it."""
    pictures = {}
    x = binarized(data).test[:POINTS]
    for d in dict.fromkeys(run.settings["d"] for run in runs):
        chosen = curves([record for record in records if record.settings["d"] == d], names.sampler)
        pictures[f"learning-curves-d{d}"] = plotting.learning_curves(chosen, title=f"{data.name}, d = {d}")
        first = next(run for run in runs if run.settings["d"] == d)
        pictures[f"barrier-d{d}"] = _draw_barrier(
            trained(first), x, f"{first.title}, {names.sampler(first.settings['model'])}"
        )
    return pictures


@torch.no_grad()
def elbo_at(model: VAE, x: Tensor, kappa: float, family: type[VonMisesFisher]) -> float:
    """Return the mean ELBO as code reports it, if all posteriors had this concentration and the rest were the model's.

    Args:
        model: a trained model.
        x: data, (batch, x_dim).
        kappa: the concentration.
        family: what z is drawn from, about the model's directions.
    """
    loc = model.encode(x).mode
    q = family(loc, torch.full_like(loc[:, 0], kappa), validate_args=False)
    return (model.likelihood.log_prob(x, model.decoder(q.sample())) - q.kl_to_uniform()).mean().item()


def _draw_barrier(model: VAE, x: Tensor, title: str) -> Figure:
    """Draw the mean of mu.z, and the ELBO, against kappa for both laws."""
    kappa = torch.linspace(5, 30, 101, dtype=torch.float64)
    m = model.posterior.ambient_dim
    law = PublicVonMisesFisher(torch.eye(m, dtype=torch.float64)[0], kappa, validate_args=False)
    means = {"exact law": law.mean_resultant_length, "public law": law.sampled_mean_resultant_length}
    elbos = {
        name: [elbo_at(model, x, value, family) for value in kappa.tolist()]
        for name, family in (("exact law", VonMisesFisher), ("public law", PublicVonMisesFisher))
    }
    figure, (left, right) = plotting.subplots(1, 2, size=(10, 3.2))
    figure.suptitle(title)
    for axes, columns, label in ((left, means, "mean of μ·z"), (right, elbos, "ELBO (nats), decoder fixed")):
        for (name, column), colour in zip(columns.items(), plotting.CURVE_COLOURS, strict=False):
            axes.plot(kappa, column, color=colour, label=name)
        axes.set(xlabel="κ, the same for all images", ylabel=label)
        axes.grid()
    left.legend()
    return figure
