"""Which words a model looks at where: probabilities of its cross-attention, and heat maps of words made of them.

Owns the maps of layers, computed beside the network's own attention from what goes into it, and how several become one.
Heat maps follow DAAM (Tang et al., 2023): every layer and head enlarged to one size (bicubic, nothing below 0), then
their plain mean, so that levels with more heads weigh more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from shards.errors import ConfigError


@dataclass
class AttentionMaps:
    """Probabilities of the attention layers of one kind, of a batch.

    Attributes:
        layers: name -> float32 `[N, H, h, w, T]`: of a pixel of that layer, over T tokens, by head. For self-attention
            T is h w, row by row.
    """

    layers: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def n_tokens(self) -> int:
        """T; of self-attention that of the first layer, since each has its own."""
        return next(iter(self.layers.values())).shape[-1]

    def heat(
        self,
        size: tuple[int, int],
        layers: Sequence[str] | None = None,
        heads: Sequence[int] | None = None,
        tokens: Sequence[int] | None = None,
    ) -> torch.Tensor:
        """Heat of tokens, float32 `[N, T, *size]`.

        Args:
            size: rows and columns that every map is enlarged to, such as the latents'.
            tokens: some of them, in this order; all.
            layers: some of them; all.
            heads: some of each layer's; all.

        Raises:
            ConfigError: no layer of that name, or none with such heads.
        """
        if unknown := [name for name in layers or () if name not in self.layers]:
            raise ConfigError(f"no attention of {unknown} was kept; there is {', '.join(self.layers)}.")
        total: torch.Tensor | None = None
        count = 0
        for name in self.layers if layers is None else layers:
            maps = self.layers[name].permute(0, 1, 4, 2, 3)  # [N, H, T, h, w]
            maps = maps if tokens is None else maps[:, :, list(tokens)]
            chosen = range(maps.shape[1]) if heads is None else [head for head in heads if head < maps.shape[1]]
            for head in chosen:
                enlarged = F.interpolate(maps[:, head], size, mode="bicubic", align_corners=False).clamp(min=0)
                total = enlarged if total is None else total + enlarged
                count += 1
        if total is None:
            raise ConfigError("no attention was kept that heat could be made of: ask for other layers or heads.")
        return total / count

    @staticmethod
    def joined(parts: Sequence[AttentionMaps], combine: Callable[[list[torch.Tensor]], torch.Tensor]) -> AttentionMaps:
        """The maps of several passes as one: concatenated, added, averaged."""
        return AttentionMaps({name: combine([part.layers[name] for part in parts]) for name in parts[0].layers})


class Watching:
    """Keeps the probabilities of attention layers while their network runs; it computes what it would without.

    Args:
        network: whose layers are called by diffusers' conventions (`to_q`, `to_k`, `heads`, `scale`).
        ending: of the names of the layers to watch, such as `.attn2`.
    """

    def __init__(self, network: nn.Module, ending: str) -> None:
        self._layers = {name: module for name, module in network.named_modules() if ending and name.endswith(ending)}
        if not self._layers:
            raise ConfigError(
                f"{type(network).__name__} has no such attention to read: in transformers where words and picture "
                "share one attention there is none of words alone. Leave attention out."
            )
        self.maps = AttentionMaps()
        self._stack = ExitStack()

    def __enter__(self) -> Watching:
        for name, layer in self._layers.items():
            hook = layer.register_forward_pre_hook(
                lambda module, inputs, named, name=name: self._look(name, module, inputs, named), with_kwargs=True
            )
            self._stack.callback(hook.remove)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @torch.no_grad()
    def _look(self, name: str, attention: Any, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        pixels: torch.Tensor = inputs[0] if inputs else named["hidden_states"]  # [N, Q, C]
        context = named.get("encoder_hidden_states", inputs[1] if len(inputs) > 1 else None)
        words = pixels if context is None else context  # [N, T, D]
        query, key = attention.to_q(pixels), attention.to_k(words)
        if attention.norm_q is not None:
            raise ConfigError(f"layer {name} normalises its queries: its attention cannot be read.")
        query, key = (x.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for x in (query, key))  # [N, H, ., d]
        scores = query.float() @ key.float().transpose(-1, -2) * attention.scale
        mask = named.get("attention_mask")
        if mask is not None:  # added to the scores, [N, 1, T] or [N H, 1, T]
            scores = scores + attention.prepare_attention_mask(mask, key.shape[2], len(pixels), out_dim=4).float()
        self.maps.layers[name] = scores.softmax(-1)  # [N, H, Q, T], until `shaped`

    def shaped(self, latents: torch.Tensor) -> AttentionMaps:
        """What was kept, with its pixels as rows and columns: each level of a UNet halves the latents', rounding up."""
        shaped: dict[str, torch.Tensor] = {}
        for name, probabilities in self.maps.layers.items():
            rows, columns = latents.shape[-2:]
            while rows * columns > probabilities.shape[2]:
                rows, columns = -(-rows // 2), -(-columns // 2)
            if rows * columns != probabilities.shape[2]:
                raise ConfigError(f"layer {name}: {probabilities.shape[2]} pixels are no level of {latents.shape}.")
            shaped[name] = probabilities.unflatten(2, (rows, columns))
        return AttentionMaps(shaped)
