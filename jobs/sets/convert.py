"""Write a finished set anew by other choices of storage, without its pictures and without a model.

    diffusion-perception set convert data/shards/nyuv2-train to=data/quick/nyuv2-train labels=quick
    diffusion-perception set convert s3://bucket/sets/refcoco-unc-train to=data/shards/small text=tokens
    diffusion-perception set convert data/shards/mine-train to=data/other/mine-train records_per_shard=2000

What comes out is what a build with these settings writes, under the name of its folder. Owns the command; converting is
`pipeline.building.converting`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diffusion_perception.places import resolve_path
from jobs.sets import words as grammar
from pipeline.building.converting import Conversion, convert_set
from shards.errors import ConfigError
from shards.progress import reports
from shards.storage.options import check_printable_url


@dataclass(frozen=True)
class ConvertJob:
    """Settings of a conversion."""

    sets: tuple[str, ...] = ()  # folder or URL of the set: the word behind `convert`
    to: str = ""  # folder or URL of the new set
    labels: str = ""  # quick: cut by training without decoding them; small: back to small PNGs of the same pixels
    text: str = ""  # tokens: leave sentence states out, and encode the token ids while training
    records_per_shard: int = 0  # pictures of a shard; 0: as they are
    storage: Mapping[str, Any] = field(default_factory=dict)  # of URLs: endpoint, region and such, but no secret

    def __post_init__(self) -> None:
        if not self.to:
            raise ConfigError("to: where to? Name the folder or URL of the new set.")
        check_printable_url(self.to, "to")


JOB = ConvertJob
FLAGS: dict[str, str] = {}
draft = grammar.draft


def run(words: list[str]) -> None:
    job, _ = grammar.read(JOB, words, FLAGS)
    if len(job.sets) != 1:
        raise ConfigError(f"convert: name one set; found {len(job.sets)}.")
    to = resolve_path(job.to, "to")
    manifest = convert_set(
        resolve_path(job.sets[0], "sets"),
        to,
        Conversion(job.labels, job.text, job.records_per_shard),
        storage_options=job.storage,
        report=reports("[convert]", "records"),
    )
    counts = ", ".join(f"{number} {name}" for name, number in manifest.counts.items())
    n_bytes = sum(shard.tar_bytes for shard in manifest.shards)
    print(
        f"{to}: {len(manifest.shards)} shards, {n_bytes / 1e6:,.1f} MB ({counts}); "
        f"fingerprint {manifest.fingerprint[:12]}",
        flush=True,
    )
