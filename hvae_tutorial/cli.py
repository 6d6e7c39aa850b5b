"""The command line: `hvae reproduce | records | data`.

Nothing heavy is imported before a command needs it, so that `--help` and typing errors answer at once.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from hvae_tutorial import __version__
from hvae_tutorial.experiments import presets
from hvae_tutorial.experiments.presets import GraphPreset, Preset

if TYPE_CHECKING:
    from hvae_tutorial.experiments.report import Report

app = App(name="hvae", help="Hyperspherical Variational Auto-Encoders: the paper's experiments.", version=__version__)
reproduce = App(name="reproduce", help="Run an experiment of the paper, or go on with it; print tables, draw pictures.")
records = App(name="records", help="The records of real runs that come with the package.")
data = App(name="data", help="The data sets.")
for group in (reproduce, records, data):
    app.command(group)

Images = Literal["digits", "mnist", "mnist-5k", "fashion-mnist"]
Several = Parameter(consume_multiple=True, negative="")
Models = Annotated[tuple[Literal["n", "s", "ps"], ...], Several]
Dims = Annotated[tuple[int, ...], Parameter(consume_multiple=True, negative="", validator=Number(gte=1))]
AtLeast0 = Annotated[int | None, Parameter(validator=Number(gte=0))]
AtLeast1 = Annotated[int | None, Parameter(validator=Number(gte=1))]
AnyPreset = TypeVar("AnyPreset", Preset, GraphPreset)


@Parameter(name="*")
@dataclass(frozen=True)
class CommonOptions:
    """Options that all experiments share; those without a default come from the preset."""

    preset: Literal["smoke", "quick", "paper"] = "quick"
    """How much effort: smoke (seconds), quick (minutes), paper (the paper's protocol)."""

    seeds: AtLeast1 = None
    """Number of runs of each cell: with 3, the seeds are 0, 1 and 2."""

    epochs: AtLeast1 = None
    """At most this many epochs."""

    learning_rate: Annotated[float | None, Parameter(validator=Number(gt=0))] = None
    """Adam's step size."""

    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto takes CUDA where there is one."""

    jobs: AtLeast1 = None
    """Processes; one a core by default, one in all on a GPU."""

    dask: str | None = None
    """Address of a Dask scheduler (tcp://host:8786) whose workers do the runs; they must share the folder --out."""

    out: Path = Path("runs")
    """Where results go. Runs recorded there are not done again."""

    def chosen(self, choices: dict[str, AnyPreset]) -> AnyPreset:
        """Return the preset with what the command line overrides."""
        preset = choices[self.preset]
        overrides = {field.name: getattr(self, field.name) for field in fields(preset)}
        return replace(preset, **{k: v for k, v in overrides.items() if v is not None})

    def where(self) -> dict[str, Any]:
        """Return where to compute and where to write, as every experiment's `reproduce` takes it."""
        return {"device": self.device, "out": self.out, "jobs": self.jobs, "dask": self.dask}


@Parameter(name="*")
@dataclass(frozen=True)
class Options(CommonOptions):
    """Options of the experiments on points."""

    warmup_epochs: AtLeast0 = None
    """Epochs over which the weight of the KL term rises."""

    patience: AtLeast1 = None
    """Stop after this many epochs, counted after warm-up, without a better validation ELBO."""

    batch_size: AtLeast1 = None
    """Images in a batch."""

    importance_samples: AtLeast1 = None
    """Samples for the log-likelihood."""


@Parameter(name="*")
@dataclass(frozen=True)
class GraphOptions(CommonOptions):
    """Options of link prediction on graphs, where every step takes the whole graph and the last epoch is kept."""

    dropout: Annotated[float | None, Parameter(validator=Number(gte=0, lt=1))] = None
    """Probability with which training zeroes each input of a graph convolution."""


_DEFAULTS = Options()
_GRAPH_DEFAULTS = GraphOptions()


@reproduce.command
def figure1(*, options: Options = _DEFAULTS) -> None:
    """A circle bent into R^100, seen by an autoencoder, two N-VAEs and an S-VAE."""
    with _user_errors():
        from hvae_tutorial.experiments import figure1

        report = figure1.reproduce(
            preset=options.chosen(presets.FIGURE1),
            **options.where(),
        )
        _show(report)


@reproduce.command
def table1(
    *,
    data: Images = "digits",
    dims: Dims = (2, 5, 10, 20, 40),
    models: Models = ("n", "s"),
    options: Options = _DEFAULTS,
) -> None:
    """Unsupervised learning on images (Table 1), and k-NN on the latent means of the same models (Table 2).

    Args:
        data: Images to learn; digits come with scikit-learn, the others are downloaded or found in $HVAE_DATA.
        dims: Latent dimensions d: of the plane R^d for N-VAE, of the sphere S^d for S-VAE.
        models: n (Gaussian), s (von Mises-Fisher), ps (Power Spherical).
        options: Options that all experiments share.
    """
    with _user_errors():
        from hvae_tutorial.experiments import table1

        report = table1.reproduce(
            data=data,
            preset=options.chosen(presets.TABLE1),
            dims=tuple(dict.fromkeys(dims)),
            models=tuple(dict.fromkeys(models)),
            **options.where(),
        )
        _show(report)


@reproduce.command
def table2(
    *,
    data: Images = "digits",
    dims: Dims = (2, 5, 10, 20, 40),
    models: Models = ("n", "s"),
    equal_coordinates: Annotated[bool, Parameter(negative="")] = False,
    options: Options = _DEFAULTS,
) -> None:
    """Semi-supervised M1 (Table 2): k-NN on the latent means of Table 1's models, whose runs are done if missing.

    Args:
        data: Images to learn; digits come with scikit-learn, the others are downloaded or found in $HVAE_DATA.
        dims: Latent dimensions d: of the plane R^d for N-VAE, of the sphere S^d for S-VAE.
        models: n (Gaussian), s (von Mises-Fisher), ps (Power Spherical).
        equal_coordinates: Also compare N-VAE on R^d with S-VAE on S^(d-1), which has as many coordinates.
        options: Options that all experiments share.
    """
    with _user_errors():
        from hvae_tutorial.experiments import table2

        report = table2.reproduce(
            data=data,
            preset=options.chosen(presets.TABLE1),
            dims=tuple(dict.fromkeys(dims)),
            models=tuple(dict.fromkeys(models)),
            equal_coordinates=equal_coordinates,
            **options.where(),
        )
        _show(report)


@reproduce.command
def table3(
    *,
    data: Images = "digits",
    configs: Annotated[tuple[str, ...], Several] = ("5,5", "10,10", "50,50"),
    pairs: Annotated[tuple[Literal["nn", "ss", "sn", "ns"], ...], Several] = ("nn", "ss", "sn"),
    scheme: Literal["end-to-end", "stacked"] = "end-to-end",
    options: Options = _DEFAULTS,
) -> None:
    """Semi-supervised M1+M2 with 100 labels (Table 3).

    Args:
        data: Images to learn; digits come with scikit-learn, the others are downloaded or found in $HVAE_DATA.
        configs: Dimensions of the spaces of z1 and z2, as 5,10.
        pairs: Posteriors of z1 and z2: n (Gaussian), s (von Mises-Fisher).
        scheme: end-to-end, one bound for both models as in the paper; or stacked, M2 on a trained M1.
        options: Options that all experiments share.
    """
    with _user_errors():
        from hvae_tutorial.experiments import table3

        report = table3.reproduce(
            data=data,
            preset=options.chosen(presets.TABLE3),
            configs=tuple(dict.fromkeys(_pair_of_sizes(config) for config in configs)),
            pairs=tuple(dict.fromkeys(pairs)),
            scheme=scheme,
            **options.where(),
        )
        _show(report)


@reproduce.command
def table4(
    *,
    data: Annotated[
        tuple[Literal["karate", "les-miserables", "cora", "citeseer", "pubmed"], ...],
        Parameter(consume_multiple=True, negative=""),
    ] = ("karate", "les-miserables"),
    models: Models = ("n", "s"),
    options: GraphOptions = _GRAPH_DEFAULTS,
) -> None:
    """Link prediction on graphs (Table 4): N-VGAE and S-VGAE.

    Args:
        data: Graphs; the first two come with NetworkX, the others are downloaded or found in $HVAE_DATA.
        models: n (Gaussian), s (von Mises-Fisher), ps (Power Spherical).
        options: Options of link prediction.
    """
    with _user_errors():
        from hvae_tutorial.experiments import table4

        report = table4.reproduce(
            data=tuple(dict.fromkeys(data)),
            preset=options.chosen(presets.TABLE4),
            models=tuple(dict.fromkeys(models)),
            **options.where(),
        )
        _show(report)


@records.command(name="add")
def add_records(*runs: Path, to: Path | None = None) -> None:
    """Check records of runs and copy them to where the tables of paper, site and chapters find them.

    Args:
        runs: JSON files that `hvae reproduce` wrote.
        to: Folder to copy to; the package's own by default.
    """
    from hvae_tutorial.records import add

    with _user_errors():
        if not runs:
            raise ValueError("name at least one record to add, for example runs/table1-mnist/*.json")
        for path in add(runs, to=to):
            print(path)


@records.command(name="list")
def list_records(*, folder: Path | None = None) -> None:
    """List records with their main results.

    Args:
        folder: Where to look; the package's own records by default.
    """
    from tabulate import tabulate

    from hvae_tutorial.records import load

    with _user_errors():
        rows = []
        for record in load(folder=folder):
            log_likelihood = record.results.get("log_likelihood", {}).get("mean")
            terms = [record.results.get(name) for name in ("elbo", "reconstruction", "kl", "accuracy", "auc", "ap")]
            rows.append([record.name, log_likelihood, *terms, record.training["epochs"], record.provenance["device"]])
        headers = ["record", "LL", "ELBO", "RE", "KL", "accuracy", "AUC", "AP", "epochs", "device"]
        print(tabulate(rows, headers, floatfmt=".2f", missingval="") if rows else "no records")


@data.command(name="list")
def list_data() -> None:
    """List the data sets with their licences."""
    from tabulate import tabulate

    from hvae_tutorial.data import REGISTRY

    rows = [[source.name, source.description, source.licence] for source in REGISTRY.values()]
    print(tabulate(rows, ["name", "data", "licence"], tablefmt="plain", maxcolwidths=[None, 50, 50]))


@data.command(name="fetch")
def fetch_data(name: str) -> None:
    """Download a data set into the cache, where it is not there yet, and check it.

    Args:
        name: One of those that `hvae data list` shows.
    """
    with _user_errors():
        from hvae_tutorial.data import load

        dataset = load(name)
        print(f"{name}: {dataset.sizes}, sha256 {dataset.sha256}")


def _pair_of_sizes(text: str) -> tuple[int, int]:
    first, _, second = text.partition(",")
    if not (first.isdecimal() and second.isdecimal() and int(first) and int(second)):
        raise ValueError(f"--configs takes pairs of dimensions >= 1 as 5,10, got {text!r}")
    return int(first), int(second)


def _show(report: "Report") -> None:
    for table in report.tables:
        print(f"\n{table.text()}")
    print("\nWritten, beside the record and the model of each run:")
    for path in report.files:
        print(f"  {path}")


@contextmanager
def _user_errors() -> Iterator[None]:
    """Turn what the user can mend into one message and an exit code, without a traceback."""
    try:
        yield
    except (OSError, ValueError) as error:
        _exit(error, code=2)
    except RuntimeError as error:
        from hvae_tutorial.data import DataError
        from hvae_tutorial.experiments.sweep import SweepError

        if not isinstance(error, DataError | SweepError):
            raise
        _exit(error, code=2 if isinstance(error, DataError) else 1)
    except KeyboardInterrupt:
        _exit("interrupted; the same command goes on from here", code=130)


def _exit(message: object, *, code: int) -> None:
    print(f"hvae: {message}", file=sys.stderr)
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; `arguments` are the process's own by default."""
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _exit(f"{error} See --help.", code=2)
