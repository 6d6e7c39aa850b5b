"""What training refuses, and what stops it."""

import math

import torch
from torch import Tensor, nn

from hvae_tutorial.models import M1M2, M2, VAE, BernoulliLikelihood
from hvae_tutorial.training.settings import TrainingSettings


def check_data(model: VAE | M2 | M1M2, train: Tensor, validation: Tensor, settings: TrainingSettings) -> None:
    """Check that model and data can be trained with these settings, and on each other.

    Raises:
        RuntimeError: gradients are switched off.
        TypeError: the model is none of these, the settings are no `TrainingSettings`, or the data are no tensors.
        ValueError: the model is in half precision or has nothing to train, or the data have a wrong shape, dtype or
            range.
    """
    if not isinstance(model, VAE | M2 | M1M2):
        raise TypeError(f"model must be a VAE, M2 or M1M2, got {type(model).__name__}")
    if not isinstance(settings, TrainingSettings):
        raise TypeError(f"settings must be TrainingSettings, got {type(settings).__name__}")
    if not torch.is_grad_enabled():
        raise RuntimeError("fit needs gradients, which torch.no_grad or torch.inference_mode has switched off here")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("the model must have a parameter that requires a gradient, but all are frozen")
    for name, parameter in model.named_parameters():
        if parameter.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"the model must have float32 or float64 parameters, but {name} is {parameter.dtype}, in which small "
                "steps are lost: call model.float(), and fit under torch.autocast to compute in half precision"
            )
    x_dim = model.likelihood.x_dim
    dtype = next(model.parameters()).dtype
    binary = isinstance(model.likelihood, BernoulliLikelihood)
    if settings.dynamic_binarization and not binary:
        raise ValueError(
            "dynamic_binarization=True draws binary pixels, but the model has a "
            f"{type(model.likelihood).__name__}: set dynamic_binarization=False"
        )
    for name, data in (("train", train), ("validation", validation)):
        if not isinstance(data, Tensor):
            raise TypeError(
                f"{name} must be a tensor of shape (n, {x_dim}) that holds all the data, from which fit draws batches "
                f"itself, got {type(data).__module__}.{type(data).__qualname__}"
            )
        if data.ndim != 2 or data.shape[1] != x_dim or len(data) == 0:
            raise ValueError(f"{name} must have shape (n, {x_dim}) with n >= 1, got {tuple(data.shape)}")
        if data.dtype != dtype:
            raise ValueError(f"{name} must have the dtype of the model's parameters, {dtype}, got {data.dtype}")
        least, greatest = (value.item() for value in data.aminmax())  # NaN if there is a NaN
        if not (math.isfinite(least) and math.isfinite(greatest)):
            raise ValueError(f"{name} must be finite, but holds {least} to {greatest}")
        if binary and not (least >= 0 and greatest <= 1):
            raise ValueError(
                f"{name} must be in [0, 1] for a Bernoulli likelihood, but spans {least:g} to {greatest:g}"
            )


def check_finite(model: nn.Module, epoch: int, **terms: list[Tensor]) -> None:
    """Raise a FloatingPointError that names the first term, else the first parameter, that is not finite."""
    for split, batches in terms.items():
        finite = torch.stack([batch.isfinite().all(dim=1) for batch in batches])  # (batches, 2)
        if not finite.all():
            batch, term = (~finite).nonzero()[0].tolist()
            name = ("reconstruction", "kl")[term]
            raise FloatingPointError(
                f"training broke in epoch {epoch}: {name} is not finite in {split} batch {batch + 1}"
            )
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise FloatingPointError(f"training broke in epoch {epoch}: parameter {name} is not finite")
