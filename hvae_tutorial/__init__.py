"""Hyperspherical Variational Auto-Encoders from the first formula to the last table."""

from importlib.metadata import version

__version__ = version("hvae-tutorial")
