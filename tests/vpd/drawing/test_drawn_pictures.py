"""Overlays that can be seen, legends below them, and what is written of each task's answers."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from shards.errors import ConfigError
from vpd.drawing.contrast import STRONG, lab, tinted, visible_colour
from vpd.drawing.strip import with_legend
from vpd.drawing.style import Legend, Style
from vpd.tasks.depth import task as depth
from vpd.tasks.depth.cloud import focal_of
from vpd.tasks.pose import task as pose
from vpd.tasks.refer import task as refer
from vpd.tasks.seg import task as seg

MASK = np.zeros((60, 80), bool)
MASK[10:40, 20:60] = True


def plain(colour: tuple[int, int, int]) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.uint8), (60, 80, 3)).copy()


@pytest.mark.parametrize("colour", [*STRONG, (0, 0, 0), (255, 255, 255), (128, 128, 128), (30, 200, 40)])
def test_an_overlay_is_seen_on_any_picture(colour: tuple[int, int, int]) -> None:
    """60 is about the distance of red from orange; a fixed red on red would be 0."""
    image = plain(colour)
    drawn = refer.build().draw(image, MASK)
    apart = np.linalg.norm(lab(drawn.astype(float)) - lab(image.astype(float)), axis=-1)
    assert apart[MASK].min() > 20
    assert np.array_equal(drawn[~MASK], image[~MASK])
    outline = apart[10, 20:60]
    assert outline.min() > 60


def test_the_colour_is_chosen_where_it_lies_and_an_empty_mask_changes_nothing() -> None:
    image = plain(STRONG[0])
    image[~MASK] = STRONG[1]
    assert visible_colour(image, MASK) != STRONG[0]
    assert np.array_equal(tinted(image, np.zeros_like(MASK), STRONG[0]), image)


def test_a_legend_lies_below_the_picture_and_says_what_was_found() -> None:
    task, image = refer.build(), plain((90, 90, 90))
    found = task.legend(image, MASK, Style(sentence="the dog"))
    assert found.title == "the dog (25.0% of the picture)"
    assert found.entries[0][0] == visible_colour(image, MASK)
    shown = with_legend(image, found)
    assert shown.shape[0] > 60
    assert np.array_equal(shown[:60], image)
    assert (shown[60:] == found.entries[0][0]).all(-1).any(), "the swatch has the colour of the overlay"
    nothing = task.legend(image, np.zeros_like(MASK), Style(sentence="the dog"))
    assert nothing.title == "nothing found: the dog"
    assert (with_legend(image, nothing)[60:] < 128).any(), "in letters"
    assert with_legend(image, Legend()) is image


def test_long_sentences_and_many_classes_take_more_lines_and_never_more_width() -> None:
    image = plain((0, 0, 0))
    one, many = with_legend(image, Legend("word")), with_legend(image, Legend("word " * 60))
    assert many.shape[0] > one.shape[0] + 100
    assert many.shape[1] == one.shape[1] == 80
    entries = tuple(((k, k, k), f"class {k}") for k in range(40))
    assert with_legend(image, Legend("x", entries)).shape[1] == 80


def test_classes_keep_their_hue_on_a_coloured_picture_and_are_listed_by_size(tmp_path) -> None:
    task, classes = seg.build(classes=4), np.zeros((60, 80), np.uint8)
    classes[:20] = 2
    image = plain((255, 0, 0))
    style = Style(names=("sky", "wall", "dog", "cat"))
    found = task.legend(image, classes, style)
    assert found.title == "sky 66.7%, dog 33.3%"
    assert [name for _, name in found.entries] == ["sky", "dog"]
    assert np.array_equal(task.draw(image, classes), task.draw(plain((76, 76, 76)), classes)), "only its brightness"
    task.export(classes, tmp_path / "a.npy")
    assert np.array_equal(np.load(tmp_path / "a.npy"), classes)
    assert task.legend(image, classes).entries[1][1] == "class 2"


def test_depth_is_written_with_its_unit_as_numbers_and_as_points(tmp_path) -> None:
    task = depth.build()
    depth_m = np.full((1, 60, 80), 2.0, np.float32)
    depth_m[0, :30] = 4.0
    depth_m[0, 0, 0] = np.nan
    image = plain((10, 20, 30))
    style = Style(colormap="Spectral", fov_deg=90)
    for suffix in (".png", ".npy", ".tif", ".ply"):
        task.export(depth_m, tmp_path / f"d{suffix}", image, style)
    with Image.open(tmp_path / "d.png") as png:
        assert png.info["unit"] == "1/1000 metres; 0: no depth"
        assert np.asarray(png)[59, 0] == 2000
        assert np.asarray(png)[0, 0] == 0
    assert np.load(tmp_path / "d.npy").dtype == np.float32
    with Image.open(tmp_path / "d.tif") as tif:
        assert np.array_equal(np.asarray(tif), depth_m[0], equal_nan=True)
    header, _, points = (tmp_path / "d.ply").read_bytes().partition(b"end_header\n")
    assert b"element vertex 4799\n" in header
    vertices = np.frombuffer(points, [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    assert len(vertices) == 4799
    assert vertices["rgb"][0].tolist() == [10, 20, 30]
    last = vertices["xyz"][-1]  # 2 m ahead at the right and bottom edge; the focal length is half of the width, 40
    assert last == pytest.approx([2 * 39.5 / 40, 2 * 29.5 / 40, 2.0])
    found = task.legend(image, depth_m, style)
    assert found.title == "depth 2.00 to 4.00 m, median 2.00 m"
    assert found.ends == ("2.00 m", "4.00 m")
    drawn = task.draw(image, depth_m, style)
    assert found.ramp is not None
    assert drawn[59, 0].tolist() == found.ramp[0].tolist() == [0x9E, 0x01, 0x42], "near is red"
    assert task.legend(image, np.full((1, 2, 2), np.nan)).title == "no depth anywhere"


def test_a_point_cloud_needs_a_camera() -> None:
    assert focal_of(500.0, 0, 640) == 500
    assert focal_of(0, 60, 640) == pytest.approx(320 / math.tan(math.radians(30)))
    for focal, fov in ((0, 0), (500, 60), (0, 180), (-1, 0)):
        with pytest.raises(ConfigError, match="a point cloud needs the camera"):
            focal_of(focal, fov, 640)


def test_nobody_is_said_in_words() -> None:
    task, persons = pose.build(), np.zeros((1, 17, 3))
    assert task.legend(plain((0, 0, 0)), persons).title == "no keypoint found"
    persons[0, :5, 2] = 1
    assert task.legend(plain((0, 0, 0)), persons).title == "1 person, 5 keypoints"


def test_answers_of_sentences_are_masks_one_by_one() -> None:
    import torch

    task, logits = refer.build(), torch.randn(3, 2, 8, 8)
    record = SimpleNamespace(key="k", meta={"height": 20, "width": 30})
    whole = task.predictions(record, logits)  # pyright: ignore[reportArgumentType]
    answers = list(task.answers(record, logits))  # pyright: ignore[reportArgumentType]
    assert all(np.array_equal(answer, one.argmax(0).numpy() == 1) for answer, one in zip(answers, whole, strict=True))


def test_a_strip_of_given_height_is_blank_below_a_short_legend_and_cuts_a_long_one() -> None:
    image = plain((0, 0, 0))
    short, long = Legend("word"), Legend("word " * 60)
    needed_px = len(with_legend(image, short)) - 60
    assert np.array_equal(with_legend(image, short, needed_px), with_legend(image, short))
    wide = with_legend(image, short, needed_px + 30)
    assert np.array_equal(wide[: 60 + needed_px], with_legend(image, short))
    assert (wide[60 + needed_px :] == 255).all()
    assert np.array_equal(with_legend(image, long, needed_px), with_legend(image, long)[: 60 + needed_px])
