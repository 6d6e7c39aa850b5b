"""Adding a data set, a head, a table or an exercise touches the places that CONTRIBUTING lists, and no others.

Each test adds a toy through exactly these places, then uses it wherever such a thing is used.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from cyclopts import App

from hvae_tutorial import cli, data, exercises
from hvae_tutorial.data import Dataset
from hvae_tutorial.experiments import names, table1, table3, table4
from hvae_tutorial.experiments.execute import draw_samples, evaluate_model
from hvae_tutorial.experiments.experiment import Experiment
from hvae_tutorial.experiments.options import Options
from hvae_tutorial.experiments.registry import EXPERIMENTS, check
from hvae_tutorial.experiments.reproduce import reproduce
from hvae_tutorial.experiments.results import Table, cells_of, comparison
from hvae_tutorial.models import GaussianPosterior, mlp_vae
from hvae_tutorial.models.posteriors import POSTERIORS
from hvae_tutorial.records import Record, load
from hvae_tutorial.sources import REGISTRY, Source
from hvae_tutorial.training import TrainingResult

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"


def module(name: str, monkeypatch: pytest.MonkeyPatch, **content: Any) -> None:
    """Put a file into the library for the duration of a test."""
    made = ModuleType(name)
    vars(made).update(content)
    monkeypatch.setitem(sys.modules, name, made)


@pytest.fixture
def toy_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set: its loader, and its line in the registry. (Its licence and its test are no code of the library.)"""

    def load_stripes() -> Dataset:
        labels = torch.arange(200) % 2
        images = torch.rand(200, 16, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.5 * labels[:, None]
        parts = {"train": slice(0, 100), "validation": slice(100, 150), "test": slice(150, 200)}
        values = {name: images[part] for name, part in parts.items()}
        classes = {f"{name}_labels": labels[part] for name, part in parts.items()}
        return Dataset(name="stripes", **values, **classes, image_shape=(4, 4))

    module("hvae_tutorial.data.stripes", monkeypatch, load_stripes=load_stripes)
    monkeypatch.setitem(
        REGISTRY,
        "stripes",
        Source(
            name="stripes",
            kind="images",
            description="two kinds of noise",
            licence="none needed",
            loader="hvae_tutorial.data.stripes:load_stripes",
        ),
    )


@pytest.fixture
def toy_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head, as far as it is not the law's own: its line among the posteriors, and its name."""

    class NarrowPosterior(GaussianPosterior):
        """A Gaussian posterior under another name."""

    monkeypatch.setitem(POSTERIORS, "x", NarrowPosterior)
    monkeypatch.setitem(names.HEADS, "x", names.Head("X", "narrow"))


@pytest.fixture
def toy_table(monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """A table: its module, with options, settings, cells and columns, its study, and its line in the registry."""

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class ToyOptions(Options):
        """Options of the toy."""

        widths: tuple[int, ...] = (1, 2)
        """Dimensions."""

    class Constant(torch.nn.Module):
        def __init__(self, d: int, x_dim: int) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.rand(d, x_dim))

    def build(settings: dict, x_dim: int) -> Constant:
        return Constant(settings["d"], x_dim)

    def train(model: Constant, data: Any, run: Any, *, checkpoint: Path, progress: bool) -> TrainingResult:
        with torch.no_grad():
            model.weight.add_(1)
        curve = [float(epoch) for epoch in range(run.settings["epochs"])]
        return TrainingResult({"validation_elbo": curve, "seconds": curve}, len(curve), len(curve), 1.0, 0.1)

    def measure(model: Constant, data: Any, run: Any) -> dict[str, float]:
        return {"size": model.weight.mean().item() + run.settings["d"]}

    def draw(*_: Any) -> dict:
        return {}

    def table(records: Sequence[Record], complete: bool = False) -> dict[str, Table]:
        found, settings = cells_of(records, "d", "model")
        rows = comparison(found, {"size": ("size",)}, {}, digits=1, name=names.vae)
        return {"table5": Table(f"Table 5 on {settings['data']}", ["size"], rows, ["A note."], label="d")}

    study = "hvae_tutorial.experiments.studies.toy"
    module(study, monkeypatch, build=build, train=train, measure=measure, draw=draw)
    experiment = Experiment(
        name="table5",
        summary="A toy.",
        heading="Toys",
        example="table5 --widths 1 2",
        study=study,
        kind="points",
        options=ToyOptions,
        settings={"epochs": 3},
        presets={"smoke": {"seeds": 1}, "quick": {"seeds": 2}, "paper": {"seeds": 3, "epochs": 9}},
        cells=lambda options: [{"data": "circle", "model": "n", "d": d} for d in options.widths],
        by=("d", "model"),
        model=names.vae,
        measures=("size",),
        tables=table,
    )
    monkeypatch.setitem(EXPERIMENTS, "table5", experiment)
    return experiment


@pytest.mark.usefixtures("toy_data")
def test_a_data_set_is_loaded_listed_fetched_and_learned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "stripes" in data.names()
    assert data.load("stripes").x_dim == 16
    for arguments in (["data", "list"], ["data", "fetch", "stripes"]):
        with pytest.raises(SystemExit, match="0"):
            cli.main(arguments)
        assert "stripes" in capsys.readouterr().out
    options = table1.Table1Options(
        data="stripes", dims=(2,), models=("s",), preset="smoke", epochs=1, device="cpu", jobs=1, out=tmp_path
    )
    report = reproduce(table1.EXPERIMENT, options)
    assert report.tables[0].title.startswith("Table 1 on stripes")
    (model,) = (tmp_path / "table1-stripes").glob("*.safetensors")
    draw_samples(model, 4, seed=0)


@pytest.mark.usefixtures("toy_head")
def test_a_head_is_built_named_ranked_and_set_beside_the_others(tmp_path: Path) -> None:
    assert mlp_vae("x", 2, x_dim=9).posterior.d == 2
    options = table1.Table1Options(
        dims=(2,), models=("x", "n"), preset="smoke", epochs=1, seeds=2, device="cpu", jobs=1, out=tmp_path
    )
    report = reproduce(table1.EXPERIMENT, options)
    assert [row.name for row in report.tables[0].rows] == ["N-VAE", "X-VAE", "p, X-VAE"]
    assert names.vgae("x") == "X-VGAE"
    assert "latent-x-d2.png" in {path.name for path in report.files}
    for path in (tmp_path / "table1-digits").glob("*-x-*.safetensors"):
        assert evaluate_model(path, device="cpu")["knn"]


@pytest.mark.usefixtures("toy_head")
def test_a_head_is_in_pairs_and_on_graphs(tmp_path: Path) -> None:
    smoke: dict[str, Any] = {"preset": "smoke", "epochs": 1, "device": "cpu", "jobs": 1, "out": tmp_path}
    pairs = table3.Table3Options(configs=("2,3",), pairs=("x+n", "s+x", "nn"), **smoke)
    rows = reproduce(table3.EXPERIMENT, pairs).tables[0].rows
    assert [row.name for row in rows if row.runs] == ["N+N", "X+N", "S+X"]
    graphs = table4.Table4Options(data=("karate",), models=("x", "n"), **smoke)
    rows = reproduce(table4.EXPERIMENT, graphs).tables[0].rows
    assert [row.name for row in rows if row.runs] == ["N-VGAE", "X-VGAE"]


def test_a_table_is_done_recorded_printed_and_offered(
    toy_table: Experiment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = reproduce(toy_table, toy_table.options(out=tmp_path, jobs=1, device="cpu"))
    (table,) = report.tables
    assert [(row.label, row.runs) for row in table.rows] == [("1", 2), ("2", 2)]
    found = load(folder=tmp_path / "table5")
    assert len(found) == 4
    for record in found:
        check(record)
        assert record.results["size"] > 1
    assert [path.suffix for path in report.files] == [".md", ".csv", ".tex"]
    (model, *_) = (tmp_path / "table5").glob("*-d1-seed0-*.safetensors")
    assert evaluate_model(model, device="cpu")["size"] == found[0].results["size"]

    for arguments in (
        ["records", "table", "5", "--folder", str(tmp_path / "table5")],
        ["records", "verify", str(tmp_path / "table5")],
        ["records", "add", str(model.with_suffix(".json")), "--to", str(tmp_path / "chosen")],
    ):
        with pytest.raises(SystemExit, match="0"):
            cli.main(arguments)
    assert "Table 5 on circle" in capsys.readouterr().out

    app = App(name="hvae")
    cli.add_experiment(app, toy_table)
    with pytest.raises(SystemExit, match="0"):
        app(["table5", "--help"])
    text = capsys.readouterr().out
    assert "--widths" in text
    assert "hvae reproduce table5 --widths 1 2" in text
    with pytest.raises(SystemExit, match="0"):
        app(["table5", "--preset", "smoke", "--widths", "7", "--out", str(tmp_path), "--jobs", "1"])
    assert "Table 5 on circle" in capsys.readouterr().out


@pytest.mark.usefixtures("toy_table")
def test_a_table_is_on_the_page_of_results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    experiment = EXPERIMENTS["table5"]
    reproduce(experiment, experiment.options(out=tmp_path, jobs=1, device="cpu", preset="smoke"))
    folder = tmp_path / "table5"
    hooks = _hooks()
    packaged = hooks.records.load
    monkeypatch.setattr(
        hooks.records,
        "load",
        lambda experiment=None: load(folder=folder) if experiment == "table5" else packaged(experiment=experiment),
    )
    hooks.results.cache_clear()
    try:
        page = hooks.results_page()
    finally:
        hooks.results.cache_clear()
    assert "## Toys" in page
    assert "Table 5 on circle" in page


def test_an_exercise_is_found_listed_checked_and_put_into_its_chapter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its file is all that the library needs; the chapter says its id."""
    text = (Path(__file__).parents[1] / "exercises" / "toy.py").read_text(encoding="utf-8")
    file = tmp_path / "ch98.py"
    file.write_text(text.replace("ch99.1", "ch98.1").replace("\nTOY =", "\ncheck_spread ="), encoding="utf-8")
    monkeypatch.setattr(exercises, "__path__", [*exercises.__path__, str(tmp_path)])
    monkeypatch.setenv("HVAE_PROGRESS", str(tmp_path / "progress.json"))
    try:
        toy = exercises.find("ch98.1")
        toy(toy.solution)
        exercises.progress(98)
        assert "solved" in capsys.readouterr().out
        with pytest.raises(SystemExit):
            cli.main(["exercise", "show", "ch98.1"])
        assert toy.stub in capsys.readouterr().out
        _hooks()
        import exercise_cells
        import exercise_pages
        from nbformat.v4 import new_markdown_cell

        named = [new_markdown_cell("ch98.1", metadata={"tags": ["exercise"]})]
        assert "ch98.check_spread(spread)" in [cell.source for cell in exercise_cells.without_solutions(named)]
        assert "[98.1 A toy](chapters/98_toys.md#" in exercise_pages.index(["98_toys"])
    finally:
        sys.modules.pop("hvae_tutorial.exercises.ch98", None)


def _hooks() -> ModuleType:
    tools = Path(__file__).parents[2] / "tools"
    if not tools.is_dir():
        pytest.skip("the tools of the site are not here")
    sys.path.insert(0, str(tools))
    import hooks

    return hooks


@pytest.mark.parametrize(
    ("what", "places"),
    [
        (
            "A data set",
            ["data/", "sources.py", "THIRD_PARTY.md", "tests/data/"],
        ),
        (
            "A law with its head",
            ["distributions/", "models/posteriors.py", "experiments/names.py", "tests/"],
        ),
        (
            "A table",
            ["experiments/tableN.py", "experiments/registry.py", "experiments/paper.py", "tests/experiments/"],
        ),
        ("An exercise", ["exercises/chNN.py", "chapters/NN_name.py"]),
    ],
)
def test_contributing_lists_the_places(what: str, places: list[str]) -> None:
    if not CONTRIBUTING.is_file():
        pytest.skip("no CONTRIBUTING.md here")
    text = CONTRIBUTING.read_text(encoding="utf-8")
    section = text.partition("## Adding to it")[2].partition("\n## ")[0]
    entry = section.partition(f"**{what}**")[2].partition("\n\n**")[0]
    listed = [line for line in entry.splitlines() if line[:1].isdigit()]
    assert len(listed) == len(places)
    for line, place in zip(listed, places, strict=True):
        assert f"`{place}" in line
