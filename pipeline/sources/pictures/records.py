"""What a picture becomes, wherever it lies: its record, and what is said of a set of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from pipeline.example import Example


def record_of(key: str, name: str, picture: Image.Image, sentences: tuple[str, ...] | None) -> Example:
    """With captions, each is a sentence, and all of them are the one item."""
    meta = {"file_name": name, "height": picture.height, "width": picture.width}
    if sentences is None:
        return Example(key, picture, meta)
    return Example(key, picture, meta, sentences, ((0, len(sentences)),))


def counts_of(pictures: int, captioned: bool) -> dict[str, int]:
    """With captions also `refs`, one a picture, and `sentences`, as many where each has one."""
    return {"images": pictures, "refs": pictures, "sentences": pictures} if captioned else {"images": pictures}


def card_of(title: str, splits: Sequence[str]) -> dict[str, Any]:
    """For the set's README."""
    return {
        "title": title,
        "origin": "Pictures of a user.",
        "licence": "not stated: whoever built this set knows",
        "terms": "those of the pictures it was made from; decoding their latents shows them again",
        "url": "",
        "splits": {split: {} for split in splits},
    }
