"""A record is found, read and added only if it is one: its name, settings and numbers agree with one another."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from example_records import VERSION, example_record

import hvae_tutorial
from hvae_tutorial import records
from hvae_tutorial.records import add, load, read, scan, settings_key, write
from hvae_tutorial.records.checks import check_numbers


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
        ({"experiment": 9}, r"experiment must be a name of a-z, 0-9 and \. \+ -, got 9"),
        ({"settings": {}}, "settings lacks data, model, d, seed"),
        ({"settings": []}, "settings must be an object, got list"),
        ({"provenance": {"versions": {}}}, "provenance lacks device, machine, commit, data_sha256"),
        ({"results": []}, "results must be an object, got list"),
        ({"key": "0123456789ab"}, "key must be .* for these settings and this version, got '0123456789ab'"),
        ({"key": None}, "key must be .* for these settings and this version, got None"),
        ({"history": {"epoch": [1, 2], "validation_elbo": [-1.0]}}, "the columns of history must have one length"),
        ({"history": {"epoch": [1], "validation_elbo": 3}}, "history.validation_elbo must be a list of finite numbers"),
        ({"history": {"epoch": [1], "validation_elbo": [None]}}, "history.validation_elbo must be a list of finite"),
        ({"training": {"epochs": 1}}, "training lacks best_epoch, seconds, seconds_per_epoch"),
    ],
)
def test_a_wrong_part_is_named(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(example_record(), **change)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("versions", [], r"provenance.versions must be an object, got \[\]"),
        ("versions", {"torch": "2"}, "provenance.versions lacks hvae_tutorial"),
        ("versions", {"torch": 2, "hvae_tutorial": VERSION}, "provenance.versions.torch must be text, got 2"),
        ("machine", None, "provenance.machine must be an object, got None"),
        ("machine", {}, "provenance.machine lacks processor, threads"),
        ("device", 7, "provenance.device must be text, got 7"),
        ("commit", 7, "provenance.commit must be text or null, got 7"),
    ],
)
def test_a_wrong_origin_is_named(part: str, value: object, message: str) -> None:
    record = example_record()
    with pytest.raises(ValueError, match=message):
        replace(record, provenance={**record.provenance, part: value})


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({"elbo": float("nan")}, "results.elbo must be a finite number, got nan"),
        ({"elbo": 10**400}, "results.elbo must be a finite number, got 1000"),
        ({"elbo": True}, "results.elbo must be a finite number, got True"),
        ({"elbo": {}}, "results.elbo must be a finite number, got an object"),
        ({"kl": "6"}, "results.kl must be a finite number, got '6'"),
        ({"log_likelihood": -5.0}, "results.log_likelihood must be an object, got -5.0"),
        ({"log_likelihood": {"mean": -5.0, "samples": 5}}, "results.log_likelihood lacks standard_error"),
        (
            {"log_likelihood": {"mean": None, "samples": 100}},
            "results.log_likelihood.mean must be a finite number, got None",
        ),
        ({"knn": {"100": {}}}, "results.knn.100 lacks mean, standard_deviation, draws"),
        ({"knn": {"100": 0.5}}, "results.knn.100 must be an object, got 0.5"),
        ({"knn": 1}, "results.knn must be an object, got 1"),
        (
            {"knn": {"100": {"mean": 81.0, "standard_deviation": 0.1, "draws": 20}}},
            r"results.knn.100.mean must be in \[0, 1\], got 81.0",
        ),
        ({"auc": -0.1}, r"results\.auc must be in \[0, 1\], got -0.1"),
        ({"ap": 91.4}, r"results\.ap must be in \[0, 1\], got 91.4"),
        ({"accuracy": 91.4}, r"results\.accuracy must be in \[0, 1\], got 91.4"),
        ({"labelled_accuracy": 1.4}, r"results\.labelled_accuracy must be in \[0, 1\], got 1.4"),
        ({"accuracy_by_class": {"7": 1.4}}, r"results\.accuracy_by_class\.7 must be in \[0, 1\], got 1.4"),
        ({"validation_auc": 1.1}, r"results\.validation_auc must be in \[0, 1\], got 1.1"),
    ],
)
def test_a_wrong_result_is_named(results: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        example_record(results=results)


@pytest.mark.parametrize("name", ["data", "model", "seed", "d"])
@pytest.mark.parametrize(
    "value",
    ["/../../../OUTSIDE", "..", "a/b", "a\\b", "", "A", "a b", "a\0b", ".hidden", {"a": 1}, ["../x"], None, 1.5, True],
)
def test_a_forged_record_names_no_file_outside_its_folder(name: str, value: object) -> None:
    """Its parts are those of a file's name, and anyone can compute its key."""
    with pytest.raises(ValueError, match=f"settings.{name} must be "):
        example_record(**{name: value})


def test_a_forged_experiment_names_no_file_outside_its_folder(tmp_path: Path) -> None:
    content = json.loads(write(example_record(), tmp_path / "runs").read_text())
    content["experiment"] = "../../OUTSIDE"
    content["key"] = settings_key(content["experiment"], content["settings"], VERSION)
    forged = tmp_path / "runs" / "forged.json"
    forged.write_text(json.dumps(content))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="experiment must be a name of a-z"):
        add([forged], to=tmp_path / "runs" / "chosen")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("value", [{"a": 1}, [[1]], None])
def test_settings_are_plain(value: object) -> None:
    with pytest.raises(ValueError, match=r"settings\.extra must be text, a number or a list of them"):
        example_record(extra=value)


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({"elbo": 500.0}, r"results\.elbo must be reconstruction - kl = -12\.0 - 6\.0, got 500\.0"),
        ({"elbo": -18.1}, r"results\.elbo must be reconstruction - kl"),
        ({"elbo": -7.0, "kl": -5.0}, r"results\.kl must be >= 0, got -5\.0"),
        ({"elbo": 2.0, "reconstruction": 8.0}, r"results\.log_likelihood must be at least the ELBO, 2\.0, got -17\.0"),
        (
            {
                "elbo": 2.0,
                "reconstruction": 8.0,
                "log_likelihood": {"mean": 3.0, "standard_error": 0.1, "samples": 100},
            },
            r"results\.elbo of binary data must be <= 0, got 2\.0",
        ),
        (
            {"elbo": -1.0, "reconstruction": 5.0, "log_likelihood": {"mean": 0, "standard_error": 0, "samples": 1}},
            r"results\.reconstruction of binary data must be <= 0",
        ),
    ],
)
def test_impossible_numbers_are_not_added(results: dict, message: str, tmp_path: Path) -> None:
    good = write(example_record(), tmp_path / "runs")
    bad = write(example_record(seed=1, results=results), tmp_path / "runs")
    with pytest.raises(ValueError, match=rf"{re.escape(str(bad))}: {message}"):
        add([good, bad], to=tmp_path / "chosen")
    assert not (tmp_path / "chosen").exists()


def test_possible_numbers_are_added(tmp_path: Path) -> None:
    """Real-valued data have densities, which may be above 1; an autoencoder has no bound; noise is allowed for."""
    gaussian = example_record(likelihood="gaussian", results={"elbo": 2.0, "reconstruction": 8.0, "log_likelihood":
        {"mean": 3.0, "standard_error": 0.1, "samples": 100}})  # fmt: skip
    autoencoder = example_record(experiment="figure1", model="ae")
    for name in ("elbo", "kl", "log_likelihood", "log_likelihood_10"):
        del autoencoder.results[name]
    noisy = example_record(seed=1, results={"log_likelihood": {"mean": -18.2, "standard_error": 0.1, "samples": 100}})
    paths = [write(record, tmp_path / "runs") for record in (gaussian, autoencoder, noisy)]
    assert len(add(paths, to=tmp_path / "chosen")) == 3


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
        ("[" * 100_000, "it is nested too deeply"),
        ("\0", "Expecting value"),
        ('{"schema": NaN}', "schema must be 1, got nan"),
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


def test_another_record_of_the_same_run_is_not_overwritten(tmp_path: Path) -> None:
    first = write(example_record(), tmp_path / "a")
    second = write(example_record(results={"elbo": -18.5, "kl": 6.5}), tmp_path / "b")
    chosen = tmp_path / "chosen"
    (copy,) = add([first], to=chosen)
    add([first], to=chosen)  # the same bytes
    with pytest.raises(ValueError, match=r"is another record of the same run as .*: replace it with --force"):
        add([second], to=chosen)
    assert copy.read_bytes() == first.read_bytes()
    add([second], to=chosen, force=True)
    assert copy.read_bytes() == second.read_bytes()


def test_nothing_is_added_to_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(example_record(), tmp_path / "runs")
    package = tmp_path / "site-packages" / "hvae_tutorial"
    (package / "records").mkdir(parents=True)
    monkeypatch.setattr(records, "__file__", str(package / "records" / "__init__.py"))
    with pytest.raises(ValueError, match=r"this is an installed copy, .*: name a folder of yours with --to"):
        add([path])
    assert not (package / "records_data").exists()
    (package.parent / "pyproject.toml").touch()  # a source tree
    assert add([path]) == [package / "records_data" / path.name]


def test_damaged_files_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    good = write(example_record(), tmp_path)
    bad = []
    for i, text in enumerate(("{}", "[" * 100_000, '{"schema": 1}', "\0")):
        bad.append(tmp_path / f"bad{i}.json")
        bad[-1].write_text(text)
    found, problems = scan(tmp_path)
    assert found == [read(good)]
    assert len(problems) == 4
    for path, problem in zip(bad, problems, strict=True):
        assert problem.startswith(f"{path} is not a valid record: ")
    with pytest.raises(ValueError, match=r"bad0.json is not a valid record(.|\n)*bad3.json is not a valid record"):
        load(folder=tmp_path)


def test_lists_of_dimensions_are_sorted_with_numbers(tmp_path: Path) -> None:
    for d in ([10, 5], [5, 50], [5, 5]):
        write(example_record(experiment="table3", d=d, results={"accuracy": 0.5}), tmp_path)
    assert [record.settings["d"] for record in load(folder=tmp_path)] == [[5, 5], [5, 50], [10, 5]]


def test_a_data_frame_has_a_line_for_each_record() -> None:
    pandas = pytest.importorskip("pandas")
    table = records.frame([example_record(seed=3), example_record(model="s", seed=4)])
    assert isinstance(table, pandas.DataFrame)
    assert len(table) == 2
    assert table["seed"].tolist() == [3, 4]
    assert table["model"].tolist() == ["n", "s"]
    assert table["results.log_likelihood.mean"].tolist() == [-17.0, -17.0]
    assert table["results.knn.100.mean"].tolist() == [0.8, 0.8]
    assert table["training.seconds"].tolist() == [12.5, 12.5]
    assert table["provenance.versions.torch"].tolist() == ["2.13.0", "2.13.0"]
    assert table["record"].tolist() == [example_record(seed=3).name, example_record(model="s", seed=4).name]


def test_without_pandas_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"python -m pip install 'hvae-tutorial\[pandas\]'"):
        records.frame([example_record()])


def test_the_records_of_the_package_are_valid_and_their_names_are_those_of_their_files() -> None:
    folder = Path(hvae_tutorial.__file__).parent / "records_data"
    found = records.load()  # reading checks each
    assert {f"{record.name}.json" for record in found} == {path.name for path in folder.iterdir()}
    for record in found:
        check_numbers(record, record.name)
