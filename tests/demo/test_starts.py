"""The demo's starts differ in their U-Nets alone; the pre-trained weights are what their card says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

from demo.pretrain.folder import digest_of
from demo.starts import PRETRAINED, write_starts
from demo.tiny_sd import write_tiny_sd


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_random_unet_of_the_same_shape_stands_beside_the_pre_trained_one(tmp_path: Path) -> None:
    source = write_tiny_sd(tmp_path / "pretrained", seed=1)
    state = torch.get_rng_state()
    first, other = write_starts(tmp_path, source)
    assert torch.equal(torch.get_rng_state(), state)
    ours, random = hashes(tmp_path / first.folder), hashes(tmp_path / other.folder)
    assert ours == hashes(source)
    assert {name for name in ours if ours[name] != random.get(name)} == {"unet/diffusion_pytorch_model.safetensors"}
    shapes = [
        {name: list(value.shape) for name, value in UNet2DConditionModel.from_pretrained(folder).state_dict().items()}
        for folder in (tmp_path / first.folder / "unet", tmp_path / other.folder / "unet")
    ]
    assert shapes[0] == shapes[1]
    assert (first.suffix, other.suffix) == ("", "-random")
    assert first.settings == ""
    assert f"backbone.model=demo_out/{other.folder}" in other.settings


def test_the_pre_trained_weights_are_small_load_and_are_those_of_their_card() -> None:
    assert not [path for path in PRETRAINED.rglob("*.json") if "_name_or_path" in path.read_text()], "of one machine"
    assert sum(path.stat().st_size for path in PRETRAINED.rglob("*") if path.is_file()) < 10e6
    assert digest_of(PRETRAINED) in (PRETRAINED / "README.md").read_text()
    assert json.loads((PRETRAINED / "model_index.json").read_text())["_class_name"] == "StableDiffusionPipeline"
    pipeline: Any = StableDiffusionPipeline.from_pretrained(PRETRAINED, torch_dtype=torch.float32)
    drawn = pipeline("a red circle", num_inference_steps=1, height=64, width=64, output_type="np").images[0]
    assert drawn.shape == (64, 64, 3)
