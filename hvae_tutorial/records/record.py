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
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from hvae_tutorial.files import write_atomically
from hvae_tutorial.records.checks import check_parts

SCHEMA = 1


@dataclass(frozen=True)
class Record:
    """A finished run: settings, results and provenance (the parts are described in the module's docstring).

    Raises:
        ValueError: a part is missing, is not what it should be, or the key is not the settings' own.
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
        check_parts(self)
        version = self.provenance["versions"]["hvae_tutorial"]
        expected = settings_key(self.experiment, self.settings, version)
        if self.key != expected:
            raise ValueError(f"key must be {expected} for these settings and this version, got {self.key!r}")

    @property
    def name(self) -> str:
        """The file name of this record, without its extension: letters, digits and . + - alone."""
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
    except RecursionError as error:
        raise ValueError(f"{path} is not a valid record: it is nested too deeply") from error
    except (ValueError, TypeError) as error:  # json's own error is a ValueError, a wrong field a TypeError
        raise ValueError(f"{path} is not a valid record: {error}") from error


def content_of(record: Record) -> bytes:
    """Return the content of a record's file: JSON, with a line for each part."""
    parts = {"schema": SCHEMA, **asdict(record)}
    lines = [f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in parts.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def write(record: Record, folder: Path) -> Path:
    """Write a record as `folder/<name>.json`, atomically: a reader finds the whole file or none.

    Returns:
        The path of the file.
    """
    path = folder / f"{record.name}.json"
    write_atomically(path, content_of(record))
    return path
