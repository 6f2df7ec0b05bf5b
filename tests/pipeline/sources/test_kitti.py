"""KITTI: the real pairs bit for bit, both layouts and list formats, and every way in which a line can be wrong."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.sources.kitti import KittiSource, build
from shards.contract.lengths import per_metre
from shards.errors import Reject, SourceError
from vpd.tasks.depth.labels import metres

DRIVE = "2011_09_26_drive_0001_sync"
IMAGE = f"2011_09_26/{DRIVE}/image_02/data/%010d.png"
DEPTH = f"{DRIVE}/proj_depth/groundtruth/image_02/%010d.png"
STORED = np.arange(12 * 40, dtype=np.uint16).reshape(12, 40) * 40
LIST = "filenames/eigen_benchmark/train_list.txt"
SAMPLE = {"images": "raw", "depths": "gts", "train_list": "filenames/eigen_like_list.txt"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two pairs in the layout of Meta Prompts, one with its depth in val/."""
    for frame, part in ((5, "train"), (7, "val")):
        image = tmp_path / "raw_data" / (IMAGE % frame)
        depth = tmp_path / "data_depth_annotated" / part / (DEPTH % frame)
        for path in (image, depth):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 12), (frame, 10, 10)).save(image)
        Image.fromarray(STORED).save(depth)
    write_list(tmp_path, *(line(frame, part) for frame, part in ((5, "train"), (7, "val"))))
    return tmp_path


def line(frame: int, part: str) -> str:
    return f"/raw_data/{IMAGE % frame} /data_depth_annotated/{part}/{DEPTH % frame}"


def write_list(root: Path, *lines: str, name: str = LIST) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def key(frame: int) -> str:
    return f"{DRIVE}-image_02-{frame:010d}"


def test_the_three_real_pairs_are_their_files(realdata: Path) -> None:
    root = realdata / "kitti"
    source = build(root, **SAMPLE)
    keys = source.keys("train")
    assert keys == [f"2011_09_26_drive_9999_sync-image_02-{frame:010d}" for frame in (5, 50, 100)]
    assert source.counts("train") == {"images": 3, "without_depth": 0}
    depth_m = []
    for key in keys:
        example = source.load("train", key)
        payload = example.labels["depth"]
        assert isinstance(payload, bytes)
        assert payload == (root / "gts" / example.meta["depth_name"]).read_bytes()
        np.testing.assert_array_equal(example.image, np.asarray(Image.open(root / "raw" / example.meta["file_name"])))
        assert (example.meta["height"], example.meta["width"]) == (375, 1242)
        assert (example.meta["class_id"], example.meta["focal_px"]) == (-1, 721.5377)
        stored = np.asarray(Image.open(io.BytesIO(payload)))
        assert 0.18 < (stored > 0).mean() < 0.22
        depth_m.append(metres(stored, per_metre(source.label_fields[0])))
    measured = np.concatenate([depth[depth > 0] for depth in depth_m])
    assert measured.min() == pytest.approx(5.1, abs=0.1)
    assert measured.max() == pytest.approx(84.9, abs=0.1)


def test_the_layout_and_lists_of_meta_prompts_need_no_option(root: Path) -> None:
    source = build(root)
    assert source.keys("train") == [key(5), key(7)]
    example = source.load("train", key(7))
    payload = example.labels["depth"]
    assert isinstance(payload, bytes)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(payload))), STORED)
    assert example.meta == {
        "file_name": "raw_data/" + IMAGE % 7,
        "depth_name": "data_depth_annotated/val/" + DEPTH % 7,
        "height": 12,
        "width": 40,
        "class_id": -1,
    }
    assert per_metre(source.label_fields[0]) == 256


def test_the_lists_of_bts_name_the_same_pictures_in_the_official_folders(root: Path) -> None:
    """Their depth column does not say whether a drive lies in train/ or val/."""
    bts = "train_test_inputs/eigen_train_files_with_gt.txt"
    write_list(root, *(f"{IMAGE % frame} {DEPTH % frame} 721.5377" for frame in (5, 7)), name=bts)
    depths = ["data_depth_annotated/train", "data_depth_annotated/val"]
    meta, other = build(root), build(root, train_list=bts, images="raw_data", depths=depths)
    assert other.keys("train") == meta.keys("train")
    for name in meta.keys("train"):
        one, two = meta.load("train", name), other.load("train", name)
        assert two.labels == one.labels
        np.testing.assert_array_equal(two.image, one.image)
        assert two.meta["focal_px"] == 721.5377


def test_pictures_without_ground_truth_have_no_key_and_are_counted(root: Path) -> None:
    write_list(root, line(5, "train"), f"/raw_data/{IMAGE % 6} None 721.5377", f"/raw_data/{IMAGE % 8} None")
    assert build(root).keys("train") == [key(5)]
    assert build(root).counts("train") == {"images": 1, "without_depth": 2}
    write_list(root, f"/raw_data/{IMAGE % 6} None 721.5377")
    with pytest.raises(SourceError, match="names no depth in any of its 1 lines"):
        build(root).keys("train")


def replaced(path: str) -> Any:
    return lambda root: Image.fromarray(np.ones((12, 40), np.uint8)).save(next(root.glob(path)))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda root: next(root.glob("raw_data/**/*5.png")).unlink(),
            r"train_list\.txt line 1: .*5\.png does not exist",
        ),
        (lambda root: next(root.glob("data_depth*/**/*5.png")).unlink(), r"line 1: .*groundtruth.* does not exist"),
        (replaced("data_depth_annotated/**/*5.png"), "mode L, expected a 16-bit grey PNG in 1/256 metres"),
        (
            lambda root: Image.fromarray(STORED * 0).save(next(root.glob("data_depth_annotated/**/*5.png"))),
            "holds no measurement",
        ),
        (
            lambda root: Image.fromarray(STORED[1:]).save(next(root.glob("data_depth_annotated/**/*5.png"))),
            r"5\.png is 12 x 40, its depth .* is 11 x 40",
        ),
        (lambda root: next(root.glob("raw_data/**/*5.png")).write_bytes(b"\x89PNG\r\n"), "cannot be decoded"),
    ],
)
def test_a_pair_that_cannot_be_used_is_a_reject(root: Path, spoil: Any, message: str) -> None:
    spoil(root)
    with pytest.raises(Reject, match=message):
        build(root).load("train", key(5))
    build(root).load("train", key(7))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("/a/b.png",), "line 1 is '/a/b.png': 1 columns"),
        (("/a/b.png /a/c.png 1 2",), "4 columns"),
        ((line(5, "train"), f"/raw_data/../{IMAGE % 5} x.png"), "line 2 .* leaves its folder"),
        ((line(5, "train"), f"/other/{IMAGE % 5} x.png"), "lines 1 and 2 both name"),
        (("",), "is empty"),
    ],
)
def test_a_list_in_no_published_format_is_refused(root: Path, lines: tuple[str, ...], message: str) -> None:
    write_list(root, *lines)
    with pytest.raises(SourceError, match=message):
        build(root).keys("train")


def test_what_is_missing_is_named_with_what_is_there(root: Path) -> None:
    with pytest.raises(
        SourceError, match=r"missing .*test_list\.txt\. Found: data_depth_annotated/, filenames/, raw_d"
    ):
        build(root).keys("test")
    with pytest.raises(SourceError, match=r"missing .*/gts\..*set images and depths"):
        build(root, depths="gts").keys("train")
    with pytest.raises(SourceError, match="no split 'val'; expected one of train, test"):
        build(root).keys("val")
    with pytest.raises(SourceError, match=rf"no image 'x'; keys look like {key(5)}"):
        build(root).load("train", "x")


def test_a_source_pickles_and_identity_holds_no_path(root: Path) -> None:
    source: KittiSource = pickle.loads(pickle.dumps(build(root, depths=["data_depth_annotated", ""])))
    assert source.load("train", key(5)).meta["class_id"] == -1
    assert source.identity("train") == build(root).identity("train") | {"depths": ["data_depth_annotated", ""]}
    absolute = build(root, depths=[str(root / "data_depth_annotated"), ""])
    assert absolute.identity("train") == source.identity("train")
    assert str(root) not in str(source.identity("train"))
    before = source.identity("train")["sha256"]
    write_list(root, line(5, "train"))
    assert build(root).identity("train")["sha256"] != before


def test_the_card_says_under_which_licence_shards_are() -> None:
    card = build("nowhere").card()
    assert card["licence"] == "CC BY-NC-SA 3.0"
    assert card["splits"] == {"train": {"images": 23_158}, "test": {"images": 652}}
