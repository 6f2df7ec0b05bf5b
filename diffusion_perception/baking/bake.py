"""A set made beside another: what is finished of it, what is missing, and its end.

Owns the folder: the plan and the entries of finished shards under `_build/`, which go when the set is sealed. A bake
given again goes on behind the shards it finished; another one, or a set of another recipe, is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import Any

import numpy as np

from diffusion_perception.baking.baker import Baker
from diffusion_perception.baking.contents import field_names
from diffusion_perception.baking.forms import ERRORS, error_of
from diffusion_perception.baking.job import BakeJob
from diffusion_perception.baking.maker import Kind, Maker, SetJob, open_source
from pipeline.building.lease import Lease
from shards.contract.canonical import canonical_json, parse_json
from shards.contract.entries import ShardEntry
from shards.contract.manifest import MANIFEST_NAME, Manifest
from shards.contract.schema import Schema
from shards.errors import CorruptShard, IncompleteSet
from shards.progress import Progress
from shards.reading.reader import ShardSet
from shards.storage.storage import Folder, open_folder
from shards.upkeep.making import begin, facts_of
from shards.writing.writer import BUILD_FOLDER, check_shard, seal_set


@dataclass(frozen=True)
class Shard:
    """One to bake: its number in the source, and its name."""

    number: int
    name: str


# Bakes shards: each with its entry as JSON, in any order.
Run = Callable[[Sequence[Shard]], Iterable[tuple[Shard, Any]]]


def bake(kind: Kind, job: SetJob, described: tuple[dict[str, Any], Any], run: Run) -> Manifest:
    """Bake what is missing and seal the set; nothing is touched where nothing has to be done.

    Args:
        described: recipe and schema, as a `Maker` says.
        run: bakes shards.

    Raises:
        FingerprintMismatch: `out` holds a set of another recipe.
        ConfigError: something else is there.
        BeingBuilt: somebody else bakes there.
    """
    recipe, schema = described
    folder, source = open_folder(job.out, storage_options=job.storage), open_source(job)
    begins = f"[{kind.command}] {folder.name}:"
    if folder.exists(MANIFEST_NAME):
        manifest = Manifest.load(folder)
        manifest.check_fingerprint(parse_json(canonical_json(recipe), "recipe"))
        print(f"{begins} already baked, nothing to do ({folder})", flush=True)
        return manifest
    folder.check_writable()
    with Lease(folder, lambda line: print(f"{begins} {line}", flush=True)) as lease:
        begin(folder, recipe)
        entries = dict(_finished(folder, source, begins))
        todo = [shard for shard in shards_of(folder.name, source) if shard.name not in entries]
        print(f"{begins} {len(todo)} of {len(source.manifest.shards)} shards to bake", flush=True)
        progress = Progress(sum(source.manifest.shards[shard.number].records for shard in todo), "records")
        done = 0
        for shard, said in run(todo):
            lease.check()
            entries[shard.name] = ShardEntry.from_json(said, shard.name)
            folder.write(_entry_name(shard.name), canonical_json(said))
            done += entries[shard.name].records
            if text := progress.due(done):
                print(f"{begins} {text}", flush=True)
        manifest = seal_set(
            folder,
            name=folder.name,
            split=source.manifest.split,
            recipe=recipe,
            schema=Schema.from_json(schema),
            shards=[entries[shard.name] for shard in shards_of(folder.name, source)],
            tables=kind.tables(folder, source, recipe),
            card={**facts_of([source.folder]), kind.of: source.manifest.name},
        )
    print(f"{begins} finished; fingerprint {manifest.fingerprint[:12]} ({folder})", flush=True)
    return manifest


def shards_of(name: str, source: ShardSet) -> list[Shard]:
    """One for every shard of the source, with the same keys in the same order."""
    return [Shard(number, f"{name}-{number:06d}") for number in range(len(source.manifest.shards))]


def run_here(maker: Maker, todo: Sequence[Shard]) -> Iterator[tuple[Shard, Any]]:
    """One after the other."""
    for shard in todo:
        yield shard, maker.bake(shard.number, shard.name)


@dataclass(frozen=True)
class Sizes:
    """How large the set is that is baked."""

    records: int
    views: int
    shards: int
    bytes: float

    @classmethod
    def of(cls, source: Manifest) -> Sizes:
        """As it lies there."""
        tar_bytes = sum(shard.tar_bytes for shard in source.shards)
        return cls(source.counts["records"], source.counts["view"], len(source.shards), tar_bytes)


def forecast(job: BakeJob, baker: Baker, whole: Sizes | None = None) -> list[str]:
    """What a bake would take, in words: fields, bytes, and the time of a batch, tried on the first views.

    Args:
        whole: of the set, where the baker has only some of it.
    """
    source, schema = baker.source, baker.schema
    names, sizes = field_names(job), whole or Sizes.of(source.manifest)
    views = sizes.views
    latents = (view for number in range(source.n_records) for view in source.record(number).array("latent"))
    batch = list(islice(latents, job.batch_size))
    started_s, tried = time.perf_counter(), len(batch)
    taken = baker.components if job.pca_from else None  # refused here, if they do not belong to this bake
    maps = baker.try_views(batch)
    took_s = time.perf_counter() - started_s
    lines = [f"{views} views of {sizes.records} records in {sizes.shards} shards"]
    total = 0
    for layer in job.layers:
        field = schema.field(names[layer])
        shape = [int(size) for size in field.row_shape]
        total += (size := np.dtype(field.dtype).itemsize * prod(shape) * views)
        lines.append(f"{layer}: field {names[layer]}, {field.dtype} {shape} a view, {size / 1e9:.3g} GB")
        if job.store in ERRORS and not job.pca:
            found = ", ".join(f"{error_of(job, maps[layer], store):.2%} in {store}" for store in ERRORS)
            lines.append(f"{layer}: root mean square error of these, as a share of the features': {found}")
    beside = "its latents, which go when it is finished, have" if whole else "the set itself has"
    lines.append(f"{total / 1e9:.3g} GB in all; {beside} {sizes.bytes / 1e9:.3g} GB")
    if taken is not None:
        lines.append(f"{job.pca} components a layer are taken from {job.pca_from}")
    elif job.pca:
        fitted_on = min(sizes.records, job.pca_records)
        lines.append(f"{job.pca} components a layer are fitted on {fitted_on} records first")
        views += views * fitted_on // sizes.records
    lines.append(f"about {took_s / tried * views / 3600:.3g} h of this device, by {tried} view(s) tried here")
    return lines


def _finished(folder: Folder, source: ShardSet, begins: str) -> Iterator[tuple[str, ShardEntry]]:
    """Entries of the shards that are there, as recorded; the others are baked again."""
    for shard in shards_of(folder.name, source):
        if not folder.exists(_entry_name(shard.name)):
            continue
        entry = ShardEntry.from_json(parse_json(folder.read(_entry_name(shard.name)), shard.name), shard.name)
        try:
            check_shard(folder, entry)
        except (CorruptShard, IncompleteSet) as error:
            print(f"{begins} {shard.name} is baked again: {error}", flush=True)
            continue
        yield shard.name, entry


def _entry_name(name: str) -> str:
    return f"{BUILD_FOLDER}/{name}.json"
