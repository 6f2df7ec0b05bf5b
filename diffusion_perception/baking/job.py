"""The settings of `features`: which features of which set or pictures, and where they go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from diffusion_perception import plugins
from diffusion_perception.train_job import check_workers
from pipeline.building.recipe import BuildSettings
from shards.errors import ConfigError
from shards.storage.options import check_printable, check_printable_url


@dataclass(frozen=True)
class PictureLatents:
    """How pictures become latents, by the model's own VAE."""

    views: Annotated[Mapping[str, Any], plugins.VIEWS] = field(
        default_factory=lambda: {"name": "exact", "size": 512}
    )  # how they are cut
    dtype: Literal["float32", "float16"] = "float32"  # of the VAE's computation
    tf32: bool = True  # let an NVIDIA GPU compute float32 in TF32
    build: BuildSettings = field(default_factory=BuildSettings)  # of the set of latents that is made in passing


@dataclass(frozen=True)
class BakeJob:
    """Settings of a bake."""

    model: str  # diffusers folder or hub id, the whole pipeline
    out: str  # folder or URL of the new set
    layers: tuple[str, ...]  # of the network, by their names in diffusers
    set: str = ""  # shard set whose latents the network is shown
    pictures: str = ""  # in place of a set: folder of pictures, a pattern of files, or a list of them (.txt)
    latents: PictureLatents = field(default_factory=PictureLatents)  # of pictures
    timestep: float = 1.0  # that the network is told
    prompt: str = ""  # for every view
    noise: Literal["none", "ddpm"] = "none"  # in what the network is shown: none, or that of the timestep
    ensemble: int = 1  # passes, each with noise of its own, whose features are averaged
    latent_scale: float | None = None  # that latents are multiplied with; null: the model's own
    seed: int = 0  # of the noise
    pool: int = 1  # rows and columns of features whose mean is stored; 1: every one
    pca: int = 0  # principal components of a layer that are stored in place of its channels; 0: the channels
    pca_records: int = 128  # evenly over the set, that components are fitted on
    pca_from: str = ""  # baked set whose components are taken, as for a test set those of training; empty: fitted here
    store: Literal["float32", "float16", "int8", "float8_e4m3fn"] = (
        "float16"  # int8, float8_e4m3fn: half of float16's bytes, and a scale for each channel of a view
    )
    batch_size: int = 8  # passes of the network at once
    revision: str = ""  # branch, tag or commit of a hub model
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"  # of the model's weights
    device: str = ""  # cpu, cuda, cuda:1 or mps; empty: a GPU if there is one
    storage: Mapping[str, Any] = field(
        default_factory=dict
    )  # of URLs: endpoint, region and such of their store, but no secret (docs/storage.md)
    cache_dir: str = ""  # a remote set: folder on a local disk; empty = a temporary one
    cache_gb: float = 50.0  # a remote set: shards that nobody uses are evicted above this size
    workers: int = 0  # processes on a Ray cluster, a shard each at a time; 0: the command's own process
    gpus_per_worker: float = -1  # -1: one if the cluster has GPUs, else none
    cpus_per_worker: float = 1  # CPUs that the scheduler reserves

    def __post_init__(self) -> None:
        check_workers(self.workers, self.gpus_per_worker, self.cpus_per_worker)
        check_printable(self.storage, "storage")
        check_printable_url(self.set, "set")
        check_printable_url(self.out, "out")
        if bool(self.set) == bool(self.pictures):
            raise ConfigError(
                f"set is {self.set!r}, pictures {self.pictures!r}: name the shard set whose latents the network is "
                "shown, or in its place the folder of pictures."
            )
        check_printable_url(self.pca_from, "pca_from")
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise ConfigError(f"layers is {list(self.layers)}; expected one at least, and none twice.")
        if self.batch_size < 1 or self.ensemble < 1 or self.pool < 1:
            raise ConfigError(
                f"batch_size is {self.batch_size}, ensemble {self.ensemble}, pool {self.pool}; expected 1 or more of "
                "each."
            )
        if self.pca < 0 or self.pca_records < 1 or (self.pca_from and not self.pca):
            raise ConfigError(
                f"pca is {self.pca}, pca_records {self.pca_records}, pca_from {self.pca_from!r}; expected a number of "
                "components, 1 record or more, and pca_from only with as many components as that set has."
            )
