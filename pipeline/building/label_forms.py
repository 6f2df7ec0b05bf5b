"""Labels in the form that training cuts without decoding them (`settings.labels: quick`), and back as small PNGs.

Owns which labels have such a form; what it is, `shards.contract.quick_png` says.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from pipeline.building.recipe import LabelForm
from shards.contract.quick_png import SIGNATURE, plain_rows, quick_png, row_runs
from shards.errors import CorruptShard

_DEEP = ("I;16", "I;16B", "I;16L", "I")  # Pillow's names for a grey picture of 16 bits


def quick_labels(labels: Mapping[str, np.ndarray | bytes]) -> dict[str, np.ndarray | bytes]:
    """Grey PNGs of 8 and 16 bits as quick ones, of the same pixels; everything else as it is."""
    return {name: _quick(label) if isinstance(label, bytes) else label for name, label in labels.items()}


def repacked_labels(labels: Mapping[str, np.ndarray | bytes]) -> dict[str, np.ndarray | bytes]:
    """Quick PNGs as small ones, of the same pixels; everything else as it is. Their bytes are not those of the source
    where another program wrote its files."""
    return {name: _repacked(label) if isinstance(label, bytes) else label for name, label in labels.items()}


def converted_labels(labels: Mapping[str, Any], form: LabelForm, where: str) -> dict[str, Any]:
    """Labels in another form, made sure to be of the same pixels. CorruptShard for one that cannot be decoded."""
    try:
        found = quick_labels(labels) if form == "quick" else repacked_labels(labels)
        for name, label in found.items():
            if label is not labels[name] and not np.array_equal(pixels_of(labels[name]), pixels_of(bytes(label))):
                raise CorruptShard(f"{name} of {where}: its pixels would not be the same; nothing of it was kept")
    except (OSError, SyntaxError, ValueError) as error:
        raise CorruptShard(f"a label of {where} cannot be decoded ({error}); rebuild its shard") from error
    return found


def pixels_of(label: bytes) -> np.ndarray:
    """[H, W] of a PNG, as its reader gets them."""
    with Image.open(io.BytesIO(label)) as picture:
        return np.asarray(picture)


def _repacked(label: bytes) -> bytes:
    payload = memoryview(label)
    if row_runs(payload, "a label") is None and plain_rows(payload) is None:
        return label
    pixels, buffer = pixels_of(label), io.BytesIO()
    Image.fromarray(pixels if pixels.dtype == np.uint8 else pixels.astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def _quick(label: bytes) -> bytes:
    if not label.startswith(SIGNATURE):
        return label
    with Image.open(io.BytesIO(label)) as picture:
        if picture.mode == "L":
            return quick_png(np.asarray(picture))
        return quick_png(np.asarray(picture).astype(np.uint16)) if picture.mode in _DEEP else label
