"""What predictions are drawn on: the picture where it is at hand, else the latents where their views were cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffusion_perception.canvases import canvas, canvas_of
from diffusion_perception.training import _canvas_of
from shards.errors import ConfigError
from shards.geometry.view import View
from shards.reading.reader import ShardSet
from tests.toy_runs import write_set
from vpd.training.telemetry.log import RunLog


class Stored:
    """A record of 40 x 60 pixels with views of 16 pixels and latents of 4 x 4."""

    def __init__(self, *views: View, file_name: str = "") -> None:
        listed: list[Any] = [view.to_json() for view in views]
        self.meta = {"height": 40, "width": 60, "views": listed, "file_name": file_name}
        ramp = np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4)  # brighter downwards
        self.latents = np.stack([np.stack([ramp] * 4)] * max(len(views), 1))

    def array(self, field: str, first: int = 0, n: int | None = None) -> np.ndarray:
        assert field == "latent"
        return self.latents[first : first + (n or 1)]


def drawn(record: Any, folder: str | Path = "") -> np.ndarray:
    return canvas(record, folder)


def test_a_latent_lies_where_its_view_was_cut_and_the_rest_is_paper() -> None:
    shown = drawn(Stored(View((16, 16), (10, 4, 42, 36), (16, 16), (0, 0, 16, 16))))
    assert shown.shape == (40, 60, 3)
    outside = np.ones((40, 60), bool)
    outside[4:36, 10:42] = False
    assert (shown[outside] == 235).all()
    assert shown[5, 12].mean() < shown[34, 40].mean(), "darker above"


def test_a_window_of_a_resized_picture_is_found_again_in_the_picture() -> None:
    view = View((16, 16), (0, 0, 60, 40), (20, 30), (14, 4, 30, 20))  # half as large; the window lies right and below
    shown = drawn(Stored(view))
    assert (shown[:8] == 235).all()
    assert (shown[:, :28] == 235).all()
    assert (shown[8:, 28:] == 235).mean() < 0.1


def test_flips_and_padding_are_undone() -> None:
    whole = (0, 0, 60, 40)
    plain = drawn(Stored(View((16, 16), whole, (16, 16), (0, 0, 16, 16))))
    record = Stored(View((16, 16), whole, (16, 16), (0, 0, 16, 16), flip=True))
    record.latents = record.latents[..., ::-1]
    assert np.array_equal(drawn(record), plain)
    padded = Stored(View((16, 16), whole, (8, 16), (0, 0, 16, 8), pad_px=(8, 0)))
    padded.latents[:, :, 2:] = 7  # what the padding was encoded to
    assert drawn(padded)[:20].mean() < drawn(padded)[20:].mean() - 20, "only the two rows of picture are shown"


def test_the_picture_itself_is_taken_where_it_is(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    Image.fromarray(picture[:20]).save(tmp_path / "small.png")
    view = View((16, 16), (0, 0, 60, 40), (16, 16), (0, 0, 16, 16))
    assert np.array_equal(drawn(Stored(view, file_name="a.png"), tmp_path), picture)
    latents = drawn(Stored(view))
    for other in ("none.png", "small.png", "../outside.png", ""):
        assert np.array_equal(drawn(Stored(view, file_name=other), tmp_path), latents), other
    with pytest.raises(ConfigError, match="is no folder of pictures"):
        canvas_of(tmp_path / "none")


def test_every_record_of_a_set_has_one(tmp_path: Path) -> None:
    shards = ShardSet.open(str(write_set(tmp_path / "refer", "refer")))
    on = canvas_of("")
    assert {on(shards.record(number)).shape for number in range(shards.n_records)} == {(40, 48, 3)}


def test_a_folder_that_a_machine_lacks_keeps_no_run_from_training(tmp_path: Path) -> None:
    said: list[str] = []
    log = RunLog(tmp_path / "run", echo=said.append)
    shards = ShardSet.open(str(write_set(tmp_path / "refer", "refer")))
    on = _canvas_of(str(tmp_path / "none"), log)
    log.close()
    assert on(shards.record(0)).shape == (40, 48, 3)
    assert said == [
        f"loop.pictures_from: {tmp_path}/none is no folder of pictures. Name one, or leave it out: latents are shown "
        "instead."
    ]
