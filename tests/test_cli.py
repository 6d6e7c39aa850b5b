import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from example_records import example_record

from hvae_tutorial import __version__, cli, data, records
from hvae_tutorial.experiments import presets
from hvae_tutorial.experiments.report import Report

TINY = ["--epochs", "2", "--warmup-epochs", "1", "--patience", "2", "--seeds", "2", "--importance-samples", "5"]


def run(arguments: Sequence[str]) -> int:
    """Call the command line in this process and return its exit code."""
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


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
    assert not list(folder.glob("*.checkpoint"))
    assert not list(folder.glob("*.log"))
    assert "[8/8] s d=3 seed=1: ELBO " in done.stderr

    assert "Table 1 on digits" in done.stdout
    assert "Table 2 on digits" in done.stdout
    named = done.stdout.split("beside the record and the model of each run:\n")[1].split()
    assert sorted(named) == sorted(
        f"runs/table1-digits/{name}"
        for name in (
            "table1.md",
            "table2.md",
            *(f"{picture}-d{d}.png" for d in (2, 3) for picture in ("learning-curves", "reconstructions", "samples")),
            "latent-n-d2.png",
            "latent-s-d2.png",
        )
    )
    assert all((tmp_path / name).stat().st_size > 0 for name in named)

    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 0
    again = capsys.readouterr()
    assert again.err == "8 of 8 runs are already recorded in runs/table1-digits\n"
    assert again.out == done.stdout


def test_help_and_mistakes_answer_without_loading_torch() -> None:
    code = "\n".join(
        [
            "import sys",
            "from hvae_tutorial import cli",
            "for arguments in (['--help'], ['reproduce', 'table1', '--help'], ['reproduce', 'table1', '--dims', 'x']):",
            "    try:",
            "        cli.main(arguments)",
            "    except SystemExit:",
            "        pass",
            "print(sorted({'torch', 'matplotlib', 'sklearn', 'scipy'} & sys.modules.keys()))",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reproduce", "table9"], 'Unknown command "table9"'),
        (["reproduce", "table1", "--data", "cifar"], 'Invalid value "cifar" for --data'),
        (["reproduce", "table1", "--preset", "huge"], 'Invalid value "huge" for --preset'),
        (["reproduce", "table1", "--models", "n", "x"], 'Invalid value "x" for --models'),
        (["reproduce", "table1", "--models", "ae"], 'Invalid value "ae" for --models'),
        (["reproduce", "table1", "--dims", "2", "five"], 'unable to convert "five" into int'),
        (["reproduce", "table1", "--dims", "0"], "for --dims. Must be >= 1"),
        (["reproduce", "table1", "--dims"], "dims and models must not be empty"),
        (["reproduce", "table1", "--seeds", "0"], "for --seeds. Must be >= 1"),
        (["reproduce", "table1", "--epochs", "-1"], "for --epochs. Must be >= 1"),
        (["reproduce", "table1", "--learning-rate", "0"], "for --learning-rate. Must be > 0"),
        (["reproduce", "table1", "--jobs", "0"], "for --jobs. Must be >= 1"),
        (["reproduce", "table1", "--device", "abacus"], "abacus"),
        (["reproduce", "figure1", "--data", "mnist"], "--data"),
        (["reproduce", "table4", "--data", "mnist"], 'Invalid value "mnist" for --data'),
        (["reproduce", "table4", "--data"], "data and models must not be empty"),
        (["reproduce", "table4", "--dropout", "1"], "for --dropout. Must be < 1"),
        (["reproduce", "table4", "--batch-size", "5"], "--batch-size"),
        (["records", "add"], "name at least one record to add"),
        (["records", "add", "missing.json"], "missing.json"),
        (["records", "list", "--folder", "missing"], "missing"),
        (["data", "fetch", "cifar"], "unknown data set 'cifar'"),
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

    monkeypatch.setattr("hvae_tutorial.experiments.table1.execute", fail)
    arguments = ["reproduce", "table1", "--dims", "2", "--models", "n", "--seeds", "1", "--jobs", "1"]
    assert run([*arguments, "--out", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "1 of 1 runs failed" in captured.err
    assert "FloatingPointError: the KL is not finite" in captured.err
    assert "Traceback" not in captured.err


def test_what_the_user_cannot_mend_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("hvae_tutorial.experiments.figure1.reproduce", broken)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        cli.main(["reproduce", "figure1"])


def test_every_value_of_a_preset_can_be_overridden() -> None:
    options = cli.Options(
        preset="smoke",
        seeds=4,
        epochs=5,
        warmup_epochs=0,
        patience=6,
        batch_size=7,
        learning_rate=0.1,
        importance_samples=8,
    )
    assert options.chosen(presets.TABLE1) == presets.Preset(
        seeds=4, epochs=5, warmup_epochs=0, patience=6, batch_size=7, learning_rate=0.1, importance_samples=8
    )
    assert cli.Options(preset="paper").chosen(presets.FIGURE1) == presets.FIGURE1["paper"]


def test_the_choices_are_those_of_the_library() -> None:
    choices = get_type_hints(cli.table1)
    assert {*get_args(choices["data"]), "circle", *get_args(data.GraphName)} == set(data.names())
    assert set(get_args(get_type_hints(cli.Options)["preset"])) == set(presets.TABLE1) == set(presets.FIGURE1)
    assert set(presets.TABLE1) == set(presets.TABLE3) == set(presets.TABLE4)


@pytest.mark.parametrize("text", ["5", "5,", ",5", "5,x", "5,0", "5,5,5", "²,5"])
def test_a_wrong_pair_of_dimensions_is_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["reproduce", "table3", "--configs", text, "--out", str(tmp_path)]) == 2
    assert f"--configs takes pairs of dimensions >= 1 as 5,10, got {text!r}" in capsys.readouterr().err


def test_pairs_of_dimensions_are_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def noted(**options: object) -> Report:
        seen.update(options)
        return Report(tables=[], files=[])

    monkeypatch.setattr("hvae_tutorial.experiments.table3.reproduce", noted)
    run(["reproduce", "table3", "--configs", "5,10", "50,50", "5,10", "--pairs", "sn", "--scheme", "stacked"])
    assert seen["configs"] == ((5, 10), (50, 50))
    assert seen["pairs"] == ("sn",)
    assert seen["scheme"] == "stacked"


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


def test_a_damaged_record_is_not_added(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = records.write(example_record(), tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "key": "0" * 12}))
    assert run(["records", "add", str(path), "--to", str(tmp_path / "chosen")]) == 2
    assert "key must be" in capsys.readouterr().err
    assert not (tmp_path / "chosen").exists()


def test_data_are_listed_and_fetched(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "list"]) == 0
    listing = capsys.readouterr().out
    assert all(name in listing for name in data.names())
    assert run(["data", "fetch", "digits"]) == 0
    assert capsys.readouterr().out.startswith("digits: 1097/200/500 for training/validation/test, sha256 ")
    assert run(["data", "fetch", "karate"]) == 0
    assert capsys.readouterr().out.startswith("karate: 34 nodes, 78 edges, 34 features, sha256 ")
