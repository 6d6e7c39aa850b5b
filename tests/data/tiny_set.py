"""A set in MNIST's format that is small enough to be made in a test, and the address book of a server for it."""

import gzip
import hashlib
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hvae_tutorial.data import REGISTRY, RemoteFile, Source


def idx_bytes(array: np.ndarray) -> bytes:
    """Write an array of bytes in the IDX format."""
    return struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


@dataclass
class TinySet:
    """Twenty training and four test images of 2x3 pixels; the contents of the files by their names without `.gz`."""

    contents: dict[str, bytes]

    def source(self, *mirrors: str, name: str = "mnist") -> Source:
        files = tuple(RemoteFile(f"{k}.gz", hashlib.sha256(v).hexdigest()) for k, v in self.contents.items())
        return replace(REGISTRY[name], files=files, mirrors=mirrors)

    def write(self, folder: Path, *, compress: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.contents.items():
            if compress:
                # Another compression level than anybody's mirror: only the uncompressed bytes count.
                (folder / f"{name}.gz").write_bytes(gzip.compress(data, compresslevel=1))
            else:
                (folder / name).write_bytes(data)


@dataclass
class Mirrors:
    """A server whose first path segment chooses how it behaves; it counts the requests for each."""

    address: str
    contents: dict[str, bytes]
    requests: list[str] = field(default_factory=list)

    def __getitem__(self, behaviour: str) -> str:
        return f"{self.address}/{behaviour}/"
