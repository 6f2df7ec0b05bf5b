#!/usr/bin/env python3
"""What a training step holds at its peak, for every task and every card's settings: does it fit?

    python -m benchmarks.cards

Owns the table of docs/methods/performance.md#cards, kept as `benchmarks/results/cards.json` with the settings it was
counted for. Nothing is run: the count is `vpd.training.memory.step_memory`'s, the settings are configs/card's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.networks import build, made_up
from jobs.command_line import CommandLine
from jobs.train import read
from vpd.training.memory.step_memory import peak_bytes

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "cards.json"
TASKS = ("refer", "seg", "depth")
CARDS_GB = {file.stem: int(file.stem.removesuffix("gb")) for file in sorted((ROOT / "configs" / "card").glob("*.yaml"))}
FREE = 0.1  # of a card's memory: for the context, workspaces of kernels and gaps of the allocator


def settings_of(task: str, card: str) -> dict[str, Any]:
    """What decides the memory of a step."""
    job = read(CommandLine.parse(["--task", task, "--card", card]))
    return {
        "batch_size": job.data.batch_size,
        "micro_batch_size": job.data.micro_batch_size,
        "train": job.model.train,
        "lora": {"rank": job.model.lora.rank, "layers": list(job.model.lora.layers)},
        "gradient_checkpointing": job.backbone["gradient_checkpointing"],
        "precision": job.loop.precision,
        "ema_decay": job.optim.ema_decay,
    }


def peak_gb(task: str, card: str) -> float:
    """At the size of Stable Diffusion 1.5, views of 512 x 512."""
    job = read(CommandLine.parse(["--task", task, "--card", card]))
    recomputed = job.backbone["gradient_checkpointing"]
    model, learned = build(task, device="meta", regime=job.model, gradient_checkpointing=recomputed)
    counted = peak_bytes(
        model.train(),
        learned,
        made_up(task, model, 1),
        job.data.batch_size,
        ema_decay=job.optim.ema_decay,
        micro_batch=job.data.micro_batch_size,
        bfloat16=job.loop.precision == "bfloat16",
    )
    assert counted is not None
    return counted / 1e9


def main() -> None:
    rows = []
    for task in TASKS:
        for card, has_gb in CARDS_GB.items():
            needs_gb = peak_gb(task, card)
            rows.append({"task": task, "card": card, "peak_gb": round(needs_gb, 2), **settings_of(task, card)})
            print(f"{task:6} {card}: {needs_gb:5.1f} of {(1 - FREE) * has_gb:.1f} GB", flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
