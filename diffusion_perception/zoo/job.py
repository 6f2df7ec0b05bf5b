"""Settings of publishing a trained model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from shards.errors import ConfigError
from shards.storage.options import check_printable, check_printable_url

Dtype = Literal["float32", "float16", "bfloat16"]
Where = Literal["inside", "named"]


@dataclass(frozen=True)
class PublishJob:
    """Settings of publishing."""

    run: str  # folder or URL of a training run, or a model folder
    out: str  # folder to make, URL, or hf://owner/name
    checkpoint: str = "best"  # of a run: best, last, or a step number
    dtype: Dtype = "float32"  # of the network's weights; running statistics and class tables stay as they are
    # inside: image and text encoder are copied into the folder; named: by hub id, fetched by whoever predicts
    encoders: Where = "inside"  # where the frozen ones are
    base: str = ""  # folder or hub id of the model whose encoders they are; empty: the run's
    title: str = ""  # of the card; empty: the name of `out`
    license: str = ""  # the hub's name of the licence; empty: that of the base model, where it is known
    storage: Mapping[str, Any] = field(default_factory=dict)  # of URLs: endpoint, region and such, but no secret

    def __post_init__(self) -> None:
        check_printable(self.storage, "storage")
        check_printable_url(self.out, "out")
        check_printable_url(self.run, "run")
        if not self.out:
            raise ConfigError("out: where to? Name a folder, a URL or a repository, as in out=hf://owner/name.")
