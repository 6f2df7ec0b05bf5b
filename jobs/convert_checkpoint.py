#!/usr/bin/env python3
"""Checkpoints in and out: original Stable Diffusion, VPD and Meta Prompts files, our runs, diffusers folders.

    python jobs/convert_checkpoint.py in=v1-5-pruned-emaonly.safetensors out=models/sd15 \\
        tokenizer=openai/clip-vit-large-patch14
    python jobs/convert_checkpoint.py in=vpd_depth.ckpt out=models/vpd-depth source=nyuv2
    python jobs/convert_checkpoint.py in=meta.ckpt out=models/meta-kitti task.max_depth_m=80 task.crop=garg size=448
    python jobs/convert_checkpoint.py in=model_best_vpd.pth out=models/vpd-refer --allow-namespace
    python jobs/convert_checkpoint.py in=runs/refer out=export/refer checkpoint=best
    python jobs/convert_checkpoint.py in=runs/refer out=export/refer-unet to=diffusers

`to=model` (a folder of ours: safetensors, config.json; `diffusion_perception.from_pretrained` loads it) is what
checkpoints with a head become, `to=diffusers` what plain Stable Diffusion files become; asked for, it exports a
fine-tuned UNet. Every key's fate is printed in short and written to report.json. Owns the command, and how a run of
ours becomes a blueprint; the mapping is `vpd.exchange.importing`'s.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.conversion import ConvertJob, convert
from diffusion_perception.places import resolve_path
from jobs import cluster
from jobs.command_line import CommandLine
from shards.errors import ConfigError


def run(words: list[str]) -> None:
    command = CommandLine.parse(words, flags=("allow-namespace",))
    data: dict[str, Any] = settings.read_file(command.config) if command.config else {}
    for key, text in command.overrides:
        if key in ("task.name", "task"):
            raise ConfigError(f"{key}: the task is read from the checkpoint; task.<option> changes its options.")
        settings.lay_over(data, "source_path" if key == "in" else key, text)
    job = settings.bind(ConvertJob, data)
    found = resolve_path(job.source_path, "in")
    job = settings.replaced(job, {"source_path": found, "out": resolve_path(job.out, "out")})
    for line in convert(job, allow_namespace="allow-namespace" in command.flags):
        print(line)


if __name__ == "__main__":
    cluster.main("jobs.convert_checkpoint")
