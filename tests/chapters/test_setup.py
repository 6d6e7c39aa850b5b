"""The first cell of a notebook finds the library wherever a reader may have it, and otherwise says where to get it."""

import os
import site
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import nbformat
import notebooks
import pytest
from serving import serving

LIBRARY = "__version__ = '1'\n"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with all that is installed here but the library."""
    folder = tmp_path_factory.mktemp("environment")
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    (own,) = folder.glob("lib/python*/site-packages")
    for installed in map(Path, site.getsitepackages()):
        for path in installed.iterdir():
            if "hvae_tutorial" not in path.name and not (own / path.name).exists():
                (own / path.name).symlink_to(path)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel with the library's name, and next to nothing in it."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    (source / "hvae_tutorial").mkdir()
    (source / "hvae_tutorial" / "__init__.py").write_text(LIBRARY)
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        f'[project]\nname = "hvae-tutorial"\nversion = "{notebooks.project()["version"]}"\n'
        'requires-python = ">=3.11"\n'
    )
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(built), str(source)]
    subprocess.run(command, check=True, capture_output=True, cwd=built)
    return built / notebooks.wheel_name()


@pytest.fixture
def served(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a site that has the wheel."""
    root = tmp_path_factory.mktemp("site")
    (root / "chapters").mkdir()
    (root / "chapters" / wheel.name).write_bytes(wheel.read_bytes())

    with serving(root) as address:
        yield address


def run(python: Path, folder: Path, address: str = "") -> subprocess.CompletedProcess[str]:
    """Run the first cell up to PyTorch in a folder, without a network, and print where the library is."""
    cell, torch, _ = notebooks.SETUP.format(wheel=notebooks.wheel_name(), site=address).partition("import torch")
    assert torch
    cell += "\nimport hvae_tutorial\nprint(hvae_tutorial.__file__)"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_", "VIRTUAL_ENV"))}
    environment |= {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    return subprocess.run([python, "-c", cell], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def installed(python: Path) -> Iterator[None]:
    """Remove the library after a test that installs it."""
    yield
    subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", "hvae-tutorial"], capture_output=True)


def test_without_the_library_the_cell_says_where_to_get_it(python: Path, tmp_path: Path) -> None:
    for address, where in {
        "": "the button Library",
        "https://example.invalid": "https://example.invalid/chapters/",
    }.items():
        done = run(python, tmp_path, address)
        assert done.returncode == 1
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith(f"ModuleNotFoundError: hvae_tutorial is missing: get {notebooks.wheel_name()} ")
        assert where in last
        assert not done.stdout


def test_a_library_that_is_installed_is_used(python: Path, wheel: Path, tmp_path: Path, installed) -> None:
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-index", wheel], check=True, capture_output=True)
    done = run(python, tmp_path, "https://example.invalid")
    assert done.returncode == 0, done.stderr
    assert "site-packages/hvae_tutorial/__init__.py" in done.stdout


@pytest.mark.parametrize("place", ["chapters", "chapters/student"])
def test_a_library_in_a_folder_above_is_used(python: Path, tmp_path: Path, place: str) -> None:
    clone = tmp_path / "hvae_tutorial"  # as git clone names it: a folder of the same name, which is no package
    (clone / "hvae_tutorial").mkdir(parents=True)
    (clone / "hvae_tutorial" / "__init__.py").write_text(LIBRARY)
    (clone / place).mkdir(parents=True)
    done = run(python, clone / place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{clone}/hvae_tutorial/__init__.py\n")


def test_a_wheel_beside_the_notebook_is_installed(python: Path, wheel: Path, tmp_path: Path, installed) -> None:
    (tmp_path / wheel.name).write_bytes(wheel.read_bytes())
    done = run(python, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "site-packages/hvae_tutorial/__init__.py" in done.stdout


def test_a_wheel_on_the_site_is_installed(python: Path, served: str, tmp_path: Path, installed) -> None:
    done = run(python, tmp_path, served)
    assert done.returncode == 0, done.stderr
    assert "site-packages/hvae_tutorial/__init__.py" in done.stdout


@pytest.mark.parametrize("source", notebooks.sources(), ids=lambda path: path.stem)
def test_every_notebook_begins_with_this_cell(source: Path) -> None:
    cell = notebooks.SETUP.format(wheel=notebooks.wheel_name(), site=notebooks.addresses()[1])
    made = [path for path in (source.with_suffix(".ipynb"), notebooks.student_path(source)) if path.exists()]
    assert all(nbformat.read(path, as_version=4).cells[0].source == cell for path in made)
