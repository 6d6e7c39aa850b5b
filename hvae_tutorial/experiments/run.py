"""One run of an experiment: what it is, doing it, and finding it again.

A run is identified by a hash of its settings and of the package version. `execute` leaves three files in a folder, all
with the run's name: the record (`.json`), the model (`.safetensors`) and, while it trains, a `.checkpoint`. The record
is written last: where it exists the run is finished, and where only the checkpoint exists the run goes on from there.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hvae_tutorial import __version__, data
from hvae_tutorial.data import Dataset
from hvae_tutorial.experiments.presets import Preset
from hvae_tutorial.experiments.protocol import binarized, seeded
from hvae_tutorial.experiments.provenance import provenance
from hvae_tutorial.models.vae import VAE, mlp_vae
from hvae_tutorial.records import Record, record_name, settings_key, write
from hvae_tutorial.training import TrainingResult, TrainingSettings, fit, resolve_device

# The learning curve in a record keeps at most this many epochs, so that records stay small.
CURVE_POINTS = 200


@dataclass(frozen=True)
class Run:
    """One model, trained and measured once: everything that decides its numbers."""

    experiment: str
    data: str
    model: str  # "s", "n", "ps" or "ae"
    d: int
    training: TrainingSettings
    hidden: tuple[int, ...] = (256, 128)
    likelihood: str = "bernoulli"
    importance_samples: int = 500

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as a record keeps them. The device is no setting: it is where a run happens, not what it is."""
        training = dataclasses.asdict(self.training)
        del training["device"]
        return {
            "data": self.data,
            "model": self.model,
            "d": self.d,
            "hidden": list(self.hidden),
            "likelihood": self.likelihood,
            "importance_samples": self.importance_samples,
            **training,
        }

    @property
    def key(self) -> str:
        """Hash of the settings and of the package version."""
        return settings_key(self.experiment, self.settings, __version__)

    @property
    def name(self) -> str:
        """Name of this run's files, without extension."""
        return record_name(self.experiment, self.settings, self.key)

    @property
    def device(self) -> str:
        """Where it trains, as `training.resolve_device` takes it."""
        return self.training.device

    @property
    def title(self) -> str:
        """What a progress bar calls this run."""
        beta = "" if self.training.beta == 1 else f" beta={self.training.beta:g}"
        return f"{self.model} d={self.d}{beta} seed={self.training.seed}"


def training_settings(preset: Preset, *, seed: int, device: str, **special: Any) -> TrainingSettings:
    """Return the settings of one run's training at this preset; `special` are settings that no preset has."""
    efforts = dataclasses.asdict(preset)
    del efforts["seeds"], efforts["importance_samples"]
    return TrainingSettings(**efforts, seed=seed, device=device, **special)


# What an experiment measures of a trained model: numbers, by name (or by name and name).
Evaluate = Callable[[VAE, Dataset, Run], dict[str, Any]]


def execute(run: Run, evaluate: Evaluate, folder: Path, *, progress: bool) -> Record:
    """Train, measure and record one run, going on from its checkpoint where there is one.

    Args:
        run: what to do.
        evaluate: measures of the trained model, on the device that it was trained on.
        folder: where the files go; made if missing.
        progress: show a progress bar of the epochs.

    Returns:
        The record, as written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dataset = data.load(run.data)
    validation = binarized(dataset).validation if run.likelihood == "bernoulli" else dataset.validation
    device = resolve_device(run.training.device)
    x_dim = dataset.train.shape[1]
    with seeded(run.training.seed, device):
        model = mlp_vae(run.model, run.d, x_dim=x_dim, hidden=run.hidden, likelihood=run.likelihood)
    checkpoint = folder / f"{run.name}.checkpoint"
    result = fit(
        model,
        dataset.train,
        validation,
        run.training,
        checkpoint=checkpoint,
        progress=progress,
        description=run.title,
    )
    with seeded(run.training.seed, device):
        results = evaluate(model, dataset, run)
    record = finished(run.experiment, run, results, result, provenance(device, dataset.sha256))
    model.save(folder / f"{run.name}.safetensors")
    write(record, folder)
    checkpoint.unlink(missing_ok=True)
    return record


def trained_model(run: Run, folder: Path) -> VAE:
    """Load the model of a run that has a record in `folder`, on the CPU.

    Raises:
        ValueError: the model's file is missing or damaged.
    """
    path = folder / f"{run.name}.safetensors"
    try:
        return VAE.load(path)
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(f"{error}; delete {path.with_suffix('.json')} to do this run again") from error


class Recorded(Protocol):
    """What a record needs of a run."""

    @property
    def key(self) -> str:
        """Hash of the settings and of the package version."""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as a record keeps them."""


def finished(
    experiment: str, run: Recorded, results: dict[str, Any], training: TrainingResult, origin: dict[str, Any]
) -> Record:
    """Return the record of a run, with its numbers rounded and its learning curve thinned."""
    return Record(
        experiment=experiment,
        key=run.key,
        settings=run.settings,
        results=rounded(results, digits=7),
        training=training_summary(training),
        history=rounded(thinned(training.history), digits=5),
        provenance=origin,
    )


def training_summary(result: TrainingResult) -> dict[str, float]:
    """Return how training went, as a record keeps it."""
    return {
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        "seconds": round(result.seconds, 1),
        "seconds_per_epoch": round(result.seconds_per_epoch, 4),
    }


def thinned(history: dict[str, list[float]]) -> dict[str, list[float]]:
    """Return at most `CURVE_POINTS` evenly spaced epochs of a learning curve, first and last included, and `epoch`."""
    epochs = len(next(iter(history.values())))
    if epochs > CURVE_POINTS:
        step = (epochs - 1) / (CURVE_POINTS - 1)
        kept = [round(i * step) for i in range(CURVE_POINTS)]
    else:
        kept = list(range(epochs))
    columns = {name: [column[i] for i in kept] for name, column in history.items() if name != "seconds"}
    return {"epoch": [i + 1 for i in kept], **columns}


def rounded(value: Any, *, digits: int) -> Any:
    """Return nested dictionaries and lists with their floats rounded to significant digits."""
    if isinstance(value, dict):
        return {name: rounded(item, digits=digits) for name, item in value.items()}
    if isinstance(value, list):
        return [rounded(item, digits=digits) for item in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value
