"""Chapter k uses of the library only what the chapters up to k have built."""

import ast

import jupytext
import notebooks
import pytest

# What each chapter builds by hand, and then imports: names by module, and methods by name. Later chapters may use it.
BUILT: dict[int, dict[str, set[str]]] = {
    2: {
        "hvae_tutorial.sphere": {"geodesic_distance", "hammer_projection", "log_surface_area"},
        "hvae_tutorial.special": {
            "concentration_from_mean_resultant_length",
            "log_partition",
            "mean_resultant_length",
        },
        "hvae_tutorial.distributions": {"VonMisesFisher"},
    },
    3: {"hvae_tutorial.special": {"mean_resultant_length_complement"}},
    4: {
        "hvae_tutorial.sphere": {"project_to_tangent"},
        "hvae_tutorial.distributions": {"HypersphericalUniform", "SphericalCauchy"},
        "methods": {"sample"},
    },
    5: {
        "hvae_tutorial.special": {"mean_resultant_length_derivative"},
        "methods": {"rsample"},
    },
    6: {
        "hvae_tutorial.special": {"kl_to_uniform"},
        "torch.distributions": {"kl_divergence"},
        "methods": {"entropy"},
    },
    7: {
        "hvae_tutorial.models": {"VAE", "BernoulliLikelihood", "GaussianPosterior", "mlp_vae"},
        "hvae_tutorial.objectives": {"elbo", "iwae_bound"},
        "hvae_tutorial.training": {"TrainingSettings", "fit"},
        "hvae_tutorial.data": {"binarize"},
    },
    8: {
        "hvae_tutorial.distributions": {"PowerSpherical"},
        "hvae_tutorial.models": {"GaussianLikelihood", "PowerSphericalPosterior", "VonMisesFisherPosterior"},
    },
    9: {
        "hvae_tutorial.experiments": {
            "barrier",
            "figure1",
            "names",
            "paper",
            "protocol",
            "results",
            "sweep",
            "table1",
            "table2",
        },
        "hvae_tutorial.experiments.execute": {"*"},
        "hvae_tutorial.experiments.foils": {"*"},
        "hvae_tutorial.experiments.knn": {"*"},
        "hvae_tutorial.experiments.protocol": {"*"},
        "hvae_tutorial.experiments.registry": {"*"},
        "hvae_tutorial.experiments.results": {"*"},
    },
    10: {"hvae_tutorial.data": {"balanced_indices"}},
    11: {
        "hvae_tutorial.models": {"LatentLikelihood", "StackedM1M2", "mlp_m1m2", "mlp_m2"},
        "hvae_tutorial.objectives": {"SemiSupervised", "labelled_bound", "unlabelled_bound"},
        "hvae_tutorial.experiments": {"table3"},
    },
    12: {
        "hvae_tutorial.models": {"VGAE", "InnerProductDecoder", "gcn_vgae", "normalized_adjacency"},
        "hvae_tutorial.objectives": {"all_pairs", "graph_elbo", "uniform_pairs"},
        "hvae_tutorial.experiments": {"table4"},
    },
    13: {
        "hvae_tutorial.distributions": {"Product"},
        "hvae_tutorial.models": {"ProductPosterior", "mlp_product_vae"},
        "hvae_tutorial.experiments": {"products"},
    },
}
ALWAYS = {"hvae_tutorial.data", "hvae_tutorial.plotting", "hvae_tutorial.records"}
GUARDED_METHODS = {name for chapter in BUILT.values() for name in chapter.get("methods", set())}
# Names of modules that are otherwise free: what a chapter builds by hand, and torch's own with our formulas behind it.
GUARDED_NAMES = {
    ("torch.distributions", "kl_divergence"),
    ("hvae_tutorial.data", "binarize"),
    ("hvae_tutorial.data", "balanced_indices"),
}


def allowed(chapter: int) -> dict[str, set[str]]:
    names: dict[str, set[str]] = {}
    for number, modules in BUILT.items():
        if number <= chapter:
            for module, built in modules.items():
                names.setdefault(module, set()).update(built)
    return names


def too_early(code: str, chapter: int) -> list[str]:
    """What the code of a chapter takes from the library that has not been built yet."""
    built = allowed(chapter)
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith("hvae_tutorial")]
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                named = (node.module, alias.name) in GUARDED_NAMES
                free = node.module in ALWAYS or whole in ALWAYS or not node.module.startswith("hvae_tutorial")
                if (named or not free) and not {alias.name, "*"} & built.get(node.module, set()):
                    found.append(whole)
        elif isinstance(node, ast.Attribute) and node.attr in GUARDED_METHODS - built.get("methods", set()):
            found.append(f".{node.attr}")
    return found


@pytest.mark.parametrize("source", notebooks.sources(), ids=lambda source: source.stem)
def test_only_what_is_built(source) -> None:
    number = int(source.stem[:2])
    if number < 2:
        return  # they show where the road leads
    code = "\n".join(cell.source for cell in jupytext.read(source).cells if cell.cell_type == "code")
    assert not too_early(code, number)


@pytest.mark.parametrize(
    ("code", "chapter", "early"),
    [
        ("from hvae_tutorial.special import kl_to_uniform", 5, ["hvae_tutorial.special.kl_to_uniform"]),
        ("from hvae_tutorial.special import kl_to_uniform", 6, []),
        ("import hvae_tutorial.models", 9, ["hvae_tutorial.models"]),
        ("from hvae_tutorial import special", 9, ["hvae_tutorial.special"]),
        ("from hvae_tutorial import data, plotting, records", 2, []),
        ("from hvae_tutorial.data import load", 2, []),
        ("from hvae_tutorial.data import binarize, load", 6, ["hvae_tutorial.data.binarize"]),
        ("from hvae_tutorial.data import binarize, load", 7, []),
        ("law.rsample((3,))", 4, [".rsample"]),
        ("law.rsample((3,))", 5, []),
        ("from torch.distributions import Normal, kl_divergence", 5, ["torch.distributions.kl_divergence"]),
    ],
)
def test_the_check_can_fail(code: str, chapter: int, early: list[str]) -> None:
    assert too_early(code, chapter) == early
