"""Angles are those of plain arithmetic, over one worker or several; mirrored views answer with mirrored vectors."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from shards.errors import ConfigError, SchemaMismatch
from shards.geometry.view import View
from vpd.tasks import normals_label_latents
from vpd.tasks.normals_label_latents.metric import NormalsMetric

NAMES = ("mean_deg", "median_deg", "rmse_deg", "below_11.25", "below_22.5", "below_30")


def vectors(seed: int, *shape: int) -> torch.Tensor:
    draw = torch.randn(3, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(draw, dim=0)


def near(known: torch.Tensor, seed: int, off: float) -> torch.Tensor:
    return known + off * vectors(seed, *known.shape[1:])


def test_scores_are_those_of_all_pixels_and_the_same_from_several_workers() -> None:
    known = [vectors(1, 30, 40), vectors(2, 20, 25)]
    known[0][:, :5, :7] = 0  # not known
    predicted = [near(known[0], 3, 0.9), near(known[1], 4, 0.3) * 7]  # any length
    alone, workers = NormalsMetric(), [NormalsMetric(), NormalsMetric()]
    degrees = []
    for place, (found, true) in enumerate(zip(predicted, known, strict=True)):
        alone.update(found.float(), true.float())
        workers[place].update(found.float(), true.float())
        counted = true.any(dim=0)
        cosines = (found * true)[:, counted].sum(dim=0) / found[:, counted].norm(dim=0)
        degrees.append(np.degrees(np.arccos(cosines.numpy().clip(-1, 1))))
    every = np.concatenate(degrees)
    scores = alone.compute()
    assert tuple(scores) == NAMES
    assert scores["mean_deg"] == pytest.approx(every.mean(), abs=1e-3)
    assert scores["median_deg"] == pytest.approx(np.median(every), abs=0.02)
    assert scores["rmse_deg"] == pytest.approx(math.sqrt((every**2).mean()), abs=1e-3)
    for limit in (11.25, 22.5, 30):
        assert scores[f"below_{limit:g}"] == pytest.approx((every < limit).mean(), abs=1e-9)
        assert 0.02 < scores[f"below_{limit:g}"] < 1
    joined = alone.joined([worker.state for worker in workers])
    assert joined.compute() == pytest.approx(scores)
    assert joined.count == 2


def test_the_same_and_the_opposite_vectors_and_what_has_no_direction() -> None:
    known = vectors(5, 4, 4)
    exact, opposite, broken, nothing = (NormalsMetric() for _ in range(4))
    exact.update(known * 0.3, known)
    assert exact.compute()["mean_deg"] == pytest.approx(0, abs=1e-6)
    assert exact.compute()["below_11.25"] == 1
    opposite.update(-known, known)
    assert opposite.compute()["median_deg"] == pytest.approx(180, abs=0.02)
    half = known.clone()
    half[:, :2] = 0
    half[0, 0, 0] = math.nan
    broken.update(half, known)
    assert broken.compute()["mean_deg"] == pytest.approx(45), "half of them 90 degrees off"
    broken.update(torch.full_like(known, math.nan), known)
    assert math.isnan(broken.compute()["mean_deg"])
    nothing.update(known, torch.zeros_like(known))
    assert all(math.isnan(score) for score in nothing.compute().values())
    assert nothing.count == 1
    with pytest.raises(SchemaMismatch, match="for normals of"):
        nothing.update(known[:, :2], known)


def record_of(views: list[View]) -> Any:
    meta = {"views": [view.to_json() for view in views]}
    return SimpleNamespace(key="a", meta=meta, shards=None)


def test_a_mirrored_view_answers_with_mirrored_vectors() -> None:
    views = [View((16, 24), (0, 0, 24, 16), (16, 24), (0, 0, 24, 16), flip=flip) for flip in (False, True)]
    true = vectors(6, 16, 24).float()
    mirrored = true.flip(-1) * torch.tensor([-1.0, 1, 1])[:, None, None]
    task = normals_label_latents.build()
    found, part = task.picture(record_of(views), torch.stack([true, mirrored]) * 0.5)
    torch.testing.assert_close(found, true, rtol=1e-5, atol=1e-6)
    assert part == (slice(0, 16), slice(0, 24))
    torch.testing.assert_close(task.predictions(record_of(views[1:]), mirrored[None])[0], true, rtol=1e-5, atol=1e-6)


def test_resized_answers_have_unit_length() -> None:
    view = View((16, 24), (0, 0, 50, 30), (16, 24), (0, 0, 24, 16))
    found, _ = normals_label_latents.build().picture(record_of([view]), vectors(7, 16, 24).float()[None])
    assert found.shape == (3, 30, 50)
    torch.testing.assert_close(found.norm(dim=0), torch.ones(30, 50), rtol=1e-5, atol=1e-5)


def test_what_is_drawn_and_written(tmp_path: Path) -> None:
    task, answer = normals_label_latents.build(), np.zeros((3, 4, 6), np.float32)
    answer[2], answer[:, 0, 0] = 1, (1, 0, 0)
    picture = task.draw(np.zeros((4, 6, 3), np.uint8), answer)
    assert picture[0, 0].tolist() == [255, 128, 128]
    assert picture[1, 1].tolist() == [128, 128, 255]
    for name in ("normals.npy", "normals.png"):
        task.export(answer, tmp_path / name)
    np.testing.assert_array_equal(np.load(tmp_path / "normals.npy"), np.moveaxis(answer, 0, 2))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "normals.png")), picture)
    assert "surface normals" in task.legend(picture, answer).title
    assert task.legend(picture, answer * 0).empty


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="view_fit 'pad' is unknown"):
        normals_label_latents.build(view_fit="pad")
    with pytest.raises(ConfigError, match="tokens 0"):
        normals_label_latents.build(tokens=0)
