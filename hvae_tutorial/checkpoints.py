"""Checkpoints of a training run, and what makes two runs the same.

A run that goes on from a checkpoint must be the run that wrote it. So a checkpoint holds an identity: all that decides
the weights that come out, in words and checksums. What has no identity that outlives its process is refused.
"""

import functools
import io
import re
import sys
import types
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hvae_tutorial.files import write_atomically

FORMAT = 2
WEIGHTS = "initial weights"  # their entry in an identity
ADVICE = "delete it to train anew, or give another path"

# In a repr: an address in memory, which differs in the next process, and arrays, of which only a part is written.
_UNSTABLE = re.compile(r"\bat 0x|\btensor\(|\barray\(|Parameter containing")


def run_identity(
    model: nn.Module,
    data: Mapping[str, Tensor],
    settings: Mapping[str, Any],
    objective: Any,
    device: torch.device,
) -> dict[str, Any]:
    """Return all that decides a run's weights: two runs that differ in one of these must not share a checkpoint.

    Args:
        model: as it is before the first step.
        data: tensors by name.
        settings: numbers, strings and booleans by name.
        objective: what `identity` takes.
        device: where the model is trained.

    Raises:
        ValueError: if the objective has no identity.
    """
    lowered = torch.is_autocast_enabled(device.type)
    return {
        **settings,
        "device": device.type,
        "autocast": str(torch.get_autocast_dtype(device.type)) if lowered else None,
        "model": repr(model),
        "frozen parameters": [name for name, value in model.named_parameters() if not value.requires_grad],
        WEIGHTS: _fingerprint_of_weights(model.state_dict()),
        "objective": identity(objective),
        **{name: fingerprint(tensor) for name, tensor in data.items()},
    }


def identity(value: Any) -> str:
    """Return words that tell an objective, or a part of one, from any other, in this process and in the next.

    - A function or class that can be imported: its module and name. What it does is not looked at.
    - A `functools.partial` or a method: its parts.
    - A tensor: its `fingerprint`; a module of torch: its repr, and the fingerprint of its weights.
    - Anything else: its repr, if its class defines one that has no address and no array in it. An object with arrays
      can define a `__repr__` with their `fingerprint`, as `objectives.SemiSupervised` does.

    Raises:
        ValueError: for all that has no such words: a lambda, say, or a function defined within a function, since the
            values that it has closed over cannot be seen.
    """
    if isinstance(value, Tensor):
        return f"{value.dtype} tensor {fingerprint(value)}"
    if isinstance(value, functools.partial):
        keywords = (f"{name}={identity(value.keywords[name])}" for name in sorted(value.keywords))
        return f"partial({', '.join([identity(value.func), *map(identity, value.args), *keywords])})"
    if isinstance(value, types.MethodType):
        return f"{value.__func__.__qualname__} of {identity(value.__self__)}"
    if isinstance(value, nn.Module):
        return f"{value!r} of {_fingerprint_of_weights(value.state_dict())}"
    if (name := _importable_name(value)) is not None:
        return name
    words = repr(value)
    bare = type(value).__repr__ is object.__repr__  # type: ignore[comparison-overlap]
    if bare or _UNSTABLE.search(words):
        raise ValueError(
            "with a checkpoint, objective and stop must be something that the next process can tell from any other: a "
            "function that can be imported, a functools.partial of one, or an object with a __repr__ that says all "
            f"about it, without addresses and arrays; got {words}"
        )
    return words


def _importable_name(value: Any) -> str | None:
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if module not in sys.modules or not name:
        return None
    found: Any = sys.modules[module]
    for part in name.split("."):  # a lambda or a local function ends at "<lambda>" or "<locals>"
        found = getattr(found, part, None)
    return f"{module}.{name}" if found is value else None


def fingerprint(data: Tensor) -> str:
    """Return the shape and a checksum of a tensor, by which to tell whether two runs had the same data."""
    return f"{tuple(data.shape)} with CRC-32 {_checksum(data):08x}"


def _fingerprint_of_weights(weights: Mapping[str, Tensor]) -> str:
    checksum = 0
    for tensor in weights.values():
        checksum = _checksum(tensor, checksum)
    return f"{len(weights)} tensors with CRC-32 {checksum:08x}"


def _checksum(data: Tensor, before: int = 0) -> int:
    return zlib.crc32(data.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data, before)


def write_checkpoint(path: Path, run: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write the state of a run, with its identity; the file is replaced at once, never in part.

    Args:
        path: the file.
        run: the run's `run_identity`.
        state: what `torch.load` reads with `weights_only=True`. "finished" and "best_weights" are read here, too.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "run": dict(run), **state}, buffer)
    write_atomically(path, buffer.getvalue())


def read_checkpoint(path: Path, run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checkpoint at `path`, on the CPU, provided that it belongs to `run`.

    The model may be new, with the weights that the run began with, or be the one that a finished run left, with its
    best weights: so that a cell of a notebook can be run twice.

    Raises:
        ValueError: if the file is damaged, of another format, or of another run.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        readable = saved["format"] == FORMAT
        if readable:
            expected = dict(saved["run"])
            if saved["finished"] and run[WEIGHTS] == _fingerprint_of_weights(saved["best_weights"]):
                expected[WEIGHTS] = run[WEIGHTS]
    except Exception as error:  # torch.load has no exception of its own: zip, pickle and key errors all come through
        raise ValueError(f"{path} is not a readable checkpoint; {ADVICE}") from error
    if not readable:
        raise ValueError(f"{path} has format {saved['format']!r}, this release reads {FORMAT}; {ADVICE}")
    for name, value in run.items():
        if expected.get(name) != value:
            raise ValueError(
                f"the checkpoint {path} belongs to another run: {name} was {expected.get(name)!r} "
                f"and is now {value!r}; {ADVICE}"
            )
    return saved


def random_state(device: torch.device) -> list[Tensor]:
    """Return the states of torch's generators, that of the CPU and that of the device."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def set_random_state(state: list[Tensor], device: torch.device) -> None:
    """Set torch's generators to what `random_state` returned."""
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
