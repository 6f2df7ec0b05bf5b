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

from shards.contract.entries import ShardEntry
from shards.contract.manifest import Manifest, fingerprint
from shards.contract.parts import draw_of, recipe_of
from shards.errors import ConfigError, FingerprintMismatch, did_you_mean
from shards.reading.conditions import check_conditions, fitting
from shards.reading.page import Page
from shards.reading.paged_index import KeptPages
from shards.reading.reader import ShardSet

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
        names = list(shards.paged.keys()) if self.keys or tuple(self.share) != (0, 1) else []
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
    shard = shards.paged.shard_of(records)  # [r]
    kept, firsts, counts = np.unique(shard, return_index=True, return_counts=True)
    own = [
        records[first : first + count] - shards.paged.first_record(number)
        for number, first, count in zip(kept.tolist(), firsts.tolist(), counts.tolist(), strict=True)
    ]

    def load(number: int) -> Page:
        return shards.paged.pages([int(kept[number])])[0].of(own[number])

    entries, keys, rows = [], [], Counter[str]()
    for number, count in enumerate(counts.tolist()):
        page = load(number)
        entry = shards.manifest.shards[int(kept[number])]
        entries.append(replace(entry, records=count, items=len(page.items), rejects=0))
        keys += page.key_list()
        rows.update(_rows_of(shards, page))
    manifest = _manifest_of(shards.manifest, tuple(entries), keys, rows)
    pages = KeptPages(load, shards.index_bytes, in_parallel=shards.folder.is_remote)
    return ShardSet(
        shards.folder, manifest, pages, verify=shards.verify, index_bytes=shards.index_bytes, sizes=shards.sizes
    )


def _rows_of(shards: ShardSet, page: Page) -> dict[str, int]:
    """Rows of every axis, over the records of a page."""
    layout, columns = shards.paged.layout, page.records.all()
    fields = {field.axis: field.name for field in shards.schema.fields if field.axis}
    return {axis: int(columns[:, layout.offset(name) + 2].sum()) for axis, name in fields.items()}


def _manifest_of(
    manifest: Manifest, entries: tuple[ShardEntry, ...], keys: Sequence[str], rows: Mapping[str, int]
) -> Manifest:
    recipe = recipe_of(manifest.recipe, list(keys))
    n_items = sum(entry.items for entry in entries)
    counts = {**rows, "records": len(keys), "items": n_items, "rejects": 0}
    return replace(manifest, recipe=recipe, fingerprint=fingerprint(recipe), shards=entries, counts=counts)


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
