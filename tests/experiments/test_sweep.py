import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from hvae_tutorial import cli
from hvae_tutorial.data import Dataset
from hvae_tutorial.experiments.presets import Preset
from hvae_tutorial.experiments.run import Evaluate, Run, execute, training_settings
from hvae_tutorial.experiments.sweep import Execute, SweepError, sweep
from hvae_tutorial.models.vae import VAE
from hvae_tutorial.records import read

TINY = Preset(epochs=2, warmup_epochs=1, patience=2, seeds=1, importance_samples=5)


def tiny_runs(count: int, **replaced: Any) -> list[Run]:
    return [
        Run("figure1", "digits", "n", 2, training_settings(TINY, seed=seed, device="cpu", **replaced), hidden=(8,))
        for seed in range(count)
    ]


def evaluate(model: VAE, dataset: Dataset, run: Run) -> dict[str, Any]:
    """Stand in for an experiment's measures: which process did the run, and with how many threads."""
    return {
        "reconstruction": -1.0,
        "circular_correlation": 0.5,
        "process": os.getpid(),
        "threads": torch.get_num_threads(),
    }


def doing(measures: Evaluate) -> Execute:
    return partial(execute, evaluate=measures)


def die(model: VAE, dataset: Dataset, run: Run) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("this process is dead")


def fail_on_seed_1(model: VAE, dataset: Dataset, run: Run) -> dict[str, Any]:
    if run.training.seed == 1:
        raise FloatingPointError("the KL is not finite")
    return evaluate(model, dataset, run)


def test_a_run_with_a_record_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = sweep(tiny_runs(1), doing(evaluate), tmp_path, jobs=1)
    assert "n d=2 seed=0: RE -1.00, 2 epochs" in capsys.readouterr().err
    path = next(tmp_path.glob("*.json"))
    before = path.stat().st_mtime_ns
    both = sweep(tiny_runs(2), doing(evaluate), tmp_path, jobs=1)
    assert path.stat().st_mtime_ns == before
    assert both[0] == first[0]
    assert [record.settings["seed"] for record in both] == [0, 1]
    assert f"1 of 2 runs are already recorded in {tmp_path}" in capsys.readouterr().err


def test_a_changed_setting_is_another_run(tmp_path: Path) -> None:
    sweep(tiny_runs(1), doing(evaluate), tmp_path, jobs=1)
    sweep(tiny_runs(1, beta=0.5), doing(evaluate), tmp_path, jobs=1)
    assert len(list(tmp_path.glob("*.json"))) == 2


@pytest.mark.parametrize("content", ["", '{"schema": 1, "experi', "[]"])
def test_a_damaged_record_is_named_before_anything_is_run(tmp_path: Path, content: str) -> None:
    sweep(tiny_runs(1), doing(evaluate), tmp_path, jobs=1)
    (path,) = tmp_path.glob("*.json")
    path.write_text(content)
    message = rf"{re.escape(str(path))} is not a valid record: .*; delete it to do this run again$"
    with pytest.raises(ValueError, match=message):
        sweep(tiny_runs(2), doing(evaluate), tmp_path, jobs=1)
    assert list(tmp_path.glob("*.json")) == [path]
    path.unlink()
    assert len(sweep(tiny_runs(2), doing(evaluate), tmp_path, jobs=1)) == 2


@pytest.mark.slow
def test_runs_are_spread_over_processes_that_share_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: 6)  # of which joblib itself knows nothing
    records = sweep(tiny_runs(4), doing(evaluate), tmp_path, jobs=2)
    assert [record.settings["seed"] for record in records] == [0, 1, 2, 3]
    processes = {record.results["process"] for record in records}
    assert os.getpid() not in processes
    assert {record.results["threads"] for record in records} == {3}
    assert not list(tmp_path.glob("*.log"))
    errors = capfd.readouterr().err
    assert "4/4" in errors
    for seed in range(4):
        assert f"n d=2 seed={seed}: RE -1.00" in errors
    assert "epoch" not in errors.replace("2 epochs", "")  # the runs' own bars do not mix with the sweep's


def test_one_failure_does_not_end_the_others(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match=r"1 of 3 runs failed:\nn d=2 seed=1: failed, FloatingPointError: the KL"):
        sweep(tiny_runs(3), doing(fail_on_seed_1), tmp_path, jobs=1)
    assert len(list(tmp_path.glob("*.json"))) == 2
    (log,) = tmp_path.glob("*.log")
    assert "Traceback" in log.read_text()
    records = sweep(tiny_runs(3), doing(evaluate), tmp_path, jobs=1)  # mended: only the failed one is done again
    assert len(records) == 3
    assert not list(tmp_path.glob("*.log"))


@pytest.mark.slow
def test_a_killed_worker_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="a worker process was killed, perhaps for want of memory"):
        sweep(tiny_runs(2), doing(die), tmp_path, jobs=2)
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.slow
def test_a_killed_command_leaves_no_worker_behind(tmp_path: Path) -> None:
    arguments = ["reproduce", "table1", "--preset", "smoke", "--models", "n", "s", "--dims", "2", "--jobs", "2"]
    arguments += ["--epochs", "1000", "--patience", "1000", "--device", "cpu", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "hvae_tutorial", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 300
        while len(list(tmp_path.glob("*/*.checkpoint"))) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.kill()
        process.communicate(timeout=60)  # ends when no process, workers included, holds the pipes any more
    assert not list(tmp_path.glob("*/*.json"))


@pytest.mark.parametrize("jobs", [0, -1])
def test_jobs_must_be_positive(tmp_path: Path, jobs: int) -> None:
    with pytest.raises(ValueError, match=f"jobs must be at least 1, got {jobs}"):
        sweep(tiny_runs(1), doing(evaluate), tmp_path, jobs=jobs)


@pytest.mark.slow
def test_a_dask_scheduler_takes_the_place_of_local_processes(tmp_path: Path) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        records = sweep(tiny_runs(2), doing(evaluate), tmp_path, dask=cluster.scheduler_address)
        # Now a single run is pending.
        records = sweep(tiny_runs(3), doing(evaluate), tmp_path, dask=cluster.scheduler_address)
    assert [record.settings["seed"] for record in records] == [0, 1, 2]
    assert os.getpid() not in {record.results["process"] for record in records}


@pytest.mark.parametrize(
    ("workers", "threads", "message"),
    [(2, 2, r"Dask workers must have one thread each \(--nthreads 1\)"), (1, 1, "has one worker, but at least two")],
)
def test_unfit_dask_workers_are_refused(tmp_path: Path, workers: int, threads: int, message: str) -> None:
    """Several threads would share PyTorch's generator; with one worker joblib does not leave its own process."""
    from distributed import LocalCluster

    settings = {"n_workers": workers, "threads_per_worker": threads, "processes": False, "dashboard_address": None}
    with LocalCluster(**settings) as cluster, pytest.raises(ValueError, match=message):
        sweep(tiny_runs(1), doing(evaluate), tmp_path, dask=cluster.scheduler_address)


def test_dask_is_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match="python -m pip install distributed"):
        sweep(tiny_runs(1), doing(evaluate), tmp_path, dask="tcp://127.0.0.1:1")


def test_a_silent_dask_scheduler_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hvae_tutorial.experiments.sweep.DASK_TIMEOUT", 0.5)
    with pytest.raises(OSError, match=r"Timed out trying to connect to tcp://127\.0\.0\.1:1"):
        sweep(tiny_runs(1), doing(evaluate), tmp_path, dask="tcp://127.0.0.1:1")


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`kill -9` in the middle of training; the same command then does the rest only, and gets the same numbers."""
    arguments = ["reproduce", "table1", "--preset", "smoke", "--models", "n", "--dims", "2", "--jobs", "1"]
    arguments += ["--epochs", "40", "--patience", "40", "--device", "cpu"]
    code = "\n".join(
        [
            "import sys, torch",
            "from hvae_tutorial import cli, training",
            "torch.set_num_threads(1)",
            "training.CHECKPOINT_SECONDS = 0.0",
            "cli.main(sys.argv[1:])",
        ]
    )
    out = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", code, *arguments, "--out", str(out)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not list(out.glob("*/*.checkpoint")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(out.glob("*/*.json"))

    trained = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self, closure=None: (trained.append(1), step(self, closure)))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    steps = {}
    for folder in (out, tmp_path / "uninterrupted"):
        with pytest.raises(SystemExit, match="0"):
            cli.main([*arguments, "--out", str(folder)])
        steps[folder] = len(trained)
        trained.clear()
    torch.set_num_threads(threads)

    killed, uninterrupted = (read(next(folder.glob("*/*.json"))) for folder in steps)
    assert killed.results == uninterrupted.results
    assert killed.history == uninterrupted.history
    assert steps[out] < steps[tmp_path / "uninterrupted"] == 40 * 18
    assert not list(out.glob("*/*.checkpoint"))
