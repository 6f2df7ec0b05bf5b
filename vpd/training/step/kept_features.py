"""Features of samples that were seen before, kept where only the head learns (`loop.keep_features_gb`).

With `model.train: head` nothing changes before the head: a sample has the same features whenever it comes. They are
computed when it comes first and kept, each worker those of the samples that it was given, in memory or in a file; from
then on a step of known samples is the head's alone. Owns what is kept, where, and what a sample is known by. The file
has no name, so it is gone with the process, however that ends; a run that goes on computes anew.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence

import torch

from shards.errors import ConfigError
from shards.reading.batch import SampleBatch
from shards.reading.reader import ShardSet
from vpd.backbones import Level
from vpd.model.device_batch import DeviceBatch, HasContext, context_of
from vpd.model.perception import Perception
from vpd.training.settings import LoopConfig, TrainConfig
from vpd.training.step.gradients import Autocast

OFF = "Set loop.keep_features_gb=0."
GB = 10**9

Key = tuple[int, int, bool]  # record, row of its item axis, whether its caption is left out


def check_kept(config: TrainConfig) -> None:
    """ConfigError if features are to be kept in a run in which they change, or are not passed as they are."""
    if not config.loop.keep_features_gb:
        return
    if config.model.train != "head":
        found = f"model.train is {config.model.train!r}, with which a sample's features change. They stay with `head`"
    elif config.data.latents == "online":
        found = "data.latents is 'online', which encodes every picture again. Build a set, or leave features unkept"
    elif config.loop.cuda_graphs:
        found = "so is loop.cuda_graphs: known and new samples make different steps, and a graph is of one. Keep either"
    else:
        return
    raise ConfigError(f"loop.keep_features_gb is {config.loop.keep_features_gb:g}, and {found}. {OFF}")


def bytes_of_sample(levels: Sequence[Level], view_px: Sequence[int], bytes_of_number: int) -> int:
    """Of the features of a view of `view_px`, (h, w) in pixels."""
    cells = [(view_px[0] // level.stride) * (view_px[1] // level.stride) for level in levels]
    return bytes_of_number * sum(level.width * count for level, count in zip(levels, cells, strict=True))


def samples_of(config: TrainConfig, shards: ShardSet) -> int:
    """How many different ones of a set may come; every index of the set is looked at."""
    return shards.n_rows * (2 if config.data.caption_drop else 1)  # with its caption, and without


def samples_held(loop: LoopConfig, n_samples: int, sample_bytes: int) -> int:
    """For how many of so many samples a worker has room."""
    return int(min(n_samples, loop.keep_features_gb / (sample_bytes / GB)))  # an int of a vast number is an error


def kept_features_of(
    config: TrainConfig, model: Perception, task: HasContext, autocast: Autocast, shards: ShardSet
) -> KeptFeatures | None:
    """What the settings of a run on a set ask for."""
    check_kept(config)
    if not config.loop.keep_features_gb:
        return None
    return KeptFeatures(model, task, autocast, config.loop, samples_of(config, shards))


class KeptFeatures:
    """The features that one worker keeps.

    Args:
        model: computes them; its backbone and what makes its context are frozen.
        autocast: of the run; features are kept in the type that it leaves them in.
        n_samples: that may come.
    """

    def __init__(
        self, model: Perception, task: HasContext, autocast: Autocast, loop: LoopConfig, n_samples: int
    ) -> None:
        self._model, self._task, self._autocast, self._n_samples = model, task, autocast, n_samples
        self._loop = loop
        self._whole = loop.compile  # a compiled backbone is for batches of one size
        self._places: dict[Key, int] = {}
        self._levels: list[torch.Tensor] = []  # of N samples each, [N, C, h, w], on the host

    def __len__(self) -> int:
        return len(self._places)

    def of(self, raw: SampleBatch, batch: DeviceBatch) -> list[torch.Tensor]:
        """Features of a batch, finest first, `[B, C, h, w]` each; a device is waited for where a sample is new.

        Raises:
            ConfigError: the memory, or the folder of `loop.keep_features_in`, cannot hold them.
        """
        dropped = raw.dropped if raw.dropped is not None else [False] * len(raw)
        keys = [
            (int(record), int(row), bool(without))
            for record, row, without in zip(raw.records, raw.rows, dropped, strict=True)
        ]
        new = {key: place for place, key in reversed(list(enumerate(keys))) if key not in self._places}
        known = [self._places[key] for key in keys if key in self._places]
        if not new:
            return [self._taken(level, known, batch.latents.device) for level in self._levels]
        computed = self._computed(batch, new.values())
        self._keep(new, computed)
        turn = dict(zip(new, range(len(new)), strict=True))
        behind = iter(range(len(new), len(new) + len(known)))
        order = torch.tensor([turn[key] if key in new else next(behind) for key in keys]).to(batch.latents.device)
        if known:
            held = [self._taken(level, known, batch.latents.device) for level in self._levels]
            computed = [torch.cat(pair) for pair in zip(computed, held, strict=True)]
        return [level[order] for level in computed]

    def _computed(self, batch: DeviceBatch, places: Iterable[int]) -> list[torch.Tensor]:
        """Features of the samples at these places of a batch."""
        context = context_of(self._task, batch)
        chosen = torch.tensor(list(places)).to(batch.latents.device)
        with torch.no_grad(), self._autocast():
            if self._whole:
                return [level[chosen] for level in self._model.features(batch.latents, context)[0]]
            given = None if context is None else context[chosen]
            return self._model.features(batch.latents[chosen], given)[0]

    def _keep(self, keys: Iterable[Key], levels: Sequence[torch.Tensor]) -> None:
        """As many of them as there is room for."""
        if not self._levels:
            size = sum(level[0].nbytes for level in levels)
            count = samples_held(self._loop, self._n_samples, size)
            self._levels = [self._room(count, level) for level in levels]
        for number, key in enumerate(keys):
            place = len(self._places)
            if place >= len(self._levels[0]):
                return
            for kept, level in zip(self._levels, levels, strict=True):
                kept[place].copy_(level[number])
            self._places[key] = place

    def _room(self, count: int, level: torch.Tensor) -> torch.Tensor:
        """For features like these of so many samples; memory is taken as it is filled, a file's space at once."""
        shape, dtype = (count, *level.shape[1:]), level.dtype
        n_bytes = count * level[0].nbytes
        if not self._loop.keep_features_in or not count:
            try:
                return torch.empty(shape, dtype=dtype)
            except RuntimeError as error:
                raise ConfigError(
                    f"loop.keep_features_gb is {self._loop.keep_features_gb:g}, and this machine has no memory for "
                    f"{n_bytes / GB:.2f} GB of features. Lower it, which is for each worker, or name a folder of a "
                    "local disk: loop.keep_features_in."
                ) from error
        if not hasattr(os, "posix_fallocate"):
            raise ConfigError(
                "loop.keep_features_in names a folder, and this system cannot reserve room in a file: macOS has no "
                "posix_fallocate. Leave it out: features are kept in memory then."
            )
        try:
            with tempfile.TemporaryFile(
                dir=self._loop.keep_features_in
            ) as file:  # without a name, where the system has such files
                os.posix_fallocate(file.fileno(), 0, n_bytes)  # a mapped file on a full disk would end the process
                path, size = f"/dev/fd/{file.fileno()}", n_bytes // dtype.itemsize
                return torch.from_file(path, shared=True, size=size, dtype=dtype).view(shape)
        except OSError as error:
            raise ConfigError(
                f"loop.keep_features_in: {self._loop.keep_features_in} cannot hold {n_bytes / GB:.2f} GB of features, "
                f"{error.strerror or error}. Make room, name a folder of another local disk, or lower "
                "loop.keep_features_gb, which is for each worker."
            ) from error

    def _taken(self, kept: torch.Tensor, places: Sequence[int], device: torch.device) -> torch.Tensor:
        """Of a level, [len(places), C, h, w] on the device."""
        chosen = torch.tensor(places)
        if device.type == "cpu":
            return kept[chosen]
        out = torch.empty((len(places), *kept.shape[1:]), dtype=kept.dtype, pin_memory=device.type == "cuda")
        return torch.index_select(kept, 0, chosen, out=out).to(device, non_blocking=True)
