r"""How long and how to train.

Epochs are counted from 1. The KL term of epoch e has the weight

$$\beta_e = \beta \min(1, (e - 1) / W), \qquad W = \text{warmup\_epochs}$$

so that it is 0 in the first epoch and $\beta$ from epoch W + 1 on. Only these later epochs count for early stopping,
which judges them by the validation ELBO at the final $\beta$: during warm-up the KL is hardly weighed, and an epoch
chosen then would be chosen for its reconstruction alone.
"""

from dataclasses import dataclass

import numpy as np

from hvae_tutorial.models.layers import check_integer, check_number


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
        if self.seed >= 2**63:
            raise ValueError(f"seed must be below 2^63, got {self.seed}")
        # Plain numbers: NumPy's go into no checkpoint or JSON.
        object.__setattr__(self, "learning_rate", check_number("learning_rate", self.learning_rate, above=0))
        object.__setattr__(self, "beta", check_number("beta", self.beta, least=0))
        if not isinstance(self.dynamic_binarization, bool | np.bool_):
            raise ValueError(f"dynamic_binarization must be True or False, got {self.dynamic_binarization!r}")
        object.__setattr__(self, "dynamic_binarization", bool(self.dynamic_binarization))

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
