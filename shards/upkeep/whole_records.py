"""Records of a finished set as a whole, to be written into another one: read, checked, and compared once written.

Every row is checked against the set's index. Which records go where, and what is changed of them, their callers say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from shards.contract.canonical import parse_json
from shards.contract.index import ShardIndex
from shards.contract.manifest import Manifest, ShardEntry
from shards.contract.schema import Record, Schema
from shards.errors import CorruptShard
from shards.reading.reader import ShardSet
from shards.storage.cache import ShardCache
from shards.storage.options import StorageOptions
from shards.storage.staging import staging_folder
from shards.storage.storage import Folder, open_folder


@contextmanager
def opened_here(place: str | Path, storage_options: StorageOptions | None = None) -> Iterator[ShardSet]:
    """The set at a folder or URL; of a URL every tar is fetched once, to this machine."""
    folder = open_folder(place, storage_options=storage_options)
    if not folder.is_remote:
        yield ShardSet.open(place)
        return
    n_bytes = sum(shard.tar_bytes for shard in Manifest.load(folder).shards)
    with staging_folder() as room, ShardCache(room, n_bytes + 1) as cache:
        yield ShardSet.open(place, cache=cache, storage_options=storage_options)


def whole_record(shards: ShardSet, number: int) -> Record:
    """The record with a number, with the value of every field.

    Raises:
        CorruptShard: its bytes are not those of the set's index.
    """
    record, values = shards.record(number), {}
    for field in shards.schema.fields:
        if field.codec == "npy":
            values[field.name] = record.array(field.name)
        elif field.codec == "json":
            values[field.name] = parse_json(record.payload(field.name), f"{record.key}.{field.member}")
        else:
            values[field.name] = bytes(record.payload(field.name))
    return Record(record.key, values)


def check_same_bytes(
    shards: ShardSet,
    numbers: Sequence[int],
    target: Folder,
    entry: ShardEntry,
    schema: Schema,
    but: Collection[str] = (),
) -> None:
    """Hold a shard that was written of some records against them: decoded and encoded again, they must be the same.

    Args:
        schema: of what was written.
        but: fields that were meant to change.

    Raises:
        CorruptShard: a field came out with other bytes.
    """
    found = ShardIndex.load(target.read(f"{entry.name}.idx", entry.idx_sha256), schema, entry.name)
    for field, table in found.fields.items():
        if field in but:
            continue
        before = shards.index.fields[field]
        spans = [slice(int(before.first_hash[n]), int(before.first_hash[n] + before.rows[n])) for n in numbers]
        if not np.array_equal(table.hash, np.concatenate([before.hash[span] for span in spans])):
            raise CorruptShard(f"{entry.name} in {target}: {field} came out with other bytes than in {shards.folder}")
