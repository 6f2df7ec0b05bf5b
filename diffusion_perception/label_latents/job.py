"""The settings of `labels`: what of which depth becomes latents, how, and where they go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from diffusion_perception.train_job import check_workers
from shards.errors import ConfigError
from shards.geometry.normals import NormalsOf
from shards.storage.options import check_printable, check_printable_url


@dataclass(frozen=True)
class LabelLatentsJob:
    """Settings of a set with label latents."""

    model: str  # diffusers folder or hub id whose VAE made the set's latents
    set: str  # finished shard set with depth
    out: str  # folder or URL of the new set
    label: Literal["depth", "normals"] = "depth"  # depth as a grey picture, or the surface normals of it in colours
    space: Literal["depth", "disparity"] = "depth"  # of depth, what is encoded: itself (Marigold), or 1 / depth (Lotus)
    quantile: float = 0.02  # of a view's measured values that becomes -1, and 1 - quantile 1; what is outside is cut
    intrinsics: tuple[float, ...] = ()  # of normals: the camera's fx, fy, cx, cy in pixels of the stored depth
    window_px: int = 9  # of normals: side of the window around a pixel that a plane is fitted in, odd
    tolerance: float = 0.02  # of normals: deviation of 1 / depth from the plane, as a share, above which it is an edge
    batch_size: int = 8  # views that the VAE encodes at once
    revision: str = ""  # branch, tag or commit of a hub model
    dtype: Literal["float32", "float16"] = "float32"  # of the VAE's computation
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
        if self.label == "normals":
            self.normals()
            if self.space != "depth" or self.quantile != 0.02:
                raise ConfigError(
                    f"space is {self.space} and quantile {self.quantile:g}, which are of label=depth: normals are unit "
                    "vectors, and nothing of them is scaled. Leave them out."
                )
        elif self.intrinsics or (self.window_px, self.tolerance) != (9, 0.02):
            raise ConfigError(
                "intrinsics, window_px and tolerance are of label=normals; depth is encoded as it is. Leave them out."
            )
        if self.batch_size < 1 or not 0 <= self.quantile < 0.5:
            raise ConfigError(
                f"batch_size is {self.batch_size} and quantile {self.quantile:g}; expected 1 view or more, and a share "
                "from 0, below 0.5."
            )

    def normals(self) -> NormalsOf:
        """How normals are made of depth.

        Raises:
            ConfigError: no camera, or a value out of its range.
        """
        return NormalsOf(self.intrinsics, self.window_px, self.tolerance)
