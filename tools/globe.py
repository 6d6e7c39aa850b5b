"""Data of the globe, and the weights behind it: `python tools/globe.py FOLDER [--to FOLDER]`.

FOLDER has the saved models of two runs of Table 1 that are in the records, MNIST at d = 2, seed 0, of the S-VAE and of
the N-VAE, as `hvae reproduce table1 --data mnist --preset paper --dims 2 --seeds 1` leaves them. Written are

- docs/assets/weights/RUN.safetensors: the model in half precision, for `VAE.load(...).float()`;
- docs/assets/explorables/globe-MODEL.js: its decoder in eight bits, the posterior modes of the first test images, and
  where they come from.

Eight bits: a row of a weight matrix is q * scale, with q from -127 to 127 and a scale for each row; biases are numbers.
A q is one character, CHARACTER + q, or 256 more where that would be a control character. Most are ASCII then, one byte.
A coordinate of a point is a character, too: MIDDLE + coordinate * STEPS / reach, two bytes.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hvae_tutorial import records
from hvae_tutorial.data import Dataset, load
from hvae_tutorial.experiments.protocol import binarized, elbo_terms, latent_means, seeded
from hvae_tutorial.files import write_atomically
from hvae_tutorial.models import VAE
from hvae_tutorial.records import Record

ASSETS = Path(__file__).parents[1] / "docs" / "assets"
MODELS = ("s", "n")
IMAGES = 2000
CHARACTER = 79
MIDDLE, STEPS = 1090, 900  # characters of two bytes: 128 to 2047


def main() -> None:
    """Write the files of both models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the saved models")
    parser.add_argument("--to", type=Path, default=ASSETS, help="instead of docs/assets")
    arguments = parser.parse_args()
    for kind in MODELS:
        record = record_of(kind)
        model = VAE.load(arguments.folder / f"{record.name}.safetensors").eval()
        data = globe(model, record)
        text = f"(window.hvaeExplorables.globeData ??= {{}}).{kind} = {json.dumps(data, ensure_ascii=False)};\n"
        write_atomically(arguments.to / "explorables" / f"globe-{kind}.js", text.encode())
        model.half().save(arguments.to / "weights" / f"{record.name}.safetensors")
        print(f"{record.name}: ELBO {data['elbo']}, {len(text.encode()):,} bytes")


def record_of(kind: str) -> Record:
    """Return the record of a model's run."""
    (record,) = records.load(experiment="table1", data="mnist", d=2, seed=0, model=kind)
    return record


def globe(model: VAE, record: Record) -> dict[str, Any]:
    """Return what the page is given: layers, points by class, and the ELBO recorded and of the weights shown."""
    data = load("mnist")
    if not (isinstance(data, Dataset) and isinstance(model.decoder, nn.Sequential)):
        raise TypeError(f"need images and a decoder of layers, got {type(data)} and {type(model.decoder)}")
    test = binarized(data).test
    modes, labels = latent_means(model, test[:IMAGES]), data.test_labels[:IMAGES]
    layers = [quantised(layer) for layer in model.decoder if isinstance(layer, nn.Linear)]
    elbo = {"recorded": record.results["elbo"], "float32": mean_elbo(model, test, record)}
    reach = math.ceil(modes.abs().max().item())
    decoder = model.decoder
    model.decoder = dequantised(layers).float()
    elbo["int8"] = mean_elbo(model, test, record)
    model.decoder = decoder
    return {
        "record": record.key,
        "commit": record.provenance["commit"][:10],
        "elbo": {name: round(value, 2) for name, value in elbo.items()},
        "reach": reach,
        "points": [
            "".join(chr(MIDDLE + round(value * STEPS / reach)) for value in modes[labels == digit].flatten().tolist())
            for digit in range(10)
        ],
        "layers": layers,
    }


def mean_elbo(model: VAE, test: Tensor, record: Record) -> float:
    """Return the ELBO on the test images, with the draws of the record's measurement."""
    with seeded(record.settings["seed"], torch.device("cpu")):
        return elbo_terms(model, test)["elbo"]


def quantised(layer: nn.Linear) -> dict[str, Any]:
    """Return a layer in eight bits."""
    weight = layer.weight.detach().double()
    scale = torch.tensor([float(f"{value:.4g}") for value in weight.abs().amax(1) / 127]).double()
    q = (weight / scale[:, None]).round().clamp(-127, 127).int()
    return {
        "scale": scale.tolist(),
        "bias": [float(f"{value:.4g}") for value in layer.bias.detach().tolist()],
        "weights": "".join(character(value) for value in q.flatten().tolist()),
    }


def character(q: int) -> str:
    """Return the character for a weight."""
    return chr(CHARACTER + q if CHARACTER + q >= 32 else CHARACTER + q + 256)


def dequantised(layers: list[dict[str, Any]]) -> nn.Sequential:
    """Return the decoder that the page computes, in double precision."""
    modules: list[nn.Module] = []
    for layer in layers:
        codes = torch.tensor([ord(letter) for letter in layer["weights"]])
        q = torch.where(codes > CHARACTER + 127, codes - 256, codes) - CHARACTER
        scale, bias = (torch.tensor(layer[name], dtype=torch.float64) for name in ("scale", "bias"))
        linear = nn.Linear(q.numel() // len(scale), len(scale), dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(q.view(len(scale), -1) * scale[:, None])
            linear.bias.copy_(bias)
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


if __name__ == "__main__":
    main()
