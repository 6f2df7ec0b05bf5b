"""The same validation pictures at every evaluation, as TensorBoard's own reader finds them."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from shards.errors import ConfigError
from shards.reading.reader import ShardSet
from tests.toy_training import ToyNetwork, toy_config, toy_train
from vpd.tasks.depth import task as depth
from vpd.training.settings import LoopConfig
from vpd.training.telemetry.board import pictures_on
from vpd.training.telemetry.log import RunLog
from vpd.training.telemetry.pictures import STRIDE, FixedPictures, fixed_records
from vpd.training.worker import Worker


def read(folder: Path) -> dict[str, list[Any]]:
    """Tag -> its images, by TensorBoard's reader."""
    board = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0}).Reload()
    return {tag: board.Images(tag) for tag in board.Tags()["images"]}


def jpeg(level: int) -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", (6, 4), (level, level, level)).save(encoded, "JPEG")
    return encoded.getvalue()


def test_a_run_draws_the_same_pictures_at_every_evaluation(depth_set: Path, tmp_path: Path) -> None:
    toy_train(tmp_path, toy_config(depth_set, pictures=2), evaluated=True)
    images, shards = read(tmp_path), ShardSet.open(str(depth_set))
    assert sorted(images) == [f"pictures/{shards.index.key(number)}" for number in (0, 3)]
    for shown in images.values():
        assert [one.step for one in shown] == [3, 6, 9]
        pictures = [np.asarray(Image.open(io.BytesIO(one.encoded_image_string))) for one in shown]
        assert {picture.shape[1] for picture in pictures} == {48}, "the picture's own width"
        assert pictures[0].shape[0] > 40, "the legend is below"
        assert not np.array_equal(pictures[0], pictures[-1]), "another model"
        assert (shown[0].width, shown[0].height) == (48, len(pictures[0]))


def test_a_run_never_puts_the_whole_index_together(
    depth_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ShardSet, "index", property(lambda shards: pytest.fail("400 bytes for every record")))
    toy_train(tmp_path, toy_config(depth_set, pictures=2), evaluated=True)
    assert len(read(tmp_path)) == 2


@pytest.mark.parametrize("settings", [{"pictures": 0}, {"pictures": 2, "eval_every_steps": 0}])
def test_none_are_drawn_where_none_are_asked_for(depth_set: Path, tmp_path: Path, settings: dict[str, int]) -> None:
    toy_train(tmp_path, toy_config(depth_set, **settings), evaluated=settings["pictures"] == 0)
    assert read(tmp_path) == {}


def test_scores_and_losses_are_those_of_a_run_without(depth_set: Path, tmp_path: Path) -> None:
    lines = []
    for name, count in (("with", 3), ("without", 0)):
        toy_train(tmp_path / name, toy_config(depth_set, pictures=count), evaluated=True)
        text = (tmp_path / name / "log.jsonl").read_text()
        lines.append([line.partition('"time_s"')[2].partition(",")[2] for line in text.splitlines() if "rmse" in line])
    assert lines[0] == lines[1]
    assert len(lines[0]) == 3


def test_what_a_run_went_back_behind_is_left_out(tmp_path: Path) -> None:
    for resumed, steps in ((0, (3, 6, 9)), (6, (9, 12))):
        log = RunLog(tmp_path, resume_step=resumed, echo=lambda text: None)
        for step in steps:
            log.show(step, "a/b.jpg", jpeg(step + resumed))
        log.close()
        time.sleep(1.1)  # TensorBoard reads files of one second by the names they end in, 10 before 9
    found = pictures_on(tmp_path / "tensorboard")
    assert [(one.name, one.step) for one in found] == [("a/b.jpg", step) for step in (3, 6, 9, 12)]
    assert found[2].encoded == jpeg(9 + 6), "the later start's"


def test_a_picture_that_cannot_be_drawn_ends_no_run(
    depth_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*known: Any) -> None:
        raise TypeError("no such colour")

    monkeypatch.setattr(depth.DepthTask, "draw", broken)
    said: list[str] = []
    losses = toy_train(tmp_path, toy_config(depth_set, pictures=2), evaluated=True, echo=said.append)
    assert len(losses) == 9
    assert [line for line in said if "is not drawn, TypeError: no such colour" in line] == [
        next(line for line in said if "is not drawn" in line)
    ]


def test_other_workers_than_the_first_draw_nothing(depth_set: Path) -> None:
    from vpd.training.feeding import Parts
    from vpd.training.telemetry.pictures import pictures_of_run

    shards = ShardSet.open(str(depth_set))
    parts = Parts(depth.build(crop="none"), ToyNetwork(), shards, val_set=shards)  # pyright: ignore[reportArgumentType]
    assert pictures_of_run(toy_config(depth_set), parts, Worker(), None, lambda: 0) is None


@given(st.integers(0, 4000), st.integers(1, 8), st.integers(1, 20))
def test_they_are_the_first_worker_s_and_spread_over_the_set(n_records: int, count: int, world: int) -> None:
    chosen = fixed_records(n_records, count, world)
    assert len(chosen) <= count
    assert all(number % world == 0 and number < n_records for number in chosen)
    assert chosen == sorted(set(chosen))
    assert (chosen[:1] == [0]) == (n_records > 0)
    if n_records >= count * world:
        assert len(chosen) == count
    if chosen and n_records >= count * STRIDE and STRIDE % world == 0:
        assert chosen == fixed_records(n_records, count, 1), "the same as with one worker"


def test_a_task_without_pictures_is_trained_without_them() -> None:
    class Bare:
        uses_text = False

    shards: Any = None
    said: list[str] = []
    with pytest.raises(AttributeError):
        FixedPictures(depth.build(), shards, 1, 1, (), None, lambda *known: None, said.append)  # asks the set
    assert FixedPictures(Bare(), shards, 1, 1, (), None, lambda *known: None, said.append).keys == set()  # pyright: ignore[reportArgumentType]


def test_fewer_than_none_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"loop\.pictures is -1"):
        LoopConfig(pictures=-1)
