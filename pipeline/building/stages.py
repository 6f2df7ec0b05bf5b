"""The stages between a key and a record: render, batch, encode, assemble. Each works in the order of the keys.

Owns what an example is on its way and the fixed-shape batches; `shard` decides which thread runs which stage, and
`shards.writing.writer` takes the records. A Reject travels along as a Rejected in its example's place, and a record
of an earlier build that has not changed as a Kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from threading import Lock
from typing import Any

import numpy as np

from pipeline.building.ledger import Rejected
from pipeline.building.recipe import BuildSettings
from pipeline.building.text_states import TextStates
from pipeline.encoders import ImageEncoder, LevelEncoder, Levels, TextEncoder
from pipeline.example import Source
from pipeline.rendering.geometry import place_on, render, to_pixels
from pipeline.views import ViewPlan, consecutive, view_runs
from shards.contract.npy import is_finite
from shards.contract.origins import content_hasher
from shards.contract.schema import PackedRecord, Record
from shards.errors import Reject
from shards.geometry.view import Size, View


@dataclass
class RenderedExample:
    """An Example on its way: the image is gone, its rendered views wait for the encoder, then for each other."""

    key: str
    meta: dict[str, Any]
    sentences: tuple[str, ...]
    items: tuple[tuple[int, int], ...]
    labels: Mapping[str, np.ndarray | bytes]
    views: list[View]
    images: list[np.ndarray]  # uint8 [h, w, 3] each
    left_out: tuple[str, ...] = ()  # why entries of the example are not in it
    tokens: np.ndarray | None = None  # int32 [S, L]
    cut_sentences: int = 0
    shown: str = ""  # hash of `images` and what is padded around them: what the encoder is shown
    known: Mapping[str, np.ndarray] = field(default_factory=dict)  # fields of an earlier record that may be the same
    is_encoded: bool = False  # the encoder was shown the same for `known`


@dataclass(frozen=True)
class Kept:
    """A record of an earlier build that nothing has changed of, as it was packed then."""

    record: PackedRecord
    left_out: tuple[str, ...]
    cut_sentences: int


Outcome = RenderedExample | Rejected | Kept


@dataclass
class EncoderBatch:
    """`filled` rows of `pixels` are images. `complete` examples, in order, have their last view here or earlier."""

    pixels: np.ndarray | Levels  # float32 [B, 3, h, w], or levels for an encoder that takes them
    filled: int = 0
    complete: list[Outcome] = field(default_factory=list)

    def put(self, image: np.ndarray, size_px: Size, corner_px: Size) -> None:
        """An image uint8 [h, w, 3], into the next row."""
        if isinstance(self.pixels, Levels):
            y0, x0, y1, x1 = shown_px = place_on(size_px, image, corner_px)
            self.pixels.values[self.filled, y0:y1, x0:x1] = image
            self.pixels.shown_px.append(shown_px)
        else:
            row = self.pixels[self.filled : self.filled + 1]
            to_pixels([image], size_px, out=row, pad_before_px=[corner_px])
        self.filled += 1


@dataclass(frozen=True)
class EncodedExample:
    """An example whose arrays exist: one row of every encoded field for each view, and where its text states are."""

    example: RenderedExample
    rows: list[dict[str, np.ndarray]]
    states: TextStates | None


def rendered(source: Source, split: str, view_plan: ViewPlan, key: str) -> RenderedExample | Rejected:
    """Load, choose views, render; runs in any thread."""
    try:
        example = source.load(split, key)
        size_px = (example.height_px, example.width_px)
        runs = view_runs(view_plan, key, size_px, example.boxes_px, example.labels)
        views = [view for run in runs for view in run]
        images = [render(example.picture, view, example.labels) for view in views]
    except Reject as reject:
        return Rejected(key, str(reject))
    items = example.items or consecutive([len(run) for run in runs])
    return RenderedExample(
        key,
        example.meta,
        example.sentences,
        items,
        example.labels,
        views,
        images,
        example.left_out,
        shown=_shown(views, images),
    )


def _shown(views: Sequence[View], images: Sequence[np.ndarray]) -> str:
    """Hash of everything that `to_pixels` reads."""
    digest = content_hasher()
    for view, image in zip(views, images, strict=True):
        digest.update(f"{image.shape} {view.size_px} {view.pad_before_px}\n".encode())
        digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def batches_of(
    examples: Iterable[Outcome],
    vae: ImageEncoder,
    text: TextEncoder | None,
    size_px: Size,
    settings: BuildSettings,
) -> Generator[EncoderBatch, None, None]:
    """Views in full batches; the last one is padded with zeros, so that the encoder only ever sees one shape."""
    size, (h, w) = settings.image_batch, size_px

    def empty() -> EncoderBatch:
        if isinstance(vae, LevelEncoder):
            return EncoderBatch(Levels(vae.allocate_levels((size, h, w, 3))))
        return EncoderBatch(vae.allocate((size, 3, h, w)))

    batch = empty()
    for example in examples:
        if isinstance(example, RenderedExample):
            if text is not None:
                sentences = list(example.sentences)
                example.tokens, example.cut_sentences = text.tokenize(sentences), text.cut(sentences)
            to_encode = [] if example.is_encoded else list(zip(example.images, example.views, strict=True))
            for image, view in to_encode:
                if batch.filled == size:
                    yield batch
                    batch = empty()
                batch.put(image, size_px, view.pad_before_px)
            example.images = []
        batch.complete.append(example)
    if not isinstance(batch.pixels, Levels):
        batch.pixels[batch.filled :] = 0.0
    yield batch


class Turns:
    """What shards that are built at the same time with the same encoders have in common: they fill their first batches
    one after the other, since an encoder waits half as long for one as for two, and encode one after the other."""

    def __init__(self) -> None:
        self.filling, self.encoding = Lock(), Lock()


def encode(
    batches: Iterator[EncoderBatch], vae: ImageEncoder, text: TextEncoder | None, settings: BuildSettings, turns: Turns
) -> Generator[EncodedExample | Rejected | Kept, None, None]:
    """What the encoders make of each example, as far as nothing known says it. Examples wait here until their
    sentences' batch is full.

    The turn at the encoders lasts from the first batch to the last.
    """
    states = TextStates(text, settings.text_batch) if text is not None and settings.text == "states" else None
    rows: deque[dict[str, np.ndarray]] = deque()  # encoded views that belong to no example yet
    waiting: deque[EncodedExample | Rejected | Kept] = deque()
    with turns.filling:
        first = next(batches)  # before the turn, so that decoding is under way when it comes
    with turns.encoding:
        for batch in chain([first], batches):
            if batch.filled:
                arrays = _encoded(vae, batch.pixels)
                rows.extend({name: array[row] for name, array in arrays.items()} for row in range(batch.filled))
            for example in batch.complete:
                if not isinstance(example, RenderedExample):
                    waiting.append(example)
                    continue
                if states is not None and example.tokens is not None:
                    states.learn(example.known)
                    states.ask(example.tokens)
                waiting.append(EncodedExample(example, _rows_of(example, vae, rows), states))
            while waiting and _is_ready(waiting[0]):
                yield waiting.popleft()
        if states is not None:
            states.flush()
    yield from waiting


def _encoded(vae: ImageEncoder, pixels: np.ndarray | Levels) -> dict[str, np.ndarray]:
    if isinstance(pixels, Levels):
        assert isinstance(vae, LevelEncoder)
        return vae.encode_levels(pixels)
    return vae.encode(pixels)


def _rows_of(
    example: RenderedExample, vae: ImageEncoder, encoded: deque[dict[str, np.ndarray]]
) -> list[dict[str, np.ndarray]]:
    """A row of every encoded field for each view: as stored before, or the next that were encoded."""
    if not example.is_encoded:
        return [encoded.popleft() for _ in example.views]
    names = [field.name for field in vae.fields(example.views[0].size_px)]
    return [{name: example.known[name][row] for name in names} for row in range(len(example.views))]


def record_of(encoded: EncodedExample, key_characters: int) -> Record | Rejected:
    """The record of an encoded example; a reject if something is not finite in the dtype it is stored in, or its key
    is longer than a record's can be."""
    example, rows = encoded.example, encoded.rows
    values: dict[str, Any] = {name: np.stack([row[name] for row in rows]) for name in rows[0]}  # [V, ...] each
    if example.tokens is not None:
        values["tokens"] = example.tokens
        if encoded.states is not None:
            values["text"] = encoded.states.of(example.tokens)
    for name, array in values.items():
        if not is_finite(array):
            problem = "NaN" if np.isnan(array).any() else f"a value beyond the range of {array.dtype}"
            return Rejected(example.key, f"{name} of {example.key} holds {problem} after encoding")
    if len(example.key) > key_characters:
        return Rejected(
            example.key,
            f"its key, which is made of its name, has {len(example.key)} characters (one beyond ASCII counts for three "
            f"to twelve); a record's can have {key_characters}: give it a shorter name, or fewer folders",
        )
    return Record(example.key, {**values, **example.labels, "meta": meta_of(example)})


def meta_of(example: RenderedExample) -> dict[str, Any]:
    """What a record says of itself."""
    meta = {
        **example.meta,
        "items": [list(run) for run in example.items],
        "views": [view.to_json() for view in example.views],
    }
    if example.sentences:
        meta["sentences"] = list(example.sentences)
    return meta


def _is_ready(entry: EncodedExample | Rejected | Kept) -> bool:
    if not isinstance(entry, EncodedExample) or entry.states is None or entry.example.tokens is None:
        return True
    return entry.states.knows(entry.example.tokens)
