"""Copy sets from a place to a folder or another place, verified.

    diffusion-perception set pull s3://bucket/sets/refcoco-unc-val to=data/shards
    diffusion-perception set pull hf://datasets/me/refcoco-latents to=data/shards        all that were pushed there

Each set gets the folder of its name, its manifest last. Interrupted, the same command goes on. Training from it needs
no picture and no encoder. Owns the command; what is done is `shards.upkeep.publication`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diffusion_perception.places import resolve_path
from jobs.sets import words as grammar
from jobs.sets.push import check_move
from shards.upkeep.copying import THREADS
from shards.upkeep.publication import pull_sets


@dataclass(frozen=True)
class PullJob:
    """Settings of a pull."""

    sets: tuple[str, ...] = ()  # URLs or folders of sets, or of places with several: the words behind `pull`
    to: str = ""  # folder or URL that gets a folder for each set
    threads: int = THREADS  # shards on their way at once
    storage: Mapping[str, Any] = field(default_factory=dict)  # of URLs: endpoint, region and such, but no secret

    def __post_init__(self) -> None:
        check_move(self.to, self.threads)


JOB = PullJob
FLAGS = {"replace": "another set of that name may be there, and is overwritten"}
draft = grammar.draft


def run(words: list[str]) -> None:
    job, flags = grammar.read(JOB, words, FLAGS)
    pull_sets(
        [resolve_path(place, "sets") for place in job.sets],
        resolve_path(job.to, "to"),
        storage_options=job.storage,
        replace="replace" in flags,
        threads=job.threads,
        say=lambda line: print(f"[pull] {line}", flush=True),
    )
