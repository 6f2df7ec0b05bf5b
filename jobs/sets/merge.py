"""Make one set of several of one schema and recipe: their shards as they are, under new names.

    diffusion-perception set merge data/shards/mine-a data/shards/mine-b to=data/shards/mine-all
    diffusion-perception set merge data/shards/mine-train data/shards/mine-val to=data/shards/all --across-sources

Refused where two sets have a record of the same key, other fields, other tables, or where records were made by other
settings. Owns the command; merging is `shards.upkeep.merging`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diffusion_perception.places import resolve_path
from jobs.sets import words as grammar
from shards.errors import ConfigError
from shards.progress import reports
from shards.storage.options import check_printable_url
from shards.upkeep.merging import merge_sets


@dataclass(frozen=True)
class MergeJob:
    """Settings of a merge."""

    sets: tuple[str, ...] = ()  # folders or URLs of the sets, in the order of their records: the words behind `merge`
    to: str = ""  # folder or URL of the new set
    storage: Mapping[str, Any] = field(default_factory=dict)  # of URLs: endpoint, region and such, but no secret

    def __post_init__(self) -> None:
        if not self.to:
            raise ConfigError("to: where to? Name the folder or URL of the new set.")
        check_printable_url(self.to, "to")


JOB = MergeJob
FLAGS = {"across-sources": "their sources, splits and records per shard may differ"}
draft = grammar.draft


def run(words: list[str]) -> None:
    job, flags = grammar.read(JOB, words, FLAGS)
    to = resolve_path(job.to, "to")
    manifest = merge_sets(
        [resolve_path(place, "sets") for place in job.sets],
        to,
        across_sources="across-sources" in flags,
        storage_options=job.storage,
        report=reports("[merge]", "shards"),
    )
    counts = ", ".join(f"{number} {name}" for name, number in manifest.counts.items())
    print(f"{to}: {len(manifest.shards)} shards ({counts}); fingerprint {manifest.fingerprint[:12]}", flush=True)
