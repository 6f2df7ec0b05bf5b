"""Plans what a stream reads next: from positions to items, rows, byte offsets and expected hashes, for many
batches at once.

NumPy does the arithmetic for thousands of samples together and hands over arrays, a value for each sample, so that the
loop that copies touches each sample only to copy and to hash. Reads nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from shards.contract.npy import storage_dtype
from shards.contract.schema import Field
from shards.errors import ConfigError
from shards.reading.caption_drop import CaptionDrop
from shards.reading.order import check_world, keyed, rank_slice
from shards.reading.paged_index import Found
from shards.reading.reader import ShardSet
from shards.reading.sample_order import SampleOrder

_CHUNK_SAMPLES = 4096  # planned together
_A_SHARD = 16  # or more of them: so many samples for each index that may have to be read for them
_LARGEST_CHUNK = 32_768
UNITS = ("item", "row")
DRAWS = ("random", "cycle")


@dataclass(frozen=True)
class Slice:
    """Where a stream is in the order: global batches of `batch_size` from `position` to `stop`, rank's share of each.
    `every` > 1: only every so many of them, from the first on.
    """

    batch_size: int
    rank: int
    world: int
    position: int
    stop: int | None
    every: int = 1
    uneven: bool = False

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"every is {self.every}; expected 1 for all batches, or 2, 3, ...")
        check_world(self.batch_size, self.rank, self.world, uneven=self.uneven)
        if self.position < 0 or (self.stop is not None and self.stop < self.position):
            raise ConfigError(f"position {self.position}, stop {self.stop}: expected 0 <= position <= stop")

    def batches(self, limit: int) -> list[tuple[int, int, range]]:
        """(position, samples in the global batch, this rank's positions) of the next `limit` batches."""
        batches = []
        stride = self.batch_size * self.every
        for start in range(self.position, self.position + limit * stride, stride):
            count = self.batch_size if self.stop is None else min(self.batch_size, self.stop - start)
            if count <= 0:
                break
            share = rank_slice(count, self.rank, self.world)
            batches.append((start, count, range(start + share.start, start + share.stop)))
        return batches


class Places(NamedTuple):
    """Where the bytes of one member are, of each of b samples, and what they are."""

    starts: np.ndarray  # i64 [b] in the tar
    lengths: np.ndarray | int  # i64 [b]; one number where all have as many
    hashes: np.ndarray  # u64 [b]

    def of(self, part: slice) -> Places:
        """Those of some of the samples."""
        lengths = self.lengths if isinstance(self.lengths, int) else self.lengths[part]
        return Places(self.starts[part], lengths, self.hashes[part])

    def at(self, place: int) -> tuple[int, int, int]:
        """Start, length and hash of one sample."""
        length = self.lengths if isinstance(self.lengths, int) else int(self.lengths[place])
        return int(self.starts[place]), length, int(self.hashes[place])


@dataclass(frozen=True)
class BatchPlan:
    """Everything needed to read one rank's batch of b samples; lists and arrays have b entries."""

    position: int  # global samples before this batch
    count: int  # samples in the global batch
    positions: np.ndarray  # i64 [b]
    items: np.ndarray  # i64 [b]
    records: np.ndarray  # i64 [b]
    rows: np.ndarray  # i64 [b] on the item axis of the record
    runs: np.ndarray  # i64 [b, 3]: place of the item in its record, its first row, its number of rows
    keys: list[bytes]  # of the records
    dropped: np.ndarray | None  # bool [b] samples without their caption; None where none ever is
    shards: list[int]
    reads: list[Places]  # of the rows, per field
    members: dict[str, Places]  # not npy


def batch_field(shards: ShardSet, name: str) -> Field:
    """A field that can be copied into batch buffers; ConfigError if its rows differ in shape or it is not
    npy.
    """
    field = shards.schema.field(name)
    if field.codec != "npy" or any(isinstance(size, str) for size in field.row_shape):
        raise ConfigError(
            f"field {name} ({field.codec}, row shape {list(field.row_shape)}) varies by record; "
            "read it in labels= instead of naming it in fields="
        )
    return field


def row_bytes(field: Field) -> int:
    """Bytes of one row of a field that `batch_field` accepted."""
    size = storage_dtype(field.dtype).itemsize
    for length in field.row_shape:
        size *= int(length)
    return size


@dataclass(frozen=True)
class RowDraw:
    """Which row of an item's run a sample gets.

    `random` draws by (seed, epoch, item), anew each epoch. `cycle` starts at a row drawn by (seed, item) and takes the
    next one each epoch, so that every row comes equally often: V views in V epochs, each once. With unit "row" every
    row is a sample of its own and nothing is drawn.
    """

    seed: int
    how: str
    unit: str
    drop: CaptionDrop | None = None


def plan_batches(
    shards: ShardSet, order: SampleOrder, part: Slice, fields: Sequence[Field], draw: RowDraw
) -> Iterator[BatchPlan]:
    """Plans of this rank's batches, in order. The first is planned alone, so that it need not wait, then twice as many
    together each time, up to some thousands of samples. Empty shares are left out.
    """
    most = min(max(_CHUNK_SAMPLES, _A_SHARD * len(shards.manifest.shards)), _LARGEST_CHUNK)
    limit, last = 1, max(1, most * part.world // part.batch_size)
    layout = shards.paged.layout
    while batches := part.batches(limit):
        limit = min(2 * limit, last)
        positions = np.concatenate([np.arange(own.start, own.stop) for _, _, own in batches])  # [P]
        found, dropped = _find(shards, order, positions, draw)
        shard_list = found.shards.tolist()
        numbers = {name: number for number, name in enumerate(layout.names)}
        reads = [_read_of(shards, field, found, numbers[field.name]) for field in fields]
        members = {
            field.name: _member_of(shards, field, found, numbers[field.name])
            for field in shards.schema.fields
            # tensors are planned above
            if field.codec != "npy"
        }
        start = 0
        for position, count, own in batches:
            here = slice(start, start + len(own))
            start = here.stop
            if own:
                yield BatchPlan(
                    position, count, positions[here], found.items[here], found.records[here], found.rows[here],
                    found.runs[here], found.keys[here],
                    None if dropped is None else dropped[here], shard_list[here],
                    [places.of(here) for places in reads],
                    {name: places.of(here) for name, places in members.items()},
                )  # fmt: skip
        after = batches[-1][0] + part.batch_size * part.every
        part = replace(part, position=after if part.stop is None else min(after, part.stop))


def _find(
    shards: ShardSet, order: SampleOrder, positions: np.ndarray, draw: RowDraw
) -> tuple[Found, np.ndarray | None]:
    """Where the samples at positions [P] are, with the rows that are drawn of them, and which have no caption."""
    samples, epochs = order.at(positions), order.epochs(positions)
    dropped = draw.drop.of(draw.seed, epochs, samples) if draw.drop is not None else None
    if draw.unit == "row":
        return shards.paged.find(samples, None), dropped
    in_turn = draw.how == "cycle"
    keys = keyed(draw.seed, samples) if in_turn else keyed(draw.seed, epochs, samples)
    drawn = (keys >> np.uint64(1)).astype(np.int64)  # [P]
    turns = epochs if in_turn else np.zeros_like(drawn)

    def rows_of(places: np.ndarray, n_rows: np.ndarray) -> np.ndarray:
        return (drawn[places] % n_rows + turns[places]) % n_rows

    return shards.paged.find(samples, rows_of), dropped


def _read_of(shards: ShardSet, field: Field, found: Found, number: int) -> Places:
    """One row of each of P samples."""
    starts = found.columns[:, shards.paged.layout.offset(field.name)]
    n_bytes = row_bytes(field)
    if field.axis == shards.schema.item_axis:
        starts = starts + found.rows * n_bytes
    return Places(np.ascontiguousarray(starts), n_bytes, np.ascontiguousarray(found.hashes[:, number]))


def _member_of(shards: ShardSet, field: Field, found: Found, number: int) -> Places:
    """One whole member of each of P samples."""
    offset = shards.paged.layout.offset(field.name)
    starts, lengths = (np.ascontiguousarray(found.columns[:, column]) for column in (offset, offset + 1))
    return Places(starts, lengths, np.ascontiguousarray(found.hashes[:, number]))
