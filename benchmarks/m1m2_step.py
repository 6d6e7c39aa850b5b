"""A training step of M1+M2, with its ten classes and its labelled points, beside one of its M1."""

from collections.abc import Callable

import torch
from tabulate import tabulate
from timing import interleaved_medians, machine
from torch import Tensor

from hvae_tutorial import training
from hvae_tutorial.data import binarize
from hvae_tutorial.models import M1M2, VAE, mlp_m1m2, mlp_vae
from hvae_tutorial.objectives import SemiSupervised, elbo

BATCH = 64


def training_step(model: VAE | M1M2, objective: training.Objective, data: Tensor) -> Callable[[], None]:
    """One step of `hvae_tutorial.training.fit`."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    batches = torch.randperm(len(data)).split(BATCH)
    count = 0

    def step() -> None:
        nonlocal count
        x = binarize(data.index_select(0, batches[count % len(batches)]))
        count += 1
        training.training_step(model, x, objective, 1.0, optimizer)

    return step


def main() -> None:
    """Print the ratios."""
    torch.manual_seed(0)
    data = torch.rand(100 * BATCH, 784)
    supervised = SemiSupervised(torch.rand(100, 784), torch.arange(100) % 10, num_unlabelled=len(data))
    rows = []
    for d in (5, 10, 50):
        for kinds in ("nn", "ss", "sn"):
            functions = {
                "m1": training_step(mlp_vae(kinds[0], d), elbo, data),
                "m1m2": training_step(mlp_m1m2(kinds, d, d), supervised, data),
            }
            ms = {name: 1e3 * value for name, value in interleaved_medians(functions, repeats=200, warmup=30).items()}
            rows.append([d, kinds, ms["m1"], ms["m1m2"], ms["m1m2"] / ms["m1"]])
    print(tabulate(rows, headers=["d", "z1, z2", "M1 step (ms)", "M1+M2 step (ms)", "ratio"], floatfmt=".2f"))
    print(machine())


if __name__ == "__main__":
    main()
