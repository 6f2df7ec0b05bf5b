"""What differs between two sets: settings, fields, records, tables, rejects.

    diffusion-perception set diff data/shards/refcoco-unc-val s3://bucket/sets/refcoco-unc-val
    diffusion-perception set diff OLD NEW --json > difference.json

Reads manifests and indexes, no tar. Ends with 0 whether they differ or not; `equal` of `--json` says it. Owns the
command; comparing is `shards.upkeep.difference`'s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diffusion_perception.places import resolve_path
from jobs.sets import words as grammar
from shards.errors import ConfigError
from shards.upkeep.difference import diff_sets


@dataclass(frozen=True)
class DiffJob:
    """Settings of a comparison."""

    sets: tuple[str, ...] = ()  # folders or URLs of the two sets: the words behind `diff`
    storage: Mapping[str, Any] = field(default_factory=dict)  # of URLs: endpoint, region and such, but no secret


JOB = DiffJob
FLAGS = {"json": "everything as JSON, with all keys"}
draft = grammar.draft


def run(words: list[str]) -> None:
    job, flags = grammar.read(JOB, words, FLAGS)
    if len(job.sets) != 2:
        raise ConfigError(f"diff: name two sets; found {len(job.sets)}.")
    here, there = (resolve_path(place, "sets") for place in job.sets)
    found = diff_sets(here, there, storage_options=job.storage)
    if "json" in flags:
        print(json.dumps(found.to_json(), indent=1, ensure_ascii=False))
    else:
        print("\n".join(found.lines()))
