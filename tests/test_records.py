import json
from dataclasses import replace
from pathlib import Path

import pytest
from example_records import VERSION, example_record

from hvae_tutorial import records
from hvae_tutorial.records import add, load, read, settings_key, write


def test_a_record_survives_writing_and_reading(tmp_path: Path) -> None:
    record = example_record(seed=3)
    path = write(record, tmp_path / "new folder")
    assert path.name == f"table1-digits-n-d2-seed3-{record.key}.json"
    assert read(path) == record
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # no temporary file is left


def test_the_file_holds_plain_json_with_a_line_a_part(tmp_path: Path) -> None:
    path = write(example_record(), tmp_path)
    content = json.loads(path.read_text())
    assert content["schema"] == 1
    assert len(path.read_text().splitlines()) == 2 + len(content)


def test_an_interrupted_write_leaves_the_old_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(example_record(), tmp_path)
    before = path.read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write(example_record(), tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["seed", "d", "epochs", "learning_rate", "model", "data"])
def test_the_key_changes_with_every_setting_and_with_the_version(name: str) -> None:
    settings = dict(example_record().settings)
    key = settings_key("table1", settings, VERSION)
    assert len(key) == 12
    assert settings_key("table1", dict(reversed(settings.items())), VERSION) == key  # order is no setting
    assert settings_key("table1", {**settings, name: "other"}, VERSION) != key
    assert settings_key("table1", settings, "0.0.1") != key
    assert settings_key("figure1", settings, VERSION) != key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"experiment": "table9"}, "experiment must be one of figure1, table1, table3, table4, got 'table9'"),
        ({"settings": {}}, "settings lacks data, model, d, seed"),
        ({"provenance": {"versions": {}}}, "provenance lacks device, machine, commit, data_sha256"),
        ({"results": []}, "results must be an object, got list"),
        ({"results": {"elbo": -1.0}}, "results lacks log_likelihood, log_likelihood_10, reconstruction, kl, knn"),
        ({"key": "0123456789ab"}, "key must be .* for these settings and this version, got '0123456789ab'"),
        ({"history": {"epoch": [1, 2], "validation_elbo": [-1.0]}}, "the columns of history must have one length"),
    ],
)
def test_a_wrong_part_is_named(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(example_record(), **change)


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({"elbo": float("nan")}, "results.elbo must be a finite number, got nan"),
        ({"kl": "6"}, "results.kl must be a finite number, got '6'"),
        (
            {"log_likelihood": {"mean": None, "samples": 100}},
            "results.log_likelihood.mean must be a finite number, got None",
        ),
        ({"knn": {"100": {"mean": 81.0}}}, r"results.knn.100.mean must be in \[0, 1\], got 81.0"),
    ],
)
def test_a_wrong_result_is_named(results: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        example_record(results=results)


def test_a_setting_edited_by_hand_is_noticed(tmp_path: Path) -> None:
    path = write(example_record(), tmp_path)
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(ValueError, match=r"is not a valid record: key must be"):
        read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ("[1]", "expected a JSON object, got list"),
        ("{}", "schema must be 1, got None"),
        ('{"schema": 1, "colour": "red"}', "colour"),
    ],
)
def test_a_file_that_is_no_record_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"broken.json is not a valid record: .*{message}"):
        read(path)


def test_load_filters_and_sorts(tmp_path: Path) -> None:
    for seed in (1, 0):
        for model in ("s", "n"):
            write(example_record(model=model, seed=seed), tmp_path)
    write(example_record(experiment="figure1", data="circle", hidden=[32]), tmp_path)
    (tmp_path / "README.md").write_text("not a record")

    found = load(folder=tmp_path, experiment="table1")
    assert [(r.settings["model"], r.settings["seed"]) for r in found] == [("n", 0), ("n", 1), ("s", 0), ("s", 1)]
    assert len(load(folder=tmp_path)) == 5
    assert [r.settings["data"] for r in load(folder=tmp_path, hidden=(32,))] == ["circle"]
    assert [r.settings["seed"] for r in load(folder=tmp_path, data="digits", model="s")] == [0, 1]
    assert load(folder=tmp_path, d=40) == []
    with pytest.raises(ValueError, match="no record has a setting colour; settings are batch_size, beta, d"):
        load(folder=tmp_path, colour="red")


def test_add_copies_all_or_nothing(tmp_path: Path) -> None:
    good = write(example_record(), tmp_path / "runs")
    bad = tmp_path / "runs" / "bad.json"
    bad.write_text("{}")
    chosen = tmp_path / "chosen"
    with pytest.raises(ValueError, match=r"bad.json is not a valid record"):
        add([good, bad], to=chosen)
    assert not chosen.exists()
    assert add([good], to=chosen) == [chosen / good.name]
    assert load(folder=chosen) == [read(good)]


def test_the_records_of_the_package_are_valid() -> None:
    for record in records.load():  # reading checks each
        assert (Path(records.__file__).parent / f"{record.name}.json").is_file()
