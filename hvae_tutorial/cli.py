"""The command line: `hvae reproduce | evaluate | sample | records | data | exercise`.

Nothing heavy is imported before a command needs it, so that `--help` and typing errors answer at once.
"""

import contextlib
import dataclasses
import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from hvae_tutorial import __version__
from hvae_tutorial.exercises.commands import exercise
from hvae_tutorial.experiments.experiment import Experiment, groups
from hvae_tutorial.experiments.options import Options, whole
from hvae_tutorial.experiments.progress import PlainLines
from hvae_tutorial.experiments.registry import EXPERIMENTS, check

if TYPE_CHECKING:
    from hvae_tutorial.experiments.run import Run
    from hvae_tutorial.records import Record


def _version() -> str:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"
    return f"hvae-tutorial {__version__}, PyTorch {torch.__version__}, {device}"


app = App(name="hvae", help="Hyperspherical Variational Auto-Encoders: the paper's experiments.", version=_version)
reproduce = App(
    name="reproduce",
    help="Run an experiment of the paper, or go on with it; print tables, draw pictures.\n\n"
    "Example: `hvae reproduce table1 --preset quick --dims 2 5`",
)
records = App(
    name="records",
    help="The records of real runs that come with the library.\n\nExample: `hvae records table 1 --data mnist`",
)
data = App(name="data", help="The data sets.\n\nExample: `hvae data list`")
for group in (reproduce, records, data, exercise):
    app.command(group)
app.register_install_completion_command()

Flag = Parameter(negative="")
Format = Literal["text", "markdown", "html", "csv", "latex", "json"]


def add_experiment(to: App, experiment: Experiment) -> None:
    """Give an experiment its command, whose options are the experiment's."""

    def command(*, options: Options, dry_run: Annotated[bool, Flag] = False) -> None:
        with _user_errors(resumes=True):
            _reproduce(experiment, options, dry_run)

    command.__doc__ = (
        f"{experiment.summary}\n\nExample: `hvae reproduce {experiment.example}`\n\n"
        "Args:\n    dry_run: Only say which runs would be done, and how long they may take."
    )
    command.__annotations__["options"] = experiment.options
    command.__kwdefaults__ = {"options": experiment.options(), "dry_run": False}
    to.command(command, name=experiment.name)


for _experiment in EXPERIMENTS.values():
    add_experiment(reproduce, _experiment)


@reproduce.command(name="all")
def reproduce_all(*, options: Options = Options(), dry_run: Annotated[bool, Flag] = False) -> None:  # noqa: B008
    """Run all experiments, each with its own defaults but for what is given here.

    Example: `hvae reproduce all --preset smoke`

    Args:
        options: Options that all experiments share.
        dry_run: Only say which runs would be done, and how long they may take.
    """
    shared = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    with _user_errors(resumes=True):
        for experiment in EXPERIMENTS.values():
            _reproduce(experiment, experiment.options(**shared), dry_run)


def _reproduce(experiment: Experiment, options: Options, dry_run: bool) -> None:
    runs = experiment.runs(options)  # before anything heavy: a mistake is answered at once
    if dry_run:
        _plan(experiment, runs, options)
        return
    from hvae_tutorial.experiments.reproduce import reproduce

    report = reproduce(experiment, options)
    for table in report.tables:
        print(f"\n{table.text()}")
    print("\nWritten, beside the record and the model of each run:")
    for path in report.files:
        print(f"  {path}")


def _plan(experiment: Experiment, runs: Sequence["Run"], options: Options) -> None:
    from hvae_tutorial import records
    from hvae_tutorial.experiments.estimate import in_words, seconds, total
    from hvae_tutorial.experiments.experiment import folder_of

    folder = folder_of(experiment, runs, options.out)
    known = records.load() + (records.scan(folder)[0] if folder.is_dir() else [])
    pending = [run for run in runs if not (folder / f"{run.name}.json").exists()]
    for run in pending:
        estimate = seconds(run, known)
        print(f"{run.title}: {'no estimate' if estimate is None else 'at most ' + in_words(estimate)}")
    time, unknown = total(pending, known)
    duration = f"training takes at most {in_words(time)} on one core, by the records of runs like these"
    if unknown:
        some = unknown < len(pending)
        duration = f"{duration}; no record is like {unknown} of them" if some else "no record is like these"
    print(f"{experiment.name}: {len(pending)} of {len(runs)} runs to do in {folder}; {duration}")


@app.command
def evaluate(model: Path, /, *, device: str = "auto") -> None:
    """Measure a saved model anew, as its record was made, and print the numbers.

    Example: `hvae evaluate runs/table1-digits/RUN.safetensors`

    Args:
        model: A model that `hvae reproduce` saved.
        device: cpu, cuda, cuda:1, ...; auto takes CUDA where there is one.
    """
    with _user_errors():
        from hvae_tutorial.experiments.execute import evaluate_model

        print(json.dumps(evaluate_model(model, device=device), indent=1))


@app.command
def sample(
    model: Path,
    /,
    *,
    out: Path = Path("samples.png"),
    count: Annotated[int, Parameter(converter=whole, validator=Number(gte=1, lte=10_000))] = 50,
    seed: Annotated[int, Parameter(converter=whole, validator=Number(gte=0, lte=2**32 - 1))] = 0,
) -> None:
    """Draw images from a saved model's prior.

    Example: `hvae sample runs/table1-digits/RUN.safetensors --count 100 --out samples.png`

    Args:
        model: A model of images that `hvae reproduce` saved.
        out: The picture to write, PNG if its name has no ending; its folder is made.
        count: How many images.
        seed: Of the draws.
    """
    with _user_errors():
        from hvae_tutorial.experiments.execute import draw_samples

        if out.is_dir():
            raise IsADirectoryError(f"--out must be a file, but {out} is a folder")
        out.parent.mkdir(parents=True, exist_ok=True)
        out = out if out.suffix else out.with_suffix(".png")
        draw_samples(model, count, seed=seed).savefig(out)
        print(out)


@records.command(name="list")
def list_records(*, folder: Path | None = None) -> None:
    """List records with their main results; damaged ones are named.

    Example: `hvae records list --folder runs/table1-digits`

    Args:
        folder: Where to look; the library's own records by default.
    """
    from hvae_tutorial.records import scan

    with _user_errors():
        found, problems = scan(folder)
        rows = []
        for record in found:
            log_likelihood = record.results.get("log_likelihood", {}).get("mean")
            terms = [record.results.get(name) for name in ("elbo", "reconstruction", "kl", "accuracy", "auc", "ap")]
            rows.append([record.name, log_likelihood, *terms, record.training["epochs"], record.provenance["device"]])
        headers = ["record", "LL", "ELBO", "RE", "KL", "accuracy", "AUC", "AP", "epochs", "device"]
        print(_listing(headers, rows) if rows else "no records")
        if problems:
            raise ValueError("\n".join(problems))


@records.command(name="show")
def show_record(record: str, /, *, folder: Path | None = None) -> None:
    """Show all that a record holds but its learning curve.

    Example: `hvae records show table1-mnist-s-d5-seed0-7ef9f3b6409c`

    Args:
        record: Its name, a part of it that no other record has, or the path of a file.
        folder: Where to look; the library's own records by default.
    """
    from tabulate import tabulate

    with _user_errors():
        found = _find(record, folder)
        print(found.name)
        print(tabulate(list(_flat(found).items()), tablefmt="plain", disable_numparse=True))


@records.command(name="diff")
def diff_records(first: str, second: str, /, *, folder: Path | None = None) -> None:
    """Show where two records differ.

    Example: `hvae records diff table1-mnist-n-d5-seed0 table1-mnist-s-d5-seed0`

    Args:
        first: A record, as `hvae records show` takes it.
        second: Another.
        folder: Where to look; the library's own records by default.
    """
    from tabulate import tabulate

    with _user_errors():
        a, b = (_flat(_find(name, folder)) for name in (first, second))
        rows = [[name, a.get(name, ""), b.get(name, "")] for name in {**a, **b} if a.get(name) != b.get(name)]
        print(tabulate(rows, ["", "first", "second"], tablefmt="plain", disable_numparse=True) if rows else "equal")


@records.command(name="verify")
def verify_records(*paths: Path) -> None:
    """Check records: their form, their keys, and the laws that their numbers obey, as ELBO = RE - KL.

    Example: `hvae records verify runs/table1-digits`

    Args:
        paths: Files, or folders of them; the library's own records by default.
    """
    from hvae_tutorial.records import read, scan
    from hvae_tutorial.records.checks import check_numbers

    with _user_errors():
        found: list[Record] = []
        problems: list[str] = []
        for path in paths or (None,):
            if path is None or path.is_dir():
                good, bad = scan(path)
                found, problems = found + good, problems + bad
            else:
                try:
                    found.append(read(path))
                except ValueError as error:
                    problems.append(str(error))
        for record in found:
            try:
                check_numbers(record, record.name)
                check(record)
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("\n".join(problems))
        print(f"{len(found)} records are in order")


@records.command(name="table")
def table_of_records(
    table: str,
    /,
    *,
    format: Annotated[Format, Parameter(name=["--format", "-f"])] = "text",
    data: str | None = None,
    folder: Path | None = None,
) -> None:
    """Print a table of the paper from records: one for each group of records that may be compared.

    Example: `hvae records table 1 --data mnist --format csv`

    Args:
        table: 1, 2, 3, 4, or a name as figure1.
        format: How to print it.
        data: Only of this data set.
        folder: Where to look; the library's own records by default.
    """
    from hvae_tutorial.records import load

    with _user_errors():
        name = f"table{table}" if table.isdecimal() else table
        if name not in EXPERIMENTS:
            raise ValueError(f"there is no table {table!r}; choose one of {', '.join(EXPERIMENTS)}")
        experiment = EXPERIMENTS[name]
        chosen = load(experiment=experiment.records, folder=folder, **({"data": data} if data else {}))
        if not chosen:
            raise ValueError(f"there are no records of {experiment.records}" + (f" on {data}" if data else ""))
        for group in groups(chosen, experiment.by):
            for made in experiment.tables(group).values():
                print(made.render(format))


@records.command(name="add")
def add_records(*runs: Path, to: Path | None = None, force: Annotated[bool, Flag] = False) -> None:
    """Check records of runs and copy them to where the tables of paper, site and chapters find them.

    Example: `hvae records add runs/table1-mnist/RUN.json --to chosen`

    Args:
        runs: JSON files that `hvae reproduce` wrote.
        to: Folder to copy to; by default that of the library's source tree. Needed where the library is installed.
        force: Replace records of the same runs with other contents.
    """
    from hvae_tutorial.records import add, read

    with _user_errors():
        if not runs:
            raise ValueError("name at least one record to add, for example runs/table1-mnist/*.json")
        for run in runs:
            check(read(run))
        for path in add(runs, to=to, force=force):
            print(path)


@records.command(name="remeasure")
def remeasure_records(*runs: Path, device: str = "auto") -> None:
    """Measure the models beside records again, and add to the records what this release measures and they lack.

    Example: `hvae records remeasure runs/table1-mnist/RUN.json`

    Args:
        runs: JSON files that `hvae reproduce` wrote, with their models beside them.
        device: cpu, cuda, cuda:1, ...; auto takes CUDA where there is one.
    """
    with _user_errors():
        if not runs:
            raise ValueError("name at least one record to measure again, for example runs/table1-mnist/*.json")
        from hvae_tutorial.experiments.execute import remeasure

        for run in runs:
            print(f"{run}: {', '.join(remeasure(run, device=device)) or 'nothing to add'}")


@data.command(name="list")
def list_data() -> None:
    """List the data sets, whether they are on this machine, and their licences.

    Example: `hvae data list`
    """
    from hvae_tutorial.data.cache import whereabouts
    from hvae_tutorial.sources import REGISTRY

    with _user_errors():
        rows = [[source.name, whereabouts(source), source.description, source.licence] for source in REGISTRY.values()]
        print(_listing(["name", "here", "data", "licence"], rows))


@data.command(name="fetch")
def fetch_data(*names: str, all: Annotated[bool, Flag] = False) -> None:  # the option's name
    """Download data sets into the cache, where they are not there yet, and check them.

    Example: `hvae data fetch mnist cora`

    Args:
        names: Of those that `hvae data list` shows.
        all: All of them.
    """
    with _user_errors():
        from hvae_tutorial.data import DataError, load
        from hvae_tutorial.sources import REGISTRY

        if bool(names) == all:
            raise ValueError("name data sets to fetch, or say --all; hvae data list shows them")
        failures = []
        for name in names or REGISTRY:
            try:
                dataset = load(name)
                print(f"{name}: {dataset.sizes}, sha256 {dataset.sha256}")
            except DataError as error:
                failures.append(str(error))
        if failures:
            raise DataError("\n".join(failures))


def _find(name: str, folder: Path | None) -> "Record":
    """Return a record by its path, its name or a part of it."""
    from hvae_tutorial.records import read, scan

    if Path(name).is_file():
        return read(Path(name))
    found = [record for record in scan(folder)[0] if name in record.name]
    exact = [record for record in found if record.name == name] or found
    if len(exact) != 1:
        names = "".join(f"\n  {record.name}" for record in exact)
        raise ValueError(f"there must be one record whose name contains {name!r}, got {len(exact)}{names}")
    return exact[0]


def _flat(record: "Record") -> dict[str, str]:
    """Return a record's leaves with dotted names, but for the learning curve."""
    from hvae_tutorial.records.checks import leaves

    parts = ("experiment", "key", "settings", "results", "training", "provenance")
    return {name: str(value) for name, value in leaves("", {part: getattr(record, part) for part in parts})}


def _listing(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table, or on a terminal that is too narrow for it a paragraph for each row."""
    from tabulate import tabulate

    text = tabulate(rows, headers, floatfmt=".2f", missingval="", tablefmt="simple")
    if not sys.stdout.isatty() or len(text.partition("\n")[0]) <= shutil.get_terminal_size().columns:
        return text
    paragraphs = []
    for first, *others in rows:
        named = [(header, value) for header, value in zip(headers[1:], others, strict=True) if value not in (None, "")]
        shown = [
            f"  {header}: {value:.2f}" if isinstance(value, float) else f"  {header}: {value}"
            for header, value in named
        ]
        paragraphs.append("\n".join([str(first), *shown]))
    return "\n".join(paragraphs)


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


@contextlib.contextmanager
def _user_errors(*, resumes: bool = False) -> Iterator[None]:
    """Turn what the user can mend into one message and an exit code, without a traceback.

    Args:
        resumes: The same command, if it is stopped, goes on from where it was.
    """
    again = "; the same command goes on from here" if resumes else ""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # who reads has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (OSError, ValueError, ImportError) as error:
        _exit(error, code=2)
    except RuntimeError as error:
        from hvae_tutorial.data import DataError
        from hvae_tutorial.experiments.sweep import SweepError

        if not isinstance(error, DataError | SweepError):
            raise
        _exit(error, code=2 if isinstance(error, DataError) else 1)
    except _Terminated:
        _exit(f"terminated{again}", code=143)
    except KeyboardInterrupt:
        _exit(f"interrupted{again}", code=130)


def _exit(message: object, *, code: int) -> None:
    print(f"hvae: {message}", file=sys.stderr)
    sys.exit(code)


def _terminate(*_: object) -> None:
    raise _Terminated


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; `arguments` are the process's own by default."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a code page without β or ± is no reason to lose a table
    plain = contextlib.nullcontext() if sys.stderr.isatty() else contextlib.redirect_stderr(PlainLines(sys.stderr))
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        with plain:
            try:
                app(arguments, exit_on_error=False, print_error=False)
            except CycloptsError as error:
                _exit(f"{error} See --help.", code=2)
    finally:
        signal.signal(signal.SIGTERM, before)
