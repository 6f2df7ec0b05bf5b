"""Labels of quick PNGs (`shards.contract.quick_png`), cut by a view without decoding them.

Owns both cuts: of a class map from the runs of its rows, and of rows that lie in the file as they are. What comes out
is what `shards.geometry.view.cut_label` makes of the decoded picture, bit for bit.
"""

from __future__ import annotations

import numpy as np

from shards.contract.quick_png import PlainRows, RowRuns
from shards.geometry.view import View, check_inside, shown_lines
from shards.native.library import library


def cut_runs(runs: RowRuns, view: View, fill: int, out: np.ndarray | None = None) -> np.ndarray:
    """The part of a class map that a view shows, uint8 [h, w], `fill` in its padding; in `out`, if it is given.

    Raises:
        Reject: the view's box does not lie inside the picture.
    """
    check_inside(runs.size_px, view)
    rows, columns = shown_lines(view)
    first, after = int(rows[0]), int(rows[-1]) + 1
    begins = np.cumsum(runs.numbers[:after], dtype=np.intp)  # [rows] runs until after each row
    start = int(begins[first - 1]) if first else 0
    here = slice(start, int(begins[-1]))
    before = np.searchsorted(columns, np.arange(runs.size_px[1] + 1))  # [W + 1] columns of the window before each
    shown = before[runs.ends[here]]  # [runs of the rows]
    lengths = shown.copy()
    lengths[1:] -= shown[:-1]
    heads = begins[first:-1] - start  # the first run of every row but the first
    lengths[heads] = shown[heads]
    grid = runs.values[here].repeat(lengths).reshape(after - first, len(columns))  # [rows of the picture, w]
    return _placed(grid, rows - first, view, fill, out)


def cut_rows(stored: PlainRows, view: View) -> np.ndarray:
    """The part of a 16-bit picture that a view's window shows, big-endian uint16 [h, w] without its padding.

    Raises:
        Reject: the view's box does not lie inside the picture.
    """
    check_inside(stored.size_px, view)
    rows, columns = shown_lines(view)
    left, right = int(columns[0]), int(columns[-1]) + 1
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    pairs = np.empty((bottom - top, right - left), ">u2")  # [rows of the picture, columns of the picture]
    flat, start = pairs.view(np.uint8).reshape(bottom - top, -1), 0
    for block in stored.blocks:
        low, high = max(top, start), min(bottom, start + len(block))
        if low < high:
            flat[low - top : high - top] = block[low - start : high - start, 2 * left : 2 * right]
        start += len(block)
    if len(rows) != len(pairs) or not _is_whole(rows):
        pairs = pairs.take(rows - top, axis=0)
    if len(columns) != right - left or not _is_whole(columns):
        pairs = pairs.take(columns - left, axis=1)
    return np.ascontiguousarray(pairs[:, ::-1]) if view.flip else pairs


def cut_quotients(stored: PlainRows, view: View, divisor: float, out: np.ndarray) -> None:
    """Write what `cut_rows` gives, divided, into float32 [h, w].

    Raises:
        Reject: the view's box does not lie inside the picture.
    """
    native = library()
    if native is None or out.dtype != np.float32 or out.strides[1] != out.itemsize:
        out[...] = cut_rows(stored, view)
        out /= np.float32(divisor)
        return
    check_inside(stored.size_px, view)
    rows, columns = shown_lines(view)
    if out.shape != (len(rows), len(columns)):
        raise ValueError(f"out is {list(out.shape)}, the view shows {[len(rows), len(columns)]}")
    if int(columns[-1]) >= stored.size_px[1] or not out.flags.writeable:  # C looks at no ends; rows are taken below
        raise ValueError(f"column {int(columns[-1])} of {stored.size_px[1]}, out writeable: {out.flags.writeable}")
    left, row_bytes = int(columns[0]), stored.blocks[0].strides[0]
    starts = np.concatenate([block.ctypes.data + row_bytes * np.arange(len(block)) for block in stored.blocks])  # [H]
    shown = starts.take(rows) + 2 * left  # i64 [h]
    places = None if _is_whole(columns) else np.ascontiguousarray(columns - left, np.int64)  # [w]
    native.cut_quotients(
        len(rows), len(columns), shown.ctypes.data, None if places is None else places.ctypes.data, view.flip,
        float(np.float32(divisor)), out.ctypes.data, out.strides[0],
    )  # fmt: skip


def _is_whole(lines: np.ndarray) -> bool:
    """Whether lines that ascend are all from the first to the last."""
    return int(lines[-1]) - int(lines[0]) + 1 == len(lines) and bool((np.diff(lines) == 1).all())


def _placed(grid: np.ndarray, rows: np.ndarray, view: View, fill: int, out: np.ndarray | None) -> np.ndarray:
    """Rows of what a window's columns show, as often as it shows them, on the view's canvas [h, w]."""
    canvas = np.empty(view.label_px, grid.dtype) if out is None else out
    (top, left), (height, width) = view.pad_before_px, view.content_px
    if view.is_padded:
        canvas.fill(fill)
    window = canvas[top : top + height, left : left + width]
    if view.flip:
        window = window[:, ::-1]
    if _is_whole(rows):
        window[...] = grid
    elif window.flags.c_contiguous:
        grid.take(rows, axis=0, out=window, mode="clip")
    else:
        window[...] = grid.take(rows, axis=0)
    return canvas
