"""What differs between two sets: recipe, schema, counts, tables, rejects, and which fields of which records.

Read from manifests and indexes alone: two rows are equal if their hashes are, so no tar is fetched. Whether the bytes
are still those of the hashes is `verify`'s question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shards.contract.manifest import Manifest, recipe_difference
from shards.contract.schema import Schema
from shards.reading.reader import ShardSet
from shards.reading.setindex import FieldTable
from shards.storage.options import StorageOptions
from shards.writing.writer import REJECTS_NAME

SHOWN = 5  # keys of a line


@dataclass(frozen=True)
class SetDifference:
    """Two sets, compared; everything is empty where they are equal.

    Attributes:
        fingerprints: of both, where they differ.
        recipe: a line for every setting that differs.
        fields: a line for every field, and the item axis, that differs.
        counts: name -> (here, there).
        tables: a line for every table that differs.
        only_here, only_there: keys of records.
        changed: key -> its fields whose bytes differ, of those that both sets have.
        order: whether the records that both have come in another order.
        shards: whether the same records lie in other shards, or in other files.
        rejects_here, rejects_there: lines of rejects.jsonl that the other lacks.
    """

    here: str
    there: str
    fingerprints: tuple[str, ...]
    recipe: tuple[str, ...]
    fields: tuple[str, ...]
    counts: Mapping[str, tuple[int, int]]
    tables: tuple[str, ...]
    only_here: tuple[str, ...]
    only_there: tuple[str, ...]
    changed: Mapping[str, tuple[str, ...]]
    order: bool
    shards: bool
    rejects_here: tuple[str, ...]
    rejects_there: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether a reader is given the same, in the same order; names, files and rejects may differ."""
        return not any(
            (self.fingerprints, self.fields, self.tables, self.only_here, self.only_there, self.changed, self.order)
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data, with `equal`."""
        return {"equal": self.equal, **asdict(self)}

    def lines(self) -> Iterator[str]:
        """For a person."""
        yield f"here: {self.here}\nthere: {self.there}"
        if self.fingerprints:
            yield f"fingerprint: {self.fingerprints[0][:12]} here, {self.fingerprints[1][:12]} there"
        yield from (f"recipe: {line}" for line in self.recipe)
        yield from (f"schema: {line}" for line in self.fields)
        yield from (f"count of {name}: {here:,} here, {there:,} there" for name, (here, there) in self.counts.items())
        yield from (f"table: {line}" for line in self.tables)
        yield from _keys("records that are only here", self.only_here)
        yield from _keys("records that are only there", self.only_there)
        by_fields = Counter(self.changed.values())
        for fields, count in by_fields.most_common():
            keys = [key for key, found in self.changed.items() if found == fields]
            yield from _keys(f"records whose {', '.join(fields)} differ{'s' * (len(fields) == 1)}", keys, count)
        if self.order:
            yield "the records that both have come in another order"
        if self.shards:
            yield "shards: the files differ, by their names, records or bytes"
        yield from _keys("rejects that are only here", self.rejects_here)
        yield from _keys("rejects that are only there", self.rejects_there)
        yield "a reader is given the same" if self.equal else "the sets differ"


def diff_sets(here: str | Path, there: str | Path, *, storage_options: StorageOptions | None = None) -> SetDifference:
    """Compare two sets at folders or URLs.

    Raises:
        IncompleteSet, CorruptShard: one of them is not whole, or an index is damaged.
    """
    a, b = (ShardSet.open(place, by_range=True, storage_options=storage_options) for place in (here, there))
    keys_a, keys_b = _keys_of(a), _keys_of(b)
    numbers_b = {key: number for number, key in enumerate(keys_b)}
    both = [(number, numbers_b[key]) for number, key in enumerate(keys_a) if key in numbers_b]
    pairs = np.array(both, np.int64).reshape(-1, 2)  # [common records, 2]
    names_a, names_b = set(keys_a), set(numbers_b)
    rejects_a, rejects_b = _rejects(a), _rejects(b)
    one, two = a.manifest, b.manifest
    return SetDifference(
        here=str(here),
        there=str(there),
        fingerprints=() if one.fingerprint == two.fingerprint else (one.fingerprint, two.fingerprint),
        recipe=tuple(recipe_difference(one.recipe, two.recipe, "the other")),
        fields=tuple(_schema_lines(one.schema, two.schema)),
        counts=_counts(one, two),
        tables=tuple(_table_lines(one, two)),
        only_here=tuple(key for key in keys_a if key not in names_b),
        only_there=tuple(key for key in keys_b if key not in names_a),
        changed=_changed(a, b, keys_a, pairs),
        order=bool((np.diff(pairs[:, 1]) < 0).any()),
        shards=[shard.to_json() for shard in one.shards] != [shard.to_json() for shard in two.shards],
        rejects_here=tuple(line for line in rejects_a if line not in set(rejects_b)),
        rejects_there=tuple(line for line in rejects_b if line not in set(rejects_a)),
    )


def _changed(a: ShardSet, b: ShardSet, keys: Sequence[str], pairs: np.ndarray) -> dict[str, tuple[str, ...]]:
    found: dict[int, list[str]] = {}
    for field in a.schema.fields:
        if field not in b.schema.fields:
            continue  # named with the schema
        differs = _differing(a.index.fields[field.name], b.index.fields[field.name], pairs)
        for place in np.flatnonzero(differs).tolist():
            found.setdefault(place, []).append(field.name)
    return {keys[int(pairs[place, 0])]: tuple(found[place]) for place in sorted(found)}


def _differing(a: FieldTable, b: FieldTable, pairs: np.ndarray) -> np.ndarray:
    """bool [pairs]: whether rows, shape or a hash of a field differ."""
    one, two = pairs[:, 0], pairs[:, 1]
    differs = (a.rows[one] != b.rows[two]) | (a.length[one] != b.length[two])
    differs |= (a.shape[one] != b.shape[two]).any(axis=1)
    alike = np.flatnonzero(~differs)
    rows = a.rows[one[alike]]
    owner = np.repeat(alike, rows)  # [sum of rows]
    within = np.arange(rows.sum()) - np.repeat(np.cumsum(rows) - rows, rows)
    hashes = [
        table.hash[np.repeat(table.first_hash[numbers[alike]], rows) + within]
        for table, numbers in ((a, one), (b, two))
    ]
    differs[owner[hashes[0] != hashes[1]]] = True
    return differs


def _schema_lines(a: Schema, b: Schema) -> Iterator[str]:
    if a.item_axis != b.item_axis:
        yield f"an item is a run of {a.item_axis} here, of {b.item_axis} there"
    fields = [{field.name: field for field in schema.fields} for schema in (a, b)]
    for name in dict.fromkeys([*fields[0], *fields[1]]):
        one, two = (known.get(name) for known in fields)
        if one is None or two is None:
            yield f"field {name} is only {'there' if one is None else 'here'}"
        elif one != two:
            apart = [part for part in vars(one) if getattr(one, part) != getattr(two, part)]
            words = (f"{part} {getattr(one, part)!r} here, {getattr(two, part)!r} there" for part in apart)
            yield f"field {name}: {'; '.join(words)}"
    if list(fields[0]) != list(fields[1]) and set(fields[0]) == set(fields[1]):
        yield "the fields come in another order"


def _counts(a: Manifest, b: Manifest) -> dict[str, tuple[int, int]]:
    pairs = {name: (a.counts.get(name, 0), b.counts.get(name, 0)) for name in sorted({*a.counts, *b.counts})}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _table_lines(a: Manifest, b: Manifest) -> Iterator[str]:
    tables = [{table.name: table for table in manifest.tables} for manifest in (a, b)]
    for name in sorted({*tables[0], *tables[1]}):
        one, two = (known.get(name) for known in tables)
        if one is None or two is None:
            yield f"{name} is only {'there' if one is None else 'here'}"
        elif (one.sha256, one.rows) != (two.sha256, two.rows):
            yield f"{name}: its arrays differ"
        elif one.info_sha256 != two.info_sha256:
            yield f"{name}: what is said of its arrays differs"


def _keys_of(shards: ShardSet) -> list[str]:
    return list(shards.paged.keys())


def _rejects(shards: ShardSet) -> list[str]:
    return shards.folder.read(REJECTS_NAME).decode().splitlines()


def _keys(what: str, keys: Sequence[str], count: int | None = None) -> Iterator[str]:
    if keys:
        more = ", ..." if len(keys) > SHOWN else ""
        yield f"{len(keys) if count is None else count:,} {what}: {', '.join(keys[:SHOWN])}{more}"
