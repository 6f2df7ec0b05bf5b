"""The exact stream: batches of a set in a given order, for one rank, from any position, read ahead by
threads.

A batch is a pure function of (set, order, draw_seed, position, batch size); ranks take slices of it. Each row
is read once, from the tar into its slot of a reused buffer, and hashed there (`rows`), so what is delivered
is what was checked. A whole batch is one job of a thread: there is no hand-over per sample. What to read is
planned in `gather`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import NoReturn

import numpy as np

from shards.contract.npy import storage_dtype
from shards.contract.shard_list import numbers_of
from shards.errors import ConfigError
from shards.reading.batch import SampleBatch
from shards.reading.caption_drop import CaptionDrop
from shards.reading.gather import DRAWS, UNITS, BatchPlan, RowDraw, Slice, batch_field, plan_batches
from shards.reading.labelling import Allocate, BatchLabels, Buffers, Labels, Room, add_labels, one_by_one
from shards.reading.mixture import MixedWindow
from shards.reading.reader import ShardSet
from shards.reading.rows import RowReader
from shards.reading.sample_order import SampleOrder
from shards.reading.window import WindowedOrder
from shards.storage.storage import Hold

_HELD_BATCHES = 2  # the one in the caller's hands and the one before
_SHARDS_AHEAD = 2  # that enter the window next


class BatchStream:
    """Iterator of SampleBatch; a context manager, so that its threads end when the caller does.

    `batch_size`, `position` and `stop` count global samples; `rank` of `world` gets its slice of every batch.
    The last batch before `stop` may be smaller, and is shared out evenly; a rank whose share is empty ends
    one batch earlier. `fields` are npy fields copied into batch buffers that `allocate(shape, dtype)` makes
    (for example pinned memory); `labels` makes further arrays from a Sample, in the reading threads, or `batch_labels`
    those of all samples of a batch at once, in arrays of the stream (`labelling`).
    `unit="row"` counts an epoch in rows of the item axis, every one once, where `"item"` draws one row of
    each item per epoch, at random or in a cycle as `draw` says (`gather.RowDraw`). `drop` gives some
    samples no caption (`caption_drop`). `every=n` gives the batch at
    `position` and then every n-th, for one of n processes that share a rank's batches. `uneven` lets batches that
    do not divide by `world` through, whose shares differ by one sample.

    `threads=0` reads in the caller's thread. `ahead` batches are being read or ready. Raises ConfigError for
    settings that do not fit; iteration raises CorruptShard, LabelsFailed (with the record's key) or
    SchemaMismatch, and closes.
    """

    def __init__(
        self,
        shards: ShardSet,
        order: SampleOrder,
        *,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        position: int = 0,
        stop: int | None = None,
        fields: Sequence[str] = (),
        draw_seed: int = 0,
        draw: str = "random",
        drop: CaptionDrop | None = None,
        labels: Labels | None = None,
        batch_labels: BatchLabels | None = None,
        threads: int = 2,
        ahead: int = 2,
        allocate: Allocate = np.empty,
        unit: str = "item",
        every: int = 1,
        uneven: bool = False,
    ) -> None:
        _check(shards, order, unit, threads, ahead)
        batches = (ahead + 1 if threads else 1) + _HELD_BATCHES + (world > 1)  # ranks are in step within one
        _check_cache(shards, order, batches * batch_size * every)
        self.position = position  # global samples handed out so far
        self._shards = shards
        self._order = order
        self._stop = stop
        self._fields = [batch_field(shards, name) for name in fields]
        self._forms = [  # name, shape and dtype of a sample's row
            (field.name, tuple(int(size) for size in field.row_shape), storage_dtype(field.dtype))
            for field in self._fields
        ]
        self._rows = RowReader(shards, self._fields)
        if labels is not None and batch_labels is not None:
            raise ConfigError("labels and batch_labels are given; expected one of them")
        self._labels = batch_labels or (one_by_one(labels) if labels is not None else None)
        part = Slice(batch_size, rank, world, position, stop, every, uneven)
        if draw not in DRAWS:
            raise ConfigError(f"draw is {draw!r}; expected one of {', '.join(DRAWS)}")
        self._plans = plan_batches(shards, order, part, self._fields, RowDraw(draw_seed, draw, unit, drop))
        if drop is not None:
            drop.check(self._fields)
        self._drop = drop
        self._ahead = ahead if threads else 0
        self._buffers = [Buffers(allocate) for _ in range(self._ahead + _HELD_BATCHES)]
        self._planned = 0
        self._members: frozenset[str] = frozenset()  # that labels ask most samples for
        self._window: dict[int, Hold] = {}  # shards in use at the last planned position, and the next
        self._pending: deque[Future[SampleBatch]] = deque()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="shard-read") if threads else None
        self._closed = False

    def __iter__(self) -> BatchStream:
        return self

    def __enter__(self) -> BatchStream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise ConfigError(
            "a BatchStream has threads and open files of one process and cannot be pickled; open one where it is to be "
            "read, or send a SetStream (diffusion_perception)"
        )

    def __next__(self) -> SampleBatch:
        if self._closed:
            raise StopIteration
        with ExitStack() as on_error:
            on_error.callback(self.close)  # also at the end of the stream
            batch = self._next_batch()
            if batch is None:
                raise StopIteration
            on_error.pop_all()
        self.position = batch.next_position
        return batch

    def close(self) -> None:
        """Stop reading ahead and join the threads. Batches in hand stay valid."""
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pending.clear()
        self._window.clear()

    def _next_batch(self) -> SampleBatch | None:
        # Asking for batch j frees the buffers of batch j - 2, so with `ahead` + 2 sets of buffers, batches up
        # to j + `ahead` may be under way: a job never has to wait for a buffer.
        if self._pool is None:
            plan = next(self._plans, None)
            return None if plan is None else self._read(plan, self._holds_of(plan), self._take_buffers())
        while len(self._pending) <= self._ahead and (plan := next(self._plans, None)) is not None:
            self._pending.append(self._pool.submit(self._read, plan, self._holds_of(plan), self._take_buffers()))
        return self._pending.popleft().result() if self._pending else None

    def _take_buffers(self) -> Buffers:
        self._planned += 1
        return self._buffers[self._planned % len(self._buffers)]

    def _holds_of(self, plan: BatchPlan) -> dict[int, Hold]:
        """The shards of a batch, on their way from now on; those of the window stay here until it has moved on."""
        shards, before = self._shards, self._window
        if shards.cache is not None and isinstance(self._order, WindowedOrder | MixedWindow):
            near = self._order.shards_near(plan.position, _SHARDS_AHEAD, self._stop)
            self._window = {shard: before.get(shard) or shards.hold(shard) for shard in near}
        return {shard: self._window.get(shard) or shards.hold(shard) for shard in dict.fromkeys(plan.shards)}

    def _read(self, plan: BatchPlan, holds: dict[int, Hold], buffers: Buffers) -> SampleBatch:
        shards, count = self._shards, len(plan.items)
        tars = {shard: hold() for shard, hold in holds.items()}
        sources = [tars[shard] for shard in plan.shards]
        arrays, slots = {}, []
        for name, shape, dtype in self._forms:
            arrays[name] = buffers.array(name, count, shape, dtype)
            slots.append(buffers.byte_rows(name))
        held = self._rows.read(plan, sources, list(arrays.values()), slots, self._members)
        if self._drop is not None and plan.dropped is not None:
            self._drop.put(arrays, plan.dropped)
        batch = SampleBatch(arrays, plan, shards, sources, self._order.n_items, held)
        if self._labels is not None:
            add_labels(batch, self._labels, Room(buffers, count))
            often = {name for name, times in batch.asked.items() if 2 * times >= count}
            if often:  # from now on read with the tensors, by one call a sample
                self._members = self._members | often
        return batch


def _check(shards: ShardSet, order: SampleOrder, unit: str, threads: int, ahead: int) -> None:
    if unit not in UNITS:
        raise ConfigError(f"unit {unit!r} is unknown; choose from {', '.join(UNITS)}")
    expected = shards.n_rows if unit == "row" else shards.n_items
    if order.n_items != expected:
        raise ConfigError(
            f"the order is over {order.n_items} samples, {shards.manifest.name} has {expected} {unit}s; "
            f"use order_of(shards, seed=..., unit={unit!r})"
        )
    if threads < 0 or ahead < 1:
        raise ConfigError(f"threads={threads}, ahead={ahead}: expected threads >= 0 and ahead >= 1")
    own = shards.shard_items(unit) if isinstance(order, WindowedOrder) else ()
    if isinstance(order, WindowedOrder) and order.shard_items is not own and order.shard_items != own:
        raise ConfigError(
            f"the windowed order has other shard sizes than {shards.manifest.name}; "
            f"use order_of(shards, seed=..., window_shards=..., unit={unit!r})"
        )


def _check_cache(shards: ShardSet, order: SampleOrder, n_samples: int) -> None:
    """ConfigError if the cache cannot hold what `n_samples` samples in a row and the shards read ahead need: then
    shards would be fetched more than once an epoch."""
    cache = shards.cache
    if cache is None:
        return
    every = numbers_of(shards.manifest.shards, "tar_bytes").tolist()
    sizes = sorted(size for number, size in enumerate(every) if shards.folder_of(number).cache is not None)
    if isinstance(order, WindowedOrder | MixedWindow):
        sizes = sizes[-order.most_shards(n_samples, _SHARDS_AHEAD) :]
        advice = f"raise limit_bytes (data.cache_gb), or lower window={order.window}, ahead or the batch size"
    else:
        advice = "raise limit_bytes (data.cache_gb) or use a WindowedOrder"
    if sum(sizes) > cache.limit_bytes:
        raise ConfigError(
            f"this order uses {len(sizes)} shards, {sum(sizes)} bytes, at a time, the cache holds {cache.limit_bytes}; "
            f"{advice}"
        )
