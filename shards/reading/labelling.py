"""Labels beside the tensors of a batch, in arrays that the stream keeps from batch to batch.

Owns those arrays, and the two ways to fill them: a function of one sample, whose arrays are copied together, and one of
a whole batch, which writes where the batch lies and saves the copies. What labels are is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from shards.errors import ConfigError, ContractError, LabelsFailed, SchemaMismatch
from shards.reading.batch import Sample, SampleBatch

Allocate = Callable[[tuple[int, ...], np.dtype], np.ndarray]
Labels = Callable[[Sample], Mapping[str, np.ndarray]]


class Buffers:
    """The arrays of one batch in flight, kept from batch to batch as long as shapes stay the same."""

    def __init__(self, allocate: Allocate) -> None:
        self._allocate = allocate
        self._arrays: dict[str, np.ndarray] = {}
        self._rows: dict[str, list[memoryview]] = {}

    def array(self, name: str, count: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array [count, *shape], reused if the one at hand has room."""
        held = self._arrays.get(name)
        if held is None or held.shape[1:] != shape or held.dtype != dtype or len(held) < count:
            held = self._arrays[name] = self._allocate((count, *shape), dtype)
            self._rows.pop(name, None)
        return held[:count]

    def byte_rows(self, name: str) -> list[memoryview]:
        """The rows of an array as bytes, sliced once and not once a batch."""
        rows = self._rows.get(name)
        if rows is None:
            array = self._arrays[name]
            rows = self._rows[name] = [row.data for row in array.view(np.uint8).reshape(len(array), -1)]
        return rows


class Room:
    """Where the labels of one batch of b samples go."""

    def __init__(self, buffers: Buffers, count: int) -> None:
        self._buffers, self._count = buffers, count

    def array(self, name: str, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        """The array [b, *shape] of a label, holding whatever it held before."""
        return self._buffers.array(name, self._count, shape, np.dtype(dtype))


class BatchLabels(Protocol):
    """Makes the labels of all samples of a batch, b each, in arrays of the room."""

    def __call__(self, samples: Sequence[Sample], room: Room) -> Mapping[str, np.ndarray]: ...


def one_by_one(labels: Labels) -> BatchLabels:
    """The labels of a batch, made by a function of one sample."""

    def of_batch(samples: Sequence[Sample], room: Room) -> dict[str, np.ndarray]:
        made: dict[str, np.ndarray] = {}
        for place, sample in enumerate(samples):
            values = labels_of(labels, sample)
            if place == 0:
                made = {
                    name: room.array(name, np.shape(value), np.asarray(value).dtype) for name, value in values.items()
                }
            _check_like_first(sample, values, made)
            for name, value in values.items():
                made[name][place] = value
        return made

    return of_batch


def labels_of(labels: Labels, sample: Sample) -> Mapping[str, np.ndarray]:
    """What `labels` makes of a sample. LabelsFailed, with the record, for any error of the caller's function."""
    try:
        return labels(sample)
    except ContractError:
        raise
    except Exception as error:  # passed on with the record it was about
        raise LabelsFailed(
            f"labels failed for record {sample.key}, item {sample.item}: {type(error).__name__}: {error}"
        ) from error


def add_labels(batch: SampleBatch, labels: BatchLabels, room: Room) -> None:
    """Give a batch its labels.

    Raises:
        LabelsFailed: an error of the caller's function, with the records it was about.
        ConfigError: a label is called like a field that is read.
        SchemaMismatch: samples with labels of several shapes or dtypes.
    """
    samples = [batch.sample(place) for place in range(len(batch))]
    try:
        made = labels(samples, room)
    except ContractError:
        raise
    except Exception as error:  # passed on with the records it was about
        keys = ", ".join(sample.key for sample in samples[:4])
        raise LabelsFailed(
            f"labels failed for a batch of {len(samples)} records from {keys} on: {type(error).__name__}: {error}"
        ) from error
    if twice := made.keys() & batch.arrays.keys():
        raise ConfigError(f"labels returns {min(twice)!r}, which is also in fields=; rename it")
    batch.arrays.update(made)


def _check_like_first(sample: Sample, values: Mapping[str, np.ndarray], made: Mapping[str, np.ndarray]) -> None:
    if values.keys() != made.keys():
        raise SchemaMismatch(
            f"record {sample.key}: labels returned {sorted(values)}, for the first sample {sorted(made)}"
        )
    for name, value in values.items():
        if np.shape(value) != made[name].shape[1:]:
            raise SchemaMismatch(
                f"record {sample.key}: labels returned {name} of shape {list(np.shape(value))}, "
                f"the batch has {list(made[name].shape[1:])}; pad it there, or use batches of one"
            )
        if (dtype := np.asarray(value).dtype) != made[name].dtype:  # copied as it is, 1.75 would become 1
            raise SchemaMismatch(
                f"record {sample.key}: labels returned {name} as {dtype}, for the first sample {made[name].dtype}; "
                "return one dtype, for example by np.asarray(value, np.float32)"
            )
