"""The refer step as it was published, restated with the same weights, to measure ours beside it.

What it does that ours does not, each stated by the published code (docs/methods/performance.md#the-published-step):
every step encodes its pictures with the VAE and its sentences with CLIP; everything is float32; attention writes its
whole matrix; every layer is computed a second time in backward; every layer's matrix, of self-attention too, is
averaged over its heads, and up to 32 x 32 pixels stored for the whole pass, a second time when it is computed again;
the host waits for the loss and the device, collects garbage and empties the allocator's cache in every step.
"""

from __future__ import annotations

import gc
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from benchmarks.networks import TOKENS, VAE, build, loss_of, unet_config
from vpd.backbones.sd_unet.gates import GatedGelu, gated
from vpd.model.device_batch import DeviceBatch
from vpd.model.perception import Perception
from vpd.training.step.numerics import float32_of

CLIP: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
STORED_PIXELS = 32 * 32


def clip_shape(width: int) -> dict[str, Any]:
    """CLIP's text encoder, as much narrower as a UNet of `width` base channels is."""
    context = unet_config(width)["cross_attention_dim"]
    narrow = {"hidden_size": context, "intermediate_size": 4 * context, "num_attention_heads": context // 16}
    return CLIP | (narrow if width < 320 else {})


class StoringAttention:
    """Attention as the published code writes it: every probability matrix in memory, its mean kept where small."""

    def __init__(self) -> None:
        self.stored: list[torch.Tensor] = []

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        maps: list[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        projected = (attn.to_q(hidden_states), attn.to_k(source), attn.to_v(source))
        query, key, value = (x.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for x in projected)
        probabilities = (query @ key.transpose(-1, -2) * attn.scale).softmax(-1)  # [B, H, N, T]
        mean = probabilities.detach().mean(1)  # [B, N, T], of every layer, stored or not
        if mean.shape[1] <= STORED_PIXELS:
            self.stored.append(mean)
        if encoder_hidden_states is not None and maps is not None:
            maps.append(mean)
        return attn.to_out[0]((probabilities @ value).transpose(1, 2).flatten(2))


class PlainGate:
    """The gated activation as the published code writes it: autograd keeps what it likes."""

    def __init__(self, proj: nn.Module) -> None:
        self.proj = proj

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return gated(self.proj(x))


class PublishedStep(nn.Module):
    """Pictures and token ids to the loss, at the published cost.

    Args:
        width: base channels of the UNet; the encoders are as much narrower as it is.
        device: of everything.
    """

    def __init__(self, width: int = 320, device: str = "cpu") -> None:
        super().__init__()
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
        from transformers.models.clip.configuration_clip import CLIPTextConfig
        from transformers.models.clip.modeling_clip import CLIPTextModel

        self.network, self.task = build("refer", width, device, gradient_checkpointing=True)
        self.attention = StoringAttention()
        self.network.backbone.unet.set_attn_processor(self.attention)
        for layer in self.network.backbone.unet.modules():
            if isinstance(layer, GatedGelu):
                layer.forward = PlainGate(layer.proj)  # its names stay: weights are ours
        config = CLIPTextConfig(**clip_shape(width), max_position_embeddings=TOKENS)
        widths = tuple(channels * width // 320 // 32 * 32 or 32 for channels in VAE["block_out_channels"])
        shape: dict[str, Any] = VAE | {"block_out_channels": widths}
        with torch.device(device):
            self.vae: Any = AutoencoderKL(**shape).eval().requires_grad_(False)
            self.clip: Any = CLIPTextModel(config).eval().requires_grad_(False)

    def with_weights_of(self, network: Perception) -> PublishedStep:
        """The same, with the weights of another network of its size."""
        self.network.load_state_dict(network.state_dict())
        return self

    def forward(self, pixels: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Loss.

        Args:
            pixels: float32 `[B, 3, 8h, 8w]` in [-1, 1].
            tokens: int64 `[B, T]`.
            mask: uint8 `[B, 8h, 8w]`.
        """
        self.attention.stored.clear()
        with torch.no_grad():
            latents = self.vae.encode(pixels).latent_dist.mode()  # [B, 4, h, w]
            text = self.clip(input_ids=tokens).last_hidden_state  # [B, T, D]
        return loss_of(self.network, self.task, DeviceBatch(latents, text, {"mask": mask}))

    def inputs(self, samples: int, latent_side: int, device: str = "cpu") -> tuple[torch.Tensor, ...]:
        """Random pixels, token ids and masks."""
        side = 8 * latent_side
        with torch.device(device):
            pixels = torch.rand(samples, 3, side, side) * 2 - 1
            tokens = torch.randint(0, self.clip.config.vocab_size, (samples, TOKENS))
            return pixels, tokens, torch.zeros(samples, side, side, dtype=torch.uint8)

    def step(self, inputs: tuple[torch.Tensor, ...]) -> float:
        """Forward and backward pass, and what the host waits for; the loss."""
        loss = self(*inputs)
        loss.backward()
        if loss.device.type == "cuda":
            torch.cuda.synchronize()
        value = loss.item()
        gc.collect()
        if loss.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.synchronize()
        return value


def published_numerics() -> AbstractContextManager[None]:
    """PyTorch's defaults of that time on a GPU: matrix products in float32, convolutions in TF32."""
    return float32_of(convolutions="tf32", products="ieee")
