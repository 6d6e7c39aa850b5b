"""Cost of the log-likelihood of 10,000 images by 500 importance samples beside its matrix products."""

import torch
from tabulate import tabulate
from timing import interleaved_medians, machine

from hvae_tutorial.models import mlp_vae
from hvae_tutorial.objectives import iwae_bound

IMAGES, SAMPLES, BLOCK = 10_000, 500, 5_000


def matrix_products(d: int) -> None:
    """The decoder's three products and x . logits for every sample of every image, in blocks."""
    weights = [torch.randn(i, o) for i, o in ((d, 128), (128, 256), (256, 784))]
    inputs = [torch.randn(BLOCK, weight.shape[0]) for weight in weights]
    x, logits = torch.rand(BLOCK // SAMPLES, 1, 784), torch.randn(BLOCK // SAMPLES, 784, SAMPLES)
    for _ in range(IMAGES * SAMPLES // BLOCK):
        for h, weight in zip(inputs, weights, strict=True):
            torch.mm(h, weight)
        torch.bmm(x, logits)


def main() -> None:
    """Print the ratio."""
    rows = []
    for kind, coordinates in (("n", 5), ("s", 6)):
        torch.manual_seed(0)
        model = mlp_vae(kind, 5)
        x = (torch.rand(IMAGES, 784) < 0.13).float()
        functions = {
            "bound": lambda model=model, x=x: iwae_bound(model, x, SAMPLES),
            "products": lambda d=coordinates: matrix_products(d),
        }
        seconds = interleaved_medians(functions, repeats=1, warmup=0)
        rows.append([kind, seconds["bound"], seconds["products"], seconds["bound"] / seconds["products"]])
    print(tabulate(rows, headers=["model", "iwae_bound (s)", "products (s)", "ratio"], floatfmt=".2f"))
    print(machine())


if __name__ == "__main__":
    main()
