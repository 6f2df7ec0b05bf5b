"""Stable Diffusion's UNet as a feature extractor: a pass at a fixed or learned time, four taps, cross-attention maps.

Owns the forward pass over the diffusers modules and the taps. A single layer, and which layers give maps, are
`layers`'; attention arithmetic is `attention`'s, reading weights `load`'s, scaling of
latents `vpd.model.perception`'s. Conventions: t = 1 (docs/methods/vpd.md#timestep); taps after the last layer but one
of every up block and after the whole finest one (docs/methods/vpd.md#taps); maps of the latent/2 and latent/4 layers of
the down and up path averaged and placed after the features (docs/methods/vpd.md#attention-maps); several passes, each
on the noise predicted by the one before, at learned times (docs/methods/meta_prompts.md#passes).

Written for models of the shape of Stable Diffusion 1, 2 and XL, such as SD-Turbo and BK-SDM; widths, number of levels
and layers, heads and context come from the model's config. What XL is told beside text states is `added`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from torch.utils.checkpoint import checkpoint

from shards.errors import ConfigError
from vpd.backbones import Backbone, FeatureSpec, Level
from vpd.backbones.sd_unet.added import added_embedding, split_context
from vpd.backbones.sd_unet.attention import AttentionProcessor, MapMean
from vpd.backbones.sd_unet.facts import facts_of
from vpd.backbones.sd_unet.gates import keep_less_of_gates
from vpd.backbones.sd_unet.layers import SkippedNorm, kept_layers, layers_of, run_layer, upsampled
from vpd.backbones.sd_unet.load import check_plain
from vpd.regional_compile import compile_each


class SdUnet(nn.Module, Backbone):
    """The UNet up to its last block; what it then does not use is removed, so every parameter receives gradient.

    Args:
        unet: a diffusers UNet; taken over and changed (head removed, attention processors set).
        attention_maps: places whose cross-attention is kept, out of `up`, `down`, `mid`: "up+down" or a sequence;
            empty = no maps.
        map_levels: resolutions that are kept, as divisors of the latent side: 1 is the finest.
        attention_grad: let gradient flow through the maps. False is the published training
            (docs/methods/vpd.md#no-gradient-through-maps).
        timestep: diffusion time of the single pass; None: the caller gives a time embedding, and the UNet's own time
            MLP is removed.
        output_head: keep the layers that predict noise, for `next_latents`: needed for more than one pass.
        own_output: give what the UNet itself predicts, `[B, channels of a latent, h, w]`, as the only level (`latent`),
            in place of the pyramid (docs/methods/label_latents.md#training). Not with maps, several passes or
            `resize_skips`.
        resize_skips: where a side was odd, enlarge the skip to twice the coarser level (bilinear, as Meta Prompts
            does: the output grid is then larger than the input's) instead of upsampling to the skip's size.
        gradient_checkpointing: recompute each layer in backward: less memory, a quarter more work. Or the resolutions
            whose layers are, as divisors of the latent side: [1] is the finest, where most of the memory is.

    Raises:
        ConfigError: the model does something this pass does not, or the map settings select nothing.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        *,
        attention_maps: str | Sequence[str] = "up+down",
        map_levels: Sequence[int] = (2, 4),
        attention_grad: bool = False,
        timestep: int | None = 1,
        output_head: bool = False,
        own_output: bool = False,
        resize_skips: bool = False,
        gradient_checkpointing: bool | Sequence[int] = False,
    ) -> None:
        super().__init__()
        self.unet: Any = unet  # diffusers types its children as plain modules
        self.timestep = timestep
        self.output_head = output_head
        self.own_output = own_output
        self.resize_skips = resize_skips
        self.channels: tuple[int, ...] = tuple(unet.config["block_out_channels"])  # finest first
        self.recomputed = _recomputed_levels(gradient_checkpointing, len(self.channels))
        check_plain(unet)
        self.facts = facts_of(unet.config)
        places = tuple(p for p in attention_maps.split("+") if p) if isinstance(attention_maps, str) else attention_maps
        self.kept = kept_layers(self._cross_levels(), tuple(places), tuple(map_levels))
        self._time_width: int = self.unet.time_embedding.linear_2.out_features
        if own_output and (output_head or resize_skips or self.kept):
            raise ConfigError(
                f"backbone sd_unet: own_output gives the UNet's prediction alone, of its input's size; found "
                f"output_head {output_head}, resize_skips {resize_skips} and attention_maps {attention_maps!r}. Set "
                "the first two to false, and attention_maps to an empty text."
            )
        if not (output_head or own_output):
            del self.unet.conv_norm_out, self.unet.conv_act, self.unet.conv_out
        if timestep is None:
            del self.unet.time_proj, self.unet.time_embedding
        self.unet.set_attn_processor(AttentionProcessor(grad=attention_grad))
        keep_less_of_gates(self.unet)
        self._one_token = False

    @classmethod
    def from_config(cls, config: Mapping[str, Any], **options: Any) -> SdUnet:
        """Random weights: `config` as in a diffusers `unet/config.json`, `options` as of `SdUnet`."""
        return cls(UNet2DConditionModel(**{k: v for k, v in config.items() if not k.startswith("_")}), **options)

    @property
    def time_width(self) -> int:
        return self._time_width

    def spec(self, tokens: int) -> FeatureSpec:
        """Levels for a context of `tokens` tokens, with the maps that are kept; or the one of the UNet's own output."""
        if self.own_output:
            own = Level("latent", int(self.unet.config["out_channels"]), self.facts.latents.stride_px)
            return FeatureSpec((own,), tokens, self.context_width)
        divisors = {level for _, level in self.kept}
        names = [level.name for i, level in enumerate(self.facts.levels) if 1 << i in divisors]
        return self.facts.spec(tokens, dict.fromkeys(names, tokens))

    def check_passes(self, passes: int | None) -> None:
        """ConfigError unless the settings are those of `passes` passes at learned times, or of one at a fixed time."""
        learned, several = passes is not None, (passes or 1) > 1
        if (self.timestep is None) != learned or self.output_head != several:
            kind = f"model.prompts with {passes} passes" if learned else "a context of text"
            raise ConfigError(
                f"backbone sd_unet: timestep is {self.timestep} and output_head {self.output_head}; {kind} needs "
                f"timestep {'null, since its times are learned,' if learned else 'a number,'} and output_head "
                f"{several}, since the output head leads from one pass to the next."
            )
        if self.own_output and learned:
            raise ConfigError(
                "backbone sd_unet: own_output is of one pass at a fixed time; set model.prompts.count=0, or "
                "own_output=false."
            )

    def expect_one_token(self) -> None:
        """Freeze what a context of one token leaves without effect, and do none of its work.

        Over one token, attention weights are 1 whatever the queries and keys are, so the cross-attention layers'
        `to_q`, `to_k` and the norm before them (22.0M parameters of SD 1.5) get no gradient. They keep their names and
        values in the state dict; the published optimiser shrinks them by weight decay (docs/methods/vpd.md#one-token),
        ours does not.
        """
        self._one_token = True
        for block in self.unet.modules():
            if isinstance(block, BasicTransformerBlock) and not isinstance(block.norm2, SkippedNorm):
                attention: Any = block.attn2
                skipped = SkippedNorm(block.norm2)
                block.norm2 = skipped  # pyright: ignore[reportAttributeAccessIssue]
                for module in (attention.to_q, attention.to_k, skipped):
                    module.requires_grad_(False)

    def compile_blocks(self) -> None:
        """Compile every resnet and transformer block, in place."""
        compile_each(m for m in self.unet.modules() if isinstance(m, ResnetBlock2D | BasicTransformerBlock))

    def next_latents(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """What the UNet was trained to predict, the noise: `[B, 4, h, w]`, from the finest of a pass's features."""
        finest = features[0][:, : self.channels[0]]  # without maps
        return self.unet.conv_out(self.unet.conv_act(self.unet.conv_norm_out(finest)))

    def forward(
        self, latents: torch.Tensor, context: torch.Tensor, time: torch.Tensor | None = None
    ) -> list[torch.Tensor]:
        """One pass.

        Args:
            latents: `[B, 4, h, w]`, any float type; any even sides.
            context: `[B, T, context_width]`, or `[1, T, context_width]` shared by all samples.
            time: `[1, time_width]`, if the timestep is None.

        Returns:
            Per level, finest first, `[B, width, h / 2^i, w / 2^i]` as `spec(T)` says; with `own_output` the prediction.

        Raises:
            ConfigError: `expect_one_token` was called, and the context has another number.
        """
        if self._one_token and context.shape[1] != 1:
            raise ConfigError(
                f"backbone sd_unet: the task declared one context token, this context has {context.shape[1]}. Check "
                "the shape of the class table: one pooled row [C, D] per class is one token."
            )
        unet, maps, coarsest = self.unet, MapMean(), len(self.channels) - 1
        dtype = unet.conv_in.weight.dtype
        context = context.to(dtype)
        if time is None:
            time = self._time_embedding(latents.device)
        time = time.to(dtype)  # [1, E], broadcast over the batch by every resnet
        if self.facts.carried_width:  # SDXL
            context, pooled = split_context(context, self.facts.carried_width)
            time = time + added_embedding(unet, pooled, self.facts.latents.size_px(*latents.shape[-2:]))  # [B or 1, E]

        x = unet.conv_in(latents.to(dtype))
        skips = [x]
        for i, block in enumerate(unet.down_blocks):
            for resnet, attention in layers_of(block):
                x = self._layer(resnet, attention, x, None, time, context, maps, ("down", 1 << i))
                skips.append(x)
            for downsampler in block.downsamplers or ():
                x = downsampler(x)
                skips.append(x)

        if unet.mid_block is not None:  # the smaller BK-SDMs have none
            first, *rest = unet.mid_block.resnets
            x = self._layer(first, unet.mid_block.attentions[0], x, None, time, context, maps, ("mid", 1 << coarsest))
            for resnet in rest:
                x = self._layer(resnet, None, x, None, time, context, maps, ("mid", 1 << coarsest))

        taps: list[torch.Tensor] = []  # coarsest first
        for i, block in enumerate(unet.up_blocks):
            layers = layers_of(block)
            tap = len(layers) - 1 if i == coarsest else len(layers) - 2
            for j, (resnet, attention) in enumerate(layers):
                x = self._layer(resnet, attention, x, skips.pop(), time, context, maps, ("up", 1 << (coarsest - i)))
                if j == tap:
                    taps.append(x)
            for upsampler in block.upsamplers or ():
                # Without a size, twice as large; with the skip's, one less where a side was odd.
                x = upsampled(upsampler, x, None if self.resize_skips else skips[-1].shape[-2:])

        if self.own_output:
            return [self.next_latents(taps[-1:])]  # [B, 4, h, w]
        # Only now are the means complete: the layer behind a tap still counts towards its level's map.
        return [maps.append_to(features, 1 << level) for level, features in enumerate(reversed(taps))]

    def _layer(
        self,
        resnet: nn.Module,
        attention: nn.Module | None,
        x: torch.Tensor,
        skip: torch.Tensor | None,
        time: torch.Tensor,
        context: torch.Tensor,
        maps: MapMean,
        where: tuple[str, int],
    ) -> torch.Tensor:
        """One resnet and, where there is one, its transformer."""
        keep = where in self.kept and attention is not None
        args = (resnet, attention, x, skip, time, context, keep)
        # Maps leave a recomputed layer as return values, so the recomputation in backward cannot count them twice.
        if where[1] in self.recomputed and torch.is_grad_enabled():
            x, *layer_maps = checkpoint(run_layer, *args, use_reentrant=False, preserve_rng_state=False)
        else:
            x, *layer_maps = run_layer(*args)
        maps.add(where[1], layer_maps)
        return x

    def _time_embedding(self, device: torch.device) -> torch.Tensor:
        if self.timestep is None:
            raise ConfigError("backbone sd_unet: built with timestep null, so every pass needs a time embedding.")
        timestep = torch.full((1,), self.timestep, device=device)
        return self.unet.time_embedding(self.unet.time_proj(timestep).to(self.unet.dtype))  # [1, E]

    def _cross_levels(self) -> list[tuple[str, int]]:
        """Place and latent divisor of every block with cross-attention."""
        last = len(self.channels) - 1
        blocks = [("down", 1 << i, block) for i, block in enumerate(self.unet.down_blocks)]
        blocks += [("mid", 1 << last, self.unet.mid_block)]
        blocks += [("up", 1 << (last - i), block) for i, block in enumerate(self.unet.up_blocks)]
        return [(place, level) for place, level, block in blocks if getattr(block, "attentions", None)]


def _recomputed_levels(asked: bool | Sequence[int], levels: int) -> frozenset[int]:
    """The divisors of the latent side at which layers are recomputed in backward.

    Raises:
        ConfigError: a divisor that no level has.
    """
    there = [1 << level for level in range(levels)]
    if isinstance(asked, bool):
        return frozenset(there if asked else ())
    if wrong := [divisor for divisor in asked if divisor not in there]:
        raise ConfigError(
            f"backbone.gradient_checkpointing names {wrong[0]}; expected true, false, or some of {there}: the "
            "resolutions whose layers are computed again, as divisors of the latent side."
        )
    return frozenset(asked)
