"""Pictures of rows, with or without captions."""

from __future__ import annotations

from typing import Any

from pipeline.example import Example, Source
from pipeline.files.photos import load_picture
from pipeline.reopened import Reopened
from pipeline.sources.hf_dataset.rows import RowContent, RowFile, key_of_row
from pipeline.sources.hf_dataset.splits import RowSplits
from shards.contract.schema import Field
from shards.errors import Reject, SourceError


class PictureRows(Reopened, Source):
    """Thread-safe; pickles as its options.

    Args:
        missing_caption: a row without one is a `reject`, or has an `empty` one.
    """

    name = "hf_dataset"
    label_fields: tuple[Field, ...] = ()

    def __init__(self, rows: RowSplits, missing_caption: str, title: str) -> None:
        self.rows, self.missing_caption, self.title = rows, missing_caption, title
        self.splits = rows.names
        self.captions, self.file_entries = "caption" in rows.columns, rows.file_entries
        self.item_axis = "sentence" if self.captions else "view"

    def keys(self, split: str) -> list[str]:
        return [key_of_row(index) for index in self.rows.indices(split)]

    def counts(self, split: str) -> dict[str, int]:
        count = len(self.rows.indices(split))
        return {"images": count, "refs": count, "sentences": count} if self.captions else {"images": count}

    def load(self, split: str, key: str) -> Example:
        """Reject: the picture cannot be read, or has no caption."""
        rows = self.rows.rows(split)
        if not key.isdecimal() or int(key) >= len(rows):
            raise SourceError(f"split {split} has no row {key!r}")
        file = RowFile(rows, int(key), "image")
        picture = load_picture(file)
        meta = {"file_name": str(file), "height": picture.height, "width": picture.width}
        if not self.captions:
            return Example(key, picture, meta)
        sentences = self._captions(rows.value(int(key), "caption"), f"row {int(key)}")
        return Example(key, picture, meta, sentences, ((0, len(sentences)),))

    def files_of(self, split: str, key: str) -> dict[str, RowContent] | None:
        return self.rows.files_of(split, key)

    def notices(self, split: str) -> list[str]:
        return self.rows.notices(split)

    def identity(self, split: str) -> dict[str, Any]:
        return {**self.rows.identity(split), "missing_caption": self.missing_caption}

    def card(self) -> dict[str, Any]:
        return self.rows.card(self.title)

    def _captions(self, value: Any, name: str) -> tuple[str, ...]:
        texts = value if isinstance(value, list) else [value]
        if not all(one is None or isinstance(one, str) for one in texts):
            raise Reject(f"{name}: its caption is {str(value)[:80]}; expected text, or a list of texts")
        found = tuple(" ".join(one.split()) for one in texts if one and one.strip())
        if found or self.missing_caption == "empty":
            return found or ("",)
        raise Reject(f"{name} has no caption; missing_caption: empty keeps such rows with an empty one")
