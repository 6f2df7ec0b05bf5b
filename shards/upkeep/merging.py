"""One set of several: their shards as they are, under new names, in the order the sets are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shards.contract.manifest import Manifest, ShardEntry, recipe_difference
from shards.contract.parts import recipe_of, whole
from shards.errors import ConfigError, FingerprintMismatch, SchemaMismatch
from shards.reading.reader import ShardSet
from shards.storage.options import StorageOptions
from shards.storage.storage import open_folder
from shards.upkeep.copying import copy_file, copy_tables
from shards.upkeep.making import begin, facts_of
from shards.writing.writer import read_rejects, seal_set

OF_THE_SOURCE = ("source", "split", "records_per_shard")  # of a recipe: what may differ between sources

Report = Callable[[int, int], None]


def merge_sets(
    places: Sequence[str | Path],
    to: str | Path,
    *,
    across_sources: bool = False,
    storage_options: StorageOptions | None = None,
    report: Report = lambda done, total: None,
) -> Manifest:
    """Write the set `to` of all records of the sets at folders or URLs; tars and indexes keep their bytes.

    Args:
        across_sources: their sources, splits and records per shard may differ; how records were made may not.

    Raises:
        SchemaMismatch: other fields, other tables, or a key that two sets have.
        FingerprintMismatch: they were built by other recipes; the message lists every difference.
        ConfigError: fewer than two sets, or something is at `to`.
    """
    if len(places) < 2:
        raise ConfigError(f"merge: name at least two sets; found {len(places)}.")
    sets = [ShardSet.open(place, by_range=True, storage_options=storage_options) for place in places]
    for other in sets[1:]:
        _check_alike(sets[0], other, across_sources)
    keys = _all_keys(sets)
    recipe = recipe_of(_recipe([one.manifest for one in sets], across_sources), keys)
    target = open_folder(to, storage_options=storage_options)
    begin(target, recipe)
    shards: list[ShardEntry] = []
    rejects: list[dict[str, Any]] = []
    total = sum(len(one.manifest.shards) for one in sets)
    for one in sets:
        names: dict[str, str] = {}
        for shard in one.manifest.shards:
            names[shard.name] = called = f"{target.name}-{len(shards):06d}"
            copy_file(one.folder, target, f"{shard.name}.idx", shard.idx_sha256, f"{called}.idx")
            copy_file(one.folder, target, f"{shard.name}.tar", shard.tar_sha256, f"{called}.tar")
            shards.append(replace(shard, name=called))
            report(len(shards), total)
        for reject in read_rejects(one.folder):
            shard = str(reject.get("shard", ""))
            rejects += [{**reject, "shard": names.get(shard, shard)}]
    return seal_set(
        target,
        name=target.name,
        split="+".join(dict.fromkeys(one.manifest.split for one in sets)),
        recipe=recipe,
        schema=sets[0].schema,
        shards=shards,
        rejects=rejects,
        tables=copy_tables(sets[0].folder, target, sets[0].manifest),
        card={**facts_of([one.folder for one in sets]), "merged of": ", ".join(one.manifest.name for one in sets)},
    )


def _check_alike(first: ShardSet, other: ShardSet, across_sources: bool) -> None:
    names = f"{first.folder} and {other.folder}"
    if first.schema != other.schema:
        raise SchemaMismatch(f"{names} have other fields; `set diff` lists them. Nothing was written.")
    here, there = _how(first.manifest, across_sources), _how(other.manifest, across_sources)
    if lines := recipe_difference(here, there, str(other.folder)):
        hint = "" if across_sources else _hint(lines)
        shown = "\n  ".join(lines)
        raise FingerprintMismatch(f"{names} were built by other recipes:\n  {shown}\n{hint}Nothing was written.")
    tables = [
        {table.name: (table.sha256, table.info_sha256) for table in one.manifest.tables} for one in (first, other)
    ]
    if tables[0] != tables[1]:
        raise SchemaMismatch(f"{names} have other tables: {sorted(tables[0])} and {sorted(tables[1])}, or their bytes.")


def _how(manifest: Manifest, across_sources: bool) -> dict[str, Any]:
    recipe = whole(manifest.recipe)
    return {name: value for name, value in recipe.items() if not across_sources or name not in OF_THE_SOURCE}


def _hint(lines: Sequence[str]) -> str:
    only_source = all(line.split(":")[0].split(".")[0] in OF_THE_SOURCE for line in lines)
    return "Only their sources differ: --across-sources merges them all the same. " if only_source else ""


def _recipe(manifests: Sequence[Manifest], across_sources: bool) -> dict[str, Any]:
    recipes = [whole(manifest.recipe) for manifest in manifests]
    if not across_sources:
        return recipes[0]
    merged = dict(recipes[0])
    for name in OF_THE_SOURCE:
        values = {one.name: recipe.get(name) for one, recipe in zip(manifests, recipes, strict=True)}
        if any(value != recipes[0].get(name) for value in values.values()):
            merged[name] = {"name": "merged", "of": values} if name == "source" else values
    return merged


def _all_keys(sets: Sequence[ShardSet]) -> list[str]:
    owner: dict[str, int] = {}
    for number, one in enumerate(sets):
        keys = one.paged.keys()
        for key in keys:
            if key in owner:
                first = sets[owner[key]].folder
                raise SchemaMismatch(
                    f"key {key!r} is in {first} and in {one.folder}: a record stands in a set once. `set diff` lists "
                    "all; leave them out by `set split`. Nothing was written."
                )
            owner[key] = number
    return list(owner)
