"""RefCOCOg by the umd splits, or with form=google by Google's; see `pipeline.datasets.refcoco`."""

from __future__ import annotations

from pipeline.datasets.refcoco import family
from pipeline.stocktaking.facts import Dataset


def describe() -> Dataset:
    return family(
        "refcocog",
        "umd",
        "20220413012904",
        "56,712,951 bytes",
        "3d1f7e5b2ff2205940bf59de55f861f5f2cc1403fb980669933a7f9af1aa8211",
    )
