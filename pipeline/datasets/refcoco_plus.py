"""RefCOCO+, whose sentences have no words of place; see `pipeline.datasets.refcoco`."""

from __future__ import annotations

from pipeline.datasets.refcoco import family
from pipeline.stocktaking.facts import Dataset


def describe() -> Dataset:
    return family(
        "refcoco+",
        "unc",
        "20220413011656",
        "45,613,210 bytes",
        "5f1238112d63199e68da54a28f201471909b21ded7ed79a57d51b4c1443c6b45",
    )
