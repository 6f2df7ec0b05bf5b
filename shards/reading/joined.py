"""Several sets of one schema, read as one: their records, items and shards one set after another.

Owns what must be equal for that, and which set's index is asked; which sample comes when is
`shards.reading.mixture`'s. Nothing is copied: every tar stays where it is. Keys may occur in several sets; `part_of`
says of which a record is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import groupby

import numpy as np

from shards.contract.manifest import Manifest, fingerprint, recipe_difference
from shards.contract.parts import whole
from shards.contract.shard_list import JoinedShards
from shards.errors import ConfigError, FingerprintMismatch, SchemaMismatch
from shards.reading.mixing import Mixing
from shards.reading.page import Page
from shards.reading.reader import ShardSet
from shards.storage.cache import ShardCache
from shards.storage.storage import Folder

# Of recipes: what made the tensors, and sets that are used together must share. Views, sources, precisions may differ.
SAME_ENCODERS = tuple(
    f"{encoder}.{part}"
    for encoder in ("image_encoder", "text_encoder", "vision_encoder")
    for part in ("weights", "tokenizer", "length", "layout.says", "layout.picture")
)


class JoinedSet(ShardSet):
    """Two or more sets as one. The manifest is of all of them, its recipe the first one's with what was mixed.

    Raises:
        ConfigError: fewer than two sets, one that is a mixture itself, or weights that do not fit them.
        SchemaMismatch: sets with other fields or tables.
        FingerprintMismatch: sets whose tensors other encoders made.
    """

    def __init__(self, parts: Sequence[ShardSet], mixing: Mixing) -> None:
        if inner := [part.manifest.name for part in parts if part.mixing is not None]:
            raise ConfigError(
                f"{inner[0]} is a mixture itself, whose own weights would be lost; name its sets one by one"
            )
        manifest = joined_manifest([part.manifest for part in parts], mixing)
        self.parts, self.mixing = tuple(parts), mixing
        self._shard_ends = np.cumsum([len(part.manifest.shards) for part in parts])
        super().__init__(
            parts[0].folder,
            manifest,
            self._pages,
            verify=all(part.verify for part in parts),
            sizes=[one for part in parts for one in part.sizes],
        )

    @property
    def cache(self) -> ShardCache | None:
        """Of the sets that have one, the first one's; they are over one folder."""
        return next((part.cache for part in self.parts if part.cache is not None), None)

    @property
    def part_shards(self) -> tuple[int, ...]:
        return tuple(len(part.manifest.shards) for part in self.parts)

    def folder_of(self, shard: int) -> Folder:
        return self.parts[self._part(shard)].folder

    def part_of(self, records: np.ndarray) -> np.ndarray:
        """i64 [P]: which of the sets each record is of, from 0."""
        return np.searchsorted(self._shard_ends, self.paged.shard_of(records), side="right")

    def _part(self, shard: int) -> int:
        """Which of the sets a shard is of."""
        return int(np.searchsorted(self._shard_ends, shard, side="right"))

    def _pages(self, shards: Sequence[int]) -> list[Page]:
        """Pages of shards, kept by the sets that they are of."""
        pages: dict[int, Page] = {}
        for number, group in groupby(shards, self._part):
            own, start = list(group), int(self._shard_ends[number]) - len(self.parts[number].manifest.shards)
            pages |= dict(zip(own, self.parts[number].paged.pages([shard - start for shard in own]), strict=True))
        return [pages[shard] for shard in shards]


def joined_manifest(manifests: Sequence[Manifest], mixing: Mixing) -> Manifest:
    """The manifest of sets that are read as one; errors as of `JoinedSet`."""
    if len(manifests) < 2:
        raise ConfigError(f"a mixture of {len(manifests)} sets; name at least two, or read the one by itself")
    first = manifests[0]
    for other in manifests[1:]:
        _check_alike(first, other)
    turns = mixing.turns([manifest.counts["items"] for manifest in manifests])
    mixed = {"sets": [manifest.fingerprint for manifest in manifests], **asdict(turns)}
    recipe = {**whole(first.recipe), "mixture": mixed}
    counts = {name: sum(manifest.counts.get(name, 0) for manifest in manifests) for name in first.counts}
    return replace(
        first,
        name=" + ".join(manifest.name for manifest in manifests),
        recipe=recipe,
        fingerprint=fingerprint(recipe),
        shards=JoinedShards([manifest.shards for manifest in manifests]),
        counts=counts,
        files={},
    )


def _check_alike(first: Manifest, other: Manifest) -> None:
    here = {field.name: field for field in first.schema.fields}
    there = {field.name: field for field in other.schema.fields}
    for name in dict.fromkeys([*here, *there]):
        if here.get(name) != there.get(name):
            raise SchemaMismatch(
                f"{first.name} and {other.name} cannot be mixed: of field {name} the one has {here.get(name)}, the "
                f"other {there.get(name)}. Build both with the same settings"
            )
    if list(here) != list(there) or first.schema.item_axis != other.schema.item_axis:
        raise SchemaMismatch(
            f"{first.name} and {other.name} cannot be mixed: fields {', '.join(here)} with items over "
            f"{first.schema.item_axis}, and {', '.join(there)} over {other.schema.item_axis}"
        )
    tables = [{table.name: table.sha256 for table in manifest.tables} for manifest in (first, other)]
    if tables[0] != tables[1]:
        names = sorted(name for name in tables[0] | tables[1] if tables[0].get(name) != tables[1].get(name))
        raise SchemaMismatch(
            f"{first.name} and {other.name} cannot be mixed: their tables {', '.join(names)} differ, so numbers of "
            "classes mean different things. Build both with the same class table"
        )
    lines = recipe_difference(first.recipe, other.recipe, other.name)
    if apart := [line for line in lines if line.startswith(SAME_ENCODERS)]:
        raise FingerprintMismatch(
            f"{first.name} and {other.name} cannot be mixed: other encoders made them:\n  " + "\n  ".join(apart)
        )
