"""Two objectives, or two tensors, have one identity if and only if they are the same: in every process."""

import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hvae_tutorial.checkpoints import fingerprint, identity
from hvae_tutorial.objectives import SemiSupervised, elbo, unlabelled_bound


class Scaled:
    """An objective that says all about itself."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def __repr__(self) -> str:
        return f"Scaled({self.scale})"

    def method(self) -> None:
        """Can be an objective as well."""


@dataclass
class Holder:
    """Its repr is that of what it holds."""

    held: Any


class Silent:
    """Has no repr of its own."""


class Network(nn.Linear):
    """Has weights that its repr does not show."""


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return Network(2, 2)


def local_function() -> Any:
    weight = 3

    def objective() -> int:
        return weight

    return objective


def semi_supervised(value: float) -> SemiSupervised:
    return SemiSupervised(torch.full((2, 3), value), torch.tensor([0, 1]), num_unlabelled=4)


# Each a pair: the first is made twice, and the second is another.
OTHERS = {
    "function": (lambda: elbo, lambda: unlabelled_bound),
    "class": (lambda: Scaled, lambda: Silent),
    "builtin": (lambda: len, lambda: max),
    "partial": (lambda: partial(elbo, beta=0.5), lambda: partial(elbo, beta=0.25)),
    "partial of another": (lambda: partial(elbo, beta=0.5), lambda: partial(unlabelled_bound, beta=0.5)),
    "partial with positions": (lambda: partial(elbo, 1, None, "a"), lambda: partial(elbo, 1, None, "b")),
    "partial with a function": (lambda: partial(elbo, elbo), lambda: partial(elbo, unlabelled_bound)),
    "partial of a partial": (lambda: partial(partial(elbo), "a"), lambda: partial(partial(elbo), "b")),
    "large tensor": (lambda: partial(elbo, torch.zeros(5000)), lambda: partial(elbo, torch.zeros(5000).index_fill(
        0, torch.tensor(2500), 1))),
    "dtype": (lambda: torch.zeros(2), lambda: torch.zeros(2, dtype=torch.int32)),
    "object": (lambda: Scaled(1.0), lambda: Scaled(2.0)),
    "method": (lambda: Scaled(1.0).method, lambda: Scaled(2.0).method),
    "module": (lambda: network(0), lambda: network(1)),
    "dataclass": (lambda: Holder(1), lambda: Holder(2)),
    "semi-supervised": (lambda: semi_supervised(0.0), lambda: semi_supervised(1.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_identity(name):
    make, make_other = OTHERS[name]
    assert identity(make()) == identity(make())
    assert identity(make()) != identity(make_other())
    assert " at 0x" not in identity(make())


def test_identity_does_not_see_the_order_of_keywords():
    assert identity(partial(elbo, a=1, b=2)) == identity(partial(elbo, b=2, a=1)) != identity(partial(elbo, a=2, b=1))


def test_identity_in_words():
    assert identity(elbo) == "hvae_tutorial.objectives.vae.elbo"
    assert identity(partial(elbo, beta=0.5)) == "partial(hvae_tutorial.objectives.vae.elbo, beta=0.5)"


@pytest.mark.parametrize(
    "value",
    [
        lambda model, x, beta: None,
        local_function(),
        partial(local_function()),
        partial(elbo, lambda: None),
        partial(elbo, [local_function()]),
        Silent(),
        Silent().__init__,
        Holder(Silent()),
        Holder(elbo),  # its repr has an address
        Holder(torch.zeros(5000)),  # and this one's leaves out most of it
        Holder(np.zeros(5000)),
        Holder(nn.Parameter(torch.zeros(5000))),
        np.zeros(3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_identity(value):
    with pytest.raises(ValueError, match="objective and stop must be something that the next process can tell"):
        identity(value)


PROGRAM = """
from functools import partial
import torch
from hvae_tutorial.checkpoints import identity
from hvae_tutorial.objectives import elbo
print(identity(partial(elbo, torch.arange(3), beta=0.5)))
"""


def test_identity_is_the_same_in_another_process():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == identity(partial(elbo, torch.arange(3), beta=0.5))


@pytest.mark.parametrize("make", [torch.rand, torch.zeros])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 3)])
def test_fingerprint(make, dtype, shape):
    data: Tensor = make(shape).to(dtype)
    assert fingerprint(data) == fingerprint(data.clone())
    assert fingerprint(data).startswith(f"{shape} with CRC-32 ")
    if data.numel():
        assert fingerprint(data) != fingerprint((data == 0).to(dtype) if dtype is torch.bool else data + 1)
    if data.ndim == 2:
        assert fingerprint(data.T.contiguous().T) == fingerprint(data)
