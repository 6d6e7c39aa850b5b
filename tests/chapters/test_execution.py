"""nbval runs every chapter again and compares outputs: in an empty folder, with the installed wheel, as on Colab.

Of a figure it compares caption and description, not the drawing: a sum in another order moves a point by a tenth.
"""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import notebooks
import pytest
from nbformat.v4 import new_output


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
        "--nbval-sanitize-with",
        str(Path(__file__).with_name("drawings.cfg")),
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


SMALL = new_output("stream", name="stdout", text="2\n")
DRAWN = new_output("display_data", {"image/svg+xml": "<svg>1</svg>", "text/plain": "alt 2"})


@pytest.mark.parametrize(
    ("code", "stored", "returncode"),
    [
        ("print(1 + 1)", SMALL, 0),
        ("print(1 + 2)", SMALL, 1),
        ("show('<svg>1</svg>', 'alt 2')", DRAWN, 0),
        ("show('<svg>\\n3</svg>', 'alt 2')", DRAWN, 0),
        ("show('<svg>1</svg>', 'alt 3')", DRAWN, 1),
        ("print('alt 2')", DRAWN, 1),
    ],
)
def test_the_comparison_can_fail(
    code: str, stored: nbformat.NotebookNode, returncode: int, environment: dict[str, str], tmp_path: Path
) -> None:
    define = "def show(svg, alt): display({'image/svg+xml': svg, 'text/plain': alt}, raw=True)"
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    notebook.cells = [
        nbformat.v4.new_code_cell(define, execution_count=1),
        nbformat.v4.new_code_cell(code, outputs=[stored], execution_count=2),
    ]
    nbformat.write(notebook, tmp_path / "small.ipynb")
    assert nbval(tmp_path / "small.ipynb", environment).returncode == returncode
