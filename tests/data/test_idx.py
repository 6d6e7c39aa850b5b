"""The IDX format: what is written by its description is read back; any other bytes are refused, with the reason."""

import contextlib
import re
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hvae_tutorial.data import DataError
from hvae_tutorial.data.idx import parse_idx


@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5)))
def test_reads_back_what_the_format_says(array: np.ndarray) -> None:
    data = struct.pack(f">I{array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()
    parsed = parse_idx(data, ndim=array.ndim, where="file")
    assert parsed.dtype == np.uint8
    np.testing.assert_array_equal(parsed, array)


@given(st.binary(max_size=40), st.integers(1, 3))
def test_any_bytes_are_read_or_refused(data: bytes, ndim: int) -> None:
    with contextlib.suppress(DataError):
        assert parse_idx(data, ndim=ndim, where="file").size == len(data) - 4 - 4 * ndim


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(
            b"\0\0\x08\x03\0\0",
            "file: 6 bytes are too few for the 16 bytes of an IDX header with 3 axes",
            id="header",
        ),
        pytest.param(
            struct.pack(">4I", 0x0801, 2, 2, 2) + bytes(8),
            "file: magic number 0x00000801, expected 0x00000803 (IDX, unsigned bytes, number of axes: 3)",
            id="labels for images",
        ),
        pytest.param(
            struct.pack(">4I", 0x0D03, 2, 2, 2) + bytes(32),
            "file: magic number 0x00000d03, expected 0x00000803",
            id="floats for bytes",
        ),
        pytest.param(
            struct.pack(">4I", 0x0803, 2, 2, 2) + bytes(7),
            "file: the header announces shape (2, 2, 2), that is 8 entries, but 7 follow",
            id="too short",
        ),
        pytest.param(
            struct.pack(">4I", 0x0803, 2, 2, 2) + bytes(9),
            "file: the header announces shape (2, 2, 2), that is 8 entries, but 9 follow",
            id="too long",
        ),
    ],
)
def test_damage_is_named(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        parse_idx(data, ndim=3, where="file")
