"""Which shard holds which keys, what is left to do, and what it will cost. Nothing here reads an image or a model.

The plan is a function of the source's keys, the records per shard and the set's name; it is the same on every machine
and after every restart. A shard is the unit of work, of retry and of resume (docs/methods/shards.md#unit-of-work).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipeline.building.ledger import Place, read_finished, read_manifest
from pipeline.building.recipe import TEXT_MODES
from shards.contract.manifest import ShardEntry
from shards.contract.parts import keys_sha256
from shards.contract.schema import Field
from shards.errors import ConfigError, CorruptShard, IncompleteSet, SourceError
from shards.storage.storage import Folder, open_folder
from shards.writing.writer import check_shard

# One H200, SD 1.5 encoder at 512 x 512. Estimates from operation counts: docs/methods/performance.md#encoder-speed.
GPU_IMAGES_PER_S = {"float16": (280, 400), "tf32": (150, 200)}

_LOOKS_AT_ONCE = 8
_MEMBER_OVERHEAD_BYTES = 512 + 128 + 256  # tar header, npy header, half a block of padding
_META_BYTES_PER_REF = 1000  # one RLE mask and its ids, about
_META_BYTES_PER_VIEW = 300  # a View record


@dataclass(frozen=True)
class PlannedShard:
    """One shard to build: small and picklable, this is what travels to a worker."""

    name: str
    index: int
    keys: tuple[str, ...]

    @property
    def keys_sha256(self) -> str:
        return keys_sha256(self.keys)


def plan_shards(keys: Sequence[str], records_per_shard: int, set_name: str) -> list[PlannedShard]:
    """Consecutive runs of keys, in the source's order. Raises SourceError for no keys or a key that comes twice."""
    if not keys:
        raise SourceError(f"{set_name}: the source has no keys in this split; check its folder and the split's name")
    if len(set(keys)) != len(keys):
        twice = next(key for key, times in Counter(keys).items() if times > 1)
        raise SourceError(f"{set_name}: key {twice!r} comes twice in the source; keys must be unique")
    starts = range(0, len(keys), records_per_shard)
    return [
        PlannedShard(f"{set_name}-{index:06d}", index, tuple(keys[start : start + records_per_shard]))
        for index, start in enumerate(starts)
    ]


def remaining(planned: Sequence[PlannedShard], place: Place) -> list[PlannedShard]:
    """Tasks whose shard is absent, was built from other keys, or is not in its place as recorded.

    Sizes and index hashes are compared, tar hashes are not: `shards.verify` reads every byte when asked to.
    """
    folder = open_folder(place)
    manifest = read_manifest(folder)
    # A shard the manifest does not name had no usable example: finished sets hold no empty shards.
    named = None if manifest is None else {shard.name: shard for shard in manifest.shards}

    def is_done(shard: PlannedShard) -> bool:
        if named is not None:
            return shard.name not in named or is_in_place(named[shard.name], folder)
        finished = read_finished(folder, shard.name)
        if finished is None or finished.keys_sha256 != shard.keys_sha256:
            return False
        return finished.shard is None or is_in_place(finished.shard, folder)

    with ThreadPoolExecutor(_LOOKS_AT_ONCE) as pool:  # a store takes a round trip for each
        return [shard for shard, done in zip(planned, pool.map(is_done, planned), strict=True) if not done]


def is_in_place(shard: ShardEntry, folder: Folder) -> bool:
    """Whether a shard's files have the recorded size and the index its hash."""
    try:
        check_shard(folder, shard)
    except (IncompleteSet, CorruptShard):
        return False
    return True


@dataclass(frozen=True)
class Estimate:
    """What a build will take, from counts alone. `text_bytes` has an entry per text mode; `total_bytes` uses `text`.
    `assumed` says what of the encoders nothing at hand said."""

    records: int
    items: int
    views: int
    sentences: int
    shards: int
    latent_bytes: int
    text_bytes: dict[str, int]
    other_bytes: int
    text: str
    gpu_s: dict[str, tuple[float, float]]
    assumed: tuple[str, ...] = ()

    @property
    def total_bytes(self) -> int:
        return self.latent_bytes + self.text_bytes[self.text] + self.other_bytes

    def lines(self) -> list[str]:
        """For a person, before the build starts."""
        text = ", ".join(
            f"{size_text(amount)} as {mode}{' (chosen)' if mode == self.text else ''}"
            for mode, amount in self.text_bytes.items()
        )
        times = ", ".join(f"{low:,.0f}-{high:,.0f} s in {dtype}" for dtype, (low, high) in self.gpu_s.items())
        return [
            f"{self.records:,} records, {self.items:,} items, {self.views:,} views, {self.sentences:,} sentences "
            f"in {self.shards:,} shards",
            f"latents {size_text(self.latent_bytes)}; text {text}; meta and tar {size_text(self.other_bytes)}",
            f"total {size_text(self.total_bytes)}, without dense labels",
            f"image encoding on one H200, estimated from operation counts: {times}",
            *(f"assumed: {what}" for what in self.assumed),
        ]


def estimate(
    counts: Mapping[str, int],
    *,
    view_fields: Sequence[Field],
    view_size_px: tuple[int, int],
    views_per_image: int,
    text_length: int = 0,
    text_width: int = 0,
    text: str = "states",
    records_per_shard: int = 512,
    assumed: Sequence[str] = (),
) -> Estimate:
    """Sizes and times of a build. `counts` is a source's ("images", and where they exist "refs", "sentences", "boxes");
    `view_fields` an image encoder's, `assumed` what is not known of either encoder. Dense labels are not counted: their
    size depends on the pictures."""
    if text not in TEXT_MODES:
        raise ConfigError(f"estimate: text is {text!r}, expected one of {', '.join(TEXT_MODES)}")
    records, sentences = counts["images"], counts.get("sentences", 0)
    shown = counts.get("boxes", records)  # an image, or each of its boxes, is shown
    views = shown * views_per_image
    items = counts.get("refs", shown)  # without sentences, what is shown is one item that owns its views
    token_bytes = sentences * text_length * 4  # int32
    state_bytes = sentences * text_length * text_width * 2  # float16
    members = len(view_fields) + 1 + (0 if not sentences else 2 if text == "states" else 1)
    relative_pixels = view_size_px[0] * view_size_px[1] / 512**2
    return Estimate(
        records=records,
        items=items,
        views=views,
        sentences=sentences,
        shards=math.ceil(records / records_per_shard),
        latent_bytes=views * sum(_row_bytes(field) for field in view_fields),
        text_bytes={"states": token_bytes + state_bytes, "tokens": token_bytes},
        other_bytes=records * members * _MEMBER_OVERHEAD_BYTES
        + items * _META_BYTES_PER_REF
        + views * _META_BYTES_PER_VIEW,
        text=text,
        gpu_s={
            dtype: (views * relative_pixels / fast, views * relative_pixels / slow)
            for dtype, (slow, fast) in GPU_IMAGES_PER_S.items()
        },
        assumed=tuple(assumed),
    )


def _row_bytes(field: Field) -> int:
    width = {"float16": 2, "float32": 4}[field.dtype]
    return width * math.prod(side for side in field.row_shape if isinstance(side, int))


def size_text(amount: int) -> str:
    """Bytes for a person."""
    return f"{amount / 1e9:.2f} GB" if amount >= 1e9 else f"{amount / 1e6:.1f} MB"
