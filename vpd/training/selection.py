"""Settings of which records a training reads: of one set, or of several that are mixed.

Owns names and meaning of `data.subset`, `data.val_subset` and `data.mix`; the rules behind them are
`shards.reading.subset`'s and `shards.reading.mixing`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shards.errors import ConfigError
from shards.reading.mixing import Mixing, Stage, weights_of
from shards.reading.subset import Subset
from shards.storage.options import check_printable_url


@dataclass(frozen=True)
class SubsetConfig:
    """Some records of a set; all that is given must agree. Nothing given: all of them."""

    keys: str = ""  # file with the keys of the records, one a line
    where: Mapping[str, Any] = field(
        default_factory=dict
    )  # what their meta says: key -> value, list of values, or {min, max}; dots go into objects and lists
    share: tuple[float, float] = (0.0, 1.0)  # records whose draw is from the first number, below the second: [0, 0.9]
    seed: int = 0  # of that draw, which is by the record's key alone: records added later move no other

    def __post_init__(self) -> None:
        Subset(where=self.where, share=self.share)

    def read(self) -> Subset:
        """The subset, with the keys of its file.

        Raises:
            ConfigError: the file cannot be read, or holds no key.
        """
        keys: list[str] = []
        if self.keys:
            try:
                with open(self.keys, encoding="utf-8") as file:
                    keys = [line.strip() for line in file if line.strip()]
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"keys={self.keys}: {error}; expected a text file, a record's key a line") from error
            if not keys:
                raise ConfigError(f"keys={self.keys}: the file holds no key; leave keys empty for all records")
        return Subset(keys, self.where, self.share, self.seed)


@dataclass(frozen=True)
class MixedSetConfig:
    """One more set of a mixture."""

    set: str  # absolute path or URL
    weight: float | None = None  # in the unit of the others; none for all: by their samples
    subset: SubsetConfig = field(default_factory=SubsetConfig)  # which of its records

    def __post_init__(self) -> None:
        check_printable_url(self.set, "data.mix.sets")


@dataclass(frozen=True)
class MixConfig:
    """Sets that are read together with `data.train`; an epoch is as many samples as all have together."""

    sets: tuple[MixedSetConfig, ...] = ()  # such as [{set: data/shards/more, weight: 1}]
    weight: float | None = None  # of data.train
    temperature: float = 1.0  # without weights: 1 = by samples, each once an epoch; larger: small sets more often
    stages: tuple[Stage, ...] = ()  # other weights later: [{from_sample: 100000, weights: [1, 1]}], data.train's first

    def __post_init__(self) -> None:
        if not self.sets and (self.weight is not None or self.stages or self.temperature != 1):
            raise ConfigError("data.mix says how often sets are drawn from, and names none; set data.mix.sets.")
        if self.sets:
            self.mixing().turns([1] * (1 + len(self.sets)))

    def mixing(self) -> Mixing:
        """How often each set is drawn from, `data.train` first. ConfigError: weights that do not match."""
        return Mixing(weights_of([self.weight, *(one.weight for one in self.sets)]), self.temperature, self.stages)
