"""Let Megatron Energon read sets: write its `.nv-meta` and the index of each tar beside them.

    diffusion-perception set energon data/shards/refcoco-unc-val

Reads indexes, no tars; the set stays as it is. What is written holds for these tars: run it again after a build or copy
has replaced the set. Owns the command; the files are `shards.upkeep.energon`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diffusion_perception.places import resolve_path
from jobs.sets import words as grammar
from shards.upkeep.energon import describe_for_energon


@dataclass(frozen=True)
class EnergonJob:
    """Settings of the tool."""

    sets: tuple[str, ...] = ()  # folders or URLs of sets: the words behind `energon`
    storage: Mapping[str, Any] = field(default_factory=dict)  # of URLs: endpoint, region and such, but no secret


JOB = EnergonJob
FLAGS: Mapping[str, str] = {}
draft = grammar.draft


def run(words: list[str]) -> None:
    job, _ = grammar.read(JOB, words, FLAGS)
    for place in job.sets:
        written = describe_for_energon(resolve_path(place, "sets"), job.storage)
        print(f"{place}: wrote {len(written)} files, {', '.join(written[-3:])} among them", flush=True)
