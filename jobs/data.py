#!/usr/bin/env python3
"""Say what of a published dataset is on disk, what is missing, and where to get it. Downloads nothing.

    diffusion-perception data status                             every dataset, below data/
    diffusion-perception data status refcoco nyuv2 root=/data
    python jobs/data.py status nyuv2 form=mat root=/data/nyuv2

A dataset is looked for in `root`, or in the folder of its usual name there. Ends with status 1 where something that a
build needs is missing. Names are looked at, not pictures: those are `check`'s. No Ray, no torch, no network. Owns the
command; descriptions are `pipeline.datasets`', looking is `pipeline.stocktaking`'s.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from anywhere, installed or not

from diffusion_perception import settings
from diffusion_perception.places import resolve_path
from jobs import program
from jobs.command_line import CommandLine
from pipeline.stocktaking import names
from pipeline.stocktaking.look import take_stock
from pipeline.stocktaking.words import in_words
from shards.errors import ConfigError, SourceError


@dataclass(frozen=True)
class DataJob:
    """Settings of a look at datasets."""

    datasets: tuple[str, ...] = ()  # which: words behind `status`; empty: all that are described
    root: str = "data"  # their folder, or the folder that holds their folders
    form: str = ""  # which form of a dataset that has several, e.g. mat; empty: that of the shipped configuration


JOB = DataJob
FLAGS: dict[str, str] = {}


def draft(command: CommandLine) -> dict[str, Any]:
    """The job's settings as plain data."""
    return settings.read_file(command.config, command.overrides)


def run(words: list[str]) -> None:
    if words[:1] != ["status"]:
        known = ", ".join(names.known())
        raise ConfigError(f"data: say data status [DATASET ...] [root=FOLDER]. Datasets: {known}.")
    plain = [word for word in words[1:] if "=" not in word and not word.startswith("-")]
    rest = [word for word in words[1:] if word not in plain]
    if plain:
        rest = [f"datasets={json.dumps(plain)}", *rest]
    job = settings.bind(JOB, draft(CommandLine.parse(rest, flags=FLAGS)))
    asked = job.datasets or tuple(names.known())
    described = {name: names.described(name) for name in dict.fromkeys(asked)}
    root = Path(resolve_path(job.root, "root"))
    stocks = [take_stock(name, dataset, root, job.form) for name, dataset in described.items()]
    for stock in stocks:
        print("\n".join(in_words(stock)), flush=True)
    if lacking := [stock for stock in stocks if stock.lacking]:
        which = "; ".join(f"{stock.name}: {len(stock.lacking)} of {len(stock.found)} parts" for stock in lacking)
        raise SourceError(f"not whole are {which}. What is missing and where it is stands above.")


if __name__ == "__main__":
    program.main("jobs.data")
