"""A set of rooms with depth, two shards of two records, without pictures; the model is the demo's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from demo.world import draw_scene, render
from pipeline.encoders.sd_vae import decoder
from shards.contract.schema import Field, Record, Schema
from shards.contract.tables import write_table
from shards.geometry.view import View
from shards.writing.writer import seal_set, write_shard

MODEL = Path(__file__).resolve().parents[3] / "demo" / "pretrained"
HEIGHT, WIDTH = 64, 80
VIEWS = (
    View((64, 64), (0, 0, 64, 64), (64, 64), (0, 0, 64, 64)),
    View((64, 64), (12, 0, 80, 56), (56, 64), (0, 0, 64, 56), flip=True, pad_px=(8, 0)),
    View((64, 64), (20, 8, 68, 56), (48, 48), (0, 0, 48, 48), enlarged_px=(64, 64)),
)


def depth_mm(number: int) -> np.ndarray:
    """A slanted wall and a box before it, uint16 `[H, W]`; part of it unmeasured, of the last record all."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    depth = 2000 + 20 * columns + 8 * rows + 500 * number
    depth[30:56, 30:60] = 1500
    depth[10:13, 40:49] = 0
    return (depth * (number < 3)).astype(np.uint16)


def demo_mm(number: int) -> np.ndarray:
    """Depth of a room of the demo, uint16 `[H, W]`: a wall, a floor, and flat objects before them."""
    scene = draw_scene(np.random.default_rng([7, number]), (HEIGHT, WIDTH))
    return (render(scene).depth_m * 1000).round().astype(np.uint16)


def write_rooms(folder: Path, views: Sequence[View] = VIEWS, depth: Callable[[int], np.ndarray] = depth_mm) -> None:
    """The set, with latents of noise and a class table of three rows."""
    schema = Schema(
        (
            Field("latent", "npy", "float16", ("V", 4, 8, 8), "view"),
            Field("depth", "npy", "uint16", ("H", "W"), unit="1/1000 metres, 0 = no measurement"),
            Field("meta", "json"),
        ),
        "view",
    )

    def record(number: int) -> Record:
        items = [[place, 1] for place in range(len(views))]
        meta = {"items": items, "views": [view.to_json() for view in views], "class_id": 0}
        latent = np.random.default_rng(number).standard_normal((len(views), 4, 8, 8)).astype(np.float16)
        return Record(f"room{number}", {"latent": latent, "depth": depth(number), "meta": meta})

    name = folder.name
    shards = [write_shard(folder, f"{name}-{n:06d}", schema, (record(2 * n + i) for i in (0, 1))) for n in (0, 1)]
    table = write_table(folder, "classes", {"embeddings": np.ones((3, 64), np.float32)}, {"names": ["a", "b", "c"]})
    layout = {"act_fn": "silu", "norm_num_groups": 1, "mid_block_add_attention": True}
    encoder = {"encoder": "sd_vae", "weights": decoder(str(MODEL))[1], "layout": layout}
    recipe = {"source": {"name": "toy"}, "image_encoder": encoder}
    card = {"title": "toy", "licence": "CC0", "splits": ["train"]}
    sealed: dict[str, Any] = {"name": name, "split": "train", "recipe": recipe, "schema": schema, "card": card}
    seal_set(folder, **sealed, shards=shards, tables=[table])
