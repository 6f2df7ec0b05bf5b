"""A diffusion transformer as a feature extractor: one pass at a fixed time, four taps, a pyramid of their maps.

Owns the taps, what is left out behind the last of them, and how a context is taken apart. How a family is called is
`passes`', what becomes of maps of one stride `pyramid`'s. No published recipe is followed: none reads these networks.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from shards.errors import ConfigError
from vpd.backbones import Backbone
from vpd.backbones.diffusion_transformer.facts import LEVEL_STRIDES_PX, PATCH, WHO, facts_of, family_of
from vpd.backbones.diffusion_transformer.load import class_of
from vpd.backbones.diffusion_transformer.pyramid import default_taps, levels_of

OUTPUT = ("norm_out", "proj_out", "scale_shift_table")  # what predicts noise


class DiffusionTransformer(nn.Module, Backbone):
    """The transformer up to its last tap; what it then does not use is removed or frozen.

    Args:
        network: a transformer of diffusers; taken over and changed.
        taps: four blocks, by number in the order they run, whose tokens become the levels, finest first; empty: those
            that end each quarter of the network.
        timestep: diffusion time of the pass, from 0, clean, to 1000.
        attention_maps: none can be kept; for the message.
        gradient_checkpointing: recompute each block in backward: less memory, more work.

    Raises:
        ConfigError: a tap that is no block, or attention maps.
    """

    def __init__(
        self,
        network: Any,
        *,
        taps: Sequence[int] = (),
        timestep: float = 1,
        attention_maps: str = "",
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        config = {**network.config, "_class_name": type(network).__name__}
        if attention_maps:
            raise ConfigError(
                f"{WHO}: attention_maps is {attention_maps!r}, and a {config['_class_name']} gives none: VPD's recipe "
                "is of a UNet's cross-attention. Set backbone.attention_maps=''."
            )
        self.facts, family = facts_of(config), family_of(config)
        self.network: Any = network
        self.timestep, self.recomputed = timestep, gradient_checkpointing
        passes = importlib.import_module(f"{__package__}.passes.{family.module}")
        self._tokens: Callable[..., Iterator[torch.Tensor]] = passes.tokens  # not the module, which cannot be copied
        blocks = sum(config[count] for count in family.blocks)
        self.taps = tuple(taps) or default_taps(blocks)
        if len(self.taps) != len(LEVEL_STRIDES_PX) or not all(0 <= tap < blocks for tap in self.taps):
            raise ConfigError(
                f"{WHO}: taps are {list(self.taps)}; expected {len(LEVEL_STRIDES_PX)} blocks from 0 to {blocks - 1}."
            )
        self._cut(passes.leftover)
        for module in network.modules():  # tables of positions: part of the weights, else a saved model would lack them
            for name, values in list(module.named_buffers(recurse=False)):
                module.register_buffer(name, values)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], **options: Any) -> DiffusionTransformer:
        """Random weights: `config` as in a diffusers `transformer/config.json`, its `_class_name` included."""
        plain = {key: value for key, value in config.items() if not key.startswith("_")}
        return cls(class_of(config)(**plain), **options)

    def _cut(self, leftover: Callable[[Any], list[nn.Module]]) -> None:
        """Remove what comes behind the last tap, and freeze what of the last block has no effect."""
        for name in OUTPUT:
            if hasattr(self.network, name):
                delattr(self.network, name)
        left = max(self.taps) + 1
        for name in ("transformer_blocks", "single_transformer_blocks"):
            blocks = getattr(self.network, name, None)
            if blocks is not None:
                del blocks[left:]
                left = max(left - len(blocks), 0)
                last = blocks[-1] if len(blocks) else None
                if last is not None and not left:
                    for module in leftover(last):
                        module.requires_grad_(False)

    def forward(
        self, latents: torch.Tensor, context: torch.Tensor, time: torch.Tensor | None = None
    ) -> list[torch.Tensor]:
        """One pass.

        Args:
            latents: `[B, c, h, w]`, any float type; even sides.
            context: `[B, T, context_width]`, or `[1, T, context_width]` shared by all samples.
            time: none is taken.

        Returns:
            Per level, finest first, `[B, C, h / 2^i, w / 2^i]`.

        Raises:
            ConfigError: latents that cannot be cut into patches.
        """
        rows, columns = latents.shape[-2] // PATCH, latents.shape[-1] // PATCH
        if latents.shape[-2] % PATCH or latents.shape[-1] % PATCH:
            raise ConfigError(
                f"{WHO}: latents of {list(latents.shape[-2:])} cannot be cut into patches of {PATCH} x {PATCH}. Build "
                f"views whose sides are multiples of {PATCH * self.facts.latents.stride_px} pixels."
            )
        dtype = next(self.network.parameters()).dtype
        context = context.to(dtype).expand(len(latents), -1, -1)
        states, carried = context.tensor_split([context.shape[-1] - self.facts.carried_width], dim=-1)
        passing = self._tokens(self.network, latents.to(dtype), states, carried, self.timestep, self._call)
        behind = [tokens.unflatten(1, (rows, columns)).movedim(-1, 1) for tokens in passing]  # [B, C, h/2, w/2] each
        return levels_of([behind[tap] for tap in self.taps])

    def _call(self, block: nn.Module, *args: Any) -> Any:
        if self.recomputed and torch.is_grad_enabled():
            return checkpoint(block, *args, use_reentrant=False, preserve_rng_state=False)
        return block(*args)
