"""A Stable-Diffusion-shaped model folder, made from configurations: nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789,."
VAE_CONFIG = {
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [8, 8, 16, 16],
    "latent_channels": 4,
    "norm_num_groups": 4,
    "layers_per_block": 1,
}


def write_model(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    AutoencoderKL(**VAE_CONFIG).save_pretrained(folder / "vae")
    words = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "le", "ft</w>", "<|startoftext|>", "<|endoftext|>"]
    ids = {word: number for number, word in enumerate(words)}
    merges = ["l e", "f t</w>"]
    CLIPTokenizer(vocab=ids, merges=[tuple(pair.split()) for pair in merges]).save_pretrained(folder / "tokenizer")
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=20,
        bos_token_id=ids["<|startoftext|>"],
        eos_token_id=ids["<|endoftext|>"],
        pad_token_id=ids["<|endoftext|>"],
    )
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
