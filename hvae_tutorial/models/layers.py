"""What the networks are built of: their sizes, their linear layers, and the precision of what follows them."""

import math
from collections.abc import Iterable
from numbers import Integral, Real

import torch
from torch import Tensor, nn


def check_integer(name: str, value: int, *, least: int = 1) -> int:
    """Return `value` as a plain `int` if it is an integer >= `least`: Python's or NumPy's, but no boolean.

    Raises:
        ValueError: if it is not; the message begins with `name`.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")
    return int(value)


def check_number(name: str, value: float, *, least: float = -math.inf, above: float = -math.inf) -> float:
    """Return `value` as a plain `float` if it is a finite number >= `least` and > `above`, and no boolean.

    Raises:
        ValueError: if it is not; the message begins with `name`.
    """
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < least or value <= above:
        bound = f" > {above:g}" if above > -math.inf else f" >= {least:g}"
        raise ValueError(f"{name} must be a finite number{bound}, got {value!r}")
    return float(value)


def check_choice(name: str, value: str, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`.

    Raises:
        ValueError: if it is not; the message begins with `name`.
    """
    choices = list(choices)
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def glorot_linear(in_features: int, out_features: int) -> nn.Linear:
    """Return a linear layer with Glorot-uniform weights and zero bias, as the paper's networks start."""
    layer = nn.Linear(in_features, out_features)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def at_least_float32(values: Tensor) -> Tensor:
    """Return `values` in float32 if they are in half precision, as layers under `torch.autocast` leave them."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
