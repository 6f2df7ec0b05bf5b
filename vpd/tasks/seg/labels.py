"""Class labels as they are stored: grey 8-bit PNGs of class indices, 0 .. C - 1, and one value for no class.

Owns reading and checking them, and the choice between the two ways to cut one by a view: quick PNGs from the runs of
their rows (`shards.geometry.quick_cut`), others decoded (`shards.geometry.view`).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from shards.contract.quick_png import row_runs
from shards.errors import CorruptShard, SchemaMismatch
from shards.geometry.quick_cut import cut_runs
from shards.geometry.view import View, cut_label

if TYPE_CHECKING:
    from shards.reading.batch import Sample
    from shards.reading.reader import StoredRecord

LABEL = "label"
SHOWN = "host_classes"  # of a label on the host: bool [C], whether it shows a class (`vpd.model.device_batch`)


def stored_label(holder: Sample | StoredRecord, classes: int, ignore: int) -> np.ndarray:
    """The label of a record at its own size, uint8 `[H, W]`.

    Raises:
        SchemaMismatch: the set has no labels, or one holds a value that is neither a class nor `ignore`.
        CorruptShard: not a grey PNG of 8 bits.
    """
    return _decoded(holder.payload(LABEL), f"record {holder.key}: {LABEL}.png", classes, ignore)


def _decoded(payload: memoryview, where: str, classes: int, ignore: int) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(payload)) as picture:
            if picture.mode != "L":
                raise CorruptShard(f"{where}: Pillow mode {picture.mode}, expected a grey picture of 8 bits.")
            label = np.array(picture)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise CorruptShard(f"{where}: cannot be read as PNG ({error}); rebuild this shard.") from error
    _check(label, classes, ignore, where)
    return label


def shown_label(sample: Sample, view: View, classes: int, ignore: int, out: np.ndarray | None = None) -> np.ndarray:
    """The part of a sample's label that a view shows, uint8 `[h, w]`, its padding ignored; in `out`, if it is given.

    Raises:
        As `stored_label`; SchemaMismatch for an `out` of another size than the view's.
    """
    where = f"record {sample.key}: {LABEL}.png"
    if out is not None and out.shape != view.label_px:
        raise SchemaMismatch(f"{where}: a view of {view.label_px} pixels in a batch of {out.shape}; use batches of one")
    payload = sample.payload(LABEL)
    runs = row_runs(payload, where)
    if runs is not None:
        _check(runs.values, classes, ignore, where)
        return cut_runs(runs, view, ignore, out)
    shown = cut_label(_decoded(payload, where, classes, ignore), view, fill=ignore)
    if out is None:
        return shown
    out[...] = shown
    return out


def shown_classes(label: np.ndarray, classes: int, out: np.ndarray | None = None) -> np.ndarray:
    """Which classes a label `[h, w]` shows, bool `[classes]`; in `out`, if it is given."""
    values = np.zeros(256, bool)
    values[label] = True
    if out is None:
        return values[:classes]
    out[...] = values[:classes]
    return out


def _check(values: np.ndarray, classes: int, ignore: int, where: str) -> None:
    """SchemaMismatch: a value is neither a class nor `ignore`."""
    strange = (values >= classes) & (values != ignore)
    if strange.any():
        raise SchemaMismatch(
            f"{where} holds the value {values[strange].max()}; the task has {classes} classes, 0 to {classes - 1}, and "
            f"ignores {ignore}. Set task.classes and task.ignore_index to those of the set."
        )
