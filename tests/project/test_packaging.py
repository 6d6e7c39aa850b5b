"""What is built holds what the repository tracks, needs what it imports, and is named and pinned alike everywhere."""

import ast
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import hvae_tutorial

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RUNTIME = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = {extra: [Requirement(line) for line in lines] for extra, lines in PROJECT["optional-dependencies"].items()}


def names(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def repository() -> list[str]:
    """The paths of all files that are tracked, or will be: those that git does not ignore."""
    listing = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    paths = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split("\0")
    return [path for path in paths if path and (ROOT / path).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made from the source distribution as for a release, without network."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(out.glob("*.tar.gz"))) == 1
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_holds_the_package_with_its_data_and_nothing_else(wheel: Path, repository: list[str]) -> None:
    package = {path for path in repository if path.startswith("hvae_tutorial/")}
    assert "hvae_tutorial/py.typed" in package
    info = f"hvae_tutorial-{PROJECT['version']}.dist-info"
    metadata = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE", "licenses/THIRD_PARTY.md"}
    assert set(zipfile.ZipFile(wheel).namelist()) == package | {f"{info}/{name}" for name in metadata}


def test_the_source_distribution_holds_all_that_its_tests_need(wheel: Path, repository: list[str]) -> None:
    """`make test` in an unpacked one: whatever git tracks is there, but for what is about git and this checkout."""
    (archive,) = wheel.parent.glob("*.tar.gz")
    root = f"hvae_tutorial-{PROJECT['version']}/"
    with tarfile.open(archive) as file:
        packed = {name.removeprefix(root) for name in file.getnames()}
    apart = {".gitattributes", ".gitignore", ".editorconfig"}
    assert set(repository) - packed <= apart


def test_the_wheel_works_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = "import hvae_tutorial, hvae_tutorial.records as r; print(hvae_tutorial.__file__, len(r.load()))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    records = len(list((ROOT / "hvae_tutorial" / "records_data").glob("*.json")))
    assert done.stdout.split() == [str(tmp_path / "site" / "hvae_tutorial" / "__init__.py"), str(records)]


def test_versions_agree() -> None:
    version = PROJECT["version"]
    assert hvae_tutorial.__version__ == version
    assert re.search(r"^version: (.+)$", read("CITATION.cff"), flags=re.MULTILINE)[1] == version
    released = re.findall(r"^## \[(\d.*?)\] - \d{4}-\d\d-\d\d$", read("CHANGELOG.md"), flags=re.MULTILINE)
    assert released[0] == version


def third_party_imports() -> Iterator[str]:
    """The distributions that the package imports, under the names that pip knows."""
    distributions = packages_distributions()
    for path in (ROOT / "hvae_tutorial").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for top in {module.partition(".")[0] for module in modules}:
                if top not in sys.stdlib_module_names and top != "hvae_tutorial":
                    yield canonicalize_name(distributions.get(top, [top])[0])  # an extra may be missing


def test_the_package_needs_what_it_imports_and_no_more() -> None:
    notebook = {"ipython"}  # imported where a figure is shown in a notebook, which has it
    assert set(third_party_imports()) == names(RUNTIME) | names(EXTRAS["dask"]) | names(EXTRAS["pandas"]) | notebook


def test_the_licence_of_every_dependency_is_named() -> None:
    table = read("THIRD_PARTY.md").partition("## Libraries")[2]
    named = {name for row in re.findall(r"^\| ([^|]+) \|", table, flags=re.MULTILINE) for name in row.split(", ")}
    assert names(RUNTIME) <= named


def test_pins_lie_in_the_ranges_and_cover_what_tests_need() -> None:
    lines = [line for line in read("constraints.txt").splitlines() if line and not line.startswith("#")]
    pins = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    extras = [requirement for extra in ("dask", "pandas", "dev", "docs") for requirement in EXTRAS[extra]]
    required = RUNTIME + [requirement for requirement in extras if requirement.name != PROJECT["name"]]
    assert set(pins) == names(required)
    for requirement in required:
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_hooks_run_the_pinned_ruff() -> None:
    pin = re.search(r"^ruff==(.+)$", read("constraints.txt"), flags=re.MULTILINE)
    hook = re.search(r"ruff-pre-commit\n\s+rev: v(\S+)", read(".pre-commit-config.yaml"))
    assert pin is not None
    assert hook is not None
    assert pin[1] == hook[1]


def public_callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    """The functions of all modules and the methods of their classes, names with an underscore left out."""
    for module_info in pkgutil.walk_packages(hvae_tutorial.__path__, "hvae_tutorial."):
        module = importlib.import_module(module_info.name)
        for name, thing in vars(module).items():
            if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
                continue
            members = vars(thing).items() if inspect.isclass(thing) else [("", thing)]
            for member, value in members:
                function = getattr(value, "fget", None) or getattr(value, "__func__", value)
                own = inspect.isfunction(function) and function.__module__ == module.__name__
                if own and (member == "__init__" or not member.startswith("_")):
                    yield ".".join(filter(None, (module.__name__, name, member))), function


def test_public_names_have_type_hints() -> None:
    checked = 0
    for name, function in public_callables():
        parameters = [p.name for p in inspect.signature(function).parameters.values() if p.name not in {"self", "cls"}]
        missing = {*parameters, "return"} - function.__annotations__.keys()
        assert not missing, f"{name} has no type hint for {missing}"
        checked += 1
    assert checked > 100


def test_no_file_names_a_path_of_one_machine(repository: list[str]) -> None:
    """Home, temporary and working folders belong to whoever typed them."""
    folders = "|".join(["work", "root", "home", "tmp", "opt", "mnt", "Users"])
    pattern = re.compile(rf"(?<![\w.~/-])/(?:{folders})/\w".encode())
    found = {path for path in repository if pattern.search((ROOT / path).read_bytes())}
    assert not found


def test_text_is_read_and_written_as_utf_8_on_every_system() -> None:
    """Without an encoding Python takes that of the system, which on Windows is another."""
    found = [
        f"{path.name}:{node.lineno}"
        for path in (ROOT / "hvae_tutorial").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"read_text", "write_text"}
        and not any(keyword.arg == "encoding" for keyword in node.keywords)
    ]
    assert not found
