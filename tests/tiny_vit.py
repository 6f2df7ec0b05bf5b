"""A vision transformer of a few thousand random weights, with classes as ImageNet's model has, as a folder."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import ViTConfig, ViTForImageClassification

CLASSES, WIDTH, SIDE_PX = 10, 16, 32


def write_vit(folder: Path, seed: int = 0, **said: object) -> Path:
    """The folder; `said` is the content of its preprocessor_config.json, which is left out if there is none."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = ViTConfig(
            id2label={number: f"class {number}" for number in range(CLASSES)},
            image_size=SIDE_PX,
            patch_size=8,
            hidden_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            initializer_range=0.3,
        )
        ViTForImageClassification(config).save_pretrained(folder)
    if said:
        (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return folder
