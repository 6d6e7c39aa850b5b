"""Adam against torch's."""

import pytest
import torch
from torch import nn

from hvae_tutorial.adam import Adam


def network(dtype: torch.dtype, device: str = "cpu") -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(7, 300), nn.ReLU(), nn.Linear(300, 5), nn.Linear(5, 1)).to(device, dtype)


def set_gradients(model: nn.Module, step: int) -> None:
    """Gradients, but none for a layer that is used in every other step, and none ever for another."""
    generator = torch.Generator().manual_seed(step)
    for name, parameter in model.named_parameters():
        gradient = torch.randn(parameter.shape, generator=generator).to(parameter)
        parameter.grad = None if name.startswith("3") or (name.startswith("2") and step % 2) else gradient


CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_are_torchs_to_the_last_bit(dtype, device):
    ours, theirs = network(dtype, device), network(dtype, device)
    optimizer, expected = Adam(ours.parameters(), 0.01), torch.optim.Adam(theirs.parameters(), lr=0.01, fused=True)
    for step in range(20):
        set_gradients(ours, step)
        set_gradients(theirs, step)
        optimizer.step()
        expected.step()
    for (name, own), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(own, other), name
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in ours.parameters())


@pytest.mark.parametrize("device", DEVICES)
def test_going_on_from_a_state(device):
    whole, parts = network(torch.float32, device), network(torch.float32, device)
    optimizer = Adam(whole.parameters(), 0.01)
    for step in range(8):
        set_gradients(whole, step)
        optimizer.step()
    first = Adam(parts.parameters(), 0.01)
    for step in range(5):
        set_gradients(parts, step)
        first.step()
    state = {name: [tensor.cpu().clone() for tensor in tensors] for name, tensors in first.state_dict().items()}
    second = Adam(parts.parameters(), 0.01)
    second.load_state_dict(state)
    for step in range(5, 8):
        set_gradients(parts, step)
        second.step()
    for own, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(own, other)


def test_the_formula():
    """Algorithm 1 of Kingma and Ba (2015), in float64."""
    parameter = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = Adam([parameter], 0.1)
    value, mean, square = parameter.detach().clone(), torch.zeros(2).double(), torch.zeros(2).double()
    for t in range(1, 6):
        gradient = torch.tensor([0.5 * t, -(2.0**t)], dtype=torch.float64)
        parameter.grad = gradient.clone()
        optimizer.step()
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        value = value - 0.1 * (mean / (1 - 0.9**t)) / ((square / (1 - 0.999**t)).sqrt() + 1e-8)
        torch.testing.assert_close(parameter.detach(), value, rtol=1e-12, atol=0)
