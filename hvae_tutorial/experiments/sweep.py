"""Many runs: those already recorded are read, the others spread over processes, or over machines with Dask."""

import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any, Protocol

import joblib
import torch
from tqdm import tqdm

from hvae_tutorial.records import Record, read
from hvae_tutorial.training import resolve_device

# Seconds to wait for a Dask scheduler to answer.
DASK_TIMEOUT = 10


class SweepError(RuntimeError):
    """Some runs of a sweep failed. The others are recorded; the same command tries the failed ones again."""


class Task(Protocol):
    """What a sweep must know of a run."""

    @property
    def name(self) -> str:
        """Name of the run's files, without extension: unique among all runs."""

    @property
    def title(self) -> str:
        """What messages and progress bars call the run."""

    @property
    def device(self) -> str:
        """Where it trains, as `training.resolve_device` takes it."""


class Execute(Protocol):
    """Doing a run: a function at the top level of a module, or a `functools.partial` of one."""

    def __call__(self, task: Any, /, *, folder: Path, progress: bool) -> Record:
        """Do the run and leave its record in `folder`, as `<task.name>.json`."""


def sweep(
    runs: Sequence[Task], execute: Execute, folder: Path, *, jobs: int | None = None, dask: str | None = None
) -> list[Record]:
    """Do all runs that have no record in `folder` yet, and return the records of all.

    With one process the epochs of each run are shown as they pass. With several, one bar counts the finished runs, and
    each run writes its own bar to a `.log` file beside its record. A run that fails leaves its traceback there.

    Args:
        runs: what to do.
        execute: does one of them.
        folder: where records, models, checkpoints and logs go. With Dask: a folder that all workers share.
        jobs: number of processes; by default one a core, or one in all on a GPU. Each process uses its share of the
            cores: networks this small gain less from a second thread than from a second run.
        dask: address of a Dask scheduler (`tcp://host:8786`), whose workers then take the place of local processes.
            They must run one thread each (`dask worker --nthreads 1`): PyTorch's generator belongs to the process.

    Returns:
        One record a run, in the order of `runs`.

    Raises:
        SweepError: some runs failed, after all the others have ended; or a worker process was killed.
        ValueError: `jobs` is not positive; a record in the folder is damaged; with Dask, `distributed` is not
            installed, there is but one worker, or one has several threads.
        OSError: the Dask scheduler does not answer.
    """
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    paths = [folder / f"{run.name}.json" for run in runs]
    recorded = {path: _read(path) for path in paths if path.exists()}
    pending = [run for run, path in zip(runs, paths, strict=True) if path not in recorded]
    if recorded:
        print(f"{len(recorded)} of {len(runs)} runs are already recorded in {folder}", file=sys.stderr)
    if pending:
        _run_all(pending, execute, folder, jobs or _default_jobs(pending[0]), dask)
    return [recorded.get(path) or _read(path) for path in paths]


def _read(path: Path) -> Record:
    try:
        return read(path)
    except ValueError as error:
        raise ValueError(f"{error}; delete it to do this run again") from error


def _run_all(pending: Sequence[Task], execute: Execute, folder: Path, jobs: int, dask: str | None) -> None:
    jobs = min(jobs, len(pending))
    alone = jobs == 1 and dask is None
    threads = None if alone or dask else max(1, joblib.cpu_count() // jobs)  # None: as torch or the worker has it
    parent = None if alone or dask else os.getpid()
    tasks = [joblib.delayed(_attempt)(run, execute, folder, threads, alone, parent) for run in pending]
    failures = []
    if not alone:
        print(f"{len(pending)} runs to do; each writes its progress to a .log file in {folder}", file=sys.stderr)
    with _dask_backend(dask) if dask else contextlib.nullcontext():
        finished = joblib.Parallel(jobs, batch_size=1, return_as="generator_unordered")(tasks)
        with tqdm(total=len(pending), desc=folder.name, unit="run", disable=alone) as bar:
            try:
                for count, (failed, line) in enumerate(finished, start=1):
                    bar.write(f"[{count}/{len(pending)}] {line}", file=sys.stderr)
                    bar.update()
                    failures += [line] if failed else []
            except BrokenExecutor as error:
                raise SweepError(
                    f"a worker process was killed, perhaps for want of memory: try again with fewer than {jobs} jobs"
                ) from error
    if failures:
        raise SweepError(f"{len(failures)} of {len(pending)} runs failed:\n" + "\n".join(failures))


def _attempt(
    run: Task, execute: Execute, folder: Path, threads: int | None, alone: bool, parent: int | None
) -> tuple[bool, str]:
    """Execute a run in a worker and say in a line how it went: (whether it failed, the line)."""
    if threads is not None:
        torch.set_num_threads(threads)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{run.name}.log"
    try:
        with contextlib.nullcontext() if alone else _stderr_to(log), _ending_with(parent):
            record = execute(run, folder=folder, progress=True)
    except Exception as error:  # one run's failure must not end the others
        with log.open("a", encoding="utf-8") as file:
            traceback.print_exc(file=file)
        return True, f"{run.title}: failed, {type(error).__name__}: {error} (see {log})"
    log.unlink(missing_ok=True)
    return False, f"{run.title}: {_summary(record)}"


@contextlib.contextmanager
def _ending_with(parent: int | None) -> Iterator[None]:
    """End this process when the one that gave it work is gone: else, when that is killed, a worker goes on by itself.

    The same command, called again, would then do the same run at the same time.
    """
    done = threading.Event()

    def watch() -> None:
        while not done.wait(timeout=1):
            if os.getppid() != parent:
                os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()


@contextlib.contextmanager
def _stderr_to(path: Path) -> Iterator[None]:
    with path.open("a", encoding="utf-8") as file, contextlib.redirect_stderr(file):
        yield


def _summary(record: Record) -> str:
    names = {"elbo": "ELBO", "reconstruction": "RE", "kl": "KL", "accuracy": "accuracy", "auc": "AUC", "ap": "AP"}
    numbers = [f"{short} {record.results[name]:.2f}" for name, short in names.items() if name in record.results]
    return f"{', '.join(numbers)}, {record.training['epochs']} epochs, {record.training['seconds']:.0f} s"


def _default_jobs(run: Task) -> int:
    return 1 if resolve_device(run.device).type == "cuda" else joblib.cpu_count()


@contextlib.contextmanager
def _dask_backend(address: str) -> Iterator[None]:
    """Let joblib hand its tasks to the workers of a Dask scheduler."""
    try:
        from distributed import Client
    except ImportError as error:  # an optional dependency
        raise ValueError("--dask needs Dask's distributed package: python -m pip install distributed") from error

    with Client(address, timeout=DASK_TIMEOUT, set_as_default=False) as client:
        threads = client.nthreads()
        if any(count > 1 for count in threads.values()):
            raise ValueError(f"Dask workers must have one thread each (--nthreads 1), got {threads}")
        if len(threads) == 1:  # with one worker joblib would do everything in this process
            raise ValueError(f"the Dask scheduler {address} has one worker, but at least two are needed")
        with joblib.parallel_config("dask", client=client):
            yield
