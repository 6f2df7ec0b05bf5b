"""Settings of the model around the backbone, as frozen dataclasses: its prompts, scales, and the head's options.

Owns their names, defaults and meaning, and what they refuse of each other. Imports no torch, so that a driver reads
them cheaply; the rest of a run's settings is `vpd.training.settings`'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

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
class VisionConfig:
    """A token made of what the set's `vision` encoder says of a view (docs/methods/depth.md#ecodepth), in place of text
    and class embeddings; with `classes` 0 there is none."""

    classes: int = 0  # rows of the learned table that a token is mixed of: 100 for NYUv2, 200 for KITTI as published
    hidden: int = 400  # numbers between the vector and the weights of the rows

    def __post_init__(self) -> None:
        if self.classes < 0 or self.hidden < 1:
            raise ConfigError(
                f"model.vision: classes is {self.classes} and hidden {self.hidden}; expected some classes, or 0 for no "
                "such token, and at least one hidden number."
            )
        if not self.classes and self.hidden != VisionConfig.hidden:
            raise ConfigError("model.vision: nothing reads hidden while classes is 0; set model.vision.classes.")


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank additions to the backbone's linear layers (`model.train: lora`)."""

    rank: int = 16  # of the product that is added to a weight
    alpha: int = 0  # the product is scaled by alpha / rank; 0 = rank, so by 1
    dropout: float = 0.0  # of what enters the product
    layers: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")  # how the names of the layers end

    @property
    def alpha_in_force(self) -> int:
        return self.alpha or self.rank

    @property
    def scale(self) -> float:
        """Of the product."""
        return self.alpha_in_force / self.rank

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha < 0 or not 0 <= self.dropout < 1 or not self.layers:
            raise ConfigError(
                f"model.lora: rank is {self.rank}, alpha {self.alpha}, dropout {self.dropout:g}, layers "
                f"{list(self.layers)}; expected a rank of at least 1, alpha at least 0, dropout from 0, below 1, and "
                "some layers."
            )


@dataclass(frozen=True)
class ModelConfig:
    """Settings of the model around the backbone, and what of it learns."""

    init: str = ""  # model folder (jobs/convert_checkpoint.py) whose weights, all of them, the run starts from
    gamma_init: float = 1e-4  # start value of the text adapter's gain (docs/methods/vpd.md#text-adapter)
    latent_scale: float = 1.0  # factor on the raw latent; 0.18215 in SD (docs/methods/vpd.md#latents)
    latent_shift: float = 0.0  # taken off the raw latent before; 0.0609 in SD 3 (docs/methods/families.md#transformers)
    head: HeadPlugin = field(default_factory=dict)  # `name` (of vpd.heads; else the task's own) and options
    prompts: PromptConfig = field(default_factory=PromptConfig)  # learned ones in place of text
    vision: VisionConfig = field(default_factory=VisionConfig)  # a token of the picture in place of text, as ECoDepth's
    # synchronised: of the whole batch, over all GPUs; worker: of each GPU's share. One process, or CPUs: its own
    batch_norm: Literal["synchronised", "worker"] = "synchronised"  # whose statistics a batch norm takes in training
    # frozen: all but the backbone; head: the head alone, no backward pass through the backbone; lora: all but the
    # backbone, and low-rank additions to it; blocks: all but the backbone, and `blocks` of it
    train: Literal["full", "frozen", "head", "lora", "blocks"] = "full"  # which weights learn
    blocks: tuple[str, ...] = ()  # of train=blocks: modules of the backbone, such as up_blocks.3
    lora: LoraConfig = field(default_factory=LoraConfig)  # of train=lora

    def __post_init__(self) -> None:
        if self.prompts.count and self.vision.classes:
            raise ConfigError(
                f"model.prompts.count is {self.prompts.count} and model.vision.classes {self.vision.classes}; both "
                "take the place of text. Set one of them to 0."
            )
        if bool(self.blocks) != (self.train == "blocks"):
            raise ConfigError(
                f"model.train is {self.train!r} and model.blocks {list(self.blocks)}; expected names of blocks with "
                "model.train=blocks, and only with it."
            )
        if self.lora != LoraConfig() and self.train != "lora":
            raise ConfigError(f"model.lora is set, and nothing reads it while model.train is {self.train!r}.")
