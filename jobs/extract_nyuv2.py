#!/usr/bin/env python3
"""Extract NYUv2's official test split from the labelled .mat into the folder form; no cluster, no model.

    python jobs/extract_nyuv2.py root=data/nyuv2                  (writes under data/nyuv2/nyu_depth_v2/official_splits)
    python jobs/extract_nyuv2.py root=/data/mat out=/data/nyuv2 split=train

Owns the command; what is written, and by whose conventions, is `pipeline.sources.nyuv2.extract`'s.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.places import resolve_path
from jobs import program
from jobs.command_line import CommandLine
from pipeline.sources.nyuv2.extract import extract_split
from pipeline.sources.nyuv2.mat import MAT_FILE, SPLITS_FILE
from shards.progress import reports


@dataclass(frozen=True)
class ExtractJob:
    """Settings of an extraction."""

    root: str  # folder with nyu_depth_v2_labeled.mat and splits.mat
    out: str = ""  # empty: the same folder
    split: Literal["train", "test"] = "test"  # official split that is written
    mat: str = MAT_FILE  # the labelled frames
    splits: str = SPLITS_FILE  # which frames are of which split


JOB = ExtractJob
FLAGS: dict[str, str] = {}


def draft(command: CommandLine) -> dict[str, Any]:
    """The job's settings as plain data."""
    return settings.read_file(command.config, command.overrides)


def run(words: list[str]) -> None:
    job = settings.bind(JOB, draft(CommandLine.parse(words)))
    root = Path(resolve_path(job.root, "root"))
    out = Path(resolve_path(job.out, "out")) if job.out else root
    written = extract_split(root / job.mat, root / job.splits, out, job.split, reports("[extract]", "frames"))
    print(f"wrote {written} pairs of the {job.split} split under {out}")


if __name__ == "__main__":
    program.main("jobs.extract_nyuv2")
