"""A set that pickles: as where it lies, opened again by whoever unpickles it. Also some records of one, and a mixture.

Owns what survives a move to another process, and how a set is recognised there: by its fingerprint and its counts.
Which records a subset has is found once, where it is opened first.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from shards.errors import ConfigError, FingerprintMismatch
from shards.reading.joined import JoinedSet
from shards.reading.mixing import Mixing, Stage, weights_of
from shards.reading.reader import INDEX_BYTES, ShardSet
from shards.reading.subset import Chosen, Subset
from shards.storage.cache import CacheConfig
from shards.storage.options import StorageOptions


@dataclass(frozen=True)
class MixedSet:
    """One set of a mixture: where it lies, how often it is drawn from, which of its records."""

    url: str | Path
    weight: float | None = None  # in any unit; None for all: by their samples
    subset: Subset = field(default_factory=Subset)


@dataclass(frozen=True)
class Mixture:
    """Several sets to read as one; `temperature` and `stages` are those of `shards.reading.mixing.Mixing`."""

    sets: Sequence[MixedSet]
    temperature: float = 1.0
    stages: tuple[Stage, ...] = ()

    @property
    def mixing(self) -> Mixing:
        """How often each set is drawn from. ConfigError: weights of some sets only."""
        return Mixing(weights_of([one.weight for one in self.sets]), self.temperature, tuple(self.stages))


Place = str | Path | Mixture


class Opened(Protocol):
    """A set, or several, opened at once and again in every process that it is sent to."""

    identity: dict[str, Any]

    @property
    def shards(self) -> ShardSet: ...

    def check(self, identity: Any) -> None:
        """FingerprintMismatch unless a state was saved of this set."""
        ...


def open_place(
    place: Place,
    subset: Subset,
    cache: CacheConfig | None,
    storage_options: StorageOptions | None,
    verify: bool,
    index_bytes: int = INDEX_BYTES,
) -> Opened:
    """What a place names: a set or a mixture.

    Raises:
        ConfigError: a subset beside a mixture, or whatever the sets are refused for.
    """
    if not isinstance(place, Mixture):
        return OpenedSet(place, cache, storage_options, verify, subset, index_bytes)
    if not subset.is_all:
        raise ConfigError("subset= is of one set; in a mixture give it to a MixedSet")
    return OpenedMixture(
        [OpenedSet(one.url, cache, storage_options, verify, one.subset, index_bytes) for one in place.sets],
        place.mixing,
    )


class OpenedSet:
    """A set, or some of its records.

    Args:
        url: folder path or URL.
        cache: for a remote set, as settings: each process makes its own, over the same files.
        storage_options: of the store.
        verify: check the hash of every row that is read.
        subset: which records.
        index_bytes: of indexes that are kept.
    """

    def __init__(
        self,
        url: str | Path,
        cache: CacheConfig | None,
        storage_options: StorageOptions | None,
        verify: bool,
        subset: Subset | None = None,
        index_bytes: int = INDEX_BYTES,
    ) -> None:
        if cache is not None and not isinstance(cache, CacheConfig):
            raise ConfigError(
                f"cache is a {type(cache).__name__}; expected CacheConfig(folder, max_bytes), which other processes "
                "can make again"
            )
        self._url, self._cache, self._storage_options, self._verify = url, cache, storage_options, verify
        self._index_bytes = index_bytes
        self._chosen: Chosen | None = None
        self._shards: ShardSet | None = None
        self._process = 0
        whole = self.shards
        if subset is not None and not subset.is_all:
            self._chosen = Chosen(whole, subset)
            self._shards = self._chosen.of(whole)
        self.identity = identity_of(self.shards)

    @property
    def shards(self) -> ShardSet:
        """The set. A forked process shares maps with its parent, but not a cache, whose threads did not come along."""
        strange = self._process != os.getpid()
        if self._shards is None or (strange and self._shards.folder.is_remote):
            whole = ShardSet.open(
                self._url,
                verify=self._verify,
                cache=self._cache,
                storage_options=self._storage_options,
                index_bytes=self._index_bytes,
            )
            self._shards = self._chosen.of(whole) if self._chosen else whole
        self._process = os.getpid()
        return self._shards

    def check(self, identity: Any) -> None:
        check_identity(identity, self.identity, self.shards, str(self._url))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_shards": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if (found := identity_of(self.shards)) != self.identity:
            raise FingerprintMismatch(
                f"{self._url} was {self.identity} when it was sent here, and is {found} now; it was rebuilt meanwhile"
            )


class OpenedMixture:
    """Several opened sets, joined."""

    def __init__(self, sets: Sequence[OpenedSet], mixing: Mixing) -> None:
        self._sets, self._mixing = tuple(sets), mixing
        self._joined: JoinedSet | None = None
        self.identity = identity_of(self.shards)

    @property
    def shards(self) -> JoinedSet:
        """The sets as one, joined again where one of them had to be opened again."""
        opened = tuple(one.shards for one in self._sets)
        if self._joined is None or self._joined.parts != opened:
            self._joined = JoinedSet(opened, self._mixing)
        return self._joined

    def check(self, identity: Any) -> None:
        shards = self.shards
        check_identity(identity, self.identity, shards, f"the mixture of {shards.manifest.name}")

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_joined": None}


def check_identity(saved: Any, identity: dict[str, Any], shards: ShardSet, name: str) -> None:
    """FingerprintMismatch unless a state was saved of the set that it is loaded for."""
    if saved == identity:
        return
    if saved != {**identity, "rows": shards.n_rows}:  # states once counted the rows of items, here those of records
        raise FingerprintMismatch(
            f"the state was saved of a set with {saved}, {name} has {identity}; positions of one mean other samples in "
            "the other. Open the set, the subset or the mixture that the state belongs to, or start anew"
        )


def identity_of(shards: ShardSet) -> dict[str, Any]:
    """How a set is recognised, from its manifest alone."""
    rows = shards.manifest.counts[shards.schema.item_axis]
    return {"fingerprint": shards.manifest.fingerprint, "items": shards.n_items, "rows": rows}
