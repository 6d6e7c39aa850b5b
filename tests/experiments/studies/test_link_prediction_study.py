"""Table 4: what is measured of a VGAE, that it learns, and what it must not see."""

import contextlib
from typing import Any

import pytest
import torch
from example_records import example_record

from hvae_tutorial.data import EdgeSplit, GraphDataset, load, split_edges
from hvae_tutorial.experiments.protocol import seeded
from hvae_tutorial.experiments.registry import EXPERIMENTS
from hvae_tutorial.experiments.run import Run
from hvae_tutorial.experiments.studies import link_prediction
from hvae_tutorial.experiments.studies.link_prediction import auc_and_ap, fit_graph, measure_split
from hvae_tutorial.models.vgae import VGAE, gcn_vgae, normalized_adjacency
from hvae_tutorial.training import journal


def tiny(model: str = "n", *, seed: int = 0, **change: Any) -> Run:
    settings = {"data": "karate", "d": 3, "epochs": 4} | change
    return EXPERIMENTS["table4"].run(**settings, model=model, seed=seed, device="cpu")


def karate() -> GraphDataset:
    graph = load("karate")
    assert isinstance(graph, GraphDataset)
    return graph


def trained(run: Run) -> tuple[VGAE, EdgeSplit, dict[str, list[float]]]:
    graph = karate()
    split = split_edges(graph, run.seed)
    torch.manual_seed(run.seed)
    model = link_prediction.build(run.settings, graph.num_nodes)
    return model, split, fit_graph(model, graph.features, split, run, progress=False).history


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
    run = tiny(model, epochs=150)
    vgae, split, history = trained(run)
    graph = karate()
    seen = EdgeSplit(split.train, split.validation, split.train, split.validation_non_edges, split.test_non_edges)
    assert measure_split(vgae, graph.features, seen)["auc"] > 0.9
    assert history["train_elbo"][-1] > history["train_elbo"][0] + 0.2
    assert not vgae.training


@pytest.mark.parametrize(("kind", "learned_from"), [("n", 1.0), ("s", 4.0)])
def test_a_plain_decoder_stays_the_inner_product(kind: str, learned_from: float) -> None:
    """Everything else of the model starts as in the other one, and is trained."""
    run = tiny(f"{kind}-plain", epochs=3)
    vgae, split, _ = trained(run)
    torch.manual_seed(run.seed)
    fresh = link_prediction.build(run.settings, karate().num_nodes)
    torch.manual_seed(run.seed)
    other = link_prediction.build(tiny(kind).settings, karate().num_nodes)
    assert other.decoder.scale.item() == pytest.approx(learned_from)
    for name, start in other.state_dict().items():
        if not name.startswith("decoder."):
            assert torch.equal(fresh.state_dict()[name], start)
            assert not torch.equal(vgae.state_dict()[name], start)
    found = measure_split(vgae, karate().features, split)
    assert (found["decoder_scale"], found["decoder_offset"]) == (1, 0)
    z = torch.randn(4, vgae.posterior.ambient_dim)
    assert torch.equal(vgae.decoder(z, torch.tensor([[0], [3]])), (z[0] * z[3]).sum()[None])


def test_history_has_a_value_an_epoch() -> None:
    _, _, history = trained(tiny("s"))
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
    run = tiny("n")
    graph = karate()
    split = split_edges(graph, 0)
    swapped = EdgeSplit(split.train, split.validation_non_edges, split.test_non_edges, split.validation, split.test)
    weights = []
    for parts in (split, swapped):
        torch.manual_seed(0)
        model = gcn_vgae("n", 3, x_dim=34)
        fit_graph(model, graph.features, parts, run, progress=False)
        weights.append(model.weight)
    torch.testing.assert_close(*weights, rtol=0, atol=0)


def test_dropout_is_used_in_training() -> None:
    without, with_ = (trained(tiny("n", dropout=dropout))[0] for dropout in (0.0, 0.5))
    assert not torch.equal(without.weight, with_.weight)


def test_every_epoch_trains_with_dropout_and_measures_without(monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []
    encode = VGAE.encode
    monkeypatch.setattr(VGAE, "encode", lambda self, *x: (modes.append(self.training), encode(self, *x))[1])
    trained(tiny(epochs=3))
    assert modes == [True, False] * 3


def test_the_first_step_is_of_the_size_of_the_learning_rate() -> None:
    """Adam's is, in every coordinate whose gradient is not tiny."""
    run = tiny(epochs=1, learning_rate=0.3)
    torch.manual_seed(run.seed)
    before = link_prediction.build(run.settings, 34).weight.detach()
    step = (trained(run)[0].weight.detach() - before).abs()
    assert step.max().item() == pytest.approx(0.3, rel=1e-4)
    assert step.median().item() == pytest.approx(0.3, rel=1e-2)


def test_every_step_draws_so_many_pairs_for_each_training_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    pairs = link_prediction.uniform_pairs
    monkeypatch.setattr(
        link_prediction, "uniform_pairs", lambda n, count, **k: (drawn.append((n, count)), pairs(n, count, **k))[1]
    )
    trained(tiny(epochs=2, pairs_per_edge=7))
    assert drawn == [(34, 7 * (78 - 7 - 3))] * 2


@pytest.mark.parametrize("letter", ["n", "s"])
def test_what_is_measured_is_of_the_edges_that_its_name_says(letter: str) -> None:
    run = tiny(letter, epochs=20)
    model, split, history = trained(run)
    found = link_prediction.measure(model, karate(), run)
    with torch.no_grad():
        q = model.encode(karate().features, normalized_adjacency(split.train, 34))
    held_out = auc_and_ap(model, q, split.validation, split.validation_non_edges)
    expected = {
        **auc_and_ap(model, q, split.test, split.test_non_edges),
        **{f"validation_{name}": value for name, value in held_out.items()},
        "kl_per_node": model.posterior.kl(q).mean().item(),
        "decoder_scale": model.decoder.scale.item(),
        "decoder_offset": model.decoder.offset.item(),
    }
    if letter == "s":  # a Gaussian has no concentration
        expected["mean_concentration"] = q.concentration.mean().item()
    assert found == pytest.approx(expected, rel=1e-5)
    assert found["auc"] != found["validation_auc"]
    assert found["decoder_scale"] != found["decoder_offset"]
    assert history["validation_auc"][-1] == pytest.approx(held_out["auc"])  # of the last epoch, whose weights are kept
    assert history["validation_ap"][-1] == pytest.approx(held_out["ap"])


def test_a_broken_objective_is_named() -> None:
    run = tiny("n")
    graph = karate()
    model = gcn_vgae("n", 3, x_dim=34)
    with torch.no_grad():
        model.decoder.offset.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="epoch 1: reconstruction is not finite in train batch 1"):
        fit_graph(model, graph.features, split_edges(graph, 0), run, progress=False)
    model = gcn_vgae("n", 3, x_dim=34)
    with torch.no_grad():
        model.weight[0, 0] = float("inf")
    with pytest.raises(FloatingPointError, match="training broke in epoch 1: "):
        fit_graph(model, graph.features, split_edges(graph, 0), run, progress=False)


@pytest.mark.parametrize(("killed_after", "left"), [(1, 7), (5, 3)])
def test_a_killed_run_goes_on_from_its_checkpoint_with_the_very_numbers(
    killed_after: int, left: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, graph = tiny("s", epochs=8), karate()
    split = split_edges(graph, 0)
    monkeypatch.setattr(journal, "CHECKPOINT_SECONDS", 0.0)

    def fitted(checkpoint: Any) -> tuple[VGAE, dict[str, list[float]]]:
        with seeded(run.seed, torch.device("cpu")):
            model = link_prediction.build(run.settings, 34)
            return model, fit_graph(model, graph.features, split, run, checkpoint=checkpoint, progress=False).history

    whole, history = fitted(None)
    steps: list[int] = []
    backward = torch.Tensor.backward

    def killing(self: torch.Tensor) -> None:
        if len(steps) == killed_after:
            raise KeyboardInterrupt
        steps.append(1)
        backward(self)

    monkeypatch.setattr(torch.Tensor, "backward", killing)
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "c")
    monkeypatch.setattr(torch.Tensor, "backward", lambda self: (steps.append(1), backward(self))[1])
    steps.clear()
    resumed, again = fitted(tmp_path / "c")
    assert len(steps) == left
    assert {**again, "seconds": None} == {**history, "seconds": None}
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    fitted(tmp_path / "c")  # finished: nothing is left to do
    assert len(steps) == left


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Any) -> None:
    graph = karate()
    for run, seed, message in (
        (tiny("n"), 0, ""),
        (tiny("n", learning_rate=0.5), 0, "belongs to another run: learning_rate was 0.01 and is now 0.5"),
        (tiny("n"), 1, "belongs to another run: "),
    ):
        with seeded(0, torch.device("cpu")):
            model = link_prediction.build(run.settings, 34)
            split = split_edges(graph, seed)
            with pytest.raises(ValueError, match=message) if message else contextlib.nullcontext():
                fit_graph(model, graph.features, split, run, checkpoint=tmp_path / "c", progress=False)


def test_each_seed_has_a_split_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    seen = []
    split = link_prediction.split_edges
    monkeypatch.setattr(link_prediction, "split_edges", lambda graph, seed: (seen.append(seed), split(graph, seed))[1])
    run = tiny(seed=6)
    model = link_prediction.build(run.settings, 34)
    link_prediction.train(model, karate(), run, checkpoint=tmp_path / "c", progress=False)
    link_prediction.measure(model, karate(), run)
    assert seen == [6, 6]


def test_a_picture_has_the_curves_of_all_runs_by_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_prediction.plotting, "learning_curves", lambda curves, columns, title: (curves, title))
    runs = [tiny(model, seed=seed) for seed in (0, 1) for model in ("s", "n")]
    records = [
        example_record(experiment="table4", history={"epoch": [1], "validation_elbo": [float(i)]}, **run.settings)
        for i, run in enumerate(runs)
    ]
    pictures: dict[str, Any] = link_prediction.draw(karate(), runs, records, pytest.fail)
    ((name, (curves, title)),) = pictures.items()
    assert (name, title) == ("learning-curves-karate", "karate: held-out edges and non-edges")
    numbers = [(name, [history["validation_elbo"] for history in histories]) for name, histories in curves.items()]
    assert numbers == [("N-VGAE", [[1], [3]]), ("S-VGAE", [[0], [2]])]  # in the order of the table
