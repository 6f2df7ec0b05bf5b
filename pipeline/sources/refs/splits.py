"""Which split an entry belongs to: by its file, by one of its keys, or by a seeded share of the pictures."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.files.entries import taken
from shards.errors import ConfigError


@dataclass(frozen=True)
class Splitting:
    """The rule, as a configuration says it.

    Attributes:
        splits: their names.
        by_file: every split has a file of its own.
        field: key of an entry that names its split.
        shares: of the pictures, for each split.
        seed: of the shares.
    """

    splits: tuple[str, ...]
    by_file: bool
    field: str
    shares: tuple[float, ...]
    seed: int

    def __post_init__(self) -> None:
        rules = self.by_file + bool(self.field) + bool(self.shares)
        if not self.splits or len(set(self.splits)) != len(self.splits):
            raise ConfigError(f"source: splits is {list(self.splits)}; expected different names")
        if rules > 1 or (rules == 0 and len(self.splits) > 1):
            raise ConfigError(
                f"source: {'several rules say' if rules else 'nothing says'} which of {list(self.splits)} an entry "
                "belongs to; set exactly one of refs={split}.jsonl, split_field and shares"
            )
        if self.shares and (len(self.shares) != len(self.splits) or min(self.shares) <= 0):
            raise ConfigError(f"source: shares is {list(self.shares)}; one above 0 for each of {self.splits}")
        if self.shares and not math.isclose(sum(self.shares), 1.0, abs_tol=1e-6):
            raise ConfigError(f"source: shares {list(self.shares)} add up to {sum(self.shares)}; expected 1")

    def files(self, refs: str) -> Iterator[tuple[str, str]]:
        """(file, split) of every file; the split is empty where entries are told apart one by one."""
        if self.by_file:
            yield from ((refs.replace("{split}", split), split) for split in self.splits)
        else:
            yield refs, "" if self.field or self.shares else self.splits[0]

    def of(self, entry: Mapping[str, Any], picture: str, where: str) -> str:
        """The split of an entry of a file that holds several. SourceError: its key is missing or no text."""
        if self.field:
            return taken(entry, self.field, str, where)
        place = int.from_bytes(hashlib.sha256(f"{self.seed}\n{picture}".encode()).digest()[:8], "big") / 2**64
        bound = 0.0
        for split, share in zip(self.splits, self.shares, strict=True):
            bound += share
            if place < bound:
                return split
        return self.splits[-1]

    def identity(self) -> dict[str, Any]:
        if self.shares:
            return {"splits": list(self.splits), "shares": list(self.shares), "seed": self.seed}
        return {"split_field": self.field} if self.field else {}
