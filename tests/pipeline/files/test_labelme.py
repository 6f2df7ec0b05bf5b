"""LabelMe's JSON files as labels: every shape, order, names, and what is refused."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.files.labelme import LabelmeShapes
from shards.errors import Reject

NAMES = ("_background_", "cat", "dog")
SQUARE = [[1.0, 1.0], [4.0, 1.0], [4.0, 4.0], [1.0, 4.0]]


def written(folder: Path, *shapes: dict[str, Any], **other: Any) -> Path:
    data = {"shapes": list(shapes), "imageHeight": 8, "imageWidth": 10, "imagePath": "wrong.jpg"} | other
    (folder / "a.json").write_text(json.dumps(data))
    return folder / "a.json"


def shape(label: str, points: Any, kind: str | None = "polygon", **other: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, **other}


def drawn(path: Path) -> np.ndarray:
    return LabelmeShapes(NAMES, ("__ignore__",))(path)


def test_polygons_have_their_outline_and_later_shapes_lie_on_top(tmp_path: Path) -> None:
    label = drawn(written(tmp_path, shape("cat", SQUARE), shape("dog", [[3, 3], [6, 3], [6, 6], [3, 6]], None)))
    expected = np.zeros((8, 10), np.uint8)
    expected[1:5, 1:5] = 1
    expected[3:7, 3:7] = 2
    assert np.array_equal(label, expected)


def test_rectangles_circles_masks_and_ignored_shapes(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.array([[1, 0], [1, 1]], np.uint8) * 255).save(buffer, "PNG")
    mask = base64.b64encode(buffer.getvalue()).decode()
    label = drawn(
        written(
            tmp_path,
            shape("dog", [[3, 2], [0, 0]], "rectangle"),
            shape("cat", [[6.0, 3.0], [6.0, 4.0]], "circle"),
            shape("__ignore__", [[8, 6], [9, 7]], "mask", mask=mask),
        )
    )
    assert (label[:3, :4] == 2).all()
    assert [label[3, 6], label[2, 6], label[3, 7], label[2, 7]] == [1, 1, 1, 0]
    assert label[6:8, 8:10].tolist() == [[255, 0], [255, 255]]


def test_without_a_background_class_the_rest_is_ignored(tmp_path: Path) -> None:
    label = LabelmeShapes(("cat",))(written(tmp_path, shape("cat", SQUARE)))
    assert sorted(np.unique(label)) == [0, 255]
    assert (label == 0).sum() == 16


@pytest.mark.parametrize(
    ("shapes", "other", "match"),
    [
        ([shape("cow", SQUARE)], {}, r"a\.json: shape 1 is labelled 'cow', which is none of the classes"),
        ([shape("cat", SQUARE), shape("cat", [[0, 0], [1, 1]], "line")], {}, "shape 2 is a line, which has no area"),
        ([shape("cat", [[0, 0], [1, 1]])], {}, "is a polygon of 2 points; expected 3"),
        ([shape("cat", [[0, 0], [1, 1], [1, float("1e30")]])], {}, "no list of x, y pairs"),
        ([shape("cat", SQUARE[:2], "mask", mask="!!")], {}, "its mask cannot be decoded"),
        (["cat"], {}, "shape 1 is str"),
        ([], {"imageHeight": None}, "imageHeight and imageWidth are None and 10"),
        ([], {"shapes": None}, "has no list of shapes"),
    ],
)
def test_what_cannot_be_drawn_is_named(shapes: list[Any], other: dict[str, Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(Reject, match=match):
        drawn(written(tmp_path, *shapes, **other))


def test_missing_and_damaged_files_are_rejects(tmp_path: Path) -> None:
    with pytest.raises(Reject, match="does not exist"):
        drawn(tmp_path / "none.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(Reject, match="cannot be read as JSON"):
        drawn(tmp_path / "a.json")
