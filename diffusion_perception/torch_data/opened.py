"""A set that pickles: as where it lies, opened again by whoever unpickles it.

Owns what survives a move to another process, and how a set is recognised there: by its fingerprint and its counts.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from shards.errors import ConfigError, FingerprintMismatch
from shards.reading.reader import ShardSet
from shards.storage.cache import CacheConfig
from shards.storage.options import StorageOptions


class OpenedSet:
    """A set, opened at once, and again in every process that it is sent to.

    Args:
        url: folder path or URL.
        cache: for a remote set, as settings: each process makes its own, over the same files.
        storage_options: of the store.
        verify: check the hash of every row that is read.
    """

    def __init__(
        self, url: str | Path, cache: CacheConfig | None, storage_options: StorageOptions | None, verify: bool
    ) -> None:
        if cache is not None and not isinstance(cache, CacheConfig):
            raise ConfigError(
                f"cache is a {type(cache).__name__}; expected CacheConfig(folder, max_bytes), which other processes "
                "can make again"
            )
        self._url, self._cache, self._storage_options, self._verify = url, cache, storage_options, verify
        self._shards: ShardSet | None = None
        self._process = 0
        self.identity = self._identity_of(self.shards)

    @property
    def shards(self) -> ShardSet:
        """The set. A forked process shares maps with its parent, but not a cache, whose threads did not come along."""
        strange = self._process != os.getpid()
        if self._shards is None or (strange and self._shards.folder.is_remote):
            self._shards = ShardSet.open(
                self._url, verify=self._verify, cache=self._cache, storage_options=self._storage_options
            )
        self._process = os.getpid()
        return self._shards

    def check(self, identity: Any) -> None:
        """FingerprintMismatch unless a state was saved of this set."""
        if identity != self.identity:
            raise FingerprintMismatch(
                f"the state was saved of a set with {identity}, {self._url} has {self.identity}; positions of one mean "
                "other samples in the other. Open the set that the state belongs to, or start anew"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_shards": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if (found := self._identity_of(self.shards)) != self.identity:
            raise FingerprintMismatch(
                f"{self._url} was {self.identity} when it was sent here, and is {found} now; it was rebuilt meanwhile"
            )

    @staticmethod
    def _identity_of(shards: ShardSet) -> dict[str, Any]:
        return {"fingerprint": shards.manifest.fingerprint, "items": shards.n_items, "rows": shards.n_rows}
