"""nbval runs every chapter again and compares outputs: in an empty folder, with the installed wheel, as on Colab."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import notebooks
import pytest


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables with which Python finds the library's wheel, unpacked, and not the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(notebooks.ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder / "site")]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    variables = {**os.environ, "PYTHONPATH": str(folder / "site"), "OMP_NUM_THREADS": "1"}
    variables.pop("HVAE_DATA", None)
    where = [sys.executable, "-c", "import hvae_tutorial; print(hvae_tutorial.__file__)"]
    found = subprocess.run(where, cwd=folder, env=variables, check=True, capture_output=True, text=True).stdout
    assert Path(found.strip()).is_relative_to(folder / "site")
    return variables


def nbval(notebook: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-q",
        notebook.name,
    ]
    return subprocess.run(command, cwd=notebook.parent, env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("source", notebooks.sources(), ids=lambda source: source.stem)
def test_every_output_is_as_stored(source: Path, environment: dict[str, str], tmp_path: Path) -> None:
    copy = tmp_path / "empty" / f"{source.stem}.ipynb"
    copy.parent.mkdir()
    copy.write_bytes(source.with_suffix(".ipynb").read_bytes())
    done = nbval(copy, environment)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]  # a chapter leaves nothing behind


@pytest.mark.parametrize(("stored", "returncode"), [("2\n", 0), ("3\n", 1)])
def test_the_comparison_can_fail(stored: str, returncode: int, environment: dict[str, str], tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    output = nbformat.v4.new_output("stream", name="stdout", text=stored)
    notebook.cells = [nbformat.v4.new_code_cell("print(1 + 1)", outputs=[output], execution_count=1)]
    nbformat.write(notebook, tmp_path / "small.ipynb")
    assert nbval(tmp_path / "small.ipynb", environment).returncode == returncode
