"""What the README tells people to type works, and its numbers are those of the records."""

import re
import shlex
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch

from hvae_tutorial import records
from hvae_tutorial.cli import app
from hvae_tutorial.experiments import barrier, names, paper
from hvae_tutorial.experiments.results import Cell

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "THIRD_PARTY.md")


def blocks(language: str, document: str = "README.md") -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(document: str = "README.md") -> list[list[str]]:
    """Commands of the shell blocks and of the tables, in words, without comments and variables set for one command."""
    lines = [line for block in blocks("sh", document) for line in block.splitlines()]
    lines += re.findall(r"^\| `(.*?)` \|", (ROOT / document).read_text(encoding="utf-8"), flags=re.MULTILINE)
    words = [shlex.split(line, comments=True) for line in lines]
    return [w[1:] if re.fullmatch(r"[A-Z_]+=\S*", w[0]) else w for w in words if w]


@pytest.fixture(scope="module")
def namespace(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names that are left when all Python of the README has run, from top to bottom, in an empty folder."""
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        patch.chdir(tmp_path_factory.mktemp("readme"))
        torch.manual_seed(0)
        for code in blocks("python"):
            exec(compile(code, "README.md", "exec"), names)
    return names


def test_the_python_runs_and_gives_the_shapes_in_its_comments(namespace: dict[str, Any]) -> None:
    shapes = {
        "loc": (64, 6),
        "concentration": (64,),
        "z": (64, 6),
        "kl": (64,),
        "angles": (64, 64),
        "pictures": (16, 64),
    }
    assert {name: tuple(namespace[name].shape) for name in shapes} == shapes
    assert namespace["loc"].grad_fn is not None
    assert bool((namespace["kl"] > 0).all())


def test_samples_from_pyro_carry_gradients_to_the_encoder(namespace: dict[str, Any]) -> None:
    (gradient,) = torch.autograd.grad(namespace["z"][:, 0].sum(), namespace["direction"].weight)
    assert bool(gradient.isfinite().all())
    assert bool(gradient.any())


def test_every_snippet_of_ten_lines_is_one() -> None:
    statements = [line for line in blocks("python")[0].splitlines() if line]
    assert len(statements) <= 10


def test_a_trailing_axis_is_refused_as_the_migration_table_says(namespace: dict[str, Any]) -> None:
    family, loc, column = namespace["VonMisesFisher"], namespace["loc"], namespace["concentration"].unsqueeze(-1)
    with pytest.raises(ValueError, match=r"write concentration\.squeeze\(-1\)"):
        family(loc, column)
    assert family(loc.unsqueeze(0), column).batch_shape == (64, 64)


def test_the_migration_table_states_our_shapes(namespace: dict[str, Any]) -> None:
    q, uniform = namespace["VonMisesFisher"](torch.eye(3), torch.ones(3)), namespace["HypersphericalUniform"](3)
    assert (q.batch_shape, q.event_shape) == ((3,), (3,))
    assert (uniform.batch_shape, uniform.event_shape) == ((), (3,))
    assert q.log_prob(torch.eye(3)).shape == q.entropy().shape == namespace["kl_divergence"](q, uniform).shape == (3,)
    assert uniform.entropy().shape == ()
    assert q.sample((5,)).shape == q.sample(torch.Size([5])).shape == (5, 3, 3)
    torch.testing.assert_close(q.stddev, q.covariance_matrix.diagonal(dim1=-2, dim2=-1).sqrt())
    with pytest.raises(TypeError, match="int"):
        q.sample(5)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_exist(document: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    text = (ROOT / document).read_text(encoding="utf-8")
    named = {word for command in commands(document) if command[0] == "make" for word in command[1:]}
    named |= {word for words in re.findall(r"`make ([a-z -]+)`", text) for word in words.split()}
    assert named
    assert named <= targets


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_hvae_commands_parse(document: str) -> None:
    parsed = [command for command in commands(document) if command[0].endswith("hvae")]
    assert parsed
    for command in parsed:
        app.parse_args(command[1:], exit_on_error=False, print_error=False)


def test_both_ways_of_running_do_the_same() -> None:
    """The plain commands are those of the Makefile, and CI runs the plain ones as they are printed."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipes = makefile.replace("$(BIN)/", "").replace("$(PYTHON)", "python").replace("$(VENV)", ".venv")
    plain = [" ".join(command) for command in commands() if command[0] in {"hvae", "ruff", "mypy", "python"}]
    shared = [command for command in plain if command.startswith(("ruff", "mypy", "python -m pytest"))]
    shared += [command for command in plain if "--preset quick" in command]
    assert len(shared) == 6
    for command in shared:
        assert re.search(rf"(^|\s){re.escape(command)}(\s|$)", recipes, flags=re.MULTILINE), command

    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    for line in [*blocks("sh")[1].splitlines(), *blocks("sh")[2].splitlines()[3:]]:
        command = line.partition("#")[0].strip().replace("--preset quick", "--preset smoke")
        assert command in workflow, command


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_to_files_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    assert all((ROOT / link).is_file() for link in links), links


def test_the_table_of_mnist_is_that_of_the_records() -> None:
    letters = {"n": "N-VAE", "s": "S-VAE", "ps": "PS-VAE", "c": "C-VAE"}
    found = records.load(experiment="table1", data="mnist", warmup_epochs=100)
    cells: dict[tuple[int, str], list[records.Record]] = defaultdict(list)
    for record in found:
        cells[record.settings["d"], record.settings["model"]].append(record)
    rows = [line for line in README.splitlines() if re.match(r"\| \d+ \| (N|S|PS|C)-VAE \| ", line)]
    assert len(rows) == len(cells)
    for (d, model), runs in cells.items():
        columns = [[run.results[name]["mean"] for run in runs] for name in ("log_likelihood", "log_likelihood_10")]
        columns += [[run.results[name] for run in runs] for name in ("elbo", "reconstruction", "kl")]
        epochs = ", ".join(str(run.training["epochs"]) for run in runs)
        numbers = [str(Cell.of(column, digits=2)) for column in columns]
        assert f"| {' | '.join([str(d), letters[model], str(len(runs)), *numbers, epochs])} |" in rows
    pace = [record.training["seconds_per_epoch"] for record in found]
    assert f"on one core: {min(pace):.0f} to {max(pace):.0f} seconds an epoch" in README


def test_the_run_without_warm_up_has_the_papers_row() -> None:
    (record,) = records.load(experiment="table1", data="mnist", model="n", d=20, warmup_epochs=0)
    found = {name: record.results[name] for name in ("elbo", "reconstruction", "kl")}
    assert "ELBO {elbo:.2f}, RE {reconstruction:.2f} and KL {kl:.2f}: the paper's row".format(**found) in README
    (wide,) = records.load(experiment="table1", data="mnist", model="n", d=40, warmup_epochs=0)
    numbers = [wide.results[name] for name in found] + [paper.TABLE1[40, "n"][name][0] for name in found]
    assert "{:.2f}, {:.2f} and {:.2f}, past the paper's {:.2f}, {:.2f} and {:.2f}.".format(*numbers) in README
    (sphere,) = records.load(experiment="table1", data="mnist", model="s", d=40, warmup_epochs=0)
    numbers = [sphere.results[name] for name in found] + [paper.TABLE1[40, "s"][name][0] for name in found]
    text = " ".join(README.split())
    assert "{:.2f}, {:.2f} and {:.2f} (the paper {:.2f}, {:.2f} and {:.2f}).".format(*numbers) in text
    warm = [records.load(experiment="table1", data="mnist", model=m, d=40, warmup_epochs=100, seed=0)[0] for m in "sn"]
    ahead, behind = (
        100 * (s.results["knn"]["100"]["mean"] - n.results["knn"]["100"]["mean"]) for s, n in (warm, (sphere, wide))
    )
    published = paper.TABLE2[40, "n"][100] - paper.TABLE2[40, "s"][100]
    assert f"better on the sphere by {ahead:.1f} points where both had a warm-up, and worse by {-behind:.1f}" in text
    assert f"where neither had (the paper: worse by {published:.1f})" in text
    for name, value in found.items():
        mean_, deviation = paper.TABLE1[20, "n"][name]
        assert abs(value - mean_) < 2 * deviation * (1 + 1 / 10) ** 0.5, name


def test_the_runs_that_never_start_are_those_of_the_records() -> None:
    stuck: dict[tuple[str, int], list[bool]] = defaultdict(list)
    for run in records.load(experiment="barrier", data="mnist-5k", until="decided", warmup_epochs=50, initial_bias=0.0):
        stuck[run.settings["model"], run.settings["d"]].append(barrier.is_stuck(run))
    at_40, at_60 = (stuck["s-clip", d] for d in (40, 60))
    told = f"{sum(at_40)} of {len(at_40)} S-VAEs with it stay below that at d = 40, "
    told += f"and {sum(at_60)} of {len(at_60)} at d = 60"
    others = {model: stuck[model, 40] + stuck[model, 60] for model in ("s", "s-path")}
    assert {model: len(runs) for model, runs in others.items()} == {"s": 40, "s-path": 40}
    assert not any(map(any, others.values()))
    assert f"{told}; with the exact law none of 40, and none with their gradient alone" in " ".join(README.split())


def test_the_table_of_link_prediction_is_that_of_the_records() -> None:
    cells: dict[tuple[str, str, float], list[Mapping[str, Any]]] = defaultdict(list)
    for record in records.load(experiment="table4"):
        cells[record.settings["data"], record.settings["model"], record.settings["dropout"]].append(record.results)
    assert len(cells) >= 12
    for (data, model, dropout), runs in cells.items():
        numbers = [str(Cell.of([100 * results[name] for results in runs], digits=1)) for name in ("auc", "ap")]
        figures = paper.TABLE4.get((data, model))
        published = [f"{figures[name]:.1f}" if figures else "" for name in ("auc", "ap")]
        row = " | ".join([data, names.vgae(model), f"{dropout:g}", str(len(runs)), *numbers, *published])
        assert f"\n| {row} |".replace("  ", " ") in README, row


def test_dropout_brings_link_prediction_to_the_paper() -> None:
    found = records.load(experiment="table4", dropout=0.5)
    for data in ("cora", "citeseer"):
        for model in "ns":
            runs = [r.results for r in found if (r.settings["data"], r.settings["model"]) == (data, model)]
            assert len(runs) >= 10
            for name in ("auc", "ap"):
                gap = 100 * mean(results[name] for results in runs) - paper.TABLE4[data, model][name]
                assert abs(gap) < 0.6, (data, model, name)


def test_the_accuracies_in_the_text_are_those_of_the_records() -> None:
    text = " ".join(README.split())
    usual = {"experiment": "table3", "scheme": "end-to-end", "warmup_epochs": 100}

    def accuracy(**settings: Any) -> str:
        return f"{Cell.of([100 * r.results['accuracy'] for r in records.load(**usual | settings)], digits=1)}%"

    for beginning, d, alpha, count in (
        ("d = (5, 5), five runs each", 5, 0.1, 5),
        ("with α = 1 in place of 0.1", 5, 1.0, 5),
        ("d = (10, 10), one run each", 10, 0.1, 1),
    ):
        cell = {"data": "mnist-5k", "d": [d, d], "alpha": alpha}
        assert len(records.load(**usual | cell)) == 3 * count
        pairs = (("nn", "N+N"), ("ss", "S+S"), ("sn", "S+N"))
        accuracies = ", ".join(f"{name} {accuracy(model=model, **cell)}" for model, name in pairs)
        assert f"{beginning}: {accuracies}" in text
    nn, ss = (accuracy(data="mnist", model=model, d=[5, 5], alpha=1.0) for model in ("nn", "ss"))
    published = " and ".join(f"{paper.TABLE3[(5, 5), model]:.1f}" for model in ("nn", "ss"))
    assert f"On all of MNIST with α = 1, one run each: N+N {nn}, S+S {ss} (the paper: {published})" in text
    for model, d, name in (("n", 2, "R²"), ("s", 2, "S²"), ("s", 1, "as many coordinates as R²,")):
        found = records.load(experiment="table1", data="mnist-5k", model=model, d=d)
        assert len(found) == 3
        mean = sum(100 * record.results["knn"]["100"]["mean"] for record in found) / 3
        assert f"{name} {mean:.1f}%" in text
