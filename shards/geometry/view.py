"""The recorded geometry of a view: how a stored latent was made from its source image, and how labels are cut alike.

Owns the View record, which rides in a record's meta["views"], and `cut_label`, because both sides need the same
answer: the build side shows the encoder what a view says (`pipeline.rendering.geometry`), the train side cuts the
full-size label by it at load. Which views an image gets is `pipeline.views`'.

Sizes are (h, w); boxes are (x0, y0, x1, y1), half-open, x to the right, y down, the origin at the top-left corner of
the top-left pixel. The steps run in a fixed order that covers the published pipelines: cut `box_px`, resize it to
`resized_px`, cut `window_px`, flip, recolour, enlarge, pad. Labels are resized with Pillow's nearest rule, as the
published masks are (docs/methods/refer.md#preprocessing), restated on indices so that every dtype works.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from shards.errors import ConfigError, Reject, SchemaMismatch

if TYPE_CHECKING:
    from shards.reading.batch import Sample
    from shards.reading.reader import StoredRecord

Size = tuple[int, int]  # (h, w)
Box = tuple[int, int, int, int]  # (x0, y0, x1, y1), half-open

_OPTIONAL = {"enlarged_px": None, "pad_before_px": (0, 0)}  # added to the contract later; absent is these values

KERNELS = ("pil_bilinear", "pil_bicubic", "pil_nearest")


@dataclass(frozen=True)
class View:
    """One crop of one source image. Sizes are (h, w); boxes are (x0, y0, x1, y1), half-open.

    `box_px` is in source pixels, `window_px` in pixels of the resized box. `size_px`, what the encoder sees, is the
    window plus `pad_before_px` (rows at the top, columns at the left) and `pad_px` (rows at the bottom, columns at the
    right). `colour` lists (step, number, ...) in the order of application; what the steps do is said in
    `pipeline.rendering.colour` and `pipeline.rendering.cut_depth`.

    `enlarged_px`, if given, is the window's size after one more bilinear resize, and no padding: Meta Prompts shows
    the encoder 512 pixels of a 480 pixel crop (docs/methods/meta_prompts.md#depth-head). Labels and predictions keep
    the window's size.
    """

    size_px: Size
    box_px: Box
    resized_px: Size
    window_px: Box
    kernel: str = "pil_bilinear"
    flip: bool = False
    pad_px: Size = (0, 0)
    colour: tuple[tuple[str | float, ...], ...] = ()
    enlarged_px: Size | None = None
    pad_before_px: Size = (0, 0)

    def __post_init__(self) -> None:
        _check_box("box_px", self.box_px)
        _check_box("window_px", self.window_px, within=self.resized_px)
        if self.kernel not in KERNELS:
            raise ConfigError(f"view: resize kernel {self.kernel!r} is unknown; known: {', '.join(KERNELS)}")
        shown, before, after = self.shown_px, self.pad_before_px, self.pad_px
        padded = (before[0] + shown[0] + after[0], before[1] + shown[1] + after[1])
        if min(*before, *after) < 0 or padded != self.size_px:
            raise ConfigError(
                f"view: size_px is {self.size_px}, but {before} of padding, the window's {shown} and pad_px {after} "
                f"are {padded}; they must agree"
            )
        if self.enlarged_px is not None and self.is_padded:
            raise ConfigError(f"view: enlarged to {self.enlarged_px} and padded to {self.size_px}; expected only one")

    @property
    def content_px(self) -> Size:
        """Size of the window: of the label and the prediction of the view, without padding."""
        x0, y0, x1, y1 = self.window_px
        return y1 - y0, x1 - x0

    @property
    def shown_px(self) -> Size:
        """Size of the window as the encoder sees it: enlarged, or as it is."""
        return self.content_px if self.enlarged_px is None else self.enlarged_px

    @property
    def label_px(self) -> Size:
        """Size of a label that is cut by the view: with its padding, but not enlarged."""
        return self.size_px if self.is_padded else self.content_px

    @property
    def is_padded(self) -> bool:
        """Whether the encoder sees anything but picture."""
        return any((*self.pad_px, *self.pad_before_px))

    def padded(self, shown: np.ndarray, fill: float) -> np.ndarray:
        """What the window shows, [h, w], with the view's padding around it, in one piece of memory."""
        if self.is_padded:
            (top, left), (bottom, right) = self.pad_before_px, self.pad_px
            shown = np.pad(shown, ((top, bottom), (left, right)), constant_values=fill)
        return np.ascontiguousarray(shown)

    def mirrored(self) -> View:
        """The mirror image of the view. A view is flipped before it is padded, so the padding changes sides too."""
        (top, left), (bottom, right) = self.pad_before_px, self.pad_px
        return replace(self, flip=not self.flip, pad_before_px=(top, right), pad_px=(bottom, left))

    def to_json(self) -> dict[str, Any]:
        """Plain data. The later steps, which most views lack, are named only where they do something."""
        return {name: _listed(value) for name, value in vars(self).items() if value != _OPTIONAL.get(name, ...)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> View:
        """Inverse of `to_json`. Raises SchemaMismatch when the names are not a view's."""
        return _parsed(orjson.dumps(record))


def cut_label(label: np.ndarray, view: View, fill: float = 0) -> np.ndarray:
    """The part of a full-size label that a view shows.

    Args:
        label: [H, W], any dtype.
        view: the record of the view.
        fill: the label's own "nothing here": the ignore value of a segmentation, 0 for depth and masks.

    Returns:
        [h, w] in the label's dtype, nearest neighbour, of the view's `label_px`.

    Raises:
        Reject: the view's box does not lie inside the label.
    """
    check_inside(label.shape[:2], view)
    rows, columns = shown_lines(view)
    # Rows first: whole ones are copied at once. Both by one index would be looked up pixel by pixel.
    return view.padded(label.take(rows, axis=0).take(columns[::-1] if view.flip else columns, axis=1), fill)


def shown_lines(view: View) -> tuple[np.ndarray, np.ndarray]:
    """The (rows, columns) of the source that the view's window shows, ascending, before it is flipped: int [h], [w]."""
    (left, top, right, bottom), (height, width) = view.box_px, view.resized_px
    x0, y0, x1, y1 = view.window_px
    return top + _nearest(bottom - top, height)[y0:y1], left + _nearest(right - left, width)[x0:x1]


def recorded_views(record: StoredRecord | Sample) -> list[View]:
    """All views of a record, in the order of their latents."""
    return [View.from_json(view) for view in record.meta.get("views", [])]


def drawn_view(sample: Sample) -> View:
    """The one view that was drawn of an item whose rows are views; SchemaMismatch if its record does not have it."""
    views = sample.meta.get("views", [])
    if sample.row >= len(views):
        raise SchemaMismatch(f"record {sample.key}: view {sample.row} was drawn, meta['views'] has {len(views)}.")
    return View.from_json(views[sample.row])


def check_inside(size_px: Size, view: View) -> None:
    """Reject a view whose box reaches outside an image or label of this size."""
    height, width = size_px
    _, _, x1, y1 = view.box_px
    if x1 > width or y1 > height:
        raise Reject(f"view box {view.box_px} reaches outside the image of {width} x {height} pixels")


@lru_cache(maxsize=1024)  # most sets show many records alike
def _parsed(text: bytes) -> View:
    record, names = orjson.loads(text), set(View.__dataclass_fields__)
    if not names - _OPTIONAL.keys() <= set(record) <= names:
        raise SchemaMismatch(
            f"view record: found {sorted(record)}, expected {sorted(names)}; it was written by another version"
        )
    return View(**{name: _tupled(value) for name, value in record.items()})


@lru_cache(maxsize=256)
def _nearest(source: int, target: int) -> np.ndarray:
    """Source index of every target pixel, by Pillow's nearest rule: a running sum of steps, rounded down."""
    steps = np.full(target, source / target)
    steps[0] *= 0.5
    found = np.add.accumulate(steps).astype(np.intp)
    found.flags.writeable = False  # the same one for everybody
    return found


def _check_box(name: str, box: Box, within: Size | None = None) -> None:
    x0, y0, x1, y1 = box
    height, width = within if within is not None else (y1, x1)
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        inside = f" inside {width} x {height} pixels" if within is not None else ""
        raise ConfigError(f"view: {name} is {box}, expected a non-empty (x0, y0, x1, y1){inside}")


def _listed(value: Any) -> Any:
    return [_listed(part) for part in value] if isinstance(value, tuple) else value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(part) for part in value) if isinstance(value, list | tuple) else value
