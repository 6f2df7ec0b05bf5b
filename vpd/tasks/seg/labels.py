"""Class labels as they are stored: grey 8-bit PNGs of class indices, 0 .. C - 1, and one value for no class.

Owns reading and checking them. Cutting them by a view is `shards.geometry.view`'s.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from shards.errors import CorruptShard, SchemaMismatch

if TYPE_CHECKING:
    from shards.reading.reader import StoredRecord
    from shards.reading.stream import Sample

LABEL = "label"


def stored_label(holder: Sample | StoredRecord, classes: int, ignore: int) -> np.ndarray:
    """The label of a record at its own size, uint8 `[H, W]`.

    Raises:
        SchemaMismatch: the set has no labels, or one holds a value that is neither a class nor `ignore`.
        CorruptShard: not a grey PNG of 8 bits.
    """
    where = f"record {holder.key}: {LABEL}.png"
    try:
        with Image.open(io.BytesIO(holder.payload(LABEL))) as picture:
            if picture.mode != "L":
                raise CorruptShard(f"{where}: Pillow mode {picture.mode}, expected a grey picture of 8 bits.")
            label = np.array(picture)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise CorruptShard(f"{where}: cannot be read as PNG ({error}); rebuild this shard.") from error
    present = np.flatnonzero(np.bincount(label.reshape(-1)))
    strange = present[(present >= classes) & (present != ignore)]
    if strange.size:
        raise SchemaMismatch(
            f"{where} holds the value {strange[-1]}; the task has {classes} classes, 0 to {classes - 1}, and ignores "
            f"{ignore}. Set task.classes and task.ignore_index to those of the set."
        )
    return label
