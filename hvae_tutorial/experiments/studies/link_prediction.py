"""VGAEs trained on a part of a graph's edges and asked which of the others exist: Table 4.

The seed decides the split of the edges, the initial weights and all draws, as in Kipf and Welling's experiments, where
each run has its own split.
"""

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution
from tqdm import tqdm

from hvae_tutorial import plotting
from hvae_tutorial.checkpoints import run_identity
from hvae_tutorial.data import EdgeSplit, GraphDataset, split_edges
from hvae_tutorial.experiments import names
from hvae_tutorial.experiments.protocol import curves
from hvae_tutorial.experiments.run import Run
from hvae_tutorial.models.vgae import VGAE, InnerProductDecoder, gcn_vgae, normalized_adjacency
from hvae_tutorial.objectives import ElboTerms, graph_elbo, held_out_elbo, uniform_pairs
from hvae_tutorial.plotting import Figure
from hvae_tutorial.records import Record
from hvae_tutorial.training import Journal, TrainingResult, check_finite, resolve_device

# Below this share of nonzero features, their product with the weights is faster sparse: in Cora and Citeseer (0.01) it
# then takes half and a third of the time, in Pubmed (0.1) four times as much.
SPARSE_BELOW = 0.05

_CURVES = {
    "validation_elbo": "validation ELBO, reweighed (nats)",
    "validation_auc": "validation AUC",
    "validation_kl": "KL / N² (nats)",
}


def build(settings: Mapping[str, Any], x_dim: int) -> VGAE:
    """Return the VGAE, with the paper's network; a plain one keeps Kipf and Welling's s = 1 and b = 0."""
    kind = settings["model"].removesuffix(names.PLAIN)
    model = gcn_vgae(kind, settings["d"], x_dim=x_dim, hidden=settings["hidden"], dropout=settings["dropout"])
    if settings["model"].endswith(names.PLAIN):
        model.decoder = InnerProductDecoder().requires_grad_(False)
    return model


def train(model: VGAE, data: GraphDataset, run: Run, *, checkpoint: Path, progress: bool) -> TrainingResult:
    """Train on the edges that the run's seed leaves for it; the weights of the last epoch are kept."""
    split = split_edges(data, run.seed)
    return fit_graph(model, data.features, split, run, checkpoint=checkpoint, progress=progress)


def fit_graph(
    model: VGAE, x: Tensor, split: EdgeSplit, run: Run, *, checkpoint: Path | None = None, progress: bool = True
) -> TrainingResult:
    """Train a VGAE by Adam, with the whole graph in every step; draws come from torch's own generator.

    With a checkpoint it goes on where it was when it was killed, as `training.fit` does.

    Args:
        model: moved to the run's device, where it stays, in evaluation mode, with the weights of the last epoch.
        x: features, (N, x_dim).
        split: the model sees the training edges alone; the validation edges are measured after every epoch.
        run: epochs, learning rate, pairs and device are read from it.
        checkpoint: file to resume from if it exists, and to write every few seconds and at the end.
        progress: show a progress bar on the standard error stream.

    Raises:
        ValueError: the checkpoint is damaged or belongs to another run.
        FloatingPointError: a term or a parameter is no longer finite after an epoch.
    """
    device = resolve_device(run.device)
    identity = run_identity(model, {"features": x, **vars(split)}, run.settings, graph_elbo, device)
    model.to(device)
    x, adjacency, split = _inputs(x, split, device)
    held_out = (split.validation, split.validation_non_edges)
    epochs, num_pairs = run.settings["epochs"], run.settings["pairs_per_edge"] * split.train.shape[1]
    optimizer = torch.optim.Adam(model.parameters(), lr=run.settings["learning_rate"], fused=True)
    journal = Journal(model, optimizer, device, checkpoint, identity)
    journal.resume()

    done = journal.epochs
    with tqdm(total=epochs, initial=done, desc=run.title, unit="epoch", file=sys.stderr, disable=not progress) as bar:
        for epoch in range(done + 1, epochs + 1):
            started = time.perf_counter()
            model.train()
            terms = graph_elbo(model, x, adjacency, split.train, uniform_pairs(len(x), num_pairs, device=device))
            optimizer.zero_grad()
            (-terms.elbo).backward()
            optimizer.step()

            model.eval()
            with torch.no_grad():
                q = model.encode(x, adjacency)
                unseen = held_out_elbo(model, q, *held_out)
                check_finite(model, epoch, train=[_pair(terms)], validation=[_pair(unseen)])
                measured = {
                    **_named("train", terms),
                    **_named("validation", unseen),
                    **_named("validation", auc_and_ap(model, q, *held_out)),
                }
            journal.add(measured | {"seconds": time.perf_counter() - started})
            if epoch == epochs:
                journal.keep_weights()
            journal.write_if_due(finished=epoch == epochs)
            bar.update()
    model.eval()
    return journal.result(best_epoch=epochs)


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
    from sklearn.metrics import average_precision_score, roc_auc_score  # a second to load

    pairs = torch.cat([edges, non_edges], dim=1)
    scores = model.decoder(q.mean, pairs).cpu().numpy()
    truth = (torch.arange(pairs.shape[1]) < edges.shape[1]).numpy()
    return {"auc": float(roc_auc_score(truth, scores)), "ap": float(average_precision_score(truth, scores))}


def measure(model: VGAE, data: GraphDataset, run: Run) -> dict[str, float]:
    """Return AUC and AP on test and validation edges, the KL of a node in nats, and what the decoder has learned."""
    return measure_split(model, data.features, split_edges(data, run.seed))


@torch.no_grad()
def measure_split(model: VGAE, x: Tensor, split: EdgeSplit) -> dict[str, float]:
    """Return what `measure` does, for any split of the edges.

    Args:
        model: a trained model; what is measured moves to its device.
        x: features, (N, x_dim).
        split: the model sees the training edges alone.
    """
    x, adjacency, split = _inputs(x, split, next(model.parameters()).device)
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


def _pair(terms: ElboTerms) -> Tensor:
    """Return reconstruction and KL as of one batch of one point, (2, 1)."""
    return torch.stack(terms[1:]).detach().unsqueeze(1)


def draw(
    data: GraphDataset, runs: Sequence[Run], records: Sequence[Record], trained: Callable[[Run], VGAE]
) -> dict[str, Figure]:
    """Draw the learning curves of a graph."""
    picture = plotting.learning_curves(
        curves(records, names.vgae), columns=_CURVES, title=f"{data.name}: held-out edges and non-edges"
    )
    return {f"learning-curves-{data.name}": picture}
