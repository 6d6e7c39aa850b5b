"""The weights that come with the repository: their record's ELBO, computed from them where MNIST is at hand."""

import os
from pathlib import Path

import pytest
import torch

from hvae_tutorial import records
from hvae_tutorial.data import load
from hvae_tutorial.experiments.protocol import binarized, elbo_terms, seeded
from hvae_tutorial.models import VAE

WEIGHTS = sorted((Path(__file__).parents[2] / "docs" / "assets" / "weights").glob("*.safetensors"))


def test_there_are_weights_and_they_are_small() -> None:
    assert WEIGHTS
    assert sum(path.stat().st_size for path in WEIGHTS) < 2_000_000


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
def test_weights_have_the_elbo_of_their_record(path: Path) -> None:
    """With the record's random numbers; the weights are in half precision, which changes it by a thousandth."""
    if not (Path(os.environ.get("HVAE_DATA", "")) / "mnist").is_dir():
        pytest.skip("HVAE_DATA has no MNIST")
    (record,) = (record for record in records.load(experiment="table1") if record.name == path.stem)
    model = VAE.load(path).float().eval()
    with seeded(record.settings["seed"], torch.device("cpu")):
        found = elbo_terms(model, binarized(load("mnist")).test)
    for name in ("elbo", "reconstruction", "kl"):
        assert found[name] == pytest.approx(record.results[name], abs=0.02), name
