"""The numbers of a set: counts and bytes of all of it, by manifest and indexes; latents, sizes and sentences of records
that are drawn evenly, since they have to be read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from shards.contract.manifest import Manifest
from shards.reading.reader import ShardSet
from shards.writing.writer import read_rejects

LATENT = "latent"
BINS = 48
_CLIPPED = 0.001  # share of values at either end that the outermost bins hold


@dataclass(frozen=True)
class Histogram:
    """Counts between `low` and `high`; what lies beyond is in the outermost bins."""

    name: str
    low: float
    high: float
    counts: tuple[int, ...]
    mean: float
    std: float
    largest: float  # magnitude


@dataclass
class Survey:
    """What is known of a set."""

    manifest: Manifest
    looked_at: int  # records that were read
    field_bytes: list[tuple[str, int]] = field(default_factory=list)
    record_bytes: Histogram | None = None
    latents: list[Histogram] = field(default_factory=list)  # one a channel
    sizes_px: Counter[tuple[int, int]] = field(default_factory=Counter)
    words: Counter[int] = field(default_factory=Counter)  # sentences by their number of words
    rejects: list[tuple[str, str]] = field(default_factory=list)  # key, reason


def spread(count: int, wanted: int) -> list[int]:
    """Some numbers of 0 .. count - 1, evenly, the first and the last among them."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, wanted))}) if count else []


def survey(
    shards: ShardSet, records: Sequence[int], report: Callable[[int, int], None] = lambda done, total: None
) -> Survey:
    """Look at a set; `records` are those that are read."""
    found = Survey(shards.manifest, len(records))
    lengths = np.zeros(shards.n_records, np.int64)
    for known in shards.schema.fields:
        length = shards.index.fields[known.name].length
        found.field_bytes.append((known.name, int(length.sum())))
        lengths += length
    if lengths.size:
        found.record_bytes = _histogram("bytes of a record", lengths.astype(np.float64))
    values = []
    has_latents = any(known.name == LATENT and known.codec == "npy" for known in shards.schema.fields)
    for done, number in enumerate(records, 1):
        record = shards.record(number)
        meta = record.meta
        if {"height", "width"} <= meta.keys():
            found.sizes_px[meta["height"], meta["width"]] += 1
        found.words.update(len(str(sentence).split()) for sentence in meta.get("sentences", ()))
        if has_latents:
            latent = record.array(LATENT).astype(np.float32)  # [V, C, h, w]
            values.append(np.moveaxis(latent, 1, 0).reshape(latent.shape[1], -1))
        report(done, len(records))
    if values:
        channels = np.concatenate(values, axis=1)  # [C, all pixels of all views]
        found.latents = [_histogram(f"channel {number}", channel) for number, channel in enumerate(channels)]
    found.rejects = [(str(line.get("key", "")), str(line.get("reason", ""))) for line in read_rejects(shards.folder)]
    return found


def _histogram(name: str, values: np.ndarray) -> Histogram:
    low, high = (float(edge) for edge in np.quantile(values, (_CLIPPED, 1 - _CLIPPED)))
    high = high if high > low else low + 1
    counts, _ = np.histogram(np.clip(values, low, high), BINS, (low, high))
    return Histogram(
        name, low, high, tuple(counts.tolist()), float(values.mean()), float(values.std()), float(np.abs(values).max())
    )
