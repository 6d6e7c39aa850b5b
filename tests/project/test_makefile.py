"""The environment is made once, and made anew when it is not whole.

A stand-in for Python notes what it is asked.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
STAND_IN = """#!/bin/sh
echo "$1 $2 $3" >> asked
case "$1 $2" in
    "-m venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    "-m pip") test ! -e no-network ;;
esac
"""
VENV, PIP = "-m venv --clear", "-m pip install"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with what `make env` reads, and the stand-in."""
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt", ".ci"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    (folder / "python3").write_text(STAND_IN)
    (folder / "python3").chmod(0o755)
    return folder


def run(folder: Path, *command: str) -> int:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    environment["PYTHON"] = "./python3"
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False).returncode


def asked(folder: Path) -> list[str]:
    """What Python was asked to do since the last time, checks that it runs left out."""
    path = folder / "asked"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [line for line in lines if line.startswith("-m")]


def test_a_second_call_does_not_reinstall(clone: Path) -> None:
    assert run(clone, "make", "env") == 0
    assert asked(clone) == [VENV, PIP]
    assert run(clone, "make", "env") == 0
    assert asked(clone) == []


def test_changed_requirements_update_what_is_there(clone: Path) -> None:
    assert run(clone, "make", "env") == 0
    stamp = (clone / ".venv" / ".installed").stat().st_mtime
    os.utime(clone / "constraints.txt", (stamp + 10, stamp + 10))
    asked(clone)
    run(clone, "make", "env")
    assert asked(clone) == [PIP]


@pytest.mark.parametrize("made_before", [False, True])
def test_an_interrupted_installation_begins_anew(clone: Path, made_before: bool) -> None:
    if made_before:
        assert run(clone, "make", "env") == 0
        (clone / ".venv" / ".installed").touch()
        later = (clone / ".venv" / ".installed").stat().st_mtime + 10
        os.utime(clone / "pyproject.toml", (later, later))
    (clone / "no-network").touch()
    assert run(clone, "make", "env") != 0
    (clone / "no-network").unlink()
    asked(clone)
    assert run(clone, "make", "env") == 0
    assert asked(clone) == [VENV, PIP]


def test_an_environment_whose_python_is_gone_is_made_anew(clone: Path) -> None:
    assert run(clone, "make", "env") == 0
    (clone / ".venv" / "bin" / "python").unlink()
    asked(clone)
    assert run(clone, "make", "env") == 0
    assert asked(clone) == [VENV, PIP]


def test_a_moved_environment_is_made_anew(clone: Path) -> None:
    """Its scripts and the package in it point to where it was made."""
    assert run(clone, "make", "env") == 0
    asked(clone)
    moved = clone.rename(clone.with_name("moved"))
    assert run(moved, "make", "env") == 0
    assert asked(moved) == [VENV, PIP]


def test_ci_fails_where_the_tests_cannot_run(clone: Path) -> None:
    (clone / "no-network").touch()
    assert run(clone, "bash", ".ci/run") != 0
    (clone / "no-network").unlink()
    assert run(clone, "bash", ".ci/run") != 0  # an environment without ruff, mypy and pytest
