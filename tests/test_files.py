"""A file is written whole or not at all: what stood there before stays until the new one is complete."""

import os
from pathlib import Path

import pytest

from hvae_tutorial import files
from hvae_tutorial.files import write_atomically


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.bin"
    write_atomically(path, b"first")
    write_atomically(str(path), b"second")
    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = tmp_path / "file.bin"
    write_atomically(path, b"old")

    def full_disk(*arguments: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, step, full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("refusals", [1, 3])
def test_a_file_that_another_holds_open_is_replaced_when_it_lets_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
    """As on Windows, where a file that is open cannot be replaced."""
    path = tmp_path / "file.bin"
    write_atomically(path, b"old")
    replace = os.replace
    refused: list[tuple[Path, ...]] = []

    def held(*arguments: Path) -> None:
        if len(refused) < refusals:
            refused.append(arguments)
            raise PermissionError("the file is in use")
        replace(*arguments)

    monkeypatch.setattr(os, "replace", held)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert len(refused) == refusals


def test_a_file_that_is_never_let_go_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def held(*arguments: object) -> None:
        raise PermissionError("the file is in use")

    monkeypatch.setattr(os, "replace", held)
    monkeypatch.setattr(files, "WAITS", (0.0, 0.0))
    with pytest.raises(PermissionError, match="in use"):
        write_atomically(tmp_path / "file.bin", b"new")
    assert list(tmp_path.iterdir()) == []


def test_the_file_appears_only_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.bin"
    seen = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (seen.append(path.exists()), fsync(descriptor)))
    write_atomically(path, b"content")
    assert seen == [False]  # still absent when every byte was on the disk under the temporary name
