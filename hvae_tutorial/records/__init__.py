"""Records of real runs, kept with the package: the source of every result shown on paper, site and in the chapters.

```python
from hvae_tutorial import records

for record in records.load(experiment="table1", data="mnist", model="s", d=5):
    print(record.settings["seed"], record.results["log_likelihood"]["mean"])
```
"""

import json
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from hvae_tutorial.records.record import Record, read, record_name, settings_key, write

__all__ = ["Record", "add", "load", "read", "record_name", "settings_key", "write"]


def load(*, experiment: str | None = None, folder: Path | None = None, **settings: Any) -> list[Record]:
    """Return the records that match, in the order of data, model, d and seed.

    Args:
        experiment: keep the records of this experiment (`"figure1"`, `"table1"`, ...); all of them by default.
        folder: where to look; by default the records that come with the package.
        **settings: keep the records with these settings, for example `data="digits"`, `model="s"`, `d=5`, `seed=0`.

    Raises:
        ValueError: a file is not a valid record, or no record of the experiment has a setting of that name.
    """
    root = files(__name__) if folder is None else folder
    records = [read(path) for path in root.iterdir() if path.name.endswith(".json")]
    records = [record for record in records if experiment in (None, record.experiment)]
    known = {name for record in records for name in record.settings}
    if records and not settings.keys() <= known:
        unknown = ", ".join(sorted(settings.keys() - known))
        raise ValueError(f"no record has a setting {unknown}; settings are {', '.join(sorted(known))}")
    wanted = json.loads(json.dumps(settings)).items()  # as JSON has them: `hidden=(256, 128)` becomes a list
    return sorted((record for record in records if wanted <= record.settings.items()), key=_order)


def add(paths: Iterable[Path], *, to: Path | None = None) -> list[Path]:
    """Check records and copy them to where `load` finds them: all of them, or none where one is wrong.

    Args:
        paths: JSON files that `hvae reproduce` wrote.
        to: the folder to copy to; by default the package's own.

    Returns:
        The paths of the copies.

    Raises:
        ValueError: a file is not a valid record.
        OSError: a file cannot be read, or the folder cannot be written.
    """
    records = [read(path) for path in paths]
    return [write(record, to or Path(__file__).parent) for record in records]


def _order(record: Record) -> tuple[Any, ...]:
    settings = record.settings
    return (record.experiment, settings["data"], settings["model"], settings["d"], settings["seed"], record.key)
