"""Doing a run: build, train, measure, record; and finding its model again.

`execute` leaves two files in a folder, both with the run's name: the record (`.json`) and the model (`.safetensors`);
while it trains, a `.checkpoint`. The record is written last: where it exists the run is finished, and where only the
checkpoint exists the run goes on from there.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from hvae_tutorial import __version__, plotting
from hvae_tutorial.data import load
from hvae_tutorial.experiments.protocol import seeded
from hvae_tutorial.experiments.provenance import commit, provenance
from hvae_tutorial.experiments.registry import EXPERIMENTS
from hvae_tutorial.experiments.run import Run
from hvae_tutorial.files import write_atomically
from hvae_tutorial.plotting import Figure
from hvae_tutorial.records import Record, read, write
from hvae_tutorial.records.checks import leaves
from hvae_tutorial.sources import REGISTRY
from hvae_tutorial.training import TrainingResult, resolve_device

# The learning curve in a record keeps at most this many epochs, so that records stay small.
CURVE_POINTS = 200

# A number that is measured again may differ by so much of itself: other releases draw other latent samples.
REPEATED = 1e-3

MODEL_FORMAT = 1


class Study(Protocol):
    """What a module of `studies` has to offer.

    All randomness is torch's: `execute` seeds it before the model is built, and again before it is measured.
    """

    def build(self, settings: Mapping[str, Any], x_dim: int) -> nn.Module:
        """Return the model of a run with these settings, with its initial weights, on the CPU."""

    def train(self, model: Any, data: Any, run: Run, *, checkpoint: Path, progress: bool) -> TrainingResult:
        """Train it on the run's device, where it stays, going on from the checkpoint where there is one."""

    def measure(self, model: Any, data: Any, run: Run) -> dict[str, Any]:
        """Return numbers by name (or by name and name), measured on the device that the model is on."""

    def sample(self, model: Any, n: int) -> Tensor:
        """Return `n` draws from the prior, (n, x_dim), grey values of images; where the data are images."""

    def draw(
        self, data: Any, runs: Sequence[Run], records: Sequence[Record], trained: Callable[[Run], Any]
    ) -> dict[str, Figure]:
        """Return pictures of a finished sweep by the name of their file; `trained` gives the model of a run."""


class SavedModel(NamedTuple):
    """A trained model and the run that made it."""

    model: nn.Module
    run: Run


def study_of(run: Run) -> Study:
    """Return the study that does a run."""
    return cast(Study, import_module(EXPERIMENTS[run.experiment].study))


def execute(run: Run, *, folder: Path, progress: bool) -> Record:
    """Do one run: build, train, measure and record it, going on from its checkpoint where there is one.

    Args:
        run: what to do.
        folder: where the files go; made if missing.
        progress: show a progress bar of the epochs.

    Returns:
        The record, as written.

    Raises:
        DataError: the data cannot be had.
        FloatingPointError: training broke.
        ValueError: a setting is out of range, or the checkpoint is not this run's.
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = load(run.settings["data"])
    device = resolve_device(run.device)
    study = study_of(run)
    with one_thread():
        with seeded(run.seed, device):
            model = study.build(run.settings, data.x_dim)
            result = study.train(model, data, run, checkpoint=folder / f"{run.name}.checkpoint", progress=progress)
        with seeded(run.seed, device):
            results = study.measure(model, data, run)
        record = recorded(run, results, result, provenance(device, data.sha256))
    save_model(folder / f"{run.name}.safetensors", model, run, data.x_dim)
    write(record, folder)
    for pattern in (f"{run.name}*.checkpoint", f".{run.name}*.tmp"):  # the latter where a write was killed
        for path in folder.glob(pattern):
            path.unlink()
    return record


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread inside: the number of threads decides the last digits, which training amplifies."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def recorded(run: Run, results: Mapping[str, Any], training: TrainingResult, origin: Mapping[str, Any]) -> Record:
    """Return the record of a run, with its numbers rounded and its learning curve thinned."""
    return Record(
        experiment=run.experiment,
        key=run.key,
        settings=run.settings,
        results=rounded(results, digits=7),
        training={
            "epochs": training.epochs,
            "best_epoch": training.best_epoch,
            "seconds": round(training.seconds, 1),
            "seconds_per_epoch": round(training.seconds_per_epoch, 4),
        },
        history=rounded(thinned(training.history), digits=5),
        provenance=origin,
    )


def thinned(history: Mapping[str, list[float]]) -> dict[str, list[float]]:
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


def save_model(path: Path, model: nn.Module, run: Run, x_dim: int) -> None:
    """Write a model's weights as safetensors, with the run as JSON in the file's metadata; equal runs, equal bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    # One entry: the order of several is safetensors' own, and changes from one process to the next.
    entry = {"format": MODEL_FORMAT, "experiment": run.experiment, "settings": dict(run.settings), "x_dim": x_dim}
    write_atomically(path, safetensors.torch.save(tensors, {"run": json.dumps(entry, sort_keys=True)}))


def load_model(path: Path) -> SavedModel:
    """Return the model that `execute` left at `path`, on the CPU and in evaluation mode, and its run.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no model of a run, or its weights are damaged or not those of its settings; the message
            names the file.
    """
    entry, tensors = _read(path)
    try:
        content = json.loads(entry or "")
        form, x_dim = content["format"], content["x_dim"]
        run = Run(content["experiment"], content["settings"])
        _ = EXPERIMENTS[run.experiment], run.name
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} does not say which run it is the model of: was it written by hvae reproduce of this release?"
        ) from error
    if form != MODEL_FORMAT:
        raise ValueError(f"{path} has format {form!r}; this release reads {MODEL_FORMAT}")
    return SavedModel(_built(path, tensors, run, x_dim), run)


def trained_model(run: Run, folder: Path, *, x_dim: int) -> nn.Module:
    """Return the model of a run that has a record in `folder`, on the CPU and in evaluation mode.

    It needs no more of the file than the weights, so that those of earlier releases are good, too.

    Raises:
        ValueError: the model's file is missing or damaged.
    """
    path = folder / f"{run.name}.safetensors"
    try:
        return _built(path, _read(path)[1], run, x_dim)
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(f"{error}; delete {path.with_suffix('.json')} to do this run again") from error


def _read(path: Path) -> tuple[str | None, dict[str, Tensor]]:
    """Return what a model's file says of its run, and its weights."""
    if not path.is_file():
        raise FileNotFoundError(f"no saved model at {path}: there is no such file")
    try:
        with safe_open(path, framework="pt") as file:
            # Copies: what is mapped into memory stays open, and Windows does not replace an open file.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
            return (file.metadata() or {}).get("run"), tensors
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file, or is damaged: {error}") from error


def _built(path: Path, tensors: Mapping[str, Tensor], run: Run, x_dim: Any) -> nn.Module:
    """Return the model of a run with these weights, after a look at whether they can be."""
    largest = max((size for tensor in tensors.values() for size in tensor.shape), default=0)
    sizes = [run.settings.get(name, 1) for name in ("d", "hidden", "m2_hidden")] + [x_dim]
    flat = [size for sizes_ in sizes for size in (sizes_ if isinstance(sizes_, list) else [sizes_])]
    if not all(isinstance(size, int) and size <= largest for size in flat):  # before a network of that size is made
        raise ValueError(f"the weights in {path} do not fit its settings: sizes {flat}, but the largest is {largest}")
    if broken := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise ValueError(f"the weights in {path} are not finite: {', '.join(broken)}")
    try:
        with torch.random.fork_rng(devices=[]):
            model = study_of(run).build(run.settings, x_dim)
        model.load_state_dict(dict(tensors), assign=True)  # assign keeps the saved precision
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"the weights in {path} do not fit its settings, {dict(run.settings)}: {error}") from error
    return model.eval()


def evaluate_model(path: Path, *, device: str = "auto") -> dict[str, Any]:
    """Measure a saved model as `execute` did: on the same device the numbers are those of its record.

    Raises:
        FileNotFoundError, ValueError: see `load_model`; or the device is not there.
        DataError: the data cannot be had.
    """
    model, run = load_model(path)
    return _measured(model, replace(run, device=device), load(run.settings["data"]))


def _measured(model: nn.Module, run: Run, data: Any) -> dict[str, Any]:
    """Measure a model as the run that made it did, on the run's device."""
    device = resolve_device(run.device)
    with one_thread(), seeded(run.seed, device):
        return rounded(study_of(run).measure(model.to(device), data, run), digits=7)


def remeasure(path: Path, *, device: str = "auto") -> list[str]:
    """Measure the model beside a record again, and add to the record what this release measures and it does not have.

    Numbers that the record has are kept. Its provenance says what was added, by which release and commit.

    Args:
        path: a record (`.json`) with its model (`.safetensors`) beside it.
        device: where to measure, as `training.resolve_device` takes it.

    Returns:
        The names of the results that were added; where there are none the record is left as it is.

    Raises:
        FileNotFoundError: there is no such record, or no model beside it.
        ValueError: they are damaged, or do not belong together: the data are others, or a number of the record is
            not repeated to `REPEATED` of itself.
        DataError: the data cannot be had.
    """
    record = read(path)
    data = load(record.settings["data"])
    if data.sha256 != record.provenance["data_sha256"]:
        raise ValueError(
            f"{path} was measured on other data: sha256 {record.provenance['data_sha256']}, here {data.sha256}"
        )
    run = Run(record.experiment, record.settings, device)
    model = path.with_suffix(".safetensors")
    measured = _measured(_built(model, _read(model)[1], run, data.x_dim), run, data)
    found = dict(leaves("", measured))
    for name, value in leaves("", record.results):
        if name in found and not math.isclose(found[name], value, rel_tol=REPEATED):
            raise ValueError(f"{model} is not the model of {path}: {name} is {found[name]}, recorded is {value}")
    added = {name: value for name, value in measured.items() if name not in record.results}
    if added:
        again = {"added": sorted(added), "version": __version__, "commit": commit()}
        earlier = record.provenance.get("measured_again", [])
        grown = {**record.provenance, "measured_again": [*earlier, again]}
        write(replace(record, results={**record.results, **added}, provenance=grown), path.parent)
    return sorted(added)


def draw_samples(path: Path, count: int, *, seed: int) -> Figure:
    """Draw images from the prior of a saved model.

    Raises:
        FileNotFoundError, ValueError: see `load_model`; or it is no model of images.
    """
    model, run = load_model(path)
    if REGISTRY[run.settings["data"]].kind != "images":
        raise ValueError(f"{path} is a model of {run.settings['data']}, which are no images")
    with seeded(seed, torch.device("cpu")), torch.no_grad():
        x = study_of(run).sample(model, count)
    side = math.isqrt(x.shape[1])
    if side**2 != x.shape[1]:
        raise ValueError(f"{path} is a model of {x.shape[1]} pixels, which are no square")
    return plotting.samples({run.title: x.reshape(count, side, side)}, title="draws from the prior")
