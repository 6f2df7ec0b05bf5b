"""Depth, segmentation and referring segmentation learn on models beside SD 1 by one line, `backbone.model`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from diffusion_perception.settings import bind
from diffusion_perception.train_job import TrainJob
from diffusion_perception.training import train
from shards.errors import ConfigError
from tests.made_there import MadeThere
from tests.tiny_pipelines import UNETS
from tests.toy_runs import run_settings, write_set
from vpd.backbones import sd_unet
from vpd.backbones.sd_unet.facts import facts_of
from vpd.training.memory.without_data import model_like
from vpd.training.worker import Worker

STEPS = 10
FAMILIES = {  # strides of the levels; SD-Turbo is an SD 2, CleanDIFT's weights are those of an SD 1 or 2
    "sd15": (8, 16, 32, 64),
    "sd21": (8, 16, 32, 64),
    "bk_small": (8, 16, 32, 64),
    "bk_tiny": (8, 16, 32),
    "sdxl": (8, 16, 32),
}
POOLED = 32  # numbers of SDXL's pooled text, which its tokens carry


def write_unet(family: str, folder: Path) -> Path:
    """A model folder with the UNet alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        UNet2DConditionModel(**UNETS[family]).save_pretrained(folder / "unet")
    return folder


@pytest.mark.parametrize("task", ["depth", "seg", "refer"])
@pytest.mark.parametrize("family", ["sd21", "bk_tiny"])  # v-prediction's heads and width; fewer blocks of every kind
def test_a_task_learns_on_a_family(task: str, family: str, tmp_path: Path) -> None:
    model, width = write_unet(family, tmp_path / "model"), UNETS[family]["cross_attention_dim"]
    settings = run_settings(task, write_set(tmp_path / "set", task, width=width), model, tmp_path)
    settings["run"]["workers"] = 0
    settings["run"].pop("gpus_per_worker")
    settings["optim"] = {"lr": 1e-3, "schedule": {"name": "poly"}}
    settings["loop"] = {"steps": STEPS, "log_every_steps": 1, "eval_every_steps": STEPS}
    settings["data"] |= {"threads": 0, "batch_size": 6, "val": ""}
    train(bind(TrainJob, settings), Worker(0, 1))
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert len(losses) == STEPS
    assert sum(losses[-3:]) < sum(losses[:3])


@pytest.mark.parametrize("family", FAMILIES)
def test_levels_are_read_off_the_config_and_are_the_networks_own(family: str, tmp_path: Path) -> None:
    """Against hooks on an untouched network of diffusers."""
    model = write_unet(family, tmp_path)
    backbone: Any = sd_unet.build(str(model), attention_maps="")
    backbone.eval()
    assert tuple(level.stride for level in backbone.facts.levels) == FAMILIES[family]
    reference: Any = UNet2DConditionModel.from_pretrained(model / "unet").eval()
    kept: list[torch.Tensor] = []
    for number, block in enumerate(reference.up_blocks):
        layers = getattr(block, "attentions", None) or block.resnets
        tap = layers[-1] if number == len(reference.up_blocks) - 1 else layers[-2]
        tap.register_forward_hook(lambda _m, _i, out: kept.append(out[0] if isinstance(out, tuple) else out))
    latents, context = torch.randn(2, 4, 16, 8), torch.randn(2, 7, UNETS[family]["cross_attention_dim"])
    added, carried = None, torch.empty(2, 0)
    if family == "sdxl":
        carried = torch.randn(2, POOLED)
        added = {"text_embeds": carried, "time_ids": torch.tensor([[128.0, 64, 0, 0, 128, 64]]).repeat(2, 1)}
    with torch.no_grad():
        reference(latents, 1, context, added_cond_kwargs=added)
        found = backbone(latents, torch.cat([context, carried[:, None].expand(-1, 7, -1)], dim=-1))
    for level, expected, values in zip(backbone.facts.levels, reversed(kept), found, strict=True):
        torch.testing.assert_close(values, expected, rtol=0, atol=1e-5)
        assert values.shape[1:] == (level.channels, 128 // level.stride, 64 // level.stride)


def test_a_pass_of_sdxl_makes_nothing_on_the_host(tmp_path: Path) -> None:
    """Sizes of the picture included: a GPU would wait for their copy at each step, and no CUDA graph could hold it."""
    backbone: Any = sd_unet.build(str(write_unet("sdxl", tmp_path)), attention_maps="")
    with MadeThere():
        found = model_like(backbone)(
            torch.zeros(1, 4, 16, 8, device="meta"), torch.zeros(1, 7, backbone.context_width, device="meta")
        )
    assert [level.shape[1] for level in found] == [level.channels for level in backbone.facts.levels]


@pytest.mark.parametrize("told", [None, 40])
def test_an_sdxl_without_room_for_pooled_text_is_refused(told: int | None) -> None:
    with pytest.raises(
        ConfigError, match=f"projection_class_embeddings_input_dim {told} and addition_time_embed_dim 8"
    ):
        facts_of(UNETS["sdxl"] | {"projection_class_embeddings_input_dim": told})
