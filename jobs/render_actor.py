"""The Ray actor that decodes and renders for a build's encoders, on one CPU, with Ray's metrics.

Everything it does is `diffusion_perception.building.renderer`'s; who asks it for what is `jobs.render_crew`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffusion_perception import settings
from diffusion_perception.building.assignment import Assignment
from diffusion_perception.building.builder import BuildJob
from diffusion_perception.building.renderer import ShardRenderer
from pipeline.building.elsewhere import Rendered
from pipeline.example import Source


class RenderActor:
    """Lives as long as the job. Nothing is read in the constructor, since Ray gives a constructor's error no cause."""

    def __init__(self, plain: dict[str, Any]) -> None:
        from ray.util.metrics import Counter

        self._renderer = ShardRenderer(settings.bind(BuildJob, plain))
        self._records = Counter(
            "shards_records_rendered", description="records rendered for encoders elsewhere", tag_keys=("split",)
        )

    def ready(self) -> None:
        """Answered once it runs."""

    def take(self, source: Source) -> None:
        """The source as the driver has read it; one that starts anew reads the files itself."""
        self._renderer.source = source

    def render(self, work: Assignment, keys: Sequence[str]) -> list[Rendered]:
        """Some records of a split."""
        made = self._renderer.render(work, keys)
        self._records.inc(len(made), tags={"split": work.split})
        return made
