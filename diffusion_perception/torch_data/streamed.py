"""The iterable dataset of a set: the exact stream for a PyTorch loop, over ranks and DataLoader workers.

Owns passes, and the division of a rank's batches among workers: worker w of W gives the batches w, w + W, ... of a
pass, and a DataLoader takes from its workers in turn, so that what arrives is the stream, in its order, with any number
of them. Use `DataLoader(dataset, batch_size=None)`: a dataset gives whole batches. Which sample comes when is
`shards.reading.order`'s.

A pass is what one `for` loop gives: the batches that begin in one epoch. All of them are whole and all ranks have
equally many; the last may end in the next epoch, whose pass goes on behind it, so that over the passes every sample
comes exactly once an epoch. With `whole_batches=False` a pass is an epoch, its last batch what is left: for evaluation.
A loop that is left early starts the same pass again; one that ends is followed by the next pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset

from diffusion_perception.torch_data.opened import Place, open_place
from diffusion_perception.torch_data.placement import in_worker, rank_and_world, worker_and_workers
from diffusion_perception.torch_data.samples import batch_of, check_fields
from shards.errors import ConfigError
from shards.reading.batch import Sample
from shards.reading.caption_drop import CaptionDrop
from shards.reading.labelling import BatchLabels
from shards.reading.order import check_world, order_of
from shards.reading.reader import INDEX_BYTES, ShardSet
from shards.reading.stream import BatchStream
from shards.reading.subset import EVERYTHING, Subset
from shards.storage.cache import CacheConfig
from shards.storage.options import StorageOptions


class SetStream(IterableDataset[dict[str, Any]]):
    """Batches of a set, for this rank and worker. Picklable.

    Args:
        url: folder path or URL of the set; a remote one needs `cache`. Or a `Mixture` of sets.
        global_batch_size: samples of a batch on all ranks together; a multiple of their number.
        fields: npy fields to give, one row of each.
        labels: makes further arrays of a `Sample`, such as a task's `labels`; called in the reading threads.
        batch_labels: instead, those of all samples of a batch at once, in arrays that it is given
            (`shards.reading.labelling.BatchLabels`), such as a task's `batch_labels`.
        seed: of order and draw; `shuffle=False` takes samples in the order of the set.
        unit, draw: what a sample is: an `item` with one of its rows, drawn at random or in a `cycle`; or a `row`.
        drop: give some samples no caption, but what it says in its place; "dropped" tells which.
        window_shards: shuffle within so many shards, for sets that are fetched; 0: over all of them.
        whole_batches: see the module.
        rank, world: instead of those that torch.distributed or the environment say.
        threads: that read ahead, in a process that is no DataLoader worker; a worker reads by itself.
        reuse_buffers: tensors are the stream's own buffers, valid until the batch after the next is asked for. Saves a
            copy. Not in DataLoader workers, which would overwrite what is still on its way.
        subset: some records of the set, read as the whole set is.
        index_bytes: of indexes that each process keeps (`ShardSet.open`); of a mixture, of each of its sets.

    Raises:
        ConfigError: settings that do not fit each other or the set.
    """

    def __init__(
        self,
        url: Place,
        global_batch_size: int,
        fields: Sequence[str] = ("latent",),
        labels: Callable[[Sample], Mapping[str, np.ndarray]] | None = None,
        *,
        batch_labels: BatchLabels | None = None,
        seed: int = 0,
        shuffle: bool = True,
        unit: str = "item",
        draw: str = "random",
        drop: CaptionDrop | None = None,
        window_shards: int = 0,
        whole_batches: bool = True,
        rank: int | None = None,
        world: int | None = None,
        threads: int = 2,
        reuse_buffers: bool = False,
        verify: bool = True,
        cache: CacheConfig | None = None,
        storage_options: StorageOptions | None = None,
        subset: Subset = EVERYTHING,
        index_bytes: int = INDEX_BYTES,
    ) -> None:
        if (rank is None) != (world is None):
            raise ConfigError(f"rank is {rank}, world is {world}; give both, or none")
        self.global_batch_size, self.fields, self.labels = global_batch_size, tuple(fields), labels
        check_fields(self.fields)
        self._options = {"unit": unit, "draw": draw, "draw_seed": seed, "fields": self.fields}
        self._options |= {"labels": labels, "batch_labels": batch_labels, "drop": drop}
        self._order_options = {"seed": seed, "shuffle": shuffle, "window_shards": window_shards, "unit": unit}
        self._given = None if rank is None or world is None else (rank, world)
        self._inherited = (0, 1)
        self._whole, self._threads, self._reuse = whole_batches, threads, reuse_buffers
        self._set = open_place(url, subset, cache, storage_options, verify, index_bytes)
        self._start = 0  # global samples before the next loop, or the one under way
        self._position = 0  # and before what it gives next
        self._base = 0  # and before the first batch of worker 0
        self._of_workers: tuple[int, int] | None = None  # the DataLoader worker whose state was loaded, if one's
        self._is_loaded = False
        self._began_in_worker = False
        if whole_batches and global_batch_size > self.epoch_samples:
            raise ConfigError(
                f"global_batch_size is {global_batch_size}, an epoch has {self.epoch_samples} samples: some epochs "
                "would have no batch. Take a smaller one, or whole_batches=False"
            )
        self._open(0, 0, 1).close()  # settings that do not fit are refused here, not in a worker

    @property
    def shards(self) -> ShardSet:
        """The set, for whatever else it holds."""
        return self._set.shards

    @property
    def epoch_samples(self) -> int:
        """Samples of an epoch."""
        return self.shards.n_rows if self._options["unit"] == "row" else self.shards.n_items

    def __len__(self) -> int:
        """Batches of the pass that the next loop, or the loop under way, gives a rank without DataLoader workers."""
        rank, world = self._rank_and_world()
        samples = self._end_of_pass(self._start) - self._start
        batches, rest = divmod(samples, self.global_batch_size)
        return batches + (rest * (rank + 1) // world > rest * rank // world)  # a rank may have no share of the rest

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker, workers = worker_and_workers()
        if self._of_workers not in (None, (worker, workers)):
            raise ConfigError(
                f"the state was saved in DataLoader worker {self._of_workers}, (number, of how many), and this is "
                f"{(worker, workers)}; use as many workers, or SetLoader, whose state does not depend on them"
            )
        if self._reuse and in_worker():
            raise ConfigError("reuse_buffers=True with DataLoader workers: they would overwrite batches on their way")
        if in_worker() and self._began_in_worker:
            raise ConfigError(
                "persistent_workers=True: workers that live on do not hear of set_epoch or load_state_dict, nor that a "
                "loop was left early, and would go on in different passes; leave it out"
            )
        self._began_in_worker = in_worker()
        position, end = self._start, self._end_of_pass(self._start)
        if self._of_workers is None:
            self._base = position
        self._position = position
        size = self.global_batch_size
        gone = -(-(position - self._base) // size)  # batches of the pass before this position
        first = self._base + (gone + (worker - gone) % workers) * size
        if first < end:
            with self._open(first, end, workers) as stream:
                for batch in stream:
                    self._position = batch.next_position
                    yield batch_of(batch, self.shards, copy=not self._reuse)
        self.finish_pass()

    def set_epoch(self, epoch: int) -> None:
        """Go to the pass of an epoch. Does nothing where a state was loaded that lies in it: the loop goes on there."""
        if epoch < 0:
            raise ConfigError(f"epoch is {epoch}; expected 0, 1, 2, ...")
        if not (self._is_loaded and self._start // self.epoch_samples == epoch):
            self._go_to(self._start_of_pass(epoch))

    def finish_pass(self) -> None:
        """Go to the pass behind this one; for loaders whose workers do the reading."""
        self._go_to(self._end_of_pass(self._start))

    def reached(self, next_position: int) -> None:
        """A loader has handed out a batch with this "next_position"."""
        self._position = next_position

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is: samples handed out so far on all ranks. In a DataLoader worker, what it has handed out
        of its own share."""
        worker, workers = worker_and_workers()
        state: dict[str, Any] = {"position": self._position, "set": dict(self._set.identity)}
        return state if workers == 1 else state | {"base": self._base, "worker": worker, "workers": workers}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on behind what was handed out, on any number of ranks, with any batch size. FingerprintMismatch: the state
        is of another set."""
        self._set.check(state["set"])
        self._go_to(state["position"])
        self._is_loaded = True
        if "worker" in state:
            self._base, self._of_workers = state["base"], (state["worker"], state["workers"])

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_inherited": self._rank_and_world()}

    def _go_to(self, position: int) -> None:
        self._start = self._position = self._base = position
        self._of_workers, self._is_loaded = None, False

    def _start_of_pass(self, epoch: int) -> int:
        start = epoch * self.epoch_samples
        return -(-start // self.global_batch_size) * self.global_batch_size if self._whole else start

    def _end_of_pass(self, position: int) -> int:
        """Where the pass ends that `position` lies in."""
        end = (position // self.epoch_samples + 1) * self.epoch_samples
        if not self._whole:
            return end
        return position + -(-(end - position) // self.global_batch_size) * self.global_batch_size

    def _rank_and_world(self) -> tuple[int, int]:
        return self._given or rank_and_world(self._inherited)

    def _open(self, position: int, stop: int, workers: int) -> BatchStream:
        rank, world = self._rank_and_world()
        check_world(self.global_batch_size, rank, world)
        return BatchStream(
            self.shards,
            order_of(self.shards, **self._order_options),
            batch_size=self.global_batch_size,
            rank=rank,
            world=world,
            position=position,
            stop=stop,
            every=workers,
            threads=0 if in_worker() else self._threads,
            **self._options,
        )
