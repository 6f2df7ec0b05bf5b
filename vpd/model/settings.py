"""Settings of the model around the backbone, as frozen dataclasses: its prompts, scales, and the head's options.

Owns their names, defaults and meaning, and what they refuse of each other. Imports no torch, so that a driver reads
them cheaply; the rest of a run's settings is `vpd.training.settings`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from shards.errors import ConfigError

HeadPlugin = Annotated[Mapping[str, Any], "vpd.heads", "unnamed"]  # a task has one of its own


@dataclass(frozen=True)
class PromptConfig:
    """Learned prompts (docs/methods/meta_prompts.md#prompts); with `count` 0 there are none: the context is text."""

    count: int = 0  # prompts: 50 for depth, 150 for segmentation as published; 17 keypoints for human pose
    passes: int = 1  # of the UNet, each reading the noise prediction of the one before
    shared: bool = False  # one set of prompts for all passes, instead of one each
    adapter: bool = True  # an MLP on the prompts of every pass

    def __post_init__(self) -> None:
        if self.count < 0 or self.passes < 1:
            raise ConfigError(
                f"model.prompts: count is {self.count} and passes {self.passes}; expected prompts, or 0 for none, and "
                "at least one pass."
            )
        if not self.count and (self.passes, self.shared, self.adapter) != (1, False, True):
            raise ConfigError("model.prompts: nothing reads its settings while count is 0; set model.prompts.count.")


@dataclass(frozen=True)
class ModelConfig:
    """Settings of the model around the backbone."""

    init: str = ""  # model folder (jobs/convert_checkpoint.py) whose weights, all of them, the run starts from
    gamma_init: float = 1e-4  # start value of the text adapter's gain (docs/methods/vpd.md#text-adapter)
    latent_scale: float = 1.0  # factor on the raw latent; 0.18215 in SD (docs/methods/vpd.md#latents)
    head: HeadPlugin = field(default_factory=dict)  # `name` (of vpd.heads; else the task's own) and options
    prompts: PromptConfig = field(default_factory=PromptConfig)  # learned ones in place of text
