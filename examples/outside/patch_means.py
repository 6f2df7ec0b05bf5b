"""An image encoder: the mean colour of every 4 x 4 patch, so latents of 3 channels at a quarter of the picture."""

import numpy as np

from pipeline.encoders import ImageEncoder, ImageFacts
from shards.contract.schema import Field
from shards.geometry.view import Size

STRIDE_PX = 4


class PatchMeans(ImageEncoder):
    def __init__(self) -> None:
        self.fingerprint = {"encoder": __name__, "weights": "none"}

    def fields(self, size_px: Size) -> tuple[Field, ...]:
        return describe().fields(size_px)

    def encode(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        n, channels, height, width = pixels.shape
        patches = pixels.reshape(n, channels, height // STRIDE_PX, STRIDE_PX, width // STRIDE_PX, STRIDE_PX)
        return {"latent": patches.mean(axis=(3, 5)).astype(np.float16)}  # [N, 3, h, w]


def build(device: str = "cpu") -> PatchMeans:
    return PatchMeans()


def describe() -> ImageFacts:
    return ImageFacts(encoder=__name__, channels=3, stride_px=STRIDE_PX)
