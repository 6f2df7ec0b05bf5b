"""RefCOCO with a pause per picture: a plug-in from outside the packages, named by its dotted module."""

from __future__ import annotations

import time
from pathlib import Path

from pipeline.example import Example
from pipeline.sources.refcoco.source import RefcocoSource


class SlowRefcoco(RefcocoSource):
    seconds = 0.0

    def load(self, split: str, key: str) -> Example:
        time.sleep(self.seconds)
        return super().load(split, key)


def build(root: str, seconds: float = 0.0) -> SlowRefcoco:
    source = SlowRefcoco(Path(root), "refcoco", "unc", "union")
    source.seconds = seconds
    return source
