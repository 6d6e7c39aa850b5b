"""Table 4: from the command to the table, and the table from records."""

from pathlib import Path

import pytest
from example_records import example_record

from hvae_tutorial.experiments import paper, results, table4
from hvae_tutorial.experiments.presets import TABLE4, GraphPreset
from hvae_tutorial.records import Record

SETTINGS = {"d": 16, "hidden": 32, "dropout": 0.0, "pairs_per_edge": 10, "learning_rate": 0.01, "epochs": 200}


def runs(data: str, model: str, aucs: tuple[float, ...], **settings: object) -> list[Record]:
    return [
        example_record(
            experiment="table4",
            data=data,
            model=model,
            seed=seed,
            results={"auc": auc, "ap": auc - 0.1},
            **{**SETTINGS, **settings},
        )
        for seed, auc in enumerate(aucs)
    ]


def test_means_deviations_and_what_others_report() -> None:
    table = results.table4(
        [
            *runs("cora", "s", (0.92, 0.94)),
            *runs("cora", "n", (0.90, 0.91)),
            *runs("karate", "n", (0.7,)),
        ]
    )
    assert table.headers == ["graph", "model", "runs", "AUC", "AP"]
    assert [list(row) for row in table.rows] == [
        ["cora", "N-VGAE", "2", "90.5 ± 0.7", "80.5 ± 0.7"],
        ["cora", "N-VGAE, paper", "", "92.7", "93.2"],
        ["cora", "N-VGAE, Kipf and Welling", "", "91.4", "92.6"],
        ["cora", "S-VGAE", "2", "93.0 ± 1.4", "83.0 ± 1.4"],
        ["cora", "S-VGAE, paper", "", "94.1", "94.1"],
        ["cora", "p, S-VGAE", "", "0.2", "0.2"],
        ["karate", "N-VGAE", "1", "70.0", "60.0"],
    ]
    assert any("from memory" in note for note in table.notes)
    assert any("200 epochs" in note and "step size 0.01" in note for note in table.notes)


def test_every_figure_of_the_paper_is_there() -> None:
    assert set(paper.TABLE4) == {(data, model) for data in ("cora", "citeseer", "pubmed") for model in ("n", "s")}
    assert set(paper.KIPF_WELLING) == {cell for cell in paper.TABLE4 if cell[1] == "n"}
    assert paper.TABLE4["citeseer", "s"] == {"auc": 94.7, "ap": 95.2}


def test_records_that_differ_cannot_share_a_table() -> None:
    with pytest.raises(ValueError, match="must agree in dropout"):
        results.table4([*runs("cora", "n", (0.9,)), *runs("cora", "s", (0.9,), dropout=0.5)])


@pytest.mark.parametrize("value", [-0.1, 91.4])
def test_a_record_with_percents_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"results\.auc must be in \[0, 1\], got"):
        example_record(experiment="table4", results={"auc": value, "ap": 0.5})


def test_the_whole_way(tmp_path: Path) -> None:
    """Both embedded graphs, two epochs; the second time there is nothing to do."""
    preset = GraphPreset(epochs=2, seeds=2)
    report = table4.reproduce(preset=preset, out=tmp_path, device="cpu", jobs=1)
    folder = tmp_path / "table4"
    assert len(list(folder.glob("*.json"))) == len(list(folder.glob("*.safetensors"))) == 8
    assert [path.name for path in report.files] == [
        "table4.md",
        "learning-curves-karate.png",
        "learning-curves-les-miserables.png",
    ]
    assert all(path.stat().st_size > 0 for path in report.files)
    assert [row[:2] for row in report.tables[0].rows] == [
        [data, model] for data in ("karate", "les-miserables") for model in ("N-VGAE", "S-VGAE", "p, S-VGAE")
    ]
    times = {path: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    assert table4.reproduce(preset=preset, out=tmp_path, device="cpu", jobs=1).tables == report.tables
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.json")} == times


@pytest.mark.parametrize("empty", [{"data": ()}, {"models": ()}])
def test_nothing_to_do(empty: dict[str, tuple[()]], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="data and models must not be empty"):
        table4.reproduce(preset=TABLE4["smoke"], out=tmp_path, **empty)


def test_the_paper_preset_is_the_papers_protocol() -> None:
    assert TABLE4["paper"] == GraphPreset(epochs=200, seeds=10, learning_rate=0.01, dropout=0.0)
