#!/usr/bin/env python3
"""Look at every picture and label of a build, before any encoder runs: counts, faults, and a page with pictures.

    diffusion-perception check mine.yaml
    python jobs/check.py --config configs/build/own_seg.yaml source.root=/data/mine page=/tmp/mine.html

Takes the configuration of a build; its encoders and its `out` need not exist. Prints what was found of every split,
writes it as one HTML file (`page`, check.html) with the first pictures and their labels, and ends with status 1 where a
build would be refused. No Ray, no torch, no network. Owns the command; looking is
`diffusion_perception.building.inspection`'s.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.building import inspection
from diffusion_perception.building.builder import BuildJob
from jobs import program
from jobs.command_line import CommandLine
from shards.errors import ConfigError, SourceError

JOB = BuildJob
FLAGS: dict[str, str] = {}
WORDS = {"page": "the HTML file that is written; check.html where nothing is said"}
PAGE = "check.html"


def draft(command: CommandLine) -> dict[str, Any]:
    """The job's settings as plain data."""
    if not command.config:
        raise ConfigError("check: of which build? Name its configuration, as in check configs/build/own_seg.yaml.")
    return settings.read_file(command.config, command.take("page")[1].overrides)


def run(words: list[str]) -> None:
    if words and "=" not in words[0] and not words[0].startswith("-"):  # `check mine.yaml`
        words = [f"config={words[0]}", *words[1:]]
    command = CommandLine.parse(words, flags=FLAGS)
    job = settings.bind(JOB, draft(command))
    path = Path(os.path.expanduser(command.take("page")[0] or PAGE))
    if not path.parent.is_dir():
        raise ConfigError(f"page={path}: {path.parent} is not a folder. Make it, or name another file.")
    found = inspection.inspect_build(job, lambda line: print(f"[check] {line}", flush=True))
    for line in inspection.in_words(found):
        print(line)
    inspection.write_page(found, f"{job.name}: {job.source['name']}", path)
    print(f"pictures and all of this: {path}", flush=True)
    if refused := [part.split for part in found if part.refusals]:
        raise SourceError(f"a build would be refused for what is found in {', '.join(refused)}; see REFUSED above.")


if __name__ == "__main__":
    program.main("jobs.check")
