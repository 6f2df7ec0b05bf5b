"""Some records of a set, as a set: by their keys, by what their meta says, by a seeded share of the keys.

A subset has its records in the order of the whole set, numbered from 0, with all their items; tars and hashes are the
whole set's. So whatever reads a set reads a subset, by the same rules. Its fingerprint is the one that `set split`
would give to a set of these records: a run on one subset is not taken for a run on another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from shards.contract.manifest import Manifest, fingerprint
from shards.contract.parts import draw_of, recipe_of
from shards.errors import ConfigError, FingerprintMismatch, did_you_mean
from shards.reading.conditions import check_conditions, fitting
from shards.reading.reader import ShardSet
from shards.reading.setindex import FieldTable, SetIndex

_SPELLINGS = 10_000  # keys that an unknown one is compared with


@dataclass(frozen=True)
class Subset:
    """Which records; all that are given must agree. Nothing given: all of them.

    Attributes:
        keys: of the records; each must be there, once.
        where: what their meta must say (`shards.reading.conditions`), or a function of a meta. Every meta is read once.
        share: records whose draw lies from the first number to below the second, such as (0, 0.9) and (0.9, 1). The
            draw is by `seed` and the record's key alone: records that are added later move no other.
    """

    keys: Sequence[str] = ()
    where: Mapping[str, Any] | Callable[[Mapping[str, Any]], bool] = field(default_factory=dict)
    share: tuple[float, float] = (0.0, 1.0)
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.keys, str):
            raise ConfigError(f"keys is the text {self.keys!r}; expected a list of record keys")
        if not callable(self.where):
            check_conditions(self.where)
        if len(self.share) != 2 or not 0 <= self.share[0] < self.share[1] <= 1:
            raise ConfigError(f"share is {list(self.share)}; expected two numbers, 0 <= from < to <= 1, as [0, 0.9]")

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return not (self.keys or callable(self.where) or self.where or tuple(self.share) != (0, 1))

    def records(self, shards: ShardSet) -> np.ndarray:
        """Numbers of the chosen records, i64 [r], ascending.

        Raises:
            ConfigError: a key that is not there or is named twice, a condition on what no meta has, or no record fits.
        """
        index = shards.index
        names = [index.key(record) for record in range(shards.n_records)]
        chosen = range(shards.n_records)
        if self.keys:
            chosen = _by_key(self.keys, names, shards.manifest.name)
        if tuple(self.share) != (0, 1):
            lowest, end = (round(bound * 2**64) for bound in self.share)
            draws = (int.from_bytes(draw_of(self.seed, names[record])[:8], "big") for record in chosen)
            chosen = [record for record, draw in zip(chosen, draws, strict=True) if lowest <= draw < end]
        if callable(self.where):
            chosen = [record for record in chosen if self.where(shards.record(record).meta)]
        elif self.where:
            metas = ((record, shards.record(record).meta) for record in chosen)
            chosen = fitting(self.where, metas, shards.manifest.name)
        if not len(chosen):
            raise ConfigError(
                f"no record of {shards.manifest.name} ({shards.n_records}) is in the subset {self}; a subset has at "
                "least one"
            )
        return np.array(chosen, np.int64)


EVERYTHING = Subset()


def subset_of(shards: ShardSet, records: np.ndarray) -> ShardSet:
    """The set of these records, i64 [r] ascending, of a set.

    Raises:
        ConfigError: it is a mixture, whose tars lie in several folders.
    """
    if shards.mixing is not None:
        raise ConfigError(
            f"{shards.manifest.name} is a mixture, and a subset is of one set; take the subset of each set that is "
            "mixed"
        )
    if len(records) == shards.n_records:
        return shards
    index = _index_of(shards.index, records)
    kept = np.unique(shards.index.shard[records])
    per_record = np.bincount(index.items[:, 0], minlength=len(records))
    entries = tuple(
        replace(
            shards.manifest.shards[shard],
            records=int((index.shard == number).sum()),
            items=int(per_record[index.shard == number].sum()),
            rejects=0,
        )
        for number, shard in enumerate(kept.tolist())
    )
    return ShardSet(shards.folder, _manifest_of(shards.manifest, entries, index), index, verify=shards.verify)


def _manifest_of(manifest: Manifest, entries: tuple[Any, ...], index: SetIndex) -> Manifest:
    recipe = recipe_of(manifest.recipe, [index.key(record) for record in range(len(index.shard))])
    fields = {f.axis: index.fields[f.name] for f in manifest.schema.fields if f.axis}
    counts = {axis: int(table.rows.sum()) for axis, table in fields.items()}
    counts |= {"records": len(index.shard), "items": len(index.items), "rejects": 0}
    return replace(manifest, recipe=recipe, fingerprint=fingerprint(recipe), shards=entries, counts=counts)


def _index_of(index: SetIndex, records: np.ndarray) -> SetIndex:
    chosen = np.zeros(len(index.shard), bool)
    chosen[records] = True
    items = index.items[chosen[index.items[:, 0]]]
    items[:, 0] = np.searchsorted(records, items[:, 0])
    lengths = np.diff(index.key_ends)
    keys = np.frombuffer(index.keys, np.uint8)[np.repeat(chosen, lengths)]
    return SetIndex(
        shard=np.unique(index.shard[records], return_inverse=True)[1],
        items=items,
        first_item=np.searchsorted(items[:, 0], np.arange(len(records) + 1)),
        row_ends=np.cumsum(items[:, 2]),
        keys=keys.tobytes(),
        key_ends=np.concatenate([[0], np.cumsum(lengths[records])]).astype(np.int64),
        fields={name: _table_of(table, records) for name, table in index.fields.items()},
    )


def _table_of(table: FieldTable, records: np.ndarray) -> FieldTable:
    """Hashes stay where they are: `first_hash` finds them."""
    own = (table.offset, table.length, table.rows, table.shape, table.first_hash)
    return FieldTable(*(array[records] for array in own), hash=table.hash)


def _by_key(keys: Sequence[str], names: Sequence[str], where: str) -> list[int]:
    numbers = {name: number for number, name in enumerate(names)}
    if unknown := [key for key in keys if key not in numbers]:
        hint = did_you_mean(str(unknown[0]), islice(numbers, _SPELLINGS))
        raise ConfigError(f"{where} has no record {unknown[0]!r}.{hint} {len(unknown)} of {len(keys)} keys are unknown")
    if len(set(keys)) != len(keys):
        twice = next(key for key, times in Counter(keys).items() if times > 1)
        raise ConfigError(f"keys name {twice!r} twice; a subset has a record once")
    return sorted(numbers[key] for key in keys)


class Chosen:
    """The records of a subset, found once, for processes that open the set again: a bit for each record."""

    def __init__(self, shards: ShardSet, subset: Subset) -> None:
        self._n_records = shards.n_records
        mask = np.zeros(shards.n_records, bool)
        mask[subset.records(shards)] = True
        self._bits = np.packbits(mask)

    def of(self, shards: ShardSet) -> ShardSet:
        """The subset of the set, opened again. FingerprintMismatch if it has become another one."""
        if shards.n_records != self._n_records:
            raise FingerprintMismatch(
                f"{shards.folder} had {self._n_records} records when a subset was chosen, and has {shards.n_records} "
                "now; it was rebuilt meanwhile"
            )
        return subset_of(shards, np.flatnonzero(np.unpackbits(self._bits, count=self._n_records)))
