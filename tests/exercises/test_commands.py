"""`hvae exercise` in a terminal."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hvae_tutorial import cli, exercises
from hvae_tutorial.exercises import _progress

EXERCISE = "ch05.1"


@pytest.fixture(autouse=True)
def progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HVAE_PROGRESS", str(tmp_path / "progress.json"))


@pytest.fixture
def hvae(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run `hvae exercise ...`; exit code, output, errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_:
            cli.main(["exercise", *arguments])
        out, err = capsys.readouterr()
        return int(exit_.value.code or 0), out, err

    return run


@pytest.fixture
def solved(tmp_path: Path) -> Path:
    exercise = exercises.find(EXERCISE)
    file = tmp_path / "mine.py"
    file.write_text(f"{exercise.imports}\n\n{exercise.solution_source}\n", encoding="utf-8")
    return file


def test_list_show_and_progress(hvae) -> None:
    code, out, _ = hvae("list")
    assert code == 0
    assert all(exercise.id in out and exercise.title in out for exercise in exercises.all_exercises())
    assert "ch05.1" not in hvae("list", "--chapter", "1")[1]
    code, out, _ = hvae("show", EXERCISE)
    exercise = exercises.find(EXERCISE)
    assert exercise.question in out
    assert exercise.stub in out
    assert "chapter  5: 0 of " in hvae("progress")[1]


def test_check_says_passed_and_counts(hvae, solved: Path) -> None:
    code, out, _ = hvae("check", EXERCISE, str(solved))
    assert code == 0
    assert "passed" in out
    assert _progress.of(EXERCISE)["passed"]
    assert "solved" in hvae("list", "--chapter", "5")[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def found_share(kappa, m):\n    return kappa\n", "not yet."),
        ("def found_share(kappa, m):\n    raise NotImplementedError\n", "not written yet"),
        ("def other(kappa, m):\n    return kappa\n", "defines no function found_share"),
        ("x = 1\ny = x / 0\n", "line 2, in <module>: y = x / 0"),
        ("def found_share(kappa, m)\n    return kappa\n", "SyntaxError"),
    ],
)
def test_check_of_a_file_that_is_wrong(hvae, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    code, out, err = hvae("check", EXERCISE, str(tmp_path / "mine.py"))
    assert code == 1
    assert message in out
    assert not err
    assert "runpy" not in out


def test_mistakes_get_one_line(hvae, tmp_path: Path, solved: Path) -> None:
    for arguments, message in [
        (["show", "ch05.99"], "there is no exercise 'ch05.99'; there are ch"),
        (["check", "ch05.99", str(solved)], "there is no exercise 'ch05.99'"),
        (["check", EXERCISE, str(tmp_path / "nothing.py")], "there is no file"),
        (["list", "--chapter", "77"], "chapter 77 has no exercises"),
        (["check", EXERCISE, str(solved), "--seed", "-1"], "--seed"),
    ]:
        code, out, err = hvae(*arguments)
        assert (code, out) == (2, "")
        assert message in err
        assert err.startswith("hvae: ")


def test_the_solution_asks_once(hvae, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def say(answer: str) -> None:
        monkeypatch.setattr("builtins.input", lambda question: asked.append(question) or answer)

    say("n")
    code, out, _ = hvae("solution", EXERCISE)
    assert (code, len(asked)) == (0, 1)
    assert "Begin with: hvae exercise show" in out
    assert exercises.find(EXERCISE).solution_source in hvae("solution", EXERCISE)[1]  # it does not ask again
    assert len(asked) == 1
    _progress.tried("ch05.2", False)
    assert exercises.find("ch05.2").explanation in hvae("solution", "ch05.2")[1]  # it was tried
    assert len(asked) == 1
    say("y")
    assert exercises.find("ch05.3").solution_source in hvae("solution", "ch05.3")[1]
    assert len(asked) == 2


def test_hints_come_one_by_one(hvae) -> None:
    assert "Hint 2" not in hvae("hint", EXERCISE)[1]
    assert "Hint 2" in hvae("hint", EXERCISE)[1]
