"""Where a result comes from: versions, machine and commit, with nothing that identifies a person or a host."""

import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy
import torch

import hvae_tutorial


def provenance(device: torch.device, data_sha256: str) -> dict[str, Any]:
    """Return what a record says about how its numbers came to be."""
    return {
        "versions": {
            "hvae_tutorial": hvae_tutorial.__version__,
            "torch": torch.__version__,
            "numpy": numpy.__version__,
            "python": platform.python_version(),
        },
        "device": device.type,
        "machine": {"processor": processor(device), "threads": torch.get_num_threads()},
        "commit": commit(),
        "data_sha256": data_sha256,
    }


def processor(device: torch.device) -> str:
    """Return the model of the GPU, or of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def commit() -> str | None:
    """Return the commit of this package's source, with `-dirty` where it was changed since; None outside a checkout."""
    package = Path(hvae_tutorial.__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(package), *arguments], check=True, capture_output=True, text=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # or an installed copy would name the repository around it
        return git("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")
    except (OSError, subprocess.CalledProcessError):
        return None
