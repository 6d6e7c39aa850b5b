"""On a GPU: training steps eager, compiled and as CUDA graphs; samples beside normalised Gaussians; waits.

python benchmarks/gpu.py            # or --device cpu, for a look at what it prints
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial

import torch
from tabulate import tabulate
from timing import machine
from torch import Tensor

from hvae_tutorial import training
from hvae_tutorial.data import binarize
from hvae_tutorial.distributions import PowerSpherical, VonMisesFisher, _sampling
from hvae_tutorial.models import mlp_vae
from hvae_tutorial.objectives import elbo

BATCH, SAMPLES = 64, 200_000
CASES = ((2, 10.0), (3, 10.0), (5, 10.0), (10, 50.0), (20, 100.0), (41, 100.0))


def medians(functions: Mapping[str, Callable[[], object]], device: torch.device, repeats: int) -> dict[str, float]:
    """Median milliseconds of each function, called in turn, the device waited for before and after."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    times: dict[str, list[float]] = {name: [] for name in functions}
    for repeat in range(-3, repeats):
        for name, function in functions.items():
            wait()
            started = time.perf_counter()
            function()
            wait()
            if repeat >= 0:
                times[name].append(1e3 * (time.perf_counter() - started))
    return {name: statistics.median(values) for name, values in times.items()}


def steps(
    kind: str, d: int, device: torch.device, objective: training.Objective, count: int = 20
) -> Callable[[], None]:
    """`count` steps of `fit` on batches that lie on the device."""
    torch.manual_seed(0)
    model = mlp_vae(kind, d).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    data = torch.rand(100 * BATCH, 784, device=device)

    def run() -> None:
        for index in range(count):
            x = binarize(data[index * BATCH : (index + 1) * BATCH])
            training.training_step(model, x, objective, 1.0, optimizer)

    return run


def captured(kind: str, d: int, device: torch.device, count: int = 20) -> Callable[[], None]:
    """The same with binarisation, step and Adam captured once as one CUDA graph, which is then replayed."""
    torch.manual_seed(0)
    model = mlp_vae(kind, d).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True, capturable=True)
    data = torch.rand(100 * BATCH, 784, device=device)
    batch = data[:BATCH].clone()

    def one() -> None:
        training.training_step(model, binarize(batch), elbo, 1.0, optimizer)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            one()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        one()

    def run() -> None:
        for index in range(count):
            batch.copy_(data[index * BATCH : (index + 1) * BATCH])
            graph.replay()

    return run


def print_steps(device: torch.device, kinds: list[str], dimensions: list[int]) -> None:
    """Milliseconds of a step in every form, and whether anything in it waits for the device."""
    rows = []
    for kind in kinds:
        for d in dimensions:
            torch.compiler.reset()
            functions = {"eager": steps(kind, d, device, elbo)}
            compiled = torch.compile(elbo, fullgraph=True)
            graphs = torch.compile(elbo, fullgraph=True, mode="reduce-overhead")
            for name, make in {
                "inductor": partial(steps, kind, d, device, compiled),
                "inductor, CUDA graphs": partial(steps, kind, d, device, graphs),
                "whole step as a CUDA graph": partial(captured, kind, d, device),
            }.items():
                if device.type != "cuda" and "CUDA" in name:
                    continue
                try:
                    functions[name] = make()
                    functions[name]()
                except Exception as error:
                    functions.pop(name, None)
                    print(f"{kind} d={d} {name}: {type(error).__name__}: {str(error)[:300]}")
            ms = medians(functions, device, repeats=15)
            waits = "not asked"
            if device.type == "cuda":
                torch.cuda.set_sync_debug_mode("error")
                try:
                    functions["eager"]()
                    waits = "none"
                except RuntimeError as error:
                    waits = str(error)[:60]
                torch.cuda.set_sync_debug_mode("default")
            rows.append([kind, d, *(ms[name] / 20 if name in ms else None for name in (*functions,)), waits])
            print(rows[-1], list(functions), flush=True)


def normalised_gaussians(m: int, device: torch.device) -> Tensor:
    """The floor: uniform points of the sphere."""
    gaussian = torch.randn(SAMPLES, m, device=device)
    return gaussian / torch.linalg.vector_norm(gaussian, dim=-1, keepdim=True)


def print_samples(device: torch.device) -> None:
    """Ratios to the floor, and a fixed number of proposals beside rounds."""
    rows = []
    for m, kappa in CASES:
        loc = torch.nn.functional.normalize(torch.randn(m, device=device), dim=0)
        laws = VonMisesFisher(loc, kappa), PowerSpherical(loc, kappa)
        ms = medians(
            {
                "floor": partial(normalised_gaussians, m, device),
                "vMF": partial(laws[0].sample, (SAMPLES,)),
                "Power Spherical": partial(laws[1].sample, (SAMPLES,)),
            },
            device,
            repeats=11,
        )
        rows.append([m, kappa, ms["floor"], ms["vMF"] / ms["floor"], ms["Power Spherical"] / ms["floor"]])
    print(tabulate(rows, headers=["m", "kappa", "floor (ms)", "vMF", "Power Spherical"], floatfmt=".2f"))
    rows = []
    for n in (64, 1 << 10, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22):
        envelope = _sampling._envelope(torch.full((n,), 10.0, device=device), 6)
        ways: dict[str, Callable[[], object]] = {
            "fixed": partial(_sampling._first_accepted, *envelope, 6, 16),
            "rounds": partial(_sampling._in_rounds, *envelope, 6),
        }
        ms = medians(ways, device, repeats=7)
        rows.append([n, ms["fixed"], ms["rounds"]])
    print(tabulate(rows, headers=["values", "16 proposals at once (ms)", "in rounds (ms)"], floatfmt=".3f"))


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--kinds", nargs="+", default=["n", "s", "ps"])
    parser.add_argument("--dims", nargs="+", type=int, default=[5, 40])
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    print(torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU", machine())
    print_samples(device)
    print_steps(device, arguments.kinds, arguments.dims)


if __name__ == "__main__":
    main()
