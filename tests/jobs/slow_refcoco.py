"""RefCOCO with a pause per picture, or one that ends its shard: a plug-in from outside the packages."""

from __future__ import annotations

import time
from pathlib import Path

from pipeline.example import Example
from pipeline.sources.refcoco.source import RefcocoSource
from shards.errors import SourceError


class SlowRefcoco(RefcocoSource):
    seconds = 0.0
    broken = ""

    def load(self, split: str, key: str) -> Example:
        if self.broken and key == self.keys(split)[int(self.broken)]:
            raise SourceError(f"{key}: a shared disk is gone")
        time.sleep(self.seconds)
        return super().load(split, key)


def build(root: str, seconds: float = 0.0, broken: str = "") -> SlowRefcoco:
    source = SlowRefcoco(Path(root), "refcoco", "unc", "union")
    source.seconds, source.broken = seconds, broken
    return source
