"""A set is the same whatever form pictures and pixels have on their way: arrays or Pillow's, pixels or levels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.encoders import LevelEncoder, Levels
from pipeline.encoders._levels import PixelsOfLevels
from pipeline.example import Example
from shards.geometry.view import View
from tests.pipeline.toys import Build, ToySource, ToyVae, digests


class Padded:
    """Two views of an image that do not fill the canvas, one of them away from its corner, and one that does."""

    size_px = (32, 32)
    views_per_image = 3

    def views(self, key: str, height: int, width: int, labels: object = None) -> list[View]:
        whole = (0, 0, width, height)
        return [
            View((32, 32), whole, (20, 24), (0, 0, 24, 20), pad_px=(12, 8)),
            View((32, 32), whole, (20, 24), (2, 1, 22, 20), pad_px=(8, 7), pad_before_px=(5, 5), flip=True),
            View((32, 32), whole, (32, 32), (0, 0, 32, 32)),
        ]

    def identity(self) -> dict[str, str]:
        return {"plan": "padded"}


@dataclass
class LevelVae(ToyVae):
    """The same encoder, as on a device that looks its pixels up."""

    def allocate_levels(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.full(shape, 99, np.uint8)

    def encode_levels(self, levels: Levels) -> dict[str, np.ndarray]:
        return self.encode(PixelsOfLevels(torch.device("cpu")).looked_up(levels).numpy())


class DecodedSource(ToySource):
    """Gives pictures as Pillow decodes them."""

    def load(self, split: str, key: str) -> Example:
        found = super().load(split, key)
        assert isinstance(found.picture, np.ndarray)
        return Example(key, Image.fromarray(found.picture), found.meta, found.sentences, found.items)


def test_levels_and_decoded_pictures_give_the_bytes_of_pixels_and_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Build(tmp_path / "a" / "toys", plan=Padded())
    plain.run()

    def used(example: Example) -> np.ndarray:
        raise AssertionError("the picture was packed into an array on its way")

    monkeypatch.setattr(Example, "image", property(used))
    levels = Build(tmp_path / "b" / "toys", DecodedSource(), LevelVae(), plan=Padded())
    assert isinstance(levels.vae, LevelEncoder)
    assert not isinstance(plain.vae, LevelEncoder)
    levels.run()
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
