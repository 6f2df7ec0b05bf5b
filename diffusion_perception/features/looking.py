"""Layers and words of a frozen model as pictures, for the page and the command: principal components of features, heat
maps of words, the same places in two pictures.

Owns sizes and captions. Drawing is `vpd.drawing`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from shards.errors import ConfigError

if TYPE_CHECKING:
    from diffusion_perception.features.reading import Features

MULTIPLE_PX = 64  # of the sides of what a model of any family takes
MOST_WORDS = 12
GRID_PX = 256  # longer side of the pictures that points are matched on
Captioned = tuple[np.ndarray, str]  # uint8 [H, W, 3]


class Looking:
    """A model, loaded when it is first asked."""

    def __init__(self, model: str, device: str = "", side_px: int = 512) -> None:
        self.model, self._device, self._side_px = model, device, side_px

    @cached_property
    def features(self) -> Features:
        """Raises ConfigError: no model there, or of an unknown family."""
        from diffusion_perception.features.reading import Features

        return Features.from_pretrained(self.model, device=self._device)

    def layers(self) -> list[str]:
        """The names of the blocks."""
        return self.features.layers()

    def components(
        self, image: np.ndarray | None, prompt: str, layers: Sequence[str], timestep: float = 1
    ) -> list[Captioned]:
        """Three principal components of each layer as red, green and blue, as large as the picture.

        Raises:
            ConfigError: no picture, or no such layer.
        """
        from vpd.drawing.components import in_three_colours

        seen_px, image = self._sized(image)
        if not layers:
            raise ConfigError("Choose at least one layer.")
        noise = "ddpm" if timestep > 1 else "none"
        seen = self.features([image], prompt, layers=list(layers), timestep=timestep, noise=noise, size_px=seen_px)
        shown = []
        for layer, found in seen.items():
            _, channels, h, w = found.values.shape
            picture = in_three_colours(found.values[0])
            shown.append((enlarged(picture, image.shape[:2]), f"{layer}: {channels} channels, {h} x {w}"))
        return shown

    def heats(self, image: np.ndarray | None, prompt: str, words: str = "", timestep: float = 1) -> list[Captioned]:
        """Where the model looks for words of the prompt: those named, else all of it.

        Raises:
            ConfigError: no picture, no prompt, or a word that is not in it.
        """
        from vpd.drawing.components import glowing

        seen_px, image = self._sized(image)
        asked = words_of(words or prompt)[:MOST_WORDS]
        if not prompt.strip():
            raise ConfigError("Write a prompt: the model looks for its words.")
        noise = "ddpm" if timestep > 1 else "none"
        seen = self.features([image], prompt, attention="cross", timestep=timestep, noise=noise, size_px=seen_px)
        sizes = image.shape[0], image.shape[1]
        return [(glowing(image, seen.heat_of(word, size=sizes).cpu().numpy()), word) for word in asked]

    def matched(
        self,
        image: np.ndarray | None,
        other: np.ndarray | None,
        points_px: Sequence[tuple[int, int]],
        layer: str,
        timestep: float = 1,
    ) -> np.ndarray:
        """Both pictures with lines from points of the one, (x, y), to where the layer finds them in the other.

        Raises:
            ConfigError: a picture is missing, or no such layer.
        """
        import torch

        from vpd.drawing.match_lines import with_lines
        from vpd.features.matching import matches

        maps, shown, grids = [], [], []
        for picture in (image, other):
            seen_px, small = self._sized(picture)
            noise = "ddpm" if timestep > 1 else "none"
            seen = self.features([small], "", layers=[layer], timestep=timestep, noise=noise, size_px=seen_px)
            maps.append(seen[layer].values[0])
            shown.append(small)
            scale = min(GRID_PX / max(small.shape[:2]), 1)  # every pixel of a grid holds all channels
            grids.append((max(round(small.shape[0] * scale), 1), max(round(small.shape[1] * scale), 1)))
        assert image is not None
        points = np.array(points_px, np.float64).reshape(-1, 2) / image.shape[1::-1]  # shares of width and height
        asked = torch.from_numpy(points * grids[0][::-1]).long().to(maps[0].device)
        found = matches(maps[0], maps[1], asked, *grids).cpu().numpy()
        there = (found + 0.5) / grids[1][::-1] * shown[1].shape[1::-1]
        return with_lines(shown[0], shown[1], points * shown[0].shape[1::-1], there)

    def _sized(self, image: np.ndarray | None) -> tuple[tuple[int, int], np.ndarray]:
        """The size that the model is shown a picture in, and the picture no larger than it is shown to people."""
        from PIL import Image

        if image is None:
            raise ConfigError("There is no picture yet: upload one, or take one.")
        scale = self._side_px / max(image.shape[:2])
        h, w = (max(round(side * scale / MULTIPLE_PX), 1) * MULTIPLE_PX for side in image.shape[:2])
        size = tuple(max(round(side * min(scale, 1)), 1) for side in image.shape[1::-1])
        return (h, w), np.asarray(Image.fromarray(image).resize(size))


def words_of(text: str) -> list[str]:
    """The words of a prompt, or a list of some, each once."""
    return list(dict.fromkeys(text.replace(",", " ").split()))


def enlarged(picture: np.ndarray, size_px: tuple[int, ...]) -> np.ndarray:
    """A picture of few cells as large as another one, (rows, columns), with its cells to be seen."""
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((size_px[1], size_px[0]), Image.Resampling.NEAREST))
