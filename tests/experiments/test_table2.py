from pathlib import Path

import pytest

from hvae_tutorial.experiments import table1, table2
from hvae_tutorial.experiments.presets import Preset

TINY = Preset(epochs=1, warmup_epochs=0, patience=1, seeds=1, importance_samples=2)


def test_table2_is_a_second_view_of_table_1s_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = table1.reproduce(data="digits", preset=TINY, dims=[2], out=tmp_path, jobs=1)
    monkeypatch.setattr(table2, "execute", lambda *_, **__: pytest.fail("the runs are recorded"))
    second = table2.reproduce(data="digits", preset=TINY, dims=[2], out=tmp_path, jobs=1)
    assert second.tables == [first.tables[1]]
    assert second.files == [tmp_path / "table1-digits" / "table2.md"]


def test_equal_coordinates_add_the_sphere_of_one_dimension_less(tmp_path: Path) -> None:
    options = {"data": "digits", "preset": TINY, "out": tmp_path, "jobs": 1}
    report = table2.reproduce(**options, dims=[2], models=["n", "s"], equal_coordinates=True)
    assert len(list(tmp_path.glob("table1-digits/*.json"))) == 3
    main, by_coordinates = report.tables
    assert [row[:2] for row in main.rows if row[2]] == [["2", "N-VAE"], ["2", "S-VAE"]]
    spaces = [row[:4] for row in by_coordinates.rows]
    assert spaces == [
        ["2", "N-VAE, R^2", "2", "1"],
        ["2", "S-VAE, S^2", "3", "1"],
        ["2", "S-VAE, S^1", "2", "1"],
    ]
    assert [path.name for path in report.files] == ["table2.md", "table2-coordinates.md"]

    circle = table2.reproduce(**options, dims=[1], models=["s"]).tables[0]  # the same run, seen by Table 2 itself
    assert by_coordinates.rows[2][4:] == circle.rows[0][3:]
    assert len(list(tmp_path.glob("table1-digits/*.json"))) == 3


def test_data_that_are_no_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Tables 1 and 2 are about images, which the data set 'circle' is not"):
        table2.reproduce(data="circle", preset=TINY, out=tmp_path)
