"""Several sets of one: which records each gets, and writing them with every byte of their payloads kept.

Records are drawn, not items, so no picture is in two parts. The draw depends on seed and keys alone: it is the same on
every machine, and a record that is added moves few others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from shards.contract.manifest import Manifest, ShardEntry
from shards.contract.parts import draw_of, recipe_of
from shards.contract.schema import check_key
from shards.errors import ConfigError, SchemaMismatch
from shards.reading.reader import ShardSet
from shards.storage.options import StorageOptions
from shards.storage.storage import Folder, open_folder
from shards.upkeep.copying import copy_tables
from shards.upkeep.making import begin, facts_of
from shards.upkeep.whole_records import check_same_bytes, opened_here, whole_record
from shards.writing.writer import read_rejects, seal_set, write_shard

Part = float | int | Sequence[str] | None  # a share of all records, their number, their keys; None: those left over
Report = Callable[[int, int], None]


def choose(keys: Sequence[str], parts: Mapping[str, Part], seed: int = 0) -> dict[str, list[str]]:
    """The keys of every part, in the order of `keys`. What no part takes is in none.

    Raises:
        ConfigError: more is asked for than there is, a key that is not there or is named twice, or an empty part.
    """
    known, taken = set(keys), set[str]()
    chosen: dict[str, set[str]] = {}
    for name, part in parts.items():
        if isinstance(part, str):
            raise ConfigError(f"part {name} is {part!r}; expected a share, a number, a list of keys, or None.")
        if isinstance(part, Sequence):
            _check_named(name, part, known, taken)
            chosen[name] = set(part)
            taken |= chosen[name]
    pool = sorted((key for key in keys if key not in taken), key=lambda key: draw_of(seed, key))
    drawn = [(name, part) for name, part in parts.items() if isinstance(part, int | float)]
    sizes = _sizes(drawn, len(keys))
    if sum(sizes) > len(pool):
        raise ConfigError(f"parts ask for {sum(sizes)} records; {len(pool)} of {len(keys)} are left to draw from.")
    ends = list(accumulate(sizes))
    for (name, _), end, size in zip(drawn, ends, sizes, strict=True):
        chosen[name] = set(pool[end - size : end])
    rest = [name for name, part in parts.items() if part is None]
    if len(rest) > 1:
        raise ConfigError(f"parts {', '.join(rest)} are each the rest; one of them can be.")
    for name in rest:
        chosen[name] = set(pool[sum(sizes) :])
    if empty := [name for name in parts if not chosen[name]]:
        raise ConfigError(f"part {empty[0]} would be empty: a set has at least one record.")
    return {name: [key for key in keys if key in chosen[name]] for name in parts}


def split_set(
    place: str | Path,
    to: str | Path,
    parts: Mapping[str, Part],
    *,
    seed: int = 0,
    records_per_shard: int = 0,
    storage_options: StorageOptions | None = None,
    report: Report = lambda done, total: None,
) -> dict[str, Manifest]:
    """Write the sets `<to>/<name>`, one for each part, of the set at a folder or URL, which stays as it is.

    Args:
        parts: name -> share as a float, number as an int, keys, or None for the rest.
        seed: of the draw.
        records_per_shard: 0: as many as the largest shard of the set has.
        report: is told (records written, of all).

    Raises:
        ConfigError: as of `choose`, or something is at one of the places.
        CorruptShard: a record's bytes are not those of the set's index.
    """
    for name in parts:
        try:
            check_key(name)
        except SchemaMismatch as error:
            raise ConfigError(f"parts: {error}; it becomes the name of a folder") from error
    with opened_here(place, storage_options) as shards:
        keys = list(shards.paged.keys())
        chosen = choose(keys, parts, seed)
        per_shard = records_per_shard or max(shard.records for shard in shards.manifest.shards)
        targets = {
            name: open_folder(f"{str(to).rstrip('/')}/{name}", storage_options=storage_options) for name in parts
        }
        for name, target in targets.items():
            begin(target, recipe_of(shards.manifest.recipe, chosen[name]))
        numbers, done, made = {key: number for number, key in enumerate(keys)}, 0, {}
        for name, target in targets.items():
            written = []
            for start in range(0, len(chosen[name]), per_shard):
                records = [numbers[key] for key in chosen[name][start : start + per_shard]]
                written.append(_write(shards, records, target, f"{name}-{len(written):06d}"))
                done += len(records)
                report(done, sum(map(len, chosen.values())))
            made[name] = _seal(shards, target, written, chosen[name])
        return made


def _write(shards: ShardSet, records: Sequence[int], target: Folder, name: str) -> ShardEntry:
    entry = write_shard(target, name, shards.schema, (whole_record(shards, record) for record in records))
    check_same_bytes(shards, records, target, entry, shards.schema)
    return entry


def _seal(shards: ShardSet, target: Folder, written: Sequence[ShardEntry], keys: Sequence[str]) -> Manifest:
    """Entries that were left out of a part's records stay with them; pictures that were rejected are in no part."""
    own: dict[str, list[dict[str, Any]]] = {}
    for line in read_rejects(shards.folder):
        if line.get("whole") is False:
            own.setdefault(line["key"], []).append(line)
    entries, rejects, start = [], [], 0
    for entry in written:
        of_shard = [line for key in keys[start : start + entry.records] for line in own.get(key, ())]
        rejects += [{**line, "shard": entry.name} for line in of_shard]
        entries.append(replace(entry, rejects=len(of_shard)))
        start += entry.records
    return seal_set(
        target,
        name=target.name,
        split=shards.manifest.split,
        recipe=recipe_of(shards.manifest.recipe, keys),
        schema=shards.schema,
        shards=entries,
        rejects=rejects,
        tables=copy_tables(shards.folder, target, shards.manifest),
        card={**facts_of([shards.folder]), "part of": shards.manifest.name},
    )


def _check_named(name: str, keys: Sequence[str], known: set[str], taken: set[str]) -> None:
    if unknown := [key for key in keys if key not in known]:
        raise ConfigError(f"part {name} names {len(unknown)} keys that the set lacks, such as {unknown[0]!r}.")
    for key, times in Counter(keys).items():
        if times > 1 or key in taken:
            raise ConfigError(f"part {name} names {key!r}, which is named already.")


def _sizes(drawn: Sequence[tuple[str, float | int]], total: int) -> list[int]:
    """Shares are rounded together, so that shares that sum to one take all."""
    share, sizes = 0.0, []
    for name, part in drawn:
        if isinstance(part, bool) or not (part > 0 and (isinstance(part, int) or part <= 1)):
            raise ConfigError(f"part {name} is {part!r}; expected a share up to 1.0, or a whole number of records.")
        if isinstance(part, int):
            sizes.append(part)
        else:
            before, share = share, share + part
            sizes.append(round(min(share, 1.0) * total) - round(before * total) if share <= 1 + 1e-9 else total + 1)
    return sizes
