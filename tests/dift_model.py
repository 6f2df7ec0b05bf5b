"""The small model that the recordings of DIFT and DAAM were made with, rebuilt from their facts: no weight file.

Owns the rule of the weights (`dift.json`: `weights`, `configs`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.byte_tokenizer import byte_tokenizer


def pipeline_of(facts: Mapping[str, Any], folder: Path) -> Any:
    """The diffusers pipeline; `folder` takes the tokenizer's files."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    from transformers import CLIPTextConfig, CLIPTextModel

    configs, words = facts["configs"], facts["tokenizer"]
    unet = UNet2DConditionModel(**configs["unet"])
    vae = AutoencoderKL(**configs["vae"])
    text_encoder = CLIPTextModel(CLIPTextConfig(**configs["text_encoder"]))
    for component, module in (("unet", unet), ("vae", vae), ("text_encoder", text_encoder)):
        weights = _weights(module, component, facts["weights"]["seed"])
        assert _digest(weights) == facts["weights"]["components"][component]["sha256"], component
        named = {name: weights[_published(name, component)] for name in module.state_dict()}
        module.load_state_dict(named)
    return StableDiffusionPipeline(
        vae,
        text_encoder,
        byte_tokenizer(folder, words["vocab_size"], words["merges"], words["pad_token"]),
        unet,
        DDIMScheduler(**configs["scheduler"]),  # pyright: ignore[reportArgumentType]
        None,  # pyright: ignore[reportArgumentType]
        None,  # pyright: ignore[reportArgumentType]
        requires_safety_checker=False,
    )


def _published(name: str, component: str) -> str:
    return f"text_model.{name}" if component == "text_encoder" and not name.startswith("text_model.") else name


def _weights(module: torch.nn.Module, component: str, seed: str) -> dict[str, torch.Tensor]:
    made: dict[str, torch.Tensor] = {}
    for own, like in module.state_dict().items():
        name = _published(own, component)
        if not like.is_floating_point():
            made[name] = like
            continue
        n = like.numel()
        stream = hashlib.shake_256(f"{seed}/{component}/{name}".encode())
        if like.ndim >= 2:
            bits = np.unpackbits(np.frombuffer(stream.digest(-(-n // 8)), np.uint8))[:n]
            gain = 1.7 if any(part in name for part in (".to_q.", ".to_k.", ".q_proj.", ".k_proj.")) else 1.0
            scale = gain / np.sqrt(np.prod(like.shape[1:], dtype=np.float64))
            if component == "text_encoder" and "embedding" in name:
                scale = 0.5
            values = np.where(bits, np.float32(scale), -np.float32(scale)).astype(np.float32)
        else:
            values = ((np.frombuffer(stream.digest(n), np.uint8) & 31).astype(np.float32) - 16) / 32
            values = values + 1 if name.endswith("weight") else values
        made[name] = torch.from_numpy(values.astype(np.float32)).reshape(like.shape)
    return made


def _digest(weights: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(name for name, tensor in weights.items() if tensor.is_floating_point()):
        digest.update(name.encode())
        digest.update(weights[name].numpy().astype("<f4").tobytes())
    return digest.hexdigest()
