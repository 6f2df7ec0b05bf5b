"""Samples without their caption, for training with and without a condition (classifier-free guidance): which, and what
they have in its place.

Which samples are without is drawn by (seed, epoch, number of the sample) alone, as rows are, by a hash of its own: the
same samples on any number of ranks and workers and after any resume, others in every epoch, and no row or order changes
with the share. A larger share drops the samples of a smaller one and more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

from shards.contract.npy import storage_dtype
from shards.contract.schema import Field
from shards.errors import ConfigError
from shards.reading.permutation import keyed

_DROP = 0x64726F70  # tells this draw from others of the same seed


@dataclass(frozen=True)
class CaptionDrop:
    """How many samples are without, and what they have instead.

    Attributes:
        share: of the samples, from 0 to 1.
        empty: for each field of the caption a row, such as the states or tokens of the empty text, in the shape and
            dtype of the set.

    Raises:
        ConfigError: a share that is none, or no field.
    """

    share: float
    empty: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        if isinstance(self.share, bool) or not isinstance(self.share, Real) or not 0 <= float(self.share) <= 1:
            raise ConfigError(f"a caption's drop is of share {self.share!r}; expected a number from 0 to 1")
        if not isinstance(self.empty, Mapping):
            raise ConfigError(
                f"what a dropped caption has instead is {type(self.empty).__name__}; expected a row for each field"
            )
        if not self.empty:
            raise ConfigError("a caption's drop names no field; give what dropped captions have in its place")

    def of(self, seed: int, epochs: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """bool [P]: which samples are without, by their epochs and numbers i64 [P]."""
        return (keyed(seed, _DROP, epochs, samples) >> np.uint64(11)) < np.uint64(round(self.share * 2**53))

    def check(self, fields: Sequence[Field]) -> None:
        """ConfigError unless each of its rows can stand in one of these fields of a batch."""
        known = {field.name: field for field in fields}
        for name, row in self.empty.items():
            if name not in known:
                raise ConfigError(f"a caption's drop names {name}, which is not in fields={list(known)}; name it there")
            wanted = (tuple(known[name].row_shape), storage_dtype(known[name].dtype))
            if (np.shape(row), np.asarray(row).dtype) != wanted:
                raise ConfigError(
                    f"{name} of a caption's drop is {np.asarray(row).dtype} {list(np.shape(row))}, a row of the set is "
                    f"{wanted[1]} {list(wanted[0])}; expected the same"
                )

    def put(self, arrays: Mapping[str, np.ndarray], dropped: np.ndarray) -> None:
        """Overwrite the rows [b] of a batch that were dropped, bool [b]."""
        for name, row in self.empty.items():
            arrays[name][dropped] = row
