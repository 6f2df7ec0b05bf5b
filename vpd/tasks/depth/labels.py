"""What a depth record is labelled with: depth as it is stored, in metres and back, and the class of the scene.

Owns the 16-bit PNG. Two forms are stored, each as its dataset comes: grey PNGs of whole units, and float arrays. What 1
means in metres, the schema's unit text says (`shards.contract.lengths`). 0 is no measurement, before and after.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from shards.contract.lengths import per_metre
from shards.contract.quick_png import plain_rows
from shards.errors import CorruptShard, SchemaMismatch
from shards.geometry.quick_cut import cut_quotients
from shards.geometry.view import View, cut_label

if TYPE_CHECKING:
    from shards.contract.schema import Field
    from shards.reading.batch import Sample
    from shards.reading.reader import StoredRecord

PNG_PER_M = 1000.0  # millimetres, as NYUv2 stores them
_GREY_16 = ("I;16", "I;16B", "I;16L", "I")  # Pillow's names for a grey picture of 16 bits


def stored_depth(view: Sample | StoredRecord, field: Field) -> np.ndarray:
    """The full-size depth of a record as stored, `[H, W]`: uint16 units of a PNG, or the array.

    Raises:
        SchemaMismatch: not two-dimensional.
        CorruptShard: the PNG cannot be read, or is not a grey one of 16 bits.
    """
    if field.codec == "png":
        return _read_png(view.payload(field.name), view.key, field.name)
    depth = view.array(field.name)
    if depth.ndim != 2:
        raise SchemaMismatch(f"record {view.key}: {field.name} has shape {list(depth.shape)}, expected [H, W].")
    return depth


def fill_metres(depth: np.ndarray, sample: Sample, view: View) -> None:
    """Write the metres that a sample's view shows into float32 `[h, w]`, 0 where that reaches over the view's content:
    below it and to the right.

    Raises:
        As `stored_depth`; SchemaMismatch too for a field in no known unit.
    """
    field, (height, width) = sample.record.shards.schema.field("depth"), view.content_px
    depth[height:], depth[:height, width:] = 0, 0
    shown = depth[:height, :width]
    if field.codec == "png":
        payload = sample.payload(field.name)
        quick = plain_rows(payload)
        if quick is not None:
            cut_quotients(quick, view, per_metre(field), shown)
            return
        stored = _read_png(payload, sample.key, field.name)
    else:
        stored = stored_depth(sample, field)
    top, left = view.pad_before_px
    shown[...] = cut_label(stored, view)[top : top + height, left : left + width]
    shown /= np.float32(per_metre(field))  # divided, as `metres` does


def metres(stored: np.ndarray, units_per_metre: float) -> np.ndarray:
    """Stored depth as float32 metres; divided, as published, so that 1500 mm are the float nearest to 1.5."""
    return stored.astype(np.float32) / np.float32(units_per_metre)


def write_png(depth_m: np.ndarray, path: str | Path, units_per_metre: float = PNG_PER_M) -> None:
    """Write depth `[H, W]` in metres as a 16-bit grey PNG: rounded, held inside 0..65535, 0 where not finite. The file
    states its unit in a text chunk."""
    stated = PngInfo()
    stated.add_text("unit", f"1/{units_per_metre:g} metres; 0: no depth")
    units = np.where(np.isfinite(depth_m), depth_m, 0.0).astype(np.float64) * units_per_metre
    Image.fromarray(units.round().clip(0, 65535).astype(np.uint16)).save(path, format="PNG", pnginfo=stated)


def _read_png(payload: memoryview, key: str, name: str) -> np.ndarray:
    where = f"record {key}: {name}.png"
    try:
        with Image.open(io.BytesIO(payload)) as picture:
            if picture.mode not in _GREY_16:
                raise CorruptShard(f"{where}: Pillow mode {picture.mode}, expected a grey picture of 16 bits.")
            return np.asarray(picture).astype(np.uint16)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise CorruptShard(f"{where}: cannot be read as PNG ({error}); rebuild this shard.") from error


def class_id_of(holder: Sample | StoredRecord) -> np.ndarray:
    """int64 scalar: the class of a record's scene, -1 for none. SchemaMismatch: it states neither."""
    found = holder.meta.get("class_id")
    if not isinstance(found, int) or found < -1:
        raise SchemaMismatch(
            f"record {holder.key}: meta['class_id'] is {found!r}, expected the number of its scene class, or -1 for "
            "none. Task depth reads sets built from a depth source; see the set's README."
        )
    return np.array(found, np.int64)
