"""The command line: one line for each mistake, and what each command prints."""

import contextlib
import csv
import dataclasses
import io
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from example_records import example_record
from matplotlib.image import imread

from hvae_tutorial import __version__, cli, records
from hvae_tutorial.experiments import registry
from hvae_tutorial.experiments.estimate import in_words
from hvae_tutorial.experiments.execute import execute
from hvae_tutorial.experiments.experiment import groups
from hvae_tutorial.experiments.registry import EXPERIMENTS
from hvae_tutorial.experiments.reproduce import Report
from hvae_tutorial.sources import REGISTRY

TINY = ["--epochs", "2", "--warmup-epochs", "1", "--patience", "2", "--seeds", "2", "--importance-samples", "5"]
COMMANDS = [
    [],
    ["reproduce"],
    *(["reproduce", name] for name in [*EXPERIMENTS, "all"]),
    ["evaluate"],
    ["sample"],
    ["records"],
    *(["records", name] for name in ("add", "diff", "list", "show", "table", "verify")),
    ["data"],
    ["data", "fetch"],
    ["data", "list"],
    ["exercise"],
    *(["exercise", name] for name in ("list", "show", "hint", "check", "solution", "progress")),
]


def run(arguments: Sequence[str]) -> int:
    """Call the command line in this process and return its exit code."""
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What is handed to `reproduce`, in place of doing it."""
    seen: list[tuple[str, Any]] = []

    def noted(experiment: Any, options: Any) -> Report:
        seen.append((experiment.name, options))
        return Report(tables=[], files=[])

    monkeypatch.setattr("hvae_tutorial.experiments.reproduce.reproduce", noted)
    return seen


@pytest.mark.slow
def test_the_whole_way_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Train N and S, print, draw and name the files; the second time there is nothing to train."""
    arguments = ["reproduce", "table1", "--dims", "2", "3", "--jobs", "1", "--device", "cpu", *TINY]
    command = [sys.executable, "-W", "error", "-m", "hvae_tutorial", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "table1-digits"
    assert len(list(folder.glob("*.json"))) == len(list(folder.glob("*.safetensors"))) == 8
    assert not [path for path in folder.iterdir() if path.suffix in (".checkpoint", ".log") or path.name[0] == "."]
    assert "[8/8] digits s d=3 seed=1: ELBO " in done.stderr
    assert "\r" not in done.stderr  # whole lines, where there is no terminal

    assert "Table 1 on digits" in done.stdout
    assert "Table 2 on digits" in done.stdout
    named = done.stdout.split("beside the record and the model of each run:\n")[1].split()
    pictures = [f"{picture}-d{d}.png" for d in (2, 3) for picture in ("learning-curves", "reconstructions", "samples")]
    pictures += ["latent-n-d2.png", "latent-s-d2.png"]
    # S^2 is the sphere of as many coordinates as R^3, too
    tables = [f"table{n}.{suffix}" for n in ("1", "2", "2-coordinates") for suffix in ("md", "csv", "tex")]
    assert sorted(Path(name).name for name in named) == sorted(pictures + tables)
    assert {Path(name).parts[:2] for name in named} == {("runs", "table1-digits")}
    assert all("S-VAE" in (tmp_path / name).read_text() for name in named if "table" in Path(name).name)
    drawn = [(tmp_path / name).read_bytes() for name in named if name.endswith(".png")]
    assert len(set(drawn)) == len(drawn)  # each shows something else
    assert all(imread(io.BytesIO(picture)).min() < 0.5 for picture in drawn)

    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 0
    again = capsys.readouterr()
    assert again.err == "8 of 8 runs are already recorded in runs/table1-digits\n"
    assert again.out == done.stdout


def test_help_and_mistakes_answer_without_loading_torch() -> None:
    calls = [[*command, "--help"] for command in COMMANDS]
    calls += [
        ["reproduce", "table1", "--dims", "x"],
        ["reproduce", "table1", "--dims"],
        ["reproduce", "table1", "--data"],
    ]
    calls += [["reproduce", "table3", "--configs", "5x5"], ["reproduce", "all", "--seeds", "1", "--seed-list", "2"]]
    code = "\n".join(
        [
            "import sys",
            "from hvae_tutorial import cli",
            f"for arguments in {calls!r}:",
            "    try:",
            "        cli.main(arguments)",
            "    except SystemExit:",
            "        pass",
            "print(sorted({'torch', 'matplotlib', 'sklearn', 'scipy', 'pooch'} & sys.modules.keys()))",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_help_has_an_example_that_the_command_takes(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run([*command, "--help"]) == 0
    text = capsys.readouterr().out
    if command:
        example = re.search(r"Example: hvae (.+)", text)
        assert example is not None
        words = example[1].split()
        assert words[: len(command)] == command
        cli.app.parse_args(words, exit_on_error=False, print_error=False)
    else:
        assert all(word in text for word in ("reproduce", "evaluate", "sample", "records", "data", "--version"))


def test_version_names_torch_and_the_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"
    assert capsys.readouterr().out.strip() == f"hvae-tutorial {__version__}, PyTorch {torch.__version__}, {device}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reproduce", "table9"], 'Unknown command "table9"'),
        (["reproduce", "table1", "--data", "cifar"], 'Invalid value "cifar" for --data'),
        (["reproduce", "table1", "--data", "karate"], 'Invalid value "karate" for --data'),
        (["reproduce", "table1", "--preset", "huge"], 'Invalid value "huge" for --preset'),
        (["reproduce", "table1", "--models", "n", "x"], 'Invalid value "x" for --models'),
        (["reproduce", "table1", "--models", "ae"], 'Invalid value "ae" for --models'),
        (["reproduce", "table1", "--dims", "2", "five"], '--dims takes whole numbers, not "2 five".'),
        (["reproduce", "table1", "--dims", "2.5"], '--dims takes whole numbers, not "2.5".'),
        (["reproduce", "table1", "--dims", "0"], "for --dims. Must be >= 1"),
        (["reproduce", "table1", "--dims", "100000"], "for --dims. Must be <= 10000"),
        (["reproduce", "table1", "--dims"], "dims and models must not be empty"),
        (["reproduce", "table1", "--seeds", "0"], "for --seeds. Must be >= 1"),
        (["reproduce", "table1", "--seeds", "1.9"], '--seeds takes whole numbers, not "1.9".'),
        (["reproduce", "table1", "--seed-list", "1", "-2"], "--seed-list"),
        (["reproduce", "table1", "--seeds", "2", "--seed-list", "1"], "give --seeds or --seed-list, not both"),
        (["reproduce", "table1", "--epochs", "-1"], "for --epochs. Must be >= 1"),
        (["reproduce", "table1", "--epochs", "2.7"], '--epochs takes whole numbers, not "2.7".'),
        (["reproduce", "table1", "--batch-size", "1e30"], '--batch-size takes whole numbers, not "1e30".'),
        (["reproduce", "table1", "--batch-size", "1" + 30 * "0"], "for --batch-size. Must be <= 1000000000"),
        (
            ["reproduce", "table1", "--importance-samples", "0.5"],
            '--importance-samples takes whole numbers, not "0.5".',
        ),
        (["reproduce", "table1", "--learning-rate", "0"], "for --learning-rate. Must be > 0"),
        (["reproduce", "table1", "--learning-rate", "inf"], "for --learning-rate. Must be < inf"),
        (["reproduce", "table1", "--jobs", "0"], "for --jobs. Must be >= 1"),
        (
            ["reproduce", "table1", "--device", "abacus"],
            "device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got 'abacus'",
        ),
        (["reproduce", "figure1", "--data", "mnist"], "--data"),
        (["reproduce", "table3", "--importance-samples", "5"], "--importance-samples"),
        (
            ["reproduce", "table3", "--configs", "5x5"],
            "configs must be pairs of dimensions in 1 to 10000, as 5,10; got '5x5'",
        ),
        (
            ["reproduce", "table3", "--pairs", "psn"],
            "a pair must be two letters of 'n', 's', 'ps', 'c', for z1 and for z2, as sn or ps+n; got 'psn'",
        ),
        (
            ["reproduce", "table3", "--pairs", "ss", "sn", "--scheme", "low-floor"],
            "scheme low-floor is for pairs with a von Mises-Fisher z2, as ss; got ('ss', 'sn')",
        ),
        (["reproduce", "table4", "--data", "mnist"], 'Invalid value "mnist" for --data'),
        (["reproduce", "table4", "--data"], "data and models must not be empty"),
        (["reproduce", "table4", "--dropout", "1"], "for --dropout. Must be < 1"),
        (["reproduce", "table4", "--batch-size", "5"], "--batch-size"),
        (["records", "add"], "name at least one record to add"),
        (["records", "add", "missing.json"], "missing.json"),
        (["records", "list", "--folder", "missing"], "missing"),
        (
            ["records", "show", "nothing-like-it"],
            "there must be one record whose name contains 'nothing-like-it', got 0",
        ),
        (["records", "show"], "record"),
        (
            ["records", "table", "9"],
            "there is no table '9'; choose one of figure1, table1, table2, table3, table4, barrier, products",
        ),
        (["records", "table", "1", "--format", "word"], 'Invalid value "word" for --format'),
        (["records", "table", "1", "--data", "fashion-mnist"], "there are no records of table1 on fashion-mnist"),
        (["data", "fetch", "cifar"], "unknown data set 'cifar'"),
        (["data", "fetch"], "name data sets to fetch, or say --all"),
        (["data", "fetch", "digits", "--all"], "name data sets to fetch, or say --all"),
        (["evaluate", "missing.safetensors"], "no saved model at missing.safetensors: there is no such file"),
        (["sample", "missing.safetensors"], "no saved model at missing.safetensors: there is no such file"),
        (["evaluate"], "requires an argument"),
    ],
)
def test_mistakes_get_one_clear_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("hvae: ")
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []  # nothing was begun


def test_missing_data_are_reported_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HVAE_DATA", str(tmp_path / "nowhere"))
    assert run(["reproduce", "table1", "--data", "mnist", "--out", str(tmp_path)]) == 2
    assert "HVAE_DATA" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_failed_run_is_reported_with_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise FloatingPointError("the KL is not finite")

    monkeypatch.setattr("hvae_tutorial.experiments.reproduce.execute", fail)
    arguments = ["reproduce", "table1", "--dims", "2", "--models", "n", "--seeds", "1", "--jobs", "1"]
    assert run([*arguments, "--out", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "1 of 1 runs failed" in captured.err
    assert "FloatingPointError: the KL is not finite" in captured.err
    assert "Traceback" not in captured.err


def test_what_the_user_cannot_mend_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("hvae_tutorial.experiments.reproduce.reproduce", broken)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        cli.main(["reproduce", "figure1"])


@pytest.mark.parametrize(
    ("arguments", "name", "options"),
    [
        (["figure1"], "figure1", {}),
        (
            ["table1", "--data", "mnist", "--dims", "3", "4", "--models", "ps", "--importance-samples", "8"],
            "table1",
            {"data": "mnist", "dims": (3, 4), "models": ("ps",), "importance_samples": 8},
        ),
        (
            ["table1", "--preset", "smoke", "--seeds", "4", "--epochs", "5", "--warmup-epochs", "0", "--patience", "6"],
            "table1",
            {"preset": "smoke", "seeds": 4, "epochs": 5, "warmup_epochs": 0, "patience": 6},
        ),
        (
            ["figure1", "--batch-size", "7", "--learning-rate", "0.1", "--seed-list", "3", "1"],
            "figure1",
            {"batch_size": 7, "learning_rate": 0.1, "seed_list": (3, 1)},
        ),
        (["table2", "--equal-coordinates"], "table2", {"equal_coordinates": True}),
        (
            ["table3", "--configs", "5,10", "50,50", "--pairs", "sn", "--scheme", "stacked"],
            "table3",
            {"configs": ("5,10", "50,50"), "pairs": ("sn",), "scheme": "stacked"},
        ),
        (
            ["table4", "--data", "cora", "karate", "--dropout", "0.5", "--device", "cpu", "--jobs", "3"],
            "table4",
            {"data": ("cora", "karate"), "dropout": 0.5, "device": "cpu", "jobs": 3},
        ),
        (["table4", "--dask", "tcp://h:1", "--out", "o"], "table4", {"dask": "tcp://h:1", "out": Path("o")}),
    ],
)
def test_options_are_handed_on_and_the_others_keep_their_defaults(
    arguments: list[str], name: str, options: dict, asked: list
) -> None:
    assert run(["reproduce", *arguments]) == 0
    assert asked == [(name, EXPERIMENTS[name].options(**options))]


def test_reproduce_all_hands_what_is_shared_to_every_experiment(asked: list) -> None:
    assert run(["reproduce", "all", "--preset", "smoke", "--seeds", "2", "--out", "o", "--epochs", "4"]) == 0
    shared = {"preset": "smoke", "seeds": 2, "out": Path("o"), "epochs": 4}
    assert asked == [(name, experiment.options(**shared)) for name, experiment in EXPERIMENTS.items()]


def test_every_option_of_an_experiment_is_on_its_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    for name, experiment in EXPERIMENTS.items():
        run(["reproduce", name, "--help"])
        text = capsys.readouterr().out
        for field in dataclasses.fields(experiment.options):
            assert f"--{field.name.replace('_', '-')} " in text
        assert "--dry-run" in text


def test_a_dry_run_says_what_would_be_done_and_for_how_long(
    tmp_path: Path, asked: list, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["reproduce", "table1", "--data", "mnist", "--preset", "paper", "--dims", "5", "--seeds", "2"]
    assert run([*arguments, "--dry-run", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert asked == []
    assert list(tmp_path.iterdir()) == []
    like = records.load(experiment="table1", data="mnist", model="n", d=5)
    longest = in_words(1000 * statistics.median(record.training["seconds_per_epoch"] for record in like))
    assert lines[0] == f"mnist n d=5 seed=0: at most {longest}"
    assert len(lines) == 5
    assert lines[-1].startswith(f"table1: 4 of 4 runs to do in {tmp_path}/table1-mnist; training takes at most ")

    assert run(["reproduce", "table1", "--data", "fashion-mnist", "--dims", "2", "--seeds", "1", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "fashion-mnist n d=2 seed=0: no estimate"
    assert lines[-1].endswith("; no record is like these")
    assert run(["reproduce", "table4", "--data", "cora", "karate", "--models", "n", "--seeds", "1", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("; no record is like 1 of them")


def test_a_dry_run_leaves_out_what_is_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment = EXPERIMENTS["table4"]
    options = experiment.options(preset="smoke", data=("karate",), epochs=1, device="cpu")
    first, _ = experiment.runs(options)
    execute(first, folder=tmp_path / "table4", progress=False)
    arguments = ["reproduce", "table4", "--preset", "smoke", "--data", "karate", "--epochs", "1", "--dry-run"]
    assert run([*arguments, "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["karate s d=16 seed=0", "table4"]
    assert "1 of 2 runs to do" in lines[-1]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[records.Record, Path]:
    """A finished run of digits: its record, and its model's file."""
    folder = tmp_path_factory.mktemp("finished")
    run_ = EXPERIMENTS["table1"].run(
        data="digits", model="n", d=2, seed=0, hidden=[8], epochs=1, warmup_epochs=0, patience=1, importance_samples=5
    )
    record = execute(dataclasses.replace(run_, device="cpu"), folder=folder, progress=False)
    return record, folder / f"{run_.name}.safetensors"


def test_a_saved_model_is_measured_as_its_record_was(finished: tuple, capsys: pytest.CaptureFixture[str]) -> None:
    record, path = finished
    assert run(["evaluate", str(path), "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out) == record.results


def test_a_record_gets_what_it_lacks_from_its_model(
    finished: tuple, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, model = finished
    results = {name: value for name, value in record.results.items() if name != "knn_by_k"}
    path = records.write(dataclasses.replace(record, results=results), tmp_path)
    path.with_suffix(".safetensors").write_bytes(model.read_bytes())
    for said in ("knn_by_k", "nothing to add"):
        assert run(["records", "remeasure", str(path), "--device", "cpu"]) == 0
        assert capsys.readouterr().out == f"{path}: {said}\n"
    assert records.read(path).results == record.results
    assert run(["records", "remeasure"]) == 2
    assert "name at least one record to measure again" in capsys.readouterr().err


def test_images_are_drawn_from_a_saved_model(
    finished: tuple, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, path = finished
    for name, seed in (("a.png", "0"), ("b.png", "1")):
        out = tmp_path / name
        assert run(["sample", str(path), "--count", "12", "--seed", seed, "--out", str(out)]) == 0
        assert capsys.readouterr().out.strip() == str(out)
        assert out.read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_images_are_written_where_it_is_said(
    finished: tuple, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, path = finished
    assert run(["sample", str(path), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"hvae: --out must be a file, but {tmp_path} is a folder\n"
    assert run(["sample", str(path), "--count", "2", "--out", str(tmp_path / "new" / "picture")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "new" / "picture.png")
    assert (tmp_path / "new" / "picture.png").exists()


def test_a_reader_may_stop_reading() -> None:
    """As head does."""
    with subprocess.Popen(
        [sys.executable, "-m", "hvae_tutorial", "records", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_records_are_added_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = records.write(example_record(model="s"), tmp_path / "runs")
    assert run(["records", "add", str(path), "--to", str(tmp_path / "chosen")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "chosen" / path.name)
    assert run(["records", "list", "--folder", str(tmp_path / "chosen")]) == 0
    listing = capsys.readouterr().out
    assert path.stem in listing
    assert "-17.00" in listing
    (tmp_path / "empty").mkdir()
    assert run(["records", "list", "--folder", str(tmp_path / "empty")]) == 0
    assert capsys.readouterr().out == "no records\n"


def test_a_listing_has_every_number_under_its_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = {"elbo": -1.0, "reconstruction": -2.0, "kl": 3.0, "accuracy": 0.4, "auc": 0.5, "ap": 0.6}
    records.write(example_record(results=results), tmp_path)
    assert run(["records", "list", "--folder", str(tmp_path)]) == 0
    header, _, row = capsys.readouterr().out.splitlines()
    names = ["LL", "ELBO", "RE", "KL", "accuracy", "AUC", "AP", "epochs", "device"]
    assert header.split() == ["record", *names]
    assert row.split()[1:] == ["-17.00", "-1.00", "-2.00", "3.00", "0.40", "0.50", "0.60", "60", "cpu"]


def test_a_narrow_terminal_gets_paragraphs(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [["a" * 30, -1.5, None], ["b" * 30, None, "text"]]
    wide = cli._listing(["record", "LL", "device"], rows)
    assert len(wide.splitlines()) == 4
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: shutil.os.terminal_size((40, 20)))
    assert cli._listing(["record", "LL", "device"], rows).splitlines() == [
        "a" * 30,
        "  LL: -1.50",
        "b" * 30,
        "  device: text",
    ]


def test_damaged_records_are_named_and_the_rest_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = records.write(example_record(), tmp_path)
    (tmp_path / "a-bad.json").write_text("[" * 100_000)
    (tmp_path / "b-bad.json").write_text("{}")
    assert run(["records", "list", "--folder", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert good.stem in captured.out
    assert "a-bad.json is not a valid record: it is nested too deeply" in captured.err
    assert "b-bad.json is not a valid record: schema must be 1, got None" in captured.err


def test_a_damaged_record_is_not_added(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = records.write(example_record(), tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "key": "0" * 12}))
    assert run(["records", "add", str(path), "--to", str(tmp_path / "chosen")]) == 2
    assert "key must be" in capsys.readouterr().err
    assert not (tmp_path / "chosen").exists()


def test_a_record_that_lacks_what_its_table_shows_is_not_added(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = example_record(experiment="table4")  # neither auc nor ap
    path = records.write(record, tmp_path)
    assert run(["records", "add", str(path), "--to", str(tmp_path / "chosen")]) == 2
    assert f"{record.name}: results lacks auc, ap" in capsys.readouterr().err
    assert not (tmp_path / "chosen").exists()


def test_another_record_of_the_same_run_is_replaced_by_force_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = records.write(example_record(), tmp_path / "first")
    second = records.write(example_record(results={"elbo": -18.5, "kl": 6.5}), tmp_path / "second")
    add = ["records", "add", "--to", str(tmp_path / "chosen")]
    assert run([*add, str(first)]) == 0
    assert run([*add, str(first)]) == 0  # the same bytes
    capsys.readouterr()
    assert run([*add, str(second)]) == 2
    assert "is another record of the same run as" in capsys.readouterr().err
    assert (tmp_path / "chosen" / first.name).read_bytes() == first.read_bytes()
    assert run([*add, str(second), "--force"]) == 0
    assert (tmp_path / "chosen" / first.name).read_bytes() == second.read_bytes()


def test_a_record_is_shown_by_its_path_its_name_or_a_part_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = example_record(seed=4)
    path = records.write(record, tmp_path)
    records.write(example_record(seed=5), tmp_path)
    for name in (str(path), record.name, "seed4", record.key):
        assert run(["records", "show", name, "--folder", str(tmp_path)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == record.name
        assert re.fullmatch(r"results\.log_likelihood\.mean +-17\.0", next(line for line in lines if "mean" in line))
        assert any(re.fullmatch(r"settings\.hidden +\[256, 128\]", line) for line in lines)
    assert run(["records", "show", "table1", "--folder", str(tmp_path)]) == 2
    assert "there must be one record whose name contains 'table1', got 2" in capsys.readouterr().err


def test_records_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records.write(example_record(seed=4), tmp_path)
    records.write(example_record(seed=5, results={"elbo": -19.0}), tmp_path)
    assert run(["records", "diff", "seed4", "seed5", "--folder", str(tmp_path)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["settings.seed", "4", "5"] in lines
    assert ["results.elbo", "-18.0", "-19.0"] in lines
    assert [line[0] for line in lines[1:]] == ["key", "settings.seed", "results.elbo"]
    assert run(["records", "diff", "seed4", "seed4", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "equal\n"


def test_records_are_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["records", "verify"]) == 0
    assert capsys.readouterr().out == f"{len(records.load())} records are in order\n"
    good = records.write(example_record(), tmp_path)
    impossible = records.write(example_record(seed=1, results={"elbo": 500.0}), tmp_path)
    assert run(["records", "verify", str(good)]) == 0
    capsys.readouterr()
    assert run(["records", "verify", str(tmp_path)]) == 2
    assert f"{impossible.stem}: results.elbo must be reconstruction - kl" in capsys.readouterr().err
    impossible.write_text("{}")
    assert run(["records", "verify", str(good), str(impossible)]) == 2
    assert "schema must be 1" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["1", "table1"])
def test_a_table_is_printed_from_records(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["records", "table", name, "--data", "mnist"]) == 0
    experiment = EXPERIMENTS["table1"]
    alike = groups(records.load(experiment="table1", data="mnist"), experiment.by)
    expected = [experiment.tables(group)["table1"].text() for group in alike]
    assert capsys.readouterr().out == "".join(f"{text}\n" for text in expected)


def test_a_table_is_printed_in_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = groups(records.load(experiment="barrier", data="digits"), EXPERIMENTS["barrier"].by)
    (table,) = EXPERIMENTS["barrier"].tables(found).values()
    for name in ("text", "markdown", "html", "csv", "latex", "json"):
        assert run(["records", "table", "barrier", "--data", "digits", "--format", name]) == 0
        printed = capsys.readouterr().out
        assert printed == table.render(name) + "\n"
        if name == "csv":
            assert len(list(csv.reader(io.StringIO(printed.strip())))) == len(table.rows) + 1
        if name == "json":
            json.loads(printed)


def test_a_table_is_printed_from_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records.write(example_record(), tmp_path)
    assert run(["records", "table", "2", "--folder", str(tmp_path)]) == 0
    assert "80.0" in capsys.readouterr().out
    assert run(["records", "table", "4", "--folder", str(tmp_path)]) == 2
    assert "there are no records of table4" in capsys.readouterr().err


def test_data_are_listed_with_where_they_are_and_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HVAE_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for file in REGISTRY["cora"].files:
        (tmp_path / file.name).touch()
    assert run(["data", "list"]) == 0
    rows = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()}
    assert rows.keys() >= REGISTRY.keys()
    assert (rows["digits"], rows["cora"]) == ("embedded", "HVAE_DATA")
    assert rows["mnist"] not in ("embedded", "HVAE_DATA", "cache")
    assert run(["data", "fetch", "digits", "karate"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("digits: 1097/200/500 for training/validation/test, sha256 ")
    assert lines[1].startswith("karate: 34 nodes, 78 edges, 34 features, sha256 ")


def test_fetching_all_goes_on_after_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hvae_tutorial.data import DataError, load

    def some(name: str) -> Any:
        if REGISTRY[name].files:
            raise DataError(f"no network for {name}")
        return load(name)

    monkeypatch.setattr("hvae_tutorial.data.load", some)
    assert run(["data", "fetch", "--all"]) == 2
    captured = capsys.readouterr()
    names = [line.partition(":")[0] for line in captured.out.splitlines()]
    assert names == [name for name, source in REGISTRY.items() if not source.files]
    assert captured.err.count("no network for") == sum(bool(source.files) for source in REGISTRY.values())


def test_a_table_is_printed_where_the_terminal_lacks_its_signs() -> None:
    """As on Windows with output to a file, whose code page has no β."""
    command = [sys.executable, "-m", "hvae_tutorial", "records", "table", "1"]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert b" ? " in done.stdout  # for ±


def test_completion_can_be_installed() -> None:
    """By cyclopts, whose command it is; the script names our commands."""
    cli.app.parse_args(["--install-completion"], exit_on_error=False, print_error=False)
    script = cli.app.generate_completion(shell="bash")
    assert all(word in script for word in ("reproduce", "records", "evaluate", "--equal-coordinates"))


def test_an_unknown_experiment_has_no_command() -> None:
    assert set(registry.EXPERIMENTS) == {
        "figure1", "table1", "table2", "table3", "table4", "barrier", "products",
    }  # fmt: skip
    with contextlib.suppress(SystemExit):
        cli.main(["reproduce", "--help"])
