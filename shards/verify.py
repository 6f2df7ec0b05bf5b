"""python -m shards.verify FOLDER: is every byte of a set what the manifest says? One line per fault, exit
status 1.

Checks the manifest against itself, sizes and sha256 of all tars and indexes, every member against the schema,
every row hash and offset of the indexes against the tars, item counts, axis totals, tables and rejects. Goes
on after a fault, so that one run names everything that has to be rebuilt.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from shards.contract.index import ShardIndex, build_index
from shards.contract.manifest import Manifest, ShardEntry
from shards.contract.schema import Schema
from shards.contract.tables import read_table
from shards.errors import ContractError
from shards.progress import reports
from shards.storage.storage import LocalFolder
from shards.writing.writer import check_shard


def find_faults(root: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> Iterator[str]:
    """One line per fault of the set in a local folder; none if it is sound. `progress` is called after each shard."""
    try:
        manifest = Manifest.load(root)
    except ContractError as error:
        yield str(error)
        return
    totals: dict[str, int] = dict.fromkeys(manifest.schema.axes, 0)
    seen: dict[str, str] = {}
    for done, shard in enumerate(manifest.shards, 1):
        yield from _shard_faults(root, shard, manifest.schema, totals, seen)
        progress(done, len(manifest.shards))
    for axis, rows in totals.items():
        if manifest.counts.get(axis) != rows:
            yield f"manifest.json: counts.{axis} is {manifest.counts.get(axis)}, the sound tars hold {rows}"
    for table in manifest.tables:
        try:
            read_table(LocalFolder(root), table)
        except ContractError as error:
            yield str(error)
    yield from _reject_faults(root, manifest)


def find_strays(root: Path) -> list[str]:
    """Tars and indexes that the manifest does not name: not a fault, but somebody may wonder."""
    named = {shard.name for shard in Manifest.load(root).shards}
    found = [path for path in root.iterdir() if path.suffix in (".tar", ".idx")]
    return sorted(path.name for path in found if path.stem not in named)


def _shard_faults(
    root: Path, shard: ShardEntry, schema: Schema, totals: dict[str, int], seen: dict[str, str]
) -> Iterator[str]:
    try:
        check_shard(root, shard, deep=True)
    except ContractError as error:
        yield str(error)
    try:
        found = build_index(root / f"{shard.name}.tar", schema)
        payload = LocalFolder(root).read(f"{shard.name}.idx")
        recorded = ShardIndex.load(payload, schema, f"{shard.name}.idx")
    except FileNotFoundError:
        return  # named above
    except ContractError as error:
        yield str(error)
        return
    if (shard.records, shard.items) != (len(found.key_ends), len(found.items)):
        yield (
            f"{shard.name}: the tar holds {len(found.key_ends)} records and {len(found.items)} items, "
            f"the manifest says {shard.records} and {shard.items}"
        )
    yield from _index_faults(shard.name, schema, found, recorded)
    for axis, rows in found.axis_rows(schema).items():
        totals[axis] += rows
    for key in found.key_list():
        if key in seen:
            yield f"{shard.name}: key {key} is also in {seen[key]}"
        seen[key] = shard.name


def _index_faults(name: str, schema: Schema, found: ShardIndex, recorded: ShardIndex) -> Iterator[str]:
    """Compare an index made from the tar just now with the recorded one, naming record, field and row."""
    for part in ("keys", "key_ends", "items"):
        if not np.array_equal(getattr(found, part), getattr(recorded, part)):
            yield f"{name}: {part} in the tar differ from the index; rebuild this shard"
            return
    keys = found.key_list()
    for field in schema.fields:
        now, then = found.fields[field.name], recorded.fields[field.name]
        for part in ("offset", "length", "rows", "shape"):
            if not np.array_equal(getattr(now, part), getattr(then, part)):
                yield f"{name}: {part} of field {field.name} is not as in the index; rebuild this shard"
                return
        owner = np.repeat(np.arange(len(keys)), now.rows)  # [sum of rows]
        first_hash = np.cumsum(now.rows) - now.rows
        for place in np.flatnonzero(now.hash != then.hash).tolist():
            row = place - int(first_hash[owner[place]])
            key = keys[owner[place]]
            yield f"{name}: record {key}, field {field.name}, row {row}: bytes differ from their hash"


def _reject_faults(root: Path, manifest: Manifest) -> Iterator[str]:
    try:
        lines = LocalFolder(root).read("rejects.jsonl").splitlines()
    except ContractError as error:
        yield str(error)
        return
    if len(lines) != manifest.counts["rejects"]:
        yield f"rejects.jsonl: has {len(lines)} lines, the manifest counts {manifest.counts['rejects']}"


def main(arguments: list[str] | None = None) -> int:
    """Print the faults of a set; 0 if there are none, else 1."""
    parser = argparse.ArgumentParser(prog="python -m shards.verify", description="Check every byte of a set.")
    parser.add_argument("folder", type=Path, help="folder of the set: the one that holds manifest.json")
    root = parser.parse_args(arguments).folder
    faults = 0
    for fault in find_faults(root, reports(f"{root}:", "shards")):
        print(f"FAULT {fault}", flush=True)
        faults += 1
    if faults:
        print(f"{root}: {faults} faults")
        return 1
    for stray in find_strays(root):
        print(f"note: {stray} is not named by the manifest; readers ignore it")
    counts = ", ".join(f"{number} {name}" for name, number in Manifest.load(root).counts.items())
    print(f"{root}: sound ({counts})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
