"""Mend a set: fetch what is missing or damaged, and nothing else; say what must be built again.

    diffusion-perception set repair data/shards/refcoco-unc-val --from s3://bucket/sets/refcoco-unc-val
    diffusion-perception set repair data/shards/refcoco-unc-val
    diffusion-perception set repair data/shards/refcoco-unc-val --discard

Reads every byte of the set. Indexes are made again from sound tars. Without `from` the records that must be built again
are named, with the command; `--discard` removes their damaged files, which makes that command build them. Ends with
status 1 where something is damaged still. Owns the command; mending is `shards.upkeep.mending`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from diffusion_perception.places import resolve_path
from jobs.sets import words as grammar
from pipeline.stocktaking.leave import datasets_in
from shards.errors import ConfigError, CorruptShard
from shards.progress import reports
from shards.storage.options import check_printable_url
from shards.storage.storage import Folder
from shards.upkeep.mending import Repair, discard, keys_of, repair_set

SHOWN = 5  # keys of a line


@dataclass(frozen=True)
class RepairJob:
    """Settings of a repair."""

    sets: tuple[str, ...] = ()  # folder or URL of the set: the word behind `repair`
    other: str = field(default="", metadata={"key": "from"})  # folder or URL of a set that has the same shards
    storage: Mapping[str, Any] = field(default_factory=dict)  # of URLs: endpoint, region and such, but no secret

    def __post_init__(self) -> None:
        check_printable_url(self.other, "from")


JOB = RepairJob
FLAGS = {"discard": "remove the damaged files of shards that cannot be mended, for the build that makes them anew"}
draft = grammar.draft


def run(words: list[str]) -> None:
    job, flags = grammar.read(JOB, words, FLAGS)
    if len(job.sets) != 1:
        raise ConfigError(f"repair: name one set; found {len(job.sets)}.")
    place = resolve_path(job.sets[0], "sets")
    other = resolve_path(job.other, "from") if job.other else None
    done = repair_set(place, other, storage_options=job.storage, report=reports(f"{place}:", "shards"))
    for name in done.mended:
        print(f"mended {name}", flush=True)
    if not done.left:
        print(f"{place}: sound" + (f", {len(done.mended)} files mended" if done.mended else ""))
        return
    folder = grammar.folder(job.sets[0], job.storage)
    print("\n".join(_what_is_left(folder, place, done)), flush=True)
    if "discard" in flags:
        names = discard(folder, done.left)
        print(f"removed {', '.join(names)}", flush=True)
    raise CorruptShard(f"{place}: {len(done.left)} files are damaged still; named above.")


def _what_is_left(folder: Folder, place: str, done: Repair) -> Iterator[str]:
    yield from (f"DAMAGED {damage.reason}" for damage in done.left)
    shards = list(dict.fromkeys(damage.shard for damage in done.left if damage.shard is not None))
    for shard in shards:
        keys = keys_of(folder, done.manifest, shard)
        known = f"{', '.join(keys[:SHOWN])}{', ...' if len(keys) > SHOWN else ''}" if keys else "their keys are lost"
        yield f"to be built again: the {shard.records} records of {shard.name}: {known}"
    if shards:
        builds = [name for data in datasets_in(done.manifest.recipe).values() for name in data.builds]
        config = f"configs/build/{builds[0]}.yaml" if builds else "CONFIGURATION"
        parent = place.rstrip("/").rpartition("/")[0] or "."
        yield "with the configuration it was built by, after --discard, or from a copy: set repair ... from=COPY"
        yield f"  diffusion-perception build --config {config} 'splits=[{done.manifest.split}]' out={parent}"
    if any(damage.shard is None for damage in done.left):
        yield "tables and the small files are not built again alone: take them from a copy"
