"""The order for remote sets: shards in random order, items mixed within a window of shards that moves by one.

Every shard's items are cut into `window` random pieces. Phase t of an epoch takes piece 0 of the shard that
enters at t, piece 1 of the one before, and so on, and shuffles them together. So at most `window` shards are
in use at a time, one enters and one leaves per phase, every item comes exactly once an epoch, and each shard
is fetched once an epoch. Near both ends of an epoch fewer shards are mixed. Like `order`, pure arithmetic: a
position is looked up in O(window) after O(shards x window) work for its epoch, of which a few numbers a shard are kept
for the last epochs asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from shards.errors import ConfigError
from shards.native.library import address_of, library
from shards.reading.counts import Counts
from shards.reading.permutation import keyed, permute, shuffled

_SHARDS, _PHASE, _PIECE = 1, 2, 3  # which permutation a key is for
_EPOCH = struct.Struct("7q2Q")
_KEPT_EPOCHS = 2  # a batch at the end of one reaches into the next


@dataclass(frozen=True)
class WindowedOrder:
    """`shard_items[s]` items in shard s; a seeded order that uses `window` shards at a time."""

    shard_items: Sequence[int]
    seed: int
    window: int

    def __post_init__(self) -> None:
        if not self.shard_items or self._counts.min() < 1:
            raise ConfigError(f"a window needs shards of at least one item each, got {self.shard_items[:8]}")
        if self.window < 1:
            raise ConfigError(f"window is {self.window}, expected at least one shard")

    def __reduce__(self) -> tuple[object, ...]:
        return WindowedOrder, (self.shard_items, self.seed, self.window)  # tables have addresses of this process

    @property
    def n_items(self) -> int:
        """Samples in an epoch."""
        return self._n_items

    def items(self, start: int, stop: int) -> np.ndarray:
        """Item ids i64 [stop - start] at global positions start .. stop - 1."""
        return self.at(np.arange(start, stop))

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Item ids i64 [P] at global positions i64 [P]."""
        epochs, places = np.divmod(np.asarray(positions, np.int64), self.n_items)
        result = np.empty_like(places)
        for epoch in set(epochs.tolist()):  # np.unique imports numpy.ma, which takes longer than a batch
            mine = epochs == epoch
            result[mine] = self._in_epoch(epoch, places[mine])
        return result

    def epochs(self, positions: np.ndarray) -> np.ndarray:
        """i64 [P]: which epoch each sample belongs to."""
        return np.asarray(positions, np.int64) // self.n_items

    def shards_near(self, position: int, ahead: int, stop: int | None = None) -> list[int]:
        """The shards in use at a position, longest in use first, then those that will enter, until there are `ahead`
        more than a full window has; none of an epoch that begins at `stop` or later. At both ends of an epoch, where
        fewer are in use and phases are short, more are on their way."""
        epoch, place = divmod(position, self.n_items)
        table = self._table(epoch)
        phase = int(np.searchsorted(table.phase_ends, place, side="right"))
        first = max(0, phase - self.window + 1)
        near = table.shards[first : first + self.window + ahead].tolist()
        missing = phase + 1 + ahead - len(table.shards)
        if missing > 0 and (stop is None or stop > (epoch + 1) * self.n_items):
            near += self._table(epoch + 1).shards[:missing].tolist()
        return list(dict.fromkeys(near))

    def most_shards(self, n_samples: int, ahead: int = 0) -> int:
        """A bound on the shards that any `n_samples` samples in a row come from, or would with equal bytes a shard, and
        the next `ahead` that will enter.

        With j phases touched they are `window` + j - 1 at most. Phases are smallest, and most are touched, around the
        end of an epoch, where they hold one piece, then two, and so on, on either side.
        """
        piece = int(self._counts.min()) // self.window
        if not piece:
            return len(self.shard_items)
        whole, samples = 0, n_samples - 2  # phases touched by their first or last sample alone
        while whole < len(self.shard_items) and samples >= piece * min(whole // 2 + 1, self.window):
            samples -= piece * min(whole // 2 + 1, self.window)
            whole += 1
        return min(len(self.shard_items), self.window + whole + 1 + ahead)

    def _in_epoch(self, epoch: int, places: np.ndarray) -> np.ndarray:
        table, native = self._table(epoch), library()
        if native is not None:
            found = np.array(places, np.int64, order="C")  # [P]: a copy
            native.window_items(len(found), address_of(found), table.handed_over)
            return found
        pieces = np.arange(self.window)
        phase = np.searchsorted(table.phase_ends, places, side="right")  # [P]
        entered = phase[:, None] - pieces  # [P, window]: the shard that each piece of the phase is of, by its entry
        there = (entered >= 0) & (entered < len(table.shards))
        counts = self._counts[table.shards[np.clip(entered, 0, len(table.shards) - 1)]]
        sizes = np.where(there, _piece_sizes(counts, pieces, self.window), 0)
        piece_ends = np.cumsum(sizes, axis=1)  # [P, window]
        size = piece_ends[:, -1]
        place = places - (table.phase_ends[phase] - size)
        place = permute(place, size, keyed(self.seed, epoch, _PHASE, phase))  # shuffled within the phase
        piece = (place[:, None] >= piece_ends).sum(axis=1)  # [P]
        before = np.take_along_axis(piece_ends - sizes, piece[:, None], axis=1)[:, 0]
        shard = table.shards[phase - piece]
        count = self._counts[shard]
        inside = count * piece // self.window + place - before
        inside = permute(inside, count, keyed(self.seed, epoch, _PIECE, shard))  # random pieces
        return self._item_ends[shard] - count + inside

    @cached_property
    def _n_items(self) -> int:
        return int(self._counts.sum())

    @property
    def _counts(self) -> np.ndarray:
        return self._known.array  # [S]

    @cached_property
    def _known(self) -> Counts:
        return Counts.of(self.shard_items)

    @property
    def _item_ends(self) -> np.ndarray:
        return self._known.ends  # [S]

    @cached_property
    def _tables(self) -> dict[int, _Epoch]:
        return {}

    def _made(self, epoch: int) -> _Epoch:
        counts, ends = self._counts, self._item_ends
        shards, phase_ends = _phases(counts, self.seed, self.window, epoch)
        keys = [int(keyed(self.seed, epoch, which)[0]) for which in (_PHASE, _PIECE)]
        arrays = map(address_of, (ends, shards, phase_ends))
        handed_over = _EPOCH.pack(len(counts), self.window, address_of(counts), counts.strides[0], *arrays, *keys)
        return _Epoch(shards, phase_ends, handed_over)

    def _table(self, epoch: int) -> _Epoch:
        table = self._tables.get(epoch)
        if table is None:
            table = self._made(epoch)
            kept = dict(list(self._tables.items())[1 - _KEPT_EPOCHS :])
            self.__dict__["_tables"] = kept | {epoch: table}  # a new one: another thread may be looking into the old
        return table


@dataclass(frozen=True)
class _Epoch:
    shards: np.ndarray  # i64 [S] in order of entry
    phase_ends: np.ndarray  # i64 [S + window - 1] running size of the phases
    handed_over: bytes  # `struct epoch` of order.c


def _piece_sizes(counts: np.ndarray, piece: np.ndarray, window: int) -> np.ndarray:
    """How many items a piece has, of shards of so many."""
    return counts * (piece + 1) // window - counts * piece // window


def _phases(counts: np.ndarray, seed: int, window: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """(shards in order of entry, ends of the phases) of an epoch."""
    shards = shuffled(len(counts), keyed(seed, epoch, _SHARDS))
    native = library()
    if native is not None:
        ends = np.empty(len(counts) + window - 1, np.int64)
        native.phase_ends(
            len(counts), window, address_of(counts), counts.strides[0], address_of(shards), address_of(ends)
        )
        return shards, ends
    entering = counts[shards]
    sizes = np.zeros(len(counts) + window - 1, np.int64)
    so_far: np.ndarray | int = 0  # items of the pieces until then
    for piece in range(window):
        before, so_far = so_far, entering * (piece + 1) // window
        sizes[piece : piece + len(counts)] += so_far - before
    return shards, np.cumsum(sizes)
