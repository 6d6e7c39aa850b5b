"""One run of Table 4: a VGAE trained on a part of a graph's edges and asked which of the others exist.

As in `run`, a run is identified by a hash of its settings and of the package version, and leaves its record (`.json`)
and its weights (`.safetensors`). It takes seconds to minutes, so that there is no checkpoint.
"""

import dataclasses
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor
from torch.distributions import Distribution
from tqdm import tqdm

from hvae_tutorial import __version__
from hvae_tutorial.data import EdgeSplit, GraphName, load, split_edges
from hvae_tutorial.experiments.protocol import seeded
from hvae_tutorial.experiments.provenance import provenance
from hvae_tutorial.experiments.run import finished
from hvae_tutorial.files import write_atomically
from hvae_tutorial.graph_objectives import graph_elbo, held_out_elbo, uniform_pairs
from hvae_tutorial.models.vgae import VGAE, InnerProductDecoder, gcn_vgae, normalized_adjacency
from hvae_tutorial.objectives import ElboTerms
from hvae_tutorial.records import Record, record_name, settings_key, write
from hvae_tutorial.training import TrainingResult, resolve_device

# Below this share of nonzero features, their product with the weights is faster sparse: in Cora and Citeseer (0.01) it
# then takes half and a third of the time, in Pubmed (0.1) four times as much.
SPARSE_BELOW = 0.05


@dataclass(frozen=True, kw_only=True)
class GraphRun:
    """One VGAE, trained and measured once: everything that decides its numbers. The defaults are the paper's protocol.

    The seed decides the split of the edges, the initial weights and all draws, as in Kipf and Welling's experiments,
    where each run has its own split.
    """

    data: GraphName
    model: str  # "n", "s" or "ps"
    seed: int
    d: int = 16
    hidden: int = 32
    dropout: float = 0.0
    epochs: int = 200  # the weights of the last one are kept
    learning_rate: float = 1e-2  # of Adam, with all edges in every step
    pairs_per_edge: int = 10  # pairs drawn in every step, to estimate the sum over non-edges, for each training edge
    device: str = "auto"  # as `resolve_device` takes it

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as a record keeps them. The device is no setting: it is where a run happens, not what it is."""
        settings = dataclasses.asdict(self)
        del settings["device"]
        return settings

    @property
    def key(self) -> str:
        """Hash of the settings and of the package version."""
        return settings_key("table4", self.settings, __version__)

    @property
    def name(self) -> str:
        """Name of this run's files, without extension."""
        return record_name("table4", self.settings, self.key)

    @property
    def title(self) -> str:
        """What a progress bar calls this run."""
        return f"{self.data} {self.model} d={self.d} seed={self.seed}"


def execute(run: GraphRun, *, folder: Path, progress: bool) -> Record:
    """Split, train, measure and record.

    Args:
        run: what to do.
        folder: where the files go; made if missing.
        progress: show a progress bar of the epochs on the standard error stream.

    Returns:
        The record, as written.

    Raises:
        FloatingPointError: the objective is no longer finite.
    """
    graph = load(run.data)
    split = split_edges(graph, run.seed)
    device = resolve_device(run.device)
    with seeded(run.seed, device):
        model = gcn_vgae(run.model, run.d, x_dim=graph.features.shape[1], hidden=run.hidden, dropout=run.dropout)
        result = fit_graph(model, graph.features, split, run, device=device, progress=progress)
        results = measure(model, graph.features, split, device=device)
    record = finished("table4", run, results, result, provenance(device, graph.sha256))
    weights = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    write_atomically(folder / f"{run.name}.safetensors", safetensors.torch.save(weights))
    write(record, folder)
    return record


def fit_graph(
    model: VGAE, x: Tensor, split: EdgeSplit, run: GraphRun, *, device: torch.device, progress: bool = True
) -> TrainingResult:
    """Train a VGAE by Adam, with the whole graph in every step; draws come from torch's own generator.

    Args:
        model: moved to the device, where it stays, in evaluation mode, with the weights of the last epoch.
        x: features, (N, x_dim).
        split: the model sees the training edges alone; the validation edges are measured after every epoch.
        run: epochs, learning rate and pairs are read from it.
        device: where to train.
        progress: show a progress bar on the standard error stream.

    Raises:
        FloatingPointError: the objective or a parameter is no longer finite after an epoch.
    """
    model.to(device)
    x, adjacency, split = _inputs(x, split, device)
    held_out = (split.validation, split.validation_non_edges)
    num_pairs = run.pairs_per_edge * split.train.shape[1]
    optimizer = torch.optim.Adam(model.parameters(), lr=run.learning_rate, fused=True)
    history: dict[str, list[float]] = {}

    for epoch in tqdm(range(1, run.epochs + 1), desc=run.title, unit="epoch", file=sys.stderr, disable=not progress):
        started = time.perf_counter()
        model.train()
        terms = graph_elbo(model, x, adjacency, split.train, uniform_pairs(len(x), num_pairs, device=device))
        optimizer.zero_grad()
        (-terms.elbo).backward()
        optimizer.step()

        model.eval()
        with torch.no_grad():
            q = model.encode(x, adjacency)
            measured = {**_named("train", terms), **_named("validation", held_out_elbo(model, q, *held_out))}
            _check_finite(model, epoch, measured)
            measured |= _named("validation", auc_and_ap(model, q, *held_out))
        for column, value in (measured | {"seconds": time.perf_counter() - started}).items():
            history.setdefault(column, []).append(value)
    return TrainingResult(
        history=history,
        epochs=run.epochs,
        best_epoch=run.epochs,
        seconds=sum(history["seconds"]),
        seconds_per_epoch=statistics.median(history["seconds"]),
    )


@torch.no_grad()
def auc_and_ap(model: VGAE, q: Distribution, edges: Tensor, non_edges: Tensor) -> dict[str, float]:
    """Measure how well the model tells edges from non-edges: `auc` and `ap`, in [0, 1], by scikit-learn.

    A pair's score is its expected logit under the posterior: the decoder is linear in each of its two ends, which are
    independent, so that it is the logit at the posterior means E[z]. On the sphere these lie inside it, nearer to the
    centre where the posterior is wider.

    Args:
        model: the VGAE.
        q: the posterior of all nodes, as the model encodes them from the training edges alone.
        edges: pairs that are edges, int64 of shape (2, n).
        non_edges: pairs that are none, int64 of shape (2, n').
    """
    pairs = torch.cat([edges, non_edges], dim=1)
    scores = model.decoder(q.mean, pairs).cpu().numpy()
    truth = (torch.arange(pairs.shape[1]) < edges.shape[1]).numpy()
    return {"auc": float(roc_auc_score(truth, scores)), "ap": float(average_precision_score(truth, scores))}


@torch.no_grad()
def measure(model: VGAE, x: Tensor, split: EdgeSplit, *, device: torch.device) -> dict[str, float]:
    """Return AUC and AP on test and validation edges, the KL of a node in nats, and what the decoder has learned.

    Args:
        model: a trained model, on the device.
        x: features, (N, x_dim).
        split: the model sees the training edges alone.
        device: where to measure.
    """
    x, adjacency, split = _inputs(x, split, device)
    q = model.encode(x, adjacency)
    assert isinstance(model.decoder, InnerProductDecoder)
    results = {
        **auc_and_ap(model, q, split.test, split.test_non_edges),
        **_named("validation", auc_and_ap(model, q, split.validation, split.validation_non_edges)),
        "kl_per_node": model.posterior.kl(q).mean().item(),
        "decoder_scale": model.decoder.scale.item(),
        "decoder_offset": model.decoder.offset.item(),
    }
    concentration = getattr(q, "concentration", None)
    if concentration is not None:
        results["mean_concentration"] = concentration.mean().item()
    return results


def _named(part: str, values: ElboTerms | dict[str, float]) -> dict[str, float]:
    """Return values under names that begin with the part of the data that they are of."""
    if isinstance(values, ElboTerms):
        values = dict(zip(values._fields, torch.stack(values).tolist(), strict=True))
    return {f"{part}_{name}": value for name, value in values.items()}


def _inputs(x: Tensor, split: EdgeSplit, device: torch.device) -> tuple[Tensor, Tensor, EdgeSplit]:
    """Return features (sparse where that is faster), normalised adjacency matrix and split on the device."""
    if x.count_nonzero() < SPARSE_BELOW * x.numel():
        x = x.to_sparse()
    split = EdgeSplit(**{field.name: getattr(split, field.name).to(device) for field in dataclasses.fields(split)})
    return x.to(device), normalized_adjacency(split.train, len(x)), split


def _check_finite(model: VGAE, epoch: int, measured: dict[str, float]) -> None:
    """Raise a FloatingPointError that names the first term, else the first parameter, that is not finite."""
    tensors = {name: torch.tensor(value) for name, value in measured.items()}
    tensors |= {f"parameter {name}": parameter for name, parameter in model.named_parameters()}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise FloatingPointError(f"training broke in epoch {epoch}: {name} is not finite")
