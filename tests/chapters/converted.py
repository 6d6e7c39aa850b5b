"""The chapters that keep to the three kinds of cells, and whose prose follows their output."""

import notebooks

# Not yet rewritten so.
UNCONVERTED: set[str] = {source.stem for source in notebooks.sources()} - {
    "00_welcome",
    "01_why_a_sphere",
    "02_von_mises_fisher",
    "09_unsupervised",
    "10_semi_supervised_m1",
}
CONVERTED = [source for source in notebooks.sources() if source.stem not in UNCONVERTED]
