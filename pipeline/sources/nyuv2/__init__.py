"""NYUv2: the source `nyuv2`, in the two forms people have it in."""

from pipeline.sources.nyuv2.classes import CLASS_NAMES
from pipeline.sources.nyuv2.source import Nyuv2Source, build

__all__ = ["CLASS_NAMES", "Nyuv2Source", "build"]
