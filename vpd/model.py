"""The whole network: class table, text adapter, backbone, head.

Owns their order, the scale of the latents, and how a context argument becomes text states. Building the parts is left
to the backbone module and the task; what a class row means, to whoever made the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from shards.errors import ConfigError


class Perception(nn.Module):
    """Latents and text to a dense prediction.

    Args:
        backbone: see `vpd.backbones.Backbone`.
        adapter: module on text states `[B, T, D]`.
        head: module called as `head(features, out_size_px)`.
        latent_scale: factor on the stored, raw latents. 1.0 is VPD; Stable Diffusion itself was trained at 0.18215
            (vpd_spec.md 1.2).
        class_embeddings: text state of every class, `[C, D]` pooled or `[C, T, D]` token by token. It becomes a buffer,
            so that checkpoints carry the very rows they were trained with; it is not trained.
        tokens: context tokens of a sample, if the task has a fixed number. 1 freezes the parts of the backbone that
            have no effect then (`Backbone.expect_one_token`).

    Raises:
        ConfigError: a class table of another shape, or of another width than the backbone's context.
    """

    class_embeddings: torch.Tensor | None

    def __init__(
        self,
        backbone: Any,
        adapter: nn.Module,
        head: nn.Module,
        latent_scale: float = 1.0,
        class_embeddings: torch.Tensor | None = None,
        *,
        tokens: int | None = None,
    ) -> None:
        super().__init__()
        if class_embeddings is not None:
            shape = list(class_embeddings.shape)
            if len(shape) not in (2, 3) or shape[-1] != backbone.context_width:
                raise ConfigError(
                    f"the class table has shape {shape}, expected [classes, {backbone.context_width}] or [classes, "
                    f"tokens, {backbone.context_width}]. Build it with the text encoder of the backbone's own model."
                )
            class_embeddings = class_embeddings.detach().float().clone()
        self.backbone = backbone
        self.adapter = adapter
        self.head = head
        self.latent_scale = latent_scale
        self.register_buffer("class_embeddings", class_embeddings)
        if tokens == 1:
            backbone.expect_one_token()

    def forward(self, latents: torch.Tensor, context: torch.Tensor | None, out_size_px: Sequence[int]) -> torch.Tensor:
        """Predict at image size.

        Args:
            latents: raw VAE posterior mean `[B, 4, h, w]`, any float type.
            context: see `text_states`.
            out_size_px: `(H, W)` of the prediction.

        Returns:
            `[B, channels, H, W]` float32.
        """
        if self.latent_scale != 1.0:
            latents = latents.float() * self.latent_scale
        features = self.backbone(latents, self.text_states(context))
        return self.head(features, out_size_px)

    def text_states(self, context: torch.Tensor | None) -> torch.Tensor:
        """What the backbone attends to, adapted.

        Args:
            context: one of
                float `[B, T, D]`: text states of each sample;
                int64 `[B]`: the class of each sample, -1 for the mean of all classes (mmseg's rule for an unknown one);
                None: all classes as the tokens of one context that the whole batch shares.

        Returns:
            `[B, T, D]`, or `[1, C, D]` for None.

        Raises:
            ConfigError: the model has no class table, or one without a single row per class where None needs it.
        """
        if context is not None and context.is_floating_point():
            return self.adapter(context)
        table = self.class_embeddings
        if table is None:
            raise ConfigError("this model has no class table, so it needs text states [B, T, D] as context.")
        if context is None:
            if table.ndim != 2:
                raise ConfigError(
                    f"the class table has shape {list(table.shape)}; a context of all classes needs one pooled row "
                    "each, [classes, width]: build the table from pooled states."
                )
            return self.adapter(table[None])  # [1, C, D]
        rows = torch.cat([table, table.mean(dim=0, keepdim=True)])[context]  # -1 takes the last row: the mean
        return self.adapter(rows[:, None] if rows.ndim == 2 else rows)  # [B, T, D]

    def compile_blocks(self) -> None:
        """Compile the backbone's repeated blocks with torch.compile; they are traced at their first call."""
        self.backbone.compile_blocks()
