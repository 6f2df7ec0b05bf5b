"""Families of diffusion models: how each is called. One module a family, found by the name of its diffusers pipeline
(`StableDiffusionXLPipeline`: `stable_diffusion_xl`), with `build(pipeline) -> Family`.

Owns what a family promises, and what their networks' outputs have in common. Text is encoded by the pipeline itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from shards.errors import ConfigError


class Family(Protocol):
    """One model of a family.

    Attributes:
        pipeline: of diffusers.
        network: the part of it whose layers can be read.
        cross_attention, self_attention: the end of their names among the network's modules; empty: it has none that
            is of words alone, or of the picture alone.
    """

    pipeline: Any
    network: Any
    cross_attention: str = ""
    self_attention: str = ""

    def conditions(self, prompts: Sequence[str], size_px: tuple[int, int]) -> dict[str, torch.Tensor]:
        """What a pass is given beside latents, tensors `[P, ...]`, for pictures of a size (height, width)."""
        ...

    def run(self, latents: torch.Tensor, timestep: float, conditions: Mapping[str, torch.Tensor]) -> object:
        """One pass over latents `[N, C, h, w]`, conditions `[N, ...]`."""
        ...

    def noised(self, latents: torch.Tensor, noise: torch.Tensor, timestep: float) -> torch.Tensor:
        """Latents with the noise of a timestep: one of the rules of `vpd.features.noising`."""
        ...

    def as_map(self, layer: nn.Module, output: Any, latents: torch.Tensor) -> torch.Tensor:
        """What a layer gave, as a map `[N, C, h', w']`; ConfigError: it is none."""
        ...


def module_name(pipeline_class: str) -> str:
    """`stable_diffusion_xl` of `StableDiffusionXLPipeline`."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+|\d+", pipeline_class.removesuffix("Pipeline"))
    return "_".join(words).lower()


def first_of(output: Any) -> torch.Tensor:
    """The tensor of a layer that gives one, or several of which the first is its own.

    Raises:
        ConfigError: it gives something else.
    """
    while isinstance(output, tuple | list) and output:
        output = output[0]
    if isinstance(output, Mapping):
        output = next(iter(output.values()))
    if not isinstance(output, torch.Tensor):
        raise ConfigError(f"a layer that gives {type(output).__name__} is no feature map: choose another.")
    return output


def map_of_tokens(tokens: torch.Tensor, latents: torch.Tensor, patch: int) -> torch.Tensor:
    """`[N, C, h', w']` from tokens `[N, h' w', C]`, row by row, of patches of the latents `[N, ., h, w]`.

    Raises:
        ConfigError: another number of tokens.
    """
    rows, columns = latents.shape[-2] // patch, latents.shape[-1] // patch
    if tokens.ndim != 3 or tokens.shape[1] != rows * columns:
        raise ConfigError(
            f"a layer that gives {list(tokens.shape)} is no map of {rows} x {columns} patches: choose another."
        )
    return tokens.unflatten(1, (rows, columns)).movedim(-1, 1)


def check_patches(latents: torch.Tensor, patch: int) -> None:
    """ConfigError unless latents `[N, C, h, w]` can be cut into patches: a model may drop the rest without a word."""
    height, width = latents.shape[-2:]
    if height % patch or width % patch:
        raise ConfigError(
            f"latents of {height} x {width} cannot be cut into patches of {patch} x {patch}: take pictures whose sides "
            "are multiples of that many latents, by size_px."
        )


def eval_of(network: nn.Module) -> Any:
    """The network, frozen."""
    return network.eval().requires_grad_(False)
