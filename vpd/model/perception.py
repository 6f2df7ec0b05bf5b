"""The whole network: class table and text adapter, learned prompts or a token of the picture, backbone, head.

Owns their order, the passes of the backbone, the scale of the latents, and how a context argument becomes text states.
Building the parts is left to the backbone module and the task; what a class row means, to whoever made the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from shards.errors import ConfigError
from vpd.heads import Prediction
from vpd.model.image_token import ImageToken
from vpd.model.prompts import LearnedPrompts
from vpd.model.settings import PromptConfig, VisionConfig
from vpd.model.text_adapter import TextAdapter
from vpd.regional_compile import compile_each


class Perception(nn.Module):
    """Latents and text to a dense prediction.

    Args:
        backbone: see `vpd.backbones.Backbone`.
        adapter: module on text states `[B, T, D]`, or an `ImageToken`, on what is said of a view; None with learned
            prompts.
        head: see `vpd.heads.Head`.
        latent_scale: factor on the stored, raw latents. 1.0 is VPD; Stable Diffusion itself was trained at 0.18215
            (docs/methods/vpd.md#latents).
        latent_shift: taken off them before (docs/methods/families.md#transformers).
        class_embeddings: text state of every class, `[C, D]` pooled or `[C, T, D]` token by token. It becomes a buffer,
            so that checkpoints carry the very rows they were trained with; it is not trained.
        tokens: context tokens of a sample, if the task has a fixed number. 1 freezes the parts of the backbone that
            have no effect then (`Backbone.expect_one_token`).
        prompts: learned contexts and times of one or more passes, in place of text.

    Raises:
        ConfigError: a class table of another shape, or of another width than the backbone's context; a backbone whose
            times or passes are not those of the prompts.
    """

    class_embeddings: torch.Tensor | None

    def __init__(
        self,
        backbone: Any,
        adapter: nn.Module | None,
        head: nn.Module,
        latent_scale: float = 1.0,
        class_embeddings: torch.Tensor | None = None,
        *,
        tokens: int | None = None,
        prompts: LearnedPrompts | None = None,
        latent_shift: float = 0.0,
    ) -> None:
        super().__init__()
        if class_embeddings is not None:
            shape = list(class_embeddings.shape)
            if len(shape) not in (2, 3) or shape[-1] != backbone.context_width:
                raise ConfigError(
                    f"the class table has shape {shape}, expected [classes, {backbone.context_width}] or [classes, "
                    f"tokens, {backbone.context_width}]. Build it with the text encoder of the backbone's own model."
                )
            if len(shape) == 3 and tokens is not None and shape[1] != tokens:
                raise ConfigError(
                    f"the class table has {shape[1]} tokens a class, the context {tokens}. Build the table from pooled "
                    "states (prompts.mode=pooled)."
                )
            class_embeddings = class_embeddings.detach().float().clone()
        self.backbone = backbone
        self.adapter = adapter
        self.prompts = prompts
        self.head = head
        self.latent_scale, self.latent_shift = latent_scale, latent_shift
        self.register_buffer("class_embeddings", class_embeddings)
        backbone.check_passes(prompts.config.passes if prompts is not None else None)
        if tokens == 1:
            backbone.expect_one_token()

    @classmethod
    def conditioned(
        cls,
        backbone: Any,
        head: nn.Module,
        prompts: PromptConfig,
        *,
        gamma_init: float = 1e-4,
        vision: VisionConfig | None = None,
        said: int = 0,
        **options: Any,
    ) -> Perception:
        """The network with what its context comes from: learned prompts or a token of the picture if it has them, else
        text and its adapter.

        Args:
            prompts: settings of the learned prompts.
            gamma_init: of the text adapter, also behind a token of the picture.
            vision: settings of that token.
            said: numbers of the vector that it is made of.
            options: further arguments of `Perception`.
        """
        if prompts.count:
            learned = LearnedPrompts(prompts, backbone.context_width, backbone.time_width)
            return cls(backbone, None, head, prompts=learned, **options)
        if vision is not None and vision.classes:
            return cls(backbone, ImageToken(said, backbone.context_width, vision, gamma_init), head, **options)
        carried: int = backbone.facts.carried_width
        return cls(backbone, TextAdapter(backbone.context_width - carried, gamma_init, carried), head, **options)

    @property
    def reads_vision(self) -> bool:
        """Whether its context is made of what a set's `vision` encoder says."""
        return isinstance(self.adapter, ImageToken)

    def forward(
        self,
        latents: torch.Tensor,
        context: torch.Tensor | None,
        out_size_px: Sequence[int] | None,
        features: list[torch.Tensor] | None = None,
    ) -> Prediction:
        """Predict.

        Args:
            latents: raw VAE posterior mean `[B, channels, h, w]`, any float type.
            context: see `text_states`; not read with learned prompts.
            out_size_px: `(H, W)` of the prediction; None: as the head makes it.
            features: the pyramid of these latents in this context, where it is known: the backbone is not passed.

        Returns:
            `[B, channels, H, W]` float32; in training, followed by a head's auxiliary outputs, if it has them.
        """
        if features is None:
            features, states = self.features(latents, context)
        elif self.prompts is None:
            states = self.text_states(context)
        else:
            *_, (states, _) = self.prompts  # of the last pass
        return self.head(features, out_size_px, states)

    def features(self, latents: torch.Tensor, context: torch.Tensor | None) -> tuple[list[torch.Tensor], torch.Tensor]:
        """What the head reads: the pyramid of the last pass, finest first, and the `[B or 1, T, D]` it attended to.

        Pass k > 1 reads the noise that pass k - 1 predicts, as a latent (docs/methods/meta_prompts.md#passes);
        gradients go all the way. Arguments as of `forward`.
        """
        if self.latent_scale != 1.0 or self.latent_shift:
            latents = latents.float() - self.latent_shift if self.latent_shift else latents.float()
            latents = latents * self.latent_scale
        if self.prompts is None:
            states = self.text_states(context)
            return self.backbone(latents, states), states
        (states, time), *rest = self.prompts
        features = self.backbone(latents, states, time)
        for states, time in rest:
            features = self.backbone(self.backbone.next_latents(features), states, time)
        return features, states

    def text_states(self, context: torch.Tensor | None) -> torch.Tensor:
        """What the backbone attends to, adapted.

        Args:
            context: one of
                float `[B, T, D]`: text states of each sample, or `[B, W]` with a token of the picture;
                int64 `[B]`: the class of each sample, -1 for the mean of all classes (mmseg's rule for an unknown one);
                None: all classes as the tokens of one context that the whole batch shares.

        Returns:
            `[B, T, D]`, or `[1, C, D]` for None.

        Raises:
            ConfigError: the model has no class table, or one without a single row per class where None needs it.
        """
        if self.adapter is None:
            raise ConfigError("this model has learned prompts, and no adapter for text states.")
        if context is not None and context.is_floating_point():
            return self.adapter(context)
        if self.reads_vision:
            raise ConfigError("this model's token is made of what a vision encoder says of a view, which is not here.")
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

    def compile_head(self) -> None:
        """Compile the head as one, in the same way. Norms of it that are joined over workers are
        `vpd.training.step.norms.check_compiled_norms`' to refuse."""
        compile_each([self.head])
