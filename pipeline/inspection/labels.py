"""What the dense labels of an example hold: classes that are counted, or depth that is measured.

Which of the two follows from the stored numbers: 8 bits are classes, 16 bits and floats are lengths, whose unit the
field says. Shapes: H, W = size of the picture.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from shards.contract.lengths import per_metre
from shards.contract.schema import Field

VALUES = 256  # of an 8-bit label
DEPTH_SAMPLE = 512  # measured pixels of a picture that percentiles are made of


@dataclass(frozen=True)
class Classes:
    """A label of classes: its pixels by value, int64 [256], and the map itself, uint8 [H, W]."""

    map: np.ndarray
    pixels: np.ndarray


@dataclass(frozen=True)
class Depth:
    """A label of lengths: metres float32 [H, W], 0 = no measurement, and some of the measured ones [n], ascending."""

    map_m: np.ndarray
    measured: int
    sample_m: np.ndarray


def read_labels(fields: Sequence[Field], labels: Mapping[str, np.ndarray | bytes]) -> list[Classes | Depth]:
    """The dense labels of an example that can be read so; others, such as `bin`, are not looked at.

    Raises:
        SchemaMismatch: a field of lengths that names no unit.
    """
    found: list[Classes | Depth] = []
    for field in fields:
        value = labels.get(field.name)
        stored = _decoded(value) if isinstance(value, bytes) and field.codec == "png" else value
        if not isinstance(stored, np.ndarray) or stored.ndim != 2:
            continue
        if stored.dtype == np.uint8:
            found.append(Classes(stored, np.bincount(stored.reshape(-1), minlength=VALUES)))
        else:
            found.append(_depth(stored.astype(np.float32) / np.float32(per_metre(field))))
    return found


def _depth(map_m: np.ndarray) -> Depth:
    measured = np.sort(map_m[map_m > 0])
    places = np.linspace(0, len(measured) - 1, min(DEPTH_SAMPLE, len(measured))).round().astype(int)
    return Depth(map_m, len(measured), measured[places])


def _decoded(payload: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(payload)) as picture:
        pixels = np.asarray(picture)
    return pixels if pixels.dtype == np.uint8 else pixels.astype(np.uint16)
