"""The encoders of Stable Diffusion 1.5 at their full size with random weights, as a model folder of 0.8 GB.

Owns the folder that `benchmarks.build_start` loads: vae, text_encoder and the demo's tokenizer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModel

from demo.tiny_sd import WORDS, no_bars
from demo.tiny_words import write_tokenizer

VAE: dict[str, Any] = {
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "latent_channels": 4,
}
TEXT: dict[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
}


def write_full_sd(folder: Path) -> None:
    """The model folder."""
    write_tokenizer(folder / "tokenizer", WORDS)
    with no_bars():
        AutoencoderKL(**VAE).save_pretrained(folder / "vae")
        CLIPTextModel(CLIPTextConfig(**TEXT)).save_pretrained(folder / "text_encoder")
