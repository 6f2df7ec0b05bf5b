"""python -m shards.verify PLACE: is every byte of a set, in a folder or at a URL, what the manifest says? One line per
fault, exit status 1.

Checks the manifest against itself and its hash, sizes and sha256 of all tars and indexes, every member against the
schema, every row hash and offset of the indexes against the tars, item counts, axis totals, tables, rejects, the card
and the index for `wids`. Goes on after a fault, so that one run names everything that has to be rebuilt. What a set
that was written before carries no hash of is said as a note.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from shards.contract.index import ShardIndex, build_index
from shards.contract.manifest import MANIFEST_NAME, Manifest, ShardEntry, examine, files_that_list, unrecorded
from shards.contract.schema import Schema
from shards.contract.shard_pages import files_found
from shards.contract.tables import read_table
from shards.errors import ContractError, IncompleteSet, StoreFailed
from shards.progress import reports
from shards.storage.atomic import sha256_file
from shards.storage.storage import Folder, open_folder
from shards.writing.writer import REJECTS_NAME, check_shard


def find_faults(
    place: Path | str | Folder, progress: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[str]:
    """One line per fault of the set at a path or URL; none if it is sound. `progress` is called after each shard. A
    remote shard is fetched for the look at it, one at a time."""
    root = open_folder(place)
    try:
        manifest, faults = examine(root.read(MANIFEST_NAME), str(root), root.read)
    except ContractError as error:
        yield str(error)
        return
    yield from map(str, faults)
    if manifest is None:
        return  # it names no shards that could be looked at
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
            read_table(root, table)
        except ContractError as error:
            yield str(error)
    for name, sha256 in manifest.files.items():
        try:
            root.read(name, sha256)
        except ContractError as error:
            yield str(error)
    yield from _reject_faults(root, manifest)


def find_unchecked(place: Path | str | Folder) -> list[str]:
    """What nobody can check in a sound set, since it was written before its manifest recorded hashes of it."""
    return unrecorded(open_folder(place).read(MANIFEST_NAME))


def find_strays(place: Path | str | Folder) -> list[str]:
    """Tars, indexes and lists of them that the manifest does not name: not a fault, but somebody may wonder. None of a
    web server, which lists nothing."""
    root = open_folder(place)
    payload = root.read(MANIFEST_NAME)
    named = {shard.name for shard in Manifest.parse(payload, str(root), root.read).shards}
    named |= {f"{name}.tar" for name in named}  # NAME.tar.idx is Megatron Energon's (`shards.upkeep.energon`)
    try:
        found = [*root.names("*.tar"), *root.names("*.idx")]
        lists = files_found(root)
    except StoreFailed:
        return []
    strays = [name for name in found if name[:-4] not in named]
    return sorted([*strays, *(lists - files_that_list(payload, str(root)).keys())])


def _shard_faults(
    root: Folder, shard: ShardEntry, schema: Schema, totals: dict[str, int], seen: dict[str, str]
) -> Iterator[str]:
    try:
        check_shard(root, shard)
    except ContractError as error:
        yield str(error)
    try:
        with root.local_copy(f"{shard.name}.tar") as tar:
            if (sha256 := sha256_file(tar)) != shard.tar_sha256:
                yield (
                    f"{shard.name}.tar: sha256 is {sha256[:12]}…, recorded {shard.tar_sha256[:12]}…, in {root}; "
                    "rebuild this shard or download it again"
                )
            found = build_index(tar, schema)
        recorded = ShardIndex.load(root.read(f"{shard.name}.idx"), schema, f"{shard.name}.idx")
    except IncompleteSet:
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


def _reject_faults(root: Folder, manifest: Manifest) -> Iterator[str]:
    try:
        lines = root.read(REJECTS_NAME).splitlines()
    except ContractError as error:
        if REJECTS_NAME not in manifest.files:  # otherwise named above
            yield str(error)
        return
    if len(lines) != manifest.counts.get("rejects"):
        yield f"{REJECTS_NAME}: has {len(lines)} lines, the manifest counts {manifest.counts.get('rejects')}"


def main(arguments: list[str] | None = None) -> int:
    """Print the faults of a set; 0 if there are none, else 1."""
    parser = argparse.ArgumentParser(prog="python -m shards.verify", description="Check every byte of a set.")
    parser.add_argument("place", help="folder or URL of the set: the one that holds manifest.json")
    faults, place = 0, parser.parse_args(arguments).place
    try:
        root = open_folder(place)
    except ContractError as error:
        print(f"FAULT {error}")
        return 1
    for fault in find_faults(root, reports(f"{root}:", "shards")):
        print(f"FAULT {fault}", flush=True)
        faults += 1
    if faults:
        print(f"{root}: {faults} faults")
        return 1
    for stray in find_strays(root):
        print(f"note: {stray} is not named by the manifest; readers ignore it")
    for what in find_unchecked(root):
        print(f"note: the manifest has no hash of {what}: not checked, as in all sets written before it had one")
    counts = ", ".join(f"{number} {name}" for name, number in Manifest.load(root).counts.items())
    print(f"{root}: sound ({counts})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
