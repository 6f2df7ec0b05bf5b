"""A set against the source of the configuration that it was built by: the settings bound, then looked at.

Owns which plug-ins are made: the source and the view plan of the set's split, no encoder. What is compared is
`pipeline.building.against_source`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusion_perception import plugins, settings
from diffusion_perception.building.builder import BuildJob, placed
from pipeline.building.against_source import Standing, against_source
from shards.contract.manifest import Manifest
from shards.storage.options import StorageOptions


def compare_with_source(
    place: str | Path,
    configuration: str | Path | Mapping[str, Any],
    *,
    sample: int = 0,
    seed: int = 0,
    quick: bool = False,
    storage_options: StorageOptions | None = None,
) -> Standing:
    """How the set at a folder or URL stands to its source; arguments as of `against_source`.

    Args:
        configuration: of a build, a YAML file or its settings; where it builds to, and with which encoders, is not
            looked at.

    Raises:
        ConfigError: the configuration cannot be read, or names no such source or views.
        SourceError: the source has not got the set's split.
    """
    plain = dict(configuration) if isinstance(configuration, Mapping) else settings.read_file(configuration)
    job = placed(settings.bind(BuildJob, plain))
    split = Manifest.load(place, storage_options).split
    plan = plugins.build_views(job.view_spec(split), "views")
    source = plugins.build_plugin(plugins.SOURCES, job.source, "source")
    return against_source(place, source, plan, sample=sample, seed=seed, quick=quick, storage_options=storage_options)
