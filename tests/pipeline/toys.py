"""Stand-ins for a dataset and for encoders, and a plain build loop, shared by the tests of the build side."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.building.plan import PlannedShard, plan_shards
from pipeline.building.recipe import BuildSettings, recipe_of, schema_of
from pipeline.building.shard import build_shard
from pipeline.building.transaction import SetBuild
from pipeline.encoders import ImageEncoder, TextEncoder
from pipeline.example import Example
from pipeline.views import ViewPlan, exact
from shards.contract.manifest import Manifest
from shards.contract.schema import Field
from shards.errors import Reject
from shards.geometry.view import Size
from shards.storage.storage import Folder

SETTINGS = BuildSettings(records_per_shard=4, image_batch=3, text_batch=5, max_rejects=0.5)


@dataclass
class ToySource:
    """Random pictures of several sizes with one or two objects and their sentences; `broken` maps key to reason."""

    n_images: int = 10
    broken: dict[str, str] = field(default_factory=dict)
    name: str = "toy"
    item_axis: str = "sentence"
    splits: tuple[str, ...] = ("train",)
    label_fields: tuple[Field, ...] = ()
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)
    words: str = ""  # at the end of the second sentence
    on_load: Callable[[str], None] = lambda key: None

    def keys(self, split: str) -> list[str]:
        return [f"image{number:03d}" for number in range(self.n_images)]

    def load(self, split: str, key: str) -> Example:
        self.on_load(key)
        if key in self.broken:
            raise Reject(self.broken[key])
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        height, width = (int(side) for side in rng.integers(20, 60, 2))
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        meta = {"image_id": int(key[5:]), "height": height, "width": width}
        sentences = ("left ball", f"ball {key[5:]}{self.words}", "left ball")
        return Example(key, image, meta, sentences, ((0, 2), (2, 1)), left_out=self.left_out.get(key, ()))

    def identity(self, split: str) -> dict[str, Any]:
        return {"name": self.name, "images": self.n_images}

    def notices(self, split: str) -> list[str]:
        return []

    def counts(self, split: str) -> dict[str, int]:
        return {"images": self.n_images, "refs": 2 * self.n_images, "sentences": 3 * self.n_images}

    def card(self) -> dict[str, Any]:
        return {"title": "Toys", "licence": "none"}


@dataclass
class ToyVae:
    """Every 8th pixel of three channels and their mean; remembers the shapes it was called with."""

    shapes: list[tuple[int, ...]] = field(default_factory=list)
    spoil: Callable[[np.ndarray], np.ndarray] = lambda latent: latent
    fingerprint: dict[str, Any] = field(default_factory=lambda: {"encoder": "toy", "weights": "aa"})

    def fields(self, size_px: Size) -> tuple[Field, ...]:
        return (Field("latent", "npy", "float16", ("V", 4, size_px[0] // 8, size_px[1] // 8), "view"),)

    def allocate(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.full(shape, np.nan, np.float32)

    def encode(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        self.shapes.append(pixels.shape)
        assert np.isfinite(pixels).all(), "padding rows must be filled"
        small = pixels[:, :, ::8, ::8]
        latent = np.concatenate([small, small.mean(1, keepdims=True)], 1).astype(np.float16)
        return {"latent": self.spoil(latent)}


@dataclass
class ToyText:
    """States are the token id and its position; remembers every row it was asked for."""

    length: int = 6
    width: int = 3
    rows: list[np.ndarray] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    fingerprint: dict[str, Any] = field(default_factory=lambda: {"encoder": "toy_text", "weights": "bb"})

    def tokenize(self, sentences: list[str]) -> np.ndarray:
        tokens = np.zeros((len(sentences), self.length), np.int32)
        for row, sentence in zip(tokens, sentences, strict=True):
            ids = [zlib.crc32(word.encode()) % 1000 + 1 for word in sentence.split()]
            row[: len(ids)] = ids[: self.length]
        return tokens

    def cut(self, sentences: list[str]) -> int:
        return sum(len(sentence.split()) > self.length for sentence in sentences)

    def encode(self, tokens: np.ndarray) -> np.ndarray:
        self.batches.append(len(tokens))
        self.rows.extend(tokens)
        position = np.broadcast_to(np.arange(self.length), tokens.shape)
        return np.stack([tokens, position, tokens * 0 + 1], -1).astype(np.float32)

    def encode_to_store(self, tokens: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return self.encode(tokens).astype(np.float16)

    def encode_pooled(self, tokens: np.ndarray) -> np.ndarray:
        return self.encode(tokens)[:, 0]


@dataclass
class Build:
    """One set, built by a plain loop: what a job does, without Ray."""

    folder: Path | Folder
    source: ToySource = field(default_factory=ToySource)
    vae: ImageEncoder = field(default_factory=ToyVae)
    text: TextEncoder | None = field(default_factory=ToyText)
    plan: ViewPlan = field(default_factory=lambda: exact.build(32))
    settings: BuildSettings = SETTINGS
    said: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=lambda: {"libraries": {"toys": "1"}})
    allow_changed: bool = False

    @property
    def recipe(self) -> dict[str, Any]:
        return recipe_of(self.source, "train", self.plan, self.vae, self.text, self.settings)

    @property
    def planned(self) -> list[PlannedShard]:
        return plan_shards(self.source.keys("train"), self.settings.records_per_shard, self.folder.name)

    def begin(self) -> SetBuild:
        return SetBuild(
            self.folder,
            self.planned,
            self.source,
            "train",
            self.plan,
            self.recipe,
            self.environment,
            self.allow_changed,
        )

    def run(self) -> Manifest:
        begun = self.begin()
        if begun.manifest is not None and begun.is_done:
            return begun.manifest
        for shard in begun.todo:
            build_shard(
                shard,
                self.source,
                "train",
                self.plan,
                self.vae,
                self.text,
                begun.order.place(begun.folder),
                self.settings,
                previous=begun.order.previous(begun.folder, shard.name),
            )
        schema = schema_of(self.source, self.plan, self.vae, self.text, self.settings)
        return begun.finish(schema, self.settings, self.said.append, lambda: ())


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file under a folder, by its relative path: what "byte-identical" means here."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
