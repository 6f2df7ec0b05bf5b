"""A set of some records of another: its recipe, and the draw that puts a record on one side or another by its key.

The recipe is that of the whole set with a `part` that names the records: a set of other records is another one, which
neither a build nor a training may take for the whole. Writing such sets is `shards.upkeep`'s, reading some records of a
set `shards.reading.subset`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shards.contract.manifest import fingerprint

PART = "part"


def whole(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe without what says that a set is a part."""
    return {name: value for name, value in recipe.items() if name != PART}


def recipe_of(recipe: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """The recipe of a set of these records, in this order, that were built by `recipe`."""
    base = whole(recipe)
    return {**base, PART: {"of": fingerprint(base), "records": len(keys), "keys_sha256": keys_sha256(keys)}}


def keys_sha256(keys: Iterable[str]) -> str:
    """Names keys of records, in their order."""
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()


def draw_of(seed: int, key: str) -> bytes:
    """32 bytes drawn for a record, evenly, by seed and key alone: the same in any set, on any machine."""
    return hashlib.sha256(f"{seed}\n{key}".encode()).digest()
