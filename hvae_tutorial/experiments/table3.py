"""Table 3: semi-supervised M1+M2 with 100 labels, by the posteriors of z1 and z2 and their dimensions.

As in `run`, a run is identified by a hash of its settings and of the package version, leaves a record (`.json`) and its
weights (`.safetensors`), and goes on from its checkpoint when it was killed.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from hvae_tutorial import __version__, plotting
from hvae_tutorial.data import Dataset, balanced_indices, load
from hvae_tutorial.experiments import results
from hvae_tutorial.experiments.presets import Preset
from hvae_tutorial.experiments.protocol import PASSES, binarized, seeded
from hvae_tutorial.experiments.provenance import provenance
from hvae_tutorial.experiments.report import Report, save
from hvae_tutorial.experiments.run import finished, training_settings
from hvae_tutorial.experiments.sweep import sweep
from hvae_tutorial.files import write_atomically
from hvae_tutorial.models import M1M2, StackedM1M2, mlp_m1m2
from hvae_tutorial.objectives import ElboTerms, unlabelled_bound
from hvae_tutorial.records import Record, record_name, settings_key, write
from hvae_tutorial.semi_supervised import SemiSupervised
from hvae_tutorial.training import TrainingSettings, fit, resolve_device

SCHEMES = ("end-to-end", "stacked")


@dataclass(frozen=True, kw_only=True)
class SemiSupervisedRun:
    """One M1+M2, trained and measured once: everything that decides its numbers.

    The seed decides which training images keep their labels, the initial weights and all draws.
    """

    data: str
    model: str  # the posteriors of z1 and z2: "nn", "ss", "sn" or "ns"
    d: tuple[int, int]  # the dimensions of their spaces
    training: TrainingSettings
    scheme: Literal["end-to-end", "stacked"] = "end-to-end"  # as the paper, or M2 on a trained M1 as Kingma et al.
    labels: int = 100
    labelled_batch_size: int = 16
    alpha: float = 0.1  # weight of the classifier's log-likelihood, as Kingma et al.
    hidden: tuple[int, ...] = (256, 128)
    m2_hidden: int = 128

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as a record keeps them. The device is no setting: it is where a run happens, not what it is."""
        settings = dataclasses.asdict(self) | dataclasses.asdict(self.training)
        del settings["training"], settings["device"]
        return settings | {"d": list(self.d), "hidden": list(self.hidden)}

    @property
    def key(self) -> str:
        """Hash of the settings and of the package version."""
        return settings_key("table3", self.settings, __version__)

    @property
    def name(self) -> str:
        """Name of this run's files, without extension."""
        return record_name("table3", self.settings, self.key)

    @property
    def title(self) -> str:
        """What a progress bar calls this run."""
        return f"{self.model} d={self.d[0]},{self.d[1]} seed={self.training.seed}"

    @property
    def device(self) -> str:
        """Where it trains, as `training.resolve_device` takes it."""
        return self.training.device


def reproduce(
    *,
    data: str,
    preset: Preset,
    configs: Sequence[tuple[int, int]],
    pairs: Sequence[str] = ("nn", "ss", "sn"),
    scheme: Literal["end-to-end", "stacked"] = "end-to-end",
    device: str = "auto",
    out: Path = Path("runs"),
    jobs: int | None = None,
    dask: str | None = None,
) -> Report:
    """Do the runs that are missing, then make Table 3 and the learning curves, all in the folder `out/table3-<data>`.

    Args:
        data: name of a set of images with ten classes.
        preset: how long to train, and how many seeds.
        configs: dimensions of the spaces of z1 and z2.
        pairs: of `"nn"`, `"ss"`, `"sn"` and `"ns"`: the posteriors of z1 and z2.
        scheme: `"end-to-end"` or `"stacked"`, which trains M1 first and then M2 on it.
        device: where to train, as `training.resolve_device` takes it.
        out: the folder of all results.
        jobs: number of processes, as `sweep` takes it.
        dask: address of a Dask scheduler, as `sweep` takes it.

    Raises:
        ValueError: there is nothing to do, the data are no images, a setting is out of range, or a file of an earlier
            run is damaged.
        DataError: the data cannot be had.
        SweepError: some runs failed.
    """
    if not configs or not pairs:
        raise ValueError(f"configs and pairs must not be empty, got configs {tuple(configs)} and pairs {tuple(pairs)}")
    if scheme not in SCHEMES:
        raise ValueError(f"scheme must be one of {', '.join(map(repr, SCHEMES))}, got {scheme!r}")
    dataset = load(data)  # before any process starts: a download happens once, and an error is seen at once
    if not isinstance(dataset, Dataset) or dataset.image_shape is None:
        raise ValueError(f"Table 3 is about images, which the data set {data!r} is not")
    runs = [
        SemiSupervisedRun(
            data=data,
            model=pair,
            d=config,
            training=training_settings(preset, seed=seed, device=device),
            scheme=scheme,
        )
        for seed in range(preset.seeds)  # outermost: an unfinished sweep has something in every cell
        for config in configs
        for pair in pairs
    ]
    folder = out / f"table3-{data}"
    records = sweep(runs, execute, folder, jobs=jobs, dask=dask)
    table = results.table3(records)
    pictures = {}
    for config in configs:
        curves: dict[str, list] = {}
        for record in records:
            if record.settings["d"] == list(config):
                curves.setdefault(results.MODELS[record.settings["model"]], []).append(record.history)
        name = "learning-curves-d{}+{}".format(*config)
        pictures[name] = plotting.learning_curves(curves, title="{}, M1+M2, d = {}, {}".format(data, *config))
    return Report(tables=[table], files=save(folder, {"table3": table}, pictures))


def execute(run: SemiSupervisedRun, *, folder: Path, progress: bool) -> Record:
    """Train, measure and record one run, going on from its checkpoint where there is one.

    Args:
        run: what to do.
        folder: where the files go; made if missing.
        progress: show a progress bar of the epochs.

    Returns:
        The record, as written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dataset = load(run.data)
    images = binarized(dataset)
    device = resolve_device(run.training.device)
    with seeded(run.training.seed, device):
        model = mlp_m1m2(run.model, *run.d, x_dim=dataset.train.shape[1], hidden=run.hidden, m2_hidden=run.m2_hidden)
    checkpoints = {part: folder / f"{run.name}{part}.checkpoint" for part in ("", ".m1")}
    options: dict[str, Any] = {"progress": progress, "description": run.title}
    if run.scheme == "stacked":
        fit(model.m1, dataset.train, images.validation, run.training, checkpoint=checkpoints[".m1"], **options)
        model = StackedM1M2(model.m1, model.m2)

    index = balanced_indices(dataset.train_labels.numpy(), run.labels, np.random.default_rng(run.training.seed))
    objective = SemiSupervised(
        dataset.train[index].to(device),
        dataset.train_labels[index].to(device),
        num_unlabelled=len(dataset.train),
        batch_size=run.labelled_batch_size,
        alpha=run.alpha,
    )
    result = fit(
        model,
        dataset.train,
        images.validation,
        run.training,
        objective=objective,
        checkpoint=checkpoints[""],
        **options,
    )
    with seeded(run.training.seed, device):
        measured = evaluate(model, images)
    record = finished("table3", run, measured, result, provenance(device, dataset.sha256))
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    metadata = {"run": json.dumps(run.settings)}
    write_atomically(folder / f"{run.name}.safetensors", safetensors.torch.save(weights, metadata))
    write(record, folder)
    for checkpoint in checkpoints.values():
        checkpoint.unlink(missing_ok=True)
    return record


@torch.no_grad()
def evaluate(model: M1M2, images: Dataset) -> dict[str, float]:
    """Measure a model on binarised test images, and its accuracy on the validation images.

    Returns:
        `accuracy` and `validation_accuracy`, fractions; `elbo`, `reconstruction` and `kl` of the unlabelled bound,
        means over images and `PASSES` passes; `class_entropy`, the mean entropy of q(y|x) in nats: near log C = 2.3
        the classifier does not commit itself.
    """
    device = next(model.parameters()).device
    test = images.test.to(device)
    logits = model.class_logits(test)
    passes = [torch.stack([term.mean() for term in unlabelled_bound(model, test)]) for _ in range(PASSES)]
    return {
        "accuracy": _accuracy(logits, images.test_labels),
        "validation_accuracy": _accuracy(model.class_logits(images.validation.to(device)), images.validation_labels),
        **dict(zip(ElboTerms._fields, torch.stack(passes).mean(0).tolist(), strict=True)),
        "class_entropy": torch.distributions.Categorical(logits=logits).entropy().mean().item(),
    }


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return (logits.argmax(-1).cpu() == labels).float().mean().item()
