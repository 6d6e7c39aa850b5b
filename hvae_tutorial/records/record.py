"""One record: everything a finished run leaves behind, as one small JSON file.

The file holds no more than JSON's own types, so that a record can be read without this package. Its layout:

| part | content |
|---|---|
| `schema` | version of this layout |
| `experiment` | `"figure1"`, `"table1"`, ... |
| `key` | hash of the experiment, the settings and the package version |
| `settings` | everything that decides the numbers: `data`, `model`, `d`, `seed`, epochs, ... |
| `results` | the measured numbers, in nats, accuracies as fractions |
| `training` | `epochs` run, `best_epoch`, `seconds`, `seconds_per_epoch` |
| `provenance` | versions, device, machine, commit, sha256 of the data |
| `history` | the learning curve: lists of equal length, one value an epoch (thinned), with `epoch` |
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from hvae_tutorial.files import write_atomically

SCHEMA = 1

# What a record of each experiment must have measured; more is welcome.
REQUIRED_RESULTS = {
    "figure1": ("reconstruction", "circular_correlation"),
    "table1": ("log_likelihood", "log_likelihood_10", "elbo", "reconstruction", "kl", "knn"),
    "table3": ("accuracy", "elbo", "reconstruction", "kl"),
    "table4": ("auc", "ap"),
}
_REQUIRED = {
    "settings": ("data", "model", "d", "seed"),
    "training": ("epochs", "best_epoch", "seconds", "seconds_per_epoch"),
    "provenance": ("versions", "device", "machine", "commit", "data_sha256"),
    "history": ("epoch", "validation_elbo"),
}


@dataclass(frozen=True)
class Record:
    """A finished run: settings, results and provenance (the parts are described in the module's docstring).

    Raises:
        ValueError: a part is missing or out of range, or the key is not the settings' own.
    """

    experiment: str
    key: str
    settings: Mapping[str, Any]
    results: Mapping[str, Any]
    training: Mapping[str, Any]
    provenance: Mapping[str, Any]
    history: Mapping[str, list[float]]

    def __post_init__(self) -> None:
        """Refuse what is no record."""
        _check(self)

    @property
    def name(self) -> str:
        """The file name of this record, without its extension."""
        return record_name(self.experiment, self.settings, self.key)


def settings_key(experiment: str, settings: Mapping[str, Any], version: str) -> str:
    """Return the key of a run: 12 hexadecimal digits that change with any setting and with the package version."""
    text = json.dumps([experiment, dict(settings), version], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def record_name(experiment: str, settings: Mapping[str, Any], key: str) -> str:
    """Return the name under which a run is stored: readable first, unique through its key."""
    d = settings["d"]
    dimension = "+".join(map(str, d)) if isinstance(d, list) else d  # several latent spaces have a list of dimensions
    return f"{experiment}-{settings['data']}-{settings['model']}-d{dimension}-seed{settings['seed']}-{key}"


def read(path: Path | Traversable) -> Record:
    """Read one record and check it.

    Raises:
        ValueError: the file is not a record, or its content contradicts itself; the message names the file.
        OSError: the file cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"expected a JSON object, got {type(content).__name__}")
        schema = content.pop("schema", None)
        if schema != SCHEMA:
            raise ValueError(f"schema must be {SCHEMA}, got {schema!r}")
        return Record(**content)
    except (ValueError, TypeError) as error:  # json's own error is a ValueError, a wrong field a TypeError
        raise ValueError(f"{path} is not a valid record: {error}") from error


def write(record: Record, folder: Path) -> Path:
    """Write a record as `folder/<name>.json`, atomically: a reader finds the whole file or none.

    Returns:
        The path of the file.
    """
    path = folder / f"{record.name}.json"
    parts = {"schema": SCHEMA, **asdict(record)}
    lines = [f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in parts.items()]
    write_atomically(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())
    return path


def _check(record: Record) -> None:
    """Raise a ValueError that names the first thing wrong with a record."""
    if record.experiment not in REQUIRED_RESULTS:
        raise ValueError(f"experiment must be one of {', '.join(REQUIRED_RESULTS)}, got {record.experiment!r}")
    required = {**_REQUIRED, "results": REQUIRED_RESULTS[record.experiment]}
    for part, names in required.items():
        content = getattr(record, part)
        if not isinstance(content, Mapping):
            raise ValueError(f"{part} must be an object, got {type(content).__name__}")
        missing = [name for name in names if name not in content]
        if missing:
            raise ValueError(f"{part} lacks {', '.join(missing)}")
    for part in ("results", "training"):
        for name, value in _leaves(part, getattr(record, part)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value!r}")
    for size, accuracy in record.results.get("knn", {}).items():
        if not 0 <= accuracy["mean"] <= 1:
            raise ValueError(f"results.knn.{size}.mean must be in [0, 1], got {accuracy['mean']}")
    for name in ("auc", "ap"):
        if not 0 <= record.results.get(name, 0) <= 1:
            raise ValueError(f"results.{name} must be in [0, 1], got {record.results[name]}")
    lengths = {name: len(column) for name, column in record.history.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns of history must have one length, got {lengths}")
    expected = settings_key(record.experiment, record.settings, record.provenance["versions"].get("hvae_tutorial", ""))
    if record.key != expected:
        raise ValueError(f"key must be {expected} for these settings and this version, got {record.key!r}")


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested objects with their dotted names."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(f"{name}.{key}", item)
    else:
        yield name, value
