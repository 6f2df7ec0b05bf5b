"""What is in a set: schema, counts, recipe, where the bytes go, and one record.

    diffusion-perception set inspect data/shards/refcoco-unc-val record=7
    diffusion-perception set inspect s3://bucket/sets/refcoco-unc-val

Reads the manifest, the indexes and that record, of a URL by ranges. Owns the command; what is said is
`shards.inspect`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diffusion_perception.places import resolve_path
from jobs.sets import words as grammar
from shards.errors import ConfigError
from shards.inspect import describe
from shards.reading.reader import ShardSet


@dataclass(frozen=True)
class InspectJob:
    """Settings of a look."""

    sets: tuple[str, ...] = ()  # folders or URLs of the sets: the words behind `inspect`
    record: int = 0  # number of the record that is shown
    storage: Mapping[str, Any] = field(default_factory=dict)  # of URLs: endpoint, region and such, but no secret


JOB = InspectJob
FLAGS: dict[str, str] = {}
draft = grammar.draft


def run(words: list[str]) -> None:
    job, _ = grammar.read(JOB, words, FLAGS)
    for place in job.sets:
        shards = ShardSet.open(resolve_path(place, "sets"), by_range=True, storage_options=job.storage)
        if not 0 <= job.record < shards.n_records:
            raise ConfigError(f"record is {job.record}; {shards.manifest.name} has 0 to {shards.n_records - 1}")
        print(describe(shards, job.record), flush=True)
