"""The chapters that keep to the three kinds of cells, and whose prose follows their output."""

import notebooks

# Not yet rewritten so.
UNCONVERTED: set[str] = set()
CONVERTED = [source for source in notebooks.sources() if source.stem not in UNCONVERTED]
