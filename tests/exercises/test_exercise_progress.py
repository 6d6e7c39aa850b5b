"""What a learner has done is kept in one file."""

import json
import threading
from pathlib import Path

import pytest
from toy import TOY, spread

from hvae_tutorial import exercises
from hvae_tutorial.exercises import _progress


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "data" / "progress.json"
    monkeypatch.setenv("HVAE_PROGRESS", str(path))
    return path


def test_by_default_it_is_in_the_users_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HVAE_PROGRESS")
    monkeypatch.setattr("platformdirs.user_data_path", lambda name, appauthor: tmp_path / name)
    assert _progress.path() == tmp_path / "hvae_tutorial" / "exercises.json"


def test_checks_are_counted_and_what_is_solved_stays_so(capsys: pytest.CaptureFixture[str]) -> None:
    TOY(lambda x, factor: x)
    assert _progress.of("ch99.1") == {"tries": 1, "passed": False, "hints": 0, "asked": False}
    TOY(spread)
    TOY(lambda x, factor: x)
    assert _progress.of("ch99.1") == {"tries": 3, "passed": True, "hints": 0, "asked": False}
    assert capsys.readouterr().out.count("ch99.1 A toy") == 3


def test_stubs_and_repeats_do_not_count() -> None:
    def unwritten(x, factor):
        raise NotImplementedError

    TOY(unwritten)
    TOY(spread, seed=1)
    assert _progress.load() == {}


def test_hints_come_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    count = len(exercises.find("ch05.1").hints)
    for number in range(1, count + 2):
        exercises.hint("ch05.1")
        out = capsys.readouterr().out
        assert out.count("Hint ") == min(number, count)


def test_the_listing_shows_what_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    _progress.tried("ch05.1", True)
    _progress.tried("ch05.2", False)
    exercises.progress(5)
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith("ch05.1")).endswith("solved")
    assert next(line for line in lines if line.startswith("ch05.2")).endswith("1 try")
    assert lines[-1] == f"1 of {len(exercises.all_exercises(5))} solved"
    with pytest.raises(ValueError, match="chapter 77 has no exercises"):
        exercises.progress(77)


@pytest.mark.parametrize("damage", ["{", "[1]", '{"ch05.1": 3}', ""])
def test_a_damaged_file_is_put_aside(file: Path, damage: str) -> None:
    file.parent.mkdir()
    file.write_text(damage, encoding="utf-8")
    assert _progress.load() == {}
    _progress.tried("ch05.1", True)
    assert _progress.of("ch05.1")["passed"]
    aside = file.with_name("progress.json.damaged")
    assert not damage or aside.read_text(encoding="utf-8") == damage


def test_where_nothing_can_be_written_checks_work_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("HVAE_PROGRESS", str(tmp_path / "a file" / "progress.json"))
    TOY(spread)
    out = capsys.readouterr().out
    assert "passed" in out
    assert "Your progress could not be kept" in out


def test_two_at_once_lose_nothing(file: Path) -> None:
    threads = [threading.Thread(target=_progress.tried, args=(f"ch01.{n}", True)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads(file.read_text(encoding="utf-8"))) == 8
    assert [path.name for path in file.parent.iterdir() if path.suffix == ".tmp"] == []
