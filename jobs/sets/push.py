"""Copy sets to a place of several, verified, and describe them there: a dataset card and Croissant.

    diffusion-perception set push data/shards/refcoco-unc-train data/shards/refcoco-unc-val to=s3://bucket/sets
    diffusion-perception set push data/shards/refcoco-unc-val to=hf://datasets/me/refcoco-latents

Each set gets the folder of its name there, its manifest last. Interrupted, the same command goes on. Sets of ADE20K,
NYUv2, KITTI and Cityscapes leave this machine with `--i-may-publish` alone. Owns the command; copying and words are
`shards.upkeep.publication`'s, whether it is allowed `diffusion_perception.publishing`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diffusion_perception.places import resolve_path
from diffusion_perception.publishing import FLAG, publish_sets
from jobs.sets import words as grammar
from shards.errors import ConfigError
from shards.storage.options import check_printable_url
from shards.upkeep.copying import THREADS


@dataclass(frozen=True)
class PushJob:
    """Settings of a push."""

    sets: tuple[str, ...] = ()  # folders or URLs of the sets: the words behind `push`
    to: str = ""  # folder or URL of the place: each set gets the folder of its name there
    threads: int = THREADS  # shards on their way at once
    storage: Mapping[str, Any] = field(default_factory=dict)  # of URLs: endpoint, region and such, but no secret

    def __post_init__(self) -> None:
        check_move(self.to, self.threads)


def check_move(to: str, threads: int) -> None:
    """ConfigError for a push or a pull to nowhere, or by nobody."""
    if not to:
        raise ConfigError("to: where to? Name a folder or a URL, as in to=s3://bucket/sets.")
    check_printable_url(to, "to")
    if threads < 1:
        raise ConfigError(f"threads is {threads}; expected at least 1.")


JOB = PushJob
FLAGS = {
    FLAG: "you may pass these sets on, whatever their sources' terms say of others",
    "replace": "another set of that name may be there, and is overwritten",
}
draft = grammar.draft


def run(words: list[str]) -> None:
    job, flags = grammar.read(JOB, words, FLAGS)
    publish_sets(
        [resolve_path(place, "sets") for place in job.sets],
        resolve_path(job.to, "to"),
        may_publish=FLAG in flags,
        storage_options=job.storage,
        replace="replace" in flags,
        threads=job.threads,
        say=lambda line: print(f"[push] {line}", flush=True),
    )
