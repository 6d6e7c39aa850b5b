"""A training step of S-VAE beside one of N-VAE, and of N-VAE beside its matrix products."""

from collections.abc import Callable

import torch
from tabulate import tabulate
from timing import interleaved_medians, machine

from hvae_tutorial import training
from hvae_tutorial.data import binarize
from hvae_tutorial.models import mlp_vae
from hvae_tutorial.objectives import elbo

BATCH = 64


def training_step(kind: str, d: int) -> Callable[[], None]:
    """One step of `hvae_tutorial.training.fit`: a batch by index, binarisation, ELBO, gradients, Adam."""
    torch.manual_seed(0)
    model = mlp_vae(kind, d)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    data = torch.rand(100 * BATCH, 784)
    batches = torch.randperm(len(data)).split(BATCH)
    count = 0

    def step() -> None:
        nonlocal count
        x = binarize(data.index_select(0, batches[count % len(batches)]))
        count += 1
        training.training_step(model, x, elbo, 1.0, optimizer)

    return step


def matrix_products(d: int) -> Callable[[], None]:
    """The products of N-VAE's linear layers: forward, for the weights, and (but for the first layer) for the input."""
    torch.manual_seed(0)
    sizes = [(784, 256), (256, 128), (128, d), (128, d), (d, 128), (128, 256), (256, 784)]
    layers = [(torch.randn(BATCH, i), torch.randn(i, o), torch.randn(BATCH, o)) for i, o in sizes]

    def products() -> None:
        for index, (x, weight, grad) in enumerate(layers):
            torch.mm(x, weight)
            torch.mm(x.t(), grad)
            if index:
                torch.mm(grad, weight.t())

    return products


def main() -> None:
    """Print the ratios."""
    rows = []
    for d in (5, 10, 40):
        functions = {"n": training_step("n", d), "s": training_step("s", d), "products": matrix_products(d)}
        ms = {name: 1e3 * value for name, value in interleaved_medians(functions, repeats=300, warmup=30).items()}
        rows.append([d, ms["products"], ms["n"], ms["s"], ms["n"] / ms["products"], ms["s"] / ms["n"]])
    headers = ["d", "products (ms)", "N-VAE step (ms)", "S-VAE step (ms)", "N / products", "S / N"]
    print(tabulate(rows, headers=headers, floatfmt=".2f"))
    print(machine())


if __name__ == "__main__":
    main()
