"""A build's settings, and the actor that encodes for it.

Owns configs/build/*.yaml as dataclasses and the one long-lived process per accelerator: weights, source and
annotations are loaded once, whole shards are built one after the other. Placement, dispatch and the manifest are
`jobs.build_shards`'s; what a shard is made of, `pipeline.build`'s.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import config, plugins
from pipeline.example import Source
from pipeline.plan import ShardTask
from pipeline.prompts import ClassTable, PromptSettings, class_table
from pipeline.recipe import BuildSettings
from shards.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.encoders import ImageEncoder, TextEncoder

Plugin = Mapping[str, Any]
BUILDS_PER_ACTOR = 2  # while one shard is hashed and synced, the next is decoded; they take turns at the encoder


@dataclass(frozen=True)
class Resources:
    """What the encoder actors get. A GPU encodes hundreds of images a second and needs about two CPUs to feed it."""

    actors: int = 0  # 0: one per GPU of the cluster, or one if it has none
    gpus_per_actor: float = -1  # -1: one if the cluster has GPUs, else none; fractions share a GPU
    cpus_per_actor: float = 2


@dataclass(frozen=True)
class BuildJob:
    """configs/build/*.yaml."""

    name: str  # a set is <out>/<name>-<split>
    source: Plugin
    splits: tuple[str, ...]
    views: Plugin
    image: Plugin  # image encoder
    text: Plugin | None = None  # text encoder, for sentences or class prompts
    prompts: PromptSettings | None = None  # also store a table of the source's class names, encoded
    views_of: Mapping[str, Any] = field(default_factory=dict)  # split -> another view plan than `views`
    out: str = "data/shards"  # folder every node reaches
    settings: BuildSettings = field(default_factory=BuildSettings)
    resources: Resources = field(default_factory=Resources)

    def view_spec(self, split: str) -> Plugin:
        return self.views_of.get(split, self.views)


class EncoderActor:
    """Lives as long as the job: weights, source and annotations are loaded once.

    Loading happens in the first call and not in the constructor, because Ray gives a constructor's error no cause.
    """

    def __init__(self, plain: dict[str, Any], device: str) -> None:
        from ray.util.metrics import Counter

        self.job = config.build(BuildJob, plain)
        self.device = device
        self._turn = threading.Lock()
        self._progress: dict[str, tuple[int, int]] = {}
        self._records = Counter("shards_records_built", description="records written to shards", tag_keys=("split",))
        self._rejects = Counter("shards_records_rejected", description="samples left out", tag_keys=("split",))

    @cached_property
    def source(self) -> Source:
        return plugins.build_plugin(plugins.SOURCES, self.job.source, "source")

    @cached_property
    def image(self) -> ImageEncoder:
        import torch

        if self.device == "cpu":
            torch.set_num_threads(max(int(self.job.resources.cpus_per_actor), 1))
        return plugins.build_plugin(plugins.ENCODERS, self.job.image, "image", device=self.device)

    @cached_property
    def text(self) -> TextEncoder | None:
        text = self.job.text
        return plugins.build_plugin(plugins.ENCODERS, text, "text", device=self.device) if text else None

    @cached_property
    def sentences(self) -> TextEncoder | None:
        """The text encoder, if the source has sentences to encode."""
        return self.text if self.source.item_axis == "sentence" else None

    @cached_property
    def table(self) -> ClassTable | None:
        """The source's classes, encoded as `prompts` says."""
        if self.job.prompts is None:
            return None
        names = getattr(self.source, "class_names", ())
        if not names or self.text is None:
            raise ConfigError(
                f"'prompts' encodes the source's class names with the 'text' encoder; source {self.job.source['name']} "
                f"has {len(names)} class names and text is {dict(self.job.text or {})}. Remove 'prompts', or add them."
            )
        return class_table(names, self.text, self.job.prompts)

    def describe(self, split: str) -> tuple[dict[str, Any], Any, ClassTable | None]:
        """(recipe, schema as JSON, class table) of a split's set."""
        from pipeline.recipe import recipe_of, schema_of

        views, settings, table = self._views(split), self.job.settings, self.table
        recipe = recipe_of(self.source, split, views, self.image, self.sentences, settings)
        if table is not None:
            recipe["classes"] = dict(table.info)
        return recipe, schema_of(self.source, views, self.image, self.sentences, settings).to_json(), table

    def build(self, split: str, folder: str, task: ShardTask) -> tuple[int, int]:
        """Build one shard; (records, rejects)."""
        from pipeline.build import build_shard

        with self._turn:  # a started-again actor loads once, whichever of its two builds comes first
            source, image, sentences = self.source, self.image, self.sentences

        def note(records: int, rejects: int) -> None:
            self._progress[task.name] = (records, rejects)

        try:
            built = build_shard(
                task,
                source,
                split,
                self._views(split),
                image,
                sentences,
                Path(folder),
                self.job.settings,
                note,
                self._turn,
            )
        finally:
            self._progress.pop(task.name, None)
        records = built.shard.records if built.shard else 0
        if records:
            self._records.inc(records, tags={"split": split})
        if built.rejects:
            self._rejects.inc(len(built.rejects), tags={"split": split})
        return records, len(built.rejects)

    def progress(self) -> tuple[int, int]:
        """(records, rejects) of the shards being built."""
        running = list(self._progress.values())
        return sum(records for records, _ in running), sum(rejects for _, rejects in running)

    def _views(self, split: str) -> Any:
        return plugins.build_plugin(plugins.VIEWS, self.job.view_spec(split), "views")
