"""One run of Table 4: what it measures, that it learns, and that it ends the same way each time."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from hvae_tutorial.data import EdgeSplit, load, split_edges
from hvae_tutorial.experiments.link_prediction import GraphRun, auc_and_ap, execute, fit_graph, measure
from hvae_tutorial.models.vgae import VGAE, gcn_vgae
from hvae_tutorial.records import read

CPU = torch.device("cpu")
TINY: dict[str, Any] = {"data": "karate", "d": 3, "epochs": 4, "device": "cpu"}


def trained(run: GraphRun) -> tuple[VGAE, EdgeSplit, dict[str, list[float]]]:
    graph = load(run.data)
    split = split_edges(graph, run.seed)
    torch.manual_seed(run.seed)
    model = gcn_vgae(run.model, run.d, x_dim=graph.num_nodes, dropout=run.dropout)
    return model, split, fit_graph(model, graph.features, split, run, device=CPU, progress=False).history


def test_auc_and_ap_of_a_ranking_by_hand() -> None:
    """Inner products 3 and 1 for the edges, 2 and 0 for the others: of four pairs of pairs three are in order."""
    model = gcn_vgae("n", 2, x_dim=4)
    z = torch.tensor([[1.0, 0.0], [3.0, 0.0], [1.0, 5.0], [2.0, 1.0], [0.0, 1.0]])

    class Posterior(torch.distributions.Distribution):
        mean = z

    measured = auc_and_ap(
        model, Posterior(validate_args=False), torch.tensor([[0, 0], [1, 2]]), torch.tensor([[0, 0], [3, 4]])
    )
    assert measured["auc"] == pytest.approx(3 / 4)
    assert measured["ap"] == pytest.approx((1 / 1 + 2 / 3) / 2)


@pytest.mark.parametrize("model", ["n", "s"])
def test_it_learns_which_edges_there_are(model: str) -> None:
    """On the edges it was trained on; seven test edges of the Karate club would say nothing."""
    run = GraphRun(**{**TINY, "epochs": 150}, model=model, seed=0)
    vgae, split, history = trained(run)
    graph = load("karate")
    seen = EdgeSplit(split.train, split.validation, split.train, split.validation_non_edges, split.test_non_edges)
    assert measure(vgae, graph.features, seen, device=CPU)["auc"] > 0.9
    assert history["train_elbo"][-1] > history["train_elbo"][0] + 0.2
    assert not vgae.training


def test_history_has_a_value_an_epoch() -> None:
    _, _, history = trained(GraphRun(**TINY, model="s", seed=0))
    assert set(history) == {
        *(f"{part}_{term}" for part in ("train", "validation") for term in ("elbo", "reconstruction", "kl")),
        "validation_auc",
        "validation_ap",
        "seconds",
    }
    assert {len(column) for column in history.values()} == {4}
    assert all(0 <= value <= 1 for value in history["validation_auc"] + history["validation_ap"])


def test_held_out_edges_are_not_seen_in_training() -> None:
    """Another graph that differs in test and validation edges alone gives the same model."""
    run = GraphRun(**TINY, model="n", seed=0)
    graph = load("karate")
    split = split_edges(graph, 0)
    swapped = EdgeSplit(split.train, split.validation_non_edges, split.test_non_edges, split.validation, split.test)
    weights = []
    for parts in (split, swapped):
        torch.manual_seed(0)
        model = gcn_vgae("n", 3, x_dim=34)
        fit_graph(model, graph.features, parts, run, device=CPU, progress=False)
        weights.append(model.weight)
    torch.testing.assert_close(*weights, rtol=0, atol=0)


@pytest.mark.parametrize("model", ["n", "s"])
def test_a_run_is_recorded_and_repeats_itself(model: str, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    run = GraphRun(**TINY, model=model, seed=1)
    first, second = (execute(run, folder=tmp_path / part, progress=False) for part in "ab")
    assert torch.equal(torch.get_rng_state(), state)
    assert first.results == second.results
    assert {**first.history} == {**second.history}
    assert read(tmp_path / "a" / f"{run.name}.json") == first
    assert run.name == f"table4-karate-{model}-d3-seed1-{run.key}"
    assert "device" not in first.settings
    assert first.provenance["data_sha256"] == load("karate").sha256
    assert first.training["epochs"] == first.training["best_epoch"] == 4
    assert ("mean_concentration" in first.results) == (model == "s")
    other = execute(GraphRun(**TINY, model=model, seed=2), folder=tmp_path / "a", progress=False)
    assert other.results != first.results
    assert other.key != first.key


def test_the_weights_of_a_record_give_its_results(tmp_path: Path) -> None:
    run = GraphRun(**TINY, model="s", seed=0)
    record = execute(run, folder=tmp_path, progress=False)
    graph = load("karate")
    model = gcn_vgae("s", 3, x_dim=34)
    model.load_state_dict(safetensors.torch.load_file(tmp_path / f"{run.name}.safetensors"))
    measured = measure(model.eval(), graph.features, split_edges(graph, 0), device=CPU)
    assert measured == pytest.approx(record.results, rel=1e-6)
    json.dumps(record.results)


def test_dropout_is_used_in_training() -> None:
    without, with_ = (trained(GraphRun(**TINY, model="n", seed=0, dropout=dropout))[0] for dropout in (0.0, 0.5))
    assert not torch.equal(without.weight, with_.weight)


def test_a_broken_objective_is_named() -> None:
    run = GraphRun(**TINY, model="n", seed=0)
    graph = load("karate")
    model = gcn_vgae("n", 3, x_dim=34)
    with torch.no_grad():
        model.decoder.offset.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=re.escape("training broke in epoch 1: train_elbo is not finite")):
        fit_graph(model, graph.features, split_edges(graph, 0), run, device=CPU, progress=False)
    model = gcn_vgae("n", 3, x_dim=34)
    with torch.no_grad():
        model.weight[0, 0] = float("inf")
    with pytest.raises(FloatingPointError, match="training broke in epoch 1: "):
        fit_graph(model, graph.features, split_edges(graph, 0), run, device=CPU, progress=False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_cuda(tmp_path: Path) -> None:
    record = execute(GraphRun(**{**TINY, "device": "cuda"}, model="s", seed=0), folder=tmp_path, progress=False)
    assert record.provenance["device"] == "cuda"
