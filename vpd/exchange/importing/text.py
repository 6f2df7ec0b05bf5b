"""CLIP's text model as an original Stable Diffusion file holds it: sizes from its weights, and what must be there.

Owns the config that transformers needs (docs/methods/checkpoints.md#text-model). Names are already transformers' own
(`text_model.*`). CLIP's text models have heads of 64 channels and an activation that the weights do not show.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from shards.errors import SchemaMismatch

HEAD_WIDTH = 64
TOKENS = "text_model.embeddings.token_embedding.weight"


def text_config(weights: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The `CLIPTextModel` config of text weights.

    Raises:
        SchemaMismatch: no token table, or a width that is no multiple of 64.
    """
    if TOKENS not in weights:
        raise SchemaMismatch(f"no {TOKENS} among the text encoder's weights: not CLIP in transformers' names.")
    words, width = weights[TOKENS].shape
    if width % HEAD_WIDTH:
        raise SchemaMismatch(f"{TOKENS} is {width} wide, expected a multiple of {HEAD_WIDTH} as in CLIP.")
    layers = {int(key.split(".")[3]) for key in weights if key.startswith("text_model.encoder.layers.")}
    hidden = weights.get("text_model.encoder.layers.0.mlp.fc1.bias", torch.empty(0))
    positions = weights.get("text_model.embeddings.position_embedding.weight", torch.empty(0))
    return {
        "architectures": ["CLIPTextModel"],
        "model_type": "clip_text_model",
        "vocab_size": words,
        "hidden_size": width,
        "intermediate_size": len(hidden),
        "num_hidden_layers": len(layers),
        "num_attention_heads": width // HEAD_WIDTH,
        "max_position_embeddings": len(positions),
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
        "projection_dim": width,
        "bos_token_id": words - 2,
        "eos_token_id": words - 1,
        "pad_token_id": 1,
    }


def text_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight of a text model with this config."""
    width, hidden = config["hidden_size"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        TOKENS: (config["vocab_size"], width),
        "text_model.embeddings.position_embedding.weight": (config["max_position_embeddings"], width),
    }
    linear = {f"self_attn.{part}_proj": (width, width) for part in "qkv"} | {"self_attn.out_proj": (width, width)}
    linear |= {"mlp.fc1": (hidden, width), "mlp.fc2": (width, hidden)}
    norms = ["text_model.final_layer_norm"]
    for layer in range(config["num_hidden_layers"]):
        inside = f"text_model.encoder.layers.{layer}"
        norms += [f"{inside}.layer_norm1", f"{inside}.layer_norm2"]
        for name, shape in linear.items():
            shapes |= {f"{inside}.{name}.weight": shape, f"{inside}.{name}.bias": shape[:1]}
    return shapes | {f"{norm}.{kind}": (width,) for norm in norms for kind in ("weight", "bias")}


def write_text(folder: Path, config: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> Path:
    """Write `<folder>/text_encoder` as transformers does; returns that folder."""
    target = folder / "text_encoder"
    target.mkdir(parents=True, exist_ok=True)
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_file({k: v.contiguous() for k, v in weights.items()}, target / "model.safetensors", {"format": "pt"})
    return target
