"""What is kept of a training run while it goes on: its history, its best weights, and a checkpoint to go on from."""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hvae_tutorial.checkpoints import random_state, read_checkpoint, set_random_state, write_checkpoint

# A checkpoint is written at the end of the first epoch that ends this long after the last: small data have epochs
# shorter than the writing takes.
CHECKPOINT_SECONDS = 5.0


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


class Journal:
    """The history of a run, its best weights and its checkpoint.

    Attributes:
        history: one list for each column, with one value an epoch.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
        checkpoint: Path | None,
        run: Mapping[str, Any],
    ) -> None:
        """Begin an empty journal.

        Args:
            model: on the device.
            optimizer: of its parameters.
            device: where it is trained.
            checkpoint: file to go on from and to write, or None for neither.
            run: the run's `checkpoints.run_identity`; not read without a checkpoint.
        """
        self.history: dict[str, list[float]] = {}
        self._best_weights: dict[str, Tensor] = {}
        self._model, self._optimizer, self._device = model, optimizer, device
        self._checkpoint, self._run = checkpoint, run
        self._last_written = time.monotonic()

    @property
    def epochs(self) -> int:
        """The number of epochs that are over."""
        return len(self.values("seconds"))

    def values(self, column: str) -> list[float]:
        """Return the values of a column of the history, one an epoch."""
        return self.history.get(column, [])

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one: model, optimizer, history and torch's generators.

        Raises:
            ValueError: the checkpoint is damaged, or of another run.
        """
        if self._checkpoint is None or not self._checkpoint.exists():
            return
        saved = read_checkpoint(self._checkpoint, self._run)
        self._model.load_state_dict(saved["model"])
        self._optimizer.load_state_dict(saved["optimizer"])
        self.history, self._best_weights = saved["history"], saved["best_weights"]
        set_random_state(saved["random_state"], self._device)

    def add(self, measured: Mapping[str, float]) -> None:
        """Add an epoch: one value for each column, the epoch's "seconds" among them."""
        for column, value in measured.items():
            self.history.setdefault(column, []).append(value)

    def keep_weights(self) -> None:
        """Keep the weights that the model has now, as the best so far."""
        self._best_weights = {name: tensor.clone() for name, tensor in self._model.state_dict().items()}

    def restore_weights(self) -> None:
        """Give the model the weights that were kept."""
        self._model.load_state_dict(self._best_weights)

    def write_if_due(self, *, finished: bool) -> None:
        """Write the checkpoint, if there is to be one, when the run is finished or the last was written long ago."""
        if self._checkpoint is None:
            return
        if finished or time.monotonic() - self._last_written >= CHECKPOINT_SECONDS:
            state = {
                "model": self._model.state_dict(),
                "optimizer": self._optimizer.state_dict(),
                "history": self.history,
                "best_weights": self._best_weights,
                "random_state": random_state(self._device),
                "finished": finished,
            }
            write_checkpoint(self._checkpoint, self._run, state)
            self._last_written = time.monotonic()

    def result(self, best_epoch: int) -> TrainingResult:
        """Return what the run did, with the epoch, counted from 1, whose weights the model has."""
        return TrainingResult(
            history=self.history,
            epochs=self.epochs,
            best_epoch=best_epoch,
            seconds=sum(self.history["seconds"]),
            seconds_per_epoch=statistics.median(self.history["seconds"]),
        )
