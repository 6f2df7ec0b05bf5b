"""The settings of `predict`: what is asked of which pictures, and what is written of the answers.

Checks them one by one and together; what needs the model's task is checked by
`diffusion_perception.predicting.command`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from diffusion_perception import plugins
from diffusion_perception.actors import check_actors
from diffusion_perception.predicting.video_files import check_part
from shards.errors import ConfigError


@dataclass(frozen=True)
class VideoPart:
    """Which frames of a video are predicted."""

    start_s: float = 0.0  # from where on, in seconds from its first frame
    end_s: float = 0.0  # up to where, exclusive; 0: to its end
    every: int = 1  # every so many-th of these frames

    def __post_init__(self) -> None:
        check_part(self.start_s, self.end_s, self.every)


@dataclass(frozen=True)
class Spread:
    """What the actors get that a prediction is spread over on a cluster; each loads the model once."""

    actors: int = 0  # 0: one per GPU of the cluster, or one if it has none
    gpus_per_actor: float = -1  # -1: one if the cluster has GPUs, else none; fractions share a GPU
    cpus_per_actor: float = 2  # CPUs that the scheduler reserves
    pictures_per_task: int = 64  # that an actor takes at a time; a video is a task of its own

    def __post_init__(self) -> None:
        if self.pictures_per_task < 1:
            raise ConfigError(f"resources.pictures_per_task is {self.pictures_per_task}, expected 1 or more.")
        check_actors(self)


# Settings of one picture and of many, and what the other kind has in their place.
_OF_ONE = {"out": "into=FOLDER", "export": "exports=[.png]"}
_OF_MANY = {"into": "out=FILE", "exports": "export=FILE"}


@dataclass(frozen=True)
class PredictJob:
    """Settings of a prediction."""

    run: str  # folder of a training run, or a model folder
    image: str = ""  # one picture: any file that Pillow reads
    images: str | tuple[str, ...] = ()  # many: a folder, glob, list file (.txt), video or URL, or a list of these
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
    video: VideoPart = field(default_factory=VideoPart)
    draw: bool = True  # of many: also the pictures to look at
    legend: bool = True  # a strip below drawn pictures says what the colours mean
    colormap: str = "dusk"  # of depth: dusk, spectral or grey
    near_m: float = 0.0  # of depth: where its colours begin, with far_m
    far_m: float = 0.0  # where they end; 0: percentiles 2 to 98 of each picture, and the task's range for a video
    focal_px: float = 0.0  # for .ply: focal length in pixels of the picture
    fov_deg: float = 0.0  # for .ply: in its place, the horizontal field of view
    batch_size: int = 0  # views in one pass of the model; 0: the run's data.eval_batch_size on a GPU, else 4
    memory_gb: float = 0.0  # what one picture may take; 0: what the machine has available
    device: str = ""  # cpu, cuda, cuda:1 or mps; empty: a GPU if there is one
    resources: Spread = field(default_factory=Spread)  # with --ray

    def __post_init__(self) -> None:
        if bool(self.image) == bool(self.images):
            raise ConfigError("say which picture, image=photo.jpg, or which pictures, images=FOLDER; not both.")
        unread = _OF_ONE if self.images else _OF_MANY
        for name, other in unread.items():
            if (given := getattr(self, name)) != type(self).__dataclass_fields__[name].default:
                here, there = ("images", "image") if self.images else ("image", "images")
                raise ConfigError(
                    f"{name} is {given!r}, which is read with {there}=, and {here}= is given. Set {other} in its place."
                )
        if self.sentence and self.sentences:
            raise ConfigError("sentence and sentences are both given; expected one of them.")
        if self.batch_size < 0 or self.memory_gb < 0:
            raise ConfigError(f"batch_size is {self.batch_size}, memory_gb {self.memory_gb}; expected 0 or more.")
        if self.near_m < 0 or self.far_m < 0 or ((self.near_m or self.far_m) and self.near_m >= self.far_m):
            raise ConfigError(
                f"near_m is {self.near_m:g}, far_m {self.far_m:g}; expected 0 <= near_m < far_m, or both 0."
            )

    @property
    def asked(self) -> tuple[str, ...]:
        """The sentences."""
        return (self.sentence,) if self.sentence else self.sentences
