import dataclasses
import platform
import re
import socket
import subprocess
from pathlib import Path

import pytest
import torch

import hvae_tutorial
from hvae_tutorial.experiments import provenance, table1
from hvae_tutorial.experiments.presets import FIGURE1, TABLE1, Preset
from hvae_tutorial.experiments.run import CURVE_POINTS, Run, execute, rounded, thinned, trained_model, training_settings
from hvae_tutorial.models.vae import VAE
from hvae_tutorial.records import read
from hvae_tutorial.training import TrainingSettings

TINY = Preset(epochs=2, warmup_epochs=1, patience=2, seeds=1, importance_samples=5)


def tiny_run(model: str = "n", *, seed: int = 0, d: int = 2) -> Run:
    return Run(
        experiment="table1",
        data="digits",
        model=model,
        d=d,
        training=training_settings(TINY, seed=seed, device="cpu"),
        hidden=(16, 8),
        importance_samples=TINY.importance_samples,
    )


def test_the_presets_are_the_documented_ones() -> None:
    paper = TABLE1["paper"]
    assert (paper.epochs, paper.warmup_epochs, paper.patience) == (1000, 100, 50)
    assert (paper.seeds, paper.importance_samples, paper.batch_size, paper.learning_rate) == (10, 500, 64, 1e-3)
    quick = TABLE1["quick"]
    assert (quick.epochs, quick.warmup_epochs, quick.patience, quick.seeds) == (60, 15, 15, 3)
    assert quick.importance_samples == 100
    for smoke in (TABLE1["smoke"], FIGURE1["smoke"]):
        assert (smoke.epochs, smoke.seeds, smoke.importance_samples) == (3, 1, 10)
    assert FIGURE1["quick"].epochs == FIGURE1["paper"].epochs == 100


def test_a_preset_becomes_training_settings() -> None:
    settings = training_settings(TABLE1["paper"], seed=7, device="cpu", beta=0.1)
    assert settings == TrainingSettings(
        epochs=1000, batch_size=64, learning_rate=1e-3, warmup_epochs=100, patience=50, beta=0.1, seed=7, device="cpu"
    )


def test_the_key_depends_on_every_setting_but_not_on_the_device() -> None:
    run = tiny_run()
    elsewhere = dataclasses.replace(run, training=dataclasses.replace(run.training, device="cuda"))
    assert elsewhere.key == run.key
    others = {field.name: f"another {field.name}" for field in dataclasses.fields(run) if field.name != "training"}
    keys = {dataclasses.replace(run, **{name: value}).key for name, value in others.items()}
    for field in dataclasses.fields(run.training):
        value = getattr(run.training, field.name)
        if field.name != "device":
            other = dataclasses.replace(run.training, **{field.name: not value if value is True else value + 1})
            keys.add(dataclasses.replace(run, training=other).key)
    assert len(keys) == 15
    assert run.key not in keys


def test_the_key_depends_on_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    key = tiny_run().key
    monkeypatch.setattr("hvae_tutorial.experiments.run.__version__", "99.0")
    assert tiny_run().key != key


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


@pytest.mark.parametrize("model", ["n", "s", "ps"])
def test_execute_leaves_a_record_and_a_model_and_no_checkpoint(tmp_path: Path, model: str) -> None:
    run = tiny_run(model)
    record = execute(run, table1.evaluate, tmp_path, progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{run.name}.json", f"{run.name}.safetensors"]
    assert read(tmp_path / f"{run.name}.json") == record
    assert record.settings == run.settings

    results = record.results
    assert results["log_likelihood"]["samples"] == 5
    assert results["log_likelihood_10"]["samples"] == 10
    assert results["elbo"] == pytest.approx(results["reconstruction"] - results["kl"], abs=1e-3)
    assert results["log_likelihood_10"]["mean"] > results["elbo"]  # the bound grows with the number of samples
    assert -64 < results["log_likelihood"]["mean"] < 0
    assert 0 < results["log_likelihood"]["standard_error"] < 1
    assert ("mean_concentration" in results) == (model != "n")
    assert 0.1 < results["knn"]["100"]["mean"] < 1
    assert record.training["epochs"] == 2
    assert record.history["epoch"] == [1, 2]

    restored = VAE.load(tmp_path / f"{run.name}.safetensors")
    again = table1.evaluate(restored, hvae_tutorial.data.load("digits"), run)
    assert again["knn"]["100"]["mean"] == pytest.approx(results["knn"]["100"]["mean"])


def test_a_missing_or_damaged_model_is_named_with_what_to_do(tmp_path: Path) -> None:
    run = tiny_run()
    path = tmp_path / f"{run.name}.safetensors"
    advice = rf"; delete {re.escape(str(path.with_suffix('.json')))} to do this run again$"
    with pytest.raises(ValueError, match=rf"no saved VAE at {re.escape(str(path))}: .*{advice}"):
        trained_model(run, tmp_path)
    path.write_bytes(b"half a file")
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))} is not a safetensors file.*{advice}"):
        trained_model(run, tmp_path)


def test_a_run_is_reproducible(tmp_path: Path) -> None:
    first, second = (execute(tiny_run("s"), table1.evaluate, tmp_path / name, progress=False) for name in ("a", "b"))
    assert first.results == second.results
    other = execute(tiny_run("s", seed=1), table1.evaluate, tmp_path / "c", progress=False)
    assert other.results["elbo"] != first.results["elbo"]


def test_provenance_says_what_is_needed_and_no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "node", lambda: "secret-host")
    monkeypatch.setattr(socket, "gethostname", lambda: "secret-host")
    content = provenance.provenance(torch.device("cpu"), "0" * 64)
    assert content["versions"]["torch"] == torch.__version__
    assert content["versions"]["hvae_tutorial"] == hvae_tutorial.__version__
    assert content["device"] == "cpu"
    assert content["machine"]["threads"] == torch.get_num_threads()
    assert content["machine"]["processor"]
    assert "secret-host" not in str(content)


def test_the_commit_is_that_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package installed below some other repository must not take that repository's commit for its own."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.setattr(hvae_tutorial, "__file__", str(package / "__init__.py"))
    assert provenance.commit() is None  # no repository
    git("init")
    (tmp_path / "other.txt").touch()
    git("add", "other.txt")
    git("commit", "-m", "other")
    assert provenance.commit() is None  # a repository that does not hold the package
    git("add", "package")
    git("commit", "-m", "package")
    assert provenance.commit() == git("rev-parse", "HEAD")
    (package / "__init__.py").write_text("changed")
    assert provenance.commit() == git("rev-parse", "HEAD") + "-dirty"
