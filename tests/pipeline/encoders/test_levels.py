"""Levels stand for the same pixels, bit for bit, whoever makes them: the host, or the device's table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.encoders import LevelEncoder, Levels, sd_vae
from pipeline.encoders._levels import PixelsOfLevels
from pipeline.rendering.geometry import to_pixels

RNG = np.random.default_rng(5)
SIZES = [(32, 32, (0, 0)), (20, 24, (0, 0)), (9, 32, (12, 0)), (16, 8, (7, 5))]  # height, width, first pixel


@pytest.fixture(scope="module")
def levels() -> Levels:
    """Four views on a canvas of 32 x 32 and one row without a view, on what was left in memory."""
    found = Levels(RNG.integers(0, 256, (5, 32, 32, 3), np.uint8))
    found.values[0].reshape(-1)[:256] = np.arange(256)
    found.shown_px = [(top, left, top + h, left + w) for h, w, (top, left) in SIZES]
    return found


@pytest.fixture(scope="module")
def pixels(levels: Levels) -> np.ndarray:
    shown = [values[y0:y1, x0:x1] for values, (y0, x0, y1, x1) in zip(levels.values, levels.shown_px, strict=False)]
    out = np.zeros((5, 3, 32, 32), np.float32)
    return to_pixels(shown, (32, 32), out=out, pad_before_px=[corner for *_, corner in SIZES])


def test_computed_and_looked_up_pixels_are_equal(levels: Levels, pixels: np.ndarray) -> None:
    of = PixelsOfLevels(torch.device("cpu"))
    for made in (of.computed(levels), of.looked_up(levels)):
        assert made.is_contiguous()
        np.testing.assert_array_equal(made.numpy(), pixels)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_encoder_gives_the_latents_of_their_pixels(
    dtype: str, levels: Levels, pixels: np.ndarray, model_folder: Path
) -> None:
    vae = sd_vae.build(str(model_folder), dtype=dtype)
    assert isinstance(vae, LevelEncoder)
    assert vae.allocate_levels((5, 32, 32, 3)).shape == levels.values.shape
    np.testing.assert_array_equal(vae.encode_levels(levels)["latent"], vae.encode(pixels)["latent"])
