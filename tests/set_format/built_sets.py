"""One small set of every kind, as builds write them, for tests of what lies on disk."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from demo.ade20k_world import write_ade20k_world
from demo.nyuv2_world import write_nyuv2_world
from demo.refcoco_world import write_refcoco_world
from pipeline.building import environments
from pipeline.building.ledger import open_build
from pipeline.building.plan import plan_shards
from pipeline.building.recipe import BuildSettings, recipe_of, schema_of
from pipeline.building.shard import build_shard, finish_set
from pipeline.example import Example
from pipeline.sources import ade20k
from pipeline.sources.nyuv2 import source as nyuv2
from pipeline.sources.refcoco import source as refcoco
from pipeline.views import depth, exact, generator, segmentation
from shards.contract.manifest import TableEntry
from shards.contract.schema import Field
from shards.contract.tables import write_table
from shards.geometry.view import Size, View
from tests.pipeline.toys import ToySource, ToyText, ToyVae
from tests.vpd import pose_world

KINDS = ("refer", "seg", "depth", "laser", "pose")
SETTINGS = BuildSettings(records_per_shard=2, image_batch=4, max_rejects=0.5)


@dataclass
class Laser(ToySource):
    """Depth of 16 bits in 1/256 metres; one picture is broken, an entry of another left out."""

    item_axis: str = "view"
    label_fields: tuple[Field, ...] = (Field("depth", "png", unit="uint16, 1/256 metres, 0 = no measurement"),)

    def load(self, split: str, key: str) -> Example:
        example = super().load(split, key)
        stored = generator(1, key, 0).integers(0, 65536, example.image.shape[:2], dtype=np.uint16)
        file = io.BytesIO()
        Image.fromarray(stored).save(file, "PNG")
        meta = {**example.meta, "class_id": -1, "file_name": f"{key}.png"}
        return Example(key, example.image, meta, labels={"depth": file.getvalue()}, left_out=example.left_out)


class EveryStep:
    """Views that use every step that moves a pixel, in all combinations; the last ones are enlarged."""

    size_px: Size = (32, 40)
    views_per_image = 12

    def views(self, key: str, height: int, width: int, labels: Any = None) -> list[View]:
        return [self._view(generator(0, key, number), height, width, number) for number in range(self.views_per_image)]

    def _view(self, rng: np.random.Generator, height: int, width: int, number: int) -> View:
        x0, y0 = (int(rng.integers(0, side // 2)) for side in (width, height))
        box = (x0, y0, int(rng.integers(x0 + 3, width + 1)), int(rng.integers(y0 + 3, height + 1)))
        window_h, window_w = int(rng.integers(8, 33)), int(rng.integers(8, 41))
        down, right = (int(rng.integers(0, 20)) for _ in range(2))
        resized = (window_h + down + int(rng.integers(0, 9)), window_w + right + int(rng.integers(0, 9)))
        enlarged = self.size_px if number >= 9 else None
        rest_h, rest_w = self.size_px[0] - window_h, self.size_px[1] - window_w
        top, left = (int(rng.integers(0, rest + 1)) if number in (3, 4) and rest else 0 for rest in (rest_h, rest_w))
        return View(
            size_px=self.size_px,
            box_px=box,
            resized_px=resized,
            window_px=(right, down, right + window_w, down + window_h),
            kernel=("pil_bilinear", "pil_bicubic", "pil_nearest")[number % 3],
            flip=bool(number % 2),
            pad_px=(0, 0) if enlarged else (rest_h - top, rest_w - left),
            colour=(("gamma", 1.05),) if number % 4 == 1 else (),
            enlarged_px=enlarged,
            pad_before_px=(top, left),
        )

    def identity(self) -> dict[str, Any]:
        return {"plan": "every_step"}


def build(
    folder: Path, source: Any, split: str, plan: Any, text: ToyText | None = None, tables: tuple[TableEntry, ...] = ()
) -> Path:
    vae, planned = ToyVae(), plan_shards(source.keys(split), SETTINGS.records_per_shard, folder.name)
    recipe = recipe_of(source, split, plan, vae, text, SETTINGS)
    open_build(folder, recipe, environments.here({}))
    for shard in planned:
        build_shard(shard, source, split, plan, vae, text, folder, SETTINGS)
    schema = schema_of(source, plan, vae, text, SETTINGS)
    finish_set(planned, source, split, schema, recipe, folder, SETTINGS, tables)
    return folder


def write_sets(root: Path, world: Path) -> dict[str, Path]:
    """Folders by kind: refer, seg, depth as float32, `laser` with 16-bit depth, pose."""
    write_refcoco_world(world / "refer", images={"train": 3, "val": 1}, seed=5)
    rooms = nyuv2.build(write_nyuv2_world(world / "rooms", {"train": 2, "test": 1}), form="mat")
    scenes = ade20k.build(write_ade20k_world(world / "scenes", {"training": 3, "validation": 1}, seed=1))
    table = write_table(root / "depth", "classes", {"embeddings": np.eye(3, 2, dtype=np.float32)}, {"names": ["a"] * 3})
    laser = Laser(5, broken={"image003": "damaged"}, left_out={"image001": ("point 3: outside",)})
    pose_world.write_set(root / "pose", map(pose_world.record_of, range(2)))
    return {
        "refer": build(root / "refer", refcoco.build(world / "refer"), "train", exact.build(32), ToyText()),
        "seg": build(root / "seg", scenes, "training", segmentation.build(k=3, crop=64, base=(256, 64))),
        "depth": build(
            root / "depth",
            rooms,
            "train",
            depth.build(k=2, crop=120, size=128, cut_depth_probability=0.5),
            tables=(table,),
        ),
        "laser": build(root / "laser", laser, "train", EveryStep()),
        "pose": root / "pose",
    }
