"""The chapters that keep to the three kinds of cells, and whose prose follows their output."""

import notebooks

# Not yet rewritten so.
UNCONVERTED: set[str] = {source.stem for source in notebooks.sources()} - {
    "07_n_vae",
    "08_s_vae",
    "09_unsupervised",
    "10_semi_supervised_m1",
}
CONVERTED = [source for source in notebooks.sources() if source.stem not in UNCONVERTED]
