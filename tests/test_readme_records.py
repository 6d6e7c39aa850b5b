"""The README's table of MNIST is that of the records."""

import re
from pathlib import Path

from hvae_tutorial import records

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_table_shows_the_records() -> None:
    for model, name in (("n", "N-VAE"), ("s", "S-VAE")):
        (record,) = records.load(experiment="table1", data="mnist", model=model, d=5)
        results = record.results
        values = [results["log_likelihood"]["mean"], results["log_likelihood_10"]["mean"]]
        values += [results["elbo"], results["reconstruction"], results["kl"]]
        row = " | ".join([name, *(f"{value:.2f}" for value in values), str(record.training["epochs"])])
        assert re.search(rf"^\| {re.escape(row)} \|$", README, flags=re.MULTILINE), row
