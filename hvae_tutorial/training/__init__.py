"""Training: one loop, which reads from top to bottom, its settings, and what it keeps for a run that is killed."""

from hvae_tutorial.training.checks import check_finite
from hvae_tutorial.training.devices import resolve_device
from hvae_tutorial.training.journal import Journal, TrainingResult
from hvae_tutorial.training.loop import HISTORY, Objective, Stop, fit, training_step
from hvae_tutorial.training.settings import TrainingSettings

__all__ = [
    "HISTORY",
    "Journal",
    "Objective",
    "Stop",
    "TrainingResult",
    "TrainingSettings",
    "check_finite",
    "fit",
    "resolve_device",
    "training_step",
]
