"""A build's settings, and the object that builds its shards one after the other.

Owns configs/build/*.yaml as dataclasses. Weights, source and annotations are loaded once and at first use. Placement,
dispatch and the manifest are the caller's; what a shard is made of, `pipeline.building.shard`'s.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

from diffusion_perception import places, plugins, settings
from diffusion_perception.actors import check_actors
from diffusion_perception.building.assignment import Assignment, Described, check_assigned, check_held, exact_of
from pipeline.building import environments
from pipeline.building.plan import PlannedShard
from pipeline.building.previous import Previous
from pipeline.building.recipe import BuildSettings, shared_sha256
from pipeline.building.stages import Turns
from pipeline.example import Source
from pipeline.prompts.class_table import ClassTable, PromptSettings, class_table
from shards.errors import ConfigError
from shards.storage.options import check_printable, check_printable_url
from shards.storage.storage import Folder, open_folder

if TYPE_CHECKING:
    from pipeline.building.elsewhere import Elsewhere
    from pipeline.encoders import ImageEncoder, TextEncoder

Plugin = Mapping[str, Any]
SourcePlugin = Annotated[Plugin, plugins.SOURCES]
ViewsPlugin = Annotated[Plugin, plugins.VIEWS]
EncoderPlugin = Annotated[Plugin, plugins.ENCODERS]
CPUS_WITHOUT_GPU = 2  # of an actor that nobody chose a number for
BUILDS_AT_ONCE = 2  # while one shard is hashed and synced, the next is decoded; they take turns at the encoder


@dataclass(frozen=True)
class Resources:
    """What the encoder actors get. A GPU encodes hundreds of images a second; how many CPUs feed it depends on the
    pictures (`jobs.feeding`)."""

    actors: int = 0  # 0: one per GPU of the cluster, or one if it has none
    gpus_per_actor: float = -1  # -1: one if the cluster has GPUs, else none; fractions share a GPU
    cpus_per_actor: float = 0  # CPUs that the scheduler reserves; 0: up to 6 beside a GPU, 2 without
    render_workers: int = 0  # processes of one CPU, on any node, that decode and render; 0: the encoder actors do it
    # What each of them takes of Ray's resources besides its CPU: which nodes they run on, such as {decoding: 1}
    render_resources: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_actors(self, least_cpus=0)
        if type(self.render_workers) is not int or self.render_workers < 0:
            raise ConfigError(f"resources.render_workers is {self.render_workers!r}; expected a number from 0")
        for name, amount in self.render_resources.items():
            if name in ("CPU", "GPU") or not amount > 0:
                raise ConfigError(
                    f"resources.render_resources has {name}: {amount:g}; expected more than 0 of a resource that nodes "
                    "were started with (ray start --resources). A render worker has one CPU and no GPU."
                )


@dataclass(frozen=True)
class BuildJob:
    """configs/build/*.yaml."""

    name: str  # a set is <out>/<name>-<split>
    source: SourcePlugin  # dataset
    splits: tuple[str, ...]  # of the source; a set each
    views: ViewsPlugin  # how pictures are cut and augmented
    image: EncoderPlugin  # image encoder
    text: EncoderPlugin | None = None  # text encoder, for sentences or class prompts
    vision: EncoderPlugin | None = None  # says a vector of every view as a whole, such as vit (ECoDepth's condition)
    prompts: PromptSettings | None = None  # also store a table of the source's class names, encoded
    views_of: Mapping[str, ViewsPlugin] = field(default_factory=dict)  # split -> another view plan than `views`
    out: str = "data/shards"  # folder that every node reaches, or a URL: s3://, gs://, az:// (docs/storage.md)
    storage: Mapping[str, Any] = field(default_factory=dict)  # of a URL: endpoint, region and such, but no secret
    settings: BuildSettings = field(default_factory=BuildSettings)
    resources: Resources = field(default_factory=Resources)

    def __post_init__(self) -> None:
        check_printable(self.storage, "storage")
        check_printable_url(self.out, "out")

    def view_spec(self, split: str) -> Plugin:
        return self.views_of.get(split, self.views)


def placed(job: BuildJob) -> BuildJob:
    """The job with every path and model as all workers find it."""
    return settings.replaced(
        job,
        {
            "out": places.resolve_path(job.out, "out"),
            "source": places.located(job.source, "source"),
            "image": places.located(job.image, "image"),
            "text": places.located(job.text, "text") if job.text else None,
            "vision": places.located(job.vision, "vision") if job.vision else None,
        },
    )


def set_place(job: BuildJob, split: str) -> str:
    """Path or URL of a split's set."""
    return f"{job.out.rstrip('/')}/{job.name}-{split}"


def set_folder(job: BuildJob, split: str) -> Folder:
    """Where a split's set is built. ConfigError for a URL that nothing can be built to."""
    folder = open_folder(set_place(job, split), storage_options=job.storage)
    folder.check_writable()
    return folder


def prompted_names(job: BuildJob, source: Source) -> tuple[str, ...]:
    """The source's class names, if the build encodes them, else none.

    Raises:
        ConfigError: `prompts` is set, and there are no names or no encoder for them.
    """
    if job.prompts is None:
        return ()
    names = tuple(getattr(source, "class_names", ()))
    if not names or job.text is None:
        raise ConfigError(
            f"'prompts' encodes the source's class names with the 'text' encoder; source {job.source['name']} "
            f"has {len(names)} class names and text is {dict(job.text or {})}. Remove 'prompts', or add them."
        )
    return names


class ShardBuilder:
    """Lives as long as the build: weights, source and annotations are loaded once.

    Loading happens at first use and not in the constructor, so that making one costs nothing. `describe`, `build` and
    `progress` may be called from several threads.

    Args:
        job: settings.
        device: e.g. `cpu` or `cuda`.
        source: of the job, if it is open already.
    """

    def __init__(self, job: BuildJob, device: str = "cpu", source: Source | None = None) -> None:
        self.job = job
        if source is not None:
            self.source = source
        self.device = device
        self._loading, self._turns = threading.RLock(), Turns()
        self._progress: dict[str, tuple[int, int]] = {}
        self._described: dict[str, Described] = {}
        self._shared: dict[str, str] = {}
        self._previous: tuple[str, Previous | None] = ("", None)

    @cached_property
    def source(self) -> Source:
        return plugins.build_plugin(plugins.SOURCES, self.job.source, "source")

    @cached_property
    def image(self) -> ImageEncoder:
        return self._encoder(self.job.image, "image")

    @cached_property
    def vision(self) -> ImageEncoder | None:
        return self._encoder(self.job.vision, "vision") if self.job.vision else None

    @cached_property
    def views_encoder(self) -> ImageEncoder:
        """What is shown the views: the image encoder, and `vision` beside it."""
        from pipeline.encoders._beside import beside

        return beside(self.image, self.vision)

    @cached_property
    def text(self) -> TextEncoder | None:
        return self._encoder(self.job.text, "text") if self.job.text else None

    @cached_property
    def sentences(self) -> TextEncoder | None:
        """The text encoder, if the source has sentences to encode."""
        return self.text if self.source.item_axis == "sentence" else None

    @cached_property
    def table(self) -> ClassTable | None:
        """The source's classes, encoded as `prompts` says."""
        names = prompted_names(self.job, self.source)
        if self.job.prompts is None or self.text is None:
            return None
        return class_table(names, self.text, self.job.prompts)

    def load_encoders(self) -> None:
        """Ahead of the first question, in a thread: what the encoders need is loaded while others read the source."""
        with self._loading:
            _ = self.image, self.vision, self.text

    def describe(self, split: str) -> Described:
        """What it would make of a split; made once, so that what it built with and what it says stay the same."""
        with self._loading:
            return self._describe(split)

    def _describe(self, split: str) -> Described:
        from pipeline.building.recipe import recipe_of, schema_of

        if split not in self._described:
            views, settings, table = self._views(split), self.job.settings, self.table
            recipe = recipe_of(self.source, split, views, self.views_encoder, self.sentences, settings, self.vision)
            if table is not None:
                recipe["classes"] = dict(table.info)
            others = {"text": self.text, "vision": self.vision}
            exact = {"image": exact_of(self.image)} | {kind: exact_of(one) for kind, one in others.items() if one}
            schema = schema_of(self.source, views, self.views_encoder, self.sentences, settings).to_json()
            self._described[split] = Described(recipe, environments.here(exact), schema, table)
        return self._described[split]

    def build(self, work: Assignment, planned: PlannedShard, elsewhere: Elsewhere | None = None) -> tuple[int, int]:
        """Build one shard of a set, with records rendered here or elsewhere; (records, examples rejected).

        Raises:
            FingerprintMismatch: this builder would make another set than the driver's, by its files, its weights or
                what computes here. Nothing is written.
            BeingBuilt, ConfigError: the driver does not hold the set, or its folder is another one seen from here.
        """
        from pipeline.building.shard import build_shard

        folder, split = open_folder(work.folder, storage_options=self.job.storage), work.split
        # A started-again actor loads once, whichever of its two builds comes first. Not in a turn, which is the
        # other build's for as long as it encodes: this one is to decode meanwhile.
        with self._loading:
            source, image, sentences = self.source, self.views_encoder, self.sentences
            views, described = self._views(split), self.describe(split)
            shared = self._shared.get(split) or shared_sha256(source, split)
            self._shared[split] = shared
            if work.order.take_over == "set" and self._previous[0] != split:  # the same for all of its shards
                self._previous = (split, work.order.previous(folder, planned.name))
        check_assigned(described, work)
        if work.token:
            check_held(folder, work.token)
        of_set = work.order.take_over == "set"
        previous = self._previous[1] if of_set else work.order.previous(folder, planned.name)

        def note(records: int, rejects: int) -> None:
            self._progress[planned.name] = (records, rejects)

        try:
            built = build_shard(
                planned,
                source,
                split,
                views,
                image,
                sentences,
                work.order.place(folder),
                self.job.settings,
                note,
                self._turns,
                previous,
                shared,
                elsewhere,
            )
        finally:
            self._progress.pop(planned.name, None)
        return (built.shard.records if built.shard else 0), built.examples_rejected

    def progress(self) -> tuple[int, int]:
        """(records, rejects) of the shards being built."""
        running = list(self._progress.values())
        return sum(records for records, _ in running), sum(rejects for _, rejects in running)

    def _encoder(self, spec: Plugin, where: str) -> Any:
        import torch

        if self.device == "cpu":  # before either encoder: each records its threads when it is made
            torch.set_num_threads(max(int(self.job.resources.cpus_per_actor or CPUS_WITHOUT_GPU), 1))
        return plugins.build_plugin(plugins.ENCODERS, spec, where, device=self.device)

    def _views(self, split: str) -> Any:
        return plugins.build_views(self.job.view_spec(split), "views")
