"""Settings of a training run, as frozen dataclasses.

Owns the names, defaults and meaning of every setting the loop, the optimiser and the data stream read; those of the
model are `vpd.model.settings`'. Binding plain data to these is left to `diffusion_perception.settings`, which refuses a
key that no field here (and no plug-in signature) reads. Plug-in settings (`task`, `backbone`) are mappings with a
`name` in the package that their type notes; their other keys are bound to the `build(**options)` of the module of that
name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Annotated, Any, Literal

from shards.errors import ConfigError
from shards.storage.options import check_printable, check_printable_url
from vpd.model.settings import ModelConfig
from vpd.training.selection import MixConfig, SubsetConfig

Plugin = Mapping[str, Any]
TaskPlugin = Annotated[Plugin, "vpd.tasks"]
BackbonePlugin = Annotated[Plugin, "vpd.backbones"]
SchedulePlugin = Annotated[Plugin, "vpd.training.schedules"]
SourcePlugin = Annotated[Plugin, "pipeline.sources"]


@dataclass(frozen=True)
class DataConfig:
    """Which shard sets are read, and how."""

    train: str  # shard set to train on: absolute path or URL
    val: str = ""  # shard set evaluated while training; empty = none
    subset: SubsetConfig = field(default_factory=SubsetConfig)  # which records of the training set
    val_subset: SubsetConfig = field(default_factory=SubsetConfig)  # which records of the validation set
    mix: MixConfig = field(default_factory=MixConfig)  # further sets to train on, and how often each is drawn from
    batch_size: int = 32  # GLOBAL batch: the same items per step on any number of workers
    micro_batch_size: int = (
        0  # samples of a worker's share that pass the network at once; 0 = all (docs/methods/training.md)
    )
    eval_batch_size: int = 16  # samples per forward on each worker
    latents: Literal["cached", "online"] = "cached"  # online: re-encode the source pixels, to compare with cached
    source: SourcePlugin = field(
        default_factory=dict
    )  # online only: the source the set was built from, as in its build
    text: Literal["auto", "stored", "online"] = "auto"  # auto: stored states if the set has them, else the text encoder
    table: str = ""  # class embeddings made by jobs/build_prompts.py; empty = those stored in the training set
    caption_drop: float = 0.0  # share of samples that see the empty sentence in place of theirs; 0 = none, 1 = all
    threads: int = 2  # of each worker, that read batches and make their labels
    ahead: int = 4  # batches prefetched by each worker
    storage: Mapping[str, Any] = field(
        default_factory=dict
    )  # remote sets: endpoint, region and such of their store, but no secret (docs/storage.md)
    cache_dir: str = ""  # remote sets: folder on a local disk for all workers of a node; empty = a temporary one
    cache_gb: float = 50.0  # remote sets: of a node; shards that nobody uses are evicted above this size
    index_mb: float = 64.0  # of each set's indexes that a worker keeps; more for a large set with window_shards=0
    order: Literal["new", "fixed"] = "new"  # new: shuffled anew for every epoch; fixed: once (VPD's published depth)
    window_shards: int = 0  # >0: shuffle inside a moving window of this many shards (remote sets); 0 = whole set

    def __post_init__(self) -> None:
        check_printable(self.storage, "data.storage")
        for name, url in (("train", self.train), ("val", self.val), ("table", self.table)):
            check_printable_url(url, f"data.{name}")
        if not self.val and self.val_subset != SubsetConfig():
            raise ConfigError(
                "data.val_subset chooses records of a validation set, and data.val names none. Name it, which may be "
                "data.train's own set, or leave data.val_subset out."
            )
        if self.latents == "online" and self.mix.sets:
            raise ConfigError(
                "data.latents is 'online' and data.mix.sets names sets: pixels come from one data.source. Mix cached "
                "latents, or leave data.mix out."
            )
        if not 0 <= self.caption_drop <= 1:
            raise ConfigError(
                f"data.caption_drop is {self.caption_drop}; expected a share of the samples, from 0 to 1."
            )
        _at_least("data", self, 1, "batch_size", "eval_batch_size", "ahead")
        _at_least("data", self, 0, "micro_batch_size", "threads", "cache_gb", "index_mb", "window_shards")


@dataclass(frozen=True)
class OptimConfig:
    """AdamW, its parameter groups and its learning-rate curve."""

    lr: float = 5e-5  # peak learning rate of a group with factor 1
    weight_decay: float = 1e-2  # of the groups that decay
    betas: tuple[float, float] = (0.9, 0.999)  # of AdamW
    clip_norm: float = 0.0  # longest gradient, over all weights together; 0 = as long as it is
    gradient_noise: float = 0.0  # variance of noise on the first step's gradients, less later; 0 = none; such as 0.01
    ema_decay: float = 0.0  # of the weights' moving average, which is evaluated and exported; 0 = none; such as 0.9999
    sharded: bool = False  # each worker keeps the moments of its share of the weights (ZeRO-1); of one, nothing changes
    preset: str = "vpd_code"  # which published reading of the parameter groups: see vpd.training.step.optim
    schedule: SchedulePlugin = field(default_factory=lambda: {"name": "poly", "power": 0.9})  # curve

    def __post_init__(self) -> None:
        _at_least("optim", self, 0, "lr", "weight_decay", "clip_norm", "gradient_noise")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"optim.betas is {list(self.betas)}; expected two numbers from 0, below 1.")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"optim.ema_decay is {self.ema_decay:g}; expected a number from 0, below 1.")


@dataclass(frozen=True)
class ExchangeConfig:
    """How several workers add up their gradients; with one, nothing reads it."""

    dtype: Literal["float32", "bfloat16"] = "float32"  # that gradients travel in; bfloat16: half the bytes, rounded
    bucket_view: bool = True  # gradients lie in the buckets that travel, not beside them: a copy of them less
    static_graph: bool = (
        False  # promise that the same weights learn in every step: planned once; not in parts of a batch
    )


@dataclass(frozen=True)
class LoopConfig:
    """Length, cadence and numerics of the run. Cadences are in steps; 0 switches one off."""

    epochs: float = 40.0  # passes over the items of the train set
    steps: int = 0  # > 0 overrides `epochs`
    log_every_steps: int = 50  # loss, rate and speed
    eval_every_steps: int = 0  # 0 = once an epoch
    eval_at_start: bool = False  # also before the first step, for a number to compare with
    pictures: int = 4  # validation pictures drawn with their prediction at every evaluation, always the same; 0 = none
    pictures_from: str = ""  # folder in which their `file_name` is found; empty = drawn on latents in false colours
    save_every_steps: int = 0  # 0 = with every evaluation
    stop_after_steps: int = 0  # > 0: stop this run early, at this step; the schedule still spans the whole run
    keep_last: int = 2  # newest checkpoints kept, besides the best one
    nonfinite: Literal["stop", "skip", "roll_back"] = "stop"  # at NaN or infinity in a loss or gradient, never applied
    roll_backs: int = 3  # of one start, to the newest checkpoint (nonfinite: roll_back); then it stops
    # float32: products and convolutions, too, never in TF32; tf32: both in TF32, on NVIDIA; bfloat16: autocast, with
    # float32 weights; auto: bfloat16 on CUDA, else float32
    precision: Literal["auto", "float32", "tf32", "bfloat16"] = "auto"  # of forward and backward passes
    deterministic: bool = False  # the same bits in every run on the same machine, at a cost; else refused
    channels_last: bool = False  # memory layout of the convolutions
    exchange: ExchangeConfig = field(default_factory=ExchangeConfig)  # of gradients, among workers
    compile: bool = False  # regional torch.compile of the UNet's blocks
    compile_head: bool = False  # torch.compile of the task's head, as one region; beside `compile`, or alone
    keep_features_gb: float = 0.0  # with model.train=head: so much of each worker's features, computed once; 0 = none
    keep_features_in: str = ""  # folder of a local disk for them; empty = memory
    cuda_graphs: bool = False  # a step's passes as one CUDA graph, for small batches; on one GPU, of one shape
    mfu: Literal["auto", "always", "never"] = "auto"  # log the share of the device's rate; auto: on a GPU
    profile: tuple[int, ...] = ()  # [n, m]: trace the steps n to m of the run into its folder (torch's profiler)
    seed: int = 0  # of new weights, the order of the data and all that is drawn

    def __post_init__(self) -> None:
        cadences = (
            "log_every_steps",
            "eval_every_steps",
            "save_every_steps",
            "stop_after_steps",
            "keep_last",
            "roll_backs",
            "pictures",
        )
        _at_least("loop", self, 0, "epochs", "steps", "keep_features_gb", *cadences)
        if self.keep_features_in and not self.keep_features_gb:
            raise ConfigError(
                f"loop.keep_features_in is {self.keep_features_in!r} and loop.keep_features_gb 0, so nothing is kept "
                "there. Say how much each worker may keep."
            )
        if self.profile and not (len(self.profile) == 2 and 1 <= self.profile[0] <= self.profile[1]):
            raise ConfigError(
                f"loop.profile is {list(self.profile)}; expected the first and the last step to trace, from 1, such as "
                "[20, 22]."
            )

    @property
    def compiles(self) -> bool:
        """Whether anything is compiled, so that the first step takes longer."""
        return self.compile or self.compile_head

    def total_steps(self, n_items: int, batch_size: int) -> int:
        """Optimiser steps of the whole run: whole batches of `epochs` passes over `n_items` items."""
        total = self.steps or int(self.epochs * n_items) // batch_size
        if total < 1:
            raise ConfigError(
                f"loop: {self.epochs} epochs of {n_items} items make no whole batch of {batch_size}. "
                "Lower data.batch_size, or set loop.steps."
            )
        return total


def _at_least(where: str, settings: object, least: float, *names: str) -> None:
    """ConfigError unless the named numbers reach `least`, and are finite."""
    for name in names:
        if not least <= getattr(settings, name) < inf:
            raise ConfigError(f"{where}.{name} is {getattr(settings, name)}; expected a number, at least {least:g}.")


@dataclass(frozen=True)
class TrainConfig:
    """Everything one training run reads, apart from where it is placed (`jobs.train.RunConfig`)."""

    task: TaskPlugin
    backbone: BackbonePlugin
    data: DataConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
