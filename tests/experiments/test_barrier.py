"""The tables of the barrier against records made by hand."""

import dataclasses

import pytest
from example_records import example_record
from scipy import stats

from hvae_tutorial.experiments import barrier
from hvae_tutorial.experiments.registry import check
from hvae_tutorial.records import Record

SETTINGS = {"d": 40, "until": "end", "initial_bias": 0.0, "test_images": 2000, "importance_samples": 500}


def run(model: str, seed: int, kl: list[float], **settings: object) -> Record:
    """A run whose barrier is at 4 nats, with these KL terms of the validation images after each epoch."""
    results = {
        "log_likelihood": {"mean": -90.0 - seed, "standard_error": 0.1, "samples": 500},
        "reported_log_likelihood": {"mean": -85.0 - seed, "standard_error": 0.1, "samples": 500},
        "sampled_elbo": -100.0 - seed,
        "sampled_kl": 88.0 + seed,
        "median_concentration": 9.0 + seed,
        "barrier_kl": 4.0,
    }
    record = example_record(
        experiment="barrier", data="mnist-5k", model=model, seed=seed, results=results, **{**SETTINGS, **settings}
    )
    curve = {"epoch": list(range(1, len(kl) + 1)), "validation_elbo": [-20.0] * len(kl), "validation_kl": kl}
    return dataclasses.replace(record, history=curve)


RUNS = [
    run("s", 0, [5.0, 9.0]),
    run("s", 1, [1.0, 4.0]),
    run("s-clip", 0, [1.0, 1.5]),
    run("s-clip", 1, [1.0, 2.0, 6.0, 9.0]),
    run("s-clip", 2, [1.0, 3.9]),
]


def test_a_run_passes_in_the_first_epoch_at_the_threshold() -> None:
    assert [barrier.crossing(record) for record in RUNS] == [1, 2, None, 3, None]
    for record in RUNS:
        check(record)


def test_shares() -> None:
    table = barrier.tables(RUNS)["barrier"]
    assert table.headers == ["d", "sampler", "runs", "stuck", "epoch of passing", "latest", "median κ of the stuck"]
    assert table.cells[:2] == [
        ["40", "exact", "2", "0", "2 ± 1", "2", "n/a"],
        ["40", "public law and gradient", "3", "2", "3", "3", "10.0 ± 1.4"],
    ]
    p = stats.fisher_exact([[0, 2], [2, 1]]).pvalue
    assert table.cells[2] == ["40", "p, public law and gradient", "", f"{p:.2g}", "", "", ""]
    assert table.rows[1].records == [record.name for record in RUNS[2:]]


def test_ends_are_of_the_runs_that_pass() -> None:
    table = barrier.tables(RUNS)["barrier-ends"]
    assert table.headers == [
        "d", "sampler", "runs", "LL (500)", "ELBO", "RE", "KL",
        "reported LL", "reported ELBO", "reported KL", "median κ",
    ]  # fmt: skip
    assert table.cells[0] == [
        "40", "exact", "2", "-90.50 ± 0.71", "-100.50 ± 0.71", "-12.00 ± 0.00", "88.50 ± 0.71",
        "-85.50 ± 0.71", "-18.00 ± 0.00", "6.00 ± 0.00", "9.50 ± 0.71",
    ]  # fmt: skip
    assert table.cells[1][:4] == ["40", "public law and gradient", "1", "-91.00"]
    assert table.rows[1].records == [RUNS[3].name]


def test_runs_that_end_when_they_have_passed_say_so_and_have_no_ends() -> None:
    made = barrier.tables([run("s", 0, [1.0, 5.0], until="decided")])
    assert [*made] == ["barrier"]
    assert any("Runs end when they have passed" in note for note in made["barrier"].notes)
    assert not any("Runs end" in note for note in barrier.tables(RUNS)["barrier"].notes)
    assert [*barrier.tables([RUNS[2]])] == ["barrier"]  # to the end, but none has passed


def test_without_a_barrier_no_run_is_stuck() -> None:
    """From m = 13 on, d = 12, there is one: `test_foils` has that."""
    flat, steep = (run("s-clip", 0, [1.0, 2.0], d=d) for d in (11, 12))
    assert [barrier.is_stuck(record) for record in (flat, steep)] == [False, True]
    assert [*barrier.tables([flat])] == ["barrier-ends"]
    made = barrier.tables([flat, steep])
    assert [row.label for row in made["barrier"].rows] == ["12"]
    assert [row.label for row in made["barrier-ends"].rows] == ["11"]


def test_where_kappa_starts_is_said_and_is_a_setting_of_its_own() -> None:
    other = run("s-clip", 3, [5.0], initial_bias=20.0)
    assert any("before training of 20 plus" in note for note in barrier.tables([other])["barrier"].notes)
    with pytest.raises(ValueError, match="must agree in initial_bias"):
        barrier.tables([*RUNS, other])
