"""How long an experiment runs: three presets for each, every value of which the command line can replace."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """The effort put into an experiment; what the paper fixes and what may be cut down."""

    epochs: int  # at most this many
    warmup_epochs: int  # the KL term's weight rises linearly over these
    patience: int  # epochs after warm-up without a better validation ELBO, then training stops
    seeds: int  # runs of each cell: seeds 0, 1, ..., seeds - 1
    importance_samples: int  # for the log-likelihood
    batch_size: int = 64
    learning_rate: float = 1e-3


@dataclass(frozen=True)
class GraphPreset:
    """The same for link prediction, where a run takes the whole graph in every step and keeps the last epoch."""

    epochs: int
    seeds: int  # runs of each cell, each with its own split of the edges
    learning_rate: float = 1e-2
    dropout: float = 0.0


TABLE1 = {
    "smoke": Preset(epochs=3, warmup_epochs=1, patience=3, seeds=1, importance_samples=10),
    "quick": Preset(epochs=60, warmup_epochs=15, patience=15, seeds=3, importance_samples=100),
    "paper": Preset(epochs=1000, warmup_epochs=100, patience=50, seeds=10, importance_samples=500),
}

# Figure 1 compares fixed values of beta, so its KL term has no warm-up; patience = epochs never stops early.
FIGURE1 = {
    "smoke": Preset(epochs=3, warmup_epochs=0, patience=3, seeds=1, importance_samples=10),
    "quick": Preset(epochs=100, warmup_epochs=0, patience=100, seeds=3, importance_samples=100),
    "paper": Preset(epochs=100, warmup_epochs=0, patience=100, seeds=10, importance_samples=500),
}

TABLE4 = {
    "smoke": GraphPreset(epochs=3, seeds=1),
    "quick": GraphPreset(epochs=200, seeds=3),
    "paper": GraphPreset(epochs=200, seeds=10),
}

TABLE3 = {
    "smoke": Preset(epochs=3, warmup_epochs=1, patience=3, seeds=1, importance_samples=10),
    "quick": Preset(epochs=60, warmup_epochs=15, patience=15, seeds=2, importance_samples=100),
    "paper": Preset(epochs=1000, warmup_epochs=100, patience=50, seeds=10, importance_samples=500),
}
