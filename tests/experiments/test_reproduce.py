"""The whole way of each experiment, on a smoke preset: tables from records, files that no other sweep overwrites."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from example_records import example_record
from matplotlib.image import imread

from hvae_tutorial.experiments import reproduce as reproducing
from hvae_tutorial.experiments.execute import evaluate_model
from hvae_tutorial.experiments.experiment import folder_of
from hvae_tutorial.experiments.registry import EXPERIMENTS
from hvae_tutorial.experiments.reproduce import reproduce
from hvae_tutorial.records import load
from hvae_tutorial.sources import REGISTRY

SMALL = {"preset": "smoke", "epochs": 2, "device": "cpu", "jobs": 1}


def done(name: str, out: Path, **options: Any) -> Any:
    experiment = EXPERIMENTS[name]
    return reproduce(experiment, experiment.options(out=out, **SMALL | options))


def test_figure_1(tmp_path: Path) -> None:
    report = done("figure1", tmp_path, seeds=2, importance_samples=5)
    (table,) = report.tables
    assert [(row.name, row.runs) for row in table.rows] == [
        ("autoencoder", 2),
        ("N-VAE, β = 0.1", 2),
        ("N-VAE, β = 1", 2),
        ("S-VAE", 2),
    ]
    assert [path.name for path in report.files] == ["figure1.md", "figure1.csv", "figure1.tex", "figure1.png"]
    records = load(folder=tmp_path / "figure1")
    assert len(records) == 8
    for record in records:
        assert record.settings["hidden"] == [32]
        assert record.settings["d"] == (1 if record.settings["model"] == "s" else 2)
        assert set(record.history["beta"]) == {record.settings["beta"]}  # constant: no warm-up
        assert ("elbo" in record.results) == (record.settings["model"] != "ae")
        if "log_likelihood" in record.results:
            assert record.results["log_likelihood"]["samples"] == 5


def test_tables_1_and_2_are_two_views_of_the_same_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = {"dims": (2,), "models": ("n",), "importance_samples": 3}
    first = done("table1", tmp_path, **cell)
    assert [table.title[:7] for table in first.tables] == ["Table 1", "Table 2"]
    monkeypatch.setattr(reproducing, "execute", lambda *_, **__: pytest.fail("the runs are recorded"))
    second = done("table2", tmp_path, **cell)
    assert second.tables == [first.tables[1]]
    (record,) = load(folder=tmp_path / "table1-digits")
    assert record.results["log_likelihood"]["samples"] == record.settings["importance_samples"] == 3
    assert first.tables[0].rows[0].cells[0].mean == record.results["log_likelihood"]["mean"]


def test_no_sweep_overwrites_the_tables_of_another(tmp_path: Path) -> None:
    """Other dimensions, another preset, or the other table: each has a folder of its own."""
    sweeps = [
        done("table1", tmp_path, dims=(2,), models=("n",)),
        done("table1", tmp_path, dims=(2, 3), models=("n",)),
        done("table1", tmp_path, dims=(2,), models=("n",), epochs=1),
        done("table2", tmp_path, dims=(2,), models=("n",)),
    ]
    files = [path for report in sweeps for path in report.files]
    assert len(set(files)) == len(files)
    pictures = [path for path in files if path.suffix == ".png"]
    # of each dimension three, and the map of its latent space where that can be drawn
    assert len(pictures) == 4 + 7 + 4 + 4
    assert all(imread(path).min() < 0.5 for path in pictures)  # something dark is on each
    tables = [path for path in files if path.name == "table2.md"]
    assert len(tables) == 4
    assert len({path.read_text() for path in tables}) == 3  # the first and the last have the same runs
    again = done("table1", tmp_path, dims=(2,), models=("n",))
    assert again.files == sweeps[0].files
    assert again.tables == sweeps[0].tables


def test_equal_coordinates_add_the_sphere_of_one_dimension_less(tmp_path: Path) -> None:
    report = done("table2", tmp_path, dims=(2,), equal_coordinates=True)
    assert len(list(tmp_path.glob("table1-digits/*.json"))) == 3
    by_coordinates = report.tables[1]
    assert [cells[:4] for cells in by_coordinates.cells] == [
        ["2", "N-VAE, R^2", "2", "1"],
        ["2", "S-VAE, S^2", "3", "1"],
        ["2", "S-VAE, S^1", "2", "1"],
    ]
    circle = done("table2", tmp_path, dims=(1,), models=("s",)).tables[0]  # the same run, seen by Table 2 itself
    assert by_coordinates.cells[2][4:] == circle.cells[0][3:]
    assert len(list(tmp_path.glob("table1-digits/*.json"))) == 3


@pytest.mark.parametrize("scheme", ["end-to-end", "stacked"])
def test_table_3_by_either_scheme_which_its_record_names(scheme: str, tmp_path: Path) -> None:
    report = done("table3", tmp_path, configs=("2,3",), pairs=("nn",), scheme=scheme, batch_size=256)
    (record,) = load(folder=tmp_path / "table3-digits")
    assert record.settings["scheme"] == scheme
    assert record.settings["batch_size"] == 256
    (table,) = report.tables
    assert [row.name for row in table.rows] == ["N+N"]
    assert any(f"Training: {scheme}" in note for note in table.notes)
    assert [path.name for path in report.files][-1] == "learning-curves-d2+3.png"
    # stacked, the classifier's bound is on the density of two coordinates, not on 64 pixels
    assert (record.results["elbo"] > -20) == (scheme == "stacked")


def test_table_3_of_any_pair_of_laws(tmp_path: Path) -> None:
    report = done("table3", tmp_path, configs=("2,3",), pairs=("ps+n", "n+n"))
    assert [row.name for row in report.tables[0].rows] == ["N+N", "PS+N"]
    found = {record.settings["model"]: record for record in load(folder=tmp_path / "table3-digits")}
    assert found.keys() == {"nn", "ps+n"}
    (model,) = (tmp_path / "table3-digits").glob("*-ps+n-*.safetensors")
    again = evaluate_model(model, device="cpu")
    assert again["accuracy"] == pytest.approx(found["ps+n"].results["accuracy"], abs=1e-6)


def test_table_4(tmp_path: Path) -> None:
    """Both embedded graphs; the second time there is nothing to do."""
    report = done("table4", tmp_path, seeds=2, learning_rate=0.02, dropout=0.25)
    folder = tmp_path / "table4"
    assert len(list(folder.glob("*.json"))) == len(list(folder.glob("*.safetensors"))) == 8
    assert [path.name for path in report.files][3:] == [
        "learning-curves-karate.png",
        "learning-curves-les-miserables.png",
    ]
    for record in load(folder=folder):
        assert (record.settings["learning_rate"], record.settings["dropout"]) == (0.02, 0.25)
    assert [(row.label, row.name) for row in report.tables[0].rows] == [
        (data, model) for data in ("karate", "les-miserables") for model in ("N-VGAE", "S-VGAE", "p, S-VGAE")
    ]
    times = {path: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    assert done("table4", tmp_path, seeds=2, learning_rate=0.02, dropout=0.25).tables == report.tables
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.json")} == times


def test_the_pictures_of_a_graph_are_drawn_from_its_own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    class Study:
        def draw(self, data: Any, runs: Any, records: Any, trained: Any) -> dict[str, Any]:
            drawn.append((data.name, [run.settings["data"] for run in runs], [r.settings["data"] for r in records]))
            return {}

    def recorded(runs: Any, *_: Any, **__: Any) -> list[Any]:
        return [example_record(experiment="table4", results={"auc": 0.9, "ap": 0.8}, **run.settings) for run in runs]

    monkeypatch.setattr(reproducing, "sweep", recorded)
    monkeypatch.setattr(reproducing, "study_of", lambda _: Study())
    done("table4", tmp_path)
    assert drawn == [(name, [name] * 2, [name] * 2) for name in ("karate", "les-miserables")]


def test_a_device_that_is_not_there_is_found_once_and_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got 'tpu'"):
        done("table4", tmp_path / "out", device="tpu")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_found_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproducing, "sweep", lambda *_, **__: pytest.fail("hours of computing"))
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write to the folder .*file/table4: .*; name another with --out"):
        done("table4", tmp_path / "file")


def test_a_full_disk_is_found_before_anything_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproducing, "sweep", lambda *_, **__: pytest.fail("hours of computing"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reproducing, "write_atomically", full)
    with pytest.raises(OSError, match=r"cannot write to the folder .*No space left on device; name another with --out"):
        done("table4", tmp_path)


@pytest.mark.parametrize(("name", "data"), [("table1", "circle"), ("table2", "karate"), ("table3", "circle")])
def test_data_of_another_kind_are_refused(name: str, data: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"{name} is about images, which the data set '{data}' is not"):
        done(name, tmp_path, data=data)
    with pytest.raises(ValueError, match=r"table4 is about graphs, which the data set 'digits' is not"):
        done("table4", tmp_path, data=("digits",))


def test_each_set_of_images_has_a_folder_and_the_graphs_have_one(tmp_path: Path) -> None:
    folders = {}
    for name, experiment in EXPERIMENTS.items():
        runs = experiment.runs(experiment.options(preset="smoke"))
        folders[name] = folder_of(experiment, runs, tmp_path).name
    assert folders == {
        "figure1": "figure1",
        "table1": "table1-digits",
        "table2": "table1-digits",
        "table3": "table3-digits",
        "table4": "table4",
        "barrier": "barrier-digits",
        "products": "products-digits",
    }


def test_tables_are_written_as_markdown_csv_and_latex(tmp_path: Path) -> None:
    report = done("table4", tmp_path, data=("karate",), models=("n",), epochs=1)
    (table,) = report.tables
    written = {path.suffix: path.read_text() for path in report.files if path.suffix != ".png"}
    assert written == {".md": table.markdown(), ".csv": table.csv(), ".tex": table.latex()}
    assert json.loads(table.json())["rows"][0]["records"] == [load(folder=tmp_path / "table4")[0].name]


def test_every_kind_of_data_is_that_of_its_loader() -> None:
    assert {source.kind for source in REGISTRY.values()} == {"images", "points", "graphs"}
    assert dataclasses.is_dataclass(next(iter(REGISTRY.values())))
