"""A record as a picture: labels lie where training cuts them, whatever the view does."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.inspection.drawing import SIDE_PX
from pipeline.set_page.drawing import draw_record, false_colours, padded
from pipeline.sources.refs.masks import encode_pixels
from shards.contract.schema import Field, Record, Schema
from shards.geometry.view import View
from shards.reading.reader import ShardSet, StoredRecord
from shards.writing.writer import seal_set, write_shard

H, W = 40, 60
VIEW = View(size_px=(64, 64), box_px=(20, 0, 60, 40), resized_px=(64, 64), window_px=(0, 0, 64, 64))
GREY = np.full((64, 64, 3), 128, np.uint8)


def stored(folder: Path, meta: dict[str, Any], view: View = VIEW, **labels: Any) -> StoredRecord:
    fields = [Field("latent", "npy", "float16", ("V", 4, 8, 8), "view")]
    units = {"depth": ("npy", "float32", ("H", "W"), "", "metres, 0 = no measurement")}
    fields += [Field(name, *units[name]) if name in units else Field(name, "png") for name in labels]
    schema = Schema((*fields, Field("meta", "json")), "view")
    meta = {"items": [[0, 1]], "views": [view.to_json()], "height": H, "width": W, **meta}
    values = {"latent": np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float16), "meta": meta}
    shard = write_shard(folder, "s-000000", schema, [Record("a", {**values, **labels})])
    seal_set(folder, name="s", split="x", recipe={}, schema=schema, shards=[shard])
    return ShardSet.open(folder).record(0)


def pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg))).astype(int)


def changed(drawing: Any) -> np.ndarray:
    """bool [h, w]: where the labels are."""
    return np.abs(pixels(drawing.overlay) - pixels(drawing.picture)).sum(axis=2) > 60


def png(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("flip", [False, True])
def test_a_mask_lies_where_the_view_puts_it(tmp_path: Path, flip: bool) -> None:
    mask = np.zeros((H, W), bool)
    mask[:, 40:] = True  # the right half of the box
    meta = {"refs": [{"rle": encode_pixels(mask)}], "sentences": ["the right one", "of all"], "items": [[0, 1]]}
    drawing = draw_record(stored(tmp_path, meta, replace(VIEW, flip=flip)), GREY)
    there = changed(drawing)
    half = SIDE_PX // 2
    left, right = there[:, : half - 8].mean(), there[:, half + 8 :].mean()
    assert (left, right) == ((1.0, 0.0) if flip else (0.0, 1.0))
    assert drawing.texts[0][0] == "the right one"
    assert ("mirrored" in drawing.texts[-1][0]) == flip


def test_a_mask_outside_the_view_is_said_to_be_nowhere(tmp_path: Path) -> None:
    mask = np.zeros((H, W), bool)
    mask[:, :10] = True
    meta = {"refs": [{"rle": encode_pixels(mask)}], "sentences": ["left"]}
    drawing = draw_record(stored(tmp_path, meta), GREY)
    assert not changed(drawing).any()
    assert drawing.texts[0][0] == "left (nothing in this view)"


def test_classes_and_depth_are_cut_and_coloured(tmp_path: Path) -> None:
    label = np.zeros((H, W), np.uint8)
    label[20:] = 255
    drawing = draw_record(stored(tmp_path / "a", {}, label=png(label)), GREY)
    lower = pixels(drawing.overlay)[SIDE_PX // 2 + 10 :]
    assert lower.mean() < 60  # two parts of grey and three of black
    depth = np.zeros((H, W), np.float32)
    depth[:, 20:40], depth[:, 40:] = 1.0, 9.0
    near, far = (
        pixels(draw_record(stored(tmp_path / "b", {}, depth=depth), GREY).overlay)[160, column] for column in (80, 240)
    )
    assert near[0] > near[2]  # red
    assert far[2] > far[0]  # blue


def test_visible_keypoints_of_the_views_person_are_drawn(tmp_path: Path) -> None:
    keypoints = [0] * 51
    keypoints[:3] = [40, 20, 2]  # the middle of the box
    meta = {"boxes": [{"person": 1}], "persons": [{"keypoints": [1] * 51}, {"keypoints": keypoints}]}
    there = changed(draw_record(stored(tmp_path, meta), GREY))
    rows, columns = np.nonzero(there)
    assert abs(rows.mean() - SIDE_PX / 2) < 5
    assert abs(columns.mean() - SIDE_PX / 2) < 5
    assert 10 < there.sum() < 100


def test_without_a_picture_the_latent_is_shown(tmp_path: Path) -> None:
    record = stored(tmp_path, {})
    drawing = draw_record(record)
    assert pixels(drawing.picture).shape == (SIDE_PX, SIDE_PX, 3)
    assert pixels(drawing.picture).std() > 30
    colours = false_colours(record.array("latent")[0])
    assert colours.shape == (8, 8, 3)
    assert (colours.min(), colours.max()) == (0, 255)
    assert false_colours(np.ones((1, 2, 2), np.float16)).shape == (2, 2, 3)


def test_padding_is_grey_and_in_its_place() -> None:
    view = View((6, 8), (0, 0, 4, 4), (4, 4), (0, 0, 4, 4), pad_before_px=(1, 2), pad_px=(1, 2))
    canvas = padded(np.zeros((4, 4, 3), np.uint8), view)
    assert canvas.shape == (6, 8, 3)
    assert (canvas[1:5, 2:6] == 0).all()
    assert (canvas[0] == 128).all()
