"""An image encoder without a network: the mean of every 8 x 8 pixels, which is the same bits in every process."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.encoders import ImageEncoder, ImageFacts
from shards.contract.schema import Field
from shards.geometry.view import Size

FACTS = ImageFacts("plain_encoder", channels=3, stride_px=8)


class PlainEncoder(ImageEncoder):
    def __init__(self) -> None:
        self.fingerprint: dict[str, Any] = {"encoder": FACTS.encoder}

    def fields(self, size_px: Size) -> tuple[Field, ...]:
        return FACTS.fields(size_px)

    def encode(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        batch, channels, height, width = pixels.shape
        cells = pixels.reshape(batch, channels, height // 8, 8, width // 8, 8)
        return {"latent": cells.mean((3, 5)).astype(np.float16)}


def describe() -> ImageFacts:
    return FACTS


def build(device: str = "cpu") -> PlainEncoder:
    del device
    return PlainEncoder()
