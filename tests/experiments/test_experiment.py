"""From options to runs: every option reaches the run, hence the record; and today's runs are those of the records."""

import dataclasses
from typing import Any

import pytest

from hvae_tutorial import records
from hvae_tutorial.experiments import table1
from hvae_tutorial.experiments.experiment import Experiment
from hvae_tutorial.experiments.names import HEADS, heads_of, pair, pair_of, rank, vae, vgae
from hvae_tutorial.experiments.registry import EXPERIMENTS, check
from hvae_tutorial.experiments.table3 import Table3Options
from hvae_tutorial.models.posteriors import laws

every_experiment = pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
# Options that say which runs there are, and those that say where and how they are done.
CELLS = {"data", "samplers", "dims", "models", "configs", "pairs", "spaces", "equal_coordinates", "seeds", "seed_list"}
PLACE = {"device", "jobs", "dask", "out"}
PROTOCOL = {  # the paper's, as the design of the experiments has it
    "epochs": 1000,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "warmup_epochs": 100,
    "patience": 50,
    "beta": 1.0,
    "dynamic_binarization": True,
}


def names(experiment: Experiment) -> set[str]:
    return {field.name for field in dataclasses.fields(experiment.options)}


@every_experiment
@pytest.mark.parametrize("preset", ["smoke", "quick", "paper"])
def test_every_option_that_is_no_place_reaches_the_settings_of_every_run(experiment: Experiment, preset: str) -> None:
    """An option that is accepted and then ignored is a number that nobody asked for."""
    for name in names(experiment) - CELLS - PLACE - {"preset"}:
        value = {"scheme": "stacked", "until": "decided"}.get(name, 7)
        assert experiment.settings[name] != value
        runs = experiment.runs(experiment.options(preset=preset, **{name: value}))
        assert {run.settings[name] for run in runs} == {value}
        others = experiment.runs(experiment.options(preset=preset))
        for run, other in zip(runs, others, strict=True):
            assert {**run.settings, name: None} == {**other.settings, name: None}
            assert run.key != other.key


@pytest.mark.parametrize(
    ("name", "options", "setting", "expected"),
    [
        ("table1", {"data": "mnist"}, "data", {"mnist"}),
        ("table1", {"dims": (3, 7)}, "d", {3, 7}),
        ("table1", {"models": ("ps", "n")}, "model", {"ps", "n"}),
        ("table2", {"dims": (3,), "models": ("s",)}, "d", {3}),
        ("table2", {"dims": (3,), "models": ("s",), "equal_coordinates": True}, "d", {2, 3}),
        ("table3", {"pairs": ("ns",)}, "model", {"ns"}),
        ("table3", {"pairs": ("s+n", "sn", "ps+n", "n+s")}, "model", {"sn", "ps+n", "ns"}),
        ("table3", {"data": "fashion-mnist"}, "data", {"fashion-mnist"}),
        ("table4", {"data": ("cora",)}, "data", {"cora"}),
        ("table4", {"models": ("ps",)}, "model", {"ps"}),
        ("barrier", {"samplers": ("s-path", "s")}, "model", {"s-path", "s"}),
        ("products", {"spaces": ("ps3", "n4")}, "model", {"ps", "n"}),
        ("figure1", {"seeds": 2}, "seed", {0, 1}),
        ("table4", {"seed_list": (5, 3)}, "seed", {5, 3}),
    ],
)
def test_options_of_cells_and_seeds_reach_the_runs(name: str, options: dict, setting: str, expected: set) -> None:
    experiment = EXPERIMENTS[name]
    runs = experiment.runs(experiment.options(preset="smoke", **options))
    assert {run.settings[setting] for run in runs} == expected


def test_pairs_of_dimensions_reach_the_runs() -> None:
    runs = EXPERIMENTS["table3"].runs(Table3Options(configs=("5,10", "50,50", "5,10"), pairs=("sn",), seeds=1))
    assert [run.settings["d"] for run in runs] == [[5, 10], [50, 50]]


@pytest.mark.parametrize("text", ["5", "5,", ",5", "5,x", "5,0", "5,5,5", "²,5", "5x5", "5,10001"])
def test_a_wrong_pair_of_dimensions_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"configs must be pairs of dimensions in 1 to 10000, as 5,10; got "):
        EXPERIMENTS["table3"].runs(Table3Options(configs=(text,)))


@every_experiment
def test_a_sweep_goes_seed_by_seed(experiment: Experiment) -> None:
    """Complete rows come early: all cells have the first seed before one has the second."""
    runs = experiment.runs(experiment.options(preset="smoke", seed_list=(4, 1, 4)))
    half = len(runs) // 2
    assert [run.seed for run in runs] == [4] * half + [1] * half
    cells = [{**run.settings, "seed": None} for run in runs]
    assert cells[:half] == cells[half:]


@every_experiment
def test_the_device_is_no_setting(experiment: Experiment) -> None:
    here, there = (experiment.runs(experiment.options(preset="smoke", device=name)) for name in ("cpu", "cuda"))
    assert [run.device for run in there] == ["cuda"] * len(there)
    assert [run.key for run in here] == [run.key for run in there]
    assert not any("device" in run.settings for run in here)


def test_the_key_depends_on_every_setting_and_on_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    run = EXPERIMENTS["table1"].run(data="digits", model="n", d=2, seed=0)
    keys = {run.key}
    for name, value in run.settings.items():
        other = dataclasses.replace(run, settings={**run.settings, name: f"another {value}"})
        keys.add(other.key)
    keys.add(dataclasses.replace(run, experiment="table9").key)
    monkeypatch.setattr("hvae_tutorial.experiments.run.__version__", "99.0")
    keys.add(run.key)
    assert len(keys) == len(run.settings) + 3


def test_the_runs_of_the_packaged_records_are_runs_of_today() -> None:
    """The same settings, names and keys: no record is orphaned by a change of the code."""
    for record in records.load():
        experiment = next(e for e in EXPERIMENTS.values() if e.records == record.experiment)
        run = experiment.run(**record.settings)
        assert run.settings == record.settings
        if record.provenance["versions"]["hvae_tutorial"] == "0.1.0":
            assert records.settings_key(run.experiment, run.settings, "0.1.0") == record.key


def test_titles_and_file_names() -> None:
    run = EXPERIMENTS["figure1"].run(data="circle", model="n", d=2, seed=3, beta=0.1)
    assert run.title == "circle n d=2 beta=0.1 seed=3"
    assert run.name == f"figure1-circle-n-d2-seed3-{run.key}"
    run = EXPERIMENTS["table3"].run(data="digits", model="sn", d=[5, 10], seed=0)
    assert run.title == "digits sn d=5,10 seed=0"
    assert run.name == f"table3-digits-sn-d5+10-seed0-{run.key}"
    assert EXPERIMENTS["table2"].run(data="digits", model="n", d=2, seed=0).experiment == "table1"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("table1", {"dims": ()}, r"dims and models must not be empty, got dims \(\) and models \('n', 's'\)"),
        ("table2", {"models": ()}, "dims and models must not be empty"),
        ("table3", {"configs": ()}, r"configs and pairs must not be empty, got configs \(\) and pairs \('nn', 'ss'"),
        ("table3", {"pairs": ()}, "configs and pairs must not be empty"),
        ("table4", {"data": ()}, "data and models must not be empty"),
        ("table4", {"models": ()}, "data and models must not be empty"),
        ("barrier", {"dims": ()}, r"dims and samplers must not be empty, got dims \(\) and samplers \('s', 's-clip'\)"),
        ("barrier", {"samplers": ()}, "dims and samplers must not be empty"),
        ("products", {"spaces": ()}, r"spaces must not be empty, got spaces \(\)"),
        ("products", {"spaces": ("s5,0",)}, "a space must be one of 'n', 's', 'ps', 'c' and the dimensions"),
        ("products", {"spaces": ("x5",)}, "as s11 or s5,5; got 'x5'"),
        ("figure1", {"seeds": 2, "seed_list": (1,)}, r"give --seeds or --seed-list, not both; got 2 and \(1,\)"),
    ],
)
def test_nothing_to_do_is_said(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EXPERIMENTS[name].runs(EXPERIMENTS[name].options(**options))


def test_a_setting_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="table4 has no setting patience; settings are hidden, dropout, epochs"):
        EXPERIMENTS["table4"].run(data="karate", model="n", d=2, seed=0, patience=3)


def test_the_paper_preset_is_the_papers_protocol() -> None:
    for name in ("table1", "table2", "table3"):
        experiment = EXPERIMENTS[name]
        for run in experiment.runs(experiment.options(preset="paper")):
            assert {key: run.settings[key] for key in PROTOCOL} == PROTOCOL
            assert run.settings["hidden"] == [256, 128]
        assert experiment.presets["paper"] == {"seeds": 10}
    (settings, *_) = (run.settings for run in EXPERIMENTS["table1"].runs(table1.Table1Options(preset="paper")))
    assert (settings["importance_samples"], settings["likelihood"]) == (500, "bernoulli")
    assert {d for _, d in {(r.seed, r.settings["d"]) for r in EXPERIMENTS["table1"].runs(table1.Table1Options())}} == {
        2, 5, 10, 20, 40,
    }  # fmt: skip
    graph = EXPERIMENTS["table4"].run(data="cora", model="n", d=16, seed=0).settings
    graph = {name: graph[name] for name in ("hidden", "dropout", "epochs", "learning_rate", "pairs_per_edge")}
    assert graph == {"hidden": 32, "dropout": 0.0, "epochs": 200, "learning_rate": 0.01, "pairs_per_edge": 10}
    assert {run.settings["d"] for run in EXPERIMENTS["table4"].runs(EXPERIMENTS["table4"].options())} == {16}
    panels = [run.settings for run in EXPERIMENTS["figure1"].runs(EXPERIMENTS["figure1"].options(seeds=1))]
    assert [(s["model"], s["d"], s["beta"]) for s in panels] == [
        ("ae", 2, 1.0), ("n", 2, 1.0), ("n", 2, 0.1), ("s", 1, 1.0),
    ]  # fmt: skip
    configs = [run.settings["d"] for run in EXPERIMENTS["table3"].runs(Table3Options(seeds=1, pairs=("nn",)))]
    assert configs == [[5, 5], [10, 10], [50, 50]]
    m1m2 = EXPERIMENTS["table3"].settings
    assert (m1m2["labels"], m1m2["labelled_batch_size"], m1m2["alpha"], m1m2["m2_hidden"]) == (100, 16, 0.1, 128)
    assert m1m2["scheme"] == "end-to-end"


@pytest.mark.parametrize(
    ("name", "data", "models", "dims"),
    [
        ("figure1", ["circle"], ["ae", "n", "s"], [2, 1]),
        ("table1", ["digits"], ["n", "s"], [2, 5, 10, 20, 40]),
        ("table2", ["digits"], ["n", "s"], [2, 5, 10, 20, 40]),
        ("table3", ["digits"], ["nn", "ss", "sn"], [[5, 5], [10, 10], [50, 50]]),
        ("table4", ["karate", "les-miserables"], ["n", "s"], [16]),
        ("barrier", ["digits"], ["s", "s-clip"], [40]),
    ],
)
def test_the_cells_that_nobody_chose(name: str, data: list[str], models: list[str], dims: list[Any]) -> None:
    """Typed a second time."""
    runs = EXPERIMENTS[name].runs(EXPERIMENTS[name].options())
    for setting, expected in (("data", data), ("model", models), ("d", dims)):
        values = [run.settings[setting] for run in runs]
        assert [value for i, value in enumerate(values) if value not in values[:i]] == expected
    if name == "table3":
        assert {run.settings["scheme"] for run in runs} == {"end-to-end"}
    if name == "barrier":
        assert {run.settings["until"] for run in runs} == {"end"}


def test_the_smaller_presets() -> None:
    expected = {
        ("figure1", "smoke"): {"seeds": 1, "epochs": 3, "patience": 3, "importance_samples": 10},
        ("figure1", "quick"): {"seeds": 3, "importance_samples": 100},
        ("table1", "smoke"): {
            "seeds": 1, "epochs": 3, "warmup_epochs": 1, "patience": 3, "importance_samples": 10,
        },
        ("table1", "quick"): {
            "seeds": 3, "epochs": 60, "warmup_epochs": 15, "patience": 15, "importance_samples": 100,
        },
        ("table3", "smoke"): {"seeds": 1, "epochs": 3, "warmup_epochs": 1, "patience": 3},
        ("table3", "quick"): {"seeds": 2, "epochs": 60, "warmup_epochs": 15, "patience": 15},
        ("table4", "smoke"): {"seeds": 1, "epochs": 3},
        ("table4", "quick"): {"seeds": 3},
    }  # fmt: skip
    for (name, preset), effort in expected.items():
        assert EXPERIMENTS[name].presets[preset] == effort
        runs = EXPERIMENTS[name].runs(EXPERIMENTS[name].options(preset=preset))
        assert {run.seed for run in runs} == set(range(effort["seeds"]))
        for setting in effort.keys() - {"seeds"}:
            assert {run.settings[setting] for run in runs} == {effort[setting]}
    circle = EXPERIMENTS["figure1"].settings
    assert (circle["epochs"], circle["warmup_epochs"], circle["patience"]) == (100, 0, 100)
    assert (circle["hidden"], circle["likelihood"], circle["dynamic_binarization"]) == ([32], "gaussian", False)


@every_experiment
def test_every_setting_that_a_preset_has_is_one(experiment: Experiment) -> None:
    for preset in experiment.presets.values():
        assert preset.keys() - {"seeds"} <= experiment.settings.keys()


def test_models_are_named_and_ranked() -> None:
    assert [vae(kind) for kind in ("ae", *HEADS)] == ["autoencoder", "N-VAE", "S-VAE", "PS-VAE", "C-VAE"]
    assert [vgae(kind) for kind in HEADS] == ["N-VGAE", "S-VGAE", "PS-VGAE", "C-VGAE"]
    assert sorted(["sn", "ps", "s", "nn", "n", "ae"], key=rank) == ["ae", "n", "s", "ps", "nn", "sn"]


def test_every_head_with_a_density_has_a_name() -> None:
    assert {*HEADS} == {*laws()}


def test_pairs_are_read_written_named_and_ranked() -> None:
    in_order = {
        "nn": "N+N", "ss": "S+S", "ps+ps": "PS+PS", "cc": "C+C", "sn": "S+N", "ps+n": "PS+N", "cn": "C+N",
        "ns": "N+S", "ps+s": "PS+S", "cs": "C+S", "n+ps": "N+PS", "s+ps": "S+PS", "c+ps": "C+PS",
        "nc": "N+C", "sc": "S+C", "ps+c": "PS+C",
    }  # fmt: skip
    assert {written: pair(written) for written in in_order} == in_order
    assert sorted({*in_order}, key=rank) == list(in_order)
    every = {pair_of(first, second): (first, second) for first in HEADS for second in HEADS}
    assert every.keys() == in_order.keys()
    assert {written: heads_of(written) for written in every} == every
    assert heads_of("s+n") == ("s", "n")
    for wrong in ("s", "", "psn", "s+", "x+n", "sx", "s+n+n", "ae+n"):
        with pytest.raises(ValueError, match="as sn or ps\\+n; got ") as raised:
            heads_of(wrong)
        assert str(raised.value).endswith(f"got {wrong!r}")


def test_a_record_of_no_experiment_or_without_its_results_is_named() -> None:
    record = records.load(experiment="table4", data="cora")[0]
    check(record)
    lacking = dataclasses.replace(record, results={"ap": 0.5})
    with pytest.raises(ValueError, match=rf"{record.name}: results lacks auc"):
        check(lacking)
    version = record.provenance["versions"]["hvae_tutorial"]
    key = records.settings_key("table9", record.settings, version)
    with pytest.raises(
        ValueError, match=r"experiment must be one of figure1, table1, table3, table4, barrier, products, got 'table9'"
    ):
        check(dataclasses.replace(record, experiment="table9", key=key))
