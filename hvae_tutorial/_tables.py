"""Tables of numbers that depend on integers alone, as tensors that are made once and work in every mode of torch."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch
from torch import Tensor


class _Kept:
    """Holds the tensors, one an attribute: `torch.compile` takes an attribute for an input of its graph.

    A result of `torch.compiler.assume_constant_result` would do for one table a graph; two of them get the same name
    (seen in torch 2.13).
    """


_KEPT = _Kept()


def table(make: Callable[..., Any], *key: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`make(*key)`, an array, as a tensor: made at the first call for each key, dtype and device, then kept.

    Under fake tensors (`torch.export`, memory estimates) it is made anew at each call and not kept: there a tensor has
    no numbers.
    """
    if torch.compiler.is_dynamo_compiling():
        return getattr(_KEPT, _name(make, key, dtype, device))
    if type(torch.empty(0)) is not Tensor:  # a mode in which tensors are fake
        return torch.tensor(make(*key).tolist(), dtype=dtype, device=device)
    return getattr(_KEPT, _keep(make, key, dtype, device))


@torch.compiler.assume_constant_result
def _name(make: Callable[..., Any], key: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> str:
    return _keep(make, key, dtype, device)


@cache
def _keep(make: Callable[..., Any], key: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> str:
    """Make the tensor and return the attribute that holds it."""
    name = "_".join(map(str, (make.__name__, *key, dtype, device))).replace(".", "_").replace(":", "_")

    def keep() -> None:
        setattr(_KEPT, name, torch.tensor(make(*key), dtype=dtype, device=device))

    # In a thread of its own no mode of the caller's (inference, fake tensors, a transform) leaves its mark on a tensor
    # that others will use.
    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(keep).result()
    return name
