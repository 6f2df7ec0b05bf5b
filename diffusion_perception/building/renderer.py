"""The object that loads and renders records for a build's encoders, on a node that needs no accelerator.

Source and annotations are loaded once and at first use; neither weights nor torch are. Owns making sure that this node
would render the set that was asked for; placement is the caller's, rendering `pipeline.building.elsewhere`'s.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence

from diffusion_perception import plugins
from diffusion_perception.building.assignment import Assignment, check_renders
from diffusion_perception.building.builder import BuildJob
from pipeline.building import environments
from pipeline.building.elsewhere import Rendered, render_for_others
from pipeline.example import Source
from pipeline.views import ViewPlan


class ShardRenderer:
    """Lives as long as the build. `render` may be called from several threads.

    Args:
        job: settings.
        source: of the job, if it is open already.
    """

    def __init__(self, job: BuildJob, source: Source | None = None) -> None:
        self.job, self.source = job, source
        self._loading = threading.Lock()
        self._plans: dict[str, ViewPlan] = {}

    def render(self, work: Assignment, keys: Sequence[str]) -> list[Rendered]:
        """Records of a split, in the order of their keys; those that cannot be used as their rejects.

        Raises:
            FingerprintMismatch: by this node's files, libraries or revisions it would be another set.
        """
        with self._loading:
            if self.source is None:
                self.source = plugins.build_plugin(plugins.SOURCES, self.job.source, "source")
            source, split = self.source, work.split
            if split not in self._plans:
                plan = plugins.build_views(self.job.view_spec(split), "views")
                recipe = {"source": source.identity(split), "views": plan.identity()}
                check_renders(recipe, environments.here({}), work, socket.gethostname())
                self._plans[split] = plan
        return render_for_others(source, split, self._plans[split], self.job.settings.labels, keys)
