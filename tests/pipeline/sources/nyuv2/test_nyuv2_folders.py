"""The folder form: the real pairs bit for bit, both list formats, and every way in which a line can be wrong."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.sources.nyuv2.source import CLASS_NAMES, build
from shards.errors import Reject, SourceError

DEPTH_MM = np.arange(12 * 16, dtype=np.uint16).reshape(12, 16) * 300


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One training pair, /kitchen_0001/rgb_00007.jpg, and an empty test folder."""
    scene = tmp_path / "nyu_depth_v2/sync/kitchen_0001"
    scene.mkdir(parents=True)
    (tmp_path / "nyu_depth_v2/official_splits/test").mkdir(parents=True)
    Image.new("RGB", (16, 12), (200, 10, 10)).save(scene / "rgb_00007.jpg")
    Image.fromarray(DEPTH_MM).save(scene / "sync_depth_00007.png")
    write_list(tmp_path, "/kitchen_0001/rgb_00007.jpg /kitchen_0001/sync_depth_00007.png")
    return tmp_path


def write_list(root: Path, *lines: str) -> None:
    path = root / "filenames/nyudepthv2/train_list.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def test_the_five_real_pairs_are_their_files(realdata: Path) -> None:
    source = build(realdata / "nyuv2")
    folders = {"train": "sync", "test": "official_splits/test"}
    rooms = []
    for split, folder in folders.items():
        for key in source.keys(split):
            example = source.load(split, key)
            place = realdata / "nyuv2/nyu_depth_v2" / folder
            assert example.labels["depth"] == (place / example.meta["depth_name"]).read_bytes()
            np.testing.assert_array_equal(example.image, np.asarray(Image.open(place / example.meta["file_name"])))
            rooms.append(CLASS_NAMES[example.meta["class_id"]])
    assert source.keys("train")[1] == "basement_0001a-rgb_00050"
    assert source.keys("test") == ["playroom-rgb_00432", "reception_room-rgb_00463"]
    assert rooms == ["basement"] * 3 + ["playroom", "reception_room"]


def test_both_published_list_formats_name_the_same_pictures(realdata: Path) -> None:
    vpd = build(realdata / "nyuv2")
    lists = {f"{split}_list": f"filenames/nyudepthv2_{split}_files_with_gt.txt" for split in ("train", "test")}
    bts = build(realdata / "nyuv2", **lists)
    for split in vpd.splits:
        assert bts.keys(split) == vpd.keys(split)
        for key in vpd.keys(split):
            one, other = vpd.load(split, key), bts.load(split, key)
            assert other.meta == {**one.meta, "focal_px": 518.8579}
            assert one.labels == other.labels


def test_a_png_in_millimetres_stays_as_it_is_and_zero_stays_zero(root: Path) -> None:
    example = build(root).load("train", "kitchen_0001-rgb_00007")
    payload = example.labels["depth"]
    assert isinstance(payload, bytes)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(payload))), DEPTH_MM)
    assert (example.meta["scene"], example.meta["height"], example.meta["width"]) == ("kitchen_0001", 12, 16)
    assert build(root).label_fields[0].member == "depth.png"
    assert build(root).counts("train") == {"images": 1}


def test_a_line_with_a_missing_file_is_a_reject_that_names_line_and_file(root: Path) -> None:
    write_list(root, "", "/kitchen_0001/rgb_00007.jpg /kitchen_0001/sync_depth_00008.png")
    with pytest.raises(Reject, match=r"train_list\.txt line 2: .*sync_depth_00008\.png does not exist"):
        build(root).load("train", "kitchen_0001-rgb_00007")


def test_depth_of_another_size_than_its_picture_is_a_reject(root: Path) -> None:
    Image.fromarray(DEPTH_MM[:, :15]).save(root / "nyu_depth_v2/sync/kitchen_0001/sync_depth_00007.png")
    with pytest.raises(Reject, match=r"rgb_00007\.jpg is 12 x 16, its depth .*sync_depth_00007\.png is 12 x 15"):
        build(root).load("train", "kitchen_0001-rgb_00007")


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        (np.ones((12, 16), np.uint8), "is PNG of mode L, expected a 16-bit grey PNG"),
        (np.zeros((12, 16), np.uint16), "holds no measurement"),
    ],
)
def test_depth_that_is_none_is_a_reject(root: Path, depth: np.ndarray, message: str) -> None:
    Image.fromarray(depth).save(root / "nyu_depth_v2/sync/kitchen_0001/sync_depth_00007.png")
    with pytest.raises(Reject, match=message):
        build(root).load("train", "kitchen_0001-rgb_00007")


@pytest.mark.parametrize("name", ["rgb_00007.jpg", "sync_depth_00007.png"])
def test_a_truncated_file_is_a_reject(root: Path, name: str) -> None:
    path = root / "nyu_depth_v2/sync/kitchen_0001" / name
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(Reject, match="cannot be decoded"):
        build(root).load("train", "kitchen_0001-rgb_00007")


def test_a_room_without_a_class_is_a_reject(root: Path) -> None:
    (root / "nyu_depth_v2/sync/kitchen_0001").rename(root / "nyu_depth_v2/sync/nyu_lab_0001")
    write_list(root, "nyu_lab_0001/rgb_00007.jpg nyu_lab_0001/sync_depth_00007.png")
    with pytest.raises(Reject, match=r"train_list\.txt line 1: 'nyu_lab_0001' is none of the 27"):
        build(root).load("train", "nyu_lab_0001-rgb_00007")
    assert build(root, unknown="mean").load("train", "nyu_lab_0001-rgb_00007").meta["class_id"] == -1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("/a/b.jpg",), "line 1 is '/a/b.jpg': 1 columns; expected 'IMAGE DEPTH'"),
        (("/a/b.jpg /a/b.png", "/a/c.jpg /a/c.png far"), "line 2 is"),
        (("../b.jpg /a/b.png",), "leaves its folder"),
        (("/a/b.jpg /a/b.png", "a/b.jpg a/b.png"), "lines 1 and 2 both name a/b.jpg"),
        (("",), "is empty"),
    ],
)
def test_a_list_in_no_published_format_is_refused(root: Path, lines: tuple[str, ...], message: str) -> None:
    write_list(root, *lines)
    with pytest.raises(SourceError, match=message):
        build(root).keys("train")


def test_missing_folders_and_lists_are_named(root: Path) -> None:
    with pytest.raises(SourceError, match=r"missing filenames/nyudepthv2/test_list\.txt"):
        build(root).keys("test")
    with pytest.raises(SourceError, match=r"form=folders; missing lists/mine\.txt"):
        build(root, train_list="lists/mine.txt").keys("train")
    with pytest.raises(SourceError, match="set form=folders"):
        build(root, form="mat").keys("train")


def test_a_source_pickles_and_identity_holds_no_path(root: Path) -> None:
    source = pickle.loads(pickle.dumps(build(root)))
    assert source.identity("train") == build(root).identity("train")
    assert str(root) not in str(source.identity("train"))
    before = source.identity("train")["sha256"]
    write_list(root, "kitchen_0001/rgb_00007.jpg kitchen_0001/sync_depth_00007.png")
    assert build(root).identity("train")["sha256"] != before
