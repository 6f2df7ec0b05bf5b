"""A small shard set with everything the contract knows: two axes, a variable shape, PNG, bytes and JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shards.contract import shard_pages
from shards.contract.canonical import canonical_json
from shards.contract.manifest import Manifest
from shards.contract.schema import Field, Record, Schema
from shards.contract.tables import write_table
from shards.writing.writer import seal_set, write_shard

SCHEMA = Schema(
    (
        Field("latent", "npy", "float16", ("V", 4, 2, 2), "view", "raw VAE posterior mean"),
        Field("tokens", "npy", "int32", ("S", 5), "sentence"),
        Field("gist", "npy", "float32", (3,)),
        Field("depth", "npy", "uint16", ("H", "W"), unit="millimetres, 0 = no measurement"),
        Field("mask", "png"),
        Field("extra", "bin"),
        Field("meta", "json"),
    ),
    item_axis="sentence",
)
RECIPE = {
    "source": {"name": "toy", "files": ["ab", "cd"]},
    "encoder": {"vae": {"weights": "1234"}},
    "text": "tokens",
}
CARD = {"title": "A toy", "licence": "CC0", "splits": ["train"]}
RUNS = ([[0, 2], [2, 1]], [[0, 1]], [[0, 3], [3, 1], [4, 2]])  # items of records 0, 1, 2, then again


def toy_record(number: int) -> Record:
    """Record `number`; every value can be told from every other record's."""
    runs = RUNS[number % 3]
    sentences = sum(n_rows for _, n_rows in runs)
    rng = np.random.default_rng(number)
    values = {
        "latent": rng.standard_normal((1 + number % 2, 4, 2, 2)).astype(np.float16),
        "tokens": (100 * number + np.arange(sentences)[:, None] * 10 + np.arange(5)).astype(np.int32),
        "gist": rng.standard_normal(3).astype(np.float32),
        "depth": rng.integers(0, 5000, (2 + number % 3, 4), dtype=np.uint16),
        "mask": b"\x89PNG\r\n\x1a\n" + bytes([number % 256]) * 9,
        "extra": bytes(range(number % 7)),
        "meta": {"items": runs, "number": number, "name": f"Bild № {number}"},
    }
    return Record(f"image{number:04d}", values)


def toy_records(start: int, stop: int) -> Iterator[Record]:
    """Records start .. stop - 1."""
    return map(toy_record, range(start, stop))


def write_toy_set(root: Path, sizes: tuple[int, ...] = (4, 3, 5)) -> Manifest:
    """A finished set with `sizes` records in its shards, one table and one reject."""
    shards, start = [], 0
    for number, size in enumerate(sizes):
        name = f"{root.name}-{number:06d}"
        shards.append(write_shard(root, name, SCHEMA, toy_records(start, start + size)))
        start += size
    arrays = {"text": np.eye(3, 2, dtype=np.float16)}
    table = write_table(root, "classes", arrays, {"prompts": ["a", "b", "c"]})
    shards[0] = type(shards[0])(**{**shards[0].to_json(), "rejects": 1})
    return seal_set(
        root,
        name=root.name,
        split="train",
        recipe=RECIPE,
        schema=SCHEMA,
        shards=shards,
        rejects=[{"key": "image9999", "reason": "truncated JPEG"}],
        tables=[table],
        card=CARD,
    )


def write_in_pages(patch: pytest.MonkeyPatch) -> None:
    """From now on every set is written as a large one is, with pages of two shards."""
    patch.setattr(shard_pages, "LISTED_SHARDS", 0)
    patch.setattr(shard_pages, "PAGE_SHARDS", 2)


def flip_byte(path: Path, offset: int) -> None:
    """Change one byte of a file in place, keeping its size."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x40
    path.chmod(0o644)
    path.write_bytes(bytes(data))


def edit_manifest(root: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Change a manifest's values and its hash of itself with them, as whoever writes a wrong one would."""
    path = root / "manifest.json"
    data = json.loads(path.read_bytes())
    data.pop("sha256", None)
    edit(data)
    data["sha256"] = hashlib.sha256(canonical_json(data)).hexdigest()
    path.write_bytes(canonical_json(data, indent=1))
