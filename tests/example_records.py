"""Records for tests, made without training anything."""

from collections.abc import Mapping
from typing import Any

from hvae_tutorial.records import Record, settings_key

VERSION = "9.9.9"


HISTORY: Mapping[str, list[float]] = {
    "epoch": [1, 2, 3],
    "beta": [0.5, 1.0, 1.0],
    "validation_elbo": [-30.0, -20.0, -18.0],
    "validation_kl": [9.0, 7.0, 6.0],
}


def example_record(
    *,
    experiment: str = "table1",
    results: dict[str, Any] | None = None,
    history: Mapping[str, list[float]] = HISTORY,
    **settings: Any,
) -> Record:
    """Return a valid record; `settings` and `results` replace or add single values, `history` the learning curve."""
    settings = {
        "data": "digits",
        "model": "n",
        "d": 2,
        "hidden": [256, 128],
        "likelihood": "bernoulli",
        "importance_samples": 100,
        "epochs": 60,
        "batch_size": 64,
        "learning_rate": 0.001,
        "warmup_epochs": 15,
        "patience": 15,
        "beta": 1.0,
        "seed": 0,
        **settings,
    }
    return Record(
        experiment=experiment,
        key=settings_key(experiment, settings, VERSION),
        settings=settings,
        results={
            "log_likelihood": {"mean": -17.0, "standard_error": 0.1, "samples": 100},
            "log_likelihood_10": {"mean": -17.5, "standard_error": 0.1, "samples": 10},
            "elbo": -18.0,
            "reconstruction": -12.0,
            "kl": 6.0,
            "circular_correlation": 0.9,
            "knn": {"100": {"mean": 0.8, "standard_deviation": 0.02, "draws": 20}},
            **(results or {}),
        },
        training={"epochs": 60, "best_epoch": 58, "seconds": 12.5, "seconds_per_epoch": 0.2},
        provenance={
            "versions": {"hvae_tutorial": VERSION, "torch": "2.13.0", "numpy": "2.4.6", "python": "3.11.7"},
            "device": "cpu",
            "machine": {"processor": "a processor", "threads": 1},
            "commit": None,
            "data_sha256": "0" * 64,
        },
        history=dict(history),
    )
