"""Adam (Kingma and Ba 2015) for small models."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam


class Adam:
    """What `torch.optim.Adam(fused=True)` does, to the last bit, without its bookkeeping.

    For the paper's network on the CPU, torch's optimizer spends as long on finding out what to do as on doing it:
    1.0 ms of a step's 6.7 ms, against 0.65 ms here. The numbers are computed by the same function of torch.

    Args:
        parameters: what is trained; in a step, those without a gradient stay as they are.
        learning_rate: > 0.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
        self.parameters = list(parameters)
        self.learning_rate = learning_rate
        self.means = [torch.zeros_like(parameter) for parameter in self.parameters]  # of gradients
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]  # means of squared gradients
        self.steps = [torch.zeros((), device=parameter.device) for parameter in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        used = [index for index, parameter in enumerate(self.parameters) if parameter.grad is not None]
        adam(
            [self.parameters[index] for index in used],
            [self.parameters[index].grad for index in used],  # type: ignore[misc]
            [self.means[index] for index in used],
            [self.squares[index] for index in used],
            [],
            [self.steps[index] for index in used],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.learning_rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, list[Tensor]]:
        """Return all that steps to come depend on, but the parameters."""
        return {"means": self.means, "squares": self.squares, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        for name, tensors in self.state_dict().items():
            for own, saved in zip(tensors, state[name], strict=True):
                own.copy_(saved)
