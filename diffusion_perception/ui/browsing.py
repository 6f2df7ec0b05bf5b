"""The records of a set for the page, one at a time, as `set inspect` draws them, found by number or by key."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image

from diffusion_perception.set_page import PictureOptions, shown
from pipeline.inspection.markup import swatch
from pipeline.set_page.drawing import draw_record
from shards.errors import ConfigError
from shards.reading.reader import ShardSet

MOST_KEYS = 50
_LONG = 40  # entries of a list in meta that are shown


@dataclass(frozen=True)
class Shown:
    """A record: what the encoder saw and the same with its labels, uint8 [H, W, 3], HTML about both, and its meta."""

    number: int
    picture: np.ndarray
    overlay: np.ndarray
    caption: str
    meta: Mapping[str, Any]


class Browsing:
    """An opened set; of a URL it is read by ranges.

    Raises:
        ContractError: no finished set there, or a damaged one.
    """

    def __init__(self, place: str, pictures: PictureOptions, storage: Mapping[str, Any] | None = None) -> None:
        self.shards = ShardSet.open(place, by_range="://" in place, storage_options=storage or None)
        if not self.shards.n_records:
            raise ConfigError(f"{place}: the set has no records, so there is nothing to show.")
        self._show, how, self._notes = shown(self.shards, pictures)
        self.how = f"{self.shards.manifest.name}, {self.shards.n_records:,} records. {how}"

    def found(self, text: str) -> list[str]:
        """Keys that have a text in them, in any case, the first of them; of a large set no more than these are read."""
        wanted = text.strip().lower()
        return list(islice(filter(lambda key: wanted in key.lower(), self.shards.paged.keys()), MOST_KEYS))

    def number_of(self, key: str) -> int:
        """Raises ConfigError: no such key."""
        for number, known in enumerate(self.shards.paged.keys()):
            if known == key:
                return number
        raise ConfigError(f"{key}: no key of this set, whose first is {self.shards.paged.key(0)}.")

    def record(self, number: int) -> Shown:
        """A record by its number; beyond either end, the one there.

        Raises:
            CorruptShard: its bytes are damaged.
        """
        number = min(max(int(number), 0), self.shards.n_records - 1)
        record = self.shards.record(number)
        drawing = draw_record(record, self._show(record))
        lines = [f"<b>{escape(drawing.key)}</b>, record {number} of 0 to {self.shards.n_records - 1}"]
        lines += [f"{swatch(colour) if colour else ''} {escape(text)}" for text, colour in drawing.texts]
        lines += [f"<i>{escape(note)}</i>" for note in self._notes]
        return Shown(
            number, _pixels(drawing.picture), _pixels(drawing.overlay), "<br>".join(lines), _short(record.meta)
        )


def _pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def _short(value: Any) -> Any:
    """Meta without the middle of long lists and texts, such as masks."""
    if isinstance(value, Mapping):
        return {key: _short(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [*map(_short, value[:_LONG]), *([f"... {len(value):,} in all"] if len(value) > _LONG else [])]
    if isinstance(value, str) and len(value) > 200:
        return f"{value[:200]}... ({len(value):,} characters)"
    return value
