"""Segmentation and depth of rows: the sources of folders, with rows in place of files.

Owns nothing but where they come from: records, checks, notices and rejects are `pairs.labels`' and `depth_folders`'.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pipeline.files.photos import Orientation
from pipeline.sources.depth_folders.meaning import Meaning
from pipeline.sources.depth_folders.sizes import Layout
from pipeline.sources.depth_folders.source import DepthFoldersSource
from pipeline.sources.depth_folders.survey import survey as depth_survey
from pipeline.sources.hf_dataset.rows import RowContent
from pipeline.sources.hf_dataset.splits import RowSplits
from pipeline.sources.pairs.codings import Declared
from pipeline.sources.pairs.label_survey import survey as label_survey
from pipeline.sources.pairs.labels import LabelPairs
from pipeline.sources.pairs.matching import Listing


class SegmentationRows(LabelPairs):
    """A Source (see `pipeline.example`). Thread-safe; pickles as its options."""

    name = "hf_dataset"

    def __init__(self, rows: RowSplits, meaning: Declared, orientation: Orientation, title: str) -> None:
        super().__init__(rows.folders("label", ".png"), meaning.names, meaning.read, orientation)
        self.rows, self.meaning, self.title, self.caution = rows, meaning, title, meaning.caution
        self.file_entries = rows.file_entries

    def list_split(self, split: str) -> Listing:
        return self.rows.listing(split, "label")

    def files_of(self, split: str, key: str) -> dict[str, RowContent] | None:  # type: ignore[override]
        return self.rows.files_of(split, key)

    def notices(self, split: str) -> list[str]:
        listing, folders = self.rows.looked_at(self.listing(split)), self.folders[split]
        found = label_survey(split, listing, folders, self.class_names, self.read, self.caution)
        return [*self.rows.notices(split), *found]

    def identity(self, split: str) -> dict[str, Any]:
        names = {"classes_sha256": hashlib.sha256(json.dumps(self.class_names).encode()).hexdigest()}
        turned = {"orientation": self.orientation} if self.orientation != "upright" else {}
        return {**self.rows.identity(split), **self.meaning.identity, **names, **turned}

    def card(self) -> dict[str, Any]:
        return self.rows.card(self.title)


class DepthRows(DepthFoldersSource):
    """A Source (see `pipeline.example`). Thread-safe; pickles as its options."""

    name = "hf_dataset"

    def __init__(
        self, rows: RowSplits, meaning: Meaning, layout: Layout, class_names: tuple[str, ...], title: str
    ) -> None:
        super().__init__(rows.folders("depth", rows.suffix_of("depth")), meaning, layout, class_names, None, title)
        self.rows, self.file_entries = rows, rows.file_entries

    def list_split(self, split: str) -> Listing:
        return self.rows.listing(split, "depth")

    def files_of(self, split: str, key: str) -> dict[str, RowContent] | None:  # type: ignore[override]
        return self.rows.files_of(split, key)

    def notices(self, split: str) -> list[str]:
        listing = self.rows.looked_at(self.listing(split))
        found = depth_survey(split, listing, self.folders[split], self.meaning, self._numbers)
        return [*self.rows.notices(split), *found]

    def identity(self, split: str) -> dict[str, Any]:
        names = hashlib.sha256(json.dumps(self.class_names).encode()).hexdigest()
        meaning = {**asdict(self.meaning), "invalid": list(self.meaning.invalid)}
        said: Mapping[str, Any] = {"meaning": meaning, "layout": asdict(self.layout), "classes_sha256": names}
        return {**self.rows.identity(split), **said}

    def card(self) -> dict[str, Any]:
        return self.rows.card(self.title)
