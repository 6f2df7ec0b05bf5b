"""Settings of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diffusion_perception.set_page import PictureOptions
from shards.errors import ConfigError
from shards.storage.options import check_printable, check_printable_url

LARGEST_PORT = 65535


@dataclass(frozen=True)
class UiJob:
    """Settings of the page."""

    runs: tuple[str, ...] = ()  # to predict with: runs, model folders, hf://owner/name; the words behind `ui`
    features: str = ""  # folder or hub id of a diffusion model: shows its layers and words
    set: str = ""  # folder or URL of a shard set: shows its records
    checkpoint: str = "best"  # of the runs: best, last, or a step number
    device: str = ""  # cpu, cuda, cuda:1 or mps; empty: a GPU if there is one
    memory_gb: float = 0.0  # what one prediction may take; 0: what the machine has available
    side_px: int = 512  # longer side of the pictures that features are read of
    page: PictureOptions = field(default_factory=PictureOptions)  # where pictures of the set come from
    storage: Mapping[str, Any] = field(default_factory=dict)  # of a set's URL: endpoint, region and such, but no secret
    host: str = "127.0.0.1"  # address to listen at; 0.0.0.0 lets in whoever reaches this machine
    port: int = 0  # 0: the first that is free, from 7860 on

    def __post_init__(self) -> None:
        check_printable(self.storage, "storage")
        for place in (*self.runs, self.set):
            check_printable_url(place, "runs or set")
        if not (self.runs or self.features or self.set):
            raise ConfigError(
                "ui: what is there to show? Name runs or models first, as in `ui runs/refcoco-vpd`, or features=MODEL, "
                "or set=SET, or several of these."
            )
        if not 0 <= self.port <= LARGEST_PORT or self.side_px < 64 or self.memory_gb < 0:
            raise ConfigError(
                f"port is {self.port}, side_px {self.side_px}, memory_gb {self.memory_gb}; expected a port, at least "
                "64 pixels, and 0 or more."
            )
