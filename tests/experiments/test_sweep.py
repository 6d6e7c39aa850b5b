"""Many runs: what is skipped, spread, shared between commands, and what happens when something dies."""

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from example_records import example_record
from filelock import FileLock
from tqdm import tqdm

from hvae_tutorial import cli
from hvae_tutorial.experiments import sweep as sweeping
from hvae_tutorial.experiments.registry import EXPERIMENTS
from hvae_tutorial.experiments.run import Run
from hvae_tutorial.experiments.sweep import SweepError, sweep
from hvae_tutorial.records import Record, read, settings_key, write


def tiny_runs(count: int, **settings: object) -> list[Run]:
    cell = {"data": "circle", "model": "n", "d": 2, **settings}
    return [EXPERIMENTS["figure1"].run(**cell, seed=seed, device="cpu") for seed in range(count)]


def record_of(run: Run) -> Record:
    """A record as the run would leave it, with who made it among its results."""
    record = example_record(experiment="figure1", results={"process": os.getpid()})
    versions = {**record.provenance["versions"], "hvae_tutorial": "0"}
    return dataclasses.replace(
        record,
        settings=run.settings,
        provenance={**record.provenance, "versions": versions},
        key=settings_key("figure1", run.settings, "0"),
    )


def stand_in(run: Run, *, folder: Path, progress: bool) -> Record:
    """Take the place of `execute`: leave a record where the sweep looks for it, and train nothing."""
    print("a line of its own", file=sys.stderr)
    record = record_of(run)
    (folder / f"{run.name}.json").write_bytes(write(record, folder / "elsewhere").read_bytes())
    return record


def die(run: Run, *, folder: Path, progress: bool) -> Record:
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))  # on Windows SIGTERM is as hard
    raise AssertionError("this process is dead")


def fail_on_seed_1(run: Run, *, folder: Path, progress: bool) -> Record:
    if run.seed == 1:
        raise FloatingPointError("the KL is not finite")
    return stand_in(run, folder=folder, progress=progress)


def test_a_run_with_a_record_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = sweep(tiny_runs(1), stand_in, tmp_path, jobs=1)
    assert "[1/1] circle n d=2 seed=0: ELBO -18.00, RE -12.00, KL 6.00, 60 epochs" in capsys.readouterr().err
    path = next(tmp_path.glob("*.json"))
    before = path.stat().st_mtime_ns
    both = sweep(tiny_runs(2), stand_in, tmp_path, jobs=1)
    assert path.stat().st_mtime_ns == before
    assert both[0] == first[0]
    assert [record.settings["seed"] for record in both] == [0, 1]
    assert f"1 of 2 runs are already recorded in {tmp_path}" in capsys.readouterr().err
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.is_file()) == [".json", ".json"]


def test_the_bar_counts_the_runs_that_have_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those to do, in lines that say which it is; a run that failed has ended, too."""
    bars = []

    class Bar(tqdm):
        def __init__(self, **options: Any) -> None:
            self.seen: list[Any] = [(options["total"], options["desc"])]
            bars.append(self)
            super().__init__(**options)

        def update(self, n: float | None = 1) -> None:
            self.seen.append(n)

        def write(self, line: str, **_: Any) -> None:
            self.seen.append(line.split(" ")[0])

    sweep(tiny_runs(1), stand_in, tmp_path, jobs=1)
    monkeypatch.setattr(sweeping, "tqdm", Bar)
    with pytest.raises(SweepError, match="1 of 2 runs failed"):
        sweep([*tiny_runs(2), *tiny_runs(1, beta=0.5)], fail_on_seed_1, tmp_path, jobs=1)
    (bar,) = bars
    assert bar.seen == [(2, tmp_path.name), "[1/2]", 1, "[2/2]", 1]


def test_a_changed_setting_is_another_run(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    sweep(tiny_runs(1), stand_in, folder, jobs=1)
    sweep(tiny_runs(1, beta=0.5), stand_in, folder, jobs=1)
    assert len(list(folder.glob("*.json"))) == 2
    with sweeping._held(tmp_path / "another" / "folder" / ".sweep.1.lock"):
        assert [path.name for path in (tmp_path / "another" / "folder").iterdir()] == [".sweep.1.lock"]


@pytest.mark.parametrize("content", ["", '{"schema": 1, "experi', "[]"])
def test_a_damaged_record_is_named_before_anything_is_run(tmp_path: Path, content: str) -> None:
    sweep(tiny_runs(1), stand_in, tmp_path, jobs=1)
    (path,) = tmp_path.glob("*.json")
    path.write_text(content)
    message = rf"{re.escape(str(path))} is not a valid record: .*; delete it to do this run again$"
    with pytest.raises(ValueError, match=message):
        sweep(tiny_runs(2), stand_in, tmp_path, jobs=1)
    assert list(tmp_path.glob("*.json")) == [path]
    path.unlink()
    assert len(sweep(tiny_runs(2), stand_in, tmp_path, jobs=1)) == 2


def test_a_record_of_another_run_under_this_runs_name_is_refused(tmp_path: Path) -> None:
    """One that was edited or renamed does not count as this run's."""
    sweep(tiny_runs(2), stand_in, tmp_path, jobs=1)
    first, second = (tmp_path / f"{run.name}.json" for run in tiny_runs(2))
    first.write_bytes(second.read_bytes())
    with pytest.raises(ValueError, match=rf"{re.escape(str(first))} is the record of another run; delete it"):
        sweep(tiny_runs(2), stand_in, tmp_path, jobs=1)


def test_a_record_whose_numbers_were_edited_does_not_count(tmp_path: Path) -> None:
    sweep(tiny_runs(1), stand_in, tmp_path, jobs=1)
    (path,) = tmp_path.glob("*.json")
    path.write_text(path.read_text().replace('"elbo": -18.0', '"elbo": -17.0'))
    with pytest.raises(ValueError, match=r"elbo must be reconstruction - kl .*; delete it to do this run again"):
        sweep(tiny_runs(1), stand_in, tmp_path, jobs=1)


@pytest.mark.slow
def test_runs_are_spread_over_processes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".sweep.1.lock").touch()  # of a command that was killed
    records = sweep(tiny_runs(4), stand_in, tmp_path, jobs=2)
    assert [record.settings["seed"] for record in records] == [0, 1, 2, 3]
    assert os.getpid() not in {record.results["process"] for record in records}
    assert not list(tmp_path.glob("*.log"))
    assert not list(tmp_path.glob(".*"))  # locks
    errors = capfd.readouterr().err
    assert f"4 runs to do; each writes its progress to a .log file in {tmp_path}" in errors
    for seed in range(4):
        assert f"/4] circle n d=2 seed={seed}: ELBO -18.00" in errors
    assert "a line of its own" not in errors  # the runs' own lines do not mix with the sweep's


def test_one_failure_does_not_end_the_others(tmp_path: Path) -> None:
    with pytest.raises(
        SweepError, match=r"1 of 3 runs failed:\ncircle n d=2 seed=1: failed, FloatingPointError: the KL"
    ):
        sweep(tiny_runs(3), fail_on_seed_1, tmp_path, jobs=1)
    assert len(list(tmp_path.glob("*.json"))) == 2
    (log,) = tmp_path.glob("*.log")
    assert "Traceback" in log.read_text()
    records = sweep(tiny_runs(3), stand_in, tmp_path, jobs=1)  # mended: only the failed one is done again
    assert len(records) == 3
    assert not list(tmp_path.glob("*.log"))


@contextlib.contextmanager
def another_command_at(run: Run, folder: Path) -> Iterator[threading.Event]:
    """Hold the lock of a run, as another command would, until the event is set."""
    held, finished = threading.Event(), threading.Event()

    def hold() -> None:
        with FileLock(folder / f".{run.name}.lock"):
            held.set()
            finished.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    yield finished
    finished.set()
    thread.join()


def test_two_commands_on_one_folder_share_the_runs(tmp_path: Path) -> None:
    """What another has in hand is left for the end; when it has done it, its record is taken."""
    first, second = tiny_runs(2)
    done = []

    def counted(run: Run, *, folder: Path, progress: bool) -> Record:
        done.append(run.seed)
        stand_in(first, folder=folder, progress=progress)  # by the other command, meanwhile
        finished.set()
        return stand_in(run, folder=folder, progress=progress)

    with another_command_at(first, tmp_path) as finished:
        records = sweep([first, second], counted, tmp_path, jobs=1)
    assert done == [1]
    assert [record.settings["seed"] for record in records] == [0, 1]


def test_what_another_command_left_undone_is_done(tmp_path: Path) -> None:
    (run,) = tiny_runs(1)
    with another_command_at(run, tmp_path) as finished:
        threading.Timer(0.3, finished.set).start()
        assert len(sweep([run], stand_in, tmp_path, jobs=1)) == 1


@pytest.mark.slow
def test_a_killed_worker_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="a worker process was killed, perhaps for want of memory"):
        sweep(tiny_runs(2), die, tmp_path, jobs=2)
    assert not list(tmp_path.glob("*.json"))


# The command line, but that a run in its own process writes a checkpoint after every epoch: nobody waits for one.
HASTY = """
import sys
from hvae_tutorial import cli
from hvae_tutorial.training import journal
journal.CHECKPOINT_SECONDS = 0.0
cli.main(sys.argv[1:])
"""


def long_command(out: Path, jobs: int) -> list[str]:
    arguments = ["reproduce", "figure1", "--epochs", "100000", "--patience", "100000", "--seeds", "1"]
    arguments += ["--jobs", str(jobs), "--device", "cpu", "--out", str(out)]
    return [sys.executable, "-c", HASTY, *arguments]


def wait_for(pattern: str, folder: Path, count: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 300
    while len(list(folder.glob(pattern))) < count:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_a_killed_command_leaves_no_worker_behind(tmp_path: Path) -> None:
    with subprocess.Popen(long_command(tmp_path, 2), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for("*/*.log", tmp_path, 2, process)
        process.kill()
        process.communicate(timeout=60)  # ends when no process, workers included, holds the pipes any more
    assert not list(tmp_path.glob("*/.sweep.*"))
    assert not list(tmp_path.glob("*/*.json"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_a_command_with_one_line(number: int, code: int, word: str, tmp_path: Path) -> None:
    with subprocess.Popen(
        long_command(tmp_path, 1),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a suite in the background may ignore it
    ) as process:
        wait_for("*/*.checkpoint", tmp_path, 1, process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors.splitlines()[-1] == f"hvae: {word}; the same command goes on from here"
    assert "Traceback" not in errors


@pytest.mark.parametrize("jobs", [0, -1])
def test_jobs_must_be_positive(tmp_path: Path, jobs: int) -> None:
    with pytest.raises(ValueError, match=f"jobs must be at least 1, got {jobs}"):
        sweep(tiny_runs(1), stand_in, tmp_path, jobs=jobs)


@pytest.mark.slow
def test_a_dask_scheduler_takes_the_place_of_local_processes(tmp_path: Path) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        records = sweep(tiny_runs(2), stand_in, tmp_path, dask=cluster.scheduler_address)
        # Now a single run is pending.
        records = sweep(tiny_runs(3), stand_in, tmp_path, dask=cluster.scheduler_address)
    assert [record.settings["seed"] for record in records] == [0, 1, 2]
    assert os.getpid() not in {record.results["process"] for record in records}


@pytest.mark.parametrize(
    ("workers", "threads", "message"),
    [(2, 2, r"Dask workers must have one thread each \(--nthreads 1\)"), (1, 1, "has one worker, but at least two")],
)
def test_unfit_dask_workers_are_refused(tmp_path: Path, workers: int, threads: int, message: str) -> None:
    """Several threads would share PyTorch's generator; with one worker joblib does not leave its own process."""
    from distributed import LocalCluster

    # port 0, any that is free: two suites on one machine would want the same
    settings = {"n_workers": workers, "threads_per_worker": threads, "processes": False, "dashboard_address": ":0"}
    with LocalCluster(**settings) as cluster, pytest.raises(ValueError, match=message):
        sweep(tiny_runs(1), stand_in, tmp_path, dask=cluster.scheduler_address)


def test_dask_is_optional_and_its_extra_is_the_readmes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"python -m pip install 'hvae-tutorial\[dask\]'"):
        sweep(tiny_runs(1), stand_in, tmp_path, dask="tcp://127.0.0.1:1")


@pytest.mark.parametrize("address", ["nonsense", "tcp://", "localhost:8786", ""])
def test_what_is_no_address_of_a_scheduler_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"--dask takes the address of a scheduler as .*, got '{address}'"):
        sweep(tiny_runs(1), stand_in, tmp_path, dask=address)


def test_a_silent_dask_scheduler_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "DASK_TIMEOUT", 0.5)
    with pytest.raises(OSError, match=r"Timed out trying to connect to tcp://127\.0\.0\.1:1"):
        sweep(tiny_runs(1), stand_in, tmp_path, dask="tcp://127.0.0.1:1")


def test_every_run_of_a_parallel_sweep_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tiny_runs(3)
    for run, state in zip(runs, ("12/60 epochs", "3/60 epochs"), strict=False):
        (tmp_path / f"{run.name}.log").write_text(f"an older line\n{run.title}: {state}\n\n")
    monkeypatch.setattr(sweeping, "REPORT_EVERY", 0.05)
    with sweeping._reporting(runs, tmp_path, sweeping.tqdm(disable=True)):
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert set(lines) == {"circle n d=2 seed=0: 12/60 epochs", "circle n d=2 seed=1: 3/60 epochs"}


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`kill -9` in the middle of training; the same command then does the rest only, and gets the same numbers."""
    arguments = ["reproduce", "table1", "--preset", "smoke", "--models", "n", "--dims", "2", "--jobs", "1"]
    arguments += ["--epochs", "40", "--patience", "40", "--device", "cpu"]
    out = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", HASTY, *arguments, "--out", str(out)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not list(out.glob("*/*.checkpoint")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not list(out.glob("*/*.json"))

    trained = []
    backward = torch.Tensor.backward
    monkeypatch.setattr(torch.Tensor, "backward", lambda self: (trained.append(1), backward(self))[1])
    steps = {}
    for folder in (out, tmp_path / "uninterrupted"):
        with pytest.raises(SystemExit, match="0"):
            cli.main([*arguments, "--out", str(folder)])
        steps[folder] = len(trained)
        trained.clear()

    killed, uninterrupted = (read(next(folder.glob("*/*.json"))) for folder in steps)
    assert killed.results == uninterrupted.results
    assert killed.history == uninterrupted.history
    assert steps[out] < steps[tmp_path / "uninterrupted"] == 40 * 18
    assert not list(out.glob("*/*.checkpoint"))
