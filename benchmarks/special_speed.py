"""Cost of the special functions: for a batch beside a training step, for a million values beside SciPy."""

import torch
from scipy.special import ive
from tabulate import tabulate
from timing import interleaved_medians, machine
from training_step import training_step

from hvae_tutorial import special


def main() -> None:
    """Print the ratios."""
    torch.manual_seed(0)
    rows = []
    for d in (5, 10, 40):
        kappa = (50 * torch.rand(64) + 1).requires_grad_()

        def values_and_gradients(kappa: torch.Tensor = kappa, m: int = d + 1) -> None:
            (special.log_partition(kappa, m) + special.mean_resultant_length(kappa, m)).sum().backward()

        functions = {"special": values_and_gradients, "step": training_step("n", d)}
        seconds = interleaved_medians(functions, repeats=200, warmup=20)
        rows.append([d + 1, seconds["special"] * 1e6, seconds["step"] * 1e6, seconds["special"] / seconds["step"]])
    headers = ["m", "phi and A, 64 values (us)", "N-VAE step (us)", "ratio"]
    print(tabulate(rows, headers=headers, floatfmt=("", ".0f", ".0f", ".3f")))
    print()

    rows = []
    for m in (2, 3, 6, 11, 41, 128):
        kappa = 100 * torch.rand(1_000_000, dtype=torch.float64)
        array = kappa.numpy()
        functions = {
            "special": lambda kappa=kappa, m=m: special.log_partition(kappa, m),
            "scipy": lambda array=array, m=m: (ive(m / 2 - 1, array), ive(m / 2, array)),
        }
        seconds = interleaved_medians(functions, repeats=5, warmup=1)
        rows.append([m, seconds["special"], seconds["scipy"], seconds["special"] / seconds["scipy"]])
    print(tabulate(rows, headers=["m", "phi and A, 1e6 values (s)", "SciPy ive twice (s)", "ratio"], floatfmt=".3f"))
    print(machine())


if __name__ == "__main__":
    main()
