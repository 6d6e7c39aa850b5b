"""One run of each experiment: build, train, measure, record; its model comes back; it repeats itself."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from hvae_tutorial.data import load
from hvae_tutorial.experiments import execute as execution
from hvae_tutorial.experiments.execute import (
    CURVE_POINTS,
    draw_samples,
    evaluate_model,
    execute,
    load_model,
    remeasure,
    rounded,
    save_model,
    study_of,
    thinned,
    trained_model,
)
from hvae_tutorial.experiments.protocol import seeded
from hvae_tutorial.experiments.registry import EXPERIMENTS
from hvae_tutorial.experiments.run import Run
from hvae_tutorial.records import Record, read, write

CPU = torch.device("cpu")
EFFORT = {"epochs": 2, "warmup_epochs": 1, "patience": 2}
SMALL: dict[str, dict[str, Any]] = {
    "figure1": {"data": "circle", "model": "s", "d": 1, "hidden": [8], "importance_samples": 5, "epochs": 2},
    "table1": {"data": "digits", "model": "s", "d": 2, "hidden": [16, 8], "importance_samples": 5, **EFFORT},
    "table3": {"data": "digits", "model": "sn", "d": [2, 3], "hidden": [8], "m2_hidden": 8, **EFFORT},
    "table4": {"data": "karate", "model": "s", "d": 3, "epochs": 4},
    "products": {"data": "digits", "model": "s", "d": [1, 2], "hidden": [8], "importance_samples": 5, **EFFORT},
    "barrier": {"data": "digits", "model": "s-clip", "d": 2, "hidden": [8], "importance_samples": 5, **EFFORT},
}
KINDS = [
    ("figure1", {}),
    ("figure1", {"model": "ae", "d": 2}),
    ("table1", {}),
    ("table1", {"model": "n"}),
    ("table1", {"model": "ps"}),
    ("table3", {}),
    ("table3", {"scheme": "stacked"}),
    ("table3", {"scheme": "circles", "model": "ss"}),
    ("table4", {}),
    ("barrier", {}),
    ("products", {}),
    ("barrier", {"model": "s-path", "until": "decided"}),
    ("table4", {"model": "n"}),
]
every_kind = pytest.mark.parametrize(("name", "change"), KINDS, ids=[f"{name}-{change}" for name, change in KINDS])


def tiny(name: str, *, seed: int = 0, **change: Any) -> Run:
    return EXPERIMENTS[name].run(**SMALL[name] | change, seed=seed, device="cpu")


def done(run: Run, folder: Path) -> Any:
    return execute(run, folder=folder, progress=False)


@every_kind
def test_a_run_leaves_a_record_and_a_model_that_loads_back_and_gives_its_results(
    name: str, change: dict, tmp_path: Path
) -> None:
    run, folder = tiny(name, **change), tmp_path / "new" / "folder"
    record = done(run, folder)
    assert sorted(path.name for path in folder.iterdir()) == [f"{run.name}.json", f"{run.name}.safetensors"]
    assert read(folder / f"{run.name}.json") == record
    assert record.settings == run.settings
    assert record.key == run.key
    assert record.results.keys() >= set() if change.get("model") == "ae" else set(EXPERIMENTS[name].measures)
    assert record.training["epochs"] == run.settings["epochs"]
    assert record.provenance["data_sha256"] == load(run.settings["data"]).sha256
    assert record.provenance["machine"]["threads"] == 1

    path = folder / f"{run.name}.safetensors"
    model, saved_run = load_model(path)
    assert saved_run == dataclasses.replace(run, device="auto")
    assert not model.training
    assert evaluate_model(path, device="cpu") == record.results
    again = trained_model(run, folder, x_dim=load(run.settings["data"]).x_dim)
    for (a, x), (b, y) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert a == b
        assert torch.equal(x, y)


@every_kind
def test_a_run_repeats_itself_whatever_was_drawn_before_and_leaves_the_generator(
    name: str, change: dict, tmp_path: Path
) -> None:
    first = done(tiny(name, **change), tmp_path / "a")
    torch.rand(3)  # another state of the global generator: only the run's own seed may count
    state = torch.get_rng_state()
    second = done(tiny(name, **change), tmp_path / "b")
    assert torch.equal(torch.get_rng_state(), state)
    assert first.results == second.results
    assert first.history == second.history
    files = [next((tmp_path / part).glob("*.safetensors")).read_bytes() for part in "ab"]
    assert files[0] == files[1]
    other = done(tiny(name, seed=1, **change), tmp_path / "c")
    assert other.results != first.results
    assert other.history != first.history


def test_seeded_seeds_and_restores() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    with seeded(3, CPU):
        inside = torch.rand(4)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(inside, torch.rand(4, generator=torch.Generator().manual_seed(3)))


def test_the_number_of_threads_decides_nothing(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(done(tiny("table1"), tmp_path / str(count)))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert results[0].results == results[1].results
    assert results[0].provenance["machine"]["threads"] == results[1].provenance["machine"]["threads"] == 1


@pytest.mark.parametrize(
    ("name", "change", "checkpoints"),
    [("table1", {}, [""]), ("table3", {}, [""]), ("table3", {"scheme": "stacked"}, ["", ".m1"]), ("table4", {}, [""])],
)
def test_a_finished_run_leaves_no_checkpoint_and_an_unfinished_one_goes_on(
    name: str, change: dict, checkpoints: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is killed while it is measured does not train again; stacked there are two trainings, two checkpoints."""
    run = tiny(name, **change)
    study = study_of(run)
    monkeypatch.setattr(study, "measure", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        done(run, tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted(f"{run.name}{part}.checkpoint" for part in checkpoints)
    monkeypatch.undo()
    steps = []
    backward = torch.Tensor.backward
    monkeypatch.setattr(torch.Tensor, "backward", lambda self: (steps.append(1), backward(self))[1])
    (tmp_path / f".{run.name}.checkpoint.0123.tmp").touch()  # as a write leaves it that was killed
    record = done(run, tmp_path)
    assert steps == []
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]
    assert record.results == done(run, tmp_path / "uninterrupted").results


def test_long_learning_curves_are_thinned_with_both_ends_kept() -> None:
    curve = thinned({"beta": list(range(1000)), "validation_elbo": list(range(1000)), "seconds": [1.0] * 1000})
    assert curve.keys() == {"epoch", "beta", "validation_elbo"}
    assert len(curve["epoch"]) == len(curve["beta"]) == CURVE_POINTS
    assert (curve["epoch"][0], curve["epoch"][-1]) == (1, 1000)
    assert all(epoch == beta + 1 for epoch, beta in zip(curve["epoch"], curve["beta"], strict=True))
    assert len(set(curve["epoch"])) == CURVE_POINTS
    assert thinned({"beta": [0.5, 1.0]}) == {"epoch": [1, 2], "beta": [0.5, 1.0]}


def test_rounding_keeps_significant_digits_and_whole_numbers() -> None:
    value = {"a": [123.456789, 0.000123456], "b": {"n": 1234567}}
    assert rounded(value, digits=4) == {"a": [123.5, 0.0001235], "b": {"n": 1234567}}


def test_a_missing_or_damaged_model_is_named_with_what_to_do(tmp_path: Path) -> None:
    run = tiny("table1")
    path = tmp_path / f"{run.name}.safetensors"
    advice = rf"; delete {re.escape(str(path.with_suffix('.json')))} to do this run again$"
    with pytest.raises(ValueError, match=rf"no saved model at {re.escape(str(path))}: .*{advice}"):
        trained_model(run, tmp_path, x_dim=64)
    path.write_bytes(b"half a file")
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))} is not a safetensors file.*{advice}"):
        trained_model(run, tmp_path, x_dim=64)


def test_a_model_without_its_run_is_taken_where_the_run_is_known(tmp_path: Path) -> None:
    """Earlier releases wrote other metadata, or none."""
    run = tiny("table4")
    model = study_of(run).build(run.settings, 34)
    path = tmp_path / f"{run.name}.safetensors"
    path.write_bytes(safetensors.torch.save(model.state_dict(), {"run": json.dumps(dict(run.settings))}))
    assert torch.equal(trained_model(run, tmp_path, x_dim=34).weight, model.weight)
    with pytest.raises(ValueError, match="does not say which run it is the model of"):
        load_model(path)


def without(path: Path, *names: str, **change: Any) -> Record:
    """Write a record again without some results, and with others changed, as an earlier release might have made it."""
    record = read(path)
    results = {name: value for name, value in record.results.items() if name not in names} | change
    found = dataclasses.replace(record, results=results)
    write(found, path.parent)
    return found


def test_what_an_earlier_release_did_not_measure_is_added_and_the_rest_kept(tmp_path: Path) -> None:
    run = tiny("table1")
    whole = done(run, tmp_path)
    path = tmp_path / f"{run.name}.json"
    kl = whole.results["kl"] * (1 + 5e-4)  # as if by other random numbers
    old = without(path, "knn_by_k", "kl_by_images", kl=kl)
    torch.rand(3)
    assert remeasure(path, device="cpu") == ["kl_by_images", "knn_by_k"]
    new = read(path)
    assert new.results == whole.results | {"kl": kl}
    assert new.key == old.key
    (again,) = new.provenance["measured_again"]
    assert again["added"] == ["kl_by_images", "knn_by_k"]
    assert again.keys() == {"added", "version", "commit"}
    assert {name: value for name, value in new.provenance.items() if name != "measured_again"} == old.provenance
    content = path.read_bytes()
    assert remeasure(path, device="cpu") == []
    assert path.read_bytes() == content
    without(path, "knn")
    assert remeasure(path, device="cpu") == ["knn"]
    assert [entry["added"] for entry in read(path).provenance["measured_again"]] == [again["added"], ["knn"]]


def test_a_record_gets_nothing_from_another_model_or_other_data(tmp_path: Path) -> None:
    run = tiny("table1")
    done(run, tmp_path)
    path = tmp_path / f"{run.name}.json"
    whole = without(path, "knn_by_k")
    content = without(path, "knn_by_k", kl=whole.results["kl"] * 1.01)
    with pytest.raises(ValueError, match=r"is not the model of .*: kl is .*, recorded is"):
        remeasure(path, device="cpu")
    assert read(path) == content
    write(dataclasses.replace(whole, provenance={**whole.provenance, "data_sha256": "0" * 64}), tmp_path)
    with pytest.raises(ValueError, match="was measured on other data: sha256 0000"):
        remeasure(path, device="cpu")
    write(whole, tmp_path)
    path.with_suffix(".safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no saved model"):
        remeasure(path, device="cpu")


def saved(folder: Path, **change: Any) -> Path:
    """Return a model's file whose settings say something else than its weights."""
    run = tiny("table1")
    model = study_of(run).build(run.settings, 64)
    path = folder / "model.safetensors"
    save_model(path, model, dataclasses.replace(run, settings={**run.settings, **change}), 64)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": [10**12]}, r"do not fit its settings: sizes \[2, 1000000000000, 1, 64\], but the largest is 64"),
        ({"hidden": 5}, r"do not fit its settings, .*hidden"),
        ({"hidden": ["16"]}, "do not fit its settings: sizes"),
        ({"hidden": [16, 16]}, "do not fit its settings, "),
        ({"d": 10**9}, "do not fit its settings: sizes"),
        ({"d": None}, "do not fit its settings: sizes"),
        ({"model": "x"}, "do not fit its settings, .*kind must be one of"),
        ({"model": "n"}, "do not fit its settings, "),
    ],
)
def test_settings_that_do_not_fit_the_weights_are_named_before_anything_is_built(
    change: dict, message: str, tmp_path: Path
) -> None:
    path = saved(tmp_path, **change)
    with pytest.raises(ValueError, match=rf"the weights in {re.escape(str(path))} {message}"):
        load_model(path)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "[]",
        "{}",
        "null",
        "[" * 100_000,
        '{"format": 1, "x_dim": 64, "experiment": "table9", "settings": {}}',
        '{"format": 1, "x_dim": 64, "experiment": "table1", "settings": []}',
        '{"format": 1, "x_dim": 64, "experiment": "table1", "settings": {}}',
        '{"format": 1, "x_dim": 64, "experiment": ["table1"], "settings": {}}',
    ],
)
def test_a_file_that_does_not_say_what_it_is_is_named(entry: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors.torch.save({"weight": torch.zeros(2)}, {"run": entry}))
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))} does not say which run it is the model of"):
        load_model(path)


def test_another_format_and_broken_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "MODEL_FORMAT", 2)
    path = saved(tmp_path)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="has format 2; this release reads 1"):
        load_model(path)
    run = tiny("table1")
    model = study_of(run).build(run.settings, 64)
    with torch.no_grad():
        model.posterior.direction.bias[0] = float("nan")
    save_model(path, model, run, 64)
    with pytest.raises(ValueError, match=r"are not finite: posterior\.direction\.bias"):
        load_model(path)


@pytest.mark.parametrize(("name", "change"), [("table1", {"model": "n"}), ("table1", {}), ("table3", {})])
def test_samples_are_drawn_from_the_prior(name: str, change: dict, tmp_path: Path) -> None:
    run = tiny(name, **change)
    model = study_of(run).build(run.settings, 64)
    path = tmp_path / "model.safetensors"
    save_model(path, model, run, 64)
    pictures = []
    for file, seed in (("a.png", 0), ("b.png", 0), ("c.png", 1)):
        draw_samples(path, 12, seed=seed).savefig(tmp_path / file)
        pictures.append((tmp_path / file).read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]
    with torch.no_grad():
        x = study_of(run).sample(model, 12)
    assert x.shape == (12, 64)
    assert 0 <= x.min() < x.max() <= 1


@pytest.mark.parametrize("name", ["figure1", "table4"])
def test_samples_are_of_images_only(name: str, tmp_path: Path) -> None:
    run = tiny(name)
    data = load(run.settings["data"])
    save_model(tmp_path / "m", study_of(run).build(run.settings, data.x_dim), run, data.x_dim)
    with pytest.raises(ValueError, match=f"is a model of {data.name}, which are no images"):
        draw_samples(tmp_path / "m", 5, seed=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("name", SMALL)
def test_cuda(name: str, tmp_path: Path) -> None:
    run = dataclasses.replace(tiny(name), device="cuda")
    assert execute(run, folder=tmp_path, progress=False).provenance["device"] == "cuda"
