"""Labels in the form that training cuts without decoding them (`settings.labels: quick`).

Owns which labels have such a form; what it is, `shards.contract.quick_png` says.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from shards.contract.quick_png import SIGNATURE, quick_png

_DEEP = ("I;16", "I;16B", "I;16L", "I")  # Pillow's names for a grey picture of 16 bits


def quick_labels(labels: Mapping[str, np.ndarray | bytes]) -> dict[str, np.ndarray | bytes]:
    """Grey PNGs of 8 and 16 bits as quick ones, of the same pixels; everything else as it is."""
    return {name: _quick(label) if isinstance(label, bytes) else label for name, label in labels.items()}


def _quick(label: bytes) -> bytes:
    if not label.startswith(SIGNATURE):
        return label
    with Image.open(io.BytesIO(label)) as picture:
        if picture.mode == "L":
            return quick_png(np.asarray(picture))
        return quick_png(np.asarray(picture).astype(np.uint16)) if picture.mode in _DEEP else label
