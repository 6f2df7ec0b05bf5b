"""configs/train/*.yaml: every setting of a training run, from where it is placed to what it learns.

Owns the whole of it and where it is kept; what the loop reads is `vpd.training.settings`', how the settings become
objects `diffusion_perception.assembly`'s.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from diffusion_perception import places, settings
from shards.errors import ConfigError
from vpd.model.settings import ModelConfig
from vpd.training.selection import SubsetConfig
from vpd.training.settings import (
    BackbonePlugin,
    DataConfig,
    LoopConfig,
    OptimConfig,
    TaskPlugin,
    TrainConfig,
)

EncoderPlugin = Annotated[Mapping[str, Any], "pipeline.encoders", "unnamed"]  # the backbone names its own


@dataclass(frozen=True)
class EncoderConfig:
    """The frozen encoders, for what a set does not store. Empty: those that the backbone names, of its own model."""

    model: str = ""  # hub id or folder
    revision: str = ""  # branch, tag or commit of a hub model
    dtype: Literal["float32", "float16"] = "float32"  # of the computation
    image: EncoderPlugin = field(default_factory=dict)  # another image encoder: name and options over the ones above
    text: EncoderPlugin = field(default_factory=dict)  # another text encoder
    vision: EncoderPlugin = field(default_factory=dict)  # the `vision` of the set's build, for pictures of no set


@dataclass(frozen=True)
class RunConfig:
    """Where the run is kept and what each worker gets."""

    name: str  # of the run's folder
    out: str = "runs"  # folder or URL every node can reach; the run is <out>/<name>
    workers: int = 1  # processes; the global batch is divided among them. 0: the command's own process, no cluster
    gpus_per_worker: float = -1  # -1: one if the cluster has GPUs, else none
    cpus_per_worker: float = 1  # CPUs that the scheduler reserves; threads of a worker without GPU
    min_workers: int = 0  # > 0: elastic: goes on with as few where machines are lost, and grows back to `workers`
    grow_every_s: float = 600.0  # elastic: how often it grows if it can, which costs the steps since a checkpoint
    max_failures: int = 3  # restarts after a lost worker, without a newer checkpoint in between, before the job fails
    track: Annotated[Mapping[str, Any], "vpd.training.trackers"] = field(
        default_factory=dict
    )  # a service that is told the numbers of the log, too, such as mlflow; empty: none
    allow_changed: bool = False  # go on where the run ended, though its settings were changed since

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name:
            raise ConfigError(f"run.name is {self.name!r}; expected the name of one folder, which is made in run.out.")
        if self.max_failures < 0:
            raise ConfigError(f"run.max_failures is {self.max_failures}; expected no fewer than 0 restarts.")
        check_workers(self.workers, self.gpus_per_worker, self.cpus_per_worker, "run.")
        if not 0 <= self.min_workers <= self.workers:
            raise ConfigError(
                f"run.min_workers is {self.min_workers}; expected 1 to run.workers ({self.workers}), or 0 for a fixed "
                "number of workers."
            )
        if not 0 < self.grow_every_s < math.inf:
            raise ConfigError(f"run.grow_every_s is {self.grow_every_s:g}; expected some seconds.")

    @property
    def world(self) -> int:
        """Processes that divide a batch among them, where none is lost."""
        return max(1, self.workers)

    @property
    def fewest(self) -> int:
        """The same where as many are lost as may be."""
        return self.min_workers or self.world


def check_workers(workers: int, gpus_per_worker: float, cpus_per_worker: float, where: str = "") -> None:
    """Refuse numbers of workers and CPUs that cannot be, and GPUs of workers that do not exist.

    Raises:
        ConfigError: with the choices there are; `where` is what the names of the settings begin with.
    """
    if workers < 0:
        raise ConfigError(f"{where}workers is {workers}; expected 1 or more, or 0 for this process, without a cluster.")
    if not 0 < cpus_per_worker < math.inf:
        raise ConfigError(f"{where}cpus_per_worker is {cpus_per_worker:g}; expected some CPU for each worker.")
    if not workers and gpus_per_worker >= 0:
        raise ConfigError(
            f"{where}gpus_per_worker is {gpus_per_worker:g}, but {where}workers=0 starts no worker: this process takes "
            f"CUDA if it sees one. Leave {where}gpus_per_worker out, or set {where}workers to 1 or more."
        )


@dataclass(frozen=True)
class TrainJob:
    """configs/train/*.yaml."""

    run: RunConfig
    task: TaskPlugin  # what is learned: labels, loss and metric
    backbone: BackbonePlugin  # the network whose features it is learned from
    data: DataConfig
    encoders: EncoderConfig = field(default_factory=EncoderConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    predict_views: Annotated[Mapping[str, Any], "pipeline.views"] = field(
        default_factory=dict
    )  # how jobs/predict.py cuts an image; empty: as the task says

    def __post_init__(self) -> None:
        if self.loop.exchange.static_graph and self.data.micro_batch_size:
            raise ConfigError(
                f"loop.exchange.static_graph is true and data.micro_batch_size {self.data.micro_batch_size}; torch "
                "plans an exchange once only where every backward pass is followed by one. Set one of the two: "
                "loop.exchange.static_graph=false, or data.micro_batch_size=0."
            )

    @property
    def training(self) -> TrainConfig:
        return TrainConfig(self.task, self.backbone, self.data, self.model, self.optim, self.loop)

    @property
    def folder(self) -> str:
        return f"{self.run.out.rstrip('/')}/{self.run.name}"


def placed(job: TrainJob) -> TrainJob:
    """The job with every path and model as all workers find it."""
    path, data = places.resolve_path, job.data
    mixed = tuple(
        replace(one, set=path(one.set, "data.mix.sets"), subset=_placed_keys(one.subset, "data.mix.sets.subset"))
        for one in data.mix.sets
    )
    return settings.replaced(
        job,
        {
            "run.out": path(job.run.out, "run.out"),
            "data.train": path(job.data.train, "data.train"),
            "data.val": path(job.data.val, "data.val"),
            "data.subset": _placed_keys(data.subset, "data.subset"),
            "data.val_subset": _placed_keys(data.val_subset, "data.val_subset"),
            "data.mix.sets": mixed,
            "loop.pictures_from": path(job.loop.pictures_from, "loop.pictures_from"),
            "model.init": path(job.model.init, "model.init"),
            "model.head": places.located(job.model.head, "model.head"),
            "data.table": path(job.data.table, "data.table"),
            "data.source": places.located(job.data.source, "data.source"),
            "backbone": places.located(job.backbone, "backbone"),
            "encoders.model": places.resolve_model(job.encoders.model),
            "encoders.image": places.located(job.encoders.image, "encoders.image"),
            "encoders.text": places.located(job.encoders.text, "encoders.text"),
            "encoders.vision": places.located(job.encoders.vision, "encoders.vision"),
        },
    )


def _placed_keys(subset: SubsetConfig, where: str) -> SubsetConfig:
    return replace(subset, keys=places.resolve_path(subset.keys, f"{where}.keys"))
