"""The `.npy` member format: version 1.0, little-endian, C order, data aligned to 64 bytes.

The header is written here and not by NumPy, whose padding has changed between releases: equal arrays must
give equal bytes whatever NumPy is installed. `numpy.load` reads the result. Format: numpy.lib.format, "Format
Version 1.0".
"""

from __future__ import annotations

import re
import struct
from functools import cache

import numpy as np

from shards.errors import CorruptShard, SchemaMismatch

_MAGIC = b"\x93NUMPY\x01\x00"
_ALIGN_BYTES = 64
MAX_HEADER_BYTES = 1024
_LARGEST_SIDE = 2**32  # sides are u32 in an index
_DTYPE_NAME = re.compile(r"[a-z]+[0-9]*")
# the literal that NumPy writes, little-endian; matched and not evaluated, so nothing of another kind can be in it
_HEADER = re.compile(
    rb"\{'descr': ?'([<|][biuf][0-9]{1,2})', ?'fortran_order': ?(True|False), ?"
    rb"'shape': ?\(((?:[0-9]{1,10}, ?)*[0-9]{0,10})\),? ?\} *\n"
)


@cache
def storage_dtype(name: str) -> np.dtype:
    """The little-endian dtype called `name`; SchemaMismatch unless it is a plain bool, integer or float."""
    try:
        if not _DTYPE_NAME.fullmatch(name):
            raise TypeError(f"{name!r} is no name")
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
    return _header(stored.dtype.str, stored.shape), stored.reshape(-1).view(np.uint8).data


def rows_header(dtype: np.dtype, number: int) -> bytes:
    """Header of a `.npy` file of so many rows of a structured dtype."""
    return _header(dtype.descr, (number,))


def _header(descr: object, shape: tuple[int, ...]) -> bytes:
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    used = len(_MAGIC) + 2 + len(text) + 1
    text += " " * (-used % _ALIGN_BYTES) + "\n"
    return _MAGIC + struct.pack("<H", len(text)) + text.encode("latin1")


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
    try:
        if start[: len(_MAGIC)] != _MAGIC:
            raise ValueError(f"it starts with {start[: len(_MAGIC)]!r}, format version 1.0 with {_MAGIC!r}")
        (length,) = struct.unpack("<H", start[8:10])
        text = start[10 : 10 + length]
        found = _HEADER.fullmatch(text)
        if len(text) != length or found is None:
            raise ValueError(f"{text!r:.80} is no header of {length} bytes")
        dtype, shape = np.dtype(found[1].decode()), tuple(int(side) for side in found[3].split(b",") if side.strip())
        if any(side >= _LARGEST_SIDE for side in shape):
            raise ValueError(f"shape {shape} has a side beyond 32 bits")
    except (ValueError, TypeError, struct.error) as error:
        raise CorruptShard(f"{where}: the npy header cannot be read ({error}); rebuild this shard") from error
    if found[2] == b"True":
        raise CorruptShard(f"{where}: the array is in Fortran order, expected C order; rebuild this shard")
    return dtype, shape, 10 + length
