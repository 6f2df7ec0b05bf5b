"""Sentences of rows and what they mean: a row is a picture with its sentences and one target.

Owns how a row's values become an entry. What a target may be is `refer_file.targets`', records and rejects are `refs`'.
Texts and targets of all rows are read at the start, as those of a file are; pictures and masks when they are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.files.readable import Readable
from pipeline.sources.hf_dataset.rows import RowContent, RowFile, Rows, key_of_row
from pipeline.sources.hf_dataset.splits import RowSplits
from pipeline.sources.refer_file.entries import NAMES, TARGETS, sentences_of
from pipeline.sources.refer_file.targets import Coordinates, Target, draw, target_of
from pipeline.sources.refs.content import Collected, Content, RefEntry, RefPicture
from pipeline.sources.refs.masks import BadSegmentation, Rle
from pipeline.sources.refs.pictures import RefPictures
from shards.errors import ConfigError, Reject, SourceError
from shards.geometry.view import Size


class RefRows(RefPictures):
    """A Source (see `pipeline.example`). Thread-safe; pickles as its options."""

    name = "hf_dataset"

    def __init__(self, rows: RowSplits, coordinates: Coordinates, title: str) -> None:
        super().__init__(rows.folders("image", "")[rows.names[0]].images, title)
        self.rows, self.coordinates, self.file_entries = rows, coordinates, rows.file_entries
        self.target = next(kind for kind in TARGETS if kind in rows.columns)
        if self.target == "box" and not coordinates.box_form:
            raise ConfigError(
                "source hf_dataset: say how boxes are written: box_form: xywh (corner and size) or xyxy (two corners)"
            )

    @property
    def splits(self) -> Sequence[str]:  # type: ignore[override]
        return self.rows.names

    def read(self) -> Content:
        collected = {split: self._collected(split) for split in self.splits}
        notices = {split: [*self.rows.notices(split), *pile.notices()] for split, pile in collected.items()}
        return Content({split: pile.pictures() for split, pile in collected.items()}, notices, {})

    def file_of(self, picture: RefPicture) -> Readable:
        split, _, number = picture.file_name.rpartition("/")
        return RowFile(self.rows.rows(split), int(number), "image")

    def files_of(self, split: str, key: str) -> dict[str, RowContent] | None:  # type: ignore[override]
        picture = self.pictures(split).get(key)
        number = picture.file_name.rpartition("/")[2] if picture is not None else ""
        return self.rows.files_of(split, number) if number else None

    def mask_of(self, entry: RefEntry, size_px: Size) -> Rle:
        try:
            return draw(entry.target, size_px, self.folder, self.coordinates)
        except Reject as reject:  # a mask of the row that is no file
            raise BadSegmentation(str(reject)) from reject

    def identity(self, split: str) -> dict[str, Any]:
        told = {"box_form": self.coordinates.box_form, "units": self.coordinates.units}
        return {**self.rows.identity(split), **told}

    def card(self) -> dict[str, Any]:
        return self.rows.card(self.title)

    def _collected(self, split: str) -> Collected:
        pile, chosen, rows = Collected(), set(self.rows.indices(split)), self.rows.rows(split)
        one_mask = self.target == "mask" and getattr(rows.feature("mask"), "feature", None) is None
        for row in rows.without("image", *(("mask",) if one_mask else ())):
            index = row["index"]
            if index not in chosen:
                continue
            name, file = f"row {index}", f"{split}/{key_of_row(index)}"
            try:
                sentences, faults = sentences_of({"sentences": _listed(row["sentences"])}, NAMES, name)
                target = self._masks(rows, index, row) if self.target == "mask" else self._drawn(row, name)
            except SourceError as error:
                pile.fault(file, str(error))
                continue
            if not target.parts:
                pile.note("rows have no target; their masks are empty", name)
            picture = pile.picture(file)
            picture.faults += faults
            picture.refs.append(RefEntry(name, tuple(sentences), target, {"entry": name}))
        return pile

    def _drawn(self, row: Mapping[str, Any], name: str) -> Target:
        return target_of(self.target, _plain(row[self.target]), name)

    def _masks(self, rows: Rows, index: int, row: Mapping[str, Any]) -> Target:
        """One mask, which is not read before it is drawn, or a list of them. SourceError: no list."""
        if "mask" not in row:
            return Target("mask", (RowFile(rows, index, "mask"),))
        if row["mask"] is None:
            raise SourceError(f"row {index}: has no mask; an empty list stands for nothing in the picture")
        return Target("mask", tuple(RowFile(rows, index, "mask", place) for place in range(len(row["mask"]))))


def _listed(value: Any) -> Any:
    """Sentences that lie in a list of objects are their text: COCO's captions and RefCOCO's sentences do."""
    if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        return [next((one[key] for key in ("raw", "sent", "text", "caption") if key in one), None) for one in value]
    return value


def _plain(value: Any) -> Any:
    """Sequences as lists, and no value as no list: the refusal of `target_of` then says what is there."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    is_list = hasattr(value, "__iter__") and not isinstance(value, str | bytes)
    return [_plain(one) for one in value] if is_list else value
