"""Binary masks in COCO's run lengths, cut by views without decoding the pictures: a whole batch at once, and the work
grows with the runs, not with the pixels of the pictures.

Owns COCO's compressed numbers and the cut. What comes out is what `shards.geometry.view.cut_label` makes of the decoded
pictures, bit for bit. Which pixels a view shows is `view`'s.

A mask is a list of places where it changes, counted down the columns. Each place is moved to the view's rows and
columns, and marked there; a pixel of a column is then whether the marks down to it are odd in number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from shards.errors import SchemaMismatch
from shards.geometry.view import Size, View, check_inside, shown_lines

_ZERO, _GOES_ON = np.uint8(48), 32  # of the characters of COCO's numbers
_MOST_CHARACTERS = 6  # 30 bits: no picture has such a run
_LANES = 8  # columns that are added up in one number
_ONE = np.uint8(1)
_FAR = 1 << 60  # further than any byte of a batch

Name = Callable[[int], str]  # of a place in a batch, for messages
Span = tuple[int, int, int, int]  # first row, last row, first column, the column after the last
_OUTSIDE = -_FAR


class Runs(NamedTuple):
    """A stored mask: COCO's compressed run lengths of a picture of `size_px`."""

    text: str
    size_px: Size


def cut_masks(
    masks: Sequence[Runs], views: Sequence[View], out: np.ndarray | None = None, *, name: Name = "mask {}".format
) -> np.ndarray:
    """The parts of masks that views show, uint8 [b, h, w]; padding is 0.

    Args:
        views: one a mask, all of one `label_px`.
        out: what to fill instead of a new array, contiguous.
        name: what messages call the mask at a place.

    Raises:
        SchemaMismatch: runs that do not cover their picture, or views of several sizes.
        Reject: a view's box does not lie inside its picture.
    """
    (height, width), count = views[0].label_px, len(masks)
    for place, view in enumerate(views):
        if view.label_px != (height, width):
            raise SchemaMismatch(
                f"{name(place)}: its view has {view.label_px} pixels, that of {name(0)} {height, width}; "
                "use batches of one"
            )
    lanes = -(-width // _LANES) * _LANES
    room = out if out is not None and lanes == width else np.empty((count, height, lanes), np.uint8)
    room.fill(0)
    counts, ends = _without_empty(*coco_counts(masks, name))
    places = [_place_of(mask.size_px, view) for mask, view in zip(masks, views, strict=True)]
    for canvas, place, box in zip(room, places, _mark(room, counts, ends, places), strict=True):
        _fill_below(canvas, place.bottom, box)
    if out is None:
        return np.ascontiguousarray(room[..., :width])
    if room is not out:
        out[...] = room[..., :width]
    return out


def coco_counts(masks: Sequence[Runs], name: Name = "mask {}".format) -> tuple[np.ndarray, np.ndarray]:
    """The lengths [N] of the runs of all masks, of zeros and ones in turn, and where each mask's end in it, [b].

    A number is written five bits a character, the lowest first, with a bit for "goes on" and the sign in the last; from
    the fourth of a mask on it is the difference to the number before the last.

    Raises:
        SchemaMismatch: no such text, or runs that do not cover the picture.
    """
    texts = [mask.text.encode() for mask in masks]
    signs = np.frombuffer(b"".join(texts), np.uint8) - _ZERO  # [characters]; what is below wraps around
    last = np.flatnonzero(signs < _GOES_ON)  # [N] the last character of each number
    finals = np.cumsum([len(text) for text in texts]) - 1  # [b]
    ends = np.searchsorted(last, finals, side="right")  # [b]
    lengths = last.copy()
    lengths[:1] += 1
    lengths[1:] -= last[:-1]
    longest = int(lengths.max(initial=0))
    whole = len(last) and all(texts) and signs.max() < 2 * _GOES_ON and longest <= _MOST_CHARACTERS
    if not whole or not np.array_equal(last[ends - 1], finals):
        raise SchemaMismatch(
            f"{name(0)} to {name(len(masks) - 1)}: one has run lengths that are not COCO's; rebuild it"
        )
    digits = (signs & np.uint8(31)).astype(np.int64)
    counts = digits[last]
    counts -= (counts & 16) << 1  # the sign
    for back in range(1, longest):  # the digits before the last one
        longer = np.flatnonzero(lengths > back)
        counts[longer] = (counts[longer] << 5) + digits[last[longer] - back]
    starts = np.r_[0, ends[:-1]]
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        for half in (counts[start + 1 : end : 2], counts[start + 2 : end : 2]):
            half.cumsum(out=half)
    pixels = np.array([mask.size_px[0] * mask.size_px[1] for mask in masks])
    totals, least = np.add.reduceat(counts, starts), np.minimum.reduceat(counts, starts)
    wrong = np.flatnonzero((least < 0) | (totals != pixels))
    if wrong.size:
        place = int(wrong[0])
        raise SchemaMismatch(
            f"{name(place)}: runs of {totals[place]} pixels in all, the shortest {least[place]}; the picture has "
            f"{masks[place].size_px[0]} x {masks[place].size_px[1]}. Rebuild the set"
        )
    return counts, ends


def _without_empty(counts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same masks without runs of no length, but for a first one of zeros. COCO's code writes none, others do."""
    starts = np.r_[0, ends[:-1]]  # [b]
    empty = counts == 0
    empty[starts] = False
    if not empty.any():
        return counts, ends
    merged = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        edges, times = np.unique(counts[start:end].cumsum(), return_counts=True)
        edges = edges[(times % 2 == 1) | (edges == edges[-1])]  # two changes in one place are none
        merged.append(np.diff(edges, prepend=0))
    return np.concatenate(merged), np.cumsum([len(own) for own in merged])


def _fill_below(canvas: np.ndarray, bottom: int, span: Span) -> None:
    """Turn the marks of a canvas into the mask."""
    top, low, left, right = span
    words = canvas.view(np.uint64)[top:, left // _LANES : -(-right // _LANES)]  # [rows from the first mark on, words]
    changing = words[: low + 1 - top]
    np.bitwise_xor.accumulate(changing, axis=0, out=changing)
    if low >= top and changing[-1].any():  # columns whose end the view does not show
        words[low + 1 - top : bottom - top] = changing[-1]


class _Place(NamedTuple):
    """Where the pixels of a picture lie in the canvas of a view."""

    size_px: Size
    rows: np.ndarray  # [H + 1] of every row: the canvas's byte where the row begins that shows it, or the next
    columns: np.ndarray  # [W + 2] of every column: how many columns of the window come before it
    lanes: int  # bytes of the canvas's rows
    top: int  # rows of the window in the canvas
    bottom: int
    left: int  # its columns
    right: int
    flip: bool


@lru_cache(maxsize=512)
def _place_of(size_px: Size, view: View) -> _Place:
    check_inside(size_px, view)
    (rows, columns), (top, left) = shown_lines(view), view.pad_before_px
    lanes = -(-view.label_px[1] // _LANES) * _LANES
    shown = np.searchsorted(rows, np.arange(size_px[0] + 1))
    at = np.where(shown < len(rows), (top + shown) * lanes, _OUTSIDE)
    before = np.searchsorted(columns, np.arange(size_px[1] + 2))
    return _Place(size_px, at, before, lanes, top, top + len(rows), left, left + len(columns), view.flip)


def _mark(room: np.ndarray, counts: np.ndarray, ends: np.ndarray, places: Sequence[_Place]) -> list[Span]:
    """Mark in canvases [b, h, lanes] of zeros where masks change; each canvas's (first row, last row, first column,
    after the last column) with a mark, (0, -1, 0, 0) for none."""
    starts = np.r_[0, ends[:-1]]  # [b]
    numbers = ends - starts
    bases = _before([place.size_px[0] * place.size_px[1] for place in places])  # [b]
    edges = counts.cumsum()  # [N] pixels, down the columns of all pictures, one after another
    column, row = np.divmod(edges - np.repeat(bases, numbers), np.repeat([p.size_px[0] for p in places], numbers))
    column += np.repeat(_before([len(place.columns) for place in places]), numbers)
    columns = np.concatenate([place.columns for place in places])
    inside = _inside(column, row, columns, starts, numbers, room.shape[2])
    heads = np.flatnonzero(row == 0)
    ended = heads[(heads - starts[np.searchsorted(starts, heads, side="right") - 1]) % 2 == 1]
    row += np.repeat(_before([len(place.rows) for place in places]), numbers)
    cells = room[0].size
    at = np.concatenate([place.rows + number * cells for number, place in enumerate(places)]).take(row)  # [N] bytes
    at[ends - 1] = at[ended] = _OUTSIDE  # the picture's end, and ones that end with the column before
    shown, after = columns.take(column), columns.take(column + 1)
    boxes = _boxes(at, shown, after, starts, numbers, cells, places)
    if inside is not None:
        _begin(room, inside, places, boxes)
    step = np.repeat([-1 if place.flip else 1 for place in places], numbers)
    at += np.repeat([place.right - 1 if place.flip else place.left for place in places], numbers) + step * shown
    flat = room.reshape(-1)
    while (here := np.flatnonzero((shown < after) & (at >= 0))).size:  # an enlarged column is shown several times
        marked = at.take(here)
        if inside is None and not (marked[1:] == marked[:-1]).any():
            flat[marked] = 1
        else:  # two changes in one place are none
            np.add.at(flat, marked, _ONE)
            flat[marked] &= _ONE
        shown += 1
        at += step
    return boxes


def _inside(
    column: np.ndarray, row: np.ndarray, columns: np.ndarray, starts: np.ndarray, numbers: np.ndarray, width: int
) -> np.ndarray | None:
    """Whether the masks are there where columns of the windows begin, [b, width]; None: nowhere.

    So it is where a run of ones goes on from one column into another.
    """
    crossing = np.flatnonzero(column[1:] != column[:-1])
    number = np.searchsorted(starts, crossing, side="right") - 1
    within = crossing - starts[number]
    ones = (within % 2 == 0) & (within + 1 < numbers[number])
    number, begin = number[ones], crossing[ones]
    end = begin + 1
    first, after = columns[column[begin] + 1], columns[column[end] + (row[end] > 0)]
    if not (first < after).any():
        return None
    marks = np.zeros((len(starts), width + 1), np.int8)
    np.add.at(marks, (number, first), 1)
    np.add.at(marks, (number, after), -1)
    return marks.cumsum(axis=1, dtype=np.int8)[:, :width]


def _boxes(
    at: np.ndarray,
    shown: np.ndarray,
    after: np.ndarray,
    starts: np.ndarray,
    numbers: np.ndarray,
    cells: int,
    places: Sequence[_Place],
) -> list[Span]:
    """The rows and columns of every canvas that marks lie in."""
    lowest = np.maximum.reduceat(at, starts).tolist()
    highest = np.minimum.reduceat(np.where(at < 0, _FAR, at), starts).tolist()
    first, last = shown[starts].tolist(), after[starts + np.maximum(numbers - 2, 0)].tolist()
    boxes = []
    for number, place in enumerate(places):
        if lowest[number] < 0:
            boxes.append((0, -1, 0, 0))
            continue
        origin, width = number * cells, place.right - place.left
        before, end = first[number], width if numbers[number] % 2 == 0 else last[number]  # ones up to the picture's end
        if place.flip:
            before, end = width - end, width - before
        rows = (highest[number] - origin) // place.lanes, (lowest[number] - origin) // place.lanes
        boxes.append((*rows, place.left + before, place.left + end))
    return boxes


def _begin(room: np.ndarray, inside: np.ndarray, places: Sequence[_Place], boxes: list[Span]) -> None:
    """Mark the columns that begin `inside` masks, and widen the boxes."""
    for number, (place, begins) in enumerate(zip(places, inside, strict=True)):
        if begins.any():
            own = begins[: place.right - place.left]
            room[number, place.top, place.left : place.right] = own[::-1] if place.flip else own
            boxes[number] = (place.top, max(place.top, boxes[number][1]), place.left, place.right)


def _before(lengths: Sequence[int]) -> np.ndarray:
    """How many come before each of several parts, [b]."""
    return np.cumsum([0, *lengths[:-1]])
