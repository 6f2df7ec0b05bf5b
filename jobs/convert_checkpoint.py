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
from jobs import program
from jobs.command_line import CommandLine
from shards.errors import ConfigError

JOB = ConvertJob
FLAGS = {"allow-namespace": "read a file that holds its command line, as refer's official ones do"}


def draft(command: CommandLine) -> dict[str, Any]:
    """The job's settings as plain data."""
    data = settings.read_file(command.config, command.overrides)
    if settings.plugin_name(data.get("task")):
        raise ConfigError("task: the task is read from the checkpoint; task.<option> changes its options.")
    return data


def run(words: list[str]) -> None:
    command = CommandLine.parse(words, flags=FLAGS)
    job = settings.bind(JOB, draft(command))
    found = resolve_path(job.source_path, "in")
    job = settings.replaced(job, {"source_path": found, "out": resolve_path(job.out, "out")})
    for line in convert(job, allow_namespace="allow-namespace" in command.flags):
        print(line)


if __name__ == "__main__":
    program.main("jobs.convert_checkpoint")
