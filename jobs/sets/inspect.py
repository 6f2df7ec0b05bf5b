"""What is in a set: schema, counts, recipe, where the bytes go, and one record.

    diffusion-perception set inspect data/shards/refcoco-unc-val record=7
    diffusion-perception set inspect s3://bucket/sets/refcoco-unc-val html=val.html
    diffusion-perception set inspect data/shards/refcoco-unc-val html=val.html page.model=models/sd15

Reads the manifest, the indexes and that record, of a URL by ranges. With `html`, one page instead, which loads nothing:
records with their labels, curves of latents and sizes, rejects, shards. Owns the command; what is said is
`shards.inspect`'s, the page is `diffusion_perception.set_page`'s.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diffusion_perception.places import resolve_path
from diffusion_perception.set_page import PageOptions, write_set_page
from jobs.sets import words as grammar
from shards.errors import ConfigError
from shards.inspect import describe
from shards.reading.reader import ShardSet


@dataclass(frozen=True)
class InspectJob:
    """Settings of a look."""

    sets: tuple[str, ...] = ()  # folders or URLs of the sets: the words behind `inspect`
    record: int = 0  # number of the record that is shown
    html: str = ""  # file to write as a page, instead of what is printed
    page: PageOptions = field(default_factory=PageOptions)  # what is on it
    storage: Mapping[str, Any] = field(default_factory=dict)  # of URLs: endpoint, region and such, but no secret

    def __post_init__(self) -> None:
        if not self.html and self.page != PageOptions():
            raise ConfigError("page: no page is asked for. Name the file: html=FILE.")
        if self.html and len(self.sets) > 1:
            raise ConfigError(f"html={self.html} is one page; name one set, found {len(self.sets)}.")


JOB = InspectJob
FLAGS: dict[str, str] = {}
draft = grammar.draft


def run(words: list[str]) -> None:
    job, _ = grammar.read(JOB, words, FLAGS)
    for place in job.sets:
        shards = ShardSet.open(resolve_path(place, "sets"), by_range=True, storage_options=job.storage)
        if job.html:
            where = os.path.expanduser(job.html)
            write_set_page(shards, where, job.page.placed(), lambda line: print(f"[inspect] {line}", flush=True))
            print(f"pictures and all of this: {where}", flush=True)
            return
        if not 0 <= job.record < shards.n_records:
            raise ConfigError(f"record is {job.record}; {shards.manifest.name} has 0 to {shards.n_records - 1}")
        print(describe(shards, job.record), flush=True)
