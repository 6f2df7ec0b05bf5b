"""What `predict` asks of a task: signatures are compared first, small masks are no answer, empty ones are counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_predictor import scene

from diffusion_perception.outside_tasks import check_pictured
from diffusion_perception.predicting import command as prediction
from jobs import predict, program
from shards.errors import ConfigError
from vpd.tasks import seg
from vpd.tasks.refer import build as build_refer
from vpd.tasks.refer.task import ReferTask
from vpd.tasks.seg.task import SegTask

Models = Callable[[str], str]


class Older(SegTask):
    """As tasks were written before a style was given to them."""

    def draw(self, image: np.ndarray, answer: np.ndarray) -> np.ndarray:  # type: ignore[override]
        return image


class OlderExport(ReferTask):
    def export(self, answer: np.ndarray, path: str) -> None:  # type: ignore[override]
        Path(path).touch()


def test_an_older_signature_is_one_clear_error(model_folder: Models, tmp_path: Path) -> None:
    check_pictured(seg.build(classes=3))
    older = seg.build(classes=3)
    older.__class__ = Older
    with pytest.raises(ConfigError, match=r"its draw\(image.* cannot be called as draw\(image, answer, style\)"):
        check_pictured(older)
    refer = build_refer()
    refer.__class__ = OlderExport
    with pytest.raises(ConfigError, match=r"def export\(self, answer, path, image, style\)` in .*test_asked_tasks"):
        check_pictured(refer)


def test_predict_refuses_it_before_a_model_is_loaded(
    model_folder: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "predictor_of", None)
    monkeypatch.setattr(SegTask, "draw", Older.draw)
    Image.fromarray(scene(20, 30)).save(tmp_path / "a.png")
    with pytest.raises(ConfigError, match="task seg: its draw"):
        predict.run([f"run={model_folder('seg')}", f"images={tmp_path}", f"into={tmp_path}/out"])


@pytest.mark.parametrize(
    ("fewest_px", "best_by", "found"), [(0, "gIoU", 12), (12, "gIoU", 12), (13, "gIoU", 0), (13, "oIoU", 12)]
)
def test_a_mask_of_few_pixels_is_the_answer_nothing_where_nothing_is_an_answer(
    fewest_px: int, best_by: str, found: int
) -> None:
    record: Any = SimpleNamespace(meta={"height": 8, "width": 8})
    logits = torch.zeros(1, 2, 8, 8)
    logits[:, 0] = 1
    logits[0, 1, 2:5, 2:6] = 2
    (mask,) = build_refer(no_target_px=fewest_px, best_by=best_by).answers(record, logits)
    assert (mask.dtype, int(mask.sum())) == (bool, found)


def test_empty_answers_are_counted(
    model_folder: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def nothing(self: ReferTask, record: Any, outputs: torch.Tensor) -> Any:
        for _ in outputs:
            yield np.zeros((record.meta["height"], record.meta["width"]), bool)

    monkeypatch.setattr(ReferTask, "answers", nothing)
    for name in ("a", "b"):
        Image.fromarray(scene(20, 30)).save(tmp_path / f"{name}.png")
    words = [f"run={model_folder('refer')}", f"images={tmp_path}", f"into={tmp_path}/out", "sentences=[a cat, a dog]"]
    assert program.status("jobs.predict", words) == 0
    said = capsys.readouterr().out
    assert "a.png: nothing found: a cat; nothing found: a dog" in said
    assert "nothing was found in 4 answers" in said
