"""What the hand-written pages say is so."""

import inspect
import re
import shlex
from pathlib import Path

import notebooks
import pytest

from hvae_tutorial import (
    data,
    distributions,
    models,
    objectives,
    plotting,
    records,
    special,
    sphere,
    training,
)
from hvae_tutorial.cli import app
from hvae_tutorial.experiments.registry import EXPERIMENTS

DOCS = Path(__file__).parents[2] / "docs"


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", text("reproduce.md"), flags=re.MULTILINE | re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def own_functions(module) -> set[str]:
    """The public functions that a module defines."""
    functions = inspect.getmembers(module, inspect.isfunction)
    return {name for name, f in functions if f.__module__ == module.__name__ and not name.startswith("_")}


def test_the_commands_that_reproduce_exist() -> None:
    makefile = (DOCS.parent / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    made = {command[1] for command in commands() if command[0] == "make"}
    assert {"course", "site", "chapters", "reproduce"} <= made <= targets
    experiments = [command[1:] for command in commands() if command[0] == "hvae"]
    assert len(experiments) >= 3
    for command in experiments:
        app.parse_args(command, exit_on_error=False, print_error=False)


def documented() -> list[tuple[str, dict]]:
    """What the commands on the page train: experiment, and settings without the seed."""
    found = []
    for command in commands():
        if command[:2] == ["hvae", "reproduce"] and command[2] != "all":
            _, bound, _ = app.parse_args(command[1:], exit_on_error=False, print_error=False)
            experiment = EXPERIMENTS[command[2]]
            found += [(run.experiment, run.settings) for run in experiment.runs(bound.arguments["options"])]
    return [(name, {key: value for key, value in settings.items() if key != "seed"}) for name, settings in found]


def test_each_record_has_a_command_that_makes_it_again() -> None:
    known = documented()
    lacking = {
        record.name
        for record in records.load()
        if (record.experiment, {key: v for key, v in record.settings.items() if key != "seed"}) not in known
    }
    assert not lacking


def test_the_plain_commands_are_those_of_the_makefile() -> None:
    makefile = (DOCS.parent / "Makefile").read_text(encoding="utf-8")
    plain = text("reproduce.md").partition("## Without make")[2]
    for command in ("python tools/notebooks.py", "mkdocs build --strict"):
        assert f"\n{command}\n" in plain
        assert f"$(BIN)/{command}" in makefile


def test_the_names_in_the_notation_are_those_of_the_code() -> None:
    public = {name for module in (distributions, models, objectives, special, sphere) for name in module.__all__}
    called = set(re.findall(r"`(\w+)\(", text("notation.md")))
    assert len(called) >= 9
    assert called <= public
    assert set(special.__all__) | {"log_surface_area", "elbo", "iwae_bound"} <= called


@pytest.mark.parametrize(
    ("page", "module"),
    [
        ("special", special),
        ("special", sphere),
        ("distributions", distributions),
        ("models", models),
        ("training", objectives),
    ],
)
def test_the_library_s_pages_show_all_that_is_public(page: str, module) -> None:
    shown = text(f"api/{page}.md")
    missing = [name for name in module.__all__ if not re.search(rf"\b{name}\b", shown)]
    assert not missing


@pytest.mark.parametrize(
    ("page", "module"),
    [
        ("data", data),
        ("experiments", records),
        ("plotting", plotting),
        ("training", training),
    ],
)
def test_every_public_function_has_a_place(page: str, module) -> None:
    names = {name for name in getattr(module, "__all__", ()) if inspect.isfunction(getattr(module, name))}
    names = (names or own_functions(module)) - {"record_name", "settings_key"}  # the records' own business
    assert names
    assert not {name for name in names if not re.search(rf"\b{name}\b", text(f"api/{page}.md"))}


def test_the_citation_has_the_version() -> None:
    version = notebooks.project()["version"]
    assert f"version = {{{version}}}" in text("cite.md")
    root = DOCS.parent
    (date,) = re.findall(rf"^## \[{version}\] - ([\d-]+)$", (root / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert f'date-released: "{date}"' in (root / "CITATION.cff").read_text(encoding="utf-8")
    assert f"year    = {{{date[:4]}}}" in text("cite.md")


def test_what_is_others_comes_with_its_licence() -> None:
    named = (DOCS.parent / "THIRD_PARTY.md").read_text(encoding="utf-8")
    for path, name, terms in (
        ("../tools/temml/LICENSE", "Temml", "Permission is hereby granted"),
        ("assets/iframe-worker/LICENSE", "iframe-worker", "Permission is hereby granted"),
        ("assets/math/GUST-FONT-LICENSE.txt", "Latin Modern Math", "LaTeX Project Public License"),
    ):
        assert terms in text(path)
        assert name in named
    fonts = set(re.findall(r'url\("([^"]+)"\)', text("assets/math/math.css")))
    assert fonts == {path.name for path in (DOCS / "assets" / "math").glob("*.woff2")}
