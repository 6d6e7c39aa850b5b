"""Records of real runs: the source of every result shown on paper, site and in the chapters.

```python
from hvae_tutorial import records

for record in records.load(experiment="table1", data="mnist", model="s", d=5):
    print(record.settings["seed"], record.results["log_likelihood"]["mean"])
```

This package is their code; the records that come with the library are in the folder `records_data` beside it.
"""

import json
from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hvae_tutorial.records.checks import check_numbers, leaves
from hvae_tutorial.records.record import Record, content_of, read, record_name, settings_key, write

if TYPE_CHECKING:
    import pandas

__all__ = ["Record", "add", "frame", "load", "read", "record_name", "scan", "settings_key", "write"]


def scan(folder: Path | None = None) -> tuple[list[Record], list[str]]:
    """Return the records of a folder, in the order of experiment, data, model, d, seed, and what is wrong with others.

    Args:
        folder: where to look; by default the records that come with the library.

    Raises:
        OSError: the folder cannot be read.
    """
    found, problems = [], []
    for path in sorted(_folder(folder).iterdir(), key=lambda path: path.name):
        if path.name.endswith(".json"):
            try:
                found.append(read(path))
            except (ValueError, OSError) as error:
                problems.append(str(error))
    return sorted(found, key=_order), problems


def load(*, experiment: str | None = None, folder: Path | None = None, **settings: Any) -> list[Record]:
    """Return the records that match, in the order of experiment, data, model, d and seed.

    Args:
        experiment: keep the records of this experiment (`"figure1"`, `"table1"`, ...); all of them by default.
        folder: where to look; by default the records that come with the library.
        **settings: keep the records with these settings, for example `data="digits"`, `model="s"`, `d=5`, `seed=0`.

    Raises:
        ValueError: a file is not a valid record, or no record of the experiment has a setting of that name.
        OSError: the folder cannot be read.
    """
    records, problems = scan(folder)
    if problems:
        raise ValueError("\n".join(problems))
    records = [record for record in records if experiment in (None, record.experiment)]
    known = {name for record in records for name in record.settings}
    if records and not settings.keys() <= known:
        unknown = ", ".join(sorted(settings.keys() - known))
        raise ValueError(f"no record has a setting {unknown}; settings are {', '.join(sorted(known))}")
    wanted = json.loads(json.dumps(settings)).items()  # as JSON has them: `hidden=(256, 128)` becomes a list
    return [record for record in records if wanted <= record.settings.items()]


def add(paths: Iterable[Path], *, to: Path | None = None, force: bool = False) -> list[Path]:
    """Check records and copy them to where `load` finds them: all of them, or none where one is wrong.

    Args:
        paths: JSON files that `hvae reproduce` wrote.
        to: the folder to copy to; by default that of the library's source tree, if this is one.
        force: replace records of the same runs with other contents.

    Returns:
        The paths of the copies.

    Raises:
        ValueError: a file is not a valid record, its numbers contradict one another, the folder has another record of
            the same run, or no folder is named and the library is installed.
        OSError: a file cannot be read, or the folder cannot be written.
    """
    folder = to or _source_folder()
    chosen = [(read(path), path) for path in paths]
    for record, path in chosen:
        check_numbers(record, str(path))
        copy = folder / f"{record.name}.json"
        if copy.exists() and copy.read_bytes() != content_of(record) and not force:
            raise ValueError(f"{copy} is another record of the same run as {path}: replace it with --force, or keep it")
    return [write(record, folder) for record, _ in chosen]


def frame(records: Iterable[Record]) -> "pandas.DataFrame":
    """Return records as a pandas data frame, a line each.

    The columns are `record`, `experiment`, the settings under their names, and all numbers with dotted names, as
    `results.log_likelihood.mean` and `training.seconds`; also `provenance.commit` and what else is there.

    Raises:
        ImportError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError("a data frame needs pandas: python -m pip install 'hvae-tutorial[pandas]'") from error
    lines = []
    for record in records:
        parts = {name: getattr(record, name) for name in ("results", "training", "provenance")}
        lines.append(
            {"record": record.name, "experiment": record.experiment, **record.settings, **dict(leaves("", parts))}
        )
    return pandas.DataFrame(lines)


def _folder(folder: Path | None) -> Traversable:
    return files("hvae_tutorial") / "records_data" if folder is None else folder


def _source_folder() -> Path:
    """Return the folder of the library's records, if the library is a source tree and not an installed copy.

    Raises:
        ValueError: it is installed.
    """
    package = Path(__file__).parents[1]
    if not (package.parent / "pyproject.toml").is_file():
        raise ValueError(
            "records are added to the source tree of hvae_tutorial, but this is an installed copy, which the next "
            "installation replaces: name a folder of yours with --to, and read it with --folder"
        )
    return package / "records_data"


def _order(record: Record) -> tuple[Any, ...]:
    settings = record.settings
    d = settings["d"]
    return (
        record.experiment,
        settings["data"],
        settings["model"],
        d if isinstance(d, list) else [d],
        settings["seed"],
        record.key,
    )
