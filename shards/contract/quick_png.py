"""Grey PNGs that any program reads, and whose rows this project has without decoding them.

Owns both forms (docs/format.md#quick-pngs) and reading them back. Cutting them by a view is
`shards.geometry.quick_cut`'s; a PNG of another form is for its caller to decode.

Of 8 bits, class maps: beside the compressed pixels a private chunk `rnLS` holds the runs of equal values along the
rows. Of 16 bits, depth: the pixels are not compressed, so that they lie in the file as they are.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from shards.errors import CorruptShard

SIGNATURE = b"\x89PNG\r\n\x1a\n"
RUNS = b"rnLS"  # by the letters' cases: not needed, private, and wrong once the pixels are changed
_HEADER = struct.Struct(">8sI4sIIBBBBBI")  # signature and IHDR
_CHUNK = struct.Struct(">I4s")
_RUNS_START = _HEADER.size + _CHUNK.size
_ZLIB_HEADER = b"\x78\x01"
_BLOCK = struct.Struct("<BHH")  # of an uncompressed deflate block
_MOST_BLOCK = 65535


class RowRuns(NamedTuple):
    """Runs of equal values along the rows of a class map [H, W], N in all."""

    size_px: tuple[int, int]
    numbers: np.ndarray  # u2 [H] runs of each row
    ends: np.ndarray  # u2 [N] the column after each run
    values: np.ndarray  # u1 [N]


class PlainRows(NamedTuple):
    """Pixels of 16 bits [H, W] in the bytes of a file, high bytes first."""

    size_px: tuple[int, int]
    blocks: list[np.ndarray]  # u1 [some rows, 2 * W] each, H rows in all


def quick_png(pixels: np.ndarray) -> bytes:
    """uint8 or uint16 [H, W] as a PNG of the form that suits it; the plain form where a row is too long for it."""
    height, width = pixels.shape
    deep = pixels.dtype == np.uint16
    row_bytes = width * pixels.dtype.itemsize
    rows = np.zeros((height, 1 + row_bytes), np.uint8)  # [H, filter and pixels]; filter 0: as they are
    rows[:, 1:] = pixels.astype(">u2" if deep else np.uint8).view(np.uint8).reshape(height, row_bytes)
    header = _HEADER.pack(SIGNATURE, 13, b"IHDR", width, height, 16 if deep else 8, 0, 0, 0, 0, 0)
    parts = [header[:8], _chunk(b"IHDR", header[16:29])]
    if deep and 1 + row_bytes <= _MOST_BLOCK:
        parts.append(_chunk(b"IDAT", _uncompressed(rows)))
    else:
        if not deep and width <= _MOST_BLOCK:
            parts.append(_chunk(RUNS, _runs(pixels)))
        parts.append(_chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)))
    return b"".join([*parts, _chunk(b"IEND", b"")])


def row_runs(payload: memoryview, where: str) -> RowRuns | None:
    """The runs of a PNG's rows; None if it has none.

    Raises:
        CorruptShard: runs that are not those of a picture of its size.
    """
    header = _header(payload, 8)
    if header is None or payload[_RUNS_START - 4 : _RUNS_START] != RUNS:
        return None
    height, width = header
    (length,) = struct.unpack_from(">I", payload, _HEADER.size)
    count, odd = divmod(length - 2 * height, 3)
    if count < height or odd or len(payload) < _RUNS_START + length:
        raise CorruptShard(f"{where}: {length} bytes of runs for {height} rows; rebuild this shard")
    numbers = np.frombuffer(payload, "<u2", height, _RUNS_START)
    ends = np.frombuffer(payload, "<u2", count, _RUNS_START + 2 * height)
    values = np.frombuffer(payload, np.uint8, count, _RUNS_START + 2 * (height + count))
    if int(numbers.sum()) != count or not numbers.all() or (ends[numbers.cumsum() - 1] != width).any():
        raise CorruptShard(f"{where}: the runs do not cover its rows; rebuild this shard")
    return RowRuns((height, width), numbers, ends, values)


def plain_rows(payload: memoryview) -> PlainRows | None:
    """The rows of an uncompressed PNG of 16 bits; None if it is none."""
    header = _header(payload, 16)
    if header is None or payload[_RUNS_START - 4 : _RUNS_START] != b"IDAT":
        return None
    layout = _layout(*header)
    if layout is None or len(payload) < layout.end:
        return None
    contents = np.frombuffer(payload, np.uint8)
    if (contents.take(layout.fixed) != layout.expected).any():  # compressed or filtered, as other programs write it
        return None
    strides = (layout.row_bytes, 1)
    blocks = [
        np.ndarray((count, layout.row_bytes - 1), np.uint8, payload, start + 1, strides)
        for start, count in layout.blocks
    ]
    return PlainRows(header, blocks)


class _Layout(NamedTuple):
    """Where an uncompressed picture of 16 bits has what."""

    row_bytes: int  # with the filter
    blocks: list[tuple[int, int]]  # where the first row begins, rows
    fixed: np.ndarray  # where block headers and filters are
    expected: np.ndarray  # what they are
    end: int


@lru_cache(maxsize=64)
def _layout(height: int, width: int) -> _Layout | None:
    """None: a row is too long for a block."""
    row_bytes = 1 + 2 * width
    if row_bytes > _MOST_BLOCK:
        return None
    most, start, blocks = _MOST_BLOCK // row_bytes, _RUNS_START + len(_ZLIB_HEADER), []
    fixed, expected = list[int](), list[int]()
    for first in range(0, height, most):
        count = min(most, height - first)
        fixed += range(start, start + _BLOCK.size)
        expected += _block_header(count * row_bytes, last=first + count == height)
        start += _BLOCK.size
        blocks.append((start, count))
        fixed += range(start, start + count * row_bytes, row_bytes)
        expected += [0] * count
        start += count * row_bytes
    return _Layout(row_bytes, blocks, np.array(fixed), np.array(expected, np.uint8), start)


def _header(payload: memoryview, bits: int) -> tuple[int, int] | None:
    """(H, W) of a grey PNG of so many bits that is not interlaced; None for another."""
    if len(payload) < _RUNS_START:
        return None
    signature, _, kind, width, height, depth, colour, _, _, interlaced, _ = _HEADER.unpack_from(payload)
    expected = (SIGNATURE, b"IHDR", bits, 0, 0)
    return (height, width) if (signature, kind, depth, colour, interlaced) == expected else None


def _runs(pixels: np.ndarray) -> bytes:
    height, width = pixels.shape
    is_end = np.ones((height, width), bool)
    is_end[:, :-1] = pixels[:, 1:] != pixels[:, :-1]
    _, columns = np.nonzero(is_end)
    numbers = is_end.sum(axis=1).astype("<u2")
    return numbers.tobytes() + (columns + 1).astype("<u2").tobytes() + pixels[is_end].tobytes()


def _uncompressed(rows: np.ndarray) -> bytes:
    """A zlib stream of blocks of whole rows."""
    most = _MOST_BLOCK // rows.shape[1]
    parts = [_ZLIB_HEADER]
    for first in range(0, len(rows), most):
        block = rows[first : first + most]
        parts += [_block_header(block.size, last=first + most >= len(rows)), block.tobytes()]
    return b"".join([*parts, struct.pack(">I", zlib.adler32(rows.data))])


def _block_header(length: int, *, last: bool) -> bytes:
    return _BLOCK.pack(last, length, length ^ 0xFFFF)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return _CHUNK.pack(len(content), kind) + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))
