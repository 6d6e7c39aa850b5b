"""The experiments by name: one line each."""

from hvae_tutorial.experiments import barrier, figure1, products, table1, table2, table3, table4
from hvae_tutorial.experiments.experiment import Experiment
from hvae_tutorial.records import Record

EXPERIMENTS: dict[str, Experiment] = {
    module.EXPERIMENT.name: module.EXPERIMENT for module in (figure1, table1, table2, table3, table4, barrier, products)
}


def check(record: Record) -> None:
    """Check that a record is of an experiment that is known here, and has measured what its tables show.

    Raises:
        ValueError: it is not, or has not.
    """
    experiments = {experiment.records: experiment for experiment in EXPERIMENTS.values()}
    if record.experiment not in experiments:
        known = ", ".join(experiments)
        raise ValueError(f"{record.name}: experiment must be one of {known}, got {record.experiment!r}")
    if missing := [name for name in experiments[record.experiment].measures if name not in record.results]:
        raise ValueError(f"{record.name}: results lacks {', '.join(missing)}")
