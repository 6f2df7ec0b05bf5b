"""Pictures of what a frozen model sees, as one PNG: principal components of layers, words of a prompt, matches.

Owns the settings of `picture` and the sheet. What is drawn is `features.looking`'s, as on the page.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from diffusion_perception.features.looking import MOST_WORDS, Captioned, Looking, words_of
from diffusion_perception.predicting.picture_record import as_pixels
from shards.errors import ConfigError
from shards.storage.atomic import write_atomic

GRID = (0.2, 0.4, 0.6, 0.8)  # shares of the sides: the points that are matched where none are given


@dataclass(frozen=True)
class PictureJob:
    """Settings of a picture."""

    kind: Literal["pca", "attention", "match"]  # layers in three colours, words in a picture, or places in two
    model: str  # diffusers folder or hub id, the whole pipeline
    image: str  # picture's file or URL
    out: str  # PNG file
    other: str = ""  # match: the second picture
    layers: tuple[str, ...] = ()  # pca: one or more, match: one; of the network, by their names in diffusers
    prompt: str = ""  # pca and attention: what the model is told
    words: str = ""  # attention: words of the prompt, by commas or spaces; empty: its first twelve
    points: tuple[tuple[int, int], ...] = ()  # match: (x, y) in the first picture; empty: a grid of 16
    timestep: float = 1.0  # that the network is told; above 1 its noise is added
    side_px: int = 512  # longer side of the pictures that the model is shown
    device: str = ""  # cpu, cuda, cuda:1 or mps; empty: a GPU if there is one

    def __post_init__(self) -> None:
        wrong = {
            "pca": bool(self.other or self.words or self.points) or not self.layers,
            "attention": bool(self.other or self.layers or self.points) or not self.prompt.strip(),
            "match": bool(self.prompt or self.words) or not self.other or len(self.layers) != 1,
        }
        needs = {
            "pca": "layers=[...], and takes prompt",
            "attention": "prompt=, and takes words",
            "match": "other= and one layer in layers=[...], and takes points",
        }
        if wrong[self.kind]:
            raise ConfigError(f"picture {self.kind} needs {needs[self.kind]}; other words of this command are not its.")
        if not self.out.lower().endswith(".png") or self.side_px < 64:
            raise ConfigError(f"out is {self.out!r}, side_px {self.side_px}; expected a file *.png, and 64 or more.")
        if "://" in self.out:
            raise ConfigError(f"out={self.out}: a picture goes to a file of this machine or a shared disk, no URL.")
        if (number := len(words_of(self.words))) > MOST_WORDS:
            raise ConfigError(f"words names {number}, expected {MOST_WORDS} at most: draw several pictures.")


def picture(job: PictureJob) -> None:
    """Draw and write it.

    Raises:
        ConfigError: no such layer, a word that is not in the prompt, a point outside the picture.
        Reject: a picture that cannot be read.
    """
    looking, image = Looking(job.model, job.device, job.side_px), as_pixels(job.image)
    height, width = image.shape[:2]
    if job.kind == "match":
        points = job.points or tuple((int(x * width), int(y * height)) for y in GRID for x in GRID)
        if outside := [point for point in points if not (0 <= point[0] < width and 0 <= point[1] < height)]:
            raise ConfigError(f"point {list(outside[0])} lies outside {job.image}, {width} x {height} pixels.")
        sheet = looking.matched(image, as_pixels(job.other), points, job.layers[0], job.timestep)
    elif job.kind == "pca":
        sheet = _in_a_row(looking.components(image, job.prompt, job.layers, job.timestep))
    else:
        sheet = _in_a_row(looking.heats(image, job.prompt, job.words, job.timestep))
    from PIL import Image

    held = io.BytesIO()
    Image.fromarray(sheet).save(held, "PNG")
    Path(job.out).parent.mkdir(parents=True, exist_ok=True)
    write_atomic(Path(job.out), held.getvalue())
    print(f"[picture] wrote {job.out}, {sheet.shape[1]} x {sheet.shape[0]} pixels", flush=True)


def _in_a_row(shown: list[Captioned]) -> np.ndarray:
    """Pictures of one height side by side, each with its caption below."""
    from vpd.drawing.strip import with_legend
    from vpd.drawing.style import Legend

    panels = [with_legend(image, Legend(title=said)) for image, said in shown]
    tallest = max(map(len, panels))
    padded = [np.pad(one, ((0, tallest - len(one)), (0, 0), (0, 0)), constant_values=255) for one in panels]
    return np.concatenate(padded, axis=1)
