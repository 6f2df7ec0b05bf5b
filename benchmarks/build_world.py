"""What builds are measured on: photo-like JPEGs with sentences and masks, and encoders that cost no CPU.

Owns the inputs of `benchmarks.build` and `benchmarks.build_stages`, which measure.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.encoders import Levels
from pipeline.example import Example, Source
from pipeline.files.photos import load_picture
from pipeline.sources.refs.masks import encode_mask
from shards.contract.schema import Field
from shards.geometry.view import Size

POLYGONS = [[float(v) for v in (20 + 90 * k, 40, 320, 60 + 7 * k, 600, 240, 330, 460 - 9 * k)] for k in range(3)]
TOKENS, WIDTH = 40, 768
DISTINCT_JPEGS = 32


class JpegSource(Source):
    """`images` records over a few distinct photo-like 640 x 480 JPEGs on disk, each with its own sentences."""

    name = "benchmark"
    splits: Sequence[str] = ("train",)
    label_fields: tuple[Field, ...] = ()

    def __init__(self, folder: Path, images: int, sentences: int) -> None:
        self.folder, self.images, self.sentences = folder, images, sentences
        self.item_axis = "sentence" if sentences else "view"
        rng = np.random.default_rng(0)
        for number in range(DISTINCT_JPEGS):
            coarse = Image.fromarray(rng.integers(0, 256, (15, 20, 3), np.uint8)).resize(
                (640, 480), Image.Resampling.BICUBIC
            )
            noisy = np.asarray(coarse, np.int16) + rng.integers(-12, 13, (480, 640, 1))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=92)

    def keys(self, split: str) -> list[str]:
        return [f"{number:06d}" for number in range(self.images)]

    def load(self, split: str, key: str) -> Example:
        picture = self.picture(int(key))
        meta: dict[str, Any] = {"height": 480, "width": 640}
        if not self.sentences:
            return Example(key, picture, meta)
        meta["refs"] = [{"rle": encode_mask([polygon], 480, 640)} for polygon in POLYGONS]
        sentences = tuple(f"{key} {number}" for number in range(self.sentences))
        return Example(key, picture, meta, sentences, ((0, self.sentences),))

    def picture(self, number: int) -> np.ndarray | Image.Image:
        return load_picture(self.folder / f"{number % DISTINCT_JPEGS}.jpg")

    def identity(self, split: str) -> dict[str, Any]:
        return {"name": self.name}

    def counts(self, split: str) -> dict[str, int]:
        return {"images": self.images, "sentences": self.images * self.sentences}

    def card(self) -> dict[str, Any]:
        return {"title": "benchmark"}


class SleepingSource(JpegSource):
    """Its pictures have the size of a view, and come after a sleep: many cores decode while this one waits."""

    def __init__(self, folder: Path, images: int, sentences: int, seconds: float) -> None:
        super().__init__(folder, images, sentences)
        self.seconds = seconds
        self._pictures = [np.full((512, 512, 3), shade, np.uint8) for shade in range(DISTINCT_JPEGS)]

    def picture(self, number: int) -> np.ndarray:
        time.sleep(self.seconds)
        return self._pictures[number % DISTINCT_JPEGS]


class SleepingVae:
    """Takes its time without touching the CPU, as a well fed GPU does."""

    fingerprint: dict[str, Any] = {"encoder": "sleep"}  # noqa: RUF012  (a constant of the protocol)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def allocate_levels(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.empty(shape, np.uint8)

    def encode_levels(self, levels: Levels) -> dict[str, np.ndarray]:
        n, h, w, _ = levels.values.shape
        time.sleep(self.seconds * n)
        return {"latent": np.zeros((n, 4, h // 8, w // 8), np.float16)}

    def fields(self, size_px: Size) -> tuple[Field, ...]:
        return (Field("latent", "npy", "float16", ("V", 4, size_px[0] // 8, size_px[1] // 8), "view"),)

    def allocate(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.empty(shape, np.float32)

    def encode(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        time.sleep(self.seconds * len(pixels))
        return {"latent": np.zeros((len(pixels), 4, pixels.shape[2] // 8, pixels.shape[3] // 8), np.float16)}


class FinishedText:
    """States of the size of CLIP-L's, ready before they are asked for."""

    fingerprint: dict[str, Any] = {"encoder": "finished"}  # noqa: RUF012
    length, width = TOKENS, WIDTH

    def __init__(self, batch: int) -> None:
        self._states = np.random.default_rng(0).standard_normal((batch, TOKENS, WIDTH), np.float32)
        self._stored = self._states.astype(np.float16)

    def tokenize(self, sentences: list[str]) -> np.ndarray:
        tokens = np.zeros((len(sentences), TOKENS), np.int32)
        tokens[:, :2] = [[int(word) for word in sentence.split()] for sentence in sentences]
        return tokens

    def cut(self, sentences: list[str]) -> int:
        return 0

    def encode(self, tokens: np.ndarray) -> np.ndarray:
        return self._states

    def encode_to_store(self, tokens: np.ndarray) -> np.ndarray:
        return self._stored

    def encode_pooled(self, tokens: np.ndarray) -> np.ndarray:
        return self._states[:, 0]
