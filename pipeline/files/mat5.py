"""Plain numbers of a MATLAB v5 file: arrays of one type under their names, and nothing else of the format.

Read here, and not by SciPy, whose reader can be made to end the process by a few wrong bytes. Cells, structs, objects,
sparse and complex arrays are passed over. Format: MathWorks' "MAT-File Format", level 5.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator
from typing import Literal

import numpy as np

Order = Literal["<", ">"]

MOST_BYTES = 1 << 26  # of one array, unpacked
_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_PLAIN_CLASSES = range(6, 16)  # double, single and whole numbers of 8 to 64 bits
_COMPLEX = 0x800
_ORDERS: dict[bytes, Order] = {b"IM": "<", b"MI": ">"}


def numbers_in(payload: bytes, names: Collection[str]) -> dict[str, np.ndarray]:
    """The arrays of numbers of these names, flat, in the file's order. ValueError: no MATLAB v5 file, or damaged."""
    order = _ORDERS.get(payload[126:128])
    if order is None or not payload.startswith(b"MATLAB 5.0"):
        raise ValueError(f"it starts with {payload[:16]!r}, a MATLAB v5 file with 'MATLAB 5.0'")
    found: dict[str, np.ndarray] = {}
    for kind, content in _elements(payload[_HEADER_BYTES:], order):
        if kind == _COMPRESSED:
            unpacked = [element for element in _elements(_unpacked(content), order) if element[0] == _MATRIX]
        else:
            unpacked = [(kind, content)] if kind == _MATRIX else []
        for _, matrix in unpacked:
            found |= {name: array for name, array in _array(matrix, order).items() if name in names}
    return found


def _elements(content: bytes, order: Order) -> Iterator[tuple[int, bytes]]:
    """(type, bytes) of the elements that follow each other."""
    at = 0
    while at < len(content):
        tag = content[at : at + 8]
        if len(tag) < 8:
            raise ValueError("it ends inside of a tag")
        kind, size = struct.unpack(f"{order}II", tag)
        small = kind >> 16  # an element of up to 4 bytes lies in its own tag
        begin, kind, size = (at + 4, kind & 0xFFFF, small) if small else (at + 8, kind, size)
        if size > (4 if small else len(content) - begin):
            raise ValueError(f"an element of {size} bytes is cut")
        yield kind, content[begin : begin + size]
        padded = size if kind == _COMPRESSED else size + -size % 8
        at = at + 8 if small else begin + padded


def _unpacked(content: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(content, MOST_BYTES)
    except zlib.error as error:
        raise ValueError(f"an element cannot be unpacked: {error}") from error
    if not unpacking.eof:
        raise ValueError(f"an element is cut, or larger than {MOST_BYTES:,} bytes")
    return found


def _array(matrix: bytes, order: Order) -> dict[str, np.ndarray]:
    """{name: numbers} of a matrix; nothing of one that holds something else."""
    parts = list(_elements(matrix, order))
    if len(parts) < 4 or len(parts[0][1]) < 8:
        return {}
    (flags,) = struct.unpack_from(f"{order}I", parts[0][1])
    kind, content = parts[3]
    if flags & 0xFF not in _PLAIN_CLASSES or flags & _COMPLEX or kind not in _NUMBERS:
        return {}
    sides = np.frombuffer(parts[1][1], f"{order}i4") if len(parts[1][1]) % 4 == 0 else np.zeros(0, np.int32)
    numbers = np.dtype(_NUMBERS[kind]).newbyteorder(order)
    if len(content) % numbers.itemsize or np.prod(sides, dtype=float) != len(content) // numbers.itemsize:
        raise ValueError(f"an array of {sides.tolist()} has {len(content)} bytes")
    return {parts[2][1].decode("latin1"): np.frombuffer(content, numbers)}
