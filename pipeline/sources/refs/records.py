"""One picture with its refs as an Example: a ref that cannot be used costs itself, and the picture if it was the last.

Owns that rule and the form of `meta["refs"]`: an object for each item, with `rle`, the mask of everything its sentences
mean, as COCO run lengths of the whole picture. An empty mask is a ref without a target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from pipeline.example import Example, size_of
from pipeline.sources.refs.masks import Rle
from shards.errors import Reject


@dataclass(frozen=True)
class UsableRef:
    """A ref that can be used: its sentences, its mask, and what else is stored of it."""

    sentences: tuple[str, ...]
    rle: Rle
    meta: Mapping[str, Any]


def example_of(
    key: str,
    picture: np.ndarray | Image.Image,
    file: Mapping[str, Any],
    refs: Sequence[UsableRef],
    left_out: Sequence[str],
) -> Example:
    """The record of a picture.

    Args:
        picture: uint8 [H, W, 3], or of Pillow's mode RGB.
        file: what is stored of the picture itself; `height` and `width` are added.
        left_out: what the other refs are and why they cannot be used.

    Raises:
        Reject: no ref is left; with the reasons.
    """
    if not refs:
        raise Reject("; ".join(left_out) or f"picture {key} has no refs")
    sentences: list[str] = []
    items: list[tuple[int, int]] = []
    for ref in refs:
        items.append((len(sentences), len(ref.sentences)))
        sentences.extend(ref.sentences)
    height, width = size_of(picture)
    meta = {
        **file,
        "height": height,
        "width": width,
        "refs": [{**ref.meta, "rle": ref.rle} for ref in refs],
    }
    return Example(key, picture, meta, tuple(sentences), tuple(items), left_out=tuple(left_out))
