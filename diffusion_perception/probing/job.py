"""The settings of `probe`: a model, its layers, and what is asked of their features.

Checks what can be known without a model or data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from diffusion_perception import plugins
from diffusion_perception.train_job import check_workers
from shards.errors import ConfigError
from shards.storage.options import check_printable, check_printable_url

ProbePlugin = Annotated[Mapping[str, Any], plugins.PROBES]


@dataclass(frozen=True)
class ProbeJob:
    """Settings of a sweep. Either `task` with its two sets, or `pairs`."""

    layers: tuple[str, ...]  # of the model's network, by their names in diffusers; one pass gives all of them
    model: str = ""  # diffusers folder or hub id, the whole pipeline; may be left out where only bakes are read
    task: Annotated[Mapping[str, Any], plugins.TASKS] = field(
        default_factory=dict
    )  # whose labels are learned and how they are scored: one that finds classes or depth of pixels
    train: str = ""  # shard set to learn from; its latents are what the network is shown
    test: str = ""  # shard set that is scored, with the views the task is evaluated on
    baked: Mapping[str, Mapping[str, str]] = field(
        default_factory=dict
    )  # features that are there: any name -> `train` and `test`, sets baked from those two; a trial each
    live: bool = True  # trials by the model's own passes; false: only of what is baked
    pairs: Annotated[Mapping[str, Any], plugins.KEYPOINT_PAIRS] = field(
        default_factory=dict
    )  # marked pairs of pictures, for matches between them
    probes: Mapping[str, ProbePlugin] = field(
        default_factory=lambda: {"linear": {"name": "linear"}}
    )  # what learns from sets: any name -> a probe and its options; all learn from the same passes
    timesteps: tuple[float, ...] = (1.0,)  # that the network is told; a trial each
    prompts: tuple[str, ...] = ("",)  # a trial each; {category} in one stands for that of a pair
    noise: Literal["none", "ddpm"] = "none"  # in what the network is shown: none, or that of the timestep
    posterior: Literal["mode", "sample"] = "mode"  # of pairs' latents
    ensemble: int = 1  # passes, each with noise of its own, whose features are averaged
    latent_scale: float | None = None  # that latents are multiplied with; null: the model's own
    size_px: tuple[int, int] | None = None  # (height, width) that pairs' pictures are resized to; null: as they are
    steps: int = 1000  # that probes learn, from a batch each
    batch_size: int = 16  # views of a step, and passes of the network at once
    seed: int = 0  # of order, draws and noise
    limit: int = 0  # > 0: score only so many first records of the test set, or pairs
    revision: str = ""  # branch, tag or commit of a hub model
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"  # of the model's weights
    device: str = ""  # cpu, cuda, cuda:1 or mps; empty: a GPU if there is one
    storage: Mapping[str, Any] = field(
        default_factory=dict
    )  # remote sets: endpoint, region and such of their store, but no secret (docs/storage.md)
    cache_dir: str = ""  # remote sets: folder on a local disk; empty = a temporary one
    cache_gb: float = 50.0  # remote sets: shards that nobody uses are evicted above this size
    workers: int = 0  # trials at once on a Ray cluster; 0: one after the other in the command's own process
    gpus_per_worker: float = -1  # -1: one if the cluster has GPUs, else none
    cpus_per_worker: float = 1  # CPUs that the scheduler reserves
    out: str = "probe"  # folder for the table; given the same sweep again, finished trials are taken from there

    def __post_init__(self) -> None:
        check_workers(self.workers, self.gpus_per_worker, self.cpus_per_worker)
        check_printable(self.storage, "storage")
        check_printable_url(self.train, "train")
        check_printable_url(self.test, "test")
        if bool(self.task) == bool(self.pairs):
            raise ConfigError(
                "say what is probed: task={name: seg} with train= and test=, or pairs={name: spair, ...}."
            )
        if self.task and not (self.train and self.test):
            raise ConfigError("a task is learned from one set and scored on another: give train= and test=.")
        self._check_baked()
        if not self.pairs and not self.probes:
            raise ConfigError("probes is empty: name what learns, such as probes.linear.name=linear.")
        for name, values in (("layers", self.layers), ("timesteps", self.timesteps), ("prompts", self.prompts)):
            if not values or len(set(values)) < len(values):
                raise ConfigError(f"{name} is {list(values)}; expected one at least, and none twice.")
        known = "only {category} stands for something" if self.pairs else "nothing in braces is filled in for sets"
        for prompt in self.prompts:
            if set("{}") & set(prompt.replace("{category}", "") if self.pairs else prompt):
                raise ConfigError(f"prompt {prompt!r}: {known}. Write the words that the model is to read.")
        least = {"steps": 1, "batch_size": 1, "ensemble": 1, "limit": 0}
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected {smallest} or more.")

    def _check_baked(self) -> None:
        if self.live and not self.model:
            raise ConfigError("model is empty: name a diffusers folder or hub id, or read only bakes with live=false.")
        if (self.pairs and self.baked) or not (self.live or self.baked):
            raise ConfigError(
                "baked features are of the sets of a task: give task=, and baked.NAME.train= and .test= where live is "
                "false."
            )
        for name, sets in self.baked.items():
            if name == "live" or set(sets) != {"train", "test"} or not all(sets.values()):
                raise ConfigError(
                    f"baked.{name} is {dict(sets)}; expected train and test, baked sets, under another name than live."
                )
            for part, url in sets.items():
                check_printable_url(url, f"baked.{name}.{part}")
