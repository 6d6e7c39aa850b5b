"""The table of products of spaces against records made by hand."""

from typing import Any

import pytest
from example_records import example_record
from scipy import stats

from hvae_tutorial.experiments import names, products
from hvae_tutorial.records import Record

SPACES = [("s", [2, 2]), ("n", [6]), ("s", [2]), ("s", [5])]


def run(kind: str, d: list[int], seed: int, elbo: float) -> Record:
    results: dict[str, Any] = {"log_likelihood": {"mean": elbo + 1, "standard_error": 0.1, "samples": 500}}
    results |= {"elbo": elbo, "reconstruction": elbo + 3, "kl": 3.0}
    return example_record(experiment="products", model=kind, d=d, seed=seed, results=results)


RUNS = [run(kind, d, seed, -20.0 - i - seed * (i + 1)) for i, (kind, d) in enumerate(SPACES) for seed in (0, 1)]


def test_spaces_are_read_and_named() -> None:
    for text, expected, name, m in (
        ("s11", ("s", (11,)), "S¹¹", 12),
        ("s5,5", ("s", (5, 5)), "S⁵ × S⁵", 12),
        ("n12", ("n", (12,)), "R¹²", 12),
        ("ps2,3", ("ps", (2, 3)), "S² × S³, Power Spherical", 7),
    ):
        assert names.space_of(text) == expected
        assert names.space(*expected) == name
        assert names.coordinates(*expected) == m
    for text in ("", "s", "5", "s5,", "s,5", "s0", "s5.5", "x5", "s-5", "s5 5"):
        with pytest.raises(ValueError, match="a space must be one of"):
            names.space_of(text)


def test_cells_are_the_spaces_each_once() -> None:
    options = products.ProductsOptions(spaces=("s5,5", "n12", "s5,5"))
    assert products.cells(options) == [
        {"data": "digits", "model": "s", "d": [5, 5]},
        {"data": "digits", "model": "n", "d": [12]},
    ]


def test_rows_are_compared_with_the_sphere_of_as_many_coordinates() -> None:
    table = products.EXPERIMENT.tables(RUNS)["products"]
    assert table.headers == ["coordinates", "space", "runs", "LL (100)", "ELBO", "RE", "KL"]
    p = [stats.ttest_ind([-20 - i, -20 - i - (i + 1)], [-23, -27], equal_var=False).pvalue for i in (1, 0)]
    assert [row[:3] + row[4:5] for row in table.cells] == [
        ["6", "R⁶", "2", "-22.00 ± 1.41"],
        ["6", "p, R⁶", "", f"{p[0]:.2g}"],
        ["6", "S⁵", "2", "-25.00 ± 2.83"],
        ["6", "S² × S²", "2", "-20.50 ± 0.71"],
        ["6", "p, S² × S²", "", f"{p[1]:.2g}"],
        ["3", "S²", "2", "-23.50 ± 2.12"],
    ]
    first = table.cells[0]
    assert (first[3], first[5], first[6]) == ("-21.00 ± 1.41", "-19.00 ± 1.41", "3.00 ± 0.00")
    assert table.rows[3].records == [record.name for record in RUNS[:2]]
    assert any("as many coordinates" in note for note in table.notes)
