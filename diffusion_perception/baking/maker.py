"""One process that makes a set beside another: shards one by one, each from the same shard of its source.

Owns what all such makers share: the source, what they say they make, the comparison with their driver's words, and one
shard's files. What a record of it holds is each one's own (`baker`, `diffusion_perception.label_latents.maker`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from shards.contract.manifest import TableEntry, recipe_difference
from shards.contract.schema import Record, Schema
from shards.errors import FingerprintMismatch
from shards.reading.reader import ShardSet
from shards.storage.cache import CacheConfig
from shards.storage.storage import Folder, open_folder
from shards.writing.writer import write_shard


class SetJob(Protocol):
    """What the settings of a job say of its two sets."""

    @property
    def set(self) -> str: ...
    @property
    def out(self) -> str: ...
    @property
    def storage(self) -> Mapping[str, Any]: ...
    @property
    def cache_dir(self) -> str: ...
    @property
    def cache_gb(self) -> float: ...


@dataclass(frozen=True)
class Kind:
    """What is made, for the end of a set and for people.

    Attributes:
        command: that lines begin with.
        of: how the card calls the source, as in "features of".
        tables: of a set whose shards are finished, written: from its folder, its source and its recipe.
    """

    command: str
    of: str
    tables: Callable[[Folder, ShardSet, Mapping[str, Any]], Sequence[TableEntry]]


def open_source(job: SetJob) -> ShardSet:
    """The set that another is made of."""
    cache = CacheConfig(job.cache_dir, max_bytes=int(job.cache_gb * 1e9)) if "://" in job.set else None
    return ShardSet.open(job.set, cache=cache, storage_options=job.storage)


class Maker(ABC):
    """Lives as long as the job; what it computes with is loaded at first use."""

    job: SetJob

    @cached_property
    def source(self) -> ShardSet:
        return open_source(self.job)

    @cached_property
    @abstractmethod
    def recipe(self) -> dict[str, Any]:
        """What decides the bytes of the set."""

    @cached_property
    @abstractmethod
    def schema(self) -> Schema:
        """What a record holds."""

    @abstractmethod
    def _records(self, number: int) -> Iterator[Record]:
        """The records of the source's shard `number`, made."""

    def described(self) -> tuple[dict[str, Any], Any]:
        """(recipe, schema as JSON) of what it would make."""
        return self.recipe, self.schema.to_json()

    def check(self, recipe: dict[str, Any]) -> None:
        """FingerprintMismatch, with the differences, unless it would make what a driver asks for."""
        if lines := recipe_difference(self.recipe, recipe, "what the driver asks for"):
            raise FingerprintMismatch(
                "a worker would bake something else than its driver:\n  " + "\n  ".join(lines) + "\n"
                "Give every node the same model and set. It has written nothing."
            )

    def bake(self, number: int, name: str) -> dict[str, Any]:
        """Write the shard of the source's shard `number`; its entry as JSON."""
        folder = open_folder(self.job.out, storage_options=self.job.storage)
        return write_shard(folder, name, self.schema, self._records(number)).to_json()
