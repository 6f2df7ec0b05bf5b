"""What cannot be read is one error that says what can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffusion_perception import Features as Public
from diffusion_perception.features.reading import Features
from shards.errors import ConfigError
from tests.tiny_pipelines import tiny_pipeline

PICTURE = np.zeros((64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Features:
    return Features(tiny_pipeline("sd15", tmp_path_factory.mktemp("sd15")))


@pytest.mark.parametrize(
    ("pictures", "options", "said"),
    [
        ([PICTURE], {"layers": ["up_block.1"]}, r"'up_block\.1' is none of UNet2DConditionModel.*up_blocks\.1"),
        ([PICTURE], {"layers": ["mid_block", "mid_block"]}, "each can be read once"),
        ([PICTURE], {}, "name layers to read"),
        ([PICTURE], {"layers": ["time_embedding"]}, "no feature map"),
        (
            [PICTURE],
            {"layers": ["mid_block"], "timestep": 1000, "noise": "ddpm"},
            "whole ones from 0 to 999",
        ),
        ([PICTURE], {"layers": ["mid_block"], "prompts": ["a", "b"]}, "2 prompts for 1 pictures"),
        ([PICTURE], {"layers": ["mid_block"], "noise": torch.zeros(1, 4, 4, 4)}, r"takes \[1, 4, 8, 8\]"),
        ([PICTURE, PICTURE[:32]], {"layers": ["mid_block"]}, "pictures of 2 sizes, such as 32 x 64 and 64 x 64"),
        (torch.zeros(3, 64, 64), {"layers": ["mid_block"]}, r"float \[B, 3, H, W\]"),
        ([], {"layers": ["mid_block"]}, "at least one"),
        (None, {"layers": ["mid_block"]}, "either pictures or latents"),
    ],
)
def test_a_wrong_request(pictures: Any, options: dict[str, Any], said: str, features: Features) -> None:
    with pytest.raises(ConfigError, match=said):
        features(pictures, **options)


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no model_index\.json: expected the folder of a whole diffusers model"):
        Public.from_pretrained(str(tmp_path))
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    with pytest.raises(ConfigError, match="does not load"):
        Public.from_pretrained(str(tmp_path))
    with pytest.raises(ConfigError, match="dtype is 'half'"):
        Public.from_pretrained(str(tmp_path), dtype="half")


def test_a_family_that_nobody_wrote_is_named() -> None:
    class KandinskyPipeline:
        pass

    with pytest.raises(ConfigError, match="stable_diffusion_xl"):
        Features(KandinskyPipeline())


def test_a_model_folder_is_read(tiny_sd: Path) -> None:
    features = Public.from_pretrained(str(tiny_sd), device="cpu")
    seen = features([PICTURE], "a red ball", layers=["up_blocks.1", "up_blocks.3"])
    assert [tuple(seen[layer].values.shape[-2:]) for layer in seen] == [(4, 4), (8, 8)]
