"""Functions with derivatives of their own, in both directions, that also compile."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch._C._functorch import TransformType, get_interpreter_stack


def differentiable(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    """What to call of an autograd function that has `setup_context`, `backward` and `jvp`.

    - `torch.compile` refuses an autograd function that has a `jvp`: there, a variant without it takes its place.
    - Forward mode within forward mode would be zero without a word, since torch does not differentiate a `jvp` in
      forward mode. It raises a RuntimeError; forward over reverse, as in `torch.func.hessian`, is exact.
    """
    function.generate_vmap_rule = True
    # `apply` works the signature out anew at every call, which takes 60 us: longer than a function of 64 values.
    function.forward.__signature__ = inspect.signature(function.forward)  # type: ignore[attr-defined]
    jvp = function.jvp

    def jvp_once(ctx: Any, *tangents: Any) -> Any:
        transforms = [transform.key() for transform in get_interpreter_stack() or ()]
        if transforms.count(TransformType.Jvp) > 1:
            raise RuntimeError(
                "forward-mode differentiation within forward mode is not implemented: take the inner derivative in "
                "reverse mode, as torch.func.hessian does"
            )
        return jvp(ctx, *tangents)

    function.jvp = staticmethod(jvp_once)  # type: ignore[method-assign]
    compiled: type[torch.autograd.Function]
    compiled = type(function.__name__, (function,), {"jvp": torch.autograd.Function.jvp})

    def call(*arguments: Any) -> Any:
        return (compiled if torch.compiler.is_dynamo_compiling() else function).apply(*arguments)

    return call
