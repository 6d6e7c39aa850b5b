"""The training loop: one function, readable from top to bottom."""

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from hvae_tutorial.checkpoints import identity, run_identity
from hvae_tutorial.data import binarize
from hvae_tutorial.models import M1M2, M2, VAE
from hvae_tutorial.objectives import ElboTerms, elbo
from hvae_tutorial.training.checks import check_data, check_finite
from hvae_tutorial.training.devices import resolve_device
from hvae_tutorial.training.journal import Journal, TrainingResult
from hvae_tutorial.training.settings import TrainingSettings

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


def fit(
    model: VAE | M2 | M1M2,
    train: Tensor,
    validation: Tensor,
    settings: TrainingSettings,
    *,
    objective: Objective = elbo,
    validation_objective: Objective | None = None,
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
            with gradients; its `elbo` may hold more than the bound. With a checkpoint it must be something that
            `checkpoints.identity` can tell from others: no lambda.
        validation_objective: what the validation data are judged by, with the model in evaluation mode, where it is not
            the objective itself.
        stop: also ends training after an epoch when it returns true for the history up to there, as
            `TrainingResult.history` has it. With a checkpoint it needs an identity, as the objective does.
        checkpoint: file to resume from if it exists, and to write every few seconds and at the end.
        progress: show a progress bar on the standard error stream.
        description: the bar's label.

    Raises:
        TypeError: if the data are no tensors, but an array, say, or a `DataLoader`.
        ValueError: if the model is in half precision, the data have a wrong shape or range, the objective or `stop` has
            no identity, or the checkpoint is damaged or belongs to a run with other settings, model, weights, data,
            objective or `stop`.
        FloatingPointError: if a term or a parameter is no longer finite at the end of an epoch.

    Examples:
        >>> import torch
        >>> from hvae_tutorial.models import mlp_vae
        >>> from hvae_tutorial.training import TrainingSettings, fit
        >>> x = torch.ones(32, 16)
        >>> settings = TrainingSettings(epochs=3, warmup_epochs=1)
        >>> result = fit(mlp_vae("s", 2, x_dim=16), x, x, settings, progress=False)
        >>> result.epochs, result.history["beta"]
        (3, [0.0, 1.0, 1.0])
    """
    check_data(model, train, validation, settings)
    judge = objective if validation_objective is None else validation_objective
    device = resolve_device(settings.device)
    run: dict[str, Any] = {}
    if checkpoint is not None:
        data = {"train": train, "validation": validation}
        run = {
            **run_identity(model, data, asdict(settings), objective, device),
            "validation objective": identity(judge),
            "stop": None if stop is None else identity(stop),
        }

    model.to(device)
    train, validation = train.to(device), validation.to(device)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=settings.learning_rate, fused=True)
    journal = Journal(model, optimizer, device, None if checkpoint is None else Path(checkpoint), run)
    if torch.is_autocast_enabled(device.type):
        # The objectives alone: torch advises against it in backward passes. Without its cache of lowered weights, which
        # would go on with those of the first step.
        lowered = torch.autocast(device.type, cache_enabled=False)
        objective, judge = lowered(objective), lowered(judge)
    with (
        torch.autocast(device.type, enabled=False),
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
    ):
        torch.manual_seed(settings.seed)
        journal.resume()
        finished = _is_finished(journal, settings, stop)
        with _progress_bar(settings.epochs, done=journal.epochs, label=description, show=progress) as bar:
            while not finished:
                started = time.perf_counter()
                epoch = journal.epochs + 1
                beta = settings.kl_weight(epoch)
                seen = _train_epoch(model.train(), train, objective, beta, optimizer, settings)
                unseen = _validate(model.eval(), validation, judge)
                check_finite(model, epoch, train=seen, validation=unseen)
                measured = {
                    "beta": beta,
                    **_means("train", seen, settings.beta),
                    **_means("validation", unseen, settings.beta),
                    "seconds": time.perf_counter() - started,
                }
                journal.add(measured)
                if settings.best_epoch(journal.values("validation_elbo")) == epoch:
                    journal.keep_weights()
                finished = _is_finished(journal, settings, stop)
                journal.write_if_due(finished=finished)
                _advance(bar, measured)

    journal.restore_weights()
    model.eval()
    torch.clear_autocast_cache()  # of weights from before
    return journal.result(settings.best_epoch(journal.values("validation_elbo")))


def _is_finished(journal: Journal, settings: TrainingSettings, stop: Stop | None) -> bool:
    """Whether the settings, or the caller's rule, end training here."""
    if settings.is_finished(journal.values("validation_elbo")):
        return True
    return stop is not None and journal.epochs > 0 and stop(journal.history)


def _train_epoch(
    model: nn.Module,
    train: Tensor,
    objective: Objective,
    beta: float,
    optimizer: torch.optim.Optimizer,
    settings: TrainingSettings,
) -> list[Tensor]:
    """Take a step for each batch, in a new order, and return (reconstruction, kl) of each as it was trained on."""
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


@torch.no_grad()
def _validate(model: nn.Module, x: Tensor, objective: Objective) -> list[Tensor]:
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
