"""Many runs: those already recorded are read, the others spread over processes, or over machines with Dask."""

import contextlib
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import NamedTuple, Protocol

import joblib
from filelock import FileLock, Timeout
from tqdm import tqdm

from hvae_tutorial.experiments.progress import PlainLines, last_line
from hvae_tutorial.experiments.run import Run
from hvae_tutorial.records import Record, read
from hvae_tutorial.records.checks import check_numbers
from hvae_tutorial.training import resolve_device

# Seconds to wait for a Dask scheduler to answer, and between two lines on the state of all runs.
DASK_TIMEOUT = 10
REPORT_EVERY = 60.0


class SweepError(RuntimeError):
    """Some runs of a sweep failed. The others are recorded; the same command tries the failed ones again."""


class Execute(Protocol):
    """Doing a run: a function at the top level of a module."""

    def __call__(self, run: Run, /, *, folder: Path, progress: bool) -> Record:
        """Do the run and leave its record in `folder`, as `<run.name>.json`."""


def sweep(
    runs: Sequence[Run], execute: Execute, folder: Path, *, jobs: int | None = None, dask: str | None = None
) -> list[Record]:
    """Do all runs that have no record in `folder` yet, and return the records of all.

    With one process the epochs of each run are shown as they pass. With several, one bar counts the finished runs, each
    run writes its own progress to a `.log` file beside its record, and every minute a line says where each run is. A
    run that fails leaves its traceback in its log. Two commands may share a folder: a run is done by one of them.

    Args:
        runs: what to do.
        execute: does one of them.
        folder: where records, models, checkpoints and logs go. With Dask: a folder that all workers share.
        jobs: number of processes; by default one a core, or one in all on a GPU.
        dask: address of a Dask scheduler (`tcp://host:8786`), whose workers then take the place of local processes.
            They must run one thread each (`dask worker --nthreads 1`): PyTorch's generator belongs to the process.

    Returns:
        One record a run, in the order of `runs`.

    Raises:
        SweepError: some runs failed, after all the others have ended; or a worker process was killed.
        ValueError: `jobs` is not positive; a record in the folder is damaged; with Dask, `distributed` is not
            installed, the address is none, there is but one worker, or one has several threads.
        OSError: the Dask scheduler does not answer.
    """
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    paths = [folder / f"{run.name}.json" for run in runs]
    recorded = {path: _read(path, run) for path, run in zip(paths, runs, strict=True) if path.exists()}
    pending = [run for run, path in zip(runs, paths, strict=True) if path not in recorded]
    if recorded:
        print(f"{len(recorded)} of {len(runs)} runs are already recorded in {folder}", file=sys.stderr)
    if pending:
        _run_all(pending, execute, folder, jobs or _default_jobs(pending[0]), dask)
    return [recorded.get(path) or _read(path, run) for path, run in zip(paths, runs, strict=True)]


def _read(path: Path, run: Run) -> Record:
    try:
        record = read(path)
        if record.settings != run.settings:
            raise ValueError(f"{path} is the record of another run")
        check_numbers(record, str(path))
        return record
    except ValueError as error:
        raise ValueError(f"{error}; delete it to do this run again") from error


class _Outcome(NamedTuple):
    run: Run
    failed: bool
    line: str | None  # how it went; None where another command is at it


def _run_all(pending: Sequence[Run], execute: Execute, folder: Path, jobs: int, dask: str | None) -> None:
    jobs, total = min(jobs, len(pending)), len(pending)
    alone = jobs == 1 and dask is None
    parent = None if alone or dask is not None else folder / f".sweep.{os.getpid()}.lock"
    lines: list[str] = []
    failures: list[str] = []
    if not alone:
        print(f"{total} runs to do; each writes its progress to a .log file in {folder}", file=sys.stderr)
    with (
        _dask_backend(dask) if dask is not None else contextlib.nullcontext(),
        tqdm(total=total, desc=folder.name, unit="run", disable=alone or not sys.stderr.isatty()) as bar,
        contextlib.nullcontext() if alone else _reporting(pending, folder, bar),
        _held(parent) if parent else contextlib.nullcontext(),
    ):
        for wait in (False, True):  # first what is free; then what another command had in hand, if it left it
            tasks = [joblib.delayed(_attempt)(run, execute, folder, alone, parent, wait) for run in pending]
            pending = []
            try:
                for outcome in joblib.Parallel(jobs, batch_size=1, return_as="generator_unordered")(tasks):
                    if outcome.line is None:
                        pending.append(outcome.run)
                        continue
                    lines.append(outcome.line)
                    failures += [outcome.line] if outcome.failed else []
                    bar.write(f"[{len(lines)}/{total}] {outcome.line}", file=sys.stderr)
                    bar.update()
            except BrokenExecutor as error:
                raise SweepError(
                    f"a worker process was killed, perhaps for want of memory: try again with fewer than {jobs} jobs"
                ) from error
    if failures:
        raise SweepError(f"{len(failures)} of {total} runs failed:\n" + "\n".join(failures))


def _attempt(run: Run, execute: Execute, folder: Path, alone: bool, parent: Path | None, wait: bool) -> _Outcome:
    """Do a run in a worker, unless another command has done it or is doing it, and say in a line how it went."""
    folder.mkdir(parents=True, exist_ok=True)
    log, record = folder / f"{run.name}.log", folder / f"{run.name}.json"
    lock = FileLock(folder / f".{run.name}.lock")  # the system's own: it falls with the process that holds it
    try:
        lock.acquire(blocking=wait)
    except Timeout:
        return _Outcome(run, False, None)
    try:
        with (
            contextlib.nullcontext() if alone else _stderr_to(log),
            _ending_with(parent) if parent else contextlib.nullcontext(),
        ):
            done = _read(record, run) if record.exists() else execute(run, folder=folder, progress=True)
    except Exception as error:  # one run's failure must not end the others
        with log.open("a", encoding="utf-8") as file:
            traceback.print_exc(file=file)
        return _Outcome(run, True, f"{run.title}: failed, {type(error).__name__}: {error} (see {log})")
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)
    log.unlink(missing_ok=True)
    return _Outcome(run, False, f"{run.title}: {_summary(done)}")


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold a lock, which the system takes away from a process that ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(".sweep.*.lock"):  # by commands that were killed
        with contextlib.suppress(Timeout), FileLock(left, timeout=0):
            left.unlink()
    try:
        with FileLock(path):
            yield
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _ending_with(parent: Path) -> Iterator[None]:
    """End this process when nobody holds the lock `parent`, that of the process that gave it work.

    When that is killed, a worker would go on by itself, and the same command, called again, would wait for it.
    """
    done = threading.Event()

    def watch() -> None:
        while not done.wait(timeout=1):
            with contextlib.suppress(Timeout), FileLock(parent, timeout=0):
                parent.unlink(missing_ok=True)
                os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()


@contextlib.contextmanager
def _stderr_to(path: Path) -> Iterator[None]:
    with path.open("a", encoding="utf-8") as file, contextlib.redirect_stderr(PlainLines(file)):
        yield


@contextlib.contextmanager
def _reporting(runs: Sequence[Run], folder: Path, bar: tqdm) -> Iterator[None]:
    """Say every now and then in a line for each run that is being done how far it is, from its log."""
    done = threading.Event()

    def report() -> None:
        while not done.wait(timeout=REPORT_EVERY):
            for run in runs:
                if line := last_line(folder / f"{run.name}.log"):
                    bar.write(line, file=sys.stderr)

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _summary(record: Record) -> str:
    names = {"elbo": "ELBO", "reconstruction": "RE", "kl": "KL", "accuracy": "accuracy", "auc": "AUC", "ap": "AP"}
    numbers = [f"{short} {record.results[name]:.2f}" for name, short in names.items() if name in record.results]
    return f"{', '.join(numbers)}, {record.training['epochs']} epochs, {record.training['seconds']:.0f} s"


def _default_jobs(run: Run) -> int:
    return 1 if resolve_device(run.device).type == "cuda" else joblib.cpu_count()


@contextlib.contextmanager
def _dask_backend(address: str) -> Iterator[None]:
    """Let joblib hand its tasks to the workers of a Dask scheduler."""
    try:
        from distributed import Client
    except ImportError as error:  # an optional dependency
        raise ValueError("--dask needs the extra dask: python -m pip install 'hvae-tutorial[dask]'") from error

    if not re.fullmatch(r"\w+://.+", address):  # Dask's own complaint is followed by a traceback of its Client
        raise ValueError(f"--dask takes the address of a scheduler as tcp://host:8786, got {address!r}")
    with Client(address, timeout=DASK_TIMEOUT, set_as_default=False) as client:
        threads = client.nthreads()
        if any(count > 1 for count in threads.values()):
            raise ValueError(f"Dask workers must have one thread each (--nthreads 1), got {threads}")
        if len(threads) == 1:  # with one worker joblib would do everything in this process
            raise ValueError(f"the Dask scheduler {address} has one worker, but at least two are needed")
        with joblib.parallel_config("dask", client=client):
            yield
