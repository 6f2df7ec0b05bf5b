"""What the buttons of the page do, without a browser: predictions as files, layers and words, records of a set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion_perception import Predictor
from diffusion_perception.features.looking import Looking
from diffusion_perception.set_page import PictureOptions
from diffusion_perception.ui.browsing import MOST_KEYS, Browsing
from diffusion_perception.ui.job import UiJob
from diffusion_perception.ui.predicting import KEPT, Predicting
from shards.errors import ConfigError, ContractError
from tests.tiny_pipelines import tiny_pipeline
from vpd.drawing.components import glowing, in_three_colours
from vpd.drawing.match_lines import GAP_PX

Models = Callable[[str], str]
PICTURE = np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8)


@pytest.fixture(scope="module")
def looking(tmp_path_factory: pytest.TempPathFactory) -> Looking:
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "tokenizer").mkdir()
    tiny_pipeline("sd15", folder / "tokenizer").save_pretrained(folder / "sd15")
    return Looking(str(folder / "sd15"), "cpu", side_px=128)


def test_an_answer_is_the_predictors_drawn_and_as_files(model_folder: Models) -> None:
    places = [model_folder(task) for task in ("refer", "depth", "seg")]
    predicting = Predicting(places, "best", "cpu")
    assert [predicting.asks(place).sentence for place in places] == [True, False, False]
    assert [predicting.asks(place).classes for place in places] == [(), ("attic", "bath", "den"), ()]
    named = {}
    for place in places:
        answered = predicting.answer(place, PICTURE, "the red chair", "bath")
        named[place] = {Path(file).name: file for file in answered.files}
        height, width = np.asarray(Image.open(named[place]["drawn.png"])).shape[:2]
        assert (height, width) == answered.drawn.shape[:2]
        assert width == 90
        assert height > 60, "its legend is below it"
    refer, depth, seg = (named[place] for place in places)
    assert set(refer) == set(seg) == {"prediction.png", "prediction.npy", "drawn.png"}
    (mask,) = next(Predictor(places[0], device="cpu").many([PICTURE], ["the red chair"])).answers
    assert np.array_equal(np.load(refer["prediction.npy"]), mask)
    assert np.array_equal(np.asarray(Image.open(refer["prediction.png"])) > 0, mask)
    assert set(depth) == {"prediction.png", "prediction.npy", "prediction.tif", "drawn.png"}
    millimetres, metres = np.asarray(Image.open(depth["prediction.png"])), np.load(depth["prediction.npy"])
    assert millimetres.dtype == np.uint16
    np.testing.assert_allclose(millimetres / 1000, metres.squeeze(), atol=6e-4)


def test_files_of_old_answers_go(model_folder: Models) -> None:
    place = model_folder("seg")
    predicting = Predicting([place], "best", "cpu")
    first = predicting.answer(place, PICTURE).files
    assert Path(first[0]).is_file()
    last = [predicting.answer(place, PICTURE).files for _ in range(KEPT)]
    assert not Path(first[0]).exists()
    assert all(Path(files[0]).is_file() for files in last)


def test_what_cannot_be_predicted_is_said_in_words(model_folder: Models, tmp_path: Path) -> None:
    place = model_folder("refer")
    predicting = Predicting([place], "best", "cpu")
    with pytest.raises(ConfigError, match="no picture yet"):
        predicting.answer(place, None, "a chair")
    with pytest.raises(ConfigError, match="Write what to look for"):
        predicting.answer(place, PICTURE, "  ")
    with pytest.raises(ConfigError, match="not one of the models of this page"):
        predicting.answer("/etc", PICTURE, "a chair")
    with pytest.raises(ContractError, match=str(tmp_path)):
        Predicting([str(tmp_path)], "best", "cpu")
    with pytest.raises(ConfigError, match="what is there to show"):
        UiJob()
    with pytest.raises(ConfigError, match="port is 99999"):
        UiJob(set="x", port=99999)


def test_layers_are_shown_as_large_as_the_picture_and_words_over_it(looking: Looking) -> None:
    (picture, said), (other, _) = looking.components(PICTURE, "a chair", ["up_blocks.1", "mid_block"])
    assert picture.shape == other.shape == PICTURE.shape
    assert said == "up_blocks.1: 32 channels, 4 x 8", "of a picture shown to it in 64 x 128 pixels"
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 4
    words = looking.heats(PICTURE, "a red chair", timestep=50)
    assert [word for _, word in words] == ["a", "red", "chair"]
    assert all(heat.shape == PICTURE.shape for heat, _ in words)
    assert not np.array_equal(words[1][0], words[2][0])
    assert [word for _, word in looking.heats(PICTURE, "a red chair", "chair, red")] == ["chair", "red"]
    with pytest.raises(ConfigError, match="'table' is no word of the prompt"):
        looking.heats(PICTURE, "a red chair", "table")
    with pytest.raises(ConfigError, match="Choose at least one layer"):
        looking.components(PICTURE, "", [])
    with pytest.raises(ConfigError, match="Write a prompt"):
        looking.heats(PICTURE, " ")


def test_a_point_is_drawn_to_its_own_place_in_the_same_picture(looking: Looking) -> None:
    smooth = np.asarray(Image.fromarray(PICTURE[::12, ::15]).resize((160, 96)))
    drawn = looking.matched(smooth, smooth, [(20, 30), (120, 60)], "up_blocks.3")
    height, width = 77, 128
    assert drawn.shape == (height, 2 * width + GAP_PX, 3)
    asked, there = drawn[:, :width].astype(int), drawn[:, width + GAP_PX :].astype(int)
    for number, (x, y) in enumerate([(16, 24), (96, 48)]):
        colour = drawn[y, x].astype(int)
        assert (colour != np.asarray(Image.fromarray(smooth).resize((width, height)))[y, x]).any(), number
        near = (np.abs(there - colour).sum(-1) < 40)[y - 3 : y + 4, x - 3 : x + 4]
        assert near.any(), f"point {number}: its mark is where it is in the other"
    assert asked.shape == there.shape
    with pytest.raises(ConfigError, match="no picture yet"):
        looking.matched(smooth, None, [(1, 1)], "up_blocks.3")


def test_components_are_the_directions_in_which_features_vary_most() -> None:
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 8), torch.linspace(-1, 1, 8), indexing="ij")
    values = torch.stack([10 * rows, 3 * columns, 0 * rows, rows * columns])  # [4, 8, 8]
    picture = in_three_colours(values)
    assert np.array_equal(picture[0, :, 0], np.zeros(8)), "red: the rows, from dark to light"
    assert np.array_equal(picture[-1, :, 0], np.full(8, 255))
    assert (np.diff(picture[3, :, 1].astype(int)) > 0).all(), "green: the columns"
    assert np.array_equal(in_three_colours(-values[:1])[..., 0], in_three_colours(values[:1])[::-1, :, 0])
    assert (in_three_colours(torch.ones(5, 3, 3)) == 128).all()
    assert glowing(PICTURE, np.zeros((60, 90))).shape == PICTURE.shape


def test_records_are_found_by_number_and_key_and_drawn(toy_sets: Path) -> None:
    browsing = Browsing(str(toy_sets / "seg"), PictureOptions())
    assert "seg, 6 records. Latents in false colours" in browsing.how
    last = browsing.record(99)
    assert (last.number, browsing.record(-3).number) == (5, 0)
    assert last.caption.startswith("<b>image5</b>, record 5 of 0 to 5")
    assert last.picture.shape == last.overlay.shape
    assert not np.array_equal(last.picture, last.overlay)
    assert last.meta["height"] == 40
    assert browsing.found("GE3") == ["image3"]
    assert browsing.number_of("image3") == 3
    with pytest.raises(ConfigError, match="nothing: no key of this set, whose first is image0"):
        browsing.number_of("nothing")
    refer = Browsing(f"file://{toy_sets}/refer", PictureOptions()).record(0)  # a URL is read by ranges
    assert len(refer.picture)


def test_no_more_of_a_set_is_read_than_what_is_shown(toy_sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browsing = Browsing(str(toy_sets / "seg"), PictureOptions())
    given = iter([*(f"image{number}" for number in range(MOST_KEYS)), None])
    monkeypatch.setattr(browsing.shards.paged, "keys", lambda: (key or pytest.fail("read on") for key in given))
    monkeypatch.setattr(type(browsing.shards), "index", property(lambda self: pytest.fail("read the whole index")))
    assert len(browsing.found("")) == MOST_KEYS
    assert browsing.record(5).number == 5
