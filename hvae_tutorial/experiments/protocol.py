"""How a trained model is measured: the choices on which the paper is silent, made once for all experiments."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hvae_tutorial.data import Dataset, binarize
from hvae_tutorial.experiments import names
from hvae_tutorial.experiments.choices import ACTIVE, FEW_SAMPLES, PASSES
from hvae_tutorial.experiments.run import Run
from hvae_tutorial.models.vae import VAE
from hvae_tutorial.objectives import ElboTerms, elbo, iwae_bound
from hvae_tutorial.records import Record
from hvae_tutorial.training import TrainingSettings


def binarized(dataset: Dataset) -> Dataset:
    """Return the data set with every image binarised once, with a fixed generator: the same images in every run."""
    train, validation, test = (
        binarize(images, torch.Generator().manual_seed(seed))
        for seed, images in enumerate((dataset.train, dataset.validation, dataset.test))
    )
    return dataclasses.replace(dataset, train=train, validation=validation, test=test)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from freshly seeded generators inside, and leave torch's own as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def training_settings(run: Run) -> TrainingSettings:
    """Return the settings of `training.fit` among those of a run.

    Raises:
        ValueError: one of them is out of range.
    """
    names = [field.name for field in dataclasses.fields(TrainingSettings) if field.name != "device"]
    return TrainingSettings(**{name: run.settings[name] for name in names}, device=run.device)


def curves(records: Iterable[Record], name: Callable[[str], str]) -> dict[str, list[Mapping[str, Sequence[float]]]]:
    """Return the learning curves of each model by its name, in the order of the tables."""
    found: dict[str, list[Mapping[str, Sequence[float]]]] = {}
    for record in sorted(records, key=lambda record: names.rank(record.settings["model"])):
        found.setdefault(name(record.settings["model"]), []).append(record.history)
    return found


@torch.no_grad()
def latent_means(model: VAE, x: Tensor) -> Tensor:
    """Return the posterior means of data, `(n, ambient_dim)`; on a sphere the mean directions, of length 1.

    These are the modes of all our posteriors, of a product part by part.
    """
    return model.encode(x).mode


@torch.no_grad()
def measure_vae(model: VAE, x: Tensor, *, importance_samples: int) -> dict[str, Any]:
    """Measure a model on data: log-likelihood, ELBO and its parts, and how concentrated the posteriors are.

    Args:
        model: a trained model.
        x: data on the model's device, `(n, x_dim)`; binarised for a Bernoulli likelihood.
        importance_samples: number of samples for the log-likelihood.

    Returns:
        The ELBO and its terms as `elbo_terms` gives them; `log_likelihood` and `log_likelihood_10`, each with `mean`,
        `standard_error` (over the points) and `samples`; `mean_concentration` where the posterior has one.
    """
    results = {
        **elbo_terms(model, x),
        "log_likelihood": log_likelihood(model, x, importance_samples),
        "log_likelihood_10": log_likelihood(model, x, FEW_SAMPLES),
    }
    concentration = getattr(model.encode(x), "concentration", None)
    if concentration is not None:
        results["mean_concentration"] = concentration.mean().item()
    return results


@torch.no_grad()
def elbo_terms(model: VAE, x: Tensor) -> dict[str, float]:
    """Return `elbo` (at beta = 1), `reconstruction` and `kl`, means over the data and over `PASSES` latent samples."""
    passes = torch.stack([torch.stack([term.mean() for term in elbo(model, x)]) for _ in range(PASSES)])
    return dict(zip(ElboTerms._fields, passes.mean(0).tolist(), strict=True))


@torch.no_grad()
def kl_by_images(model: VAE, data: Dataset) -> dict[str, float]:
    """Return the mean KL term on other images than the binarised test images, to see how much the choice decides.

    Args:
        model: a trained model of pixels.
        data: images with intensities in [0, 1].

    Returns:
        Of the test images: `binarized_anew`, with other random numbers; `thresholded` at 1/2; `intensities`, as they
        are. Of the other parts, binarised once: `validation` and `train`.
    """
    once = binarized(data)
    others = {
        "binarized_anew": binarize(data.test, torch.Generator().manual_seed(len(data.test))),
        "thresholded": (data.test > 0.5).to(data.test.dtype),
        "intensities": data.test,
        "validation": once.validation,
        "train": once.train,
    }
    device = next(model.parameters()).device
    return {name: model.posterior.kl(model.encode(x.to(device))).mean().item() for name, x in others.items()}


def active_units(means: np.ndarray) -> int:
    """Return in how many coordinates latent means, `(n, m)`, vary by more than `ACTIVE` (Burda et al. 2016)."""
    return int((means.var(axis=0) > ACTIVE).sum())


def log_likelihood(model: VAE, x: Tensor, samples: int) -> dict[str, float]:
    """Estimate the mean log-likelihood of the points by importance sampling (Burda et al. 2016), a lower bound."""
    bound = iwae_bound(model, x, samples)
    return {
        "mean": bound.mean().item(),
        "standard_error": (bound.std() / len(bound) ** 0.5).item(),
        "samples": samples,
    }
