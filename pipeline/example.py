"""What a dataset yields, and what a dataset is.

Owns `Example` (one image with its labels and sentences, at full size and undistorted) and the `Source` protocol.
Leaves resizing, cropping and flipping to `pipeline.rendering.geometry`, and the on-disk form to
`shards.contract.schema`.

Sizes are (height, width) in pixels. Shapes: H, W = height and width of the source image.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from shards.contract.schema import Field
from shards.errors import SourceError
from shards.geometry.view import Size

FloatBox = tuple[float, float, float, float]  # (x0, y0, x1, y1) in pixels of the picture, half-open


@dataclass(frozen=True, eq=False)
class Example:
    """One source image with everything that belongs to it.

    `items` cuts `sentences` into consecutive runs, one (first, count) per item, in order and without gaps: RefCOCO has
    one run for each referred object. Empty `items` means that the dataset has no sentences: the image is then one item,
    the run of all its views. Or an item is a part of the image, such as a person: `boxes_px` has one box for each, not
    empty and inside the image, and the item is the run of the views that are made of its box
    (`pipeline.views.BoxPlan`).

    `picture` is an array, or as Pillow has decoded it, which is what resizing reads: an array of it is made, and made
    back, for those who need one (`image`).

    `labels` are dense targets as large as the image, named as in `Source.label_fields`; bytes are stored as they are.

    `left_out` says of every entry of the picture that cannot be used, such as an object without a mask, what it is and
    why: it costs itself and not the picture, is counted, and is listed with the set's rejects.

    Raises SourceError where a source breaks one of these rules.
    """

    key: str
    picture: np.ndarray | Image.Image  # uint8 [H, W, 3], RGB; or of Pillow's mode RGB
    meta: dict[str, Any]
    sentences: tuple[str, ...] = ()
    items: tuple[tuple[int, int], ...] = ()
    labels: Mapping[str, np.ndarray | bytes] = field(default_factory=dict)
    boxes_px: tuple[FloatBox, ...] = ()
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check_key()
        self._check_pixels()
        self._check_items()
        self._check_boxes()
        try:
            json.dumps(self.meta, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise SourceError(f"example {self.key!r}: meta cannot be written as JSON: {error}") from error

    @cached_property
    def image(self) -> np.ndarray:
        """The picture, uint8 [H, W, 3], RGB."""
        return np.asarray(self.picture)

    @property
    def height_px(self) -> int:
        return size_of(self.picture)[0]

    @property
    def width_px(self) -> int:
        return size_of(self.picture)[1]

    def _check_key(self) -> None:
        # WebDataset takes everything after the first dot of a member's name for its extension.
        if not self.key or "." in self.key or "/" in self.key:
            raise SourceError(f"example key {self.key!r}: expected a name without a dot or a slash")

    def _check_pixels(self) -> None:
        image = self.picture
        if isinstance(image, Image.Image):
            if image.mode != "RGB" or 0 in image.size:
                raise SourceError(
                    f"example {self.key!r}: picture is of Pillow mode {image.mode}, {image.height} x {image.width}; "
                    "expected RGB, not empty"
                )
        elif image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise SourceError(
                f"example {self.key!r}: image is {image.dtype} {list(image.shape)}; expected uint8 [H, W, 3], RGB"
            )
        size_px = size_of(image)
        for name, label in self.labels.items():
            if isinstance(label, np.ndarray) and label.shape[:2] != size_px:
                raise SourceError(
                    f"example {self.key!r}: label {name!r} is {list(label.shape)}; "
                    f"expected the full size of the image, {list(size_px)}"
                )

    def _check_items(self) -> None:
        for sentence in self.sentences:
            if not is_text(sentence):
                raise SourceError(f"example {self.key!r}: sentence {sentence!r} is no text that UTF-8 can hold")
        if not self.items:
            if self.sentences:
                raise SourceError(
                    f"example {self.key!r}: {len(self.sentences)} sentences but no items; "
                    "give one (first, count) run for each item"
                )
            return
        end = 0
        for first, count in self.items:
            if first != end or count < 1:
                raise SourceError(
                    f"example {self.key!r}: items {list(self.items)} are not consecutive non-empty runs; "
                    f"found ({first}, {count}) where a run starting at {end} was expected"
                )
            end += count
        if end != len(self.sentences):
            raise SourceError(
                f"example {self.key!r}: items cover {end} sentences, the example has {len(self.sentences)}"
            )

    def _check_boxes(self) -> None:
        if self.boxes_px and self.sentences:
            raise SourceError(f"example {self.key!r}: boxes and sentences; an item is a run of one or the other")
        for x0, y0, x1, y1 in self.boxes_px:
            if not (0 <= x0 < x1 <= self.width_px and 0 <= y0 < y1 <= self.height_px):
                raise SourceError(
                    f"example {self.key!r}: box {(x0, y0, x1, y1)} is empty or not inside the image of "
                    f"{self.width_px} x {self.height_px} pixels"
                )


def size_of(picture: np.ndarray | Image.Image) -> Size:
    """(height, width) of either form of a picture."""
    return (picture.height, picture.width) if isinstance(picture, Image.Image) else picture.shape[:2]


def is_text(value: object) -> bool:
    """Whether a value is text that a file can hold: half of a UTF-16 pair is a `str` in Python, and in no encoding."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


class Inside(Protocol):
    """What belongs to one record inside a file that holds others: a row of a table, a frame."""

    @property
    def state(self) -> str:
        """Another text whenever this may have changed: a hash of the whole file."""
        ...

    def read_bytes(self) -> bytes:
        """Everything that the record is made of. OSError or Reject: it cannot be read."""
        ...


class Source(Protocol):
    """A dataset folder in its official layout, read at random: a shard is then a pure function of a slice of keys.

    Attributes:
        name: for manifests and messages.
        splits: that it has.
        travels: whether it is sent to the workers of a build with what it has read of its files, instead of each worker
            reading them: it pickles so, and its module is importable there.
        item_axis: what an item is a run of: "sentence", or "view" where an item is an image, or a box of it, with its
            views.
        file_entries: names of the entries of `identity` that follow from the files of single records (`files_of`) and
            the keys alone.
    """

    name: str
    splits: Sequence[str]
    item_axis: str
    travels: bool = False
    file_entries: Sequence[str] = ()

    @property
    def label_fields(self) -> tuple[Field, ...]:
        """The dense labels that every example carries, in storage order; by default none."""
        return ()

    def keys(self, split: str) -> list[str]:
        """Names of the split's records in a fixed order. SourceError: bad folder or unknown split."""
        ...

    def load(self, split: str, key: str) -> Example:
        """One record; safe to call from several threads. Reject: this one cannot be used, and why."""
        ...

    def files_of(self, split: str, key: str) -> Mapping[str, Path | Inside] | None:
        """Every file that belongs to this record alone, by its name inside the dataset, or its part of a file that
        holds others. A finished set is brought up to date by them. None, the default, where there are none such:
        records are then read again when `identity` changes."""
        return None

    def identity(self, split: str) -> dict[str, Any]:
        """What makes this data this data, for the fingerprint: every option, and hashes of files in entries named
        `sha256` or `..._sha256`, never absolute paths. A build is refused where an option differs, and brought up to
        date where a hash does."""
        ...

    def counts(self, split: str) -> dict[str, int]:
        """How much the split holds, before any reject: "images" that have a key, and where they exist "refs" and
        "sentences", or "boxes"; other names are for people."""
        ...

    def notices(self, split: str) -> Sequence[str]:
        """What was found in the split's files before anything is encoded: counted, repaired, or read of some labels, a
        line each, for whoever builds. SourceError: it cannot be what the options declare."""
        return ()

    def card(self) -> dict[str, Any]:
        """Facts for the set's README: title, origin, licence, terms, url, splits; what is absent is "not stated"."""
        return {}
