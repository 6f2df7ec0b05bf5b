"""The published evaluation of KITTI, stated once more in plain NumPy, gives the scores that tiles and task give.

The statement is docs/methods/depth.md#evaluation and docs/methods/depth.md#kitti: cut 352 x 1216, predict windows and
their flipped copies, average each pair, sum the windows, divide by their number at each pixel (0 / 0 = NaN), NaN ->
1e-3, inf -> 80, count the depths strictly between these and inside a box, score each picture, average the scores.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.sources.kitti import KittiSource
from pipeline.views import depth_tiles
from pipeline.views.depth_tiles import DepthTiles
from shards.contract.schema import Field, Record, Schema
from shards.errors import ContractError
from shards.geometry.view import View
from shards.reading.reader import ShardSet
from shards.writing.writer import seal_set, write_shard
from vpd.inference.evaluate import evaluate
from vpd.tasks.depth import task as depth
from vpd.tasks.depth.metric import crop_slices

SIZES = [(375, 1242), (370, 1224), (376, 1241)]
SIDE, WIDTH = 352, 1216
BOXES = {
    "garg": (slice(143, 349), slice(43, 1172)),
    "eigen": (slice(117, 321), slice(43, 1172)),
    "none": (slice(None), slice(None)),
}
STARTS = {"published": [57 * i for i in range(16)], "even": [round(57.6 * i) for i in range(16)]}

Predictor = Callable[[np.ndarray], np.ndarray]  # [352, 352] of a picture -> metres [352, 352]


def random_predictor(random: np.random.Generator) -> Predictor:
    """Answers by what it sees and by where in the window it is; a few places are infinite."""
    gain, offset = random.normal(0, 1, (2, SIDE, SIDE)).astype(np.float32)
    infinite = random.random((SIDE, SIDE)) < 1e-4

    def predict(shown: np.ndarray) -> np.ndarray:
        metres = 1 + 70 / (1 + np.exp(-(gain * shown + offset)))
        return np.where(infinite, np.inf, metres).astype(np.float32)

    return predict


def random_picture(random: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(picture float32, stored depth uint16 in 1/256 metres of about a fifth of the pixels, some beyond 80 metres)."""
    picture = random.normal(0, 1, size).astype(np.float32)
    stored = (random.uniform(0.5, 90, size) * 256).astype(np.uint16)
    stored[random.random(size) > 0.2] = 0
    return picture, stored


def published_scores(predict: Predictor, picture: np.ndarray, stored: np.ndarray, rule: str, box: str) -> list[float]:
    top, left = picture.shape[0] - SIDE, int((picture.shape[1] - WIDTH) / 2)
    cut = slice(top, top + SIDE), slice(left, left + WIDTH)
    picture, target = picture[cut], stored[cut].astype(np.float32) / np.float32(256)
    total, cover = np.zeros((2, SIDE, WIDTH), np.float32)
    for start in STARTS[rule]:
        window = picture[:, start : start + SIDE]
        plain, flipped = predict(window), predict(window[:, ::-1])[:, ::-1]
        total[:, start : start + SIDE] += (plain + flipped) / 2
        cover[:, start : start + SIDE] += 1
    with np.errstate(invalid="ignore"):
        pred = total / cover
    pred[np.isinf(pred)] = 80
    pred[np.isnan(pred)] = 1e-3
    inside = np.zeros_like(target, bool)
    inside[BOXES[box]] = True
    counted = (target > 1e-3) & (target < 80) & inside
    return scores(pred[counted].astype(np.float64), target[counted].astype(np.float64))


def scores(pred: np.ndarray, target: np.ndarray) -> list[float]:
    ratio = np.maximum(pred / target, target / pred)
    log = np.log(pred) - np.log(target)
    return [
        *((ratio < 1.25**k).mean() for k in (1, 2, 3)),
        (abs(pred - target) / target).mean(),
        ((pred - target) ** 2 / target).mean(),
        np.sqrt(((pred - target) ** 2).mean()),
        np.sqrt((log**2).mean()),
        abs(np.log10(pred) - np.log10(target)).mean(),
        np.sqrt((log**2).mean() - 0.5 * log.mean() ** 2),
    ]


class Replayed(torch.nn.Module):
    """A model whose latents say which view of which picture they are, and whose answers were made before."""

    def __init__(self, answers: list[list[np.ndarray]]) -> None:
        super().__init__()
        self.answers = answers

    def forward(self, latents: torch.Tensor, context: torch.Tensor, out_size_px: tuple[int, int]) -> torch.Tensor:
        assert out_size_px == (SIDE, SIDE)
        assert (context == -1).all()
        found = [self.answers[int(record)][int(view)] for record, view in latents[:, :2, 0, 0].tolist()]
        return torch.from_numpy(np.stack(found)[:, None])  # [B, 1, 352, 352]


def shown(picture: np.ndarray, view: View) -> np.ndarray:
    """What a view that resizes nothing shows, before it is enlarged."""
    x0, y0, x1, y1 = view.box_px
    a, b, c, d = view.window_px
    part = picture[y0:y1, x0:x1][b:d, a:c]
    return part[:, ::-1] if view.flip else part


def write_set(root: Path, plan: DepthTiles, stored: list[np.ndarray]) -> ShardSet:
    latent = Field("latent", "npy", "float16", ("V", 4, 2, 2), "view")
    schema = Schema((latent, *KittiSource.label_fields, Field("meta", "json")), item_axis="view")
    records = []
    for number, depth_units in enumerate(stored):
        views, buffer = plan.views(str(number), *depth_units.shape), io.BytesIO()
        Image.fromarray(depth_units).save(buffer, "PNG")
        latents = np.zeros((len(views), 4, 2, 2), np.float16)
        latents[:, 0], latents[:, 1] = number, np.arange(len(views))[:, None, None]
        meta = {"items": [[0, len(views)]], "views": [view.to_json() for view in views], "class_id": -1}
        records.append(Record(f"frame{number}", {"latent": latents, "depth": buffer.getvalue(), "meta": meta}))
    shard = write_shard(root, "kitti-000000", schema, records)
    seal_set(root, name="kitti", split="test", recipe={}, schema=schema, shards=[shard], rejects=[], tables=[], card={})
    return ShardSet.open(root)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("rule", ["published", "even"])
def test_both_rules_give_the_numbers_of_the_published_metric_code(rule: str, seed: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed)
    predict = random_predictor(random)
    pictures = [random_picture(random, size) for size in SIZES]
    plan = depth_tiles.build(frame=[SIDE, WIDTH], windows=16, spacing=rule, enlarge=448)
    shards = write_set(tmp_path / "kitti", plan, [stored for _, stored in pictures])
    answers = [
        [predict(shown(picture, view)) for view in plan.views(str(number), *picture.shape)]
        for number, (picture, _) in enumerate(pictures)
    ]
    for box in BOXES:
        options: dict[str, Any] = {"max_depth_m": 80.0, "crop": box, "view_fit": "enlarged"}
        task = depth.build(**options, uncovered="min_depth" if rule == "published" else "error")
        found = evaluate(Replayed(answers), task, shards, batch_size=7)
        expected = np.mean([published_scores(predict, *picture, rule, box) for picture in pictures], axis=0)
        assert found.count == len(pictures)
        np.testing.assert_allclose(list(found.compute().values()), expected, rtol=1e-6)
    if rule == "published":
        with pytest.raises(ContractError, match=r"3168 pixels have no prediction"):  # 9 columns of 352
            evaluate(Replayed(answers), depth.build(**options), shards, batch_size=7)


@pytest.mark.parametrize("box", ["garg", "eigen"])
def test_the_columns_that_published_windows_miss_are_outside_the_scored_box(box: str) -> None:
    """So the two rules differ in the places of windows only, not in what is scored."""
    views = depth_tiles.build(frame=[SIDE, WIDTH], windows=16, spacing="published", enlarge=448).views("", SIDE, WIDTH)
    assert crop_slices(box, SIDE, WIDTH) == BOXES[box]
    assert BOXES[box][1].stop <= max(view.window_px[2] for view in views) == WIDTH - 9
