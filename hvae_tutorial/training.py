r"""The training loop: one function, readable from top to bottom.

Epochs are counted from 1. The KL term of epoch e has the weight

$$\beta_e = \beta \min(1, (e - 1) / W), \qquad W = \text{warmup\_epochs}$$

so that it is 0 in the first epoch and $\beta$ from epoch W + 1 on. Only these later epochs count for early stopping,
which judges them by the validation ELBO at the final $\beta$: during warm-up the KL is hardly weighed, and an epoch
chosen then would be chosen for its reconstruction alone.
"""

import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from hvae_tutorial.checkpoints import (
    identity,
    random_state,
    read_checkpoint,
    run_identity,
    set_random_state,
    write_checkpoint,
)
from hvae_tutorial.data import binarize
from hvae_tutorial.models import M1M2, M2, VAE, BernoulliLikelihood
from hvae_tutorial.models.layers import check_integer
from hvae_tutorial.objectives import ElboTerms, elbo

# A checkpoint is written at the end of the first epoch that ends this long after the last: small data have epochs
# shorter than the writing takes.
CHECKPOINT_SECONDS = 5.0

VALIDATION_BATCH = 1024  # points: few enough for the processor's cache, whatever the size of the validation set

Objective = Callable[[Any, Tensor, float], ElboTerms]  # of a model, a batch and the weight of the KL term
Stop = Callable[[Mapping[str, list[float]]], bool]  # of a history with at least one epoch

HISTORY = (
    "beta",
    "train_elbo",
    "train_reconstruction",
    "train_kl",
    "validation_elbo",
    "validation_reconstruction",
    "validation_kl",
    "seconds",
)


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """The settings of `fit`. The defaults are the paper's protocol.

    Raises:
        ValueError: if a setting is out of its range.
    """

    epochs: int = 1000  # at most so many, >= 1
    batch_size: int = 64  # >= 1; the last batch of an epoch may be smaller
    learning_rate: float = 1e-3  # of Adam, > 0
    warmup_epochs: int = 100  # over which the KL weight rises from 0 to beta, >= 0
    patience: int = 50  # stop after so many epochs (past warm-up) without a better validation ELBO, >= 1
    beta: float = 1.0  # weight of the KL term when warm-up has ended, >= 0
    seed: int = 0  # of shuffling, binarisation and latent draws, >= 0; the initial weights are the caller's
    device: str = "auto"  # as `resolve_device` takes it
    dynamic_binarization: bool = True  # draw binary pixels from the intensities anew for every batch

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, least in (("epochs", 1), ("batch_size", 1), ("warmup_epochs", 0), ("patience", 1), ("seed", 0)):
            object.__setattr__(self, name, check_integer(name, getattr(self, name), least=least))
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate must be a finite number > 0, got {self.learning_rate!r}")
        if not (math.isfinite(self.beta) and self.beta >= 0):
            raise ValueError(f"beta must be a finite number >= 0, got {self.beta!r}")
        for name, plain in (("learning_rate", float), ("beta", float), ("dynamic_binarization", bool)):
            object.__setattr__(self, name, plain(getattr(self, name)))  # NumPy's numbers go into no checkpoint or JSON

    def kl_weight(self, epoch: int) -> float:
        """Return beta_e, the weight of the KL term in epoch `epoch` = 1, 2, ..."""
        if epoch > self.warmup_epochs:
            return self.beta
        return self.beta * (epoch - 1) / self.warmup_epochs

    def best_epoch(self, validation_elbo: list[float]) -> int:
        """Return the epoch whose weights are to be kept, after epochs 1, 2, ... with these validation ELBOs.

        It is the (first) best of the epochs after warm-up, and the last epoch as long as there are none.
        """
        counted = validation_elbo[self.warmup_epochs :]
        if not counted:
            return len(validation_elbo)
        return self.warmup_epochs + 1 + counted.index(max(counted))

    def is_finished(self, validation_elbo: list[float]) -> bool:
        """Return whether training ends after epochs 1, 2, ... with these validation ELBOs."""
        epoch = len(validation_elbo)
        return epoch >= self.epochs or epoch - self.best_epoch(validation_elbo) >= self.patience


@dataclass(frozen=True)
class TrainingResult:
    """What `fit` did.

    Attributes:
        history: one list for each column, with one value an epoch. "beta" is the weight of the KL term in that epoch.
            "train_elbo", "train_reconstruction", "train_kl" are means over the epoch's batches as they were trained on,
            "validation_..." over the validation data after the epoch; every ELBO is at the final beta, so that epochs
            compare. "seconds" is the time of the epoch, validation included.
        epochs: number of epochs run.
        best_epoch: the epoch, counted from 1, whose weights the model now has.
        seconds: time of all epochs, summed over the parts of a resumed run.
        seconds_per_epoch: median time of an epoch.
    """

    history: dict[str, list[float]]
    epochs: int
    best_epoch: int
    seconds: float
    seconds_per_epoch: float


def fit(
    model: VAE | M2 | M1M2,
    train: Tensor,
    validation: Tensor,
    settings: TrainingSettings,
    *,
    objective: Objective = elbo,
    stop: Stop | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
    description: str = "",
) -> TrainingResult:
    """Train `model` by Adam on its bound; when it returns, the model has the best weights and is in evaluation mode.

    All randomness comes from `settings.seed`; torch's global generators are left as they were. With a checkpoint, a run
    that was killed goes on where it was when called again with the same arguments: on the CPU, with the same number of
    threads, it ends with the very weights of a run that was never interrupted. Called again when finished, it returns
    the same result at once. The same arguments are: the same data and settings, and a model with the weights that the
    run began with (built anew from the same seed), or the one that a finished run left.

    Inside `torch.autocast` the objective is computed under it, and gradients and steps in the parameters' own dtype.

    Args:
        model: its parameters in float32 or float64; moved to the device, where it stays.
        train: all data, (n, x_dim). With dynamic binarisation intensities in [0, 1], from which pixels are drawn anew
            for every batch; without, the data as the likelihood takes them.
        validation: (n, x_dim), as the likelihood takes them: already binarised if it is Bernoulli.
        settings: see `TrainingSettings`.
        objective: what is made large, a function of model, batch and KL weight that returns the terms of each point,
            with gradients; its `elbo` may hold more than the bound. In evaluation mode its terms are the validation's.
            With a checkpoint it must be something that `checkpoints.identity` can tell from others: no lambda.
        stop: also ends training after an epoch when it returns true for the history up to there, as
            `TrainingResult.history` has it. With a checkpoint it needs an identity, as the objective does.
        checkpoint: file to resume from if it exists, and to write every few seconds and at the end.
        progress: show a progress bar on the standard error stream.
        description: the bar's label.

    Raises:
        TypeError: if the data are no tensors, but an array, say, or a `DataLoader`.
        ValueError: if the model is in half precision, the data have a wrong shape or range, the objective has no
            identity, or the checkpoint is damaged or belongs to a run with other settings, model, weights, objective or
            data.
        FloatingPointError: if a term or a parameter is no longer finite at the end of an epoch.
    """
    _check_data(model, train, validation, settings)
    device = resolve_device(settings.device)
    path = None if checkpoint is None else Path(checkpoint)
    data = {"train": train, "validation": validation}
    decided = {**asdict(settings), "stop": None if stop is None or path is None else identity(stop)}
    run = {} if path is None else run_identity(model, data, decided, objective, device)

    model.to(device)
    train, validation = train.to(device), validation.to(device)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=settings.learning_rate, fused=True)
    history: dict[str, list[float]] = {column: [] for column in HISTORY}
    best_weights: dict[str, Tensor] = {}

    saved = None
    if path is not None and path.exists():
        saved = read_checkpoint(path, run)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        history, best_weights = saved["history"], saved["best_weights"]

    if torch.is_autocast_enabled(device.type):
        # The objective alone: torch advises against it in backward passes. Without its cache of lowered weights, which
        # would go on with those of the first step.
        objective = torch.autocast(device.type, cache_enabled=False)(objective)
    with (
        torch.autocast(device.type, enabled=False),
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        _progress_bar(settings.epochs, done=len(history["beta"]), label=description, show=progress) as bar,
    ):
        torch.manual_seed(settings.seed)
        if saved is not None:
            set_random_state(saved["random_state"], device)
        last_written = time.monotonic()
        finished = saved is not None and saved["finished"]
        while not finished:
            started = time.perf_counter()
            epoch = len(history["beta"]) + 1
            beta = settings.kl_weight(epoch)

            seen = _train_epoch(model, train, objective, beta, optimizer, settings)
            unseen = _terms_in_batches(model.eval(), validation, objective)
            check_finite(model, epoch, train=seen, validation=unseen)
            measured = {
                "beta": beta,
                **_means("train", seen, settings.beta),
                **_means("validation", unseen, settings.beta),
                "seconds": time.perf_counter() - started,
            }
            for column, value in measured.items():
                history[column].append(value)
            if settings.best_epoch(history["validation_elbo"]) == epoch:
                best_weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}

            _advance(bar, measured)
            finished = settings.is_finished(history["validation_elbo"]) or (stop is not None and stop(history))
            if path is not None and (finished or time.monotonic() - last_written >= CHECKPOINT_SECONDS):
                state = {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "history": history,
                    "best_weights": best_weights,
                    "random_state": random_state(device),
                    "finished": finished,
                }
                write_checkpoint(path, run, state)
                last_written = time.monotonic()

    model.load_state_dict(best_weights)
    model.eval()
    torch.clear_autocast_cache()  # of weights from before
    return TrainingResult(
        history=history,
        epochs=len(history["beta"]),
        best_epoch=settings.best_epoch(history["validation_elbo"]),
        seconds=sum(history["seconds"]),
        seconds_per_epoch=statistics.median(history["seconds"]),
    )


def _train_epoch(
    model: nn.Module,
    train: Tensor,
    objective: Objective,
    beta: float,
    optimizer: torch.optim.Optimizer,
    settings: TrainingSettings,
) -> list[Tensor]:
    """Take a step for each batch, in a new order, and return (reconstruction, kl) of each as it was trained on."""
    model.train()
    seen = []  # read once, when the epoch is over
    for index in torch.randperm(len(train), device=train.device).split(settings.batch_size):
        x = train.index_select(0, index)
        if settings.dynamic_binarization:
            x = binarize(x)
        seen.append(training_step(model, x, objective, beta, optimizer))
    return seen


def training_step(
    model: nn.Module, x: Tensor, objective: Objective, beta: float, optimizer: torch.optim.Optimizer
) -> Tensor:
    """Take one step on the batch `x`, (batch, x_dim), and return its reconstruction and kl, (2, batch)."""
    terms = objective(model, x, beta)
    for group in optimizer.param_groups:
        for parameter in group["params"]:  # what optimizer.zero_grad() does, without its 0.1 ms of bookkeeping
            parameter.grad = None
    (-terms.elbo.mean()).backward()
    optimizer.step()
    return torch.stack((terms.reconstruction, terms.kl)).detach()


def resolve_device(name: str) -> torch.device:
    """Return the device called `name`: "cpu", "cuda", "cuda:1", ..., or "auto": CUDA if there is one, else the CPU.

    Raises:
        ValueError: if the name is unknown or the device is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got {name!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices")
    return device


@torch.no_grad()
def _terms_in_batches(model: nn.Module, x: Tensor, objective: Objective) -> list[Tensor]:
    """Return (reconstruction, kl) of each batch of `x`, from one latent draw a point."""
    return [torch.stack(objective(model, batch, 1.0)[1:]) for batch in x.split(VALIDATION_BATCH)]


def _means(split: str, terms: Iterable[Tensor], beta: float) -> dict[str, float]:
    """Return the means of the terms over all points, and of their ELBO at `beta`. This waits for the device."""
    reconstruction, kl = torch.cat(list(terms), dim=1).mean(dim=1).tolist()
    return {
        f"{split}_elbo": reconstruction - beta * kl,
        f"{split}_reconstruction": reconstruction,
        f"{split}_kl": kl,
    }


def _progress_bar(epochs: int, *, done: int, label: str, show: bool) -> tqdm:
    return tqdm(total=epochs, initial=done, desc=label, unit="epoch", file=sys.stderr, disable=not show)


def _advance(bar: tqdm, measured: dict[str, float]) -> None:
    """Show that an epoch is over and what came out."""
    summary = (
        "train {train_elbo:.2f}, validation {validation_elbo:.2f} "
        "(reconstruction {validation_reconstruction:.2f}, KL {validation_kl:.2f}), beta {beta:.2f}"
    )
    bar.set_postfix_str(summary.format(**measured), refresh=False)
    bar.update()


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


def _check_data(model: VAE | M2 | M1M2, train: Tensor, validation: Tensor, settings: TrainingSettings) -> None:
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
