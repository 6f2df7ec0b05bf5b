"""A source of many small pictures with labels, some of which cannot be used, that takes its time for each."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from pipeline.example import Example, Source
from pipeline.files.label_png import encode_label
from shards.contract.schema import Field
from shards.errors import Reject

SIDE_PX, UNUSABLE = 32, 23  # every so many


class ManyPictures(Source):
    name = "many_pictures"
    splits = ("train",)
    item_axis = "view"

    def __init__(self, pictures: int, seconds: float) -> None:
        self._pictures, self._seconds = pictures, seconds

    @property
    def label_fields(self) -> tuple[Field, ...]:
        return (Field("label", "png", unit="class indices"),)

    def keys(self, split: str) -> list[str]:
        return [f"picture{number:04d}" for number in range(self._pictures)]

    def load(self, split: str, key: str) -> Example:
        time.sleep(self._seconds)
        number = int(key[7:])
        if number % UNUSABLE == UNUSABLE - 1:
            raise Reject("torn")
        rng = np.random.default_rng(number)
        picture = rng.integers(0, 256, (SIDE_PX, SIDE_PX, 3), np.uint8)
        label = encode_label(rng.integers(0, 3, (SIDE_PX, SIDE_PX), np.uint8))
        return Example(key, picture, {"image_id": number, "height": SIDE_PX, "width": SIDE_PX}, labels={"label": label})

    def identity(self, split: str) -> dict[str, Any]:
        return {"name": self.name, "count": self._pictures}  # how slow it is makes no other set

    def counts(self, split: str) -> dict[str, int]:
        return {"images": self._pictures}

    def card(self) -> dict[str, Any]:
        return {"title": "Many pictures", "licence": "none"}


def build(pictures: int = 220, seconds: float = 0.0) -> ManyPictures:
    return ManyPictures(pictures, seconds)
