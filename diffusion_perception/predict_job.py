"""The settings of `predict`: what is asked of which pictures, and what is written of the answers.

Checks them one by one and together; what needs the model's task is checked by `diffusion_perception.prediction`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from diffusion_perception import plugins
from shards.errors import ConfigError


@dataclass(frozen=True)
class PredictJob:
    """Settings of a prediction."""

    run: str  # folder of a training run, or a model folder
    image: str = ""  # one picture: any file that Pillow reads
    images: str | tuple[str, ...] = ()  # many: a folder, glob, list file (.txt) or URL, or a list of these and of files
    sentence: str = ""  # what to look for (refer)
    sentences: tuple[str, ...] = ()  # several, each with outputs of its own
    class_name: str = ""  # scene class (depth); empty: the mean of all classes
    boxes: tuple[tuple[float, ...], ...] = ()  # of persons, [[x, y, width, height], ...] (pose); empty: whole image
    checkpoint: str = "best"  # best, last, or a step number
    views: Annotated[Mapping[str, Any], plugins.VIEWS] = field(
        default_factory=dict
    )  # how the image is cut, {name: ..., ...}; empty: as the run says
    out: str = "prediction.png"  # of one picture: what to look at
    export: str = ""  # of one picture: also the prediction itself, in the format that the suffix says
    into: str = "predictions"  # of many: folder for their outputs; started again, it goes on there
    exports: tuple[
        str, ...
    ] = ()  # of many: suffixes of the files with the predictions themselves, such as [.png, .npy]
    draw: bool = True  # of many: also the pictures to look at
    legend: bool = True  # a strip below drawn pictures says what the colours mean
    colormap: str = "dusk"  # of depth: dusk, spectral or grey
    focal_px: float = 0.0  # for .ply: focal length in pixels of the picture
    fov_deg: float = 0.0  # for .ply: in its place, the horizontal field of view
    batch_size: int = 0  # views in one pass of the model; 0: the run's data.eval_batch_size on a GPU, else 4
    memory_gb: float = 0.0  # what one picture may take; 0: what the machine has available
    device: str = ""  # cpu, cuda, cuda:1 or mps; empty: a GPU if there is one

    def __post_init__(self) -> None:
        if bool(self.image) == bool(self.images):
            raise ConfigError("say which picture, image=photo.jpg, or which pictures, images=FOLDER; not both.")
        if self.sentence and self.sentences:
            raise ConfigError("sentence and sentences are both given; expected one of them.")
        if self.batch_size < 0 or self.memory_gb < 0:
            raise ConfigError(f"batch_size is {self.batch_size}, memory_gb {self.memory_gb}; expected 0 or more.")

    @property
    def asked(self) -> tuple[str, ...]:
        """The sentences."""
        return (self.sentence,) if self.sentence else self.sentences
