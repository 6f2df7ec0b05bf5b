#!/usr/bin/env python3
"""Look at a folder of your own, and write the two configurations that build and train from it.

    diffusion-perception init seg --images /data/mine/images --labels /data/mine/masks
    diffusion-perception init depth --images rgb --labels depth source.units_per_metre=1000 out=configs
    diffusion-perception init refer --images photos --labels refs.jsonl name=shelf
    diffusion-perception init pictures --images /data/laion                  # a folder of pictures, or of tars of them

Prints what it found and what it only guesses, and writes NAME.build.yaml and NAME.train.yaml (the first alone of
pictures without labels), in which every guess stands beside its setting. What files cannot say, such as the unit of a
depth, it refuses with the words to type: `source.OPTION=VALUE`, an option of the source that reads the folder. No Ray,
no torch, no network. Owns the command; looking and writing are `diffusion_perception.building.starting`'s.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.building import starting
from diffusion_perception.building.starting import InitJob
from jobs import program
from jobs.command_line import CommandLine
from shards.errors import ConfigError

JOB = InitJob
FLAGS = {"dry-run": "print what was found and both files, and write nothing"}
WORDS: dict[str, str] = {}


def draft(command: CommandLine) -> dict[str, Any]:
    """The job's settings as plain data."""
    return settings.read_file(command.config, command.overrides)


def run(words: list[str]) -> None:
    if words and "=" not in words[0] and not words[0].startswith("-"):  # `init seg`
        words = [f"task={words[0]}", *words[1:]]
    command = CommandLine.parse(words, flags=FLAGS)
    if not command.take("task")[0] and not command.config:
        raise ConfigError(
            "init: of what? Say seg, depth, refer or pictures, as in init seg --images FOLDER --labels FOLDER."
        )
    begun = starting.start(settings.bind(JOB, draft(command)))
    for line in begun.lines():
        print(f"[init] {line}")
    if "dry-run" in command.flags:
        for path, text in begun.files.items():
            print(f"\n# {path}\n{text}", end="")
        return
    starting.write(begun)
    build, *others = begun.files
    them = "them" if others else "it"
    print(
        f"wrote {' and '.join(map(str, begun.files))}. Read {them}, then: diffusion-perception check {build}",
        flush=True,
    )


if __name__ == "__main__":
    program.main("jobs.init")
