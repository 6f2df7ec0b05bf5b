"""A dataset: pictures of two squares on grey, and a sentence for each square."""

import zlib

import numpy as np
from PIL import Image

from pipeline.example import Example, Source


class Squares(Source):
    name, item_axis, splits = "squares", "sentence", ("train", "val")
    picture_px, square_px = 32, 12

    def __init__(self, pictures: int) -> None:
        self.pictures = pictures

    def keys(self, split: str) -> list[str]:
        return [f"{split}-{number}" for number in range(self.pictures)]

    def load(self, split: str, key: str) -> Example:
        side, random = self.picture_px, np.random.default_rng(zlib.crc32(key.encode()))
        colours, boxes = random.permutation(["red", "green", "blue"])[:2].tolist(), []
        picture = Image.new("RGB", (side, side), "grey")
        for colour, x in zip(colours, (2, 18), strict=True):  # one square in each half
            y = int(random.integers(0, side - self.square_px))
            boxes.append((x, y, x + self.square_px, y + self.square_px))
            picture.paste(colour, boxes[-1])
        meta = {"height": side, "width": side, "boxes": boxes}
        return Example(key, np.asarray(picture), meta, tuple(f"the {c} square" for c in colours), ((0, 1), (1, 1)))

    def identity(self, split: str) -> dict[str, object]:
        return {"name": self.name, "pictures": self.pictures}

    def counts(self, split: str) -> dict[str, int]:
        return {"images": self.pictures, "refs": 2 * self.pictures, "sentences": 2 * self.pictures}


build = Squares
