"""The map-style dataset of a set: `len`, `[i]`, slices, for a DataLoader with any sampler.

Owns the numbering of samples. The order is the sampler's, and so are ranks: PyTorch's `DistributedSampler` divides a
map-style dataset. Which row of an item is drawn in which epoch is the stream's rule (`shards.reading.gather`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from torch.utils.data import Dataset

from diffusion_perception.torch_data.opened import Place, open_place
from diffusion_perception.torch_data.samples import check_fields, sample_of
from shards.errors import ConfigError
from shards.reading.batch import Sample
from shards.reading.gather import UNITS
from shards.reading.labelling import labels_of
from shards.reading.reader import INDEX_BYTES, ShardSet
from shards.reading.stream import BatchStream
from shards.reading.subset import EVERYTHING, Subset
from shards.storage.cache import CacheConfig
from shards.storage.options import StorageOptions


@dataclass(frozen=True)
class _Chosen:
    """An order that gives the samples somebody asked for, at the first positions of an epoch."""

    n_items: int
    samples: np.ndarray  # i64 [k]

    def at(self, positions: np.ndarray) -> np.ndarray:
        return self.samples[positions % self.n_items]

    def epochs(self, positions: np.ndarray) -> np.ndarray:
        return positions // self.n_items


class SetDataset(Dataset[dict[str, Any]]):
    """The samples of a set by number. Picklable; every tensor belongs to the caller.

    Args:
        url: folder path or URL of the set; a remote one needs `cache`. Or a `Mixture`: its sets one after another.
        fields: npy fields to give, one row of each.
        labels: makes further arrays of a `Sample`, such as a task's `labels`; they may differ in shape.
        unit: samples are the `row`s of the item axis (views, or sentences), or the `item`s, with one row each, drawn
            anew in every epoch (`set_epoch`).
        draw, seed: how rows of items are drawn, `random` or in a `cycle`.
        verify: check the hash of every row that is read.
        subset: some records of the set.
        index_bytes: of indexes that each process keeps (`ShardSet.open`); of a mixture, of each of its sets.
    """

    def __init__(
        self,
        url: Place,
        fields: Sequence[str] = ("latent",),
        labels: Callable[[Sample], Mapping[str, Any]] | None = None,
        *,
        unit: str = "row",
        draw: str = "random",
        seed: int = 0,
        verify: bool = True,
        cache: CacheConfig | None = None,
        storage_options: StorageOptions | None = None,
        subset: Subset = EVERYTHING,
        index_bytes: int = INDEX_BYTES,
    ) -> None:
        if unit not in UNITS:
            raise ConfigError(f"unit {unit!r} is unknown; choose from {', '.join(UNITS)}")
        self.fields, self.labels, self.epoch = tuple(fields), labels, 0
        self._unit, self._draw, self._seed = unit, draw, seed
        check_fields(self.fields)
        self._set = open_place(url, subset, cache, storage_options, verify, index_bytes)
        self._length = self.shards.n_rows if unit == "row" else self.shards.n_items
        self.__getitems__([0] if self._length else [])  # settings that do not fit are refused here, not in a worker

    @property
    def shards(self) -> ShardSet:
        """The set, for whatever else it holds."""
        return self._set.shards

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[number] for number in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        """The sample, or a list of them; negative numbers count from the end. IndexError beyond."""
        if isinstance(index, slice):
            return self.__getitems__(range(len(self))[index])
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Several samples at once, as a DataLoader asks for them."""
        chosen = [self._number(int(index)) for index in indices]
        found = []
        for start in range(0, len(chosen), max(1, len(self))):  # more would reach into the next epoch
            found += self._read(np.array(chosen[start : start + len(self)], np.int64))
        return found

    def set_epoch(self, epoch: int) -> None:
        """Draw the rows of this epoch, where samples are items. Workers that exist already do not hear of it."""
        if epoch < 0:
            raise ConfigError(f"epoch is {epoch}; expected 0, 1, 2, ...")
        self.epoch = epoch

    def state_dict(self) -> dict[str, Any]:
        """The epoch, and which set it is of; where a loader is in it, its sampler knows."""
        return {"epoch": self.epoch, "set": dict(self._set.identity)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """FingerprintMismatch: the state is of another set."""
        self._set.check(state["set"])
        self.set_epoch(state["epoch"])

    def _number(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {self.shards.manifest.name}, which has {len(self)}")
        return index % len(self)

    def _read(self, numbers: np.ndarray) -> list[dict[str, Any]]:
        shards, first = self.shards, self.epoch * len(self)
        options: dict[str, Any] = {"fields": self.fields, "draw": self._draw, "draw_seed": self._seed}
        stream = BatchStream(
            shards,
            _Chosen(len(self), numbers),
            batch_size=len(numbers),
            position=first,
            stop=first + len(numbers),
            threads=0,
            unit=self._unit,
            **options,
        )
        with stream:
            batch = next(stream)
        labels = self.labels or _no_labels
        return [sample_of(batch, shards, place, labels_of(labels, batch.sample(place))) for place in range(len(batch))]


def _no_labels(sample: Sample) -> dict[str, Any]:
    return {}
