"""Make several sets of one: by shares, numbers or lists of keys, every byte of a record kept.

    diffusion-perception set split data/shards/mine-all to=data/shards 'parts={mine-train: 0.9, mine-val: 0.1}' seed=1
    diffusion-perception set split data/shards/mine-all to=data/shards 'parts={few: 100}'
    diffusion-perception set split data/shards/mine-all to=data/shards 'parts={mine-val: val.txt, mine-train: rest}'

A part is a share (0.9, 1.0), a number of records (100), a file of keys, one a line, or the rest. Records are drawn, so
no picture is in two parts; what no part takes is in none. Owns the command and files of keys; splitting is
`shards.upkeep.splitting`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffusion_perception.places import resolve_path
from jobs.sets import words as grammar
from shards.errors import ConfigError
from shards.progress import reports
from shards.storage.options import check_printable_url
from shards.upkeep.splitting import Part, split_set

REST = "rest"


@dataclass(frozen=True)
class SplitJob:
    """Settings of a split."""

    sets: tuple[str, ...] = ()  # folder or URL of the set: the word behind `split`
    to: str = ""  # folder or URL that gets a folder for each part
    parts: Mapping[str, Any] = field(default_factory=dict)  # name -> share (0.9), number (100), file of keys, or rest
    seed: int = 0  # of the draw, which depends on it and on the keys alone
    records_per_shard: int = 0  # of the parts; 0: as the largest shard of the set
    storage: Mapping[str, Any] = field(default_factory=dict)  # of URLs: endpoint, region and such, but no secret

    def __post_init__(self) -> None:
        if not self.to or not self.parts:
            raise ConfigError("split: say where to, and which parts, as in to=sets 'parts={train: 0.9, val: 0.1}'")
        if self.records_per_shard < 0:
            raise ConfigError(f"records_per_shard is {self.records_per_shard}; expected 0 or more.")
        check_printable_url(self.to, "to")


JOB = SplitJob
FLAGS: dict[str, str] = {}
draft = grammar.draft


def run(words: list[str]) -> None:
    job, _ = grammar.read(JOB, words, FLAGS)
    if len(job.sets) != 1:
        raise ConfigError(f"split: name one set; found {len(job.sets)}.")
    made = split_set(
        resolve_path(job.sets[0], "sets"),
        resolve_path(job.to, "to"),
        {name: _part(name, said) for name, said in job.parts.items()},
        seed=job.seed,
        records_per_shard=job.records_per_shard,
        storage_options=job.storage,
        report=reports("[split]", "records"),
    )
    for name, manifest in made.items():
        counts = ", ".join(f"{number} {what}" for what, number in manifest.counts.items())
        print(f"{name}: {len(manifest.shards)} shards ({counts}); fingerprint {manifest.fingerprint[:12]}", flush=True)


def _part(name: str, said: Any) -> Part:
    if said == REST:
        return None
    if not isinstance(said, str):
        return said
    path = Path(resolve_path(said, f"parts.{name}"))
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"parts.{name} is {said!r}: no file of keys ({error}); expected a share, a number, a file, or {REST}."
        ) from error
