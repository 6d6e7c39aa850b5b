"""What a record must be: the schema, held whenever a record is made or read, and the laws that its numbers obey."""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hvae_tutorial.records.record import Record

# Settings that become parts of a file's name: nothing that a file system gives a meaning to.
NAME = re.compile(r"[a-z0-9][a-z0-9.+-]*")

_REQUIRED = {
    "settings": ("data", "model", "d", "seed"),
    "results": (),
    "training": ("epochs", "best_epoch", "seconds", "seconds_per_epoch"),
    "provenance": ("versions", "device", "machine", "commit", "data_sha256"),
    "history": ("epoch", "validation_elbo"),
}
_FRACTIONS = re.compile(
    r"results\.(((validation|labelled)_)?(accuracy|auc|ap)|knn\.\d+\.mean|(accuracy_by_class|knn_by_(k|axes))\.\d+)"
)
# Results that are no plain number, and what each of them holds.
_LIKELIHOOD = ("mean", "standard_error", "samples")
_STRUCTURED = {"log_likelihood": _LIKELIHOOD, "log_likelihood_10": _LIKELIHOOD}


def check_parts(record: "Record") -> None:
    """Check names, types and ranges.

    Raises:
        ValueError: names the first thing that is wrong.
    """
    if not isinstance(record.experiment, str) or not NAME.fullmatch(record.experiment):
        raise ValueError(f"experiment must be a name of a-z, 0-9 and . + -, got {record.experiment!r}")
    for part, names in _REQUIRED.items():
        content = getattr(record, part)
        if not isinstance(content, Mapping):
            raise ValueError(f"{part} must be an object, got {type(content).__name__}")
        if missing := [name for name in names if name not in content]:
            raise ValueError(f"{part} lacks {', '.join(missing)}")
    _check_settings(record.settings)
    for part in ("results", "training"):
        for name, value in leaves(part, getattr(record, part)):
            if not _is_number(value):
                raise ValueError(f"{name} must be a finite number, got {value!r}")
            if _FRACTIONS.fullmatch(name) and not 0 <= value <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {value}")
    _check_structure(record.results)
    _check_provenance(record.provenance)
    _check_history(record.history)


def check_numbers(record: "Record", name: str) -> None:
    """Check the laws that hold between results: ELBO = RE - KL, KL >= 0, log-likelihood >= ELBO, ELBO <= 0 for pixels.

    Args:
        record: the record.
        name: what the message calls it.

    Raises:
        ValueError: names the first law that is broken.
    """
    results = record.results
    elbo, kl, reconstruction = (results.get(term) for term in ("elbo", "kl", "reconstruction"))
    if kl is not None and kl < -0.01:
        raise ValueError(f"{name}: results.kl must be >= 0, got {kl}")
    if (elbo is not None and kl is not None and reconstruction is not None) and abs(
        reconstruction - kl - elbo
    ) > 1e-5 * (1 + abs(elbo)):
        raise ValueError(f"{name}: results.elbo must be reconstruction - kl = {reconstruction} - {kl}, got {elbo}")
    likelihood = results.get("log_likelihood")
    if likelihood and elbo is not None and likelihood["mean"] + 3 * likelihood["standard_error"] + 0.01 < elbo:
        raise ValueError(f"{name}: results.log_likelihood must be at least the ELBO, {elbo}, got {likelihood['mean']}")
    if record.settings.get("likelihood") == "bernoulli":
        values = {"elbo": elbo, "reconstruction": reconstruction, "log_likelihood": likelihood and likelihood["mean"]}
        for term, value in values.items():
            if value is not None and value > 0:
                raise ValueError(f"{name}: results.{term} of binary data must be <= 0, got {value}")


def _check_settings(settings: Mapping[str, Any]) -> None:
    for name in ("data", "model"):
        value = settings[name]
        if not isinstance(value, str) or not NAME.fullmatch(value):
            raise ValueError(f"settings.{name} must be a name of a-z, 0-9 and . + -, got {value!r}")
    d = settings["d"]
    if not (d and all(_is_whole(size, 1) for size in (d if isinstance(d, list) else [d]))):
        raise ValueError(f"settings.d must be an integer >= 1 or a list of them, got {d!r}")
    if not _is_whole(settings["seed"], 0):
        raise ValueError(f"settings.seed must be an integer >= 0, got {settings['seed']!r}")
    for name, value in settings.items():
        if not all(isinstance(item, str | int | float) for item in (value if isinstance(value, list) else [value])):
            raise ValueError(f"settings.{name} must be text, a number or a list of them, got {value!r}")


def _check_structure(results: Mapping[str, Any]) -> None:
    for name, parts in _STRUCTURED.items():
        if name in results:
            _check_object(f"results.{name}", results[name], parts)
    if "knn" in results:
        _check_object("results.knn", results["knn"], ())
        for size, accuracy in results["knn"].items():
            _check_object(f"results.knn.{size}", accuracy, ("mean", "standard_deviation", "draws"))
    for name in ("elbo", "kl", "reconstruction"):
        if isinstance(results.get(name), Mapping):
            raise ValueError(f"results.{name} must be a finite number, got an object")


def _check_provenance(provenance: Mapping[str, Any]) -> None:
    _check_object("provenance.versions", provenance["versions"], ("hvae_tutorial", "torch"))
    _check_object("provenance.machine", provenance["machine"], ("processor", "threads"))
    texts = {f"provenance.versions.{name}": value for name, value in provenance["versions"].items()}
    texts |= {f"provenance.{name}": provenance[name] for name in ("device", "data_sha256")}
    for name, value in texts.items():
        if not isinstance(value, str):
            raise ValueError(f"{name} must be text, got {value!r}")
    if not isinstance(provenance["commit"], str | None):
        raise ValueError(f"provenance.commit must be text or null, got {provenance['commit']!r}")


def _check_history(history: Mapping[str, Any]) -> None:
    for name, column in history.items():
        if not isinstance(column, list) or not all(map(_is_number, column)):
            raise ValueError(f"history.{name} must be a list of finite numbers")
    lengths = {name: len(column) for name, column in history.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns of history must have one length, got {lengths}")


def _check_object(name: str, value: Any, parts: tuple[str, ...]) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be an object, got {value!r}")
    if missing := [part for part in parts if part not in value]:
        raise ValueError(f"{name} lacks {', '.join(missing)}")


def leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested objects with their dotted names, which begin with `name`."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(f"{name}.{key}" if name else key, item)
    else:
        yield name, value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
