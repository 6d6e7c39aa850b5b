"""The estimated time of an epoch is the median of the records nearest to the run; without a record there is none."""

import dataclasses

import pytest
from example_records import example_record

from hvae_tutorial.experiments.estimate import in_words, seconds, total
from hvae_tutorial.experiments.registry import EXPERIMENTS
from hvae_tutorial.records import Record


def timed(seconds_per_epoch: float, **settings: object) -> Record:
    record = example_record(**settings)
    return dataclasses.replace(record, training={**record.training, "seconds_per_epoch": seconds_per_epoch})


RECORDS = [
    timed(1.0, d=2),
    timed(3.0, d=2, seed=1),
    timed(9.0, d=2, seed=2),
    timed(10.0, d=10),
    timed(50.0, model="s", d=2),
    timed(1000.0, data="mnist", d=2),
]


def test_the_time_of_an_epoch_is_the_median_of_the_nearest_records_of_the_same_model() -> None:
    run = EXPERIMENTS["table1"].run
    assert seconds(run(data="digits", model="n", d=2, seed=9, epochs=7), RECORDS) == 7 * 3.0
    assert seconds(run(data="digits", model="n", d=40, seed=9, epochs=7), RECORDS) == 7 * 10.0
    assert seconds(run(data="digits", model="s", d=40, seed=9, epochs=7), RECORDS) == 7 * 50.0
    assert seconds(run(data="digits", model="ps", d=10, seed=9, epochs=7), RECORDS) == 7 * 10.0  # of any model
    assert seconds(run(data="fashion-mnist", model="n", d=2, seed=9), RECORDS) is None
    assert seconds(EXPERIMENTS["table3"].run(data="digits", model="nn", d=[2, 2], seed=0), RECORDS) is None


def test_the_sum_counts_what_has_no_estimate() -> None:
    run = EXPERIMENTS["table1"].run
    runs = [run(data=data, model="n", d=2, seed=0, epochs=2) for data in ("digits", "digits", "fashion-mnist")]
    assert total(runs, RECORDS) == (12.0, 1)


@pytest.mark.parametrize(
    ("duration", "text"), [(3.2, "3 s"), (99.4, "99 s"), (120, "2 min"), (5400, "90 min"), (9000, "2.5 h")]
)
def test_durations_in_words(duration: float, text: str) -> None:
    assert in_words(duration) == text
