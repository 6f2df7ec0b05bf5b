"""The `.npy` member format: version 1.0, little-endian, C order, data aligned to 64 bytes.

The header is written here and not by NumPy, whose padding has changed between releases: equal arrays must
give equal bytes whatever NumPy is installed. `numpy.load` reads the result. Format: numpy.lib.format, "Format
Version 1.0".
"""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.lib import format as npy_format

from shards.errors import CorruptShard, SchemaMismatch

_MAGIC = b"\x93NUMPY\x01\x00"
_ALIGN_BYTES = 64
MAX_HEADER_BYTES = 1024


def storage_dtype(name: str) -> np.dtype:
    """The little-endian dtype called `name`; SchemaMismatch unless it is a plain bool, integer or float."""
    try:
        dtype = np.dtype(name)
    except TypeError as error:
        raise SchemaMismatch(f"dtype {name!r} is unknown; write for example 'float16' or 'int32'") from error
    if dtype.kind not in "biuf" or dtype.name != name:
        raise SchemaMismatch(f"dtype {name!r}: expected the name of a bool, integer or float, as 'float16'")
    return dtype.newbyteorder("<")


def npy_parts(array: np.ndarray) -> tuple[bytes, memoryview]:
    """Header and payload of a `.npy` file holding `array`; the payload starts at a multiple of 64 bytes, and is the
    array's own memory where that is laid out as the file."""
    stored = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(array.shape)
    text = f"{{'descr': {stored.dtype.str!r}, 'fortran_order': False, 'shape': {stored.shape!r}, }}"
    used = len(_MAGIC) + 2 + len(text) + 1
    text += " " * (-used % _ALIGN_BYTES) + "\n"
    header = _MAGIC + struct.pack("<H", len(text)) + text.encode("latin1")
    return header, stored.reshape(-1).view(np.uint8).data


def is_finite(array: np.ndarray) -> bool:
    """Whether an array holds neither NaN nor infinity."""
    if array.dtype == np.float16 and array.size:
        # NumPy has no fast float16. Its bits are ordered as integers are: unsigned below zero, signed above.
        return int(array.view(np.int16).max()) < 0x7C00 and int(array.view(np.uint16).max()) < 0xFC00
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def parse_header(start: bytes, where: str) -> tuple[np.dtype, tuple[int, ...], int]:
    """(dtype, shape, header bytes) of a `.npy` file from its first bytes; CorruptShard if it is not one of
    ours.
    """
    stream = io.BytesIO(start)
    try:
        if npy_format.read_magic(stream) != (1, 0):
            raise ValueError("format version is not 1.0")
        shape, fortran, dtype = npy_format.read_array_header_1_0(stream)
    except ValueError as error:
        raise CorruptShard(f"{where}: the npy header cannot be read ({error}); rebuild this shard") from error
    if fortran:
        raise CorruptShard(f"{where}: the array is in Fortran order, expected C order; rebuild this shard")
    return dtype, shape, stream.tell()
