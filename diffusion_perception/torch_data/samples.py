"""From what a stream hands out to tensors that belong to the caller.

Tensors have the dtype that is stored: a latent is float16. Beside the arrays a sample has "key", its record's name, and
"item" and "row", its number in the set and the row of the record that it is; of a mixture also "set", which of its sets
it is of, from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from shards.errors import ConfigError
from shards.reading.batch import SampleBatch
from shards.reading.joined import JoinedSet
from shards.reading.reader import ShardSet

RESERVED = ("key", "item", "row", "set", "dropped", "next_position")


def check_fields(names: tuple[str, ...]) -> None:
    """ConfigError for a field with the name of something else that a sample has."""
    for name in names:
        if name in RESERVED:
            raise ConfigError(f"a sample has {name!r} already; a field or label needs another name")


def batch_of(batch: SampleBatch, shards: ShardSet, *, copy: bool) -> dict[str, Any]:
    """A batch of b samples: tensors [b, ...], "key" a list, "item" and "row" int64 [b], and "next_position", an int; of
    a mixture also "set", int64 [b], and where captions are dropped "dropped", bool [b].

    Without `copy` tensors are the stream's own buffers, valid until the batch after the next is asked for.
    """
    check_fields(tuple(batch.arrays))
    arrays = batch.arrays if not copy else {name: array.copy() for name, array in batch.arrays.items()}
    tensors: dict[str, Any] = {name: torch.from_numpy(array) for name, array in arrays.items()}
    ids = {"item": torch.from_numpy(batch.items.copy()), "row": torch.from_numpy(batch.rows.copy())}
    if isinstance(shards, JoinedSet):
        ids["set"] = torch.from_numpy(shards.part_of(batch.records))
    if batch.dropped is not None:
        ids["dropped"] = torch.from_numpy(batch.dropped.copy())
    return tensors | ids | {"key": batch.keys, "next_position": batch.next_position}


def sample_of(batch: SampleBatch, shards: ShardSet, place: int, labels: Mapping[str, Any]) -> dict[str, Any]:
    """One sample: tensors of its own, "key" a text, "item" and "row" ints, of a mixture also "set"."""
    check_fields(tuple(labels))
    if twice := labels.keys() & batch.arrays.keys():
        raise ConfigError(f"labels returns {sorted(twice)}, which are also in fields=; rename them")
    arrays = {name: array[place] for name, array in batch.arrays.items()} | dict(labels)
    tensors: dict[str, Any] = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    ids = {"key": batch.sample(place).key, "item": int(batch.items[place]), "row": int(batch.rows[place])}
    if isinstance(shards, JoinedSet):
        ids["set"] = int(shards.part_of(batch.records[place]))
    return tensors | ids
