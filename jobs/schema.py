#!/usr/bin/env python3
"""Print the JSON schema of a command's configuration files, for editors.

    diffusion-perception schema train > train.schema.json
    python jobs/schema.py all=docs/schemas                       every schema, as files of a folder

An editor with a YAML language server checks and completes a file whose first line is
`# yaml-language-server: $schema=train.schema.json`, the path of a schema from that file. Owns the command; what a
schema says is `diffusion_perception.settings.schema`'s.
"""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.settings.schema import schema_of
from jobs import program
from jobs.command import COMMANDS
from jobs.command_line import CommandLine
from shards.errors import ConfigError, did_you_mean

WITHOUT = ("schema", "check", "init", "data", "set", "report", "ui")  # has none; reads those of build; are all words
CONFIGURED = {kind: module for kind, module in COMMANDS.items() if kind not in WITHOUT}


@dataclass(frozen=True)
class SchemaJob:
    """Settings of a print."""

    of: str = ""  # the command whose configurations are described: build, train, evaluate, predict, ...
    all: str = ""  # folder to write every schema to, as <command>.schema.json


JOB = SchemaJob
FLAGS: dict[str, str] = {}


def draft(command: CommandLine) -> dict[str, Any]:
    """The job's settings as plain data."""
    return settings.read_file(command.config, command.overrides)


def run(words: list[str]) -> None:
    if words and "=" not in words[0] and not words[0].startswith("-"):  # `schema train`
        words = [f"of={words[0]}", *words[1:]]
    job = settings.bind(JOB, draft(CommandLine.parse(words)))
    if bool(job.of) == bool(job.all):
        raise ConfigError(f"say which schema: schema COMMAND (one of {', '.join(CONFIGURED)}), or all=FOLDER.")
    for kind in CONFIGURED if job.all else ():
        Path(job.all).mkdir(parents=True, exist_ok=True)
        Path(job.all, f"{kind}.schema.json").write_text(text_of(kind), encoding="utf-8")
    print(f"wrote {len(CONFIGURED)} schemas to {job.all}" if job.all else text_of(job.of), end="\n" if job.all else "")


def text_of(kind: str) -> str:
    """The schema of a kind of configuration, as JSON."""
    if kind not in CONFIGURED:
        raise ConfigError(f"no schema '{kind}'.{did_you_mean(kind, CONFIGURED)} There are: {', '.join(CONFIGURED)}.")
    job = importlib.import_module(CONFIGURED[kind]).JOB
    return json.dumps(schema_of(job, f"diffusion-perception {kind}"), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    program.main("jobs.schema")
