"""Every training configuration that ships resolves: settings, plug-ins, a whole network, groups and a schedule."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import torch

from diffusion_perception import plugins
from diffusion_perception.assembly.parts import build_schedule, build_task
from diffusion_perception.blueprints import assembled
from diffusion_perception.settings import read_file, replaced
from diffusion_perception.train_job import TrainJob
from jobs.command_line import CommandLine
from jobs.train import read
from shards.errors import ConfigError
from vpd.exchange.pretrained import Blueprint
from vpd.training.step.optim import PRESETS, named_groups

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "configs" / "train").glob("*.yaml"))
UNET = {
    "block_out_channels": [32, 64, 128, 128],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "cross_attention_dim": 64,
    "attention_head_dim": 8,
}


def resolved(file: Path) -> tuple[TrainJob, Any]:
    """The job of a file, and its network at a tenth of the width, described without weights."""
    job = read(CommandLine(config=str(file)))
    task: Any = build_task(job)
    prompts, vision = job.model.prompts, job.model.vision
    classes = getattr(task, "classes", 27) if task.uses_classes and not prompts.count and not vision.classes else 0
    tokens = prompts.count or (classes if job.task["name"] == "seg" else 1 if classes or vision.classes else 40)
    backbone = {key: value for key, value in job.backbone.items() if key not in ("model", "revision")}
    table = [classes, 64] if classes else None
    if not task.names_classes:  # one text for all, token by token
        tokens, table = job.task["tokens"], [1, job.task["tokens"], 64]
    blueprint = Blueprint(job.task, backbone, UNET, tokens, job.model.head, table, job.model.latent_scale)
    blueprint = replace(blueprint, prompts=asdict(prompts) if prompts.count else {})
    blueprint = replace(blueprint, vision={**asdict(vision), "said": 1000} if vision.classes else {})
    return job, assembled(blueprint)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_configuration_resolves(file: Path) -> None:
    job, model = resolved(file)
    groups = named_groups(model, job.optim)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert sum(len(group["params"]) for group in groups) == len(trained)
    schedule = build_schedule(job.optim.schedule, total=10_000, steps_per_epoch=1000)
    rates = [schedule(step) for step in range(0, 10_001, 500)]
    constant = job.optim.schedule.get("power") == 0
    assert 0 <= min(rates) <= max(rates) <= 1
    assert (min(rates) == max(rates)) == constant
    plugins.build_plugin(plugins.TASKS, job.task, "task")
    with pytest.raises(ConfigError, match="no usable unet in '/absent'"):  # all its settings were understood
        plugins.build_plugin(plugins.BACKBONES, {**job.backbone, "model": "/absent"}, "backbone")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_header_tells_the_published_score_and_every_value_its_source(file: Path) -> None:
    header = "".join(takewhile(lambda line: line.startswith("#"), file.read_text().splitlines(keepends=True)))
    assert "published" in header.lower()
    assert read_file(file)["optim"]["preset"] in PRESETS


@pytest.mark.parametrize(
    ("file", "preset", "factors"),
    [
        ("refer", "vpd_paper", {"backbone": 0.1}),
        ("refer", "vpd_code", {"backbone": 1.0}),
        ("depth", "depth", {"backbone": 0.01}),
        ("depth", "depth_paper", {"backbone": 0.1}),
        ("depth_mmseg", "depth_mmseg", {"backbone": 0.01}),
        ("depth_ecodepth", "ecodepth", {"backbone": 0.01, "embeddings": 10.0, "rest": 1.0}),
        ("depth_ecodepth_kitti", "ecodepth", {"backbone": 0.01, "embeddings": 10.0, "rest": 1.0}),
        ("depth_meta_prompts", "meta_prompts", {"backbone": 0.01, "rest": 1.0}),
        ("seg_meta_prompts", "meta_prompts_seg", {"backbone": 0.1, "backbone_norm": 1.0, "rest": 1.0}),
        ("seg", "seg", {"backbone": 0.1, "backbone_norm": 1.0}),
        ("seg", "seg_paper", {"backbone": 0.1}),
    ],
)
def test_presets_give_the_backbone_its_published_share_of_the_rate(file: str, preset: str, factors: dict) -> None:
    job, model = resolved(ROOT / "configs" / "train" / f"{file}.yaml")
    groups = named_groups(model, replaced(job.optim, {"preset": preset}))
    found = {group["name"]: group["lr"] / job.optim.lr for group in groups}
    assert {name: found[name] for name in factors} == pytest.approx(factors)


def test_the_network_of_the_published_sizes_has_the_published_number_of_parameters() -> None:
    """SD 1.5's UNet without its head (docs/methods/vpd.md#components), adapter (docs/methods/vpd.md#text-adapter) and
    decoder of refer at 40 tokens (docs/methods/refer.md#decoder)."""
    unet = UNET | {"block_out_channels": [320, 640, 1280, 1280], "cross_attention_dim": 768}
    job = read(CommandLine(config=str(ROOT / "configs" / "train" / "refer.yaml")))
    backbone = {key: value for key, value in job.backbone.items() if key not in ("model", "revision")}
    model = assembled(Blueprint(job.task, backbone, unet, 40))
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    assert counts["backbone"] == 859_520_964 - 12_164
    assert counts["adapter"] == 1_181_184 + 768
    assert round(counts["head"] / 1e6, 2) == 39.18
    assert all(isinstance(p, torch.nn.Parameter) and p.is_meta for p in model.parameters())
