"""Cost of 200,000 samples beside drawing and normalising as many Gaussian vectors; peers in the same run."""

import numpy as np
import torch
from power_spherical import PowerSpherical as PeerPowerSpherical
from scipy.stats import vonmises_fisher
from tabulate import tabulate
from timing import interleaved_medians, machine

from hvae_tutorial.distributions import PowerSpherical, VonMisesFisher
from hvae_tutorial.distributions._sampling import _envelope, _in_rounds

SAMPLES = 200_000
CASES = ((2, 10.0), (3, 10.0), (5, 10.0), (10, 50.0), (20, 100.0), (41, 100.0))


def normalised_gaussians(m: int) -> torch.Tensor:
    """The floor: uniform points of the sphere."""
    gaussian = torch.randn(SAMPLES, m)
    return gaussian / torch.linalg.vector_norm(gaussian, dim=-1, keepdim=True)


def main() -> None:
    """Print the ratios, and the rounds of rejection."""
    torch.manual_seed(0)
    rows = []
    for m, kappa in CASES:
        loc = torch.nn.functional.normalize(torch.randn(m), dim=0)
        ours, power = VonMisesFisher(loc, kappa), PowerSpherical(loc, kappa)
        scipy_law = vonmises_fisher(loc.double().numpy() / np.linalg.norm(loc.double().numpy()), kappa)
        peer = PeerPowerSpherical(loc, torch.tensor(kappa))
        functions = {
            "floor": lambda m=m: normalised_gaussians(m),
            "vMF": lambda ours=ours: ours.sample((SAMPLES,)),
            "Power Spherical": lambda power=power: power.sample((SAMPLES,)),
            "SciPy": lambda law=scipy_law: law.rvs(SAMPLES),
            "power_spherical": lambda peer=peer: peer.sample((SAMPLES,)),
        }
        seconds = interleaved_medians(functions, repeats=7, warmup=1)
        ratios = [seconds[name] / seconds["floor"] for name in list(functions)[1:]]
        rounds = [_in_rounds(*_envelope(torch.full((n,), kappa), m), m)[1] if m != 3 else 0 for n in (64, SAMPLES)]
        rows.append([m, kappa, 1e3 * seconds["floor"], *ratios, *rounds])
    headers = ["m", "kappa", "floor (ms)", "vMF", "our PS", "SciPy vMF", "PyPI PS", "rounds (64)", "rounds (200,000)"]
    print(tabulate(rows, headers=headers, floatfmt=("", ".0f", ".1f", ".2f", ".2f", ".2f", ".2f", "", "")))
    print(machine())


if __name__ == "__main__":
    main()
