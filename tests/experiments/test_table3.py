import dataclasses
from functools import partial
from pathlib import Path

import pytest
import torch

from hvae_tutorial.data import load
from hvae_tutorial.experiments import table3
from hvae_tutorial.experiments.presets import TABLE3, Preset
from hvae_tutorial.experiments.protocol import binarized
from hvae_tutorial.experiments.run import training_settings
from hvae_tutorial.experiments.table3 import SemiSupervisedRun, evaluate, execute
from hvae_tutorial.models import mlp_m1m2
from hvae_tutorial.records import read

TINY = Preset(epochs=2, warmup_epochs=1, patience=2, seeds=1, importance_samples=5)
SMALL = {"hidden": (8,), "m2_hidden": 8, "labelled_batch_size": 4}


def tiny_run(**replaced) -> SemiSupervisedRun:
    options = {"model": "sn", "d": (2, 3), "training": training_settings(TINY, seed=0, device="cpu"), **SMALL}
    return SemiSupervisedRun(data="digits", **(options | replaced))


def test_a_run_leaves_a_record_and_weights(tmp_path: Path) -> None:
    run = tiny_run()
    record = execute(run, folder=tmp_path, progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{run.name}.json", f"{run.name}.safetensors"]
    assert run.name.startswith("table3-digits-sn-d2+3-seed0-")
    assert read(tmp_path / f"{run.name}.json") == record
    assert record.settings["d"] == [2, 3]
    assert record.settings["scheme"] == "end-to-end"
    assert record.settings["alpha"] == 0.1
    assert "device" not in record.settings
    assert 0 <= record.results["accuracy"] <= 1
    assert record.results["elbo"] == pytest.approx(record.results["reconstruction"] - record.results["kl"], abs=1e-4)
    assert record.training["epochs"] == 2


def test_the_same_run_gives_the_same_numbers_and_another_seed_others(tmp_path: Path) -> None:
    first, second = (execute(tiny_run(), folder=tmp_path / name, progress=False) for name in "ab")
    assert first.results == second.results
    seed1 = training_settings(TINY, seed=1, device="cpu")
    assert execute(tiny_run(training=seed1), folder=tmp_path, progress=False).results != first.results


def test_a_stacked_run_trains_m1_first_and_then_leaves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits = []
    fit = table3.fit

    def noted(model, *arguments, **options):
        before = [parameter.clone() for parameter in getattr(model, "m1", model).parameters()]
        result = fit(model, *arguments, **options)
        after = list(getattr(model, "m1", model).parameters())
        fits.append((type(model).__name__, all(torch.equal(a, b) for a, b in zip(before, after, strict=True))))
        return result

    monkeypatch.setattr(table3, "fit", noted)
    run = tiny_run(scheme="stacked")
    execute(run, folder=tmp_path, progress=False)
    assert fits == [("VAE", False), ("StackedM1M2", True)]
    assert run.key != tiny_run().key
    assert not list(tmp_path.glob("*.checkpoint"))


def test_every_setting_changes_the_key_but_the_device_does_not() -> None:
    run = tiny_run()
    elsewhere = dataclasses.replace(run.training, device="cuda")
    assert dataclasses.replace(run, training=elsewhere).key == run.key
    names = [field.name for field in dataclasses.fields(run) if field.name not in ("training", "d", "hidden")]
    changed = [dataclasses.replace(run, **{name: "another"}) for name in names]
    changed += [dataclasses.replace(run, d=(3, 2)), dataclasses.replace(run, hidden=(9,))]
    changed += [dataclasses.replace(run, training=dataclasses.replace(run.training, seed=9))]
    assert len({other.key for other in [run, *changed]}) == len(changed) + 1


def test_accuracy_is_that_of_the_classifier() -> None:
    """A classifier that always says 7 is right where the label is 7, and its class entropy is 0."""
    model = mlp_m1m2("nn", 2, 2, x_dim=64, hidden=(8,), m2_hidden=8)
    with torch.no_grad():
        model.m2.classifier[-1].weight.zero_()
        model.m2.classifier[-1].bias.copy_(torch.eye(10)[7] * 1e4)
    images = binarized(load("digits"))
    images = dataclasses.replace(images, validation_labels=images.validation_labels.clamp(min=7))
    measured = evaluate(model, images)
    assert measured["accuracy"] == pytest.approx((images.test_labels == 7).float().mean().item())
    assert measured["validation_accuracy"] == pytest.approx((images.validation_labels == 7).float().mean().item())
    assert measured["validation_accuracy"] > 0.7 > measured["accuracy"]
    assert measured["class_entropy"] == pytest.approx(0, abs=1e-6)


def test_reproduce_makes_the_table_and_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table3, "SemiSupervisedRun", partial(SemiSupervisedRun, **SMALL))
    report = table3.reproduce(data="digits", preset=TINY, configs=[(2, 3)], pairs=["nn", "sn"], out=tmp_path, jobs=1)
    assert [path.name for path in report.files] == ["table3.md", "learning-curves-d2+3.png"]
    assert all(path.stat().st_size > 0 for path in report.files)
    rows = [row[:3] for row in report.tables[0].rows]
    assert rows == [["2, 3", "N+N", "1"], ["2, 3", "S+N", "1"], ["2, 3", "p, S+N", ""]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"configs": []}, r"configs and pairs must not be empty, got configs \(\) and pairs \('nn', 'ss', 'sn'\)"),
        ({"pairs": []}, r"configs and pairs must not be empty"),
        ({"scheme": "joint"}, r"scheme must be one of 'end-to-end', 'stacked', got 'joint'"),
        ({"data": "circle"}, r"Table 3 is about images, which the data set 'circle' is not"),
    ],
)
def test_bad_arguments(change: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        table3.reproduce(**{"data": "digits", "preset": TINY, "configs": [(2, 2)], "out": tmp_path} | change)


def test_the_paper_preset_is_that_of_table_1() -> None:
    paper = TABLE3["paper"]
    assert (paper.epochs, paper.warmup_epochs, paper.patience, paper.seeds) == (1000, 100, 50, 10)
