"""Objectives: plain functions of a model and a batch, for VAEs, for models with classes, and for graphs."""

from hvae_tutorial.objectives.classes import bound_of_class, bound_over_classes, labelled_bound, unlabelled_bound
from hvae_tutorial.objectives.graph import all_pairs, graph_elbo, held_out_elbo, terms_of_pairs, uniform_pairs
from hvae_tutorial.objectives.semi_supervised import SemiSupervised
from hvae_tutorial.objectives.vae import ElboTerms, elbo, iwae_bound

__all__ = [
    "ElboTerms",
    "SemiSupervised",
    "all_pairs",
    "bound_of_class",
    "bound_over_classes",
    "elbo",
    "graph_elbo",
    "held_out_elbo",
    "iwae_bound",
    "labelled_bound",
    "terms_of_pairs",
    "uniform_pairs",
    "unlabelled_bound",
]
