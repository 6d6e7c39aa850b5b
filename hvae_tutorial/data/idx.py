"""The IDX format of MNIST: a magic number, the sizes of the axes, then the entries, all in big-endian order."""

import math
import struct

import numpy as np
from numpy.typing import NDArray

from hvae_tutorial.data.errors import DataError


def parse_idx(data: bytes, *, ndim: int, where: str) -> NDArray[np.uint8]:
    """Read an array of unsigned bytes from the contents of an (uncompressed) IDX file.

    The layout is `0, 0, 8, ndim`, then `ndim` sizes of four bytes each, then the entries in row-major order; the third
    byte is the type code, 8 for unsigned bytes. Source: http://yann.lecun.com/exdb/mnist/, "the IDX file format".

    Args:
        data: The whole contents of the file.
        ndim: The number of axes the file must have: 3 for images, 1 for labels.
        where: The name of the file for error messages.

    Returns:
        A read-only array with `ndim` axes.

    Raises:
        DataError: The header is cut off, the magic number is wrong, or there are more or fewer entries than announced.
    """
    header = struct.Struct(f">I{ndim}I")
    if len(data) < header.size:
        raise DataError(
            f"{where}: {len(data)} bytes are too few for the {header.size} bytes of an IDX header with {ndim} axes"
        )
    magic, *shape = header.unpack_from(data)
    expected = 0x0800 + ndim
    if magic != expected:
        raise DataError(
            f"{where}: magic number 0x{magic:08x}, expected 0x{expected:08x}"
            f" (IDX, unsigned bytes, number of axes: {ndim}); is this another file under that name?"
        )
    announced, present = math.prod(shape), len(data) - header.size
    if present != announced:
        raise DataError(
            f"{where}: the header announces shape {tuple(shape)}, that is {announced} entries, but {present} follow"
        )
    return np.frombuffer(data, dtype=np.uint8, offset=header.size).reshape(shape)
