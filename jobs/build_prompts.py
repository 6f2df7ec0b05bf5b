#!/usr/bin/env python3
"""Class names to a table of text embeddings; no shards, no cluster.

    python jobs/build_prompts.py names=[cup,dining_room] out=prompts/mine
    python jobs/build_prompts.py file=classes.txt prompts.templates=photo out=prompts/mine
    python jobs/build_prompts.py source=nyuv2 out=prompts/nyuv2
    python jobs/build_prompts.py 'source={name: ade20k, root: data/ADEChallengeData2016}' out=prompts/ade20k

Names come from the command line, from a file (one a line, or a JSON list) or from a source of the build side. Writes
`<out>.safetensors` and `<out>.json`, which a training run names as its table. The defaults are those of the published
room classes (docs/methods/vpd.md#room-prompts); token-level rows are `prompts.mode=tokens prompts.templates=photo`.
Owns the command; what a prompt is, `pipeline.prompts.class_table`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.places import resolve_path
from diffusion_perception.prompt_tables import TEXT, PromptsJob, build_table
from jobs import program
from jobs.command_line import CommandLine
from shards.contract.tables import save_table
from shards.progress import reports

JOB = PromptsJob
FLAGS: dict[str, str] = {}


def draft(command: CommandLine) -> dict[str, Any]:
    """The job's settings as plain data."""
    below = {"text": dict(TEXT)}  # so that text.model=... changes the model and nothing else
    return settings.read_file(command.config, command.overrides, below)


def run(words: list[str]) -> None:
    job = settings.bind(JOB, draft(CommandLine.parse(words)))
    out = Path(resolve_path(job.out, "out"))
    table = build_table(job, reports("[prompts]", "classes"))
    save_table(out, table.arrays, table.info)
    shape = table.arrays["embeddings"].shape
    print(f"{shape[0]} classes x {len(table.info['templates'])} template(s), mode {table.info['mode']}: {list(shape)}")
    if table.full:
        print(f"{len(table.full)} prompts may have been cut, such as those of {table.full[0]!r}: raise text.length")
    print(f"wrote {out}.safetensors and {out}.json")


if __name__ == "__main__":
    program.main("jobs.build_prompts")
