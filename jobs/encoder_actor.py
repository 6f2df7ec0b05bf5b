"""The Ray actor that encodes for a build: one long-lived process per accelerator, with Ray's metrics.

Everything it does is `diffusion_perception.building.builder`'s; placement and dispatch are `jobs.build_shards`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Any

from diffusion_perception import settings
from diffusion_perception.building.assignment import Assignment, Described
from diffusion_perception.building.builder import BuildJob, ShardBuilder
from jobs.for_good import for_good
from jobs.render_crew import RenderCrew
from pipeline.building.plan import PlannedShard
from pipeline.example import Source


class EncoderActor:
    """Lives as long as the job. Nothing is loaded in the constructor, because Ray gives a constructor's error no
    cause.

    Args:
        renderers: names of the actors that render for it, looked for when the first shard is built.
    """

    def __init__(self, plain: dict[str, Any], device: str, renderers: Sequence[str] = ()) -> None:
        from ray.util.metrics import Counter

        self._renderers, self._one_crew = renderers, Lock()
        self._crew: RenderCrew | None = None
        self._builder = ShardBuilder(settings.bind(BuildJob, plain), device)
        self._records = Counter("shards_records_built", description="records written to shards", tag_keys=("split",))
        self._rejects = Counter("shards_records_rejected", description="examples left out", tag_keys=("split",))

    def load_encoders(self) -> None:
        """While the source is on its way. What fails here fails again where it is asked for, and is said then."""
        with suppress(Exception), for_good():
            self._builder.load_encoders()

    def take(self, source: Source) -> None:
        """The source as the driver has read it. No argument of the constructor, which Ray would need again: an actor
        that starts anew reads the files itself."""
        with for_good():
            self._builder.source = source

    def describe(self, split: str) -> Described:
        """What it would make of a split."""
        return self._builder.describe(split)

    def build(self, work: Assignment, planned: PlannedShard) -> tuple[int, int]:
        """Build one shard; (records, rejects)."""
        elsewhere = partial(self._render_crew().rendered, work) if self._renderers else None
        records, rejects = self._builder.build(work, planned, elsewhere)
        if records:
            self._records.inc(records, tags={"split": work.split})
        if rejects:
            self._rejects.inc(rejects, tags={"split": work.split})
        return records, rejects

    def progress(self) -> tuple[int, int]:
        """(records, rejects) of the shards being built."""
        return self._builder.progress()

    def _render_crew(self) -> RenderCrew:
        import ray

        with self._one_crew:  # shards are built by several threads
            self._crew = self._crew or RenderCrew([ray.get_actor(name) for name in self._renderers])
            return self._crew
